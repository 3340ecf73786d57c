/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking after fence devices: who asks which when, what is made of the answers, and the history.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../daemon/fence_history.h"
#include "../../daemon/fence_meta.h"
#include "../../daemon/fence_watch.h"
#include "fake_core.h"

enum { HOUR = 3600 * 1000 };

static void test_slots_are_spread(void **state)
{
    unsigned quarters[4] = {0};
    char device[32];

    (void)state;
    for (ha_node host = 1; host <= 40; host++) {
        snprintf(device, sizeof(device), "ipmi-%u", host);
        ha_ms slot = xvm_watch_slot(host, device, HOUR);
        assert_true(slot >= 0 && slot < HOUR);
        assert_int_equal(slot, xvm_watch_slot(host, device, HOUR));
        quarters[slot / (HOUR / 4)]++;
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(quarters[i], 3, 20);
}

/* All members compute the same one, and in time everybody has his turn. */
static void test_turns_go_round(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 7; n++) {
        unsigned seen = 0;

        for (uint64_t period = 1000; period < 1000 + n; period++)
            seen |= 1u << xvm_watch_turn(3, "pdu", period, n);
        assert_int_equal(seen, (1u << n) - 1);
    }
}

/* --------------------------------------------------------------------------------- the answers */

struct world {
    char dir[64];
    sd_event *loop;
    struct ha core;
    struct ha_config config;
    struct ha_host_config hosts[3];
    struct ha_fence_device devices[2];
    struct ha_param secret;
    struct xvm_fence_watch *watch;
    json_t *answer;
    unsigned reports;
    enum ha_severity severity;
    char text[1024];
};

static const struct ha *core_of(void *user)
{
    return &((struct world *)user)->core;
}

static const struct ha_config *config_of(void *user)
{
    return &((struct world *)user)->config;
}

static void on_report(void *user, enum ha_report what, enum ha_severity severity, ha_node host,
                      const char *text)
{
    struct world *w = user;

    assert_int_equal(what, HA_REPORT_DEVICE);
    assert_int_not_equal(host, 0);
    w->reports++;
    w->severity = severity;
    snprintf(w->text, sizeof(w->text), "%s", text);
}

static void on_answer(void *user, uint64_t client, json_t *answer)
{
    struct world *w = user;

    assert_int_equal(client, 5);
    json_decref(w->answer);
    w->answer = answer;
}

