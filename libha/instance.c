/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cluster as the planner is to see it: facts, what members told, and the configuration, as it
 * will be when all that is under way has gone well. What that leaves open is checked when a step is
 * taken (place.c). */
#include "placing.h"

#include <errno.h>
#include <stdlib.h>

#include "wire.h"

enum {
    EFFORT = 500000, /* of the planner, in a large cluster: the event loop waits for it */
    SMALL = 1000,    /* hosts times guests: here the planner does all it can */
};

/* Room for n elements in *list; what was there is lost. */
static int room(void **list, size_t *size, size_t n, size_t each)
{
    if (n <= *size)
        return 0;
    free(*list);
    *size = 0;
    *list = calloc(n + n / 2, each);
    if (!*list)
        return -ENOMEM;
    *size = n + n / 2;
    return 0;
}

void ha_live_done(struct ha_live *live)
{
    free(live->guests);
    free(live->prefers);
    free(live->labels);
    free(live->rules);
    free(live->members);
    free(live->domains);
    free(live->index);
    free(live->priorities);
    *live = (struct ha_live){0};
}

static int make_room(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    const struct ha_config *c = ha->config;
    size_t prefers = 4 * facts->nguests, members = 0;
    for (size_t i = 0; i < c->nguests; i++)
        prefers += c->guests[i].nprefer;
    for (size_t i = 0; i < c->nrules; i++)
        members += c->rules[i].nguests;
    int r = room((void **)&l->guests, &l->guests_size, facts->nguests + 1, sizeof *l->guests);
    if (r == 0)
        r = room((void **)&l->prefers, &l->prefers_size, prefers + 1, sizeof *l->prefers);
    if (r == 0)
        r = room((void **)&l->labels, &l->labels_size, c->nlabels + 1, sizeof *l->labels);
    if (r == 0)
        r = room((void **)&l->rules, &l->rules_size, c->nrules + 1, sizeof *l->rules);
    if (r == 0)
        r = room((void **)&l->domains, &l->domains_size, c->nrules + 1, sizeof *l->domains);
    if (r == 0)
        r = room((void **)&l->members, &l->members_size, members + 1, sizeof *l->members);
    if (r == 0)
        r = room((void **)&l->index, &l->index_size, c->nguests + 1, sizeof *l->index);
    if (r == 0)
        r = room((void **)&l->priorities, &l->priorities_size, facts->nguests + 1,
                 sizeof *l->priorities);
    return r;
}

/* -------------------------------------------------------------------------------------- hosts */

static int32_t host_index(const struct ha_facts *facts, ha_node node)
{
    for (size_t k = 0; node && k < facts->nhosts; k++)
        if (facts->hosts[k].node == node)
            return (int32_t)k;
    return HA_PLAN_NONE;
}

static const struct ha_member *here(const struct ha *ha, ha_node node)
{
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].node == node && ha->members[i].present && ha->members[i].reported)
            return &ha->members[i];
    return NULL;
}

static void put_hosts(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    l->closed = 0;
    for (size_t k = 0; k < facts->nhosts; k++) {
        const struct ha_host_fact *h = &facts->hosts[k];
        bool fit = !ha_host_away(ha, h) && ha_host_capacity_kib(ha, h->node);
        l->hosts[k] = (struct ha_plan_host){.name = ha_host_name(ha, h->node),
                                            .memory_kib = ha_host_capacity_kib(ha, h->node),
                                            .state = fit && (h->maint || h->down)
                                                         ? HA_PLAN_DRAIN
                                                         : HA_PLAN_UP};
        if (!fit || (ha_quarantined(ha, h) && HA_GUARD(ha, QUARANTINE)))
            l->closed |= UINT64_C(1) << k;
        l->member[k] = here(ha, h->node);
    }
    l->in.hosts = l->hosts;
    l->in.nhosts = facts->nhosts;
}

/* Bits of the configuration's hosts as bits of the facts'. */
static uint64_t host_bits(const struct ha *ha, const struct ha_facts *facts, uint64_t bits)
{
    uint64_t to = 0;
    for (; bits; bits &= bits - 1) {
        size_t i = (size_t)__builtin_ctzll(bits);
        int32_t k = i < ha->config->nhosts ? host_index(facts, ha->config->hosts[i].node) : -1;
        if (k >= 0)
            to |= UINT64_C(1) << k;
    }
    return to;
}

static void put_labels(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    for (size_t i = 0; i < ha->config->nlabels; i++)
        l->labels[i] = (struct ha_plan_label){ha->config->labels[i].name,
                                              host_bits(ha, facts, ha->config->labels[i].hosts)};
    l->in.labels = l->labels;
    l->in.nlabels = ha->config->nlabels;
}

/* ------------------------------------------------------------------------------------- guests */

