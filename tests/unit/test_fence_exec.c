/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fence agents good and bad: what a launch answers, and that nothing of it is left running. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../daemon/fence_exec.h"

enum {
    NODE = 2,
    ID = 77,
};

struct world {
    char dir[64];
    sd_event *loop;
    struct xvm_fencer *fencer;
    struct ha_config config;
    struct ha_host_config host;
    struct ha_fence_device devices[2];
    struct ha_param params[3], host_params[2];
    char agents[2][32];
    unsigned answers;
    uint64_t id;
    enum ha_result result;
    char text[1024];
};

static ha_ms now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (ha_ms)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void on_done(void *user, uint64_t id, enum ha_result result, const char *text)
{
    struct world *w = user;
    w->answers++;
    w->id = id;
    w->result = result;
    snprintf(w->text, sizeof(w->text), "%s", text ? text : "");
}

static void set_param(struct ha_param *p, const char *name, const char *value, bool secret)
{
    *p = (struct ha_param){.name = (char *)name, .value = (char *)value, .secret = secret};
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    strcpy(w->dir, "/tmp/xvm-fence-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_true(sd_event_new(&w->loop) >= 0);
    set_param(&w->params[0], "ip", "192.0.2.1", false);
    set_param(&w->params[1], "password", "s3cret value", true);
    set_param(&w->params[2], "plug", "default", false);
    set_param(&w->host_params[0], "plug", "host2", false);
    for (int i = 0; i < 2; i++) {
        snprintf(w->agents[i], sizeof(w->agents[i]), "fence_%c", 'a' + i);
        snprintf(w->devices[i].name, HA_NAME_MAX, "dev-%c", 'a' + i);
        w->devices[i].agent = w->agents[i];
        w->devices[i].params = w->params;
        w->devices[i].nparams = 3;
        w->devices[i].timeout_ms = 1000;
    }
    strcpy(w->host.name, "host2");
    w->host.node = NODE;
    w->host.params = w->host_params;
    w->host.nparams = 1;
    w->host.nlevels = 1;
    w->host.levels[0] = (struct ha_fence_level){.kind = HA_FENCE_DEVICE, .ndevices = 1};
    w->host.levels[0].devices[1] = 1;
    w->config.hosts = &w->host;
    w->config.nhosts = 1;
    w->config.devices = w->devices;
    w->config.ndevices = 2;
    assert_int_equal(xvm_fencer_new(w->loop, &w->config, w->dir, on_done, w, &w->fencer), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    w->fencer = xvm_fencer_free(w->fencer);
    sd_event_unref(w->loop);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static void path_in(const struct world *w, const char *file, char path[static 128])
{
    snprintf(path, 128, "%s/%s", w->dir, file);
}

/* An agent that notes its pid and its input, reads $action, and goes on with `body`. */
static void agent(struct world *w, int i, const char *body)
{
    char path[128];
    path_in(w, w->agents[i], path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "#!/bin/sh\ncd %s\necho $$ >>pids\necho \"$0\" >>calls\n"
            "action=none\nwhile read -r l; do echo \"$l\" >>input; case $l in action=*) "
            "action=${l#action=};; esac; done\n%s\n",
            w->dir, body);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

static void run_loop(struct world *w, ha_ms limit)
{
    ha_ms end = now_ms() + limit;
    while (!w->answers && now_ms() < end)
        assert_true(sd_event_run(w->loop, 50 * 1000) >= 0);
}

static void launch(struct world *w)
{
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    assert_int_equal(w->answers, 0); /* never from inside the call */
    run_loop(w, 20000);
    assert_int_equal(w->answers, 1);
    assert_int_equal(w->id, ID);
}

static size_t read_file(const struct world *w, const char *file, char *buf, size_t size)
{
    char path[128];
    path_in(w, file, path);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(buf, 1, size - 1, f) : 0;
    if (f)
        fclose(f);
    buf[n] = '\0';
    return n;
}

static bool is_alive(int pid)
{
    char path[32], line[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    bool got = fgets(line, sizeof(line), f);
    fclose(f);
    const char *s = got ? strrchr(line, ')') : NULL;
    return s && s[2] != 'Z' && s[2] != 'X';
}

static void assert_nothing_left(const struct world *w)
{
    char buf[4096];
    assert_true(read_file(w, "pids", buf, sizeof(buf)) > 0);
    /* SIGKILL is sent, the grandchildren's end may take a moment. */
    ha_ms end = now_ms() + 2000;
    for (char *s = buf; *s;) {
        int pid = (int)strtol(s, &s, 10);
        while (is_alive(pid) && now_ms() < end)
            usleep(5000);
        assert_false(is_alive(pid));
        s += strspn(s, "\n");
    }
}

static unsigned count_calls(const struct world *w)
{
    char buf[8192];
    unsigned n = 0;
    (void)read_file(w, "calls", buf, sizeof(buf));
    for (const char *s = buf; (s = strchr(s, '\n')); s++)
        n++;
    return n;
}

static void assert_says(const struct world *w, const char *words)
{
    if (!strstr(w->text, words))
        fail_msg("\"%s\" is not in: %s", words, w->text);
}

/* ------------------------------------------------------------------------------------- the tests
 */

static void test_ok(void **state)
{
    struct world *w = *state;
    char input[512];
    agent(w, 0, "exit 0");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_says(w, "host2 is off");
    assert_says(w, "dev-a");
    /* action first, the device's parameters, then the host's, which win. */
    (void)read_file(w, "input", input, sizeof(input));
    assert_string_equal(input, "action=off\nip=192.0.2.1\npassword=s3cret value\nplug=host2\n");
    assert_nothing_left(w);
}

static void test_nothing_secret_outside_of_stdin(void **state)
{
    struct world *w = *state;
    char seen[8192];
    agent(w, 0,
          "tr '\\0' '\\n' </proc/$$/environ >seen; tr '\\0' '\\n' </proc/$$/cmdline >>seen\n"
          "echo 'login with s3cret value refused' >&2; exit 3");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_true(read_file(w, "seen", seen, sizeof(seen)) > 0);
    assert_null(strstr(seen, "s3cret"));
    assert_null(strstr(w->text, "s3cret"));
    assert_says(w, "login with ************ refused");
    assert_says(w, "check user name and password");
}

static void test_fail(void **state)
{
    struct world *w = *state;
    agent(w, 0, "printf 'no\\033[31m luck\\n\\n' >&2; exit 1");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_says(w, "device 'dev-a': off failed: exit code 1");
    assert_says(w, "\"no [31m luck\"");
    assert_int_equal(count_calls(w), 1);
}

static void test_retries(void **state)
{
    struct world *w = *state;
    w->devices[0].retries = 2;
    agent(w, 0, "[ $(wc -l <calls) -ge 3 ] && exit 0; exit 5");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_int_equal(count_calls(w), 3);
}

static void test_retries_used_up(void **state)
{
    struct world *w = *state;
    w->devices[0].retries = 1;
    agent(w, 0, "exit 4");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_says(w, "connection lost");
    assert_int_equal(count_calls(w), 2);
}

static void test_hang(void **state)
{
    struct world *w = *state;
    w->devices[0].timeout_ms = 300;
    agent(w, 0, "sleep 777 & echo $! >>pids; echo hm; wait");
    ha_ms begin = now_ms();
    launch(w);
    assert_true(now_ms() - begin < 2000);
    assert_int_equal(w->result, HA_RESULT_UNKNOWN);
    assert_says(w, "not done within 0.3 s");
    assert_says(w, "\"hm\"");
    assert_nothing_left(w);
}

static void test_ignores_term(void **state)
{
    struct world *w = *state;
    w->devices[0].timeout_ms = 300;
    agent(w, 0, "trap '' TERM INT HUP; while :; do sleep 1; done");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_UNKNOWN);
    assert_nothing_left(w);
}

static void test_endless_output(void **state)
{
    struct world *w = *state;
    w->devices[0].timeout_ms = 500;
    agent(w, 0, "while :; do echo spam spam spam spam; done");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_UNKNOWN);
    assert_says(w, "spam");
    assert_true(strlen(w->text) < 700);
    assert_nothing_left(w);
}

static void test_much_output_then_ok(void **state)
{
    struct world *w = *state;
    w->devices[0].timeout_ms = 10000;
    agent(w, 0, "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 0");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_OK);
}

/* A background process that keeps the output open must neither delay the answer nor survive it. */
static void test_child_holds_output(void **state)
{
    struct world *w = *state;
    w->devices[0].timeout_ms = 5000;
    agent(w, 0, "sleep 777 & echo $! >>pids; exit 0");
    ha_ms begin = now_ms();
    launch(w);
    assert_true(now_ms() - begin < 2000);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_nothing_left(w);
}

/* More input than a pipe holds, for an agent that closes it at once. */
static void test_closes_input(void **state)
{
    struct world *w = *state;
    char path[128], *big = malloc(200001);
    assert_non_null(big);
    memset(big, 'x', 200000);
    big[200000] = '\0';
    set_param(&w->params[0], "ip", big, false);
    path_in(w, w->agents[0], path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\necho $$ >>%s/pids\nexec <&-\nsleep 0.2\nexit 0\n", w->dir);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0700), 0);
    assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    launch(w);
    assert_int_equal(w->result, HA_RESULT_OK);
    free(big);
}

static void test_killed(void **state)
{
    struct world *w = *state;
    agent(w, 0, "kill -SEGV $$");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_UNKNOWN);
    assert_says(w, "signal 11");
}

static void test_exit_127(void **state)
{
    struct world *w = *state;
    agent(w, 0, "no-such-program-at-all; exit $?");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_UNKNOWN);
    assert_says(w, "exit code 127");
}

static void test_missing(void **state)
{
    struct world *w = *state;
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_says(w, "dev-a");
    assert_says(w, "does not exist; install it");
}

static void test_not_executable(void **state)
{
    struct world *w = *state;
    char path[128];
    agent(w, 0, "exit 0");
    path_in(w, w->agents[0], path);
    assert_int_equal(chmod(path, 0600), 0);
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_says(w, "not executable");
}

static void test_verified(void **state)
{
    struct world *w = *state;
    w->devices[0].verify = true;
    w->devices[0].timeout_ms = 5000;
    agent(w, 0,
          "case $action in off) echo 3 >left; exit 0;; status)\n"
          "n=$(cat left); echo $((n - 1)) >left\n"
          "[ $n -gt 1 ] && { echo Status: ON; exit 0; }; echo Status: OFF; exit 2;; esac; exit 9");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_says(w, "verified");
    assert_int_equal(count_calls(w), 4);
}

static void test_liar_is_found_out(void **state)
{
    struct world *w = *state;
    w->devices[0].verify = true;
    agent(w, 0, "[ $action = off ] && exit 0; echo Status: ON; exit 0");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_says(w, "still on");
}

/* Shells and interpreters exit with 2 too; a host is not dead because of a syntax error. */
static void test_syntax_error_is_not_off(void **state)
{
    struct world *w = *state;
    w->devices[0].verify = true;
    agent(w, 0, "[ $action = off ] && exit 0; if then fi");
    launch(w);
    assert_int_not_equal(w->result, HA_RESULT_OK);
    agent(w, 0, "[ $action = off ] && exit 0; echo 'usage: something' >&2; exit 2");
    w->answers = 0;
    launch(w);
    assert_int_equal(w->result, HA_RESULT_UNKNOWN);
    assert_says(w, "exit code 2 without the word off");
}

static void test_off_fails_but_it_is_off(void **state)
{
    struct world *w = *state;
    w->devices[0].verify = true;
    agent(w, 0, "[ $action = off ] && exit 7; echo Status: OFF; exit 2");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_int_equal(count_calls(w), 2);
}

static void test_off_hangs_but_it_is_off(void **state)
{
    struct world *w = *state;
    w->devices[0].verify = true;
    w->devices[0].timeout_ms = 400;
    agent(w, 0, "[ $action = off ] && sleep 777; echo Status: OFF; exit 2");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_nothing_left(w);
}

static void test_all_devices_of_a_level(void **state)
{
    struct world *w = *state;
    char calls[256], want[256];
    w->host.levels[0].ndevices = 2;
    agent(w, 0, "exit 0");
    agent(w, 1, "exit 0");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_says(w, "'dev-a', device 'dev-b'");
    (void)read_file(w, "calls", calls, sizeof(calls));
    snprintf(want, sizeof(want), "%s/fence_a\n%s/fence_b\n", w->dir, w->dir);
    assert_string_equal(calls, want);
}

static void test_one_device_of_a_level_fails(void **state)
{
    struct world *w = *state;
    w->host.levels[0].ndevices = 2;
    agent(w, 0, "exit 0");
    agent(w, 1, "exit 6");
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_says(w, "dev-b");
}

static void test_bad_parameters(void **state)
{
    struct world *w = *state;
    agent(w, 0, "exit 0");
    set_param(&w->params[0], "ip", "1\naction=status", false);
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_says(w, "line end");
    set_param(&w->params[0], "action", "status", false);
    w->answers = 0;
    launch(w);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_says(w, "'action' would override");
    assert_int_equal(count_calls(w), 0);
}

static void test_no_such_level(void **state)
{
    struct world *w = *state;
    xvm_fencer_launch(w->fencer, ID, NODE, 5);
    run_loop(w, 1000);
    assert_int_equal(w->answers, 1);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    w->answers = 0;
    xvm_fencer_launch(w->fencer, ID, 9, 0);
    run_loop(w, 1000);
    assert_int_equal(w->result, HA_RESULT_FAILED);
}

static void test_delay_and_cancel(void **state)
{
    struct world *w = *state;
    agent(w, 0, "exit 0");
    w->host.levels[0].delay_ms = 300;
    ha_ms begin = now_ms();
    launch(w);
    assert_true(now_ms() - begin >= 300);
    assert_int_equal(count_calls(w), 1);
    w->answers = 0;
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    assert_true(xvm_fencer_cancel(w->fencer, ID, true));
    run_loop(w, 600);
    assert_int_equal(w->answers, 1);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_int_equal(count_calls(w), 1);
}

/* Each device's own delay; cancelled in between, the next one is not called. */
static void test_delays_of_devices(void **state)
{
    struct world *w = *state;
    agent(w, 0, "exit 0");
    agent(w, 1, "exit 0");
    w->host.levels[0].ndevices = 2;
    w->devices[0].delay_ms = 100;
    w->devices[1].delay_ms = 300;
    ha_ms begin = now_ms();
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    for (int i = 0; i < 200 && count_calls(w) == 0; i++)
        run_loop(w, 20);
    assert_int_equal(count_calls(w), 1);
    run_loop(w, 10000);
    assert_int_equal(w->answers, 1);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_true(now_ms() - begin >= 400);
    assert_int_equal(count_calls(w), 2);
    w->answers = 0;
    w->devices[1].delay_ms = 5000;
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    for (int i = 0; i < 200 && count_calls(w) == 2; i++)
        run_loop(w, 20);
    run_loop(w, 300);
    assert_true(xvm_fencer_cancel(w->fencer, ID, true));
    run_loop(w, 300);
    assert_int_equal(w->answers, 1);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_non_null(strstr(w->text, "1 of its 2 devices have switched off their part"));
    assert_int_equal(count_calls(w), 3);
}

/* Its host was confirmed dead by other means and has booted again: the off that worked is not said
 * to have failed and done again, to the new life. */
static void test_cancelled_is_not_done_again(void **state)
{
    struct world *w = *state;
    w->devices[0].verify = true;
    w->devices[0].retries = 3;
    w->devices[0].timeout_ms = 60000;
    agent(w, 0, "[ $action = off ] && exit 0; echo Status: ON; exit 0");
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    for (int i = 0; i < 200 && count_calls(w) < 3; i++)
        run_loop(w, 20);
    assert_false(xvm_fencer_cancel(w->fencer, ID, true)); /* it looks whether it is off */
    run_loop(w, 15000);
    assert_int_equal(w->answers, 1);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    unsigned before = count_calls(w);
    run_loop(w, 1500);
    assert_int_equal(count_calls(w), before);
    /* And so between two tries. */
    agent(w, 0, "exit 1");
    w->devices[0].verify = false;
    w->answers = 0;
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    for (int i = 0; i < 200 && count_calls(w) == before; i++)
        run_loop(w, 20);
    run_loop(w, 100);
    assert_true(xvm_fencer_cancel(w->fencer, ID, true));
    run_loop(w, 3000);
    assert_int_equal(w->answers, 1);
    assert_int_equal(count_calls(w), before + 1);
}

static void test_cancel_is_too_late(void **state)
{
    struct world *w = *state;
    agent(w, 0, "sleep 0.3; exit 0");
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    run_loop(w, 150);
    assert_false(xvm_fencer_cancel(w->fencer, ID, true));
    run_loop(w, 5000);
    assert_int_equal(w->result, HA_RESULT_OK);
}

/* A launch lives on its own copy: the configuration may be replaced meanwhile. */
static void test_new_configuration_meanwhile(void **state)
{
    struct world *w = *state;
    static const struct ha_config none;
    w->devices[0].verify = true;
    agent(w, 0, "[ $action = off ] && exit 0; echo Status: OFF; exit 2");
    w->host.levels[0].delay_ms = 100;
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    xvm_fencer_set_config(w->fencer, &none);
    w->devices[0] = (struct ha_fence_device){0};
    memset(w->params, 0, sizeof(w->params));
    memset(&w->host, 0, sizeof(w->host));
    run_loop(w, 5000);
    assert_int_equal(w->result, HA_RESULT_OK);
}

static void test_free_ends_agents(void **state)
{
    struct world *w = *state;
    char buf[64];
    agent(w, 0, "sleep 777 & echo $! >>pids; wait");
    w->devices[0].timeout_ms = 60000;
    xvm_fencer_launch(w->fencer, ID, NODE, 0);
    for (int i = 0; i < 100 && count_calls(w) == 0; i++)
        run_loop(w, 20);
    run_loop(w, 100);
    w->fencer = xvm_fencer_free(w->fencer);
    assert_int_equal(w->answers, 0);
    assert_true(read_file(w, "pids", buf, sizeof(buf)) > 0);
    assert_nothing_left(w);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(ok),
        T(nothing_secret_outside_of_stdin),
        T(fail),
        T(retries),
        T(retries_used_up),
        T(hang),
        T(ignores_term),
        T(endless_output),
        T(much_output_then_ok),
        T(child_holds_output),
        T(closes_input),
        T(killed),
        T(exit_127),
        T(missing),
        T(not_executable),
        T(verified),
        T(liar_is_found_out),
        T(syntax_error_is_not_off),
        T(off_fails_but_it_is_off),
        T(off_hangs_but_it_is_off),
        T(all_devices_of_a_level),
        T(one_device_of_a_level_fails),
        T(bad_parameters),
        T(no_such_level),
        T(delay_and_cancel),
        T(delays_of_devices),
        T(cancel_is_too_late),
        T(cancelled_is_not_done_again),
        T(new_configuration_meanwhile),
        T(free_ends_agents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
