/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl, loaded when the first webhook is told: those who have none link nothing and need not
 * have it. Any thread.
 */
#ifndef MAYFLY_MASTER_NOTIFY_CURL_H
#define MAYFLY_MASTER_NOTIFY_CURL_H

#include <curl/curl.h>

#include "common/error.h"

/* Its functions under their names without curl_. */
struct curl_library {
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
    CURLcode (*easy_perform)(CURL *);
    CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
    void (*easy_cleanup)(CURL *);
    const char *(*easy_strerror)(CURLcode);
    struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
    void (*slist_free_all)(struct curl_slist *);
};

/* The library, for good; NULL: MF_ESETUP, with what is to be installed. */
const struct curl_library *curl_library(struct mf_error *error);

#endif
