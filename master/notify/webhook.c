/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhooks: the event is posted, signed when the job gives a key. What the server says decides:
 * 2xx is taken; 408, 425, 429 and 5xx may pass, as may a connection that does not come about;
 * everything else needs somebody to change something. Redirects are not followed: neither body nor
 * signature goes anywhere but to the address that the job names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/mayfly.h"
#include "master/notify/curl.h"
#include "master/notify/sign.h"
#include "master/notify/tell.h"
#include "master/secret_read.h"

#define ANSWER_MAX (1u << 20) /* bytes of an answer that are waited for */
#define SHOWN_MAX 120
#define CONNECT_MS 5000
#define WAIT_MAX_S 3600 /* of Retry-After */

struct request {
    const struct tell *tell;
    const struct curl_library *curl;
    CURL *handle;
    struct curl_slist *headers;
    struct mf_buffer url, key;
    size_t answered;           /* bytes */
    char shown[SHOWN_MAX + 1]; /* the start of the answer, on one line */
    char problem[CURL_ERROR_SIZE];
};

static size_t on_answer(char *data, size_t size, size_t count, void *arg)
{
    struct request *request = arg;
    size_t length = size * count, used = strlen(request->shown);
    for (size_t i = 0; i < length && used < SHOWN_MAX; i++)
        request->shown[used++] = data[i] < ' ' || data[i] > '~' ? ' ' : data[i];
    request->shown[used] = '\0';
    request->answered += length;
    return request->answered > ANSWER_MAX ? 0 : length;
}

static int
on_progress(void *arg, curl_off_t in_all, curl_off_t in, curl_off_t out_all, curl_off_t out)
{
    const struct request *request = arg;
    (void)in_all, (void)in, (void)out_all, (void)out;
    return __atomic_load_n(request->tell->stop, __ATOMIC_RELAXED) != 0;
}

static int read_value(const struct tell *tell,
                      const struct job_secret *source,
                      struct mf_buffer *value,
                      struct mf_error *error)
{
    const struct secret_patience patience = {.signal_fd = -1, .stop = tell->stop};
    if (source->text != NULL)
        return mf_buffer_append_text(value, source->text, error);
    if (secret_read(tell->job->folder, source, &patience, value, error) < 0)
        return -1;
    secret_trim(value);
    return value->length > 0 ? 0 : mf_raise(error, MF_EUSAGE, "%s: it is empty", source->place);
}

static int read_url(struct request *request, struct mf_error *error)
{
    const struct job_secret *source = &request->tell->to->webhook;
    if (read_value(request->tell, source, &request->url, error) < 0)
        return -1;
    const char *url = mf_buffer_text(&request->url);
    if (url == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory");
    bool is_address = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
    for (size_t i = 0; i < request->url.length; i++)
        is_address &= request->url.data[i] > ' ' && request->url.data[i] <= '~';
    return is_address ? 0
                      : mf_raise(error,
                                 MF_EUSAGE,
                                 "%s: this is not an address that begins with http:// or https://",
                                 source->place);
}

static int add_header(struct request *request, const char *name, const char *value)
{
    char *line = mf_format("%s%s", name, value);
    struct curl_slist *longer =
        line == NULL ? NULL : request->curl->slist_append(request->headers, line);
    mf_free(line);
    if (longer != NULL)
        request->headers = longer;
    return longer == NULL ? -1 : 0;
}

static int add_headers(struct request *request, struct mf_error *error)
{
    const struct tell *tell = request->tell;
    char timestamp[24], hex[SIGN_SIZE];
    snprintf(timestamp, sizeof timestamp, "%lld", (long long)(mf_wall_us() / 1000000));
    int rc = add_header(request, "Content-Type: ", "application/json") |
             add_header(request, "Expect:", "") |
             add_header(request, "X-Mayfly-Event: ", tell->event) |
             add_header(request, "X-Mayfly-Id: ", tell->id) |
             add_header(request, "X-Mayfly-Timestamp: ", timestamp);
    if (rc == 0 && tell->to->secret.place != NULL) {
        if (read_value(tell, &tell->to->secret, &request->key, error) < 0 ||
            sign_body(mf_buffer_view(&request->key), timestamp, tell->body, hex, error) < 0)
            return -1;
        rc = add_header(request, "X-Mayfly-Signature: sha256=", hex);
    }
    return rc == 0 ? 0 : mf_raise(error, MF_ENOMEM, "out of memory");
}

/* As curl's own macros would, each with the type that its option wants. */
static int set_options(struct request *request)
{
    const struct tell *tell = request->tell;
    CURLcode (*set)(CURL *, CURLoption, ...) = request->curl->easy_setopt;
    CURL *handle = request->handle;
    long timeout_ms = (long)(tell->to->timeout_us / 1000);
    int rc = (int)set(handle, CURLOPT_URL, (const char *)request->url.data) |
             (int)set(handle, CURLOPT_PROTOCOLS_STR, "http,https") |
             (int)set(handle, CURLOPT_FOLLOWLOCATION, 0L) |
             (int)set(handle, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) |
             (int)set(handle, CURLOPT_NOSIGNAL, 1L) |
             (int)set(handle, CURLOPT_TIMEOUT_MS, timeout_ms) |
             (int)set(handle,
                      CURLOPT_CONNECTTIMEOUT_MS,
                      timeout_ms < CONNECT_MS ? timeout_ms : (long)CONNECT_MS) |
             (int)set(handle, CURLOPT_SSL_VERIFYPEER, 1L) |
             (int)set(handle, CURLOPT_SSL_VERIFYHOST, 2L) |
             (int)set(handle, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) |
             (int)set(handle, CURLOPT_USERAGENT, "mayfly/" MAYFLY_VERSION) |
             (int)set(handle, CURLOPT_HTTPHEADER, request->headers) |
             (int)set(handle, CURLOPT_POST, 1L) |
             (int)set(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)tell->body.length) |
             (int)set(handle, CURLOPT_POSTFIELDS, (const char *)tell->body.data) |
             (int)set(handle, CURLOPT_ERRORBUFFER, request->problem) |
             (int)set(handle, CURLOPT_WRITEFUNCTION, on_answer) |
             (int)set(handle, CURLOPT_WRITEDATA, (void *)request) |
             (int)set(handle, CURLOPT_NOPROGRESS, 0L) |
             (int)set(handle, CURLOPT_XFERINFOFUNCTION, on_progress) |
             (int)set(handle, CURLOPT_XFERINFODATA, (void *)request);
    if (rc == 0 && tell->to->ca_file != NULL)
        rc = (int)set(handle, CURLOPT_CAINFO, (const char *)tell->to->ca_file);
    return rc == 0 ? 0 : -1;
}

