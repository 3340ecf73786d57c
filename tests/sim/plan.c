/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to the cluster: each kind of op, how it is undone, and the repair of everything. */
#include <assert.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "world.h"

const char *const sim_op_names[] = {
#define X(name, text) [SIM_OP_##name] = text,
    SIM_OPS(X)
#undef X
};

void sim_plan_add(struct sim_plan *plan, const struct sim_op *op)
{
    if (plan->n == plan->size) {
        plan->size = plan->size ? plan->size * 2 : 32;
        plan->v = realloc(plan->v, plan->size * sizeof(*plan->v));
        assert(plan->v);
    }
    plan->v[plan->n++] = *op;
}

void sim_plan_copy(struct sim_plan *to, const struct sim_plan *from)
{
    *to = (struct sim_plan){0};
    for (size_t i = 0; i < from->n; i++)
        sim_plan_add(to, &from->v[i]);
}

void sim_plan_done(struct sim_plan *plan)
{
    free(plan->v);
    *plan = (struct sim_plan){0};
}

/* ------------------------------------------------------------------------------- kinds of ops */

static void set_comp(struct sim_world *w, unsigned i, uint8_t comp)
{
    if (i < w->nhosts)
        w->comp[i] = comp;
    sim_net_changed(w);
}

static void split(struct sim_world *w, const uint8_t *comp)
{
    for (unsigned i = 0; i < w->nhosts; i++)
        w->comp[i] = comp ? comp[i] : 0;
    sim_net_changed(w);
}

/* Empties the journal of a daemon that is down. Never of so many that a majority has forgotten. */
static void wipe(struct sim_world *w, struct sim_host *h)
{
    if (!w->founded || w->config->mode == HA_MODE_FENCE_ONLY || w->wiped + 1 > (w->nhosts - 1) / 2)
        return;
    w->wiped++;
    sim_daemon_kill(w, h, false);
    SIM_LOG(w, "%s journal wiped", h->name);
    sim_journal_wipe(h);
}

static void replace(struct sim_world *w, struct sim_host *h)
{
    sim_power_off(w, h, "replaced by another machine");
    w->wiped++;
    sim_journal_wipe(h);
    h->machine = sim_uuid(w);
}

static void all_off(struct sim_world *w, const struct sim_op *op, bool undo)
{
    for (unsigned i = 0; i < w->nhosts; i++) {
        struct sim_host *h = &w->hosts[i];
        if (undo)
            sim_schedule(w, w->now + sim_delay(w, 0, SIM_MS(3000)), SIM_EV_POWER_ON, i, h->life, 0);
        else
            sim_power_off(w, h, "all power lost");
        for (unsigned k = 0; op->arg && k < SIM_LEVELS_MAX; k++)
            w->devices[i][k].mode = undo ? SIM_DEV_OK : SIM_DEV_FAIL;
    }
}

static void power(struct sim_world *w, struct sim_host *h, const struct sim_op *op, bool undo)
{
    if (undo) {
        h->stay_off = false;
        sim_schedule(w, w->now + 1, SIM_EV_POWER_ON, h->i, h->life, 0);
        return;
    }
    sim_power_off(w, h, "pulled");
    h->stay_off = op->dur == 0 && op->kind == SIM_OP_POWER_OFF;
    if (op->kind == SIM_OP_RESET)
        sim_schedule(w, w->now + SIM_MS(500), SIM_EV_POWER_ON, h->i, h->life, 0);
}

static void device(struct sim_world *w, const struct sim_op *op, bool undo)
{
    enum sim_device_mode mode = undo ? SIM_DEV_OK : (enum sim_device_mode)op->arg;
    if (mode == SIM_DEV_LIE && !w->setup->lies)
        return;
    for (int k = 0; k < SIM_LEVELS_MAX; k++)
        if (op->arg2 < 0 || op->arg2 == k)
            w->devices[op->host][k] = (struct sim_device){mode, op->val};
}

