/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `mayfly-worker sweep RUN [--worker N] [--debug N|FOLDER] [--remove-program]`: verifies that
 * nothing of a run (or of one worker of it) is left on this host, and cleans what is. With
 * --remove-program this very file goes, too, if it was put here for runs and none is left that may
 * need it. Processes are found by MAYFLY_RUN=<run id> in their environment and by their executable
 * and arguments; files by the run's folder in every place where a worker may have made one
 * (place.h). A living `mayfly-worker debug` of the run is left alone with all that it has started;
 * with --debug it is only about what a killed one has left: that of process N in any of these
 * places, or FOLDER, that was brought along. Prints one line of JSON:
 * {"version":1,"run":"...","verified":true,"processes_ended":0,"files_removed":0,"left":[]}.
 */
#ifndef MAYFLY_WORKER_SWEEP_H
#define MAYFLY_WORKER_SWEEP_H

#include "common/error.h"

/* The exit code of the subcommand: 0 verified, 1 something is left. */
int sweep_main(int argc, char **argv);

#endif
