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

enum split_kind { SPLIT_FILES = 1, SPLIT_LINES, SPLIT_RECORDS, SPLIT_RANGE, SPLIT_LIST };
enum records_format { RECORDS_CSV = 1, RECORDS_TSV, RECORDS_JSONL, RECORDS_PARAGRAPHS };
enum gather_kind { GATHER_NONE = 1, GATHER_CONCAT, GATHER_JSONL, GATHER_CSV, GATHER_SQL };
enum output_format { OUTPUT_TEXT = 1, OUTPUT_CSV, OUTPUT_TSV, OUTPUT_JSONL };
enum column_type { COLUMN_TEXT = 1, COLUMN_INTEGER, COLUMN_REAL };
enum launcher_kind { LAUNCHER_LOCAL = 1, LAUNCHER_SSH };
/* Whether inputs and the job's own files travel to the workers. */
enum staging_mode {
    STAGING_AUTO = 1, /* those that a worker does not find under their path, the very same files */
    STAGING_ALWAYS,
    STAGING_NEVER
};
/* Who makes the connection between a master and a worker on another host. */
enum connect_mode {
    CONNECT_AUTO = 1, /* the worker; when it finds no way, the master */
    CONNECT_WORKER,
    CONNECT_MASTER
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
};

struct job_hosts {
    size_t count;
    struct job_host *items;
};

/* One of `secrets`: exactly one of file, command and env says where its value comes from. */
struct job_secret {
    char *name;
    char *place; /* "FILE:LINE: secrets.NAME", for messages */
    char *file;  /* absolute */
    struct job_strings command;
    char *env; /* a variable of the master's environment */
};

/* How to log in over SSH: workers.ssh, or the command line. NULL = not said. */
struct job_ssh {
    char *identity, *known_hosts;
    char *config; /* or "none" */
    bool accept_new;
    enum ssh_client client;
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
    uint32_t worker_count;  /* 1; with hosts, one for each of them */
    struct job_hosts hosts; /* launcher ssh: at least one */
    char *hosts_file;       /* that they were read from; NULL = none (the copy in the run folder has
                               them in a list) */
    struct job_ssh ssh;     /* paths are absolute */
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
