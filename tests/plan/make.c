/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random instances: small clusters, mostly tight, with every kind of rule and freedom. */
#include "make.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct rng {
    uint64_t x;
};

static uint64_t mix(struct rng *r)
{
    uint64_t z = r->x += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned below(struct rng *r, unsigned n)
{
    assert(n > 0);
    return (unsigned)(mix(r) % n);
}

static bool chance(struct rng *r, unsigned percent)
{
    return below(r, 100) < percent;
}

/* Three of four hosts, about. */
static uint64_t most_hosts(struct rng *r)
{
    uint64_t hosts = mix(r);
    return hosts | mix(r);
}

static void make_hosts(struct made_instance *m, struct rng *r)
{
    m->in.nhosts = 1 + below(r, MAKE_HOSTS);
    m->in.hosts = m->hosts;
    for (size_t h = 0; h < m->in.nhosts; h++) {
        snprintf(m->host_names[h], sizeof m->host_names[h], "h%u", (unsigned)h);
        m->hosts[h] = (struct ha_plan_host){.name = m->host_names[h], .cpus = 4 + below(r, 12)};
        m->racks[h] = (uint8_t)below(r, 3);
    }
    unsigned down = below(r, 100) < 70 ? 1 : below(r, 3);
    for (unsigned i = 0; i < down; i++)
        m->hosts[below(r, (unsigned)m->in.nhosts)].state = HA_PLAN_DOWN;
    if (chance(r, 20))
        m->hosts[below(r, (unsigned)m->in.nhosts)].state = HA_PLAN_DRAIN;
}

static uint64_t size_mib(struct rng *r, unsigned style)
{
    if (style == 0)
        return UINT64_C(512) << below(r, 6);
    return style == 1 ? 1024 * (1 + below(r, 12)) : 256 + below(r, 8000);
}

static void make_labels(struct made_instance *m, struct rng *r)
{
    static const char *const names[MAKE_LABELS] = {"san", "vlan7", "rack=a", "gpu"};
    m->in.labels = m->labels;
    m->in.nlabels = MAKE_LABELS;
    for (size_t i = 0; i < MAKE_LABELS; i++)
        m->labels[i] = (struct ha_plan_label){names[i], most_hosts(r)};
}

static void make_guests(struct made_instance *m, struct rng *r)
{
    unsigned style = below(r, 3), limits = chance(r, 30) ? 25 : 3, priorities = 1 + below(r, 5);
    unsigned nhosts = (unsigned)m->in.nhosts;
    m->in.nguests = below(r, MAKE_GUESTS + 1);
    m->in.guests = m->guests;
    for (size_t i = 0; i < m->in.nguests; i++) {
        struct ha_plan_guest *g = &m->guests[i];
        snprintf(m->guest_names[i], sizeof m->guest_names[i], "g%u", (unsigned)i);
        *g = (struct ha_plan_guest){.name = m->guest_names[i],
                                    .memory_kib = size_mib(r, style) * 1024,
                                    .vcpus = 1 + below(r, 4),
                                    .priority = (int32_t)(10 * below(r, priorities)),
                                    .on = chance(r, 10) ? HA_PLAN_NONE : (int32_t)below(r, nhosts),
                                    .run = !chance(r, 5),
                                    .keep = chance(r, 5),
                                    .move = chance(r, 15) ? HA_PLAN_MOVE_NORMAL : HA_PLAN_MOVE_LIVE,
                                    .allowed = chance(r, limits) ? most_hosts(r) : UINT64_MAX};
        g->needs = m->needs[i];
        for (; g->nneeds < 2 && chance(r, limits); g->nneeds++)
            m->needs[i][g->nneeds] = below(r, MAKE_LABELS);
        g->prefer = m->prefer[i];
        for (; g->nprefer < 2 && chance(r, 20); g->nprefer++)
            m->prefer[i][g->nprefer] =
                (struct ha_plan_preference){below(r, nhosts), (int32_t)below(r, 200) - 50};
    }
}

static void make_rules(struct made_instance *m, struct rng *r)
{
    m->in.rules = m->rules;
    m->in.nrules = m->in.nguests ? below(r, MAKE_RULES + 1) : 0;
    for (size_t i = 0; i < m->in.nrules; i++) {
        struct ha_plan_rule *rule = &m->rules[i];
        unsigned want = 2 + below(r, chance(r, 10) ? 10 : 3);
        *rule = (struct ha_plan_rule){.kind = chance(r, 50) ? HA_PLAN_TOGETHER : HA_PLAN_APART,
                                      .strength = (enum ha_plan_strength)below(r, 3),
                                      .guests = m->members[i]};
        if (chance(r, 25)) {
            rule->domain = m->racks;
            rule->over = "rack";
        }
        for (unsigned k = 0; k < want; k++) {
            uint32_t g = below(r, (unsigned)m->in.nguests);
            bool known = false;
            for (size_t j = 0; j < rule->nguests; j++)
                known |= m->members[i][j] == g;
            if (!known)
                m->members[i][rule->nguests++] = g;
        }
    }
}

/* Mostly, those that run do so by the rules. */
static void tidy(struct made_instance *m, struct rng *r)
{
    for (size_t i = 0; i < m->in.nrules; i++) {
        const struct ha_plan_rule *rule = &m->rules[i];
        if (rule->strength == HA_PLAN_WEAK || chance(r, 10))
            continue;
        for (size_t k = 1; k < rule->nguests; k++) {
            struct ha_plan_guest *g = &m->guests[rule->guests[k]];
            if (rule->kind == HA_PLAN_TOGETHER)
                g->on = m->guests[rule->guests[0]].on;
            else
                for (size_t j = 0; j < k; j++)
                    if (m->guests[rule->guests[j]].on == g->on)
                        g->on = HA_PLAN_NONE;
        }
    }
    for (size_t i = 0; i < m->in.nguests; i++) {
        struct ha_plan_guest *g = &m->guests[i];
        if (g->on >= 0 && m->hosts[g->on].state != HA_PLAN_DOWN && !chance(r, 3)) {
            g->allowed |= UINT64_C(1) << g->on;
            for (size_t k = 0; k < g->nneeds; k++)
                m->labels[g->needs[k]].hosts |= UINT64_C(1) << g->on;
        }
    }
}

/* Memory of the hosts: so much that the survivors will be about `full` per cent full. */
static void size_hosts(struct made_instance *m, struct rng *r)
{
    unsigned full = 60 + below(r, 50), shares = 0, share[MAKE_HOSTS] = {0};
    uint64_t load[MAKE_HOSTS] = {0}, all = 0, used = 0;
    for (size_t i = 0; i < m->in.nguests; i++) {
        const struct ha_plan_guest *g = &m->guests[i];
        all += g->memory_kib;
        if (g->on < 0)
            continue;
        load[g->on] += g->memory_kib;
        if (m->hosts[g->on].state == HA_PLAN_UP)
            used += g->memory_kib;
    }
    for (size_t h = 0; h < m->in.nhosts; h++)
        shares += share[h] = m->hosts[h].state == HA_PLAN_UP ? 1 + below(r, 10) : 0;
    uint64_t total = all * 100 / full, spare = total > used ? total - used : 0;
    for (size_t h = 0; h < m->in.nhosts; h++) {
        m->hosts[h].memory_kib = load[h];
        if (share[h])
            m->hosts[h].memory_kib += spare * share[h] / shares / 1024 * 1024;
        if (chance(r, 2))
            m->hosts[h].memory_kib /= 2;
    }
}

void make_instance(struct made_instance *made, uint64_t seed)
{
    struct rng r = {seed * UINT64_C(0x2545f4914f6cdd1d) + 1};
    memset(made, 0, sizeof *made);
    make_hosts(made, &r);
    make_labels(made, &r);
    make_guests(made, &r);
    make_rules(made, &r);
    tidy(made, &r);
    size_hosts(made, &r);
    made->in.migrate = !chance(&r, 15);
    made->in.preempt = (enum ha_plan_preempt)(chance(&r, 70) ? 2 : below(&r, 3));
    made->in.failback = chance(&r, 20);
    made->in.vcpus_per_cpu = chance(&r, 15) ? 1 + below(&r, 4) : 0;
    made->in.effort = chance(&r, 10) ? 100000 : 3000 + below(&r, 20000);
}

static void print_hosts(uint64_t hosts, size_t nhosts)
{
    const char *comma = "";
    putchar('[');
    for (size_t h = 0; h < nhosts; h++) {
        if (hosts >> h & 1) {
            printf("%s\"h%zu\"", comma, h);
            comma = ",";
        }
    }
    putchar(']');
}

static void print_labels(const struct made_instance *m, size_t h)
{
    const char *comma = "";
    printf(", \"labels\": [");
    for (size_t i = 0; i < m->in.nlabels; i++) {
        if (m->labels[i].hosts >> h & 1 && i != 2) {
            printf("%s\"%s\"", comma, m->labels[i].name);
            comma = ",";
        }
    }
    printf("%s\"rack=%c\"]}", comma, 'a' + m->racks[h]);
}

static void print_guest(const struct made_instance *m, const struct ha_plan_guest *g)
{
    printf("  {\"name\": \"%s\", \"memory_mib\": %lu, \"vcpus\": %u, \"priority\": %d, ", g->name,
           (unsigned long)(g->memory_kib / 1024), g->vcpus, g->priority);
    if (g->on >= 0)
        printf("\"on\": \"h%d\", ", g->on);
    printf(
        "\"want\": \"%s\", \"move\": \"%s\", \"keep\": %s, \"allowed\": ", g->run ? "run" : "stop",
        g->move == HA_PLAN_MOVE_LIVE ? "live" : "normal", g->keep ? "true" : "false");
    uint64_t allowed = g->allowed; /* the label rack=a is not said twice */
    for (size_t k = 0; k < g->nneeds; k++)
        if (g->needs[k] == 2)
            allowed &= m->labels[2].hosts;
    print_hosts(allowed, m->in.nhosts);
    printf(", \"labels\": [");
    const char *comma = "";
    for (size_t k = 0; k < g->nneeds; k++) {
        if (g->needs[k] != 2) {
            printf("%s\"%s\"", comma, m->labels[g->needs[k]].name);
            comma = ",";
        }
    }
    printf("]}");
}

static void print_rule(const struct ha_plan_rule *rule)
{
    static const char *const strengths[] = {"strong", "weak", "delegate"};
    printf("  {\"kind\": \"%s\", \"strength\": \"%s\", ",
           rule->kind == HA_PLAN_APART ? "apart" : "together", strengths[rule->strength]);
    if (rule->domain)
        printf("\"over\": \"rack\", ");
    printf("\"guests\": [");
    for (size_t k = 0; k < rule->nguests; k++)
        printf("%s\"g%u\"", k ? "," : "", rule->guests[k]);
    printf("]}");
}

void make_print(const struct made_instance *made)
{
    static const char *const states[] = {"up", "down", "drain"};
    static const char *const preempts[] = {"never", "lower", "more"};
    printf("{\"hosts\": [\n");
    for (size_t h = 0; h < made->in.nhosts; h++) {
        printf("%s  {\"name\": \"h%zu\", \"memory_mib\": %lu, \"cpus\": %u, \"state\": \"%s\"",
               h ? ",\n" : "", h, (unsigned long)(made->hosts[h].memory_kib / 1024),
               made->hosts[h].cpus, states[made->hosts[h].state]);
        print_labels(made, h);
    }
    printf("],\n \"guests\": [\n");
    for (size_t i = 0; i < made->in.nguests; i++) {
        printf("%s", i ? ",\n" : "");
        print_guest(made, &made->guests[i]);
    }
    printf("],\n \"rules\": [\n");
    for (size_t i = 0; i < made->in.nrules; i++) {
        printf("%s", i ? ",\n" : "");
        print_rule(&made->rules[i]);
    }
    printf("],\n \"freedom\": {\"migrate\": %s, \"preempt\": \"%s\", \"failback\": \"%s\"},\n",
           made->in.migrate ? "true" : "false", preempts[made->in.preempt],
           made->in.failback ? "auto" : "never");
    printf(" \"vcpus_per_cpu\": %u, \"effort\": %lu}\n", made->in.vcpus_per_cpu,
           (unsigned long)made->in.effort);
}