/* Where the guest will be when what is under way has gone well. */
static int32_t outcome(const struct ha_facts *facts, const struct ha_guest_fact *g, bool external,
                       const struct ha_live *l)
{
    if (g->mig)
        return host_index(facts, g->mig_host);
    if (external)
        return host_index(facts, g->owner);
    if (!ha_wanted(g) || g->preempted)
        return HA_PLAN_NONE;
    if (g->recall && g->owner) {
        int32_t to = host_index(facts, g->prefer);
        bool open = to >= 0 && !(l->closed >> to & 1) && l->hosts[to].state == HA_PLAN_UP;
        return open ? to : HA_PLAN_NONE;
    }
    return host_index(facts, g->owner);
}

static uint64_t allowed(const struct ha_facts *facts, const struct ha_guest_config *c)
{
    uint64_t bits = 0;
    if (!c || c->nallowed == 0)
        return ~UINT64_C(0);
    for (size_t i = 0; i < c->nallowed; i++) {
        int32_t k = host_index(facts, c->allowed[i]);
        if (k >= 0)
            bits |= UINT64_C(1) << k;
    }
    return bits;
}

static void put_wish(struct ha_live *l, struct ha_plan_guest *p, int32_t host, int32_t weight)
{
    if (host < 0)
        return;
    l->prefers[l->nprefers++] = (struct ha_plan_preference){(uint32_t)host, weight};
    p->nprefer++;
}

/* Where it failed it is tried first, so often as the configuration says, then elsewhere; an
 * operator's wish counts more. */
static void put_restart(const struct ha *ha, const struct ha_facts *facts, uint32_t i,
                        struct ha_live *l, struct ha_plan_guest *p)
{
    enum { SAME_HOST = 1 << 27, FAILED_THERE = -(1 << 27) };
    const struct ha_guest_fact *g = &facts->guests[i];
    bool used_up = g->ended_on != g->avoid && ha_restart_elsewhere(ha, i, g, g->ended_on);
    if (g->avoid)
        put_wish(l, p, host_index(facts, g->avoid), FAILED_THERE);
    if (used_up)
        put_wish(l, p, host_index(facts, g->ended_on), FAILED_THERE);
    else if (g->ended_on && ha_restart_here(ha, i, g, g->ended_on))
        put_wish(l, p, host_index(facts, g->ended_on), SAME_HOST);
}

static void put_wishes(const struct ha *ha, const struct ha_facts *facts, uint32_t i,
                       struct ha_live *l, struct ha_plan_guest *p)
{
    enum { OPERATOR = 1 << 28, HOME = 1 };
    const struct ha_guest_fact *g = &facts->guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    p->prefer = &l->prefers[l->nprefers];
    for (size_t k = 0; c && k < c->nprefer; k++)
        put_wish(l, p, host_index(facts, c->prefer[k].host), c->prefer[k].weight);
    if (!g->owner && g->prefer)
        put_wish(l, p, host_index(facts, g->prefer), OPERATOR);
    if (!g->owner)
        put_restart(ha, facts, i, l, p);
    if (!g->home)
        return;
    const struct ha_host_fact *home = ha_facts_host(facts, g->home);
    put_wish(l, p, host_index(facts, g->home), HOME);
    l->homes |= home && home->maint == HA_MAINT_NONE && !home->down && g->owner && g->owner != g->home;
}

static bool should_run(const struct ha *ha, const struct ha_facts *facts, uint32_t i)
{
    const struct ha_guest_fact *g = &facts->guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (c && c->external)
        return g->owner || g->mig; /* by its captain's will, which nobody here asks about */
    if (g->owner || g->mig)
        return ha_wanted(g);
    return ha_wanted(g) && !g->failed && !g->quarantined && c && !ha_guest_undefined(ha, i);
}

static bool has_to_leave(const struct ha_live *l, const struct ha_plan_guest *p)
{
    bool leave = l->hosts[p->on].state == HA_PLAN_DRAIN || !(p->allowed >> p->on & 1);
    for (size_t k = 0; k < p->nneeds; k++)
        leave |= !(l->labels[p->needs[k]].hosts >> p->on & 1);
    return leave;
}

/* Hosts whose configuration does not have the guest: it stays where it is, but goes nowhere there. */
static uint64_t ignorant(const struct ha_live *l, uint32_t i)
{
    uint64_t mask = 0;
    for (size_t k = 0; k < l->in.nhosts; k++)
        if (l->member[k] && !ha_knows_awaited(l->member[k]) && !ha_knows(l->member[k], i))
            mask |= UINT64_C(1) << k;
    return mask;
}

