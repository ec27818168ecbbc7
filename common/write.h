/* SPDX-License-Identifier: Apache-2.0 */
/* Writing all of it, however often the kernel takes less. Any thread. */
#ifndef MAYFLY_COMMON_WRITE_H
#define MAYFLY_COMMON_WRITE_H

#include <stdint.h>

#include "common/buffer.h"

/* Where the descriptor stands. 0, or -1 with errno: a part may be written then. */
int mf_write_all(int fd, struct mf_bytes data);
/* The same from the offset on. */
int mf_pwrite_all(int fd, struct mf_bytes data, uint64_t at);

#endif
