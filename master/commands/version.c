/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly version */
#include <stdio.h>

#include "common/message.h"
#include "master/command.h"
#include "master/record/record.h"

static int version_main(int argc, char **argv)
{
    command_parse(&command_version,
                  NULL,
                  NULL,
                  "Print the versions of the program and its interfaces.",
                  argc,
                  argv,
                  NULL);
    printf("mayfly %s (job file 1, protocol %d, results table %d)\n",
           MAYFLY_VERSION,
           MF_PROTOCOL,
           RECORD_SCHEMA_VERSION);
    return 0;
}

const struct command command_version = {
    .name = "version", .arguments = "", .summary = "print the version", .main = version_main};
