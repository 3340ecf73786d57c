/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner, case by case: what an operator would expect of it in clusters small enough to see
 * through. Random clusters are in tests/plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "../../libha/plan.h"

enum { GIB = 1024 * 1024, HOSTS = 4, GUESTS = 8, RULES = 2, NONE = HA_PLAN_NONE };

/* A cluster of hosts with 8 GiB, nothing on them. */
struct cluster {
    struct ha_plan_instance in;
    struct ha_plan_host hosts[HOSTS];
    struct ha_plan_guest guests[GUESTS];
    struct ha_plan_rule rules[RULES];
    uint32_t members[RULES][GUESTS];
};

static const char *const host_names[HOSTS] = {"host1", "host2", "host3", "host4"};
static const char *const guest_names[GUESTS] = {"a", "b", "c", "d", "e", "f", "g", "h"};

static void cluster_init(struct cluster *c, size_t nhosts)
{
    memset(c, 0, sizeof *c);
    c->in = (struct ha_plan_instance){.hosts = c->hosts,
                                      .nhosts = nhosts,
                                      .guests = c->guests,
                                      .rules = c->rules,
                                      .migrate = true,
                                      .preempt = HA_PLAN_PREEMPT_MORE};
    for (size_t h = 0; h < nhosts; h++)
        c->hosts[h] =
            (struct ha_plan_host){.name = host_names[h], .memory_kib = 8 * GIB, .cpus = 8};
}

/* The next guest: its memory in GiB, its priority, where it is. */
static uint32_t add(struct cluster *c, unsigned gib, int priority, int on)
{
    uint32_t g = (uint32_t)c->in.nguests++;
    c->guests[g] = (struct ha_plan_guest){.name = guest_names[g],
                                          .memory_kib = gib * (uint64_t)GIB,
                                          .vcpus = 1,
                                          .priority = priority,
                                          .on = on,
                                          .run = true,
                                          .allowed = UINT64_MAX};
    return g;
}

static struct ha_plan_rule *bind(struct cluster *c, enum ha_plan_kind kind,
                                 enum ha_plan_strength strength, uint32_t a, uint32_t b)
{
    size_t r = c->in.nrules++;
    c->members[r][0] = a;
    c->members[r][1] = b;
    c->rules[r] = (struct ha_plan_rule){
        .kind = kind, .strength = strength, .guests = c->members[r], .nguests = 2};
    return &c->rules[r];
}

static struct ha_plan *make(const struct cluster *c)
{
    struct ha_plan *plan = NULL;
    struct ha_error error;
    assert_int_equal(ha_plan_check(&c->in, &error), 0);
    assert_int_equal(ha_plan_make(&c->in, &plan), 0);
    return plan;
}

static size_t count(const struct ha_plan *plan, enum ha_plan_do what)
{
    size_t n = 0;
    for (size_t i = 0; i < plan->nactions; i++)
        n += plan->actions[i].what == what;
    return n;
}

static void assert_why(const struct ha_plan *plan, uint32_t guest, const char *part)
{
    char text[HA_TEXT_MAX];
    ha_plan_why_here(plan, guest, text, sizeof text);
    if (!strstr(text, part))
        fail_msg("`%s` is not in: %s", part, text);
}

static void assert_why_not(const struct ha_plan *plan, uint32_t guest, uint32_t host,
                           const char *part)
{
    char text[HA_TEXT_MAX];
    ha_plan_why_not(plan, guest, host, text, sizeof text);
    if (!strstr(text, part))
        fail_msg("`%s` is not in: %s", part, text);
}

static void test_nothing_to_do(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    uint32_t a = add(&c, 4, 100, 0);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->nactions, 0);
    assert_int_equal(plan->place[a], 0);
    assert_int_equal(plan->tolerates, 1);
    assert_true(plan->tolerates_exact);
    assert_why(plan, a, "runs on host1, and nothing asks for a move");
    assert_null(ha_plan_free(plan));
}

