/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job: the description of a batch, read from a YAML file against the one schema table (schema.h)
 * that also drives error messages, docs/job-file.md and `mayfly lint`. Not thread-safe; read-only
 * once loaded.
 */
#ifndef MAYFLY_MASTER_JOB_JOB_H
#define MAYFLY_MASTER_JOB_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/message.h"

enum split_kind {
    SPLIT_FILES = 1,
    SPLIT_LINES,
    SPLIT_RECORDS,
    SPLIT_RANGE,
    SPLIT_LIST,
    SPLIT_QUEUE
};
enum queue_items { QUEUE_VALUES = 1, QUEUE_FILES };
enum records_format { RECORDS_CSV = 1, RECORDS_TSV, RECORDS_JSONL, RECORDS_PARAGRAPHS };
enum gather_kind { GATHER_NONE = 1, GATHER_CONCAT, GATHER_JSONL, GATHER_CSV, GATHER_SQL };
enum output_format { OUTPUT_TEXT = 1, OUTPUT_CSV, OUTPUT_TSV, OUTPUT_JSONL };
enum column_type { COLUMN_TEXT = 1, COLUMN_INTEGER, COLUMN_REAL };
enum launcher_kind { LAUNCHER_LOCAL = 1, LAUNCHER_SSH, LAUNCHER_SLURM, LAUNCHER_COMMAND };
/* Whether inputs and the job's own files travel to the workers. */
enum staging_mode {
    STAGING_AUTO = 1, /* those that a worker does not find under their path, the very same files */
    STAGING_ALWAYS,
    STAGING_NEVER
};
/* Who makes the connection between a master and a worker on another host. */
enum connect_mode {
    CONNECT_AUTO = 1, /* the worker; when it finds no way, the master; then through SSH */
    CONNECT_WORKER,
    CONNECT_MASTER,
    CONNECT_SSH /* the master, through a channel of SSH */
};
enum ssh_client { SSH_CLIENT_AUTO = 1, SSH_CLIENT_LIBSSH2, SSH_CLIENT_OPENSSH };
enum durability { DURABILITY_FULL = 1, DURABILITY_PROCESS };

/* A list of strings; item i has lines[i] as its place in the job file. */
struct job_strings {
    size_t count;
    char **items;
};

struct job_column {
    char *name;
    enum column_type type;
};

struct job_range {
    uint64_t first, last; /* last is inclusive */
};

/* Sorted, apart from each other; none = all. */
struct job_only {
    size_t count;
    struct job_range *ranges;
};

struct job_split {
    enum split_kind kind;
    struct job_strings
        globs; /* files, lines, records: inputs, relative to the job's folder or absolute */
    uint64_t group_bytes; /* files: group inputs up to this size into one subtask; 0 = one each */
    uint64_t chunk_lines; /* lines, records: so many a piece; 0 = by bytes */
    uint64_t chunk_bytes; /* lines, records: about so many bytes a piece */
    enum records_format format;                  /* records */
    int64_t range_first, range_last, range_step; /* range: last is inclusive */
    struct job_strings list;                     /* list */
    char *queue;                                 /* queue: its name */
    uint64_t batch_max;            /* queue: so many messages at most for a run started by hand */
    enum queue_items items;        /* queue: what a body is */
    bool allow_empty;              /* a plan without subtasks succeeds; else it is an error */
    struct job_strings only_texts; /* as written */
    struct job_only only;          /* pieces that are wanted, by their numbers */
};

struct job_retries {
    uint32_t max;
    uint64_t backoff_us, cap_us;
    double factor;
    bool jitter_full;
    uint32_t final_code_count;
    int32_t final_codes[32];
};

struct job_output {
    enum output_format format;
    size_t column_count;
    struct job_column
        *columns; /* declared ones; for csv and tsv without a declaration, the header names them */
    uint64_t max_bytes; /* of a result (64 MiB) */
};

/* One entry of a host list: `user@host:port/slots`, or `:` for this machine. One worker each. */
struct job_host {
    char *text; /* as it was written, for messages about the list */
    char *name; /* the same without slots: what the host is called in the run */
    bool is_local;
    char *user;     /* NULL = not said */
    char *host;     /* without brackets; NULL when local */
    uint16_t port;  /* 0 = not said */
    uint32_t slots; /* 0 = not said: those of the job, else one a core */
    char *identity; /* its own private key file; NULL = that of the job */
};

