/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the result: see result_options.h. */
#include "master/commands/result_options.h"

#include "master/run.h"

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "Write the result to FILE instead of standard output", 0},
    {"json", 'J', NULL, 0, "Write the summary as JSON to standard output instead of the result", 0},
    {"quiet", 'q', NULL, 0, "Show no progress", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct run_options *run_options = state->input;
    switch (key) {
    case 'o':
        run_options->output = text;
        return 0;
    case 'J':
        run_options->json = true;
        return 0;
    case 'q':
        run_options->quiet = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp result_argp = {.options = options, .parser = parse};

const struct argp_child result_options[] = {{&result_argp, 0, NULL, 0}, {0}};
