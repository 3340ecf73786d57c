/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The door: a core is made, fed events, and asked when it wants to be woken. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT_PATIENCE = 10000, JOURNAL_RETRY = 5000 };

struct ha *ha_new(enum ha_mutant mutant)
{
    struct ha *ha = calloc(1, sizeof *ha);
    if (!ha)
        return NULL;
    ha->placing = ha_placing_new();
    if (!ha->placing) {
        free(ha);
        return NULL;
    }
    ha->mutant = mutant;
    ha->deadline = INT64_MAX;
    ha->lease_until = INT64_MIN;
    ha_log_init(&ha->log, mutant);
    ha_facts_init(&ha->stable, mutant);
    ha_facts_init(&ha->prop, mutant);
    return ha;
}

struct ha *ha_free(struct ha *ha)
{
    if (!ha)
        return NULL;
    ha_fetch_stop(ha);
    ha_log_done(&ha->log);
    ha_facts_done(&ha->stable);
    ha_facts_done(&ha->prop);
    ha_put_done(&ha->batch);
    ha_put_done(&ha->fetched);
    for (size_t i = 0; i < ha->nmembers; i++)
        free(ha->members[i].copies);
    free(ha->late);
    ha_probes_forget(ha, 0);
    free(ha->locals);
    free(ha->marks);
    free(ha->offers);
    free(ha->strays);
    free(ha->desks);
    free(ha->config_guest);
    free(ha->names);
    free(ha->guest_of);
    ha_placing_free(ha->placing);
    free(ha);
    return NULL;
}

int ha_restore(struct ha *ha, const void *record, size_t len)
{
    return ha->started ? -EINVAL : ha_log_restore(ha, record, len);
}

static int start(struct ha *ha, const struct ha_event *event)
{
    ha->started = true;
    ha->self = event->u.start.node;
    ha->boot = event->u.start.boot;
    ha->machine = event->u.start.machine;
    ha->fresh_cluster = event->u.start.fresh_cluster;
    ha->config = event->u.start.config;
    size_t n = event->u.start.nmarks;
    if (n) {
        ha->marks = malloc(n * sizeof *ha->marks);
        if (!ha->marks)
            return -ENOMEM;
        memcpy(ha->marks, event->u.start.marks, n * sizeof *ha->marks);
        ha->nmarks = n;
    }
    if (!ha->log.have_meta) {
        ha->log.journal = event->u.start.fresh_journal;
        ha->log.machine = ha->machine;
        ha_log_meta(ha);
    }
    ha->quiet_i = ha_log_key(&ha->log).i;
    /* until a keeper tells: an earlier daemon's lease may hold that long, and no longer */
    ha->lapse_at = ha->now + ha->config->timers.lease;
    ha->disk_t = -1;
    ha->bound_at = INT64_MAX;
    if (!ha_uuid_eq(&ha->log.machine, &ha->machine))
        ha_report(ha, HA_REPORT_FOREIGN, HA_SEV_ALERT, ha->self, NULL,
                  "the journal was written by another machine: remove it if this host replaces "
                  "that one");
    ha_keeper_orders(ha);
    return ha_local_room(ha) < 0 || ha_desk_room(ha) < 0 ? -ENOMEM : 0;
}

static void joined(struct ha *ha, const struct ha_event *event)
{
    if (ha->connected)
        ha_view_disconnected(ha);
    ha->connected = true;
    ha->instance = event->u.joined.instance;
    ha->pid = event->u.joined.pid;
    ha->established = false;
}

