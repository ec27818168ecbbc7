/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of launcher command: see schema.h. Cross-checks are in check_command.c. */
#include "master/job/schema_row.h"

static const struct schema_key keys[] = {
    {.path = "workers.command",
     .types = SCHEMA_MAP,
     .example = "{start: [./start.sh, \"{script}\"], list: [./list.sh, \"{run}\"], stop: "
                "[./stop.sh, \"{id}\"]}",
     .help = "With launcher `command`: the commands that start, list and stop workers, run in the "
             "job's folder, without a shell."},
    {.path = "workers.command.start",
     .types = SCHEMA_LIST,
     .example = "[./start.sh, \"{name}\", \"{script}\"]",
     .help =
         "Starts one worker and prints its id, one line. `{run}` `{worker}` `{name}` `{script}` "
         "`{folder}`.",
     MEMBER(launch.start)},
    {.path = "workers.command.list",
     .types = SCHEMA_LIST,
     .example = "[./list.sh, \"{run}\"]",
     .help = "Prints the ids of the run's workers that wait or live: the first word of each line. "
             "`{run}` `{folder}`, one of which it has to say.",
     MEMBER(launch.list)},
    {.path = "workers.command.stop",
     .types = SCHEMA_LIST,
     .example = "[./stop.sh, \"{id}\"]",
     .help = "Ends one. `{id}` `{run}` `{folder}`.",
     MEMBER(launch.stop)},
    {.path = "workers.command.folder",
     .types = SCHEMA_TEXT,
     .fallback = "(the run's own folder)",
     .example = "/shared/me",
     .target = TARGET_PATH,
     .help = "A folder that this machine and the workers see under the same name.",
     MEMBER(launch.folder)},
    {.path = "workers.command.program",
     .types = SCHEMA_TEXT,
     .fallback = "(it is brought in the folder)",
     .example = "/usr/local/bin/mayfly-worker",
     .help = "Where the program mayfly-worker is on the workers already.",
     MEMBER(launch.program)},
    {.path = "workers.command.timeout",
     .types = SCHEMA_DURATION,
     .fallback = "60s",
     .example = "5m",
     .min = SECOND / 10,
     .max = DAY,
     .help = "Limit of one start, list or stop.",
     MEMBER(launch.timeout_us)},
    {.path = "workers.command.join",
     .types = SCHEMA_DURATION,
     .fallback = "10m",
     .example = "0",
     .max = 3650 * DAY,
     .help = "A worker that has not joined so long after its start is stopped, and another one "
             "started; 0: no limit (a queue takes the time that it takes).",
     MEMBER(launch.join_us)},
};

const struct schema_table schema_command = SCHEMA_TABLE(keys);
