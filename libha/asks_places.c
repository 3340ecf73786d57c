/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operators' commands that the planner is asked about first: a host is to be emptied, a guest is to
 * run. What would stop other guests, or leave less in reserve than is wanted, is refused with what
 * would help, unless the operator insists. */
#include "placing.h"

#include <errno.h>
#include <string.h>

#include "wire.h"

#define OUTCOME(o, c, ...)                                                                         \
    do {                                                                                           \
        (o)->code = (c);                                                                           \
        ha_say((o)->text, sizeof(o)->text, __VA_ARGS__);                                           \
    } while (0)

/* `force`, or, of a move, `live,force`. */
static bool insists(const struct ha_ask *ask)
{
    const char *comma = strchr(ask->text, ',');
    return strcmp(comma ? comma + 1 : ask->text, "force") == 0;
}

/* What an operator's command would change: a guest runs, or is there; a host is emptied. */
enum change_kind {
    GUEST_RUNS,
    GUEST_MOVES,
    HOST_EMPTIED,
};

struct change {
    enum change_kind kind;
    uint32_t guest;
    size_t host; /* index in the facts */
};

/* The cluster as it is, with a change or without. NULL: no memory, or nothing to plan with. */
static struct ha_plan *plan_with(struct ha *ha, const struct change *change)
{
    struct ha_live *live = &ha->placing->next;
    struct ha_plan *plan = NULL;
    struct ha_error error;
    if (ha_live_build(ha, &ha->prop, live) < 0)
        return NULL;
    if (change && change->kind == GUEST_RUNS)
        live->guests[change->guest].run = true;
    if (change && change->kind == GUEST_MOVES) {
        live->guests[change->guest].on = (int32_t)change->host;
        live->guests[change->guest].content = true;
    }
    if (change && change->kind == HOST_EMPTIED && !(live->closed >> change->host & 1))
        live->hosts[change->host].state = HA_PLAN_DRAIN;
    if (ha_plan_check(&live->in, &error) < 0 || ha_plan_make(&live->in, &plan) < 0)
        return NULL;
    return plan;
}

/* The reserve is met now, and would not be any more. */
static bool breaks_reserve(struct ha *ha, const struct change *change, struct ha_outcome *o)
{
    unsigned reserve = ha->config->placement.reserve;
    struct ha_plan *plan = reserve ? plan_with(ha, NULL) : NULL;
    char why[HA_TEXT_MAX];
    bool met = plan && plan->tolerates >= reserve;
    ha_plan_free(plan);
    plan = met ? plan_with(ha, change) : NULL;
    bool breaks = plan && plan->tolerates < reserve;
    if (breaks) {
        ha_plan_why_tolerates(plan, why, sizeof why);
        OUTCOME(o, -EBUSY,
                "the reserve of %u would not be met (%u tolerated; `--force` does it anyway): %s",
                reserve, plan->tolerates, why);
    }
    ha_plan_free(plan);
    return breaks;
}

bool ha_start_refused(struct ha *ha, const struct ha_ask *ask, uint32_t guest, struct ha_outcome *o)
{
    const struct ha_guest_fact *g = &ha->prop.guests[guest];
    struct change change = {.kind = GUEST_RUNS, .guest = guest};
    return !g->owner && !insists(ask) && ha_guest_config(ha, guest) &&
           breaks_reserve(ha, &change, o);
}

/* Room that is there, but not where it would be needed after a failure. */
bool ha_move_refused(struct ha *ha, const struct ha_ask *ask, uint32_t guest, ha_node to,
                     struct ha_outcome *o)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->prop, to);
    struct change change = {
        .kind = GUEST_MOVES, .guest = guest, .host = (size_t)(h - ha->prop.hosts)};
    return !insists(ask) && breaks_reserve(ha, &change, o);
}

