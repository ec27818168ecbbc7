/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who does the work: hosts and what goes with them. What the command line says of hosts outranks
 * what the file says of workers, and goes into the copy in its place; so do the entries of a host
 * file, so that the copy depends on no other file.
 */
#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "master/job/hosts.h"
#include "master/job/read.h"

/* Where hosts come from: one of these. */
#define SOURCES 3
static const char *const sources[SOURCES] = {
    "workers.hosts", "workers.hosts_file", "workers.inventory"};

/* How many: a count, or bounds. */
static const char *const bounds[] = {"workers.min", "workers.max", "workers.idle"};

static size_t rank_of(const struct reader *reader, const char *path)
{
    return tree_rank(&reader->tree, reader_seen(reader, path));
}

/* Drops `path` of the file when `other` comes from the command line. */
static void give_way(struct reader *reader, const char *path, const char *other)
{
    if (reader_seen(reader, other) > 0 && rank_of(reader, other) > 0 &&
        reader_seen(reader, path) > 0 && rank_of(reader, path) == 0)
        reader_drop(reader, path);
}

static void settle_ranks(struct reader *reader)
{
    struct job *job = reader->job;
    for (size_t i = 0; i < 3; i++) { /* a number on the command line, against one of the file */
        give_way(reader, "workers.count", bounds[i]);
        give_way(reader, bounds[i], "workers.count");
    }
    for (size_t i = 0; i < SOURCES; i++) {
        give_way(reader, "workers.count", sources[i]);
        give_way(reader, "workers.launcher", sources[i]);
        for (size_t other = 0; other < SOURCES; other++)
            if (other != i)
                give_way(reader, sources[other], sources[i]);
    }
    if (reader_seen(reader, "workers.hosts") == 0)
        hosts_fini(&job->hosts);
    if (reader_seen(reader, "workers.hosts_file") == 0) {
        mf_free(job->hosts_file);
        job->hosts_file = NULL;
    }
    if (reader_seen(reader, "workers.inventory") == 0) {
        mf_free(job->inventory);
        job->inventory = NULL;
    }
}

static int check_one_source(const struct reader *reader, struct mf_error *error)
{
    const char *first = NULL;
    for (size_t i = 0; i < SOURCES; i++) {
        if (reader_seen(reader, sources[i]) == 0)
            continue;
        if (first != NULL)
            return reader_raise(
                reader, sources[i], error, "%s is given too; one of the two is expected", first);
        first = sources[i];
    }
    return 0;
}

