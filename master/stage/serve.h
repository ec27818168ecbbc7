/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves pieces of files to workers: a few threads that read, check that the file is still as
 * planned, deflate what they may, and encode; the loop never waits for a disk. Memory goes with
 * the orders under way, which the caller bounds, not with the size of files.
 */
#ifndef MAYFLY_MASTER_STAGE_SERVE_H
#define MAYFLY_MASTER_STAGE_SERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/mailbox.h"
#include "common/message.h"

/* One piece that is asked for. The caller's, and not to be touched between serve_submit and
 * serve_take. */
struct serve_order {
    struct mf_mail mail; /* first */
    char *path;          /* to open; heap, the caller's */
    bool is_known;       /* it must still be as follows; else any regular file is served */
    uint64_t size;
    int64_t mtime_ns;
    uint64_t inode;
    uint64_t offset;
    uint32_t length;
    bool may_deflate;       /* if its data look as if that gained */
    struct mf_buffer frame; /* the answer, a whole one also when it can't be read; empty when memory
                               is exhausted. Its memory is used again */
};

struct serve;

struct serve *serve_create(struct mf_error *error);
/* Orders that were not taken are dropped, not freed. */
void serve_destroy(struct serve *serve);

/* Loop thread. */
void serve_submit(struct serve *serve, struct serve_order *order);
int serve_fd(const struct serve *serve); /* readable when an order is done */
/* Those that are done, linked by mail.next. */
struct serve_order *serve_take(struct serve *serve);

#endif
