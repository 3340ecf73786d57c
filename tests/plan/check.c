/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Judges plans: see check.h. Plain and slow on purpose. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { BRUTE_HOSTS = 6, BRUTE_NODES = 200000 };

/* Where guests are while steps are done: bit h of here[g]; two bits during a live migration. */
struct state {
    const struct ha_plan_instance *in;
    uint64_t *here;
    uint64_t *before; /* at the start: what was wrong then is not the plan's fault */
};

static int domain(const struct ha_plan_rule *rule, int h)
{
    return rule->domain ? rule->domain[h] : h;
}

static uint64_t hosts_of(const struct ha_plan_instance *in, size_t g)
{
    uint64_t may = in->guests[g].allowed;
    for (size_t i = 0; i < in->guests[g].nneeds; i++)
        may &= in->labels[in->guests[g].needs[i]].hosts;
    for (size_t h = 0; h < in->nhosts; h++)
        if (in->hosts[h].state != HA_PLAN_UP)
            may &= ~(UINT64_C(1) << h);
    return may;
}

static bool on_both(uint64_t a, uint64_t b, const struct ha_plan_rule *rule, bool apart)
{
    for (uint64_t i = a; i; i &= i - 1)
        for (uint64_t k = b; k; k &= k - 1)
            if ((domain(rule, __builtin_ctzll(i)) == domain(rule, __builtin_ctzll(k))) == apart)
                return true;
    return false;
}

static const char *state_rules(const struct state *s)
{
    for (size_t r = 0; r < s->in->nrules; r++) {
        const struct ha_plan_rule *rule = &s->in->rules[r];
        bool apart = rule->kind == HA_PLAN_APART;
        for (size_t i = 0; rule->strength != HA_PLAN_WEAK && i < rule->nguests; i++) {
            for (size_t k = 0; k < i; k++) {
                uint32_t a = rule->guests[i], b = rule->guests[k];
                if (!s->here[a] || !s->here[b])
                    continue;
                /* Both still where they were together at fault: nothing has been done about it yet.
                 */
                if ((s->before[a] & s->here[a]) && (s->before[b] & s->here[b]) &&
                    on_both(s->before[a], s->before[b], rule, apart))
                    continue;
                /* While one migrates, it is on two hosts; a rule `together` cannot count both. */
                bool moving = (s->here[a] & (s->here[a] - 1)) || (s->here[b] & (s->here[b] - 1));
                if (moving && !apart && !rule->domain)
                    return "together: one moves away from the other";
                if (on_both(s->here[a], s->here[b], rule, apart))
                    return apart ? "two guests that must be apart are not"
                                 : "two guests that must be together are not";
            }
        }
    }
    return NULL;
}

static const char *state_room(const struct state *s)
{
    for (size_t h = 0; h < s->in->nhosts; h++) {
        uint64_t mem = 0, cpu = 0, mem_before = 0, cpu_before = 0;
        bool newcomer = false;
        for (size_t g = 0; g < s->in->nguests; g++) {
            if (s->here[g] >> h & 1) {
                mem += s->in->guests[g].memory_kib;
                cpu += s->in->guests[g].vcpus;
                newcomer |= !(s->before[g] >> h & 1);
            }
            if (s->before[g] >> h & 1) {
                mem_before += s->in->guests[g].memory_kib;
                cpu_before += s->in->guests[g].vcpus;
            }
        }
        uint64_t limit = (uint64_t)s->in->vcpus_per_cpu * s->in->hosts[h].cpus;
        if (mem > s->in->hosts[h].memory_kib && (newcomer || mem > mem_before))
            return "a host has more memory in use than it has";
        if (s->in->vcpus_per_cpu && cpu > limit && (newcomer || cpu > cpu_before))
            return "a host has more virtual CPUs than allowed";
    }
    return NULL;
}

static const char *state_places(const struct state *s)
{
    for (size_t g = 0; g < s->in->nguests; g++)
        if (s->here[g] & ~hosts_of(s->in, g) & ~s->before[g])
            return "a guest is on a host that it may not have";
    return NULL;
}

