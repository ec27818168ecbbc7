/* SPDX-License-Identifier: Apache-2.0 */
/* `mayfly-worker readdress RUN WORKER`: leaves in a worker's folder where its new master listens,
 * as read from standard input (docs/protocol.md, "Epochs"). */
#ifndef MAYFLY_WORKER_READDRESS_H
#define MAYFLY_WORKER_READDRESS_H

int readdress_main(int argc, char **argv); /* the exit code */

#endif