/* The host file's entries take its place in the tree. */
static int inline_hosts(struct reader *reader, struct mf_error *error)
{
    const struct job_hosts *hosts = &reader->job->hosts;
    struct mf_bytes *texts = mf_calloc(hosts->count, sizeof *texts);
    if (texts == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: a list of hosts");
    for (size_t i = 0; i < hosts->count; i++)
        texts[i] = mf_bytes_text(hosts->items[i].text);
    int mapping = reader_seen(reader, "workers");
    tree_drop(&reader->tree, mapping, "hosts_file");
    int rc = tree_put_list(&reader->tree, mapping, "hosts", texts, hosts->count, false, error);
    reader->is_changed = true;
    mf_free(texts);
    return rc;
}

static int read_hosts_file(struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    struct mf_error inner = {0};
    if (job->hosts_file == NULL)
        return 0;
    if (hosts_read(&job->hosts, job->hosts_file, &inner) == 0)
        return inline_hosts(reader, error);
    /* Of the command line, the file's name says it all. */
    if (inner.code == MF_ENOMEM || rank_of(reader, "workers.hosts_file") > 0)
        return mf_raise(error, inner.code, "%s", inner.text);
    return reader_raise(reader, "workers.hosts_file", error, "%s", inner.text);
}

/* Local workers are all alike, and stand nowhere else. */
static int check_local_hosts(const struct reader *reader, struct mf_error *error)
{
    const struct job_hosts *hosts = &reader->job->hosts;
    for (size_t i = 0; i < hosts->count; i++) {
        if (!hosts->items[i].is_local)
            return reader_raise(reader,
                                "workers.launcher",
                                error,
                                "'local' starts workers on this machine only, but '%.60s' is "
                                "another host; expected ssh, or no launcher",
                                hosts->items[i].text);
        if (hosts->items[i].slots > 0)
            return reader_raise(reader,
                                "workers.launcher",
                                error,
                                "with 'local' all workers have the same slots: write workers.slots "
                                "instead of '%.60s'",
                                hosts->items[i].text);
    }
    return 0;
}

static int check_hosts(const struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    bool has_launcher = reader_seen(reader, "workers.launcher") > 0;
    if (!has_launcher)
        job->launcher =
            job->hosts.count > 0 || job->inventory != NULL ? LAUNCHER_SSH : LAUNCHER_LOCAL;
    if (job->hosts.count == 0 && job->inventory == NULL) {
        if (reader_seen(reader, "workers.hosts") > 0)
            return reader_raise(
                reader, "workers.hosts", error, "the list is empty; at least one host is expected");
        if (job->launcher == LAUNCHER_SSH)
            return reader_raise(reader,
                                "workers.launcher",
                                error,
                                "ssh needs workers.hosts, workers.hosts_file or workers.inventory "
                                "(--hosts H,H, --hosts-file F or --inventory F)");
        return 0;
    }
    if (job_has_engine(job))
        return reader_raise(reader,
                            "workers.launcher",
                            error,
                            "with %s the hosts: leave the list out, and say workers.count",
                            job->launcher == LAUNCHER_SLURM ? "slurm the cluster chooses"
                                                            : "command your commands choose");
    if (reader_seen(reader, "workers.count") > 0)
        return reader_raise(
            reader,
            "workers.count",
            error,
            "a host in the list is one worker; name it twice for two, and leave the count out");
    if (job->inventory != NULL && job->launcher == LAUNCHER_LOCAL)
        return reader_raise(reader,
                            "workers.launcher",
                            error,
                            "'local' starts workers on this machine only, but the hosts are those "
                            "of an inventory; expected ssh, or no launcher");
    if (job->inventory != NULL)
        return 0; /* they are not known yet */
    job->worker_count = (uint32_t)job->hosts.count;
    return job->launcher == LAUNCHER_LOCAL ? check_local_hosts(reader, error) : 0;
}

/* "HOST KEY": sets *path to the key's. The length of the host's name, 0 = it is no such line. */
static size_t cut_identity(const char *line, const char **path)
{
    size_t length = strcspn(line, " \t");
    *path = line + length + strspn(line + length, " \t");
    return **path == '\0' ? 0 : length;
}

static bool names_host(const char *line, size_t length, const struct job_host *host)
{
    return strlen(host->name) == length && strncmp(host->name, line, length) == 0;
}

/* Gives the key to the hosts of that name. Their number; -1. */
static int give_identity(const struct reader *reader, const char *line, struct mf_error *error)
{
    const struct job_hosts *hosts = &reader->job->hosts;
    struct mf_error inner = {0};
    const char *text = NULL;
    size_t length = cut_identity(line, &text);
    int count = 0;
    if (length == 0)
        return reader_raise(reader,
                            "workers.ssh.identities",
                            error,
                            "expected a host, a blank and the file of its key, got '%.60s'",
                            line);
    for (size_t i = 0; i < hosts->count; i++) {
        struct job_host *host = &hosts->items[i];
        if (!names_host(line, length, host))
            continue;
        count++;
        mf_free(host->identity);
        host->identity = read_path_text(reader->job, text, &inner);
        if (host->identity == NULL)
            return inner.code == MF_ENOMEM
                       ? mf_raise(error, MF_ENOMEM, "%s", inner.text)
                       : reader_raise(reader, "workers.ssh.identities", error, "%s", inner.text);
    }
    return count;
}

/* Keys of single hosts. Where the command line has other hosts or another key, they don't count;
 * those of hosts that an inventory is to name can't be checked yet. */
static int check_identities(struct reader *reader, struct mf_error *error)
{
    static const char key[] = "workers.ssh.identities";
    struct job_strings *lines = &reader->job->ssh.identities;
    size_t rank = rank_of(reader, key);
    bool is_known = reader->job->inventory == NULL;
    for (size_t i = 0; i < SOURCES; i++)
        if (reader_seen(reader, sources[i]) > 0 && rank_of(reader, sources[i]) > rank)
            is_known = false;
    give_way(reader, key, "workers.ssh.identity");
    for (size_t i = 0; reader_seen(reader, key) > 0 && i < lines->count; i++) {
        int count = give_identity(reader, lines->items[i], error);
        if (count < 0)
            return -1;
        if (count == 0 && is_known)
            return reader_raise(reader,
                                key,
                                error,
                                "'%.60s' begins with none of the hosts; expected one as it stands "
                                "in the list, without slots",
                                lines->items[i]);
    }
    return 0;
}

static int check_advertise(const struct reader *reader, struct mf_error *error)
{
    const char *text = reader->job->advertise;
    struct in_addr v4;
    struct in6_addr v6;
    if (text == NULL)
        return 0;
    bool is_v4 = inet_pton(AF_INET, text, &v4) == 1, is_v6 = inet_pton(AF_INET6, text, &v6) == 1;
    if (!is_v4 && !is_v6)
        return reader_raise(reader,
                            "workers.advertise",
                            error,
                            "expected a numeric address of this machine, such as 10.0.0.1 or "
                            "fd00::1, without a port, got '%.60s'",
                            text);
    if (is_v4 ? v4.s_addr == htonl(INADDR_ANY) : IN6_IS_ADDR_UNSPECIFIED(&v6))
        return reader_raise(reader,
                            "workers.advertise",
                            error,
                            "%s stands for every address; expected one that workers can dial",
                            text);
    return 0;
}

/* What is said of neither: as many as there may usefully be. */
static uint32_t default_max(const struct job *job)
{
    if (job->hosts.count > 0)
        return (uint32_t)job->hosts.count;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t most = processors > 0 ? (uint32_t)processors : 1;
    most = job->slots == 0 ? 1 : most / job->slots; /* without slots one worker takes them all */
    return most > job->worker_min ? most : job->worker_min;
}

static int check_max(const struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    bool has_max = reader_seen(reader, "workers.max") > 0;
    uint32_t hosts = (uint32_t)job->hosts.count;
    if (!has_max && job->launcher != LAUNCHER_LOCAL && hosts == 0)
        return reader_raise(reader,
                            reader_seen(reader, "workers.min") > 0 ? "workers.min" : "workers.idle",
                            error,
                            "how many workers there may be is not known here: workers.max is "
                            "expected, too");
    if (!has_max)
        job->worker_max = default_max(job);
    if (hosts > 0 && job->worker_min > hosts)
        return reader_raise(reader,
                            "workers.min",
                            error,
                            "there are %u hosts, and each is one worker; expected at most that, "
                            "got %u",
                            hosts,
                            job->worker_min);
    if (hosts > 0 && job->worker_max > hosts)
        job->worker_max = hosts;
    if (job->worker_min > job->worker_max)
        return reader_raise(reader,
                            "workers.min",
                            error,
                            "it is larger than workers.max: %u and %u",
                            job->worker_min,
                            job->worker_max);
    return 0;
}

/* Between which bounds the number of workers moves. */
static int check_bounds(const struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    bool is_elastic =
        reader_seen(reader, "workers.min") > 0 || reader_seen(reader, "workers.max") > 0;
    if (!is_elastic && reader_seen(reader, "workers.idle") > 0)
        return reader_raise(
            reader, "workers.idle", error, "it counts with workers.min or workers.max only");
    if (is_elastic && reader_seen(reader, "workers.count") > 0)
        return reader_raise(reader,
                            "workers.count",
                            error,
                            "how many workers there are is said twice: either a count, or "
                            "workers.min and workers.max");
    if (is_elastic && job->inventory != NULL && job->hosts.count == 0)
        return job->worker_min <= job->worker_max || reader_seen(reader, "workers.max") == 0
                   ? 0
                   : check_max(reader, error);
    if (is_elastic && check_max(reader, error) < 0)
        return -1;
    if (!is_elastic)
        job->worker_min = job->worker_max = job->worker_count;
    job->worker_count = job->worker_min;
    return 0;
}

/* A worker is one task of an array, which has 1,000 by default. */
#define SLURM_WORKERS_MAX 1000u

static int check_slurm(const struct reader *reader, struct mf_error *error)
{
    struct job *job = reader->job;
    if (job->launcher != LAUNCHER_SLURM)
        return reader_seen(reader, "workers.slurm") == 0
                   ? 0
                   : reader_raise(
                         reader, "workers.slurm", error, "it counts with launcher: slurm only");
    if (job->worker_max > SLURM_WORKERS_MAX)
        return reader_raise(reader,
                            reader_seen(reader, "workers.max") > 0 ? "workers.max"
                                                                   : "workers.count",
                            error,
                            "slurm has up to %u workers a run, got %u",
                            SLURM_WORKERS_MAX,
                            job->worker_max);
    if (job->slurm.cpus == 0)
        job->slurm.cpus = job->slots > 0 ? job->slots : 1;
    if (job->slots == 0)
        job->slots = job->slurm.cpus;
    return 0;
}

int check_workers(struct reader *reader, struct mf_error *error)
{
    settle_ranks(reader);
    if (check_one_source(reader, error) < 0 || read_hosts_file(reader, error) < 0 ||
        check_hosts(reader, error) < 0 || check_bounds(reader, error) < 0 ||
        check_slurm(reader, error) < 0 || check_command(reader, error) < 0 ||
        check_identities(reader, error) < 0)
        return -1;
    return check_advertise(reader, error);
}