static const char *judge(const struct state *s)
{
    const char *bad = state_places(s);
    if (!bad)
        bad = state_room(s);
    return bad ? bad : state_rules(s);
}

static void state_init(struct state *s, const struct ha_plan_instance *in)
{
    s->in = in;
    s->here = calloc(in->nguests + 1, sizeof *s->here);
    s->before = calloc(in->nguests + 1, sizeof *s->before);
    if (!s->here || !s->before)
        abort();
    for (size_t g = 0; g < in->nguests; g++) {
        int on = in->guests[g].on;
        if (on >= 0 && in->hosts[on].state != HA_PLAN_DOWN)
            s->here[g] = s->before[g] = UINT64_C(1) << on;
    }
}

static void state_done(struct state *s)
{
    free(s->here);
    free(s->before);
}

const char *check_placement(const struct ha_plan *plan)
{
    const struct ha_plan_instance *in = plan->in;
    struct state s;
    state_init(&s, in);
    for (size_t g = 0; g < in->nguests; g++)
        s.here[g] = plan->place[g] < 0 ? 0 : UINT64_C(1) << plan->place[g];
    /* Where running guests may be stopped, nothing excuses what was wrong before. */
    if (in->preempt != HA_PLAN_PREEMPT_NEVER)
        memset(s.before, 0, in->nguests * sizeof *s.before);
    const char *bad = judge(&s);
    for (size_t g = 0; g < in->nguests && !bad; g++)
        if (plan->place[g] >= 0 && !in->guests[g].run)
            bad = "a guest runs that should not";
    state_done(&s);
    return bad;
}

/* -------------------------------------------------------------------------------------- steps */

static const char *do_step(struct state *s, const struct ha_plan_action *a)
{
    uint64_t from = a->from < 0 ? 0 : UINT64_C(1) << a->from;
    uint64_t to = a->to < 0 ? 0 : UINT64_C(1) << a->to;
    if (s->here[a->guest] != from)
        return "a step begins where its guest is not";
    if (a->what == HA_PLAN_MIGRATE ? !from || !to
        : a->what == HA_PLAN_START ? from || !to
                                   : to || !from)
        return "a step has the wrong hosts";
    if (a->what != HA_PLAN_MIGRATE) {
        s->here[a->guest] = to;
        return judge(s);
    }
    s->here[a->guest] = from | to;
    const char *bad = judge(s);
    s->here[a->guest] = to;
    return bad ? bad : judge(s);
}

/* A migration that fails has been on both hosts for a while, too. */
static const char *fail_step(struct state *s, const struct ha_plan_action *a)
{
    if (a->what != HA_PLAN_MIGRATE)
        return NULL;
    uint64_t was = s->here[a->guest];
    s->here[a->guest] |= UINT64_C(1) << a->to;
    const char *bad = judge(s);
    s->here[a->guest] = was;
    return bad;
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x >> 11;
}

/* Runs the steps; those whose bit is set in `fails` fail. */
static const char *run_steps(const struct ha_plan *plan, const bool *fails, bool *done, bool whole)
{
    struct state s;
    const char *bad = NULL;
    uint32_t wave = 0;
    state_init(&s, plan->in);
    for (size_t i = 0; i < plan->nactions && !bad; i++) {
        const struct ha_plan_action *a = &plan->actions[i];
        bool can = true;
        for (uint32_t k = 0; k < a->nafter; k++) {
            uint32_t on = plan->after[a->after + k];
            if (on >= i || plan->actions[on].wave >= a->wave)
                bad = "a step relies on one that is not before it";
            can &= on < i && done[on];
        }
        for (size_t k = 0; a->after_all && k < i; k++)
            can &= done[k];
        wave = a->wave > wave ? a->wave : wave;
        done[i] = can && !fails[i];
        if (!bad && can)
            bad = fails[i] ? fail_step(&s, a) : do_step(&s, a);
    }
    for (size_t g = 0; g < plan->in->nguests && whole && !bad; g++)
        if (s.here[g] != (plan->place[g] < 0 ? 0 : UINT64_C(1) << plan->place[g]))
            bad = "the steps do not lead to the placement";
    state_done(&s);
    return bad;
}

