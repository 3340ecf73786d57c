/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core's door, told with three real cores on an ideal network: a cluster is founded and starts
 * its guests, operators are answered, other versions are put up with, late joiners catch up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../libha/core.h"
#include "tiny_cluster.h"

static struct ha_status status_of(struct tiny *t, ha_node node)
{
    struct ha_status s;

    ha_status(tiny_host(t, node)->core, t->now, &s);
    return s;
}

static struct ha_guest_status guest_of(struct tiny *t, ha_node node, size_t i)
{
    struct ha_guest_status g;

    ha_status_guest(tiny_host(t, node)->core, t->now, i, &g);
    return g;
}

static void assert_answer(struct tiny *t, ha_node node, enum ha_command command, const char *guest,
                          const char *host, int code)
{
    tiny_command(t, node, command, guest, host);
    tiny_run(t, 1000);
    if (tiny_host(t, node)->reply_code != code)
        print_error("command %d: %s\n", (int)command, tiny_host(t, node)->reply_text);
    assert_int_equal(tiny_host(t, node)->reply_code, code);
    assert_true(tiny_host(t, node)->reply_text[0] != '\0');
}

/* -------------------------------------------------------------------------------- the first days
 */

static void nothing_happens_before_the_founding(void **state)
{
    struct tiny *t = tiny_new(3, 2);

    (void)state;
    for (ha_node n = 1; n <= 3; n++)
        tiny_start(t, n);
    tiny_ring(t);
    tiny_run(t, 60000);
    for (ha_node n = 1; n <= 3; n++) {
        struct ha_status s = status_of(t, n);

        assert_false(s.founded);
        assert_true(s.quorate && s.waiting && s.coordinator == 0 && s.head.i == 0);
        assert_non_null(strstr(s.sentence, "xvmhactl init"));
    }
    assert_answer(t, 2, HA_CMD_START, "guest0000", "", -ENOTCONN);
    tiny_free(t);
}

static void a_founding_needs_every_host(void **state)
{
    struct tiny *t = tiny_new(3, 0);

    (void)state;
    tiny_start(t, 1);
    tiny_start(t, 2);
    tiny_ring(t);
    tiny_run(t, 2000);
    assert_answer(t, 1, HA_CMD_INIT, "", "", -EHOSTDOWN);
    assert_non_null(strstr(tiny_host(t, 1)->reply_text, "host3"));
    tiny_start(t, 3);
    tiny_ring(t);
    tiny_run(t, 2000);
    assert_answer(t, 3, HA_CMD_INIT, "", "", 0);
    assert_answer(t, 1, HA_CMD_INIT, "", "", -EALREADY);
    assert_true(tiny_agreed(t) != 0);
    tiny_free(t);
}

static void guests_are_assigned_created_and_run_once(void **state)
{
    struct tiny *t = tiny_new(3, 12);
    char name[HA_NAME_MAX];

    (void)state;
    tiny_found(t);
    assert_true(tiny_agreed(t) != 0);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "guest%04u", i);
        assert_int_equal(tiny_running(t, name), 1);
        for (ha_node n = 1; n <= 3; n++) {
            assert_int_equal(guest_of(t, n, i).state, HA_GUEST_RUNNING);
            assert_string_equal(guest_of(t, n, i).why, "");
        }
    }
    for (ha_node n = 1; n <= 3; n++) {
        assert_int_equal(tiny_host(t, n)->ncopies, 4); /* spread evenly */
        assert_false(status_of(t, n).empty);
    }
    tiny_free(t);
}

static void two_of_three_go_on(void **state)
{
    struct tiny *t = tiny_new(3, 6);
    char name[HA_NAME_MAX];

    (void)state;
    tiny_found(t);
    tiny_stop(t, 1);
    tiny_host(t, 1)->ncopies = 0; /* it lost its power */
    tiny_ring(t);
    tiny_run(t, 30000);
    assert_int_equal(tiny_host(t, 2)->ncopies, 2); /* not before its watchdog must have ended it */
    tiny_run(t, 60000);
    assert_true(tiny_agreed(t) != 0);
    for (unsigned i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), "guest%04u", i);
        assert_int_equal(tiny_running(t, name), 1);
    }
    tiny_stop(t, 2);
    tiny_ring(t);
    tiny_run(t, 5000);
    assert_false(status_of(t, 3).quorate);
    assert_answer(t, 3, HA_CMD_STOP, "guest0000", "", -ENOTCONN);
    tiny_free(t);
}