struct job_hosts {
    size_t count;
    struct job_host *items;
};

/* A value from outside: exactly one of file, command and env says where it comes from; or `text` is
 * the value itself, for keys that allow that. */
struct job_secret {
    char *name;  /* of `secrets`; else NULL */
    char *place; /* "FILE:LINE: secrets.NAME", for messages; NULL = not given */
    char *text;
    char *file; /* absolute */
    struct job_strings command;
    char *env; /* a variable of the master's environment */
};

/* What subscribers can be told of, as bits 1 << event of job_notify.events; the names are those of
 * notify_event_name. */
enum notify_event {
    NOTIFY_STARTED = 1,
    NOTIFY_SUCCEEDED,
    NOTIFY_PARTIAL,
    NOTIFY_FAILED,
    NOTIFY_CANCELLED,
    NOTIFY_DEAD /* there are more dead letters than dead_above */
};
#define NOTIFY_MAX 32 /* subscribers of a job */

/* One of `notify`: exactly one of command, shell, webhook and queue is given. */
struct job_notify {
    char *place;           /* "FILE:LINE: notify[2]", for messages */
    struct job_strings on; /* as written; `events` is what it means */
    unsigned events;
    uint64_t dead_above;
    struct job_strings command;
    char *shell;
    struct job_secret webhook; /* the address */
    struct job_secret secret;  /* the key of the signature */
    char *ca_file;             /* absolute; NULL = the system's authorities */
    char *queue;
    bool lines; /* queue: each line of the result is a message, too */
    uint64_t timeout_us;
};

/* "started", ...; NULL for a number that is none. */
const char *notify_event_name(int event);

/* How to log in over SSH: workers.ssh, or the command line. NULL = not said. */
struct job_ssh {
    char *identity, *known_hosts;
    struct job_strings identities; /* "HOST KEY" each: which is in the job's hosts, too */
    char *config;                  /* or "none" */
    bool accept_new;
    enum ssh_client client;
};

/* workers.slurm: what sbatch is asked for, for each worker. NULL, 0 = not said. */
struct job_slurm {
    char *partition, *account;
    char *folder; /* absolute: one that the nodes see, too; NULL = the run's own */
    uint64_t time_us, memory;
    uint32_t cpus;
    struct job_strings options;
};

/* workers.command: argument vectors that start, list and stop workers. */
struct job_launch_commands {
    struct job_strings start, list, stop;
    char *folder;  /* absolute: one that the workers see, too; NULL = the run's own */
    char *program; /* absolute, where the workers are; NULL = it is brought in the folder */
    uint64_t timeout_us;
    uint64_t join_us; /* 0 = no limit */
};

enum trigger_kind { TRIGGER_NONE, TRIGGER_QUEUE, TRIGGER_CRON, TRIGGER_AFTER };
enum trigger_overlap { OVERLAP_SKIP = 1, OVERLAP_QUEUE, OVERLAP_ALLOW };
enum trigger_catchup { CATCHUP_NONE = 1, CATCHUP_LAST, CATCHUP_ALL };
enum trigger_on { AFTER_SUCCESS = 1, AFTER_FAILURE, AFTER_ALWAYS };

/* A source of messages: one of list and stream is set, or neither (no such source). */
struct job_redis {
    char *server;
    char *list, *stream;
    char *group;                /* of a stream */
    char *user;                 /* NULL = not said */
    struct job_secret password; /* one of its sources is set, or none */
};

/* What starts the job; what does not belong to its kind has its default, and says nothing. */
struct job_trigger {
    enum trigger_kind kind;
    char *queue;          /* kind queue */
    uint64_t when_count;  /* 0 = not said, as for the next two; at least one of them is */
    uint64_t when_bytes;  /* bytes */
    uint64_t when_age_us; /* us */
    uint64_t batch_max;   /* messages of a run */
    uint64_t running_max; /* runs at a time; kinds queue and after */
    char *spool;          /* absolute; NULL = no such source */
    struct job_redis redis;
    char *cron; /* kind cron: the expression as written */
    char *zone; /* NULL = that of the machine */
    enum trigger_overlap overlap;
    enum trigger_catchup catchup;
    uint64_t jitter_us;
    char *after; /* kind after: the name of the other job */
    enum trigger_on on;
};

