/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a host may be given, looked at when it is given: whoever chose the place (the planner, an
 * operator, the simple rule below), nothing is started or moved against this. A guest on its way
 * counts at both ends. */
#include "core.h"

#include <string.h>

bool ha_guest_allows(const struct ha_guest_config *guest, ha_node node)
{
    for (size_t i = 0; i < guest->nallowed; i++)
        if (guest->allowed[i] == node)
            return true;
    return guest->nallowed == 0;
}

/* Is something of the guest on that host, or will be? */
static bool takes_room(const struct ha *ha, const struct ha_guest_fact *g, ha_node node)
{
    if (g->mig && g->mig_host == node)
        return true;
    if (g->owner == node)
        return !g->mig || HA_GUARD(ha, BOTH_ENDS);
    if (g->left_host == node)
        return HA_GUARD(ha, BOTH_ENDS);
    return g->recall && g->owner && g->prefer == node; /* it is being stopped, to start there */
}

/* Memory of the guests that each host owns, is about to receive, or has not cleaned up after; index
 * = that of the facts. */
void ha_used_count(const struct ha *ha, const struct ha_facts *facts, uint64_t *ret_used_kib)
{
    memset(ret_used_kib, 0, HA_HOSTS_MAX * sizeof *ret_used_kib);
    for (uint32_t i = 0; i < facts->nguests; i++) {
        const struct ha_guest_fact *g = &facts->guests[i];
        if (!g->owner && !g->mig && !g->left_host)
            continue;
        for (size_t k = 0; k < facts->nhosts; k++)
            if (takes_room(ha, g, facts->hosts[k].node))
                ret_used_kib[k] += ha_guest_need_kib(ha, facts, i);
    }
}

/* NULL if it answers and works, else why not. */
const char *ha_host_away(const struct ha *ha, const struct ha_host_fact *h)
{
    if (h->state != HA_HOST_IN)
        return "is not a synced member";
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (m->node != h->node)
            continue;
        if (!m->present || m->left || !m->acked || !m->reported || !ha_uuid_eq(&m->boot, &h->boot))
            return "has not acknowledged this epoch";
        if (!m->report.keeper)
            return "has no keeper running";
        if (m->report.no_journal)
            return "cannot write its journal";
        if (ha_disk_unfit(ha, m))
            return ha_disk_unfit(ha, m);
        if (!m->report.inventory)
            return "cannot tell what runs on it";
        if (m->leaving)
            return "is going down";
        return NULL;
    }
    return "has no daemon running";
}

/* NULL if the host may take guests now, else why not. */
const char *ha_host_unfit(const struct ha *ha, const struct ha_host_fact *h)
{
    const char *away = ha_host_away(ha, h);
    if (away)
        return away;
    if (h->down)
        return "is going down";
    if (h->maint)
        return h->maint == HA_MAINT_ON ? "is in maintenance" : "is being emptied";
    if (ha_quarantined(ha, h) && HA_GUARD(ha, QUARANTINE))
        return "is in quarantine: it was lost too often";
    return NULL;
}

uint64_t ha_host_capacity_kib(const struct ha *ha, ha_node node)
{
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].node == node)
            return ha->members[i].report.memory_kib;
    return 0;
}

/* By the count in used_kib. */
uint64_t ha_host_free_kib(const struct ha *ha, const struct ha_host_fact *h)
{
    uint64_t capacity = ha_host_capacity_kib(ha, h->node), used = ha->used_kib[h - ha->prop.hosts];
    return capacity > used ? capacity - used : 0;
}

/* -------------------------------------------------------------------------------------- rules */

/* How the guest moves. `must`: it has to leave its host; else it would be for somebody else's sake,
 * and a guest that is suspended for it is no less disturbed than one that is stopped. */
enum ha_move_kind ha_guest_move(const struct ha_guest_fact *g, const struct ha_guest_config *c,
                                bool must)
{
    enum ha_move_kind kind = c && c->move_type ? (enum ha_move_kind)c->move_type : HA_MOVE_LIVE;
    if (!c || (kind == HA_MOVE_LIVE && (g->def_flags & HA_DEF_NO_LIVE)))
        return HA_MOVE_NORMAL;
    return kind == HA_MOVE_MIGRATE && !must ? HA_MOVE_NORMAL : kind;
}

/* It runs, nothing is under way with it, and its owner does what is decided. */
bool ha_guest_settled(const struct ha *ha, const struct ha_facts *facts, uint32_t i)
{
    const struct ha_guest_fact *g = &facts->guests[i];
    const struct ha_host_fact *h = ha_facts_host(facts, g->owner);
    return g->state == HA_GUEST_RUNNING && !g->recall && !g->preempted && !g->left_host && h &&
           ha_wanted(g) && ha_uuid_eq(&h->boot, &g->boot) && !ha_host_away(ha, h) &&
           (i >= ha->ndesks || ha->now >= ha->desks[i].move_after);
}

/* Hosts of the facts `prop` where the guest is, or may be soon, as bits. */
static uint64_t whereabouts(const struct ha *ha, uint32_t i)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    uint64_t bits = 0;
    for (size_t k = 0; k < ha->prop.nhosts; k++) {
        ha_node node = ha->prop.hosts[k].node;
        bool owner = g->owner == node && (!g->mig || HA_GUARD(ha, BOTH_ENDS));
        if (node && (owner || (g->mig && g->mig_host == node)))
            bits |= UINT64_C(1) << k;
    }
    return bits;
}

