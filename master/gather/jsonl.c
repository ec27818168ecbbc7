/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gather `jsonl`: the lines of all results, each checked to be one JSON value; the last line of a
 * result may lack its line feed, here it gets one.
 */
#include <jansson.h>

#include "master/gather/kinds.h"
#include "master/gather/records.h"

static int check_line(const struct records *records, struct mf_bytes line, struct mf_error *error)
{
    json_error_t problem;
    json_t *value = json_loadb((const char *)line.data,
                               line.length,
                               JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
                               &problem);
    if (value == NULL)
        return mf_raise(error,
                        MF_EINPUT,
                        "the result of subtask %llu, line %llu is not one JSON value: %s",
                        (unsigned long long)source_subtask(records->source),
                        (unsigned long long)records->record_line,
                        problem.text);
    json_decref(value);
    return 0;
}

static int copy_lines(struct gather *gather, struct records *records, struct mf_error *error)
{
    int more;
    records_begin(records);
    while ((more = records_next(records, error)) > 0) {
        struct mf_bytes line = records_field(records, 0);
        if (check_line(records, line, error) < 0 || output_write(gather->output, line, error) < 0 ||
            output_text(gather->output, "\n", error) < 0)
            return -1;
    }
    return more;
}

int gather_jsonl(struct gather *gather, struct mf_error *error)
{
    struct records records = {.source = gather->source, .syntax = RECORD_LINES};
    uint64_t subtask;
    int more;
    while ((more = source_next(gather->source, &subtask, error)) > 0)
        if (copy_lines(gather, &records, error) < 0) {
            more = -1;
            break;
        }
    records_fini(&records);
    return more;
}