static void deliver(struct ha *ha, const struct ha_event *event)
{
    struct ha_get get = {event->u.message.data, event->u.message.len, false};
    struct ha_msg_head head;
    int r = ha_msg_get_head(&get, &head);
    ha_node from = event->u.message.from.node;
    struct ha_member *m = ha_member(ha, from, false);
    if (r == -ENOTSUP && m && !m->foreign_said) {
        m->foreign_said = true;
        ha_report(ha, HA_REPORT_FOREIGN, HA_SEV_WARNING, from, NULL,
                  "%s speaks another version of the protocol: it takes no part until both run "
                  "the same", ha_host_name(ha, from));
    }
    if (r < 0 || !m || !m->present || ha->phase == HA_PHASE_START)
        return;
    /* rule 2: from a process that has not reported in this view only a report counts */
    bool known = m->instance == head.instance && m->instance != 0;
    switch (head.kind) {
    case HA_MSG_REPORT:
        ha_view_report(ha, m, &head, &get);
        break;
    case HA_MSG_OPEN:
        ha_open_deliver(ha, m, &head, &get);
        break;
    case HA_MSG_AGAIN:
        ha_view_again(ha, &head, &get);
        break;
    case HA_MSG_ACK:
        if (known)
            ha_ack_deliver(ha, m, &get);
        break;
    case HA_MSG_FACT:
        ha_fact_deliver(ha, from, &head, &get);
        break;
    case HA_MSG_TELL:
        if (known)
            ha_tell_deliver(ha, m, &get);
        break;
    case HA_MSG_FETCH:
        if (known)
            ha_fetch_deliver(ha, &head, &get);
        break;
    case HA_MSG_CHUNK:
        ha_chunk_deliver(ha, from, &head, &get);
        break;
    case HA_MSG_CHAIR: {
        struct ha_epoch e = ha_get_epoch(&get);
        if (!get.failed && ha_stamp(ha, e) && from == ha->coord &&
            head.instance == ha->coord_instance) {
            ha->coord_heard = ha->now;
            ha->silent = false;
        } else {
            ha_view_outside(ha);
        }
        break;
    }
    case HA_MSG_ASK:
        ha_ask_deliver(ha, from, &head, &get);
        break;
    case HA_MSG_ANSWER:
        ha_answer_deliver(ha, &get);
        break;
    case HA_MSG_TRANSFER:
        if (known)
            ha_transfer_deliver(ha, from, &get);
        break;
    case HA_MSG_KNOWS:
        if (known)
            ha_knows_deliver(ha, m, &get);
        break;
    }
}

static void new_config(struct ha *ha, const struct ha_config *config)
{
    ha_knows_before(ha);
    ha->config = config;
    ha->register_due = ha->decide_due = ha->acts_due = true;
    ha_probes_forget(ha, 0); /* they may be others now */
    ha_index_config(ha);
    ha_knows_config(ha);
}

static void journal_failed(struct ha *ha, const char *text)
{
    ha->log.retry_at = ha->now + JOURNAL_RETRY;
    ha->log.retry_seq = 0;
    ha_wake(ha, ha->log.retry_at);
    if (ha->log.failed)
        return;
    ha->log.failed = ha->acts_due = true;
    if (ha_is_coordinator(ha))
        ha_again(ha, "the coordinator cannot write its journal");
    ha_report(ha, HA_REPORT_JOURNAL, HA_SEV_ALERT, ha->self, NULL,
              "the journal cannot be written (%s): this host is not synced and acknowledges nothing; "
              "it tries again every %d s",
              text ? text : "no reason given", JOURNAL_RETRY / 1000);
}

/* A whole journal, written anew, heals one that could not be written. */
static void journal_tick(struct ha *ha)
{
    struct ha_log *log = &ha->log;
    if (!log->failed || log->retry_seq)
        return;
    if (ha->now < log->retry_at) {
        ha_wake(ha, log->retry_at);
        return;
    }
    log->retry_seq = log->seq + 1;
    ha_log_rewrite(ha);
}

static void journaled(struct ha *ha, uint64_t seq)
{
    struct ha_log *log = &ha->log;
    if (log->failed && (log->retry_seq == 0 || seq < log->retry_seq))
        return;
    if (log->failed) {
        log->failed = false;
        ha->acts_due = true;
        ha_report(ha, HA_REPORT_JOURNAL, HA_SEV_NOTICE, ha->self, NULL,
                  "the journal is written again");
        if (ha->phase != HA_PHASE_START)
            ha_again(ha, "the journal is back");
    }
    log->done = seq > log->done ? seq : log->done;
    ha->decide_due |= ha->half;
}

