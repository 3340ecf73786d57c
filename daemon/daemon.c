/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the way of every event into the core and of every action out of it. No policy here. */
#include "daemon.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "debug.h"
#include "guest_files.h"
#include "log.h"
#include "util.h"

enum { STATUS_EVERY_MS = 500 };

const char *xvm_daemon_host_name(const struct xvm_daemon *d, ha_node node)
{
    for (size_t i = 0; d->config && i < d->config->nhosts; i++) {
        if (d->config->hosts[i].node == node)
            return d->config->hosts[i].name;
    }
    return NULL;
}

void xvm_daemon_exit(struct xvm_daemon *d, int code)
{
    if (d->exiting)
        return;
    d->exiting = true;
    sd_event_exit(d->loop, code);
}

/* ------------------------------------------------------------------------------------- systemd */

static void publish(struct xvm_daemon *d)
{
    struct ha_status status = {0};
    char line[sizeof(d->status)];
    bool ready = d->safe_mode;

    if (d->started) {
        ha_status(d->core, xvm_now_ms(), &status);
        snprintf(line, sizeof(line), "%s", status.sentence);
        ready = status.synced || status.waiting;
    } else {
        snprintf(line, sizeof(line), "%s", d->waits_for);
    }
    if (strcmp(line, d->status) != 0) {
        strcpy(d->status, line);
        sd_notifyf(0, "STATUS=%s", line);
    }
    if (ready && !d->ready) {
        d->ready = true;
        sd_notify(0, "READY=1");
    }
}

static int on_status_timer(sd_event_source *source, uint64_t at, void *user)
{
    (void)source;
    (void)at;
    publish(user);
    return 0;
}

void xvm_daemon_status_changed(struct xvm_daemon *d)
{
    int enabled;

    if (!d->ready) {
        publish(d);
        return;
    }
    if (sd_event_source_get_enabled(d->status_timer, &enabled) < 0 || enabled != SD_EVENT_OFF)
        return;
    sd_event_source_set_time_relative(d->status_timer, STATUS_EVERY_MS * 1000);
    sd_event_source_set_enabled(d->status_timer, SD_EVENT_ONESHOT);
}

/* ------------------------------------------------------------------------------------- actions */

void xvm_daemon_report(struct xvm_daemon *d, enum ha_report what, enum ha_severity severity,
                       ha_node node, const char *guest, const char *text)
{
    const char *host = node ? xvm_daemon_host_name(d, node) : NULL;
    char unnamed[32];

    if (node && !host) {
        snprintf(unnamed, sizeof(unnamed), "node %u", node);
        host = unnamed;
    }
    xvm_log_report(what, severity, host, guest, text);
    if (d->ipc)
        xvm_ipc_report(d->ipc, what, severity, host, guest, text);
    if (d->fence_history && xvm_history_wants(what))
        xvm_history_add(d->fence_history, what, severity, host, text);
}

static void act_halt(struct xvm_daemon *d, const struct ha_action *action)
{
    xvm_log(HA_SEV_ALERT, "halted, guests go on: %s", action->u.text);
    sd_notifyf(0, "STATUS=halted: %s", action->u.text);
    xvm_daemon_exit(d, XVM_EXIT_HALT);
}

/* Transfers get to the driver by way of their connection. */
static void start_guest_op(struct xvm_daemon *d, const struct ha_action *action)
{
    if (action->u.guest.what == HA_OP_SEND || action->u.guest.what == HA_OP_RECEIVE)
        xvm_migration_start(d->migration, action);
    else
        d->driver_ops->start(d->driver, action, NULL);
}

static int start_probe(struct xvm_daemon *d, const struct ha_action *action)
{
    for (size_t i = 0; i < d->config->nguests; i++) {
        const struct ha_guest_config *guest = &d->config->guests[i];

        if (strcmp(guest->name, action->u.probe.guest) == 0 &&
            action->u.probe.probe < guest->nprobes)
            return xvm_prober_run(d->prober, guest, action);
    }
    return 0; /* of an older configuration: the core has forgotten it, too */
}

