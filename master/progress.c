/* SPDX-License-Identifier: Apache-2.0 */
/* Progress: see progress.h. */
#include "master/progress.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"

#define LIVE_US 200000
#define LINE_US 5000000

struct progress {
    bool quiet, live, color, shown;
    int64_t next_us;
    double rate; /* smoothed subtasks/s */
    uint64_t last_finished;
    int64_t last_us;
};

struct progress *progress_create(bool quiet)
{
    struct progress *progress = mf_calloc(1, sizeof *progress);
    if (progress == NULL)
        return NULL;
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    progress->quiet = quiet;
    progress->last_us = mf_monotonic_us();
    progress->live = isatty(2) && (term == NULL || strcmp(term, "dumb") != 0);
    progress->color = progress->live && (no_color == NULL || no_color[0] == '\0');
    progress->next_us = quiet ? MF_NEVER : mf_monotonic_us() + (progress->live ? 0 : LINE_US);
    return progress;
}

bool progress_is_due(const struct progress *progress, int64_t now_us)
{
    return progress != NULL && now_us >= progress->next_us;
}

int64_t progress_deadline(const struct progress *progress)
{
    return progress == NULL ? MF_NEVER : progress->next_us;
}

static void update_rate(struct progress *progress, const struct progress_view *view, int64_t now_us)
{
    uint64_t finished = view->done + view->failed - view->before;
    double seconds = (double)(now_us - progress->last_us) / 1e6;
    if (seconds > 0) {
        double now = (double)(finished - progress->last_finished) / seconds;
        progress->rate = progress->rate == 0 ? now : 0.8 * progress->rate + 0.2 * now;
    }
    progress->last_finished = finished;
    progress->last_us = now_us;
}

static void format_eta(const struct progress *progress,
                       const struct progress_view *view,
                       char *text,
                       size_t size)
{
    uint64_t finished = view->done + view->failed;
    double rate = view->seconds > 0 ? (double)(finished - view->before) / view->seconds : 0;
    text[0] = '\0';
    if (!view->total_known || rate <= 0 || finished >= view->total)
        return;
    double left = (double)(view->total - finished) / (progress->rate > 0 ? progress->rate : rate);
    if (left < 86400)
        snprintf(text,
                 size,
                 ", %d:%02d:%02d left",
                 (int)left / 3600,
                 (int)left / 60 % 60,
                 (int)left % 60);
}

static int terminal_columns(void)
{
    struct winsize size;
    return ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* Behind a line of so many bytes. A live line must not wrap: it could not be taken back. */
static void show_held_up(const struct progress *progress, const char *text, int length)
{
    if (text == NULL)
        return;
    int room = progress->live ? terminal_columns() - length - 3 : INT_MAX;
    if (room > 8)
        fprintf(stderr, "; %.*s", room, text);
}

void progress_show(struct progress *progress, const struct progress_view *view, int64_t now_us)
{
    char total[32] = "?", eta[48], failed[64] = "", line[320];
    if (progress == NULL || progress->quiet)
        return;
    update_rate(progress, view, now_us);
    format_eta(progress, view, eta, sizeof eta);
    if (view->total_known)
        snprintf(total, sizeof total, "%llu", (unsigned long long)view->total);
    if (view->failed > 0)
        snprintf(failed,
                 sizeof failed,
                 "%s%llu failed%s, ",
                 progress->color ? "\033[31m" : "",
                 (unsigned long long)view->failed,
                 progress->color ? "\033[0m" : "");
    int length = snprintf(line,
                          sizeof line,
                          "mayfly: %s: %llu of %s done, %s%llu running, %.0f/s, %u workers%s",
                          view->state,
                          (unsigned long long)view->done,
                          total,
                          failed,
                          (unsigned long long)view->running,
                          progress->rate,
                          view->workers,
                          eta);
    fprintf(stderr, "%s%s", progress->live ? "\r\033[K" : "", line);
    show_held_up(progress, view->held_up, length);
    fputs(progress->live ? "" : "\n", stderr);
    fflush(stderr);
    progress->shown = progress->live;
    progress->next_us = now_us + (progress->live ? LIVE_US : LINE_US);
}

static void clear_line(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}

void progress_say(struct progress *progress, const char *format, ...)
{
    if (progress == NULL || progress->quiet)
        return;
    clear_line(progress);
    va_list args;
    va_start(args, format);
    fputs("mayfly: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void progress_hold(struct progress *progress, bool is_held)
{
    if (progress == NULL || progress->quiet)
        return;
    if (is_held)
        clear_line(progress);
    progress->next_us = is_held ? MF_NEVER : mf_monotonic_us();
}

void progress_destroy(struct progress *progress)
{
    if (progress == NULL)
        return;
    clear_line(progress);
    mf_free(progress);
}
