/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked for over the control socket, and by signals: control.h says how it comes in. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "master/run_internal.h"
#include "master/summary.h"

void run_end_early(struct run *run, bool drain, const char *by)
{
    mf_log(MF_INFO, "asked to %s by %s", drain ? "drain" : "cancel", by);
    if (!drain || run->early == NULL) {
        run->early = drain ? "draining" : "cancelling";
        snprintf(run->early_by, sizeof run->early_by, "%s", by);
    }
    if (!drain)
        __atomic_store_n(&run->gather_stop, 1, __ATOMIC_RELAXED);
    run_apply(run, (struct schedule_event){.kind = drain ? EVENT_DRAIN : EVENT_CANCEL});
}

static json_t *on_status(void *arg)
{
    return run_status_json(arg);
}

static json_t *on_explain(void *arg, uint64_t subtask)
{
    return run_explain_json(arg, subtask);
}

static void on_cancel(void *arg, bool drain)
{
    run_end_early(arg, drain, drain ? "mayfly cancel --drain" : "mayfly cancel");
}

/* On one line, and not cut within a character. */
static void copy_reason(const char *text, char *out, size_t size)
{
    size_t length = strnlen(text, size - 1);
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    for (size_t i = 0; i < length; i++)
        out[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
    out[length] = '\0';
}

static void on_pause(void *arg, bool on, const char *reason)
{
    struct run *run = arg;
    copy_reason(on ? reason : "", run->pause_reason, sizeof run->pause_reason);
    mf_log(MF_INFO,
           "%s%s%s",
           on ? "paused" : "unpaused",
           run->pause_reason[0] == '\0' ? "" : ": ",
           run->pause_reason);
    run->pause_wall_us = on ? mf_wall_us() : 0;
    run_pause(run, on);
}

static int on_flush(void *arg, struct mf_error *error)
{
    struct run *run = arg;
    return log_writer_flush(run->logs, error);
}

void run_control_callbacks(struct run *run, struct control_callbacks *callbacks)
{
    *callbacks = (struct control_callbacks){.status = on_status,
                                            .explain = on_explain,
                                            .cancel = on_cancel,
                                            .pause = on_pause,
                                            .flush = on_flush,
                                            .arg = run};
}