/* 0, or a negative errno: nothing that follows may be carried out. */
static int act(struct xvm_daemon *d, const struct ha_action *action)
{
    int r;

    switch (action->type) {
    case HA_ACT_SEND:
        r = xvm_corosync_send(d->corosync, action->u.send.data, action->u.send.len);
        return r == -ENOTCONN ? 0 : r; /* DISCONNECTED is on its way to the core */
    case HA_ACT_JOURNAL:
        return xvm_journal_append(d->journal, action->u.journal.seq, action->u.journal.data,
                                  action->u.journal.len);
    case HA_ACT_REWRITE:
        return xvm_journal_rewrite(d->journal, action->u.journal.seq, action->u.journal.data,
                                   action->u.journal.len);
    case HA_ACT_MARK:
        return xvm_marks_set(&d->marks, &action->u.mark);
    case HA_ACT_KEEPER:
        xvm_debug(NULL, "orders %" PRIu64 " for the keeper%s", action->u.keeper->seq,
                  action->u.keeper->empty ? ", the host is empty" : "");
        xvm_keeper_link_order(d->keeper, action->u.keeper);
        return 0;
    case HA_ACT_GUEST:
        xvm_debug_begun('o', action->u.guest.op, action->u.guest.guest);
        xvm_debug(action->u.guest.guest, "operation %" PRIu64 ": %s, incarnation %" PRIu64
                  ", migration %" PRIu64, action->u.guest.op, ha_op_name(action->u.guest.what),
                  action->u.guest.inc, action->u.guest.mig);
        if (!xvm_supply_hold(d->supply, action))
            start_guest_op(d, action);
        return 0;
    case HA_ACT_GUEST_CANCEL:
        xvm_debug(action->u.cancel.guest, "operation %" PRIu64 " is to be cancelled",
                  action->u.cancel.id);
        if (!xvm_migration_cancel(d->migration, action->u.cancel.id))
            d->driver_ops->cancel(d->driver, action->u.cancel.id, action->u.cancel.guest);
        return 0;
    case HA_ACT_PROBE:
        xvm_debug_begun('p', action->u.probe.id, action->u.probe.guest);
        xvm_debug(action->u.probe.guest, "probe %" PRIu64 ": its number %" PRIu32 " begins",
                  action->u.probe.id, action->u.probe.probe);
        return start_probe(d, action);
    case HA_ACT_FENCE:
        if (action->u.fence.wait_ms > 0) {
            const struct xvm_fence_pill pill = {
                .self = d->facts.self,
                .boot = d->options.boot,
                .target_boot = action->u.fence.boot,
                .disk = action->u.fence.disk_id,
                .loss = action->u.fence.loss,
                .wait_ms = action->u.fence.wait_ms,
                .run_dir = d->options.run_dir,
            };
            xvm_fencer_pill(d->fencer, action->u.fence.id, action->u.fence.node,
                            action->u.fence.level, &pill);
            return 0;
        }
        xvm_fencer_launch(d->fencer, action->u.fence.id, action->u.fence.node,
                          action->u.fence.level);
        return 0;
    case HA_ACT_FENCE_CANCEL:
        xvm_fencer_cancel(d->fencer, action->u.cancel.id, action->u.cancel.begun);
        return 0;
    case HA_ACT_REPLY:
        xvm_ipc_reply(d->ipc, action->u.reply.client, action->u.reply.code, action->u.reply.text);
        return 0;
    case HA_ACT_REPORT:
        xvm_daemon_report(d, action->u.report.what, action->u.report.severity,
                          action->u.report.node, action->u.report.guest, action->u.report.text);
        return 0;
    case HA_ACT_DEFINITION:
        xvm_supply_want(d->supply, &action->u.definition.hash);
        return 0;
    case HA_ACT_CONFIG:
        xvm_register_act(d->reg, action);
        return 0;
    case HA_ACT_INVENTORY:
        d->driver_ops->inventory(d->driver);
        return 0;
    case HA_ACT_HALT:
        act_halt(d, action);
        return 0;
    }
    return 0;
}

static void carry_out(struct xvm_daemon *d)
{
    for (size_t i = 0; i < d->actions.n && !d->exiting; i++) {
        int r = act(d, &d->actions.v[i]);

        if (r == 0)
            continue;
        /* The core believes that it is done, so there is no going on; what is durable suffices to
         * begin again. */
        xvm_log(HA_SEV_ALERT, "cannot carry out an action (kind %d): %s; stopping, guests go on",
                (int)d->actions.v[i].type, strerror(-r));
        xvm_daemon_exit(d, XVM_EXIT_FAILURE);
    }
}

/* -------------------------------------------------------------------------------------- events */

