-- SPDX-License-Identifier: Apache-2.0
-- queues.db, schema version 1: the durable queues, the triggers and what they have fired, of one user.
-- docs/queues.md explains every column. Columns that end in _us are microseconds: stamps since 1970 in UTC, or durations.

CREATE TABLE queue (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_us INTEGER NOT NULL,
    body_max INTEGER NOT NULL,          -- bytes
    claims_max INTEGER NOT NULL,        -- failures of a message before it is dead
    key_us INTEGER NOT NULL,            -- how long a de-duplication key is remembered
    -- Kept in step with `message` by the transactions that change it, so that a push counts nothing.
    ready INTEGER NOT NULL DEFAULT 0,
    ready_bytes INTEGER NOT NULL DEFAULT 0,
    claimed INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    pushed INTEGER NOT NULL DEFAULT 0,  -- ever
    done INTEGER NOT NULL DEFAULT 0     -- ever
);

-- A copy of each message that is pushed to `source` goes to `target`, in the same transaction.
CREATE TABLE fan_out (
    source INTEGER NOT NULL REFERENCES queue(id),
    target INTEGER NOT NULL REFERENCES queue(id),
    PRIMARY KEY (source, target)
) WITHOUT ROWID;

CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL REFERENCES queue(id),
    state TEXT NOT NULL,                -- ready, claimed, dead
    arrived_us INTEGER NOT NULL,
    claims INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,    -- 1: another one of its group has to go first
    run_id TEXT,                        -- claimed: of this run; dead: of the last one
    key TEXT,
    grp TEXT,
    cause TEXT,
    body BLOB NOT NULL
);

-- Each index ends with the id, so these are in the order of messages.
CREATE INDEX message_ready ON message(queue, held) WHERE state = 'ready';
CREATE INDEX message_dead ON message(queue) WHERE state = 'dead';
CREATE INDEX message_run ON message(run_id) WHERE state = 'claimed';
-- The order within a group: only its first message that is not dead can be claimed, the others are held.
CREATE INDEX message_group ON message(queue, grp) WHERE grp IS NOT NULL AND state <> 'dead';

-- De-duplication keys, longer than their messages.
CREATE TABLE seen (
    queue INTEGER NOT NULL REFERENCES queue(id),
    key TEXT NOT NULL,
    until_us INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;

CREATE INDEX seen_until ON seen(until_us);

-- One row: the name of this file towards brokers. What was taken from them under it has its keys in `seen`.
CREATE TABLE consumer (
    name TEXT NOT NULL
);

-- What `mayfly trigger install` (or a watcher, from its folder) has registered.
CREATE TABLE trigger (
    name TEXT PRIMARY KEY,              -- of the job
    job_path TEXT NOT NULL,             -- absolute
    job_sha256 TEXT NOT NULL,           -- of the job file as it was installed
    environment TEXT NOT NULL,          -- of its masters: NAME=value, a line each
    kind TEXT NOT NULL,                 -- queue, cron, after
    queue INTEGER REFERENCES queue(id), -- kinds queue and after
    settings TEXT NOT NULL,             -- all of the job's `trigger`, as JSON
    when_count INTEGER,                 -- kind queue; NULL = not said
    when_bytes INTEGER,
    when_age_us INTEGER,
    batch_max INTEGER,
    running_max INTEGER,
    after_job TEXT,                     -- kind after: the name of the other job
    after_state TEXT,                   -- success, failure, always
    watcher TEXT,                       -- the folder whose watcher serves it; NULL = installed by hand
    installed_us INTEGER NOT NULL,
    last_due_us INTEGER,                -- kind cron: all that was due up to then is settled
    waiting INTEGER NOT NULL DEFAULT 0, -- kind cron, overlap queue: firings that wait for the running one
    not_before_us INTEGER,              -- after failures: not tried again before
    failed INTEGER NOT NULL DEFAULT 0,  -- runs in a row that failed
    last_run TEXT,
    last_error TEXT
);

CREATE INDEX trigger_queue ON trigger(queue) WHERE queue IS NOT NULL;
CREATE INDEX trigger_after ON trigger(after_job) WHERE after_job IS NOT NULL;

-- A run that was decided on: bound to its run id, and perhaps to messages, for ever. The decision is this row; the run
-- folder follows, and whoever finds the row without a live master carries it on.
CREATE TABLE firing (
    run_id TEXT PRIMARY KEY,
    trigger TEXT,                       -- NULL: a run by hand that claims messages
    queue INTEGER,
    cause TEXT NOT NULL,                -- count, bytes, age, cron, after, hand
    due_us INTEGER,                     -- kind cron: when it was to be
    input TEXT,                         -- kind after: the folder of the other run
    made_us INTEGER NOT NULL,
    starter TEXT NOT NULL,              -- the process that starts the master: pid, its start time, boot id; '' = none
    tries INTEGER NOT NULL DEFAULT 0,   -- how often its master was started
    not_before_us INTEGER,              -- it is not carried on again before
    lease_us INTEGER,                   -- stamp: the master has said until then that it lives
    messages INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,                -- open, succeeded, partial, failed, cancelled, given_up
    ended_us INTEGER,
    text TEXT                           -- why it was given up
);

CREATE INDEX firing_open ON firing(trigger) WHERE state = 'open';
CREATE INDEX firing_ended ON firing(ended_us) WHERE ended_us IS NOT NULL;

-- Runs whose notifications may not all be delivered: the truth is the outbox in their run.db.
CREATE TABLE outbox_run (
    run_id TEXT PRIMARY KEY
);

PRAGMA application_id = 1298233713;
PRAGMA user_version = 1;