/* What holds a guest where it is, is not what the configuration says of other hosts. */
static void test_held_is_not_forbidden(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 4);
    uint32_t a = add(&c, 4, 100, 0);
    c.guests[a].keep = true;
    c.guests[a].allowed = 1;
    c.guests[a].may = 7;
    c.guests[a].unaware = 4;
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 0);
    assert_why_not(plan, a, 1, "would do, too");
    assert_why_not(plan, a, 2, "its configuration does not have it");
    assert_why_not(plan, a, 3, "is not among its allowed hosts");
    ha_plan_free(plan);
}

static void test_empty_clusters(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 0);
    ha_plan_free(make(&c));
    uint32_t a = add(&c, 1, 1, NONE);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], NONE);
    assert_why(plan, a, "no host is up");
    ha_plan_free(plan);
    cluster_init(&c, 3);
    plan = make(&c);
    assert_int_equal(plan->tolerates, 3);
    ha_plan_free(plan);
}

static void test_lost_guests_start_elsewhere(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 3);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 4, 100, 0), b = add(&c, 4, 100, 1);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->nactions, 1);
    assert_int_equal(plan->actions[0].what, HA_PLAN_START);
    assert_int_equal(plan->place[a], 2); /* the emptier one */
    assert_int_equal(plan->place[b], 1);
    assert_why(plan, a, "its host host1 is down; host3 has room for its 4096 MiB");
    ha_plan_free(plan);
}

static void test_room_is_made_by_a_move_before_a_stop(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 3);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 8, 100, 0), b = add(&c, 3, 10, 1), d = add(&c, 2, 10, 2);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->score.running, 3);
    assert_int_equal(count(plan, HA_PLAN_MIGRATE), 1);
    assert_int_equal(count(plan, HA_PLAN_PREEMPT), 0);
    assert_int_equal(plan->place[d], 1); /* the smaller one moves */
    assert_int_equal(plan->place[b], 1);
    assert_int_equal(plan->place[a], 2);
    assert_why(plan, d, "makes room on host3 for a (priority 100)");
    /* The start waits for the move. */
    assert_int_equal(plan->actions[1].nafter, 1);
    assert_true(plan->actions[1].wave > plan->actions[0].wave);
    ha_plan_free(plan);
}

static void test_no_moves_where_switched_off(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 3);
    c.in.migrate = false;
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 8, 100, 0);
    add(&c, 3, 10, 1);
    uint32_t d = add(&c, 2, 10, 2);
    struct ha_plan *plan = make(&c);
    assert_int_equal(count(plan, HA_PLAN_MIGRATE), 0);
    assert_true(plan->place[a] >= 0);
    /* One gives way, and is started again where there is room. */
    assert_int_equal(plan->score.restarted, 1);
    assert_int_equal(plan->place[d], 1);
    ha_plan_free(plan);
}

static void test_the_least_important_gives_way(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 3);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 8, 100, 0), b = add(&c, 8, 50, 1), d = add(&c, 8, 20, 2);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 2);
    assert_int_equal(plan->place[b], 1);
    assert_int_equal(plan->place[d], NONE);
    assert_int_equal(plan->actions[0].what, HA_PLAN_PREEMPT);
    assert_int_equal(plan->actions[0].for_guest, a);
    assert_int_equal(plan->nunplaced, 1);
    assert_int_equal(plan->tolerates, 0);
    assert_why(plan, d, "needs 8192 MiB, 0 MiB free; would fit without");
    ha_plan_free(plan);
}

static void test_nobody_is_stopped_for_an_equal(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 8, 100, 0), b = add(&c, 8, 100, 1);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[b], 1);
    assert_int_equal(plan->place[a], NONE);
    assert_int_equal(plan->nactions, 0);
    ha_plan_free(plan);
}

