/* SPDX-License-Identifier: Apache-2.0 */
/* Loading libcurl: see curl.h. */
#include "master/notify/curl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

/* As Debian's libcurl4, libcurl3-gnutls and libcurl3-nss name it; the interface is the same. */
static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4", "libcurl-nss.so.4"};

static struct curl_library library;
static struct mf_error problem; /* code MF_OK: it is loaded */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* POSIX lets a pointer to data be one to a function, ISO C does not: hence the copy. */
static int find(void *handle, const char *name, void *function)
{
    void *symbol = dlsym(handle, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL ? 0 : -1;
}

static void *open_any(void)
{
    void *handle = NULL;
    for (size_t i = 0; handle == NULL && i < sizeof names / sizeof *names; i++)
        handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return handle;
}

static void load(void)
{
    CURLcode (*global_init)(long) = NULL;
    void *handle = open_any();
    if (handle == NULL) {
        mf_raise(&problem,
                 MF_ESETUP,
                 "webhooks need libcurl, which is not here: install Debian's package libcurl4");
        return;
    }
    if (find(handle, "curl_global_init", &global_init) < 0 ||
        find(handle, "curl_easy_init", &library.easy_init) < 0 ||
        find(handle, "curl_easy_setopt", &library.easy_setopt) < 0 ||
        find(handle, "curl_easy_perform", &library.easy_perform) < 0 ||
        find(handle, "curl_easy_getinfo", &library.easy_getinfo) < 0 ||
        find(handle, "curl_easy_cleanup", &library.easy_cleanup) < 0 ||
        find(handle, "curl_easy_strerror", &library.easy_strerror) < 0 ||
        find(handle, "curl_slist_append", &library.slist_append) < 0 ||
        find(handle, "curl_slist_free_all", &library.slist_free_all) < 0 ||
        global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        mf_raise(&problem,
                 MF_ESETUP,
                 "the libcurl of this machine cannot be used: install Debian's package libcurl4");
}

const struct curl_library *curl_library(struct mf_error *error)
{
    pthread_once(&once, load);
    if (problem.code == MF_OK)
        return &library;
    if (error != NULL)
        *error = problem;
    return NULL;
}
