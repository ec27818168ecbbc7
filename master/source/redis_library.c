/* SPDX-License-Identifier: Apache-2.0 */
/* Loading hiredis: see redis_library.h. */
#include "master/source/redis_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define LIBRARY "libhiredis.so.0.14"
#define PACKAGE "libhiredis0.14"

_Static_assert(HIREDIS_MAJOR == 0 && HIREDIS_MINOR == 14, "LIBRARY is that of the header");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct redis_library library;
static bool is_loaded;

static int load_symbol(void *handle, const char *name, void *where, struct mf_error *error)
{
    void *symbol = dlsym(handle, name);
    if (symbol == NULL)
        return mf_raise(error,
                        MF_ESETUP,
                        LIBRARY " has no %s: install Debian's package " PACKAGE " anew",
                        name);
    memcpy(where, &symbol, sizeof symbol); /* ISO C knows no cast from an object to a function */
    return 0;
}

static int load_all(void *handle, struct mf_error *error)
{
    const struct {
        const char *name;
        void *where;
    } symbols[] = {
        {"redisConnectWithTimeout", &library.connect},
        {"redisConnectUnixWithTimeout", &library.connect_unix},
        {"redisSetTimeout", &library.set_timeout},
        {"redisFormatCommandArgv", &library.format},
        {"redisFreeCommand", &library.free_command},
        {"redisGetReply", &library.get_reply},
        {"freeReplyObject", &library.free_reply},
        {"redisFree", &library.free_context},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (load_symbol(handle, symbols[i].name, symbols[i].where, error) < 0)
            return -1;
    return 0;
}

static int load(struct mf_error *error)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        return mf_raise(error,
                        MF_ESETUP,
                        "a Redis server is asked by means of " LIBRARY
                        ", which cannot be loaded: install Debian's package " PACKAGE " (%s)",
                        dlerror());
    if (load_all(handle, error) == 0)
        return 0;
    dlclose(handle);
    return -1;
}

const struct redis_library *redis_library(struct mf_error *error)
{
    pthread_mutex_lock(&lock);
    if (!is_loaded)
        is_loaded = load(error) == 0;
    bool is_there = is_loaded;
    pthread_mutex_unlock(&lock);
    return is_there ? &library : NULL;
}
