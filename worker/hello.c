/* SPDX-License-Identifier: Apache-2.0 */
/* The hello: see hello.h. Results that own an attempt are told by the executor; the others (no-op)
 * are known here only. */
#include "worker/hello.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"

static uint32_t add_bare(const struct ready_list *ready, struct mf_held *held, uint32_t count)
{
    for (uint32_t i = 0; i < ready->count && count < MF_BATCH_MAX; i++)
        if (ready->owners[i] == NULL)
            held[count++] = (struct mf_held){.subtask = ready->results[i].subtask,
                                             .attempt = ready->results[i].attempt,
                                             .epoch = ready->results[i].epoch,
                                             .state = MF_HELD_ENDED};
    return count;
}

int hello_encode(const struct launch_input *input,
                 const struct mf_request *request,
                 struct executor *executor,
                 const struct ready_list *ready,
                 struct mf_buffer *frame,
                 struct mf_error *error)
{
    struct utsname name;
    uname(&name);
    char system[256];
    snprintf(system, sizeof system, "%.80s %.80s %.80s", name.sysname, name.release, name.machine);
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE),
         cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct mf_held *held = mf_calloc(MF_BATCH_MAX, sizeof *held);
    if (held == NULL)
        return mf_raise(error, MF_ENOMEM, "out of memory: the hello to the master");
    uint32_t count = executor == NULL ? 0 : executor_held(executor, held, MF_BATCH_MAX);
    struct mf_hello hello = {.request = *request,
                             .protocol = MF_PROTOCOL,
                             .version = MAYFLY_VERSION,
                             .run_id = input->run_id,
                             .slots = input->slots,
                             .pid = (uint32_t)getpid(),
                             .host = name.nodename,
                             .system = system,
                             .cpus = cpus > 0 ? (uint32_t)cpus : 1,
                             .memory_bytes =
                                 pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0,
                             .wall_us = mf_wall_us(),
                             .held_count = add_bare(ready, held, count),
                             .held = held};
    mf_buffer_clear(frame);
    int rc = mf_encode_hello(&hello, frame, error);
    mf_free(held);
    return rc;
}
