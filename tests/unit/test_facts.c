/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two state machines, each pair of state and fact, against the tables as the design has them;
 * and what a fact changes beyond the state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../libha/facts.h"

enum { A = 1, B = 2, C = 3, NO = -1 };

static struct ha_uuid uuid_of(unsigned kind, unsigned n)
{
    return (struct ha_uuid){{(uint8_t)kind, (uint8_t)n}};
}

/* ------------------------------------------------------------------------------- the two tables */

/* Written out once more, as rows of all six states, so that a change of either table must be meant.
 */
static const struct {
    enum ha_fact_kind fact;
    int next[HA_HOST_OUT + 1]; /* from NEW, IN, LOST, FENCING, DEAD, OUT */
} host_rows[] = {
    {HA_FACT_IN, {HA_HOST_IN, HA_HOST_IN, HA_HOST_IN, NO, HA_HOST_IN, HA_HOST_IN}},
    {HA_FACT_LOST, {NO, HA_HOST_LOST, NO, NO, NO, NO}},
    {HA_FACT_FENCING, {NO, NO, HA_HOST_FENCING, NO, NO, NO}},
    {HA_FACT_FENCE_END, {NO, NO, NO, HA_HOST_LOST, NO, NO}},
    {HA_FACT_CONF, {NO, NO, HA_HOST_DEAD, HA_HOST_DEAD, NO, NO}},
    {HA_FACT_OUT, {NO, HA_HOST_OUT, NO, NO, NO, NO}},
    {HA_FACT_REPLACE, {HA_HOST_NEW, NO, HA_HOST_DEAD, HA_HOST_DEAD, HA_HOST_DEAD, HA_HOST_OUT}},
    {HA_FACT_ORDER, {NO, HA_HOST_LOST, HA_HOST_LOST, NO, NO, NO}},
};

static const struct {
    enum ha_fact_kind fact;
    int next[HA_GUEST_ARRIVED + 1]; /* from FREE, STARTING, RUNNING, MIGRATING, ARRIVED */
} guest_rows[] = {
    {HA_FACT_ASSIGN, {HA_GUEST_STARTING, NO, NO, NO, NO}},
    {HA_FACT_ADOPT, {HA_GUEST_STARTING, NO, NO, NO, NO}},
    {HA_FACT_RUN, {NO, HA_GUEST_RUNNING, NO, NO, HA_GUEST_RUNNING}},
    {HA_FACT_RELEASED, {NO, HA_GUEST_FREE, HA_GUEST_FREE, NO, HA_GUEST_FREE}},
    {HA_FACT_MIG, {NO, NO, HA_GUEST_MIGRATING, NO, NO}},
    {HA_FACT_COMMIT, {NO, NO, NO, HA_GUEST_ARRIVED, NO}},
    {HA_FACT_ABORT, {NO, NO, NO, HA_GUEST_RUNNING, NO}},
    {HA_FACT_RECALL, {NO, NO, HA_GUEST_RUNNING, NO, NO}},
    {HA_FACT_PREEMPT, {NO, NO, HA_GUEST_RUNNING, NO, NO}},
    {HA_FACT_RESTART, {NO, NO, HA_GUEST_RUNNING, NO, NO}},
};

static int expected_host(enum ha_host_state state, int kind)
{
    for (size_t i = 0; i < sizeof(host_rows) / sizeof(*host_rows); i++)
        if ((int)host_rows[i].fact == kind)
            return host_rows[i].next[state];
    return NO;
}

static int expected_guest(enum ha_guest_state state, int kind)
{
    for (size_t i = 0; i < sizeof(guest_rows) / sizeof(*guest_rows); i++)
        if ((int)guest_rows[i].fact == kind)
            return guest_rows[i].next[state];
    return NO;
}

static void every_host_state_meets_every_fact(void **state)
{
    (void)state;
    for (int s = HA_HOST_NEW; s <= HA_HOST_OUT; s++)
        for (int k = 0; k <= HA_FACT_COUNT; k++)
            assert_int_equal(ha_host_next((enum ha_host_state)s, (enum ha_fact_kind)k),
                             expected_host((enum ha_host_state)s, k));
}

static void every_guest_state_meets_every_fact(void **state)
{
    (void)state;
    for (int s = HA_GUEST_FREE; s <= HA_GUEST_ARRIVED; s++)
        for (int k = 0; k <= HA_FACT_COUNT; k++)
            assert_int_equal(ha_guest_next((enum ha_guest_state)s, (enum ha_fact_kind)k),
                             expected_guest((enum ha_guest_state)s, k));
}