static void test_one_large_gives_way_to_two_equals(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 4, 100, 0), b = add(&c, 4, 100, 0), d = add(&c, 8, 100, 1);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 1);
    assert_int_equal(plan->place[b], 1);
    assert_int_equal(plan->place[d], NONE);
    ha_plan_free(plan);
    c.in.preempt = HA_PLAN_PREEMPT_LOWER;
    plan = make(&c);
    assert_int_equal(plan->place[d], 1);
    assert_int_equal(plan->nactions, 0);
    ha_plan_free(plan);
}

static void test_nobody_is_stopped_twice(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 8, 100, 0), b = add(&c, 8, 10, 1);
    c.guests[b].keep = true;
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], NONE);
    assert_int_equal(plan->place[b], 1);
    ha_plan_free(plan);
}

static void test_drain_moves_live_or_by_stop_and_start(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    c.hosts[0].state = HA_PLAN_DRAIN;
    uint32_t a = add(&c, 2, 100, 0), b = add(&c, 2, 100, 0);
    c.guests[b].move = HA_PLAN_MOVE_NORMAL;
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 1);
    assert_int_equal(plan->place[b], 1);
    assert_int_equal(count(plan, HA_PLAN_MIGRATE), 1);
    assert_int_equal(count(plan, HA_PLAN_STOP), 1);
    assert_int_equal(count(plan, HA_PLAN_START), 1);
    assert_why_not(plan, a, 0, "is to be emptied");
    ha_plan_free(plan);
}

static void test_drain_without_room_and_without_preemption_leaves_it(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    c.hosts[0].state = HA_PLAN_DRAIN;
    c.in.preempt = HA_PLAN_PREEMPT_NEVER;
    uint32_t a = add(&c, 4, 100, 0);
    add(&c, 8, 10, 1);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 0);
    assert_int_equal(plan->nactions, 0);
    assert_int_equal(plan->tolerates, 0);
    ha_plan_free(plan);
}

static void test_apart_strong(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 1, 100, 0), b = add(&c, 1, 10, 1);
    bind(&c, HA_PLAN_APART, HA_PLAN_STRONG, a, b);
    struct ha_plan *plan = make(&c);
    /* Only one can run: the more important one. */
    assert_int_equal(plan->place[a], 1);
    assert_int_equal(plan->place[b], NONE);
    /* It must be gone before the other starts. */
    assert_int_equal(plan->actions[0].what, HA_PLAN_PREEMPT);
    assert_int_equal(plan->actions[1].nafter, 1);
    assert_why_not(plan, b, 1, "a rule keeps it apart from a, which runs on host2");
    ha_plan_free(plan);
}

static void test_apart_over_racks(void **state)
{
    static const uint8_t racks[HA_HOSTS_MAX] = {0, 0, 1, 1};
    struct cluster c;
    (void)state;
    cluster_init(&c, 4);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 1, 100, 0), b = add(&c, 1, 100, 2);
    struct ha_plan_rule *rule = bind(&c, HA_PLAN_APART, HA_PLAN_STRONG, a, b);
    rule->domain = racks;
    rule->over = "rack";
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 1);
    ha_plan_free(plan);
}

static void test_apart_weak_yields(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 3);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 1, 100, 0), b = add(&c, 1, 100, 1);
    bind(&c, HA_PLAN_APART, HA_PLAN_WEAK, a, b);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 2);
    ha_plan_free(plan);
    c.hosts[2].state = HA_PLAN_DOWN;
    plan = make(&c);
    assert_int_equal(plan->place[a], 1);
    assert_int_equal(plan->score.weak_broken, 1);
    ha_plan_free(plan);
}

/* b runs on host2, where there is no room for its partner a; host3 has room for both. */
static void partners(struct cluster *c, enum ha_plan_strength strength)
{
    cluster_init(c, 3);
    c->hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(c, 4, 50, 0), b = add(c, 2, 50, 1);
    add(c, 6, 100, 1);
    c->guests[2].move = HA_PLAN_MOVE_NORMAL;
    bind(c, HA_PLAN_TOGETHER, strength, a, b);
}