static void shutdown(struct sim_world *w, struct sim_host *h, bool undo)
{
    if (!undo) {
        if (!h->ha || h->shutdown)
            return;
        SIM_LOG(w, "%s shuts down", h->name);
        h->shutdown = true;
        sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_SHUTDOWN});
        return;
    }
    if (!h->shutdown)
        return;
    sim_power_off(w, h, "shut down");
    sim_schedule(w, w->now + SIM_MS(3000), SIM_EV_POWER_ON, h->i, h->life, 0);
}

/* Only the truth: the host is off now. */
static void confirm(struct sim_world *w, struct sim_host *h, const struct sim_op *op)
{
    const struct sim_host *t = &w->hosts[op->peer];
    if (op->peer < w->nhosts && !t->on)
        sim_daemon_command(w, h, HA_CMD_FENCE_CONFIRM, "", t->name, "");
}

static void command(struct sim_world *w, struct sim_host *h, const struct sim_op *op)
{
    const char *guest = op->guest >= 0 ? w->guests[op->guest].name : "";
    const char *host = op->peer < w->nhosts ? w->hosts[op->peer].name : "";
    w->froze |= op->arg == HA_CMD_FREEZE;
    if (op->guest >= 0 && w->guests[op->guest].by_hand && w->now < SIM_MS(8000))
        return; /* an operator who starts by hand does not command at the same moment */
    sim_daemon_command(w, h, (enum ha_command)op->arg, guest, host, op->text);
}

static void driver(struct sim_host *h, const struct sim_op *op, bool undo)
{
    h->forced.what = (enum ha_op)op->arg;
    h->forced.outcome = (enum sim_outcome)op->arg2;
    h->forced.times = undo ? 0 : op->val ? (unsigned)op->val : 1;
    h->forced.guest = op->guest;
}

static void corosync(struct sim_world *w, struct sim_host *h, const struct sim_op *op, bool undo)
{
    if (op->kind == SIM_OP_COROSYNC_FREEZE) {
        h->cs_frozen = !undo && h->cs;
        sim_net_changed(w);
    } else if (undo) {
        sim_corosync_start(w, h);
    } else {
        sim_corosync_stop(w, h);
    }
}

/* What a guest takes that is in no file any more is known by its definition; without one it matters
 * only where all guests together would not fit on one host. */
static bool memory_known(const struct sim_world *w, int guest)
{
    uint64_t sum = 0;
    for (unsigned g = 0; g < w->nguests; g++)
        sum += w->config->guests[g].memory_kib;
    return w->config->guests[guest].config_path || sum <= w->setup->host_memory_kib;
}

/* Ops on guests and on the world as a whole. False: it is about a host. */
static bool do_world(struct sim_world *w, const struct sim_op *op, bool undo)
{
    switch (op->kind) {
    case SIM_OP_SPLIT:
        split(w, undo ? NULL : op->comp);
        return true;
    case SIM_OP_HEAL:
        split(w, NULL);
        return true;
    case SIM_OP_ALL_OFF:
        all_off(w, op, undo);
        return true;
    case SIM_OP_GUEST_EXIT:
        sim_guest_exit(w, op->guest, (enum ha_exit)op->arg);
        return true;
    case SIM_OP_DEAF:
        w->guests[op->guest].deaf = !undo;
        return true;
    case SIM_OP_SICK:
        w->guests[op->guest].sick = undo ? 0 : (enum ha_probe_result)op->arg;
        return true;
    case SIM_OP_FENCE:
        device(w, op, undo);
        return true;
    case SIM_OP_DISK_ALL:
        for (unsigned i = 0; i < w->nhosts; i++)
            w->hosts[i].disk_lost = !undo;
        return true;
    default:
        return false;
    }
}