static void set_tick(struct xvm_daemon *d)
{
    ha_ms at = ha_deadline(d->core);

    if (at == INT64_MAX) {
        sd_event_source_set_enabled(d->tick_timer, SD_EVENT_OFF);
        return;
    }
    sd_event_source_set_time(d->tick_timer, at > 0 ? (uint64_t)at * 1000 : 0);
    sd_event_source_set_enabled(d->tick_timer, SD_EVENT_ONESHOT);
}

void xvm_daemon_step(struct xvm_daemon *d, struct ha_event *event)
{
    bool message = event->type == HA_EV_MESSAGE;
    int r;

    if (d->exiting || (!d->started && event->type != HA_EV_START))
        return;
    assert(!d->stepping);
    d->stepping = true;
    event->now = xvm_now_ms();
    if (message)
        xvm_applying_begin(d->applying, event->u.message.data, event->u.message.len);
    r = ha_step(d->core, event, &d->actions);
    if (r < 0) {
        xvm_log(HA_SEV_ALERT, "the core cannot take an event (kind %d): %s; stopping, guests go on",
                (int)event->type, strerror(-r));
        xvm_daemon_exit(d, XVM_EXIT_FAILURE);
    } else {
        carry_out(d);
    }
    if (message)
        xvm_applying_end(d->applying);
    d->stepping = false;
    if (r < 0 || d->exiting)
        return;
    set_tick(d);
    if (event->type != HA_EV_START)
        xvm_daemon_status_changed(d);
}

static int on_tick(sd_event_source *source, uint64_t at, void *user)
{
    struct ha_event event = {.type = HA_EV_TICK};

    (void)source;
    (void)at;
    xvm_daemon_step(user, &event);
    return 0;
}

bool xvm_daemon_disk_needed(void *user)
{
    const struct xvm_daemon *d = user;
    struct ha_status status;

    if (!d->started)
        return true;
    ha_status(d->core, xvm_now_ms(), &status);
    return status.disk_on;
}

void xvm_daemon_event(void *user, struct ha_event *event)
{
    xvm_daemon_step(user, event);
}

void xvm_daemon_command(void *user, const struct ha_request *request)
{
    struct ha_event event = {.type = HA_EV_CLIENT};
    struct xvm_daemon *d = user;

    if (!d->started) {
        xvm_ipc_reply(d->ipc, request->client, -EAGAIN, d->waits_for);
        return;
    }
    event.u.client = request;
    xvm_daemon_step(d, &event);
}

void xvm_daemon_fenced(void *user, uint64_t id, enum ha_result result, const char *text)
{
    struct ha_event event = {.type = HA_EV_FENCE};

    event.u.fence.id = id;
    event.u.fence.result = result;
    event.u.fence.text = text;
    xvm_daemon_step(user, &event);
}

static void on_probed(void *user, uint64_t id, enum ha_probe_result result, const char *text)
{
    struct ha_event event = {.type = HA_EV_PROBE};

    xvm_debug(xvm_debug_whose('p', id), "probe %" PRIu64 " ends, result %d: %s", id,
              (int)result, text ? text : "");
    event.u.probe.id = id;
    event.u.probe.result = result;
    event.u.probe.text = text;
    xvm_daemon_step(user, &event);
}

int xvm_daemon_open_prober(struct xvm_daemon *d)
{
    const char *host = xvm_daemon_host_name(d, d->facts.self);

    return xvm_prober_new(d->loop, d->options.probe_dir, host ? host : "", on_probed, d,
                          &d->prober);
}

static void on_durable(void *user, uint64_t seq)
{
    struct ha_event event = {.type = HA_EV_JOURNALED};

    event.u.journaled.seq = seq;
    xvm_daemon_step(user, &event);
}

static void on_journal_failed(void *user, const char *text)
{
    struct ha_event event = {.type = HA_EV_JOURNAL_FAILED};

    event.u.text = text;
    xvm_daemon_step(user, &event);
}

static void on_done(void *user, uint64_t op, enum ha_result result, const char *text)
{
    struct ha_event event = {.type = HA_EV_GUEST_DONE};

    xvm_debug(xvm_debug_whose('o', op), "operation %" PRIu64 " ends, result %d: %s", op,
              (int)result, text ? text : "");
    event.u.done.op = op;
    event.u.done.result = result;
    event.u.done.text = text;
    xvm_daemon_step(user, &event);
}

static void on_driver_done(void *user, uint64_t op, enum ha_result result, const char *text)
{
    struct xvm_daemon *d = user;

    xvm_migration_ended(d->migration, op, result, text);
    on_done(d, op, result, text);
}

