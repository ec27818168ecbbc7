/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a host file, and its first line as a list. They are refused with a sentence, or they
 * are hosts: then each part is what its place allows, and the entry alone reads the same again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "master/job/hosts.h"

static void check_that(bool holds)
{
    if (!holds)
        abort();
}

static bool is_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool is_plain(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~' || *p == ',' || *p == '/')
            return false;
    }
    return *text != '\0' && *text != '-';
}

static void check_host(const struct job_host *host)
{
    struct job_hosts again = {0};
    check_that(host->slots <= HOST_SLOTS_MAX && host->is_local == (host->host == NULL));
    check_that(host->host == NULL || is_plain(host->host));
    check_that(host->user == NULL || (host->host != NULL && is_plain(host->user)));
    check_that(hosts_add(&again, mf_bytes_text(host->text), NULL) == 0);
    check_that(is_equal(again.items[0].host, host->host) &&
               is_equal(again.items[0].user, host->user) && again.items[0].port == host->port &&
               again.items[0].slots == host->slots);
    hosts_fini(&again);
}

static void check_all(struct job_hosts *hosts, int rc, const struct mf_error *error)
{
    check_that(rc == 0 || (error->code == MF_EUSAGE && error->text[0] != '\0'));
    check_that(rc < 0 || (hosts->count > 0 && hosts->count <= HOSTS_MAX));
    for (size_t i = 0; i < hosts->count; i++)
        check_host(&hosts->items[i]);
    hosts_fini(hosts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job_hosts hosts = {0};
    struct mf_error error = {0};
    /* Copies of their very sizes, so that a byte read too many is seen. */
    unsigned char *text = malloc(size == 0 ? 1 : size);
    check_that(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    int rc = hosts_add_lines(&hosts, "fuzz", mf_bytes_of(text, size), &error);
    check_all(&hosts, rc, &error);
    const unsigned char *end = size == 0 ? NULL : memchr(text, '\n', size);
    char *line = mf_memdup(text, end == NULL ? size : (size_t)(end - text));
    check_that(line != NULL);
    rc = hosts_add_list(&hosts, line, &error);
    check_all(&hosts, rc, &error);
    mf_free(line);
    free(text);
    return 0;
}