const char *check_steps(const struct ha_plan *plan, uint64_t seed)
{
    size_t n = plan->nactions;
    bool *fails = calloc(n + 1, 1), *done = calloc(n + 1, 1);
    uint64_t random = seed * 2 + 1;
    if (!fails || !done)
        abort();
    const char *bad = run_steps(plan, fails, done, true);
    for (size_t i = 0; i < n && !bad; i++) {
        fails[i] = true;
        bad = run_steps(plan, fails, done, false);
        fails[i] = false;
    }
    for (int round = 0; round < 3 && n && !bad; round++) {
        for (size_t i = 0; i < n; i++)
            fails[i] = next_random(&random) % 3 == 0;
        bad = run_steps(plan, fails, done, false);
    }
    free(fails);
    free(done);
    return bad;
}

/* ------------------------------------------------------------------------------------ freedom */

static bool was_fine(const struct ha_plan *plan, uint32_t g)
{
    struct state s;
    bool fine = true;
    int on = plan->in->guests[g].on;
    state_init(&s, plan->in);
    for (size_t i = 0; i < plan->in->nguests; i++)
        if (!plan->in->guests[i].run)
            s.here[i] = 0;
    memset(s.before, 0, plan->in->nguests * sizeof *s.before);
    fine = judge(&s) == NULL && (hosts_of(plan->in, g) >> on & 1);
    state_done(&s);
    return fine;
}

