/* SPDX-License-Identifier: Apache-2.0 */
/* Where workers on other hosts may find this master: addresses of this machine. */
#ifndef MAYFLY_MASTER_RUN_ADDRESSES_H
#define MAYFLY_MASTER_RUN_ADDRESSES_H

#include <jansson.h>
#include <stdint.h>

/*
 * An array of "tls+tcp://ADDRESS:PORT" in the order in which they are to be tried: `advertise`
 * (numeric; NULL = none), then the addresses of the interfaces that are up. NULL: out of memory.
 */
json_t *addresses_for_hosts(const char *advertise, uint16_t port);
/* The same for workers of this machine. */
json_t *addresses_for_here(uint16_t port);

#endif