/* -------------------------------------------------------------------------------------- operators
 */

static void commands_are_answered(void **state)
{
    struct tiny *t = tiny_new(3, 3);
    ha_node owner;

    (void)state;
    tiny_found(t);
    for (ha_node n = 1; n <= 3; n++) { /* from every host, the coordinator or not */
        assert_answer(t, n, HA_CMD_STOP, "guest0000", "", 0);
        assert_int_equal(tiny_running(t, "guest0000"), 0);
        assert_answer(t, n, HA_CMD_START, "guest0000", "", 0);
        tiny_run(t, 3000);
        assert_int_equal(tiny_running(t, "guest0000"), 1);
    }
    assert_answer(t, 2, HA_CMD_STOP, "nobody", "", -ENOENT);
    assert_answer(t, 2, HA_CMD_DISABLE, "guest0001", "", 0);
    assert_answer(t, 2, HA_CMD_START, "guest0001", "", -EPERM);
    assert_answer(t, 2, HA_CMD_ENABLE, "guest0001", "", 0);
    assert_answer(t, 2, HA_CMD_CLEAR, "guest0001", "", 0);
    assert_answer(t, 2, HA_CMD_MOVE, "guest0002", "nowhere", -EINVAL);
    assert_answer(t, 2, HA_CMD_MOVE_CANCEL, "guest0002", "", -ENOENT);
    assert_answer(t, 2, HA_CMD_FENCE_CONFIRM, "", "host3", -EBUSY);
    assert_answer(t, 2, HA_CMD_FENCE_CONFIRM, "", "nowhere", -ENOENT);
    assert_answer(t, 2, HA_CMD_HOST_REPLACE, "", "host3", -EBUSY);
    assert_answer(t, 2, HA_CMD_LINEAGE_FORCE, "", "", -EOPNOTSUPP);
    assert_answer(t, 2, (enum ha_command)200, "guest0000", "", -EOPNOTSUPP);
    owner = guest_of(t, 1, 2).owner;
    assert_answer(t, 2, HA_CMD_MOVE, "guest0002", owner == 1 ? "host2" : "host1", 0);
    tiny_run(t, 5000);
    assert_int_equal(tiny_running(t, "guest0002"), 1);
    assert_int_equal(guest_of(t, 3, 2).owner, owner == 1 ? 2 : 1);
    tiny_free(t);
}

static void nobody_waits_for_ever(void **state)
{
    struct tiny *t = tiny_new(3, 1);
    ha_node other;

    (void)state;
    tiny_found(t);
    other = tiny_agreed(t) == 1 ? 2 : 1;
    tiny_host(t, other)->mute = true; /* the question is lost on the way */
    tiny_command(t, other, HA_CMD_STOP, "guest0000", "");
    tiny_run(t, 20000);
    assert_int_equal(tiny_host(t, other)->replies, other == 1 ? 2 : 1);
    assert_true(tiny_host(t, other)->reply_code == -ETIMEDOUT ||
                tiny_host(t, other)->reply_code == -EAGAIN);
    tiny_free(t);
}

/* --------------------------------------------------------------------------------- other versions
 */

static void a_message_of_another_major_is_ignored_and_reported(void **state)
{
    struct tiny *t = tiny_new(3, 1);
    struct ha_status before;
    uint8_t bytes[] = {0x58,
                       0x48,
                       HA_MSG_MAJOR + 1,
                       0,
                       HA_MSG_AGAIN,
                       1,
                       2,
                       3,
                       4,
                       5,
                       6,
                       7,
                       8,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0,
                       0};

    (void)state;
    tiny_found(t);
    before = status_of(t, 1);
    tiny_host(t, 1)->reports[HA_REPORT_FOREIGN] = 0;
    tiny_send(t, tiny_host(t, 2), bytes, sizeof(bytes));
    tiny_settle(t);
    assert_int_equal(tiny_host(t, 1)->reports[HA_REPORT_FOREIGN], 1);
    bytes[0] ^= 0xff; /* not even one of ours: not worth a word */
    tiny_send(t, tiny_host(t, 2), bytes, sizeof(bytes));
    tiny_send(t, tiny_host(t, 2), bytes, 0);
    tiny_settle(t);
    assert_int_equal(tiny_host(t, 1)->reports[HA_REPORT_FOREIGN], 1);
    tiny_run(t, 5000);
    assert_true(status_of(t, 1).epoch.number == before.epoch.number);
    assert_true(tiny_agreed(t) != 0);
    tiny_free(t);
}

