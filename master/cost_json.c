/* SPDX-License-Identifier: Apache-2.0 */
/* The cost account in JSON and in words: see cost_json.h. */
#include "master/cost_json.h"

#include <stdio.h>

#include "common/alloc.h"
#include "master/record/cost.h"
#include "master/record/run_db.h"
#include "master/run_folder.h"

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

static json_t *share_json(const struct cost_share *share)
{
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:f}",
                     "workers",
                     (int)share->workers,
                     "paid",
                     seconds(share->paid_us),
                     "busy",
                     seconds(share->busy_us),
                     "idle",
                     seconds(share->idle_us),
                     "launching",
                     seconds(share->launching_us),
                     "dismissing",
                     seconds(share->dismissing_us));
}

static json_t *host_json(const struct cost_share *share)
{
    json_t *object = share_json(share);
    /* A job file is UTF-8, but what a worker says of itself need not be. */
    json_t *name = json_string(share->host);
    if (object != NULL &&
        json_object_set_new(object, "host", name == NULL ? json_string("?") : name) < 0) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static json_t *account_json(const struct cost *cost)
{
    json_t *account = share_json(&cost->total), *hosts = json_array();
    int rc = account == NULL || hosts == NULL ? -1 : 0;
    for (size_t i = 0; i < cost->count && rc == 0; i++)
        rc = json_array_append_new(hosts, host_json(&cost->hosts[i]));
    if (rc == 0)
        rc = json_object_set(account, "hosts", hosts);
    json_decref(hosts);
    if (rc == 0)
        return account;
    json_decref(account);
    return NULL;
}

json_t *cost_json(const char *folder, int64_t open_us, struct mf_error *error)
{
    struct cost cost;
    char *path = run_path(folder, "run.db");
    if (path == NULL) {
        mf_raise(error, MF_ENOMEM, "out of memory: a path");
        return NULL;
    }
    sqlite3 *db = run_db_open(path, error);
    mf_free(path);
    int rc = db == NULL ? -1 : cost_read(db, open_us, &cost, error);
    run_db_close(db);
    if (rc < 0)
        return NULL;
    json_t *account = account_json(&cost);
    cost_fini(&cost);
    if (account == NULL)
        mf_raise(error, MF_ENOMEM, "out of memory: the cost of a run");
    return account;
}

static double part(const json_t *share, const char *key)
{
    return json_number_value(json_object_get(share, key));
}

const char *cost_text(const json_t *share, char *out, size_t size)
{
    double paid = part(share, "paid"), busy = part(share, "busy");
    snprintf(out,
             size,
             "%.1f host-seconds: %.1f busy (%.0f %%), %.1f idle, %.1f launching, %.1f dismissing",
             paid,
             busy,
             paid > 0 ? 100 * busy / paid : 0,
             part(share, "idle"),
             part(share, "launching"),
             part(share, "dismissing"));
    return out;
}
