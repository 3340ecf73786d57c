/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The phases of a stop (A8): it waits for what comes after it to stop; 70 % of its time to shut
 * itself down, 25 % by force; what is left is ours. Each phase is told to all hosts when it
 * begins. */
#include "core.h"

enum { STOP_DEFAULT = 600000, SHORT = 1000 };

static ha_ms timeout_of(const struct ha *ha, uint32_t i)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    return c ? c->stop_timeout_ms : STOP_DEFAULT;
}

static void tell_phase(struct ha *ha, uint32_t i, enum ha_stop_phase phase, ha_ms end)
{
    struct ha_local *l = &ha->locals[i];
    ha_ms left = end > ha->now ? end - ha->now : 0;
    struct ha_tell t = {.kind = HA_TELL_STOP_PHASE,
                        .guest = i,
                        .inc = l->copy.inc,
                        .how = (uint8_t)phase,
                        .level = (uint32_t)(left < INT32_MAX ? left : INT32_MAX)};
    if (!ha_may_tell(ha) || (l->stop_told.how == phase && l->stop_told.inc == t.inc))
        return;
    l->stop_told = t;
    ha_tell_send(ha, &t);
}

void ha_stops_reset(struct ha *ha)
{
    for (size_t i = 0; i < ha->nlocals; i++)
        ha->locals[i].stop_told = (struct ha_tell){0};
}

/* It has ended, or is to run on after all. */
void ha_stop_over(struct ha *ha, uint32_t i)
{
    struct ha_local *l = &ha->locals[i];
    if (l->stop_told.how)
        tell_phase(ha, i, HA_STOP_NONE, 0);
    l->stop_began = l->stop_held = 0;
    l->stop_asked = l->stop_overdue_said = false;
}

/* Those that come after it stop first; no longer than its own stop may take, and half of the time that
 * a host has which goes down. */
static bool held(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    const char *first = l->stop_began ? NULL : ha_order_stops_first(ha, g->name);
    if (!first)
        return false;
    if (!l->stop_held) {
        l->stop_held = ha->now;
        ha_report(ha, HA_REPORT_GUEST_ACT, HA_SEV_INFO, ha->self, g->name,
                  "%s is stopped once %s has stopped", g->name, first);
    }
    ha_ms end = l->stop_held + ha_leave_limit(ha, l->stop_held, 2 * timeout_of(ha, i)) / 2;
    if (ha->now >= end)
        return false;
    tell_phase(ha, i, HA_STOP_WAITS, end);
    ha_wake(ha, end < ha->now + SHORT ? end : ha->now + SHORT);
    return true;
}

static void force(struct ha *ha, uint32_t i, const struct ha_guest_fact *g, ha_ms end)
{
    struct ha_local *l = &ha->locals[i];
    bool overdue = ha->now >= end;
    tell_phase(ha, i, overdue ? HA_STOP_OVERDUE : HA_STOP_FORCED, end);
    if (overdue && !l->stop_overdue_said) {
        l->stop_overdue_said = true;
        ha_report(ha, HA_REPORT_GUEST_ACT, HA_SEV_ALERT, ha->self, g->name,
                  "%s cannot be ended, not even by force; it is tried again and again%s%s", g->name,
                  l->error[0] ? ": " : "", l->error);
    }
    if (!overdue)
        ha_wake(ha, end);
    ha_act_destroy(ha, i, g, HA_RELEASE_STOPPED);
}

void ha_stop(struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    struct ha_local *l = &ha->locals[i];
    if (held(ha, i, g))
        return;
    if (!l->stop_began) {
        l->stop_began = ha->now;
        l->release = HA_RELEASE_STOPPED;
        l->release_inc = l->copy.inc;
    }
    ha_ms all = ha_leave_limit(ha, l->stop_began, timeout_of(ha, i));
    ha_ms by_force = l->stop_began + all * 7 / 10;
    if (ha->now >= by_force) {
        force(ha, i, g, l->stop_began + all * 19 / 20);
        return;
    }
    ha_wake(ha, by_force);
    tell_phase(ha, i, HA_STOP_ASKED, by_force);
    if (!l->stop_asked) {
        l->stop_asked = true;
        ha_act_shutdown(ha, i, g, by_force - ha->now);
    }
}

void ha_stop_status(const struct ha *ha, uint32_t i, const struct ha_guest_fact *g, ha_ms now,
                    struct ha_guest_status *r)
{
    const struct ha_desk *desk = i < ha->ndesks ? &ha->desks[i] : NULL;
    if (!desk || desk->stop.kind != HA_TELL_STOP_PHASE || desk->stop.inc != g->inc || !g->owner ||
        desk->stop.how == HA_STOP_NONE || desk->stop.how > HA_STOP_OVERDUE)
        return;
    r->stop = (enum ha_stop_phase)desk->stop.how;
    r->stop_left_ms = desk->stop_end > now ? desk->stop_end - now : 0;
    unsigned long left = (unsigned long)(r->stop_left_ms + 999) / 1000;
    const char *host = ha_host_name(ha, g->owner), *first;
    switch (r->stop) {
    case HA_STOP_NONE:
        break;
    case HA_STOP_WAITS:
        first = ha_order_stops_first(ha, g->name);
        ha_say(r->why, sizeof r->why, "is shut down once %s has stopped, in %lu s at the latest",
               first ? first : "what comes after it", left);
        break;
    case HA_STOP_ASKED:
        ha_say(r->why, sizeof r->why, "shuts itself down; by force in %lu s", left);
        break;
    case HA_STOP_FORCED:
        ha_say(r->why, sizeof r->why,
               "did not shut itself down: it is ended by force, within %lu s", left);
        break;
    case HA_STOP_OVERDUE:
        ha_say(r->why, sizeof r->why,
               "cannot be ended, not even by force; look at %s, at worst `xvmhactl fence %s`", host,
               host);
        break;
    }
}