static void put_guest(const struct ha *ha, const struct ha_facts *facts, uint32_t i,
                      struct ha_live *l)
{
    const struct ha_guest_fact *g = &facts->guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    uint64_t need = ha_guest_need_kib(ha, facts, i);
    struct ha_plan_guest *p = &l->guests[i];
    *p = (struct ha_plan_guest){.name = g->name,
                                .memory_kib = need ? need : 1,
                                .vcpus = c ? c->vcpus : 1,
                                .priority = l->priorities[i],
                                .on = outcome(facts, g, c && c->external, l),
                                .run = should_run(ha, facts, i)};
    p->may = allowed(facts, c);
    p->unaware = ignorant(l, i);
    uint64_t not_there = l->closed | p->unaware;
    p->allowed = p->may & ~not_there;
    p->content = ha->config->placement.failback == HA_FAILBACK_MAINTENANCE && !g->home;
    put_wishes(ha, facts, i, l, p);
    if (p->on >= 0 && (!ha_guest_settled(ha, facts, i) || !c || c->external)) {
        /* whatever is under way goes on; whom nobody reaches stays, and who has another captain */
        p->keep = true;
        p->move = HA_PLAN_MOVE_NORMAL;
        p->allowed = UINT64_C(1) << p->on;
        return;
    }
    if (p->on >= 0 && (not_there >> p->on & 1) && (p->may >> p->on & 1))
        p->allowed |= UINT64_C(1) << p->on;
    p->needs = c ? c->needs : NULL;
    p->nneeds = c ? c->nneeds : 0;
    bool must = p->on >= 0 && has_to_leave(l, p);
    bool live = ha_guest_move(g, c, must) != HA_MOVE_NORMAL;
    p->move =
        live && (must || ha->config->placement.rebalance) ? HA_PLAN_MOVE_LIVE : HA_PLAN_MOVE_NORMAL;
}

/* Does the rule allow a and b where they are? */
static bool is_kept(const struct ha_plan_rule *r, const struct ha_plan_guest *a,
                    const struct ha_plan_guest *b)
{
    if (a->on < 0 || b->on < 0)
        return true;
    bool same = r->domain ? r->domain[a->on] == r->domain[b->on] : a->on == b->on;
    return same == (r->kind == HA_PLAN_TOGETHER);
}

/* `rebalance: no` is about making room. Guests that are against a strong rule where they are, since
 * it is new or they were started by hand, have to leave, and do so alive. */
static void free_rule_breakers(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    for (size_t r = 0; r < l->in.nrules; r++) {
        const struct ha_plan_rule *rule = &l->rules[r];
        for (size_t i = 0; rule->strength != HA_PLAN_WEAK && i < rule->nguests; i++) {
            struct ha_plan_guest *p = &l->guests[rule->guests[i]];
            const struct ha_guest_fact *g = &facts->guests[rule->guests[i]];
            const struct ha_guest_config *c = ha_guest_config(ha, rule->guests[i]);
            bool against = false;
            for (size_t k = 0; k < rule->nguests; k++)
                against |= k != i && !is_kept(rule, p, &l->guests[rule->guests[k]]);
            if (against && !p->keep && ha_guest_move(g, c, true) != HA_MOVE_NORMAL)
                p->move = HA_PLAN_MOVE_LIVE;
        }
    }
}

/* `rebalance: no` is not about delegation either: where a guest has no place beside its partners,
 * that they go along is what the rule says. */
static void free_partners(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    for (size_t r = 0; r < l->in.nrules; r++) {
        const struct ha_plan_rule *rule = &l->rules[r];
        bool waits = false;
        for (size_t i = 0; i < rule->nguests; i++)
            waits |= l->guests[rule->guests[i]].run && l->guests[rule->guests[i]].on < 0;
        if (!waits || rule->strength != HA_PLAN_DELEGATE || rule->kind != HA_PLAN_TOGETHER)
            continue;
        for (size_t i = 0; i < rule->nguests; i++) {
            uint32_t k = rule->guests[i];
            struct ha_plan_guest *p = &l->guests[k];
            if (p->on >= 0 && !p->keep && ha_guest_move(&facts->guests[k], ha_guest_config(ha, k),
                                                        true) != HA_MOVE_NORMAL)
                p->move = HA_PLAN_MOVE_LIVE;
        }
    }
}

/* Nobody is moved because a host has less memory than was thought; and one that takes no guests and
 * has none is not there. */
static void put_memory(struct ha_live *l)
{
    uint64_t used[HA_HOSTS_MAX] = {0};
    for (size_t i = 0; i < l->in.nguests; i++)
        if (l->guests[i].on >= 0)
            used[l->guests[i].on] += l->guests[i].memory_kib;
    for (size_t k = 0; k < l->in.nhosts; k++)
        if (used[k] > l->hosts[k].memory_kib)
            l->hosts[k].memory_kib = used[k];
    for (size_t k = 0; k < l->in.nhosts; k++)
        if ((l->closed >> k & 1) && !used[k])
            l->hosts[k].state = HA_PLAN_DOWN;
}

