/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A first placement: of the hosts that may take the guest, the one with the most free memory. */
#include "core.h"

#include <string.h>

bool ha_guest_allows(const struct ha_guest_config *guest, ha_node node)
{
    for (size_t i = 0; i < guest->nallowed; i++)
        if (guest->allowed[i] == node)
            return true;
    return guest->nallowed == 0;
}

/* Memory of the guests that each host owns or is about to receive; index = that of the facts. */
void ha_used_count(const struct ha *ha, const struct ha_facts *facts, uint64_t *ret_used_kib)
{
    memset(ret_used_kib, 0, HA_HOSTS_MAX * sizeof *ret_used_kib);
    for (uint32_t i = 0; i < facts->nguests; i++) {
        const struct ha_guest_fact *g = &facts->guests[i];
        if (!ha_guest_config(ha, i) || (!g->owner && !g->mig))
            continue;
        for (size_t k = 0; k < facts->nhosts; k++)
            if (facts->hosts[k].node == g->owner || (g->mig && facts->hosts[k].node == g->mig_host))
                ret_used_kib[k] += ha_guest_need_kib(ha, facts, i);
    }
}

/* NULL if the host may take guests now, else why not. */
const char *ha_host_unfit(const struct ha *ha, const struct ha_host_fact *h)
{
    if (h->state != HA_HOST_IN)
        return "is not a synced member";
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (m->node != h->node)
            continue;
        if (!m->present || m->left || !m->acked || !m->reported ||
            !ha_uuid_eq(&m->boot, &h->boot))
            return "has not acknowledged this epoch";
        if (!m->report.keeper)
            return "has no keeper running";
        if (m->report.no_journal)
            return "cannot write its journal";
        if (!m->report.inventory)
            return "cannot tell what runs on it";
        if (m->leaving)
            return "is going down";
        if (ha_quarantined(ha, h) && HA_GUARD(ha, QUARANTINE))
            return "is in quarantine: it was lost too often";
        return NULL;
    }
    return "has no daemon running";
}

static uint64_t capacity_kib(const struct ha *ha, ha_node node)
{
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].node == node)
            return ha->members[i].report.memory_kib;
    return 0;
}

/* By the count in used_kib. */
uint64_t ha_host_free_kib(const struct ha *ha, const struct ha_host_fact *h)
{
    uint64_t capacity = capacity_kib(ha, h->node), used = ha->used_kib[h - ha->prop.hosts];
    return capacity > used ? capacity - used : 0;
}

ha_node ha_place(struct ha *ha, uint32_t guest, ha_node except, char *ret_why, size_t size)
{
    const struct ha_guest_config *c = ha_guest_config(ha, guest);
    const struct ha_guest_fact *g = &ha->prop.guests[guest];
    ha_node best = 0;
    uint64_t best_free = 0;
    bool best_avoid = false;
    ha_say(ret_why, size, "no host is allowed to run it");
    for (size_t k = 0; k < ha->prop.nhosts; k++) {
        const struct ha_host_fact *h = &ha->prop.hosts[k];
        if (!ha_guest_allows(c, h->node) || h->node == except)
            continue;
        const char *why = ha_host_unfit(ha, h);
        uint64_t free_kib = ha_host_free_kib(ha, h);
        if (!why && free_kib < ha_guest_need_kib(ha, &ha->prop, guest))
            why = "has not enough free memory";
        if (why) {
            if (!best)
                ha_say(ret_why, size, "%s %s", ha_host_name(ha, h->node), why);
            continue;
        }
        if (h->node == g->prefer)
            return h->node; /* an operator's choice */
        if (ha_restart_here(ha, guest, h->node))
            return h->node;
        bool avoid = h->node == g->avoid || ha_restart_elsewhere(ha, guest, h->node);
        if (!best || (best_avoid && !avoid) || (best_avoid == avoid && free_kib > best_free)) {
            best = h->node;
            best_free = free_kib;
            best_avoid = avoid;
        }
    }
    return best;
}