const char *check_freedom(const struct ha_plan *plan)
{
    const struct ha_plan_instance *in = plan->in;
    int32_t highest = INT32_MIN;
    for (size_t g = 0; g < in->nguests; g++)
        if (plan->place[g] >= 0 && plan->place[g] != in->guests[g].on &&
            in->guests[g].priority > highest)
            highest = in->guests[g].priority;
    for (size_t i = 0; i < plan->nactions; i++) {
        const struct ha_plan_action *a = &plan->actions[i];
        const struct ha_plan_guest *g = &in->guests[a->guest];
        if (a->what == HA_PLAN_MIGRATE && (!in->migrate || g->move != HA_PLAN_MOVE_LIVE))
            return "a guest is moved live that cannot be";
        if (a->what == HA_PLAN_PREEMPT && in->preempt == HA_PLAN_PREEMPT_NEVER)
            return "a guest is preempted though that is switched off";
        if ((a->what != HA_PLAN_PREEMPT && a->what != HA_PLAN_STOP) || !g->run ||
            !was_fine(plan, a->guest))
            continue;
        if (g->keep)
            return "a guest is stopped a second time";
        if (in->preempt == HA_PLAN_PREEMPT_LOWER && g->priority >= highest)
            return "a guest is stopped though none of higher priority gains by it";
        if (in->preempt == HA_PLAN_PREEMPT_MORE && g->priority > highest)
            return "a guest is stopped for a lower one";
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------- first fit */

/* Does a come before b? Of those that run, those that must not be stopped again come first. */
static bool before(const struct ha_plan_instance *in, size_t a, size_t b, bool running)
{
    const struct ha_plan_guest *x = &in->guests[a], *y = &in->guests[b];
    if (running && x->keep != y->keep)
        return x->keep;
    return x->priority != y->priority ? x->priority > y->priority : x->memory_kib > y->memory_kib;
}

/* Could g be on h, all others where they are in `place`? */
static bool fits(const struct ha_plan_instance *in, const int32_t *place, size_t g, int h)
{
    uint64_t mem = in->guests[g].memory_kib, cpu = in->guests[g].vcpus;
    if (!(hosts_of(in, g) >> h & 1))
        return false;
    for (size_t i = 0; i < in->nguests; i++) {
        if (i == g || place[i] != h)
            continue;
        mem += in->guests[i].memory_kib;
        cpu += in->guests[i].vcpus;
    }
    if (mem > in->hosts[h].memory_kib ||
        (in->vcpus_per_cpu && cpu > (uint64_t)in->vcpus_per_cpu * in->hosts[h].cpus))
        return false;
    for (size_t r = 0; r < in->nrules; r++) {
        const struct ha_plan_rule *rule = &in->rules[r];
        bool member = false;
        for (size_t i = 0; i < rule->nguests; i++)
            member |= rule->guests[i] == g;
        for (size_t i = 0; member && rule->strength != HA_PLAN_WEAK && i < rule->nguests; i++) {
            uint32_t m = rule->guests[i];
            if (m != g && place[m] >= 0 &&
                (domain(rule, place[m]) == domain(rule, h)) == (rule->kind == HA_PLAN_APART))
                return false;
        }
    }
    return true;
}

static void first_fit(const struct ha_plan_instance *in, int32_t *place)
{
    for (size_t g = 0; g < in->nguests; g++)
        place[g] = HA_PLAN_NONE;
    for (int running = 1; running >= 0; running--) {
        bool *seen = calloc(in->nguests + 1, 1);
        for (size_t n = 0; seen && n < in->nguests; n++) {
            size_t best = in->nguests;
            for (size_t g = 0; g < in->nguests; g++)
                if (!seen[g] && (best == in->nguests || before(in, g, best, running == 1)))
                    best = g;
            seen[best] = true;
            if (!in->guests[best].run || place[best] >= 0)
                continue;
            for (int h = 0; h < (int)in->nhosts && place[best] < 0; h++)
                if ((!running || in->guests[best].on == h) && fits(in, place, best, h))
                    place[best] = h;
        }
        free(seen);
    }
}

/* >0: a has more guests of the highest priority in which they differ. */
static int compare(const struct ha_plan_instance *in, const int32_t *a, const int32_t *b)
{
    int32_t highest = INT32_MIN;
    int difference = 0;
    for (size_t g = 0; g < in->nguests; g++) {
        if (in->guests[g].priority <= highest && difference)
            continue;
        int here = 0;
        for (size_t i = 0; i < in->nguests; i++)
            if (in->guests[i].priority == in->guests[g].priority)
                here += (a[i] >= 0) - (b[i] >= 0);
        if (here) {
            highest = in->guests[g].priority;
            difference = here;
        }
    }
    return difference;
}

const char *check_first_fit(const struct ha_plan *plan)
{
    const struct ha_plan_instance *in = plan->in;
    int32_t *place = calloc(in->nguests + 1, sizeof *place);
    const char *bad = NULL;
    if (!place)
        abort();
    first_fit(in, place);
    if (in->preempt != HA_PLAN_PREEMPT_NEVER && compare(in, place, plan->place) > 0)
        bad = "first-fit decreasing is better";
    for (size_t g = 0; g < in->nguests && !bad; g++)
        for (int h = 0; h < (int)in->nhosts && in->guests[g].run && plan->place[g] < 0; h++)
            if (fits(in, plan->place, g, h))
                bad = "a guest is left out though there is room for it";
    free(place);
    return bad;
}

/* ---------------------------------------------------------------------------------- tolerates */

static bool place_rest(const struct ha_plan_instance *in, int32_t *place, const uint32_t *lost,
                       size_t n, uint64_t failed, long *nodes)
{
    if (n == 0)
        return true;
    for (int h = 0; h<(int)in->nhosts && * nodes> 0; h++) {
        --*nodes;
        if ((failed >> h & 1) || !fits(in, place, lost[0], h))
            continue;
        place[lost[0]] = h;
        if (place_rest(in, place, lost + 1, n - 1, failed, nodes))
            return true;
        place[lost[0]] = HA_PLAN_NONE;
    }
    return false;
}

/* 1: can be borne, 0: cannot, -1: too much work. */
static int borne(const struct ha_plan *plan, uint64_t failed)
{
    const struct ha_plan_instance *in = plan->in;
    int32_t *place = calloc(in->nguests + 1, sizeof *place);
    uint32_t *lost = calloc(in->nguests + 1, sizeof *lost);
    size_t n = 0;
    long nodes = BRUTE_NODES;
    if (!place || !lost)
        abort();
    for (size_t g = 0; g < in->nguests; g++) {
        place[g] = plan->place[g];
        if (place[g] >= 0 && (failed >> place[g] & 1)) {
            place[g] = HA_PLAN_NONE;
            lost[n++] = (uint32_t)g;
        }
    }
    for (size_t i = 1; i < n; i++) /* the largest first: fewer dead ends */
        for (size_t k = i;
             k > 0 && in->guests[lost[k]].memory_kib > in->guests[lost[k - 1]].memory_kib; k--) {
            uint32_t t = lost[k];
            lost[k] = lost[k - 1];
            lost[k - 1] = t;
        }
    bool ok = place_rest(in, place, lost, n, failed, &nodes);
    free(place);
    free(lost);
    return ok ? 1 : nodes <= 0 ? -1 : 0;
}

/* All sets of k hosts that are up: 1, 0 or -1 as above. */
static int borne_all(const struct ha_plan *plan, unsigned k)
{
    uint64_t up = 0;
    int all = 1;
    for (size_t h = 0; h < plan->in->nhosts; h++)
        if (plan->in->hosts[h].state == HA_PLAN_UP)
            up |= UINT64_C(1) << h;
    for (uint64_t set = 0; set < UINT64_C(1) << plan->in->nhosts; set++) {
        if ((set & ~up) || (unsigned)__builtin_popcountll(set) != k)
            continue;
        int one = borne(plan, set);
        if (one == 0)
            return 0;
        all = one < 0 ? -1 : all;
    }
    return all;
}

const char *check_tolerates(const struct ha_plan *plan, bool *ret_looked)
{
    unsigned up = 0;
    *ret_looked = false;
    for (size_t h = 0; h < plan->in->nhosts; h++)
        up += plan->in->hosts[h].state == HA_PLAN_UP;
    if (plan->tolerates > up)
        return "more failures are tolerated than there are hosts";
    if (plan->nunplaced)
        return plan->tolerates ? "tolerates failures though guests have no place even now" : NULL;
    if (plan->in->nhosts > BRUTE_HOSTS)
        return NULL;
    *ret_looked = true;
    for (unsigned k = 1; k <= plan->tolerates; k++)
        if (borne_all(plan, k) == 0)
            return "claims to tolerate more failures than it does";
    for (size_t g = 0; g < plan->in->nguests; g++)
        if (plan->place[g] >= 0 && plan->in->hosts[plan->place[g]].state != HA_PLAN_UP)
            return NULL;
    if (plan->tolerates_exact && plan->tolerates < up && borne_all(plan, plan->tolerates + 1) == 1)
        return "claims to be exact, and more failures would be tolerated";
    return NULL;
}

const char *check_texts(const struct ha_plan *plan)
{
    char text[HA_TEXT_MAX * 2];
    for (size_t i = 0; i < plan->nactions; i++) {
        text[0] = '\0';
        ha_plan_why_action(plan, i, text, sizeof text);
        if (!text[0])
            return "a step has no reason";
    }
    for (uint32_t g = 0; g < plan->in->nguests; g++) {
        text[0] = '\0';
        ha_plan_why_here(plan, g, text, sizeof text);
        if (!text[0])
            return "a place has no reason";
        for (uint32_t h = 0; h < plan->in->nhosts; h++) {
            text[0] = '\0';
            ha_plan_why_not(plan, g, h, text, sizeof text);
            if (!text[0])
                return "a host has no reason against it";
        }
    }
    text[0] = '\0';
    ha_plan_why_tolerates(plan, text, sizeof text);
    return text[0] ? NULL : "tolerates has no reason";
}