/* Faults of a host's processes and power. False: something else. */
static bool do_process(struct sim_world *w, struct sim_host *h, const struct sim_op *op, bool undo)
{
    switch (op->kind) {
    case SIM_OP_POWER_OFF:
    case SIM_OP_RESET:
        power(w, h, op, undo);
        return true;
    case SIM_OP_HANG:
        sim_hang(w, h, !undo);
        return true;
    case SIM_OP_DAEMON_KILL:
        if (undo)
            sim_daemon_start(w, h);
        else
            sim_daemon_kill(w, h, false);
        return true;
    case SIM_OP_DAEMON_STUCK:
        sim_daemon_stuck(w, h, !undo);
        return true;
    case SIM_OP_KEEPER_KILL:
        if (undo)
            sim_keeper_start(w, h);
        else
            sim_keeper_kill(w, h);
        return true;
    case SIM_OP_COROSYNC_KILL:
    case SIM_OP_COROSYNC_FREEZE:
        corosync(w, h, op, undo);
        return true;
    case SIM_OP_WIPE:
        if (undo)
            sim_daemon_start(w, h);
        else
            wipe(w, h);
        return true;
    case SIM_OP_SHUTDOWN:
        shutdown(w, h, undo);
        return true;
    case SIM_OP_REPLACE:
        if (!undo)
            replace(w, h);
        return true;
    default:
        return false;
    }
}

static void do_host(struct sim_world *w, struct sim_host *h, const struct sim_op *op, bool undo)
{
    if (undo)
        h->stuck_at = w->now; /* what was held up comes now, and is older than it looks */
    switch (op->kind) {
    case SIM_OP_CUT:
        set_comp(w, h->i, undo ? 0 : (uint8_t)(100 + h->i));
        break;
    case SIM_OP_REFORM:
        sim_net_reform(w, h);
        break;
    case SIM_OP_SLOW_NET:
        h->slow_net = undo ? 0 : (int)op->val;
        break;
    case SIM_OP_HOLD_TX:
        h->hold_tx = !undo;
        sim_net_kick(w, h);
        break;
    case SIM_OP_HOLD_RX:
        h->hold_rx = !undo;
        sim_net_kick(w, h);
        break;
    case SIM_OP_JOURNAL_SLOW:
        h->journal_slow = undo ? 0 : (int)op->val;
        break;
    case SIM_OP_JOURNAL_FAIL:
        sim_journal_fail(w, h, !undo);
        break;
    case SIM_OP_DRIVER:
        driver(h, op, undo);
        break;
    case SIM_OP_HAND_START:
        sim_hand_start(w, h, op->guest);
        break;
    case SIM_OP_BACKENDS_SLOW:
        h->backends_slow = undo ? 0 : (int)op->val;
        break;
    case SIM_OP_CMD:
        command(w, h, op);
        break;
    case SIM_OP_CONFIRM:
        confirm(w, h, op);
        break;
    case SIM_OP_INVENTORY:
        h->inv_unknown = !undo;
        sim_inventory_soon(w, h);
        break;
    case SIM_OP_QUORUM_FLIP:
        sim_net_verdict(w, h, undo ? sim_net_quorate(w, h) : false, 0);
        break;
    case SIM_OP_VERDICT:
        sim_net_verdict(w, h, op->arg, 0);
        break;
    case SIM_OP_VERDICT_LATE:
        h->verdict_ms = undo ? 0 : op->val;
        break;
    case SIM_OP_DEFINE: /* an operator edits the file there, and says `reload` */
        if (op->guest < 0)
            break;
        h->files[op->guest] = ++w->definitions[op->guest];
        sim_daemon_define(w, h, op->guest, true);
        break;
    case SIM_OP_CONFIG:
        if (op->guest < 0 || w->config->nrules)
            break; /* rules name guests by their place in the file */
        if (!undo && !memory_known(w, op->guest))
            break;
        h->unregistered[op->guest] = !undo;
        sim_daemon_reconfigure(w, h);
        break;
    case SIM_OP_DISK_LOST:
        h->disk_lost = !undo;
        break;
    case SIM_OP_DISK_SLOW:
        h->disk_slow = undo ? 0 : (int)op->val;
        break;
    case SIM_OP_NO_WATCHDOG:
        h->watchdog = false;
        break;
    default:
        break;
    }
}