/* ------------------------------------------------------------------------- states made to measure
 */

/* Host A in the given state, loss 3, level 1; one guest of it in the given state, incarnation 10.
 */
static struct ha_facts facts_with(enum ha_host_state host, enum ha_guest_state guest)
{
    struct ha_facts facts;
    struct ha_fact found = {.kind = HA_FACT_FOUND, .cluster = uuid_of('c', 1), .tbl = 1};
    struct ha_fact reg = {
        .kind = HA_FACT_REGISTER, .name = "web", .want_run = true, .enabled = true};
    struct ha_guest_fact *g;
    struct ha_host_fact *h;

    for (unsigned n = A; n <= C; n++)
        found.voters[found.nvoters++] = (struct ha_voter){n, uuid_of('m', n), uuid_of('j', n)};
    ha_facts_init(&facts, HA_MUTANT_NONE);
    assert_int_equal(ha_facts_apply(&facts, &found, 1), 0);
    assert_int_equal(ha_facts_apply(&facts, &reg, 2), 0);
    h = ha_facts_host(&facts, A);
    h->state = host;
    h->boot = uuid_of('b', A);
    h->loss = 3;
    h->level = 1;
    g = &facts.guests[0];
    g->state = guest;
    g->inc = 10;
    facts.next_inc = 11;
    facts.next_mig = 6;
    if (guest != HA_GUEST_FREE) {
        g->owner = A;
        g->boot = uuid_of('b', A);
    }
    if (guest == HA_GUEST_MIGRATING) {
        g->mig = 5;
        g->mig_host = B;
        g->mig_boot = uuid_of('b', B);
        g->mig_inc = 10;
    }
    return facts;
}

/* The fact of this kind that fits facts_with() if any does. */
static struct ha_fact fitting(enum ha_fact_kind kind)
{
    struct ha_fact f = {.kind = kind,
                        .host = A,
                        .boot = uuid_of('b', A),
                        .machine = uuid_of('m', A),
                        .journal = uuid_of('j', A),
                        .loss = kind == HA_FACT_LOST ? 4 : 3,
                        .level = 1,
                        .how = 1,
                        .inc = 10,
                        .mig = 5};

    if (kind == HA_FACT_ASSIGN || kind == HA_FACT_ADOPT || kind == HA_FACT_MIG)
        f.inc = 11;
    if (kind == HA_FACT_MIG) {
        f.mig = 6;
        f.host = B;
        f.boot = uuid_of('b', B);
    }
    return f;
}

static void facts_that_do_not_fit_change_nothing(void **state)
{
    (void)state;
    for (int s = HA_HOST_NEW; s <= HA_HOST_OUT; s++)
        for (int g = HA_GUEST_FREE; g <= HA_GUEST_ARRIVED; g++)
            for (int k = HA_FACT_IN; k < HA_FACT_VOTERS; k++) {
                struct ha_facts facts = facts_with((enum ha_host_state)s, (enum ha_guest_state)g);
                struct ha_fact f = fitting((enum ha_fact_kind)k);
                bool host = k <= HA_FACT_OUT, table = k >= HA_FACT_ASSIGN && k < HA_FACT_CLEAR;
                int next = host ? expected_host((enum ha_host_state)s, k)
                                : expected_guest((enum ha_guest_state)g, k);
                struct ha_guest_fact before;

                memcpy(&before, &facts.guests[0], sizeof(before)); /* padding too */
                if (!host && !table) { /* REGISTER, WANT, CLEAR: not of the tables */
                    ha_facts_done(&facts);
                    continue;
                }
                assert_int_equal(ha_facts_fits(&facts, &f), next != NO);
                assert_int_equal(ha_facts_apply(&facts, &f, 9), 0);
                if (host)
                    assert_int_equal(ha_facts_host(&facts, A)->state, next == NO ? s : next);
                else
                    assert_int_equal(facts.guests[0].state, next == NO ? g : next);
                if (next == NO)
                    assert_memory_equal(&facts.guests[0], &before, sizeof(before));
                ha_facts_done(&facts);
            }
}

static void fits(const struct ha_facts *facts, struct ha_fact f, bool expected)
{
    assert_int_equal(ha_facts_fits(facts, &f), expected);
}