/* A newer minor version: every message of host 3 has fields that this version does not know. */
static void append_bytes(void *context, ha_node from, const void *data, size_t len)
{
    struct tiny *t = context;
    uint8_t *longer;

    if (from != 3)
        return;
    longer = malloc(len + 40);
    assert_non_null(longer);
    memcpy(longer, data, len);
    memset(longer + len, 0xa5, 40);
    longer[3]++; /* minor */
    tiny_send(t, tiny_host(t, 3), longer, len + 40);
    free(longer);
}

static void a_newer_minor_version_is_understood(void **state)
{
    struct tiny *t = tiny_new(3, 6);

    (void)state;
    t->tap = append_bytes;
    t->context = t;
    tiny_host(t, 3)->mute = true; /* what is heard of it is what the tap sends */
    tiny_found(t);
    assert_true(tiny_agreed(t) != 0);
    for (ha_node n = 1; n <= 3; n++) {
        assert_int_equal(tiny_host(t, n)->ncopies, 2);
        assert_int_equal(tiny_host(t, n)->reports[HA_REPORT_FOREIGN], 0);
    }
    assert_answer(t, 3, HA_CMD_STOP, "guest0000", "", 0);
    tiny_stop(t, 1); /* and it can coordinate, whoever did so far */
    tiny_ring(t);
    tiny_run(t, 5000);
    tiny_stop(t, 2);
    tiny_start(t, 1);
    tiny_ring(t);
    tiny_run(t, 10000);
    assert_true(tiny_agreed(t) != 0);
    tiny_free(t);
}

/* ------------------------------------------------------------------------------------ late joiners
 */

struct chunks {
    size_t n, bytes;
};

static void count_chunks(void *context, ha_node from, const void *data, size_t len)
{
    struct chunks *c = context;
    struct ha_get get = {data, len, false};
    struct ha_msg_head head;

    (void)from;
    assert_int_equal(ha_msg_get_head(&get, &head), 0);
    if (head.kind != HA_MSG_CHUNK)
        return;
    c->n++;
    c->bytes += len;
}

/* Registered on two of three hosts, none wanted to run: so many that a snapshot is needed and
 * large. */
static void a_late_joiner_fetches_a_large_snapshot_in_chunks(void **state)
{
    struct tiny *t = tiny_new(3, 3000);
    struct chunks chunks = {0};

    (void)state;
    for (size_t i = 0; i < t->config->nguests; i++)
        t->config->guests[i].enabled = false;
    tiny_found(t);
    assert_true(tiny_agreed(t) != 0);
    tiny_stop(t, 3);
    tiny_ring(t);
    /* more than a log keeps in memory: 2000 facts, after a rewrite each 4000 records */
    for (int i = 0; i < 2200; i++) {
        tiny_command(t, 1, i % 2 ? HA_CMD_STOP : HA_CMD_CLEAR, "guest0000", "");
        tiny_run(t, i < 20 ? 1000 : 100);
    }
    tiny_new_disk(t, 3);
    t->tap = count_chunks;
    t->context = &chunks;
    t->longest = 0;
    tiny_start(t, 3);
    tiny_ring(t);
    tiny_run(t, 10000);
    assert_true(tiny_agreed(t) != 0);
    assert_int_equal(status_of(t, 3).nguests, 3000);
    assert_true(chunks.bytes > 200 * 1024);
    assert_true(chunks.n >= 6);
    assert_true(t->longest > HA_CHUNK && t->longest <= HA_MSG_MAX);
    tiny_free(t);
}

/* A tail that never became stable takes the guests it registered with it: nothing of them is left
 * that could be taken for another guest's, or read at a place where no guest is. */