/* Guests that run and would have no place any more. */
static bool leaves_some(struct ha *ha, const struct change *change, struct ha_outcome *o)
{
    struct ha_plan *plan = plan_with(ha, change);
    uint32_t stopped = 0, first = 0;
    for (uint32_t i = 0; plan && i < plan->in->nguests; i++)
        if (plan->in->guests[i].on >= 0 && plan->in->guests[i].run && plan->place[i] < 0 &&
            stopped++ == 0)
            first = i;
    if (stopped) {
        char why[HA_TEXT_MAX];
        ha_plan_why_unplaced(plan, first, why, sizeof why);
        OUTCOME(o, -EBUSY,
                "no room elsewhere for %u of its guests (`--force` stops them); %s, for one: %s",
                stopped, plan->in->guests[first].name, why);
    }
    ha_plan_free(plan);
    return stopped > 0;
}

static unsigned guests_on(const struct ha *ha, ha_node node)
{
    unsigned n = 0;
    for (size_t i = 0; i < ha->prop.nguests; i++)
        n += ha->prop.guests[i].owner == node;
    return n;
}

static void end_maintenance(struct ha *ha, const struct ha_ask *ask, const struct ha_host_fact *h,
                            struct ha_outcome *o)
{
    bool back = ha->config->placement.failback != HA_FAILBACK_NEVER;
    struct ha_fact fact = {.kind = HA_FACT_MAINT,
                           .host = h->node,
                           .boot = h->boot,
                           .level = HA_MAINT_NONE,
                           .how = back ? HA_MAINT_RETURN : 0};
    ha_name_copy(fact.name, ask->who);
    if (h->maint == HA_MAINT_NONE && ask->again)
        OUTCOME(o, 0, "%s takes guests again", ask->host);
    else if (h->maint == HA_MAINT_NONE)
        OUTCOME(o, -EALREADY, "%s is not in maintenance", ask->host);
    else if (!ha_propose(ha, &fact))
        OUTCOME(o, -EBUSY, "not every host knows how: upgrade them all");
    else
        OUTCOME(o, 0, "%s takes guests again%s", ask->host,
                back ? "; those that had left it come back" : "");
}

void ha_ask_maintenance(struct ha *ha, const struct ha_ask *ask, const struct ha_host_fact *h,
                        struct ha_outcome *o)
{
    bool stay = ask->command == HA_CMD_MAINTENANCE_ON;
    struct change change = {.kind = HOST_EMPTIED, .host = (size_t)(h - ha->prop.hosts)};
    struct ha_fact fact = {.kind = HA_FACT_MAINT,
                           .host = h->node,
                           .boot = h->boot,
                           .level = stay ? HA_MAINT_ON : HA_MAINT_EVACUATE,
                           .how = insists(ask) ? HA_MAINT_FORCE : 0};
    unsigned n = guests_on(ha, h->node);
    ha_name_copy(fact.name, ask->who);
    if (ask->command == HA_CMD_MAINTENANCE_OFF) {
        end_maintenance(ha, ask, h, o);
    } else if (ask->again && h->maint == fact.level) { /* done before its coordinator was lost */
        OUTCOME(o, 0, "%s is being emptied; see `xvmhactl status`", ask->host);
    } else if (h->maint == HA_MAINT_ON && !(insists(ask) && stay && !h->maint_force)) {
        OUTCOME(o, -EALREADY,
                "%s is in maintenance already; `xvmhactl maintenance off %s` ends that", ask->host,
                ask->host);
    } else if (!stay && (h->state != HA_HOST_IN || n == 0)) {
        OUTCOME(o, -EALREADY, "%s has no guests that could leave it", ask->host);
    } else if (insists(ask) || (!leaves_some(ha, &change, o) && !breaks_reserve(ha, &change, o))) {
        if (ha_propose(ha, &fact))
            OUTCOME(o, 0, "%s %s; guests that leave it: %u; see `xvmhactl status`", ask->host,
                    stay ? "goes into maintenance" : "is being emptied", n);
        else
            OUTCOME(o, -EBUSY, "%s is being emptied already, or not every host knows how",
                    ask->host);
    }
}