static bool has_copy(const struct sim_host *h, int guest, bool running)
{
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
        if (h->copies[k].id && h->copies[k].guest == guest &&
            (!running || h->copies[k].state == HA_COPY_RUNNING))
            return true;
    return false;
}

static bool coordinates(const struct sim_world *w, const struct sim_host *h)
{
    struct ha_status st = {0};
    if (h->ha)
        ha_status(h->ha, sim_clock(w, h), &st);
    return st.phase == HA_PHASE_OPEN && st.coordinator == h->node;
}

/* Who is meant by @g1, @not-g1, @chair, @not-chair at this moment. SIM_NO_HOST: nobody. */
static uint8_t resolve(const struct sim_world *w, uint8_t host)
{
    if (host < w->nhosts || host == SIM_NO_HOST)
        return host;
    for (unsigned i = 0; i < w->nhosts; i++) {
        const struct sim_host *h = &w->hosts[i];
        if (host == SIM_HOST_CHAIR && coordinates(w, h))
            return (uint8_t)i;
        if (host == SIM_HOST_NOT_CHAIR && h->ha && !coordinates(w, h))
            return (uint8_t)i;
        if (host >= SIM_HOST_NOT_OF && !has_copy(h, host - SIM_HOST_NOT_OF, false))
            return (uint8_t)i;
        if (host >= SIM_HOST_OF && host < SIM_HOST_NOT_OF && has_copy(h, host - SIM_HOST_OF, true))
            return (uint8_t)i;
    }
    return SIM_NO_HOST;
}

static void carry_out(struct sim_world *w, struct sim_op *op, bool undo)
{
    char text[200];
    bool needs = op->host != SIM_NO_HOST;
    op->host = resolve(w, op->host);
    op->peer = resolve(w, op->peer);
    if (needs && op->host == SIM_NO_HOST)
        return;
    if (w->logging) {
        sim_op_format(op, w->config, text, sizeof(text));
        SIM_LOG(w, "plan: %s%s", undo && !op->undo ? "end of " : "", text);
    }
    undo |= op->undo;
    if (do_world(w, op, undo))
        return;
    if (op->host >= w->nhosts)
        return;
    struct sim_host *h = &w->hosts[op->host];
    if (!do_process(w, h, op, undo))
        do_host(w, h, op, undo);
}

/* -------------------------------------------------------------------------- when they are done */

void sim_plan_start(struct sim_world *w)
{
    for (size_t i = 0; i < w->plan.n; i++)
        if (w->plan.v[i].pattern[0] == '\0')
            sim_schedule(w, SIM_MS(w->plan.v[i].at), SIM_EV_PLAN, 0, 0, (uint64_t)i << 1);
}

void sim_plan_event(struct sim_world *w, uint64_t a)
{
    struct sim_op *op = &w->plan.v[a >> 1];
    bool undo = a & 1;
    if (w->healing && !op->after)
        return;
    carry_out(w, op, undo);
    if (!undo && op->dur)
        sim_schedule(w, w->now + SIM_MS(op->dur), SIM_EV_PLAN, 0, 0, a | 1);
}

void sim_plan_match(struct sim_world *w, const char *line)
{
    for (size_t i = 0; i < w->plan.n; i++) {
        struct sim_op *op = &w->plan.v[i];
        if (!op->pattern[0] || op->fired || w->now < SIM_MS(op->at) ||
            fnmatch(op->pattern, line, 0) != 0)
            continue;
        if (++op->seen < op->nth)
            continue;
        op->fired = true;
        sim_schedule(w, w->now + SIM_MS(op->delay) + 1, SIM_EV_PLAN, 0, 0, (uint64_t)i << 1);
    }
}

