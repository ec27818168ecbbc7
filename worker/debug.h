/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `mayfly-worker debug`: one subtask in the foreground, made of the very parts that an attempt of a
 * run is made of (request, input, folder, start), but without a master: nothing is captured,
 * nothing recorded.
 */
#ifndef MAYFLY_WORKER_DEBUG_H
#define MAYFLY_WORKER_DEBUG_H

/* What debug ends with when the command was never started, as env(1) and timeout(1) do. */
#define DEBUG_NOT_STARTED 125

/*
 * main() of `mayfly-worker debug RUN WORKER SLOT FILE [WORD...]`. FILE holds two messages as
 * masters send them (docs/protocol.md), each behind its length (4 bytes, little-endian): a welcome
 * with the task and the secrets, and work with one subtask. Words: `shell` in place of the command;
 * `keep` the folder; `staged`: the job's own files are in job/, the inputs in input/NUMBER/ of the
 * current folder; `tied`: the command ends when our standard input does;
 * `note=PATH`: a file that is removed, with its folder if that is empty then, once nothing is left.
 * Returns the exit code of
 * the command, 128 + N after signal N, DEBUG_NOT_STARTED with a sentence on standard error.
 */
int debug_main(int argc, char **argv);

#endif