static int dispatch(struct ha *ha, const struct ha_event *event)
{
    switch (event->type) {
    case HA_EV_START:
        return start(ha, event);
    case HA_EV_TICK:
        ha->decide_due = ha->acts_due = true;
        break;
    case HA_EV_JOINED:
        joined(ha, event);
        break;
    case HA_EV_DISCONNECTED:
        ha_view_disconnected(ha);
        break;
    case HA_EV_GROUP:
        ha_view_event_group(ha, event);
        break;
    case HA_EV_RING:
        ha_view_event_ring(ha, event);
        break;
    case HA_EV_QUORUM:
        ha_view_event_quorum(ha, event);
        break;
    case HA_EV_MESSAGE:
        deliver(ha, event);
        break;
    case HA_EV_JOURNALED:
        journaled(ha, event->u.journaled.seq);
        break;
    case HA_EV_JOURNAL_FAILED:
        journal_failed(ha, event->u.text);
        break;
    case HA_EV_KEEPER:
        ha_keeper_event(ha, event);
        break;
    case HA_EV_INVENTORY:
        ha_acts_inventory(ha, event);
        break;
    case HA_EV_GUEST_DONE:
        ha_acts_done(ha, event);
        break;
    case HA_EV_GUEST_EXIT:
        ha_acts_exit(ha, event);
        break;
    case HA_EV_FENCE:
        ha_fence_event(ha, event);
        break;
    case HA_EV_CLIENT:
        ha_client_event(ha, event->u.client);
        break;
    case HA_EV_CONFIG:
        new_config(ha, event->u.config);
        break;
    case HA_EV_DEFINITION:
        ha->nomem |= ha_defs_offer(ha, event->u.definition) < 0;
        break;
    case HA_EV_PROBE:
        ha_probe_event(ha, event);
        break;
    case HA_EV_CONFIG_TAKEN:
        ha_config_taken(ha, event->u.taken.at);
        break;
    case HA_EV_TRANSFER:
        ha_transfer_event(ha, event->u.transfer);
        break;
    case HA_EV_SHUTDOWN:
        ha_leave_event(ha, event);
        break;
    }
    return 0;
}

static void clients_tick(struct ha *ha)
{
    for (size_t i = 0; i < ha->nclients;) {
        if (ha->now < ha->clients[i].since + CLIENT_PATIENCE) {
            ha_wake(ha, ha->clients[i].since + CLIENT_PATIENCE);
            i++;
            continue;
        }
        ha_client_give_up(ha, i);
    }
    ha_clients_send(ha);
}

int ha_step(struct ha *ha, const struct ha_event *event, struct ha_actions *actions)
{
    ha_actions_clear(actions);
    if (ha->started == (event->type == HA_EV_START))
        return -EINVAL;
    ha->out = actions;
    ha->now = event->now > ha->now ? event->now : ha->now;
    ha->nomem = false;
    /* what was due stays due; ha_wake() below only brings it forward, passed times are looked at anew */
    if (ha->deadline <= ha->now) {
        ha->deadline = INT64_MAX;
        ha->decide_due = ha->acts_due = true;
    }
    int r = ha->halted ? 0 : dispatch(ha, event);
    if (r == 0 && ha->started && !ha->halted) {
        ha_view_tick(ha);
        ha_open_try(ha);
        ha_ack_flush(ha);
        ha_acts(ha);
        ha_ack_flush(ha);
        ha_decide(ha);
        clients_tick(ha);
        journal_tick(ha);
    }
    ha->out = NULL;
    return r < 0 ? r : ha->nomem ? -ENOMEM : 0;
}

ha_ms ha_deadline(const struct ha *ha)
{
    return ha->deadline;
}
