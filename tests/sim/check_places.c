/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where guests are, by the facts: memory and strong rules hold in each prefix of the log that any
 * core held stable (16), and who is stopped to make room is less important than who waits. What an
 * operator starts by hand is nobody's decision. */
#include <string.h>

#include "check.h"

struct places {
    uint32_t at[SIM_GUESTS_MAX]; /* hosts as bits: owner, and target of a move */
};

static void look(const struct sim_world *w, const struct sim_host *h, struct places *ret)
{
    *ret = (struct places){0};
    for (unsigned g = 0; g < w->nguests; g++) {
        ha_node owner = 0, target = 0;
        struct ha_uuid boot;
        uint64_t inc;
        if (ha_stable_owner(h->ha, w->guests[g].name, &owner, &boot, &inc) < 0 ||
            ha_stable_target(h->ha, w->guests[g].name, &target) < 0)
            continue;
        if (owner)
            ret->at[g] |= 1u << sim_host_index(w, owner);
        if (target)
            ret->at[g] |= 1u << sim_host_index(w, target);
    }
}

static void check_memory(struct sim_world *w, const struct sim_host *h, const struct places *p)
{
    for (unsigned i = 0; i < w->nhosts; i++) {
        uint64_t used = 0;
        bool by_hand = false;
        for (unsigned g = 0; g < w->nguests; g++) {
            if (!(p->at[g] >> i & 1))
                continue;
            used += w->guests[g].config->memory_kib ? w->guests[g].config->memory_kib
                                                    : w->setup->need_kib[g];
            by_hand |= w->guests[g].by_hand;
        }
        if (used > w->setup->host_memory_kib && !by_hand)
            sim_violate(w, SIM_SAFETY, 16, "%s: guests of %llu KiB on %s, which has %llu KiB",
                        h->name, (unsigned long long)used, w->hosts[i].name,
                        (unsigned long long)w->setup->host_memory_kib);
    }
}

static void check_pair(struct sim_world *w, const struct sim_host *h, const struct ha_rule *rule,
                       const struct places *p, uint32_t a, uint32_t b)
{
    for (unsigned i = 0; i < w->nhosts; i++)
        for (unsigned k = 0; k < w->nhosts && p->at[a] >> i & 1; k++)
            if ((p->at[b] >> k & 1) &&
                (rule->domain[i] == rule->domain[k]) != (rule->kind == HA_PLAN_TOGETHER))
                sim_violate(w, SIM_SAFETY, 16, "%s: %s on %s and %s on %s, against a strong rule",
                            h->name, w->guests[a].name, w->hosts[i].name, w->guests[b].name,
                            w->hosts[k].name);
}

static void check_rule(struct sim_world *w, const struct sim_host *h, const struct ha_rule *rule,
                       const struct places *p)
{
    for (size_t i = 0; i < rule->nguests; i++)
        for (size_t k = i + 1; k < rule->nguests; k++)
            if (!w->guests[rule->guests[i]].by_hand && !w->guests[rule->guests[k]].by_hand)
                check_pair(w, h, rule, p, rule->guests[i], rule->guests[k]);
}

void check_16_places(struct sim_world *w, const struct sim_host *h)
{
    struct places p;
    look(w, h, &p);
    check_memory(w, h, &p);
    for (size_t r = 0; r < w->config->nrules; r++)
        if (w->config->rules[r].strength != HA_PLAN_WEAK)
            check_rule(w, h, &w->config->rules[r], &p);
}

static bool find_guest(const struct sim_world *w, const struct sim_host *h, const char *name,
                       struct ha_guest_status *ret)
{
    struct ha_status st;
    ha_status(h->ha, w ? sim_clock(w, h) : 0, &st);
    for (size_t i = 0; i < st.nguests; i++) {
        ha_status_guest(h->ha, w ? sim_clock(w, h) : 0, i, ret);
        if (strcmp(ret->name, name) == 0)
            return true;
    }
    return false;
}

bool check_is_leaving(const struct sim_host *h, const char *guest)
{
    struct ha_guest_status gs;
    return find_guest(NULL, h, guest, &gs) && (gs.recalled || gs.preempted);
}

static bool waits(const struct ha_guest_status *gs)
{
    return gs->state == HA_GUEST_FREE && gs->enabled && gs->want_run && !gs->failed &&
           !gs->quarantined;
}

/* What others are to start after is as important as they are. */
static int worth(const struct sim_world *w, unsigned guest)
{
    int most = w->guests[guest].config->priority;
    for (unsigned i = guest + 1; i < w->nguests; i++) /* always later ones start after it */
        for (size_t k = 0; k < w->guests[i].config->nafter; k++)
            if (strcmp(w->guests[i].config->after[k].name, w->guests[guest].name) == 0 &&
                worth(w, i) > most)
                most = worth(w, i);
    return most;
}

/* With all guests of one size and no rules: who waits could have the place of one that is less
 * important. */
const char *check_16_order(const struct sim_world *w, const struct sim_host *chair)
{
    struct ha_guest_status high, low;
    if (!w->setup->scarce || w->config->nrules ||
        w->config->placement.preempt == HA_PLAN_PREEMPT_NEVER)
        return NULL;
    for (unsigned a = 0; a < w->nguests; a++)
        for (unsigned b = 0; b < w->nguests; b++)
            if (w->guests[a].config->priority > worth(w, b) && !w->guests[a].by_hand &&
                !w->guests[b].by_hand && find_guest(w, chair, w->guests[a].name, &high) &&
                waits(&high) && find_guest(w, chair, w->guests[b].name, &low) && low.owner)
                return w->guests[a].name;
    return NULL;
}
