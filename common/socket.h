/* SPDX-License-Identifier: Apache-2.0 */
/* What both ends of the wire need to get along with nng 1.5.2. */
#ifndef MAYFLY_COMMON_SOCKET_H
#define MAYFLY_COMMON_SOCKET_H

#include <nng/nng.h>
#include <stdbool.h>

/*
 * Closes the socket, but waits no longer than a few seconds: when a connection goes away in the
 * very moment in which something is sent on it, nng's close can wait for ever for an operation that
 * has never begun. False: it still waits, in a thread of its own. Then nothing that nng's callbacks
 * use may be freed, and the process has to end soon; the kernel closes what is left.
 */
bool mf_socket_close(nng_socket socket);

/* What to listen on for whoever comes, as it stands in an address of nng: "[::]", which takes IPv4,
 * too; "0.0.0.0" where this machine has no IPv6, or keeps the two apart. */
const char *mf_socket_any(void);

#endif