struct job {
    char *path;   /* of the job file, as given */
    char *folder; /* absolute: where relative paths start; that of the job file unless it says so */
    char *text; /* the file's bytes as read (kept as job.yaml in the run folder, with --set applied:
                   see job_write) */
    size_t text_length;
    char *name;
    struct job_split split;
    struct job_strings prepare; /* an argument vector run by the master before the plan, or empty */
    char *prepare_shell;        /* or a shell line */
    bool is_noop;               /* executor noop (MAYFLY_BENCH builds only) */
    struct job_strings command; /* task.command, or empty */
    char *shell;                /* task.shell, or NULL */
    struct job_strings files;
    struct job_strings env; /* "NAME=template" */
    char *cwd;              /* NULL = the attempt's folder */
    enum mf_stdin stdin_mode;
    struct job_output output;
    struct job_strings outputs;
    uint64_t timeout_us, kill_after_us; /* 0 = no limit; 5 s */
    uint64_t log_max;                   /* bytes of a log stream that are kept (16 MiB) */
    struct job_retries retries;
    enum gather_kind gather;
    char *gather_sql;
    enum launcher_kind launcher;
    uint32_t worker_count; /* 1; with hosts, one for each of them; elastic: of the beginning */
    uint32_t worker_min, worker_max; /* elastic: worker_min < worker_max; else both worker_count */
    uint64_t worker_idle_us;         /* elastic: one that has nothing for so long ends; 30 s */
    struct job_hosts hosts;          /* launcher ssh: at least one */
    char *hosts_file; /* that they were read from; NULL = none (the copy in the run folder has
                         them in a list) */
    char *inventory;  /* of Ansible, absolute, perhaps with `:group`; NULL = none. Its hosts are not
                         in `hosts`: master/inventory.h makes a job of it that has them */
    struct job_ssh ssh; /* paths are absolute */
    struct job_slurm slurm;
    struct job_launch_commands launch;
    char *advertise;  /* an address of this machine that workers can dial; NULL = those found */
    bool keep_worker; /* leave the worker's program on the hosts */
    enum staging_mode staging;
    enum connect_mode connect;
    uint32_t slots;      /* a worker; 0 = one a core */
    uint32_t max_losses; /* of workers in a row before a host is left out; 0 = any number */
    uint64_t tolerate_count;
    double tolerate_share;
    bool stop_on_failure;
    enum durability durability;
    double straggler_factor; /* 0 = never */
    uint64_t straggler_after_us;
    uint64_t run_timeout_us; /* 0 = no limit */
    uint64_t lease_us, orphan_us, credentials_ttl_us, disk_wait_us;
    size_t secret_count;
    struct job_secret *secrets;
    size_t notify_count;
    struct job_notify *notify;
    struct job_trigger trigger;
    bool keep_folders; /* for debugging: keep attempts' folders until dismissal */
};

/*
 * Reads and checks a job file. `sets`: "key=value" pairs of --set (dotted keys, value as YAML),
 * applied before the check. On failure NULL and MF_EUSAGE with "FILE:LINE: KEY: what was expected
 * (nearest known key)", one sentence.
 */
struct job *
job_load(const char *path, const char *const *sets, size_t set_count, struct mf_error *error);

/* As job_load, of bytes in memory; `path` is for messages, `folder` for relative inputs. Of the
 * files that the job names, only workers.hosts_file is looked at. */
struct job *job_parse(const char *path,
                      const char *folder,
                      struct mf_bytes text,
                      const char *const *sets,
                      size_t set_count,
                      struct mf_error *error);

void job_destroy(struct job *job);

/* Workers come from an engine that chooses where they run: there are no hosts in the job. */
bool job_has_engine(const struct job *job);

/* The effective job file (with --set applied) as bytes for the run folder. Appends to out. */
int job_write(const struct job *job, struct mf_buffer *out, struct mf_error *error);

/* Fills the part that travels to workers; borrows from job (and from *scratch, which the caller
 * frees by mf_free). */
int job_task(const struct job *job,
             const char *prepared_folder,
             struct mf_task *task,
             void **scratch,
             struct mf_error *error);

#endif
