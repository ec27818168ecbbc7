/* SPDX-License-Identifier: Apache-2.0 */
/* The notification protocol: what arrives at the manager's socket, and what is asked of whom. */
#include "master/watch/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct manager {
    int fd;
    char path[108];
};

/* A manager's socket; an address that begins with @ is abstract. */
static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    return fd;
}

static int set_up(void **state)
{
    struct manager *manager = calloc(1, sizeof *manager);
    snprintf(manager->path, sizeof manager->path, "/tmp/mayfly-notify-%d.sock", (int)getpid());
    unlink(manager->path);
    manager->fd = listen_at(manager->path);
    *state = manager;
    setenv("NOTIFY_SOCKET", manager->path, 1);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return 0;
}

static int tear_down(void **state)
{
    struct manager *manager = *state;
    close(manager->fd);
    unlink(manager->path);
    free(manager);
    return 0;
}

static void assert_heard(int fd, const char *wanted)
{
    char text[4096];
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, wanted);
}

static void test_a_datagram_each(void **state)
{
    struct manager *manager = *state;
    struct service service;
    struct mf_error error;
    assert_int_equal(service_open(&service, &error), 0);
    assert_null(getenv("NOTIFY_SOCKET")); /* not for those that it starts */
    service_say(&service, "READY=1\nSTATUS=%d jobs", 3);
    service_say(&service, "STOPPING=1");
    assert_heard(manager->fd, "READY=1\nSTATUS=3 jobs");
    assert_heard(manager->fd, "STOPPING=1");
    assert_int_equal(service.watchdog_us, 0);
    service_close(&service);
}

static void test_abstract_address(void **state)
{
    (void)state;
    struct service service;
    struct mf_error error;
    char name[64];
    snprintf(name, sizeof name, "@mayfly-notify-%d", (int)getpid());
    int fd = listen_at(name);
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(service_open(&service, &error), 0);
    service_say(&service, "READY=1");
    assert_heard(fd, "READY=1");
    service_close(&service);
    close(fd);
}

static void test_without_a_manager_nothing_is_said(void **state)
{
    (void)state;
    struct service service;
    struct mf_error error;
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "60000000", 1);
    assert_int_equal(service_open(&service, &error), 0);
    assert_int_equal(service.fd, -1);
    assert_int_equal(service.watchdog_us, 0);
    assert_null(getenv("WATCHDOG_USEC"));
    service_say(&service, "READY=1");
    service_close(&service);
}

static void test_an_address_that_is_none(void **state)
{
    (void)state;
    struct service service;
    struct mf_error error;
    static const char *const names[] = {"relative", "/", "@", "/no/such/place/socket"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_int_equal(service_open(&service, &error), -1);
        assert_non_null(strstr(error.text, "NOTIFY_SOCKET"));
        assert_int_equal(service.fd, -1);
        service_say(&service, "READY=1"); /* harmless */
    }
}

static void assert_watchdog(const char *usec, const char *pid, int64_t wanted, const char *path)
{
    struct service service;
    struct mf_error error;
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", usec, 1);
    if (pid == NULL)
        unsetenv("WATCHDOG_PID");
    else
        setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(service_open(&service, &error), 0);
    assert_int_equal(service.watchdog_us, wanted);
    service_close(&service);
}

static void test_the_watchdog_is_asked_of_one_process(void **state)
{
    const char *path = ((struct manager *)*state)->path;
    char own[32];
    snprintf(own, sizeof own, "%d", (int)getpid());
    assert_watchdog("180000000", own, 180000000, path);
    assert_watchdog("180000000", NULL, 180000000, path);
    assert_watchdog("180000000", "1", 0, path);
    assert_watchdog("0", own, 0, path);
    assert_watchdog("-5", own, 0, path);
    assert_watchdog("12s", own, 0, path);
    assert_watchdog("99999999999999999999", own, 0, path);
}

static void test_a_manager_that_is_gone_or_full_stops_nothing(void **state)
{
    struct manager *manager = *state;
    struct service service;
    struct mf_error error;
    assert_int_equal(service_open(&service, &error), 0);
    close(manager->fd);
    manager->fd = -1;
    service_say(&service, "READY=1"); /* ECONNREFUSED, and no SIGPIPE */
    service_close(&service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_datagram_each, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_abstract_address, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_a_manager_nothing_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_address_that_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_the_watchdog_is_asked_of_one_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_manager_that_is_gone_or_full_stops_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
