/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The libxl driver without Xen: what it does so that a guest that moves stands still for no longer
 * than it must. */
#include "libxl_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the worker that waits does: it reads its word, and says what it read. */
#define WAITING                                                                                    \
    "if read until timeout <&3; then echo \"word $until $timeout\" >>$XVM_FAKE_DIR/calls; "        \
    "echo '{\"result\": \"ok\", \"text\": \"it runs\"}'; "                                         \
    "else echo unneeded >>$XVM_FAKE_DIR/calls; exit 65; fi"

/* Receives a copy; its worker ends as it should, or as `how` has it. */
static void receive(struct world *w, const char *how)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    const struct xvm_channel channel = {.stream = pair[0], .progress = -1};
    if (how)
        put(w, "receive", how);
    uint64_t op = begin(w, HA_OP_RECEIVE, 8, 0, &channel);
    close(pair[0]);
    WAIT_UNTIL(w, w->results[op] && calls(w, "unpause"));
    assert_int_equal(w->results[op], how ? HA_RESULT_FAILED : HA_RESULT_OK);
    close(pair[1]);
}

static void test_ready_worker_lets_it_run(void **state)
{
    struct world *w = *state;
    put(w, "unpause", WAITING);
    receive(w, NULL);
    assert_int_equal(calls(w, "word"), 0);
    assert_int_equal(run(w, HA_OP_UNPAUSE, 8), HA_RESULT_OK);
    assert_string_equal(w->text, "it runs");
    assert_int_equal(calls(w, "unpause"), 1);
    assert_int_equal(calls(w, "word 0 "), 1); /* begin() has set no end of the lease */
    drop(w, "unpause");
    assert_int_equal(run(w, HA_OP_UNPAUSE, 8), HA_RESULT_OK); /* it was good for once */
    assert_int_equal(calls(w, "unpause"), 2);
}

static void test_ready_worker_of_another_copy(void **state)
{
    struct world *w = *state;
    put(w, "unpause", WAITING);
    receive(w, NULL);
    drop(w, "unpause");
    assert_int_equal(run(w, HA_OP_UNPAUSE, 9), HA_RESULT_OK);
    assert_int_equal(calls(w, "unpause"), 2);
    assert_int_equal(calls(w, "word"), 0);
}

static void test_ready_worker_that_died(void **state)
{
    struct world *w = *state;
    receive(w, NULL); /* the fake's unpause ends at once */
    for (int i = 0; i < 20; i++)
        assert_true(sd_event_run(w->loop, 20 * 1000) >= 0);
    assert_int_equal(run(w, HA_OP_UNPAUSE, 8), HA_RESULT_OK);
    assert_int_equal(calls(w, "unpause"), 2);
}

static void test_ready_worker_goes_with_its_copy(void **state)
{
    struct world *w = *state;
    put(w, "unpause", WAITING);
    receive(w, NULL);
    assert_int_equal(run(w, HA_OP_DESTROY, 8), HA_RESULT_OK);
    assert_int_equal(calls(w, "word"), 0);
    drop(w, "unpause");
    assert_int_equal(run(w, HA_OP_UNPAUSE, 8), HA_RESULT_OK);
    assert_int_equal(calls(w, "unpause"), 2);
    put(w, "unpause", WAITING);
    receive(
        w, "sleep 0.3; echo '{\"result\": \"failed\", \"text\": \"nothing came\"}'; exit 65"); /* nothing
                                                                                                  came
                                                                                                */
    drop(w, "unpause");
    assert_int_equal(run(w, HA_OP_UNPAUSE, 8), HA_RESULT_OK);
    assert_int_equal(calls(w, "unpause"), 4);
    assert_int_equal(calls(w, "word"), 0);
}

static void test_ready_worker_that_hangs(void **state)
{
    struct world *w = *state;
    put(w, "unpause", "exec sleep 1000");
    receive(w, NULL);
    uint64_t op = begin(w, HA_OP_UNPAUSE, 8, 300, NULL);
    WAIT_UNTIL(w, w->results[op]);
    assert_int_equal(w->results[op], HA_RESULT_UNKNOWN);
    assert_non_null(strstr(w->text, "not done in time"));
}

static void test_ready_worker_of_a_daemon_that_goes(void **state)
{
    struct world *w = *state;
    put(w, "unpause", WAITING);
    receive(w, NULL);
    w->driver = xvm_driver_libxl.free(w->driver);
    assert_int_equal(calls(w, "word"), 0);
    open_driver(w);
}

static void test_no_look_at_what_is_on_its_way(void **state)
{
    struct world *w = *state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    const struct xvm_channel channel = {.stream = pair[0], .progress = -1};
    put(w, "domains", DOMAIN("5", UUID, "web", QUIET TAG("7", "0")));
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    put(w, "send", "read answer <&3");
    uint64_t op = begin(w, HA_OP_SEND, 7, 0, &channel);
    close(pair[0]);
    WAIT_UNTIL(w, calls(w, "send"));
    unsigned lists = calls(w, "list");
    event(w, "{\"event\": \"ended\", \"domid\": 5, \"reason\": \"suspend\"}");
    for (int i = 0; i < 20; i++)
        assert_true(sd_event_run(w->loop, 20 * 1000) >= 0);
    assert_int_equal(calls(w, "list"), lists);
    assert_int_equal(w->exits, 0);
    assert_int_equal(write(pair[1], "go\n", 3), 3);
    WAIT_UNTIL(w, w->results[op] && calls(w, "list") > lists);
    close(pair[1]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ready_worker_lets_it_run),      TEST(test_ready_worker_of_another_copy),
        TEST(test_ready_worker_that_died),        TEST(test_ready_worker_goes_with_its_copy),
        TEST(test_ready_worker_that_hangs),       TEST(test_ready_worker_of_a_daemon_that_goes),
        TEST(test_no_look_at_what_is_on_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