/* ----------------------------------------------------------------------------------- the repair */

static void heal_host(struct sim_world *w, struct sim_host *h)
{
    h->hold_tx = h->hold_rx = h->inv_unknown = h->stay_off = false;
    h->disk_lost = false;
    h->disk_slow = 0;
    h->slow_net = h->journal_slow = h->backends_slow = 0;
    h->verdict_ms = 0;
    h->forced.times = 0;
    h->cs_frozen = false;
    sim_journal_fail(w, h, false);
    sim_work_heal(w, h);
    if (h->own) {
        memset(h->unregistered, 0, sizeof(h->unregistered));
        sim_daemon_reconfigure(w, h);
    }
    if (h->hung)
        sim_hang(w, h, false);
    if (h->stuck)
        sim_daemon_stuck(w, h, false);
    if (!h->on) {
        sim_schedule(w, w->now + sim_delay(w, 0, SIM_MS(2000)), SIM_EV_POWER_ON, h->i, h->life, 0);
        return;
    }
    if (h->shutdown) { /* the reboot that follows a shutdown */
        sim_power_off(w, h, "rebooted");
        sim_schedule(w, w->now + SIM_MS(1000), SIM_EV_POWER_ON, h->i, h->life, 0);
        return;
    }
    sim_us d = sim_delay(w, SIM_MS(10), SIM_MS(1000));
    sim_schedule(w, w->now + d, SIM_EV_COROSYNC_START, h->i, h->life, 0);
    sim_schedule(w, w->now + 2 * d, SIM_EV_KEEPER_START, h->i, h->life, 0);
    sim_schedule(w, w->now + 3 * d, SIM_EV_DAEMON_START, h->i, h->life, 0);
    if (h->ring)
        sim_net_verdict(w, h, sim_net_quorate(w, h), d);
}

/* An operator ends all maintenance, and says so again until it is over. */
void sim_plan_end_maintenance(struct sim_world *w, struct sim_host *chair)
{
    struct ha_status st;
    ha_status(chair->ha, sim_clock(w, chair), &st);
    for (size_t i = 0; i < st.nhosts; i++) {
        struct ha_host_status hs;
        ha_status_host(chair->ha, sim_clock(w, chair), i, &hs);
        if (hs.maintenance)
            sim_daemon_command(w, chair, HA_CMD_MAINTENANCE_OFF, "", hs.name, "");
    }
}

/* Whoever froze the cluster thaws it in the end, as soon as somebody listens. */
static void thaw_later(struct sim_world *w)
{
    for (unsigned k = 0; w->froze && k < 6 * w->nhosts; k++) {
        struct sim_op op = {.kind = SIM_OP_CMD,
                            .arg = HA_CMD_THAW,
                            .at = (ha_ms)(w->now / SIM_MS(1)) + 10000 + 10000 * (k / w->nhosts),
                            .host = (uint8_t)(k % w->nhosts),
                            .peer = SIM_NO_HOST,
                            .guest = -1,
                            .after = true};
        sim_plan_add(&w->plan, &op);
        sim_schedule(w, SIM_MS(op.at), SIM_EV_PLAN, 0, 0, (uint64_t)(w->plan.n - 1) << 1);
    }
}

void sim_plan_heal(struct sim_world *w)
{
    SIM_LOG(w, "all faults end");
    memset(w->comp, 0, sizeof(w->comp));
    memset(w->devices, 0, sizeof(w->devices));
    memset(&w->rates, 0, sizeof(w->rates));
    for (unsigned g = 0; g < w->nguests; g++)
        w->guests[g].deaf = false;
    for (unsigned i = 0; i < w->nhosts; i++)
        heal_host(w, &w->hosts[i]);
    thaw_later(w);
    sim_net_changed(w);
}