/* Rule 22: a confirmation names host, life and loss; anything else is of another time. */
static void a_confirmation_names_life_and_loss(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_FENCING, HA_GUEST_RUNNING);
    struct ha_fact f = fitting(HA_FACT_CONF);

    (void)state;
    fits(&facts, f, true);
    f.loss = 2;
    fits(&facts, f, false);
    f.loss = 4;
    fits(&facts, f, false);
    f = fitting(HA_FACT_CONF);
    f.boot = uuid_of('b', 99);
    fits(&facts, f, false);
    f = fitting(HA_FACT_CONF);
    f.host = 77;
    fits(&facts, f, false);
    f = fitting(HA_FACT_FENCE_END);
    f.level = 0; /* of a level that is over */
    fits(&facts, f, false);
    ha_facts_done(&facts);
    facts = facts_with(HA_HOST_IN, HA_GUEST_RUNNING);
    f = fitting(HA_FACT_LOST);
    f.loss = 5; /* the next loss is 4 */
    fits(&facts, f, false);
    f = fitting(HA_FACT_IN);
    f.machine = uuid_of('m', B); /* rule 3: another machine under a known id */
    fits(&facts, f, false);
    ha_facts_done(&facts);
}

static void an_incarnation_is_never_reused(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_FREE);
    struct ha_fact f = fitting(HA_FACT_ASSIGN);

    (void)state;
    f.inc = 10;
    fits(&facts, f, false);
    f.inc = 20; /* gaps are fine */
    fits(&facts, f, true);
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    assert_int_equal(facts.next_inc, 21);
    assert_int_equal(facts.guests[0].inc, 20);
    f = fitting(HA_FACT_RUN);
    fits(&facts, f, false); /* told of incarnation 10 */
    f.guest = 1;
    f.inc = 20;
    fits(&facts, f, false); /* no such guest */
    ha_facts_done(&facts);
}

/* Rule 14: commit or abort, the first in the log decides. */
static void a_migration_is_decided_once(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_MIGRATING);
    struct ha_fact commit = fitting(HA_FACT_COMMIT), abort = fitting(HA_FACT_ABORT);

    (void)state;
    commit.mig = 4;
    fits(&facts, commit, false);
    commit.mig = 5;
    assert_int_equal(ha_facts_apply(&facts, &commit, 3), 0);
    assert_int_equal(facts.guests[0].state, HA_GUEST_ARRIVED);
    assert_int_equal(facts.guests[0].owner, B);
    assert_int_equal(facts.guests[0].left_host, A);
    assert_true(facts.guests[0].by_mig);
    fits(&facts, abort, false);
    fits(&facts, commit, false);
    ha_facts_done(&facts);
}

/* The source of a move must have cleaned up before anybody else holds the guest. */
static void nobody_holds_a_guest_before_its_source_has_gone(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_MIGRATING);
    struct ha_fact f = fitting(HA_FACT_COMMIT);

    (void)state;
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    f = fitting(HA_FACT_RELEASED);
    assert_int_equal(ha_facts_apply(&facts, &f, 4), 0);
    assert_int_equal(facts.guests[0].state, HA_GUEST_FREE);
    fits(&facts, fitting(HA_FACT_ASSIGN), false);
    fits(&facts, fitting(HA_FACT_ADOPT), false);
    f = fitting(HA_FACT_VACATED);
    f.boot = uuid_of('b', 99);
    fits(&facts, f, false); /* another life cannot know */
    f.boot = uuid_of('b', A);
    assert_int_equal(ha_facts_apply(&facts, &f, 5), 0);
    fits(&facts, fitting(HA_FACT_ASSIGN), true);
    ha_facts_done(&facts);
}

/* An operator's order counts as a loss of its own kind: no flap, and over with the confirmation. */
static void an_order_is_no_flap(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_RUNNING);
    struct ha_host_fact *h = ha_facts_host(&facts, A);
    struct ha_fact f = {
        .kind = HA_FACT_ORDER, .host = A, .boot = h->boot, .loss = h->loss + 1};

    (void)state;
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    assert_true(h->state == HA_HOST_LOST && h->ordered && h->flaps == 0 && h->loss == f.loss);
    fits(&facts, f, false); /* ordered already */
    f.kind = HA_FACT_CALM;
    fits(&facts, f, false); /* nothing to forget */
    f.kind = HA_FACT_CONF;
    f.how = HA_CONF_DEVICE;
    assert_int_equal(ha_facts_apply(&facts, &f, 4), 0);
    assert_true(h->state == HA_HOST_DEAD && !h->ordered);
    ha_facts_done(&facts);
}