static bool fits_rule(const struct ha *ha, const struct ha_rule *rule, const uint8_t *domain,
                      uint32_t guest, size_t host, const char **ret_partner)
{
    for (size_t i = 0; i < rule->nguests; i++) {
        uint32_t m = ha_guest_of(ha, rule->guests[i]);
        if (m == guest || m >= ha->prop.nguests)
            continue;
        for (uint64_t left = whereabouts(ha, m); left; left &= left - 1) {
            bool same = domain[__builtin_ctzll(left)] == domain[host];
            if (same == (rule->kind == HA_PLAN_TOGETHER))
                continue;
            *ret_partner = ha->prop.guests[m].name;
            return false;
        }
    }
    return true;
}

/* A strong rule against the guest on that host; NULL: none. */
static const struct ha_rule *rule_against(const struct ha *ha, uint32_t guest, size_t host,
                                          const char **ret_partner)
{
    const struct ha_guest_config *c = ha_guest_config(ha, guest);
    uint8_t domain[HA_HOSTS_MAX];
    for (size_t r = 0; c && r < c->nrules && HA_GUARD(ha, STRONG_RULES); r++) {
        const struct ha_rule *rule = &ha->config->rules[c->rules[r]];
        if (rule->strength == HA_PLAN_WEAK)
            continue;
        ha_domains(ha, &ha->prop, rule, domain);
        if (!fits_rule(ha, rule, domain, guest, host, ret_partner))
            return rule;
    }
    return NULL;
}

static const char *missing_label(const struct ha *ha, const struct ha_guest_config *c, ha_node node)
{
    for (size_t i = 0; i < c->nneeds; i++) {
        const struct ha_label *label = &ha->config->labels[c->needs[i]];
        bool has = false;
        for (size_t h = 0; h < ha->config->nhosts; h++)
            has |= ha->config->hosts[h].node == node && (label->hosts >> h & 1);
        if (!has)
            return label->name;
    }
    return NULL;
}

bool ha_place_refused(const struct ha *ha, uint32_t guest, size_t host, char *ret_why, size_t size)
{
    const struct ha_host_fact *h = &ha->prop.hosts[host];
    const struct ha_guest_config *c = ha_guest_config(ha, guest);
    const char *why = ha_host_unfit(ha, h), *partner = "";
    uint64_t free_kib = ha_host_free_kib(ha, h), need_kib = ha_guest_need_kib(ha, &ha->prop, guest);
    const struct ha_rule *rule;
    if (why)
        ha_say(ret_why, size, "it %s; see `xvmhactl status`", why);
    else if (!c)
        ha_say(ret_why, size, "it is not in the configuration any more");
    else if (ha_knows_not(ha, h->node, guest))
        ha_say(ret_why, size,
               "its configuration does not have it: see `xvmhactl config diff %s`, then `xvmhactl "
               "config push`",
               ha_host_name(ha, h->node));
    else if (!ha_guest_allows(c, h->node))
        ha_say(ret_why, size,
               "the configuration allows it on other hosts only; add %s to `hosts` of %s, then "
               "`xvmhactl reload`",
               ha_host_name(ha, h->node), c->name);
    else if ((why = missing_label(ha, c, h->node)) != NULL)
        ha_say(ret_why, size, "the host has no label `%s`, which it needs", why);
    else if ((rule = rule_against(ha, guest, host, &partner)) != NULL)
        ha_say(ret_why, size, "a rule keeps it %s %s; move that one first",
               rule->kind == HA_PLAN_APART ? "apart from" : "together with", partner);
    else if (free_kib < need_kib)
        ha_say(ret_why, size,
               "its memory, %lu MiB, is more than the %lu MiB that are free there; move or stop "
               "another guest first",
               (unsigned long)(need_kib / 1024), (unsigned long)(free_kib / 1024));
    else
        return false;
    return true;
}

/* Without the planner: of the hosts that may take the guest, the one with the most free memory. */
ha_node ha_place(const struct ha *ha, uint32_t guest, ha_node except, char *ret_why, size_t size)
{
    const struct ha_guest_fact *g = &ha->prop.guests[guest];
    ha_node best = 0;
    uint64_t best_free = 0;
    bool best_avoid = false;
    ha_say(ret_why, size, "no host is allowed to run it");
    for (size_t k = 0; k < ha->prop.nhosts; k++) {
        const struct ha_host_fact *h = &ha->prop.hosts[k];
        char why[HA_TEXT_MAX];
        if (h->node == except)
            continue;
        if (ha_place_refused(ha, guest, k, why, sizeof why)) {
            if (!best)
                ha_say(ret_why, size, "%s: %s", ha_host_name(ha, h->node), why);
            continue;
        }
        if (h->node == g->prefer)
            return h->node; /* an operator's choice */
        if (ha_restart_here(ha, guest, g, h->node))
            return h->node;
        bool avoid = h->node == g->avoid || ha_restart_elsewhere(ha, guest, g, h->node);
        uint64_t free_kib = ha_host_free_kib(ha, h);
        if (!best || (best_avoid && !avoid) || (best_avoid == avoid && free_kib > best_free)) {
            best = h->node;
            best_free = free_kib;
            best_avoid = avoid;
        }
    }
    return best;
}
