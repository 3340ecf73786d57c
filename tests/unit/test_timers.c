/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The timers: defaults as PROTOCOL.md has them, and every inequality with its complaint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "../../libha/config.h"

enum { TOKEN = 3650, CONSENSUS = 4380 };

static struct ha_timers defaults(void)
{
    struct ha_timers t;

    ha_timers_default(3, TOKEN, CONSENSUS, &t);
    return t;
}

static void test_defaults_of_three_hosts(void **state)
{
    struct ha_timers t = defaults();
    struct ha_error error;

    (void)state;
    assert_int_equal(t.lease, 21000);
    assert_int_equal(t.watchdog, 10000);
    assert_int_equal(t.margin, 3000);
    assert_int_equal(t.exchange, 1000);
    assert_int_equal(t.chair, 3000);
    assert_int_equal(t.settle, CONSENSUS + 2000);
    assert_int_equal(t.startup_grace, 120000);
    assert_int_equal(t.fence_retry, 10000);
    assert_int_equal(t.beat, 500);
    assert_int_equal(t.pet, 500);
    assert_int_equal(ha_timers_check(&t, TOKEN, CONSENSUS, &error), 0);
}

/* Whatever ring there is, its defaults must pass their own check. */
static void test_defaults_always_hold(void **state)
{
    struct ha_timers t;
    struct ha_error error;

    (void)state;
    for (ha_ms token = 100; token < 600 * 1000; token = token * 3 / 2) {
        ha_timers_default(64, token, token * 12 / 10, &t);
        assert_int_equal(ha_timers_check(&t, token, token * 12 / 10, &error), 0);
        assert_int_equal(t.lease % 1000, 0);
        assert_int_equal(t.watchdog % 1000, 0);
        assert_int_equal(t.margin % 1000, 0);
    }
}

static void expect(const struct ha_timers *t, const char *text)
{
    struct ha_error error = {0};

    assert_int_equal(ha_timers_check(t, TOKEN, CONSENSUS, &error), -EINVAL);
    assert_int_equal(error.code, -EINVAL);
    if (strstr(error.text, text) == NULL)
        fail_msg("`%s` is not in `%s`", text, error.text);
}

/* The bound confirms a host as dead at X + W + M: each of these would do so too early. */
static void test_bound_too_short(void **state)
{
    struct ha_timers t = defaults();

    (void)state;
    t.lease = 20559;
    expect(&t, "lease is 20559 ms, expected at least 20560 ms (2 x (token + consensus + 500 ms)");
    t = defaults();
    t.beat = 1000;
    expect(&t, "lease is 21000 ms, expected at least 22060 ms");
    t = defaults();
    t.margin = 2999;
    expect(&t, "margin is 2999 ms, expected at least 3000 ms");
    t = defaults();
    t.lease = 3000 * 1000;
    expect(&t, "margin is 3000 ms, expected at least 8020 ms");
    t = defaults();
    t.watchdog = 2000;
    expect(&t, "watchdog timeout is 2000 ms, expected at least 2500 ms (pet + time to destroy");
    t = defaults();
    t.watchdog = 10500;
    expect(&t, "watchdog timeout is 10500 ms, expected whole seconds, for example 11000 ms");
}

static void test_nonsense(void **state)
{
    struct ha_timers t = defaults();
    struct ha_error error;

    (void)state;
    t.beat = 0;
    expect(&t, "beat is 0 ms, expected at least 100 ms");
    t = defaults();
    t.lease = INT64_MIN;
    expect(&t, "lease is -9223372036854775808 ms");
    t = defaults();
    t.fence_retry = INT64_MAX;
    expect(&t, "fence_retry is 9223372036854775807 ms, expected at most 86400000 ms (a day)");
    t = defaults();
    t.settle = 4379;
    expect(&t, "settle is 4379 ms, expected at least 4380 ms");
    t = defaults();
    t.exchange = 4000;
    expect(&t, "chair is 3000 ms, expected at least 4000 ms");
    t = defaults();
    assert_int_equal(ha_timers_check(&t, 0, CONSENSUS, &error), -EINVAL);
    assert_int_equal(ha_timers_check(&t, TOKEN, INT64_MAX, &error), -EINVAL);
}

static void test_the_disk(void **state)
{
    struct ha_timers t = defaults();
    struct ha_disk_config d = {.interval_ms = 1000, .timeout_ms = 15000};
    struct ha_error error;

    (void)state;
    assert_int_equal(ha_disk_bound(15000, 5000, 3000), 15000 + 5000 + 3000);
    assert_true(ha_disk_bound(3600 * 1000, 5000, 3000) > 3600 * 1000 + 5000 + 9000); /* drift */
    assert_int_equal(ha_disk_timeout_min(&t, 1000, 0), 15000);
    assert_int_equal(ha_disk_check(&d, &t, 0, &error), 0);
    d.timeout_ms = 14999;
    assert_int_equal(ha_disk_check(&d, &t, 0, &error), -EINVAL);
    assert_non_null(strstr(error.text, "14999 ms, expected at least 15000 ms"));
    d.timeout_ms = 122 * 1000; /* open-iscsi's default */
    assert_int_equal(ha_disk_check(&d, &t, 120 * 1000, &error), -EINVAL);
    assert_non_null(strstr(error.text, "122000 ms, expected at least 123000 ms"));
    d.timeout_ms = 123 * 1000;
    assert_int_equal(ha_disk_check(&d, &t, 120 * 1000, &error), 0);
    d.interval_ms = 100;
    assert_int_equal(ha_disk_check(&d, &t, 0, &error), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_of_three_hosts),
        cmocka_unit_test(test_defaults_always_hold),
        cmocka_unit_test(test_bound_too_short),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_the_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