static void losses_are_counted_until_it_is_calm(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_RUNNING);
    struct ha_host_fact *h = ha_facts_host(&facts, A);
    struct ha_fact f = {.kind = HA_FACT_LOST, .host = A, .boot = h->boot, .loss = h->loss + 1};

    (void)state;
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    assert_int_equal(h->flaps, 1);
    f.kind = HA_FACT_ORDER; /* the same loss, now by order */
    f.loss = h->loss;
    assert_int_equal(ha_facts_apply(&facts, &f, 4), 0);
    assert_true(h->flaps == 1 && h->ordered && h->loss == f.loss);
    f.kind = HA_FACT_CALM;
    assert_int_equal(ha_facts_apply(&facts, &f, 5), 0);
    assert_int_equal(h->flaps, 0);
    assert_true(h->state == HA_HOST_LOST && h->ordered);
    ha_facts_done(&facts);
}

static void turns_are_one_of_three(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_RUNNING);
    struct ha_fact f = {.kind = HA_FACT_TURN, .host = A};

    (void)state;
    fits(&facts, f, false);
    f.level = HA_TURNS + 1;
    fits(&facts, f, false);
    f.level = 2;
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    assert_int_equal(ha_facts_host(&facts, A)->turn, 2);
    fits(&facts, f, false); /* it has that one */
    ha_facts_done(&facts);
}

/* A move by stop and start: where to is remembered until it starts again. */
static void a_recalled_guest_prefers_another_host(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_RUNNING);
    struct ha_fact f = {.kind = HA_FACT_RECALL, .host = A};

    (void)state;
    fits(&facts, f, false); /* it runs there */
    f.host = 77;
    fits(&facts, f, false);
    f.host = C;
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    assert_true(facts.guests[0].recall && facts.guests[0].prefer == C);
    f = fitting(HA_FACT_RELEASED);
    assert_int_equal(ha_facts_apply(&facts, &f, 4), 0);
    assert_int_equal(facts.guests[0].prefer, C);
    f = fitting(HA_FACT_ASSIGN);
    assert_int_equal(ha_facts_apply(&facts, &f, 5), 0);
    assert_true(!facts.guests[0].recall && facts.guests[0].prefer == 0);
    ha_facts_done(&facts);
}

/* Rule 12: death frees what that life owned; an undecided migration stays undecided. */
static void a_death_frees_the_guests_of_that_life(void **state)
{
    (void)state;
    for (int s = HA_GUEST_STARTING; s <= HA_GUEST_ARRIVED; s++)
        for (int by_return = 0; by_return < 2; by_return++) {
            struct ha_facts facts =
                facts_with(by_return ? HA_HOST_IN : HA_HOST_FENCING, (enum ha_guest_state)s);
            struct ha_fact f = fitting(by_return ? HA_FACT_IN : HA_FACT_CONF);
            const struct ha_guest_fact *g = &facts.guests[0];

            if (by_return)
                f.boot = uuid_of('b', 99); /* a newer life: proof of death of the older */
            assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
            assert_int_equal(g->owner, 0);
            assert_int_equal(g->state,
                             s == HA_GUEST_MIGRATING ? HA_GUEST_MIGRATING : HA_GUEST_FREE);
            assert_int_equal(g->start_losses, s == HA_GUEST_STARTING);
            if (s == HA_GUEST_MIGRATING) {
                f = fitting(HA_FACT_ABORT);
                assert_int_equal(ha_facts_apply(&facts, &f, 4), 0);
                assert_int_equal(g->state, HA_GUEST_FREE);
            }
            ha_facts_done(&facts);
        }
}

static void the_same_life_keeps_its_guests(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_LOST, HA_GUEST_RUNNING);
    struct ha_fact f = fitting(HA_FACT_IN);

    (void)state;
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    assert_int_equal(facts.guests[0].owner, A);
    assert_int_equal(facts.guests[0].state, HA_GUEST_RUNNING);
    ha_facts_done(&facts);
}

/* Two hosts were lost while it started there: it is not tried on a third. */
static void a_guest_that_kills_hosts_is_quarantined(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_FENCING, HA_GUEST_STARTING);
    struct ha_fact f = fitting(HA_FACT_CONF);
    struct ha_guest_fact *g = &facts.guests[0];

    (void)state;
    g->start_losses = 1;
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    assert_true(g->quarantined);
    f = (struct ha_fact){.kind = HA_FACT_CLEAR};
    assert_int_equal(ha_facts_apply(&facts, &f, 4), 0);
    assert_false(g->quarantined);
    assert_int_equal(g->start_losses, 0);
    ha_facts_done(&facts);
}

