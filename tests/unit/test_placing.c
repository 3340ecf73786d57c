/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The coordinator's planning in the largest cluster: 64 hosts, 4000 guests, one host confirmed
 * dead. What is decided, that nothing is planned twice, and how long a decision takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../libha/placing.h"

enum { HOSTS = 64, GUESTS = 4000, GUEST_KIB = 1 << 20 };

static struct ha_config *make_config(void)
{
    struct ha_config *c = calloc(1, sizeof(*c));

    assert_non_null(c);
    c->placement = (struct ha_placement){.preempt = HA_PLAN_PREEMPT_LOWER, .rebalance = true};
    c->nhosts = HOSTS;
    c->hosts = calloc(HOSTS, sizeof(*c->hosts));
    c->nguests = GUESTS;
    c->guests = calloc(GUESTS, sizeof(*c->guests));
    assert_true(c->hosts != NULL && c->guests != NULL);
    for (unsigned i = 0; i < HOSTS; i++) {
        c->hosts[i].node = i + 1;
        snprintf(c->hosts[i].name, HA_NAME_MAX, "host%02u", i + 1);
    }
    for (unsigned i = 0; i < GUESTS; i++) {
        snprintf(c->guests[i].name, HA_NAME_MAX, "guest%04u", i);
        c->guests[i].priority = (int)(i * 7 % 10) * 100;
        c->guests[i].memory_kib = GUEST_KIB * (1 + (i / HOSTS + i) % 4);
        c->guests[i].vcpus = 1;
        c->guests[i].enabled = true;
    }
    return c;
}

static void make_members(struct ha *ha, uint64_t memory_kib)
{
    ha->nmembers = HOSTS;
    for (unsigned i = 0; i < HOSTS; i++) {
        struct ha_member *m = &ha->members[i];

        *m = (struct ha_member){.node = i + 1, .present = true, .acked = true, .reported = true};
        m->boot.b[0] = (uint8_t)(i + 1);
        m->report.keeper = m->report.inventory = true;
        m->report.memory_kib = memory_kib;
        m->report.fact_kinds = HA_FACT_COUNT;
        m->report.nguests = GUESTS;
    }
}

/* All guests run, dealt out in turn; then host 1 is dead. */
static void make_facts(struct ha *ha)
{
    struct ha_facts *f = &ha->log.head;

    f->cluster.b[0] = 1;
    f->nhosts = HOSTS;
    for (unsigned i = 0; i < HOSTS; i++) {
        f->hosts[i] = (struct ha_host_fact){.node = i + 1, .state = HA_HOST_IN, .voter = true};
        f->hosts[i].boot.b[0] = (uint8_t)(i + 1);
    }
    f->hosts[0].state = HA_HOST_DEAD;
    f->guests = calloc(GUESTS, sizeof(*f->guests));
    assert_non_null(f->guests);
    f->nguests = f->guests_size = GUESTS;
    f->next_inc = GUESTS + 1;
    for (unsigned i = 0; i < GUESTS; i++) {
        struct ha_guest_fact *g = &f->guests[i];
        unsigned host = i % HOSTS;

        snprintf(g->name, HA_NAME_MAX, "guest%04u", i);
        g->enabled = g->want_run = true;
        g->inc = i + 1;
        g->state = host ? HA_GUEST_RUNNING : HA_GUEST_FREE;
        g->owner = host ? host + 1 : 0;
        g->boot.b[0] = (uint8_t)(host ? host + 1 : 0);
    }
}

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static size_t decide(struct ha *ha, size_t *ret_migs, size_t *ret_preempted)
{
    size_t started = 0, ready = 0;

    assert_int_equal(ha_facts_copy(&ha->prop, &ha->log.head), 0);
    for (unsigned i = 0; i < GUESTS; i++)
        ready += ha->desks[i].ready = ha->prop.guests[i].state == HA_GUEST_FREE;
    ha_decide_places(ha, ready);
    *ret_migs = *ret_preempted = 0;
    for (unsigned i = 0; i < GUESTS; i++) {
        started += ha->prop.guests[i].state == HA_GUEST_STARTING;
        *ret_migs += ha->prop.guests[i].mig != 0;
        *ret_preempted += ha->prop.guests[i].preempted;
    }
    return started;
}

static void one_lost(unsigned percent)
{
    struct ha_actions actions = {0};
    struct ha *ha = ha_new(HA_MUTANT_NONE);
    struct ha_config *c = make_config();
    uint64_t all = 0;
    size_t migs, preempted, started;
    double took[3];

    assert_non_null(ha);
    ha->config = c;
    ha->now = 100000;
    ha->out = &actions;
    for (unsigned i = 0; i < GUESTS; i++)
        all += c->guests[i].memory_kib;
    make_members(ha, all * 100 / percent / HOSTS);
    make_facts(ha);
    assert_int_equal(ha_desk_room(ha), 0);
    for (int k = 0; k < 3; k++) {
        ha->now += k == 2 ? 1000 : 0; /* at once again, and when that has settled */
        took[k] = -cpu_ms();
        started = decide(ha, &migs, &preempted);
        took[k] += cpu_ms();
    }
    printf("%u %% full: %zu started, %zu moved, %zu stopped; %.1f ms, at once again %.1f ms, "
           "later %.1f ms\n",
           percent, started, migs, preempted, took[0], took[1], took[2]);
    assert_true(started + preempted > 0);
    if (percent <= 85)
        assert_int_equal(started, (GUESTS + HOSTS - 1) / HOSTS);
    ha_actions_done(&actions);
    ha->out = NULL;
    ha_free(ha);
    free(c->hosts);
    free(c->guests);
    free(c);
}

static void test_one_lost(void **state)
{
    static const unsigned full[] = {60, 85, 97, 99};

    (void)state;
    for (size_t i = 0; i < 4; i++)
        one_lost(full[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_lost)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
