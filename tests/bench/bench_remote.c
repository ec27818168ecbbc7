/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long it takes to log in to a host and run `true` there, through remote.h: one after the
 * other, or several at once; or, with BYTES, to bring so many there. Prints milliseconds of each
 * round, and the CPU of this program.
 * usage: bench_remote PORT KEY KNOWN_HOSTS ROUNDS AT_ONCE [BYTES]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "master/remote/remote.h"

#define AT_ONCE_MAX 256

struct bench {
    struct mf_loop *loop;
    struct remote_config config;
    struct remote_target target;
    struct remote *remotes[AT_ONCE_MAX];
    unsigned at_once, missing;
    struct mf_bytes input;
    bool failed;
};

static void on_done(void *arg, const struct remote_result *result)
{
    struct bench *bench = arg;
    bench->missing--;
    if (result->code == 0)
        return;
    fprintf(stderr, "bench_remote: %d %s\n", result->code, result->error.text);
    bench->failed = true;
}

static int run(struct bench *bench, struct mf_error *error)
{
    const char *command = bench->input.length == 0 ? "true" : "cat > /dev/null";
    bench->missing = bench->at_once;
    for (unsigned i = 0; i < bench->at_once; i++) {
        bench->remotes[i] = remote_open(bench->loop, &bench->config, &bench->target, error);
        if (bench->remotes[i] == NULL ||
            remote_exec(bench->remotes[i], command, bench->input, on_done, bench, error) < 0)
            return -1;
    }
    while (bench->missing > 0) {
        int64_t next = MF_NEVER, now = mf_monotonic_us();
        for (unsigned i = 0; i < bench->at_once; i++) {
            int64_t tick = remote_tick(bench->remotes[i], now);
            next = tick < next ? tick : next;
        }
        if (bench->missing > 0 && mf_loop_step(bench->loop, next, error) < 0)
            return -1;
    }
    for (unsigned i = 0; i < bench->at_once; i++)
        remote_close(bench->remotes[i]);
    return bench->failed ? mf_raise(error, MF_ESYSTEM, "a login failed") : 0;
}

static double cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static unsigned number(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    struct mf_error error;
    if (argc != 6 && argc != 7) {
        fprintf(stderr, "usage: bench_remote PORT KEY KNOWN_HOSTS ROUNDS AT_ONCE [BYTES]\n");
        return 2;
    }
    struct bench bench = {.config = {.identity = argv[2], .known_hosts = argv[3]},
                          .target = {.host = "127.0.0.1", .port = (uint16_t)number(argv[1])},
                          .at_once = number(argv[5])};
    if (bench.at_once == 0 || bench.at_once > AT_ONCE_MAX) {
        fprintf(stderr, "bench_remote: AT_ONCE is 1 to %d\n", AT_ONCE_MAX);
        return 2;
    }
    size_t bytes = argc == 7 ? strtoul(argv[6], NULL, 10) : 0;
    unsigned char *input = calloc(1, bytes + 1);
    if (input == NULL)
        return 1;
    bench.input = mf_bytes_of(input, bytes);
    bench.loop = mf_loop_create(&error);
    for (unsigned round = number(argv[4]); bench.loop != NULL && round > 0; round--) {
        double cpu = cpu_ms();
        int64_t start = mf_monotonic_us();
        if (run(&bench, &error) < 0)
            break;
        printf("%.1f %.1f\n", (double)(mf_monotonic_us() - start) / 1e3, cpu_ms() - cpu);
    }
    if (bench.loop == NULL || bench.failed) {
        fprintf(stderr, "bench_remote: %s\n", error.text);
        free(input);
        return 1;
    }
    mf_loop_destroy(bench.loop);
    free(input);
    return 0;
}