static void put_agent(const struct world *w, const char *name, const char *body)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", w->dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "#!/bin/sh\nwhile read -r l; do case $l in action=*) action=${l#*=};; plug=*) "
            "plug=${l#*=};; esac; done\necho \"$action $plug\" >>%s/calls\n%s\n",
            w->dir, body);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static int setup(void **state)
{
    static struct ha_param plugs[3] = {
        {"plug", "one", false}, {"plug", "two", false}, {"plug", "three", false}};
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    strcpy(w->dir, "/tmp/xvm-watch-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_true(sd_event_new(&w->loop) >= 0);
    fake_core_init(&w->core);
    w->secret = (struct ha_param){"password", "s3cret", true};
    for (int i = 0; i < 2; i++) {
        snprintf(w->devices[i].name, HA_NAME_MAX, "dev-%c", 'a' + i);
        w->devices[i].agent = i == 0 ? "fence_a" : "fence_b";
        w->devices[i].timeout_ms = 3000;
        w->devices[i].params = &w->secret;
        w->devices[i].nparams = 1;
    }
    w->devices[1].actions = XVM_META_OFF | XVM_META_MONITOR;
    for (unsigned i = 0; i < 3; i++) {
        struct ha_host_config *h = &w->hosts[i];

        snprintf(h->name, sizeof(h->name), "host%u", i + 1);
        h->node = i + 1;
        h->params = &plugs[i];
        h->nparams = 1;
        h->nlevels = 2;
        for (unsigned l = 0; l < 2; l++) {
            h->levels[l].kind = HA_FENCE_DEVICE;
            h->levels[l].devices[0] = l;
            h->levels[l].ndevices = 1;
        }
    }
    w->config =
        (struct ha_config){.hosts = w->hosts, .nhosts = 3, .devices = w->devices, .ndevices = 2};
    const struct xvm_fence_watch_env env = {.loop = w->loop,
                                            .agent_dir = w->dir,
                                            .self = 2,
                                            .user = w,
                                            .core = core_of,
                                            .config = config_of,
                                            .report = on_report,
                                            .answer = on_answer};
    assert_int_equal(xvm_fence_watch_new(&env, &w->watch), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];

    xvm_fence_watch_free(w->watch);
    json_decref(w->answer);
    sd_event_unref(w->loop);
    fake_core_done(&w->core);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static void check(struct world *w, ha_node node)
{
    json_decref(w->answer);
    w->answer = NULL;
    w->reports = 0;
    assert_int_equal(xvm_fence_watch_now(w->watch, node, 5), 0);
    for (int i = 0; i < 2000 && w->answer == NULL; i++)
        assert_true(sd_event_run(w->loop, 10000) >= 0);
    assert_non_null(w->answer);
}

static const json_t *result(const struct world *w, size_t i)
{
    return json_array_get(json_object_get(w->answer, "checks"), i);
}

static const char *word(const struct world *w, size_t i, const char *name)
{
    return json_string_value(json_object_get(result(w, i), name));
}

static void test_every_device_of_every_host(void **state)
{
    struct world *w = *state;

    put_agent(w, "fence_a", "echo Status: ON; exit 0");
    put_agent(w, "fence_b", "[ \"$action\" = monitor ]");
    check(w, 0);
    assert_int_equal(json_array_size(json_object_get(w->answer, "checks")), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(word(w, i, "result"), i % 2 == 0 ? "on" : "works");
        assert_true(json_is_true(json_object_get(result(w, i), "good")));
    }
    assert_string_equal(word(w, 4, "host"), "host3");
    assert_int_equal(w->reports, 0);
    check(w, 2);
    assert_int_equal(json_array_size(json_object_get(w->answer, "checks")), 2);
}

static void test_failing_device_is_told_once(void **state)
{
    struct world *w = *state;
    char *text;

    put_agent(w, "fence_a",
              "[ $plug = two ] || exit 0; echo 'password s3cret refused' >&2; exit 3");
    put_agent(w, "fence_b", "exit 0");
    check(w, 0);
    assert_string_equal(word(w, 2, "result"), "failed");
    assert_true(json_is_false(json_object_get(result(w, 2), "good")));
    assert_int_equal(w->reports, 1);
    assert_int_equal(w->severity, HA_SEV_ALERT);
    assert_non_null(strstr(w->text, "fence device dev-a would not fence host2"));
    text = json_dumps(w->answer, 0);
    assert_null(strstr(text, "s3cret"));
    assert_null(strstr(w->text, "s3cret"));
    free(text);
    check(w, 0);
    assert_int_equal(w->reports, 0);
    put_agent(w, "fence_a", "exit 0");
    check(w, 0);
    assert_int_equal(w->reports, 1);
    assert_int_equal(w->severity, HA_SEV_NOTICE);
    assert_non_null(strstr(w->text, "works again"));
}

/* The device of a member says off: it is another machine's. */
static void test_wrong_plug(void **state)
{
    struct world *w = *state;

    put_agent(w, "fence_a", "[ $plug = one ] && { echo Status: OFF; exit 2; }; exit 0");
    put_agent(w, "fence_b", "exit 0");
    check(w, 0);
    assert_string_equal(word(w, 0, "result"), "off");
    assert_true(json_is_false(json_object_get(result(w, 0), "good")));
    assert_non_null(strstr(word(w, 0, "text"), "another machine's plug"));
    assert_int_equal(w->reports, 1);
    /* of a host that is really off it is right */
    w->core.hosts[0].synced = false;
    check(w, 0);
    assert_true(json_is_true(json_object_get(result(w, 0), "good")));
}

static void test_hanging_device(void **state)
{
    struct world *w = *state;

    w->devices[0].timeout_ms = 300;
    put_agent(w, "fence_a", "sleep 60");
    put_agent(w, "fence_b", "exit 0");
    check(w, 1);
    assert_string_equal(word(w, 0, "result"), "failed");
    assert_non_null(strstr(word(w, 0, "text"), "not done within 0.3 s"));
    assert_string_equal(word(w, 1, "result"), "works");
}

/* ------------------------------------------------------------------------------------- history */

static void test_history(void **state)
{
    struct world *w = *state;
    struct xvm_history *history;
    char path[128];
    json_t *list;
    FILE *f;

    assert_true(xvm_history_wants(HA_REPORT_HOST_CONFIRMED));
    assert_false(xvm_history_wants(HA_REPORT_GUEST_RUNNING));
    assert_int_equal(xvm_history_open(w->dir, &history), 0);
    for (int i = 0; i < 1500; i++) {
        snprintf(path, sizeof(path), "loss %d", i);
        xvm_history_add(history, HA_REPORT_HOST_LOST, HA_SEV_ERROR, i % 2 ? "host1" : "host2",
                        path);
    }
    xvm_history_free(history);
    /* a crash while it was written, and what somebody else wrote */
    snprintf(path, sizeof(path), "%s/fence-history", w->dir);
    f = fopen(path, "a");
    assert_non_null(f);
    fputs("[]\nnonsense\n{\"text\": 5}\n{\"time\": \"2026", f);
    fclose(f);
    assert_int_equal(xvm_history_open(w->dir, &history), 0);
    list = xvm_history_json(history, NULL, 5000);
    assert_int_equal(json_array_size(list), 1000);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 999), "text")),
                        "loss 1499");
    json_decref(list);
    list = xvm_history_json(history, "host2", 3);
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "text")),
                        "loss 1494");
    json_decref(list);
    xvm_history_free(history);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_are_spread),
        cmocka_unit_test(test_turns_go_round),
        T(test_every_device_of_every_host),
        T(test_failing_device_is_told_once),
        T(test_wrong_plug),
        T(test_hanging_device),
        T(test_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
