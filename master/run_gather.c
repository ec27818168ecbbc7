/* SPDX-License-Identifier: Apache-2.0 */
/* The gather station in a thread of its own, so that the loop goes on answering workers. */
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "master/gather/gather.h"
#include "master/run_internal.h"

static void *gather_main(void *arg)
{
    struct run *run = arg;
    run->gather_rc = gather_run(
        run->job, run->folder, &run->result_bytes, &run->gather_stop, &run->gather_error);
    mf_mailbox_post(&run->gathered, &run->gather_mail);
    return NULL;
}

void run_gather_start(struct run *run)
{
    struct mf_error error;
    MF_CRASH(MASTER_BEFORE_GATHER);
    if (log_writer_flush(run->logs, &error) < 0) {
        run_trouble(run, &error);
        run->disk.gather_again = run->disk.is_waiting;
        if (run->disk.is_waiting)
            return;
    }
    int rc = pthread_create(&run->gather_thread, NULL, gather_main, run);
    if (rc == 0) {
        run->is_gathering = true;
        return;
    }
    mf_raise(&error, MF_ESYSTEM, "cannot start the thread that gathers (error %d)", rc);
    run_fail(run, &error);
    run_queue(run, (struct schedule_event){.kind = EVENT_GATHERED, .ok = false});
}

void run_gathered(void *arg, uint32_t events)
{
    (void)events;
    struct run *run = arg;
    if (mf_mailbox_take(&run->gathered) == NULL)
        return;
    pthread_join(run->gather_thread, NULL);
    run->is_gathering = false;
    MF_CRASH(MASTER_AFTER_GATHER);
    if (run->gather_rc < 0 && run->gather_error.code == MF_EFULL && run->failure.code == MF_OK) {
        run_trouble(run, &run->gather_error);
        run->disk.gather_again = run->disk.is_waiting;
        if (!run->disk.is_waiting)
            run_apply(run, (struct schedule_event){.kind = EVENT_GATHERED, .ok = false});
        return;
    }
    if (run->gather_rc < 0) {
        mf_error_prefix(&run->gather_error, "gathering failed");
        mf_log(MF_ERROR, "%s", run->gather_error.text);
        struct schedule_counts counts;
        schedule_counts(run->schedule, &counts);
        if (counts.state == RUN_GATHERING) /* else it was told to stop, and that is the reason */
            snprintf(run->reason, sizeof run->reason, "%.500s", run->gather_error.text);
    }
    run_apply(run, (struct schedule_event){.kind = EVENT_GATHERED, .ok = run->gather_rc == 0});
}