static void put_guests(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    l->nprefers = 0;
    l->homes = false;
    ha_order_priorities(ha, facts, l->priorities);
    for (uint32_t i = 0; i < facts->nguests; i++)
        put_guest(ha, facts, i, l);
    l->in.guests = l->guests;
    l->in.nguests = facts->nguests;
    put_memory(l);
}

/* -------------------------------------------------------------------------------------- rules */

void ha_domains(const struct ha *ha, const struct ha_facts *facts, const struct ha_rule *rule,
                uint8_t ret_domain[HA_HOSTS_MAX])
{
    /* a host that the configuration does not know is alone: numbers from the top */
    uint8_t alone = HA_HOSTS_MAX - 1;
    for (size_t k = 0; k < facts->nhosts; k++) {
        bool found = false;
        for (size_t i = 0; i < ha->config->nhosts && !found; i++)
            if (ha->config->hosts[i].node == facts->hosts[k].node) {
                ret_domain[k] = rule->domain[i];
                found = true;
            }
        if (!found)
            ret_domain[k] = alone--;
    }
}

static void index_guests(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    for (size_t i = 0; i < ha->config->nguests; i++)
        l->index[i] = HA_PLAN_NONE;
    for (size_t i = 0; i < facts->nguests && i < ha->ndesks; i++)
        if (ha->config_guest[i] >= 0)
            l->index[ha->config_guest[i]] = (int32_t)i;
}

static void put_rules(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    const struct ha_config *c = ha->config;
    l->nmembers = 0;
    l->in.rules = l->rules;
    l->in.nrules = HA_GUARD(ha, STRONG_RULES) ? c->nrules : 0;
    for (size_t r = 0; r < l->in.nrules; r++) {
        const struct ha_rule *rule = &c->rules[r];
        uint32_t *members = &l->members[l->nmembers];
        size_t n = 0;
        for (size_t i = 0; i < rule->nguests; i++)
            if (l->index[rule->guests[i]] >= 0)
                members[n++] = (uint32_t)l->index[rule->guests[i]];
        l->nmembers += n;
        ha_domains(ha, facts, rule, l->domains[r]);
        l->rules[r] = (struct ha_plan_rule){.kind = rule->kind,
                                            .strength = rule->strength,
                                            .guests = members,
                                            .nguests = n,
                                            .domain = rule->over[0] ? l->domains[r] : NULL,
                                            .over = rule->over[0] ? rule->over : NULL};
    }
}

/* ---------------------------------------------------------------------------------- the whole */

#define MIX(hash, value) ha_hash((hash), &(value), sizeof(value))

static uint64_t hash_guest(uint64_t hash, const struct ha_plan_guest *p)
{
    uint64_t what[4] = {p->memory_kib, p->allowed, (uint64_t)(uint32_t)p->priority,
                        (uint64_t)(uint32_t)p->on << 32 | (uint64_t)p->run << 2 |
                            (uint64_t)p->content << 3 | (uint64_t)p->keep << 1 |
                            (p->move == HA_PLAN_MOVE_LIVE)};
    hash = MIX(hash, what);
    for (size_t i = 0; i < p->nprefer; i++)
        hash = MIX(hash, p->prefer[i]);
    return hash;
}

/* Of what changes from moment to moment; a new configuration starts anew anyway. */
static uint64_t hash_all(const struct ha_live *l)
{
    uint64_t hash = MIX(HA_HASH_START, l->closed);
    for (size_t k = 0; k < l->in.nhosts; k++) {
        hash = MIX(hash, l->hosts[k].memory_kib);
        hash = MIX(hash, l->hosts[k].state);
    }
    for (size_t i = 0; i < l->in.nguests; i++)
        hash = hash_guest(hash, &l->guests[i]);
    return hash;
}

int ha_live_build(const struct ha *ha, const struct ha_facts *facts, struct ha_live *l)
{
    const struct ha_placement *p = &ha->config->placement;
    if (make_room(ha, facts, l) < 0)
        return -ENOMEM;
    l->in = (struct ha_plan_instance){.reserve = p->reserve,
                                      .migrate = true,
                                      .preempt = p->preempt,
                                      .effort = facts->nhosts * facts->nguests > SMALL ? EFFORT : 0,
                                      .transfers = p->transfers};
    put_hosts(ha, facts, l);
    put_labels(ha, facts, l);
    put_guests(ha, facts, l);
    index_guests(ha, facts, l);
    put_rules(ha, facts, l);
    if (!p->rebalance) {
        free_rule_breakers(ha, facts, l);
        free_partners(ha, facts, l);
    }
    l->in.failback =
        p->failback == HA_FAILBACK_AUTO || (p->failback == HA_FAILBACK_MAINTENANCE && l->homes);
    l->hash = hash_all(l);
    return 0;
}
