/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's secrets on their way to workers: all of them in the welcome, later those that have
 * changed. A version is that of the last change of the value; what a session has been sent is the
 * highest version there was then. Buffers that held them are wiped (what nng holds is not ours to
 * wipe).
 */
#include <mbedtls/platform_util.h>

#include "common/log.h"
#include "master/scatter/scatter_internal.h"

void scatter_wipe(struct mf_buffer *buffer)
{
    if (buffer->data != NULL)
        mbedtls_platform_zeroize(buffer->data, buffer->capacity);
}

bool scatter_has_news(const struct scatter *scatter, const struct session *session)
{
    return session_has_news(session) ||
           (session->joined && session->secrets_sent < scatter->secrets_version);
}

uint32_t scatter_new_secrets(const struct scatter *scatter,
                             const struct session *session,
                             struct mf_secret *out)
{
    uint32_t count = 0;
    if (session->secrets_sent >= scatter->secrets_version)
        return 0;
    for (uint32_t i = 0; i < scatter->said->secret_count; i++)
        if (scatter->said->secrets[i].version > session->secrets_sent)
            out[count++] = scatter->said->secrets[i];
    return count;
}

int scatter_encode_welcome(struct scatter *scatter, struct mf_error *error)
{
    for (uint32_t i = 0; i < scatter->said->secret_count; i++)
        if (scatter->said->secrets[i].version > scatter->secrets_version)
            scatter->secrets_version = scatter->said->secrets[i].version;
    scatter_wipe(&scatter->welcome);
    mf_buffer_clear(&scatter->welcome);
    return mf_encode_welcome(scatter->said, &scatter->welcome, error);
}

void scatter_secrets_changed(struct scatter *scatter)
{
    struct mf_error error;
    if (scatter_encode_welcome(scatter, &error) < 0) {
        scatter->callbacks.failed(scatter->callbacks.arg, &error);
        return;
    }
    for (uint32_t i = 0; i < scatter->session_count; i++)
        scatter_flush(scatter, i);
}
