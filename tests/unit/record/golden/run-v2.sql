-- SPDX-License-Identifier: Apache-2.0
-- A run.db of schema version 2, as mayfly 0.1.0 wrote it: never changed, later versions must read it.
PRAGMA application_id = 1298233702;
PRAGMA user_version = 2;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE run (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema_version INTEGER NOT NULL,
    version TEXT NOT NULL,
    run_id TEXT NOT NULL,
    job_name TEXT NOT NULL,
    job_path,
    job_folder,
    job TEXT NOT NULL,
    durability TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    epoch INTEGER NOT NULL,
    high_water INTEGER NOT NULL DEFAULT 0,
    total INTEGER,
    done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0,
    retried INTEGER NOT NULL DEFAULT 0,
    fenced INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    started_us INTEGER NOT NULL,
    ended_us INTEGER,
    address TEXT
);
INSERT INTO run VALUES(1,2,'0.1.0','20261122-084512-test-7f3a','test','job.yaml','/jobs/test',replace('mayfly: 1\n','\n',char(10)),'full','partial','dead letters',2,8,8,3,1,2,2,5,1,11,1699999999000000,1700000003000000,'127.0.0.1:41234');
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    subtask INTEGER GENERATED ALWAYS AS (id >> 16) VIRTUAL,
    attempt INTEGER GENERATED ALWAYS AS (id & 65535) VIRTUAL,
    state TEXT NOT NULL,
    superseded INTEGER NOT NULL DEFAULT 0,
    cause TEXT NOT NULL,
    exit_code INTEGER NOT NULL,
    signal INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    worker INTEGER NOT NULL,
    started_us INTEGER GENERATED ALWAYS AS (ended_us - wall_us) VIRTUAL,
    ended_us INTEGER,
    wall_us INTEGER NOT NULL,
    user_us INTEGER NOT NULL,
    system_us INTEGER NOT NULL,
    peak_kib INTEGER NOT NULL,
    result_bytes INTEGER NOT NULL,
    output_count INTEGER NOT NULL,
    output_bytes INTEGER NOT NULL,
    detail TEXT,
    result BLOB
);
INSERT INTO attempt VALUES(65537,'done',0,'none',0,0,1,1,1700000000123456,1000000,0,0,0,4,0,0,NULL,X'6f6e650a');
INSERT INTO attempt VALUES(131073,'retried',0,'exit',1,0,1,1,1700000000123456,1000000,0,0,0,0,0,0,NULL,NULL);
INSERT INTO attempt VALUES(131074,'done',0,'none',0,0,2,2,1700000000123456,1000000,0,0,0,3,0,0,NULL,X'6100ff');
INSERT INTO attempt VALUES(196609,'failed',0,'exit',64,0,1,1,1700000000123456,1000000,0,0,0,0,0,0,'final exit code',NULL);
INSERT INTO attempt VALUES(262145,'retried',0,'exit',1,0,1,1,1700000000123456,1000000,0,0,0,0,0,0,NULL,NULL);
INSERT INTO attempt VALUES(262146,'retried',0,'exit',1,0,1,1,1700000000123456,1000000,0,0,0,0,0,0,NULL,NULL);
INSERT INTO attempt VALUES(262147,'dead',0,'timeout',1,15,1,1,1700000000123456,1000000,0,0,0,0,0,0,NULL,NULL);
INSERT INTO attempt VALUES(327681,'retried',0,'exit',1,0,1,1,1700000000123456,1000000,0,0,0,0,0,0,NULL,NULL);
INSERT INTO attempt VALUES(393217,'retried',1,'exit',1,0,1,1,1700000000123456,1000000,0,0,0,0,0,0,NULL,NULL);
INSERT INTO attempt VALUES(393218,'dead',1,'poison',1,0,1,1,1700000000123456,1000000,0,0,0,0,0,0,NULL,NULL);
INSERT INTO attempt VALUES(458753,'done',0,'none',0,0,1,1,1700000000123456,1000000,1200,300,2048,100000,2,5,NULL,NULL);
CREATE TABLE worker (
    id INTEGER PRIMARY KEY,
    state TEXT,
    host TEXT,
    system TEXT,
    version TEXT,
    folder,
    verified_by TEXT,
    pid INTEGER,
    slots INTEGER,
    cpus INTEGER,
    memory_bytes INTEGER,
    launched_us INTEGER,
    joined_us INTEGER,
    ended_us INTEGER,
    place,
    address TEXT,
    port INTEGER
);
INSERT INTO worker VALUES(1,'gone','host','Linux 6.1 x86_64','0.1.0','/var/tmp/w','sweep',4711,2,2,4294967296,1700000000000000,1700000000050000,1700000002000000,'etl@a','10.0.0.1',4001);
INSERT INTO worker VALUES(2,'ready','host','Linux 6.1 x86_64','0.1.0','/var/tmp/w',NULL,4711,2,2,4294967296,1700000000000000,1700000000050000,NULL,NULL,NULL,NULL);
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    wall_us INTEGER NOT NULL,
    at TEXT GENERATED ALWAYS AS (strftime('%Y-%m-%dT%H:%M:%fZ', wall_us / 1000000.0, 'unixepoch')) VIRTUAL,
    kind TEXT NOT NULL,
    worker INTEGER,
    subtask INTEGER,
    text TEXT
);
INSERT INTO event VALUES(1,1700000000050000,'joined',1,NULL,'worker 1 joined');
CREATE VIEW subtask AS
WITH RECURSIVE
    bound(last, over) AS (
        SELECT coalesce(total, max(high_water, coalesce((SELECT max(id) >> 16 FROM attempt), 0))),
               state IN ('succeeded', 'partial', 'failed', 'cancelled')
        FROM run),
    number(n) AS (
        SELECT 1 FROM bound WHERE last >= 1
        UNION ALL
        SELECT n + 1 FROM number, bound WHERE n < last)
