/* SPDX-License-Identifier: Apache-2.0 */
/* The signature of a webhook: HMAC-SHA256. Any thread. */
#ifndef MAYFLY_MASTER_NOTIFY_SIGN_H
#define MAYFLY_MASTER_NOTIFY_SIGN_H

#include "common/buffer.h"
#include "common/error.h"

#define SIGN_SIZE 65

/* Of `timestamp` "." `body` under `key`, as lower-case hexadecimal. -1: MF_ESYSTEM. */
int sign_body(struct mf_bytes key,
              const char *timestamp,
              struct mf_bytes body,
              char hex[SIGN_SIZE],
              struct mf_error *error);

#endif