static void test_together_strong_does_not_drag_the_partner(void **state)
{
    struct cluster c;
    (void)state;
    partners(&c, HA_PLAN_STRONG);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[0], NONE);
    assert_int_equal(plan->place[1], 1);
    assert_int_equal(plan->nactions, 0);
    assert_why_not(plan, 0, 2, "a rule keeps it together with b, which runs on host2");
    ha_plan_free(plan);
}

static void test_together_delegate_moves_the_partner(void **state)
{
    struct cluster c;
    (void)state;
    partners(&c, HA_PLAN_DELEGATE);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[0], 2);
    assert_int_equal(plan->place[1], 2);
    assert_int_equal(plan->actions[0].what, HA_PLAN_MIGRATE);
    assert_why(plan, 1, "goes along with a");
    assert_int_equal(plan->actions[1].nafter, 1);
    ha_plan_free(plan);
}

static void test_together_weak_is_a_wish(void **state)
{
    struct cluster c;
    (void)state;
    partners(&c, HA_PLAN_WEAK);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[0], 2);
    assert_int_equal(plan->place[1], 1);
    ha_plan_free(plan);
}

static void test_lost_partners_start_together(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 3);
    c.hosts[0].state = HA_PLAN_DOWN;
    uint32_t a = add(&c, 3, 50, 0), b = add(&c, 4, 40, 0);
    add(&c, 4, 50, 1); /* 4 GiB free: a alone would fit best here */
    bind(&c, HA_PLAN_TOGETHER, HA_PLAN_STRONG, a, b);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 2);
    assert_int_equal(plan->place[b], 2);
    ha_plan_free(plan);
}

static void test_labels_and_allowed_hosts(void **state)
{
    static const struct ha_plan_label labels[] = {{"san", 1 << 2}};
    static const uint32_t needs[] = {0};
    struct cluster c;
    (void)state;
    cluster_init(&c, 4);
    c.in.labels = labels;
    c.in.nlabels = 1;
    uint32_t a = add(&c, 1, 50, NONE), b = add(&c, 1, 50, NONE);
    c.guests[a].needs = needs;
    c.guests[a].nneeds = 1;
    c.guests[b].allowed = 1 << 3;
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 2);
    assert_int_equal(plan->place[b], 3);
    assert_why_not(plan, a, 0, "has no `san`");
    assert_why_not(plan, b, 0, "is not among its allowed hosts");
    ha_plan_free(plan);
}

/* A host loses its path to the storage: the guest that needs it leaves. */
static void test_lost_label_moves_the_guest(void **state)
{
    static const struct ha_plan_label labels[] = {{"san", 1 << 1}};
    static const uint32_t needs[] = {0};
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    c.in.labels = labels;
    c.in.nlabels = 1;
    uint32_t a = add(&c, 1, 50, 0);
    c.guests[a].needs = needs;
    c.guests[a].nneeds = 1;
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 1);
    assert_int_equal(plan->actions[0].what, HA_PLAN_MIGRATE);
    assert_int_equal(plan->actions[0].reason, HA_PLAN_FOR_RULE);
    ha_plan_free(plan);
}

static void test_failback_is_a_choice(void **state)
{
    static const struct ha_plan_preference prefer[] = {{0, 100}};
    struct cluster c;
    (void)state;
    cluster_init(&c, 2);
    uint32_t a = add(&c, 1, 50, 1);
    c.guests[a].prefer = prefer;
    c.guests[a].nprefer = 1;
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->nactions, 0);
    ha_plan_free(plan);
    c.in.failback = true;
    plan = make(&c);
    assert_int_equal(plan->place[a], 0);
    assert_int_equal(plan->actions[0].reason, HA_PLAN_FOR_FAILBACK);
    ha_plan_free(plan);
}

/* Two drained hosts' worth of guests that can only change places: never both memories on one host.
 */