static void a_dropped_tail_takes_its_guests_with_it(void **state)
{
    struct tiny *t = tiny_new(3, 0);
    struct ha_config *more = tiny_config(3, 8);
    struct ha_event e = {.type = HA_EV_CONFIG};
    ha_node chair;
    struct tiny_host *h;

    (void)state;
    tiny_found(t);
    chair = tiny_agreed(t);
    h = tiny_host(t, chair);
    /* alone in its ring for a moment it proposes, appends, and nobody else ever hears of it */
    for (ha_node n = 1; n <= 3; n++)
        if (n != chair)
            tiny_host(t, n)->joined = false;
    e.u.config = more;
    tiny_step(t, h, e);
    tiny_run(t, 300);
    assert_true(h->core->log.head.nguests == 8 && h->core->stable.nguests == 0);
    /* the others choose another coordinator meanwhile, whose log is not this one */
    for (ha_node n = 1; n <= 3; n++)
        if (n != chair)
            tiny_host(t, n)->joined = true;
    h->joined = false;
    {
        struct ha *away = h->core;
        struct ha_actions actions = h->actions;
        uint64_t hash = h->actions_hash;

        h->core = NULL;
        h->joined = true;
        tiny_ring(t);
        tiny_run(t, 10000);
        h->core = away;
        h->actions = actions;
        h->actions_hash = hash;
    }
    assert_false(h->halted);
    h->copies[0] = (struct ha_copy){.guest = "by-hand", .state = HA_COPY_RUNNING};
    h->ncopies = 1;
    tiny_ring(t);
    tiny_run(t, 10000);
    assert_true(tiny_agreed(t) != 0);
    assert_int_equal(h->core->log.head.nguests, 0);
    e = (struct ha_event){.type = HA_EV_INVENTORY};
    e.u.inventory.known = true;
    e.u.inventory.copies = h->copies;
    e.u.inventory.ncopies = 1;
    tiny_step(t, h, e);
    assert_int_equal(h->core->nlocals, 0);
    e = (struct ha_event){.type = HA_EV_CONFIG};
    e.u.config = t->config;
    tiny_step(t, h, e);
    tiny_free(t);
    tiny_config_free(more);
}

/* ------------------------------------------------------------------------------ the caller's
 * mistakes */

static void the_order_of_events_is_checked(void **state)
{
    struct ha_config *config = tiny_config(3, 0);
    struct ha_actions actions = {0};
    struct ha_event e = {.type = HA_EV_TICK, .now = 1};
    struct ha *ha = ha_new(HA_MUTANT_NONE);

    (void)state;
    assert_non_null(ha);
    for (int type = HA_EV_START + 1; type <= HA_EV_SHUTDOWN; type++) {
        e.type = (enum ha_event_type)type;
        assert_int_equal(ha_step(ha, &e, &actions), -EINVAL);
        assert_int_equal(actions.n, 0);
    }
    e = (struct ha_event){.type = HA_EV_START, .now = 1};
    e.u.start.node = 1;
    e.u.start.config = config;
    assert_int_equal(ha_step(ha, &e, &actions), 0);
    assert_true(actions.n > 0);
    assert_int_equal(ha_step(ha, &e, &actions), -EINVAL);
    assert_int_equal(actions.n, 0);
    assert_int_equal(ha_restore(ha, "\2\1", 2), -EINVAL);
    ha_free(ha);
    assert_null(ha_free(NULL));
    ha_actions_done(&actions);
    ha_actions_done(&actions);
    tiny_config_free(config);
}

/* Time never goes back inside, and a core that is left alone asks for ticks that lead nowhere fast:
 * each deadline lies ahead of the step that was asked for it. */
static void deadlines_lie_ahead(void **state)
{
    struct tiny *t = tiny_new(3, 3);
    struct tiny_host *h = tiny_host(t, 2);

    (void)state;
    tiny_found(t);
    for (int i = 0; i < 200; i++) {
        ha_ms at;

        tiny_step(t, h, (struct ha_event){.type = HA_EV_TICK});
        at = ha_deadline(h->core);
        assert_true(at > t->now);
        t->now = at < t->now + 50 ? at : t->now + 50;
        tiny_settle(t);
    }
    t->now -= 1000;
    tiny_step(t, h, (struct ha_event){.type = HA_EV_TICK});
    assert_true(h->core->now > t->now);
    tiny_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_happens_before_the_founding),
        cmocka_unit_test(a_founding_needs_every_host),
        cmocka_unit_test(guests_are_assigned_created_and_run_once),
        cmocka_unit_test(two_of_three_go_on),
        cmocka_unit_test(commands_are_answered),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(a_message_of_another_major_is_ignored_and_reported),
        cmocka_unit_test(a_newer_minor_version_is_understood),
        cmocka_unit_test(a_late_joiner_fetches_a_large_snapshot_in_chunks),
        cmocka_unit_test(a_dropped_tail_takes_its_guests_with_it),
        cmocka_unit_test(the_order_of_events_is_checked),
        cmocka_unit_test(deadlines_lie_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