SELECT number.n AS subtask,
       CASE
           WHEN a.id IS NOT NULL AND a.superseded = 0 AND a.state <> 'retried' THEN a.state
           WHEN bound.over THEN 'cancelled'
           ELSE 'pending'
       END AS state,
       (SELECT count(*) FROM attempt WHERE id BETWEEN number.n << 16 AND number.n << 16 | 65535) AS attempts,
       a.attempt AS last_attempt,
       a.cause AS cause,
       a.exit_code AS exit_code,
       a.signal AS signal,
       a.worker AS worker,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.started_us / 1000000.0, 'unixepoch') AS started,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.ended_us / 1000000.0, 'unixepoch') AS ended,
       a.wall_us / 1000000.0 AS wall_s,
       (a.user_us + a.system_us) / 1000000.0 AS cpu_s,
       a.peak_kib AS peak_kib,
       a.result_bytes AS result_bytes,
       a.detail AS detail
FROM number
CROSS JOIN bound
LEFT JOIN attempt AS a ON a.id = coalesce(
    (SELECT id FROM attempt
     WHERE id BETWEEN number.n << 16 AND number.n << 16 | 65535 AND superseded = 0 AND state <> 'retried'),
    (SELECT max(id) FROM attempt WHERE id BETWEEN number.n << 16 AND number.n << 16 | 65535));
CREATE VIEW result AS
SELECT id >> 16 AS subtask,
       id & 65535 AS attempt,
       result_bytes AS bytes,
       result AS result,
       CAST(result AS TEXT) AS text,
       CASE
           WHEN result IS NULL AND result_bytes > 0
           THEN 'outputs/' || ((id >> 16) / 1000) || '/' || (id >> 16) || '.result'
       END AS file,
       output_count AS output_count,
       output_bytes AS output_bytes,
       strftime('%Y-%m-%dT%H:%M:%fZ', ended_us / 1000000.0, 'unixepoch') AS ended
FROM attempt
WHERE state = 'done' AND superseded = 0
ORDER BY id;
COMMIT;