/* Each is where the other would like to be, and neither can go first. */
static void test_wishes_are_traded(void **state)
{
    static const struct ha_plan_preference first[] = {{0, 9}}, second[] = {{1, 9}};
    struct cluster c;
    (void)state;
    cluster_init(&c, 3);
    add(&c, 7, 900, 2); /* elsewhere there is no room for either */
    uint32_t a = add(&c, 5, 500, NONE), b = add(&c, 5, 400, NONE);
    c.guests[a].prefer = first;
    c.guests[b].prefer = second;
    c.guests[a].nprefer = c.guests[b].nprefer = 1;
    bind(&c, HA_PLAN_APART, HA_PLAN_STRONG, a, b);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[a], 0);
    assert_int_equal(plan->place[b], 1);
    ha_plan_free(plan);
    /* running guests only where fail-back is allowed, and not those that are content */
    c.guests[a].on = 1;
    plan = make(&c);
    assert_int_equal(plan->place[a], 1);
    ha_plan_free(plan);
    c.in.failback = true;
    plan = make(&c);
    assert_int_equal(plan->place[a], 0);
    assert_int_equal(plan->place[b], 1);
    ha_plan_free(plan);
    c.guests[a].content = true;
    plan = make(&c);
    assert_int_equal(plan->place[a], 1);
    ha_plan_free(plan);
    /* two running ones do not change places: on the way back could look better than on */
    c.guests[a].content = false;
    c.guests[b].on = 0;
    plan = make(&c);
    assert_int_equal(plan->nactions, 0);
    ha_plan_free(plan);
}

/* Strong partners stay together, and that is the rack, not the host. */
static void test_partners_move_within_their_rack(void **state)
{
    static const uint8_t racks[HA_HOSTS_MAX] = {0, 0, 1};
    struct cluster c;
    (void)state;
    cluster_init(&c, 3);
    uint32_t a = add(&c, 4, 100, 1), b = add(&c, 4, 100, 1), d = add(&c, 4, 100, NONE);
    struct ha_plan_rule *rule = bind(&c, HA_PLAN_TOGETHER, HA_PLAN_STRONG, a, b);
    rule->domain = racks;
    rule->over = "rack";
    c.guests[d].allowed = 1 << 1;
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->place[d], 1);
    assert_int_equal(count(plan, HA_PLAN_MIGRATE), 1);
    assert_int_equal(plan->place[a] + plan->place[b], 1); /* one of each */
    ha_plan_free(plan);
    rule->domain = NULL; /* together on one host they stay there */
    plan = make(&c);
    assert_int_equal(plan->place[d], NONE);
    ha_plan_free(plan);
}

static void test_stop_comes_before_what_needs_its_room(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 1);
    uint32_t a = add(&c, 8, 50, 0), b = add(&c, 8, 10, NONE);
    c.guests[a].run = false;
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->actions[0].what, HA_PLAN_STOP);
    assert_int_equal(plan->actions[1].what, HA_PLAN_START);
    assert_int_equal(plan->actions[1].guest, b);
    assert_int_equal(plan->actions[1].nafter, 1);
    assert_int_equal(plan->after[plan->actions[1].after], 0);
    ha_plan_free(plan);
}

static void test_vcpu_limit(void **state)
{
    struct cluster c;
    (void)state;
    cluster_init(&c, 1);
    c.in.vcpus_per_cpu = 1;
    c.hosts[0].cpus = 2;
    for (int i = 0; i < 3; i++)
        add(&c, 1, 50 - i, NONE);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->score.running, 2);
    assert_int_equal(plan->place[2], NONE);
    assert_why_not(plan, 2, 0, "virtual CPUs");
    ha_plan_free(plan);
}

