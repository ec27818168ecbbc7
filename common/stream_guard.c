/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guard around nng 1.5.2's streams.
 *
 * nng_stream_send and nng_stream_recv come back without a word, and never call back, when their aio
 * was stopped or closed before. Their callers inside nng count on a callback all the same. So a
 * connection that goes away while a message is under way (of which each TLS record is an operation
 * of its own) is sometimes not noticed at all, and sometimes its end is waited for in vain: by
 * nng's one thread that takes connections apart. Then this process hears of no other connection's
 * end any more, either, makes no new one in place of any, and keeps the memory of the message.
 * nni_pipe_send, one floor above, loses the message in the same way when its connection is just
 * being closed.
 *
 * The linker puts the functions here in the place of nng's own (--wrap in MayflyLibraries.cmake):
 * an operation that was not begun ends with an error, as it would have, had it come a moment
 * earlier. The error is never NNG_ECLOSED: nng's listeners and dialers take that for their own end,
 * and are idle for ever after it. Whoever frees an aio waits for its callback, this one, too.
 * tests/unit/scatter/test_cuts.c fails without.
 *
 * Threads: any; the callers hold nng's locks, and the callback comes from a thread of nng's own.
 */
#include <nng/nng.h>
#include <stdbool.h>
#include <stddef.h>

_Static_assert(NNG_MAJOR_VERSION == 1 && NNG_MINOR_VERSION == 5,
               "nng 1.5 needs this guard: look whether this version does, else take it out");

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's --wrap makes these names. */
/* Of nng's inside, as they are in 1.5.2: 0 when the operation may begin. */
int __real_nni_aio_begin(nng_aio *aio);
void nni_aio_finish_error(nng_aio *aio, int result);
void __real_nng_stream_send(nng_stream *stream, nng_aio *aio);
void __real_nng_stream_recv(nng_stream *stream, nng_aio *aio);

struct nni_pipe;
void __real_nni_pipe_send(struct nni_pipe *pipe, nng_aio *aio);

int __wrap_nni_aio_begin(nng_aio *aio);
void __wrap_nni_pipe_send(struct nni_pipe *pipe, nng_aio *aio);
void __wrap_nng_stream_send(nng_stream *stream, nng_aio *aio);
void __wrap_nng_stream_recv(nng_stream *stream, nng_aio *aio);

/* What this thread is beginning on a stream; an operation on TLS begins one on TCP inside. */
struct beginning {
    struct beginning *outer;
    nng_aio *aio;
    bool is_refused;
};
static _Thread_local struct beginning *beginning;

int __wrap_nni_aio_begin(nng_aio *aio)
{
    int rc = __real_nni_aio_begin(aio);
    if (rc != 0 && beginning != NULL && beginning->aio == aio)
        beginning->is_refused = true;
    return rc;
}

static void enter(struct beginning *own, nng_aio *aio)
{
    *own = (struct beginning){.outer = beginning, .aio = aio};
    beginning = own;
}

static void leave(const struct beginning *own)
{
    beginning = own->outer;
    if (own->is_refused)
        nni_aio_finish_error(own->aio, NNG_ECONNRESET);
}

void __wrap_nng_stream_send(nng_stream *stream, nng_aio *aio)
{
    struct beginning own;
    enter(&own, aio);
    __real_nng_stream_send(stream, aio);
    leave(&own);
}

void __wrap_nng_stream_recv(nng_stream *stream, nng_aio *aio)
{
    struct beginning own;
    enter(&own, aio);
    __real_nng_stream_recv(stream, aio);
    leave(&own);
}

/* The callback is what frees the message. The protocol's lock, which is held, keeps the pipe. */
void __wrap_nni_pipe_send(struct nni_pipe *pipe, nng_aio *aio)
{
    struct beginning own;
    enter(&own, aio);
    __real_nni_pipe_send(pipe, aio);
    leave(&own);
}
/* NOLINTEND(bugprone-reserved-identifier) */
