/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows when a guest has ended by itself: it is started again, within limits and after a
 * pause that grows, first where it was, then on another host; or it stays down, as its
 * configuration says. */
#include "core.h"

enum { BACKOFF_MOST = 5, GIVEN_BACK = 1000 };

/* What the configuration says about that kind of end. */
static enum ha_on_end answer(const struct ha_guest_config *c, uint8_t how)
{
    if (how == HA_RELEASE_REBOOT)
        return (enum ha_on_end)c->on_reboot;
    if (how == HA_RELEASE_POWEROFF)
        return (enum ha_on_end)c->on_poweroff;
    if (how == HA_RELEASE_CRASH || how == HA_RELEASE_PROBE)
        return (enum ha_on_end)c->on_crash;
    return HA_ON_RESTART;
}

static bool stays_down(const struct ha_guest_config *c, uint8_t how)
{
    enum ha_on_end what = answer(c, how);
    return what == HA_ON_STOP || what == HA_ON_DUMP_STOP;
}

bool ha_dump_first(const struct ha *ha, uint32_t guest, uint8_t how)
{
    const struct ha_guest_config *c = ha_guest_config(ha, guest);
    enum ha_on_end what = c ? answer(c, how) : HA_ON_RESTART;
    return what == HA_ON_DUMP_RESTART || what == HA_ON_DUMP_STOP;
}

static void back_off(struct ha *ha, uint32_t i, const struct ha_guest_config *c)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    unsigned doublings = g->restarts < BACKOFF_MOST ? g->restarts : BACKOFF_MOST;
    ha->desks[i].not_before =
        ha->now + (g->restarts ? c->restart_delay_ms << (doublings - 1) : 0);
}

void ha_decide_release(struct ha *ha, uint32_t i, uint8_t how)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (c && c->external)
        how = HA_RELEASE_STOPPED; /* whoever is its captain wanted that */
    bool wanted = ha_wanted(g) && !g->recall && !g->preempted;
    struct ha_fact want = {
        .kind = HA_FACT_WANT, .guest = i, .want_run = false, .enabled = g->enabled};
    /* first the wish, then the end: in no order of losing messages is it started once more */
    if (wanted && c && stays_down(c, how))
        ha_propose(ha, &want);
    bool failure = ha_is_failure(how) && ha_wanted(g) && !g->preempted;
    struct ha_fact fact = {.kind = HA_FACT_RELEASED, .guest = i, .inc = g->inc, .how = how};
    fact.failed = failure && c && g->restarts + 1 > c->restart_limit;
    if (failure && c)
        back_off(ha, i, c);
    if (how == HA_RELEASE_OTHER || (how == HA_RELEASE_STOPPED && ha_wanted(g) && !g->recall))
        ha->desks[i].not_before = ha->now + GIVEN_BACK; /* not at once to the same host again */
    ha_propose(ha, &fact);
}

/* -------------------------------------------------------------------------------------- where */

static bool used_up(const struct ha_guest_config *c, const struct ha_guest_fact *g)
{
    return c->restart_per_host && g->failures_there >= c->restart_per_host;
}

bool ha_restart_here(const struct ha *ha, uint32_t guest, const struct ha_guest_fact *g,
                     ha_node node)
{
    const struct ha_guest_config *c = ha_guest_config(ha, guest);
    bool itself = ha_is_failure(g->last_release) || g->last_release == HA_RELEASE_REBOOT;
    return c && c->restart_per_host && itself && g->ended_on == node && node != g->avoid &&
           !used_up(c, g);
}

bool ha_restart_elsewhere(const struct ha *ha, uint32_t guest, const struct ha_guest_fact *g,
                          ha_node node)
{
    const struct ha_guest_config *c = ha_guest_config(ha, guest);
    return c && g->ended_on == node && used_up(c, g);
}

/* ---------------------------------------------------------------------------------- looking in */

static const char *key_of(uint8_t how)
{
    return how == HA_RELEASE_REBOOT     ? "on_reboot"
           : how == HA_RELEASE_POWEROFF ? "on_poweroff"
                                        : "on_crash";
}

bool ha_ended_why(const struct ha *ha, uint32_t i, const struct ha_guest_fact *g, char *ret_why,
                  size_t size)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (!g->want_run && c && stays_down(c, g->last_release)) {
        bool reboot = g->last_release == HA_RELEASE_REBOOT;
        ha_say(ret_why, size, "it %s, and `%s` says stop: `xvmhactl start %s`",
               reboot ? "rebooted" : ha_released_words(g->last_release), key_of(g->last_release),
               g->name);
        return true;
    }
    if (!g->want_run || !g->failed)
        return false;
    ha_say(ret_why, size,
           "it failed %u times, the last time it %s%s%s; `xvmhactl clear %s` tries again",
           g->restarts, ha_released_words(g->last_release), g->ended_on ? " on " : "",
           g->ended_on ? ha_host_name(ha, g->ended_on) : "", g->name);
    return true;
}