/* What the server said. */
static void judge_status(const struct request *request, long status, struct told *told)
{
    curl_off_t wait_s = 0;
    const char *shown = request->shown;
    if (status >= 200 && status < 300) {
        told->verdict = TOLD;
        return;
    }
    bool can_pass = status >= 500 || status == 429 || status == 408 || status == 425;
    if (status >= 300 && status < 400)
        told_set(told,
                 TELL_NEVER,
                 "the server answered %ld, a redirect, which is not followed: name the address "
                 "that it leads to",
                 status);
    else
        told_set(told,
                 can_pass ? TELL_LATER : TELL_NEVER,
                 "the server answered %ld%s%s",
                 status,
                 *shown == '\0' ? "" : ": ",
                 shown);
    if (can_pass &&
        request->curl->easy_getinfo(request->handle, CURLINFO_RETRY_AFTER, &wait_s) == CURLE_OK &&
        wait_s > 0)
        told->wait_us = (int64_t)(wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S) * 1000000;
}

static void perform(struct request *request, struct told *told)
{
    const struct curl_library *curl = request->curl;
    long status = 0;
    CURLcode rc = curl->easy_perform(request->handle);
    if (curl->easy_getinfo(request->handle, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK)
        status = 0;
    /* A status that came with more than anybody reads is an answer all the same. */
    if (status >= 200 && (rc == CURLE_OK || rc == CURLE_WRITE_ERROR)) {
        judge_status(request, status, told);
        return;
    }
    if (rc == CURLE_ABORTED_BY_CALLBACK)
        told_set(told, TELL_LATER, "it was given up, because mayfly was to end at once");
    else if (rc == CURLE_OPERATION_TIMEDOUT)
        told_set(told,
                 TELL_LATER,
                 "no answer within %.3g s",
                 (double)request->tell->to->timeout_us / 1e6);
    else
        told_set(told,
                 rc == CURLE_URL_MALFORMAT ? TELL_NEVER : TELL_LATER,
                 "%s",
                 request->problem[0] != '\0' ? request->problem : curl->easy_strerror(rc));
}

void tell_webhook(const struct tell *tell, struct told *told)
{
    struct request request = {.tell = tell};
    struct mf_error error = {0};
    request.curl = curl_library(&error);
    if (request.curl == NULL || read_url(&request, &error) < 0 ||
        add_headers(&request, &error) < 0) {
        told_set(told, TELL_LATER, "%s", error.text);
    } else {
        request.handle = request.curl->easy_init();
        if (request.handle == NULL || set_options(&request) < 0)
            told_set(told, TELL_LATER, "libcurl does not take the request: out of memory?");
        else
            perform(&request, told);
    }
    if (request.handle != NULL)
        request.curl->easy_cleanup(request.handle);
    if (request.headers != NULL)
        request.curl->slist_free_all(request.headers);
    secret_wipe(&request.url);
    secret_wipe(&request.key);
}