static void on_inventory(void *user, bool known, const struct ha_copy *copies, size_t n,
                         uint64_t memory_kib, ha_ms looked)
{
    struct ha_event event = {.type = HA_EV_INVENTORY};

    if (!known)
        xvm_debug(NULL, "the driver cannot tell what runs here");
    for (size_t i = 0; i < n; i++)
        xvm_debug(copies[i].guest, "seen: %s, incarnation %" PRIu64 ", migration %" PRIu64 "%s%s",
                  xvm_copy_state_name(copies[i].state), copies[i].inc, copies[i].mig,
                  copies[i].worker ? ", worker" : "", copies[i].backends ? ", backends" : "");
    event.u.inventory.known = known;
    event.u.inventory.copies = copies;
    event.u.inventory.ncopies = n;
    event.u.inventory.memory_kib = memory_kib;
    event.u.inventory.looked = looked;
    xvm_daemon_step(user, &event);
}

static void on_exited(void *user, const char *guest, uint64_t inc, enum ha_exit how)
{
    struct ha_event event = {.type = HA_EV_GUEST_EXIT};

    xvm_debug(guest, "incarnation %" PRIu64 " has ended (%d)", inc, (int)how);
    event.u.exit.guest = guest;
    event.u.exit.inc = inc;
    event.u.exit.exit = how;
    xvm_daemon_step(user, &event);
}

static void on_made(void *user, const char *guest, const void *bytes, size_t len,
                    uint64_t need_kib, uint8_t flags)
{
    struct xvm_daemon *d = user;

    xvm_supply_made(d->supply, guest, bytes, len, need_kib, flags);
}

static void on_defined(void *user, const struct ha_definition *definition)
{
    struct ha_event event = {.type = HA_EV_DEFINITION};

    event.u.definition = definition;
    xvm_daemon_step(user, &event);
}

static void on_release(void *user, const struct ha_action *action, const char *why)
{
    struct xvm_daemon *d = user;

    if (why)
        on_done(d, action->u.guest.op, HA_RESULT_FAILED, why);
    else
        start_guest_op(d, action);
}

static void on_arrived(void *user, const struct ha_uuid *hash)
{
    struct xvm_daemon *d = user;

    xvm_register_arrived(d->reg, hash);
}

static bool on_needed(void *user, const struct ha_uuid *hash)
{
    const struct xvm_daemon *d = user;

    return !d->core || !d->reg || ha_bytes_needed(d->core, hash) ||
           xvm_register_needs(d->reg, hash);
}

const struct xvm_supply_sink xvm_daemon_supply_sink = {
    .needed = on_needed,
    .defined = on_defined,
    .release = on_release,
    .arrived = on_arrived,
};

static void on_say(void *user, enum ha_severity severity, const char *guest, const char *text)
{
    (void)user;
    xvm_log(severity, "%s%s%s", guest ? guest : "", guest ? ": " : "", text);
}

const struct xvm_driver_sink xvm_daemon_driver_sink = {
    .made = on_made,
    .done = on_driver_done,
    .inventory = on_inventory,
    .exited = on_exited,
    .say = on_say,
};

static void on_connection(void *user, const struct ha_action *action,
                          const struct xvm_channel *channel)
{
    struct xvm_daemon *d = user;

    d->driver_ops->start(d->driver, action, channel);
}

static void on_transfer(void *user, const struct ha_transfer *transfer)
{
    struct ha_event event = {.type = HA_EV_TRANSFER};

    event.u.transfer = transfer;
    xvm_daemon_step(user, &event);
}

const struct xvm_migration_env xvm_daemon_migration_env = {
    .start = on_connection,
    .done = on_done,
    .transfer = on_transfer,
};

const struct xvm_journal_sink xvm_daemon_journal_sink = {
    .durable = on_durable,
    .failed = on_journal_failed,
};

int xvm_daemon_init(struct xvm_daemon *d)
{
    int r = sd_event_add_time(d->loop, &d->tick_timer, CLOCK_BOOTTIME, 0, 1000, on_tick, d);

    if (r >= 0)
        r = sd_event_source_set_enabled(d->tick_timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(d->loop, &d->status_timer, CLOCK_BOOTTIME, 0, 100000, on_status_timer,
                              d);
    if (r >= 0)
        r = sd_event_source_set_enabled(d->status_timer, SD_EVENT_OFF);
    return r < 0 ? r : 0;
}
