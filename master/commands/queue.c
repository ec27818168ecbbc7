/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly queue: the commands on durable queues, a file each. */
#include "master/commands/queue.h"

static const struct command *const commands[] = {
    &queue_command_create,
    &queue_command_push,
    &queue_command_ls,
    &queue_command_stats,
    &queue_command_peek,
    &queue_command_dead,
    &queue_command_replay,
    &queue_command_purge,
    &queue_command_fan_out,
    &queue_command_remove,
};

static const struct command_list list = {
    .name = "mayfly queue",
    .about = "Durable queues: what waits to be worked on by a run, in $XDG_STATE_HOME/mayfly/"
             "queues.db.",
    .commands = commands,
    .count = sizeof commands / sizeof *commands,
    .notes = "A message is ready, claimed by a run, or dead: it has failed too often.\n"
             "Exit codes: 0 done, 2 wrong usage, 3 could not be carried out (a full disk).\n"};

static int queue_main(int argc, char **argv)
{
    return command_list_main(&list, argc, argv);
}

const struct command command_queue = {.name = "queue",
                                      .arguments = "COMMAND",
                                      .summary = "push messages to queues, and look after them",
                                      .main = queue_main};