/* Rule 24: a device said off, and the same life returns. */
static void a_lying_device_is_remembered(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_FENCING, HA_GUEST_FREE);
    struct ha_fact conf = fitting(HA_FACT_CONF), in = fitting(HA_FACT_IN);

    (void)state;
    conf.how = HA_CONF_DEVICE;
    assert_int_equal(ha_facts_apply(&facts, &conf, 3), 0);
    assert_int_equal(ha_facts_apply(&facts, &in, 4), 0);
    assert_true(ha_facts_host(&facts, A)->distrusted);
    assert_int_equal(ha_facts_host(&facts, A)->in_index, 4);
    ha_facts_done(&facts);
}

/* Rule 26: the votes table only ever gets newer; whoever returns votes again, by the same table:
 * until all old voters have acknowledged that, they may go on without it. */
static void voters_leave_with_a_new_table_and_return_to_it(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_DEAD, HA_GUEST_FREE);
    struct ha_fact f = {.kind = HA_FACT_VOTERS, .tbl = 1, .nvoters = 1, .voters = {{.node = B}}};
    struct ha_fact in = fitting(HA_FACT_IN);

    (void)state;
    assert_int_equal(ha_facts_voters(&facts), 3);
    fits(&facts, f, false);
    f.tbl = 2;
    assert_int_equal(ha_facts_apply(&facts, &f, 3), 0);
    assert_int_equal(ha_facts_voters(&facts), 1);
    assert_int_equal(ha_facts_apply(&facts, &in, 4), 0);
    assert_int_equal(ha_facts_voters(&facts), 2);
    assert_int_equal(facts.tbl, 2);
    ha_facts_done(&facts);
}

static void a_cluster_is_founded_once_and_a_name_registered_once(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_FREE);
    struct ha_fact f = {.kind = HA_FACT_FOUND, .cluster = uuid_of('c', 2), .nvoters = 1};

    (void)state;
    fits(&facts, f, false);
    f = (struct ha_fact){.kind = HA_FACT_REGISTER, .name = "web"};
    fits(&facts, f, false);
    for (unsigned i = 1; i < HA_GUESTS_MAX; i++) {
        snprintf(f.name, sizeof(f.name), "g%u", i);
        assert_int_equal(ha_facts_apply(&facts, &f, i + 3), 0);
    }
    assert_int_equal(facts.nguests, HA_GUESTS_MAX);
    snprintf(f.name, sizeof(f.name), "one-too-many");
    fits(&facts, f, false);
    ha_facts_done(&facts);
}

static void a_copy_is_deep(void **state)
{
    struct ha_facts facts = facts_with(HA_HOST_IN, HA_GUEST_RUNNING), copy, none;

    (void)state;
    ha_facts_init(&copy, HA_MUTANT_NONE);
    ha_facts_init(&none, HA_MUTANT_NONE);
    assert_int_equal(ha_facts_copy(&copy, &facts), 0);
    facts.guests[0].owner = C;
    assert_int_equal(copy.guests[0].owner, A);
    assert_int_equal(ha_facts_copy(&copy, &none), 0);
    assert_int_equal(copy.nguests, 0);
    assert_int_equal(ha_facts_copy(&copy, &facts), 0);
    assert_int_equal(copy.guests[0].owner, C);
    ha_facts_done(&facts);
    ha_facts_done(&copy);
    ha_facts_done(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_host_state_meets_every_fact),
        cmocka_unit_test(every_guest_state_meets_every_fact),
        cmocka_unit_test(facts_that_do_not_fit_change_nothing),
        cmocka_unit_test(a_confirmation_names_life_and_loss),
        cmocka_unit_test(an_incarnation_is_never_reused),
        cmocka_unit_test(a_migration_is_decided_once),
        cmocka_unit_test(nobody_holds_a_guest_before_its_source_has_gone),
        cmocka_unit_test(a_recalled_guest_prefers_another_host),
        cmocka_unit_test(an_order_is_no_flap),
        cmocka_unit_test(losses_are_counted_until_it_is_calm),
        cmocka_unit_test(turns_are_one_of_three),
        cmocka_unit_test(a_death_frees_the_guests_of_that_life),
        cmocka_unit_test(the_same_life_keeps_its_guests),
        cmocka_unit_test(a_guest_that_kills_hosts_is_quarantined),
        cmocka_unit_test(a_lying_device_is_remembered),
        cmocka_unit_test(voters_leave_with_a_new_table_and_return_to_it),
        cmocka_unit_test(a_cluster_is_founded_once_and_a_name_registered_once),
        cmocka_unit_test(a_copy_is_deep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