static void test_tolerates(void **state)
{
    struct cluster c;
    char text[HA_TEXT_MAX];
    (void)state;
    cluster_init(&c, 3);
    add(&c, 5, 50, 0);
    add(&c, 5, 50, 1);
    struct ha_plan *plan = make(&c);
    assert_int_equal(plan->tolerates, 1);
    assert_true(plan->tolerates_exact);
    ha_plan_why_tolerates(plan, text, sizeof text);
    assert_non_null(strstr(text, "failed"));
    ha_plan_free(plan);
    add(&c, 4, 50, 2); /* 3 + 3 + 4 GiB free, and no room for 5 in one piece */
    plan = make(&c);
    assert_int_equal(plan->tolerates, 0);
    assert_true(plan->tolerates_exact);
    ha_plan_why_tolerates(plan, text, sizeof text);
    assert_non_null(strstr(text, "no host would have a place for a"));
    ha_plan_free(plan);
}

static void test_starts_are_throttled(void **state)
{
    struct cluster c;
    unsigned in_wave[GUESTS] = {0};
    (void)state;
    cluster_init(&c, 1);
    c.in.starts = 2;
    for (int i = 0; i < 6; i++)
        add(&c, 1, 50, NONE);
    struct ha_plan *plan = make(&c);
    for (size_t i = 0; i < plan->nactions; i++)
        in_wave[plan->actions[i].wave]++;
    assert_int_equal(in_wave[0], 2);
    assert_int_equal(in_wave[1], 2);
    assert_int_equal(in_wave[2], 2);
    ha_plan_free(plan);
}

static void test_bad_instances(void **state)
{
    struct cluster c;
    struct ha_error error;
    (void)state;
    cluster_init(&c, 1);
    uint32_t a = add(&c, 1, 50, 7);
    assert_true(ha_plan_check(&c.in, &error) < 0);
    assert_string_equal(error.text, "guest a: runs on a host that there is not");
    c.guests[a].on = 0;
    c.guests[a].memory_kib = 0;
    assert_true(ha_plan_check(&c.in, &error) < 0);
    c.guests[a].memory_kib = 1;
    bind(&c, HA_PLAN_APART, HA_PLAN_WEAK, a, 5);
    assert_true(ha_plan_check(&c.in, &error) < 0);
    assert_string_equal(error.text, "rule 0: names a guest that there is not");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_do), cmocka_unit_test(test_held_is_not_forbidden),
        cmocka_unit_test(test_empty_clusters),
        cmocka_unit_test(test_lost_guests_start_elsewhere),
        cmocka_unit_test(test_room_is_made_by_a_move_before_a_stop),
        cmocka_unit_test(test_no_moves_where_switched_off),
        cmocka_unit_test(test_the_least_important_gives_way),
        cmocka_unit_test(test_nobody_is_stopped_for_an_equal),
        cmocka_unit_test(test_one_large_gives_way_to_two_equals),
        cmocka_unit_test(test_nobody_is_stopped_twice),
        cmocka_unit_test(test_drain_moves_live_or_by_stop_and_start),
        cmocka_unit_test(test_drain_without_room_and_without_preemption_leaves_it),
        cmocka_unit_test(test_apart_strong),
        cmocka_unit_test(test_apart_over_racks),
        cmocka_unit_test(test_apart_weak_yields),
        cmocka_unit_test(test_together_strong_does_not_drag_the_partner),
        cmocka_unit_test(test_together_delegate_moves_the_partner),
        cmocka_unit_test(test_together_weak_is_a_wish),
        cmocka_unit_test(test_lost_partners_start_together),
        cmocka_unit_test(test_labels_and_allowed_hosts),
        cmocka_unit_test(test_lost_label_moves_the_guest),
        cmocka_unit_test(test_failback_is_a_choice),
        cmocka_unit_test(test_wishes_are_traded),
        cmocka_unit_test(test_partners_move_within_their_rack),
        cmocka_unit_test(test_stop_comes_before_what_needs_its_room),
        cmocka_unit_test(test_vcpu_limit),
        cmocka_unit_test(test_tolerates),
        cmocka_unit_test(test_starts_are_throttled),
        cmocka_unit_test(test_bad_instances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
