/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The coordinator: proposals in batches, and what hosts tell it. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------- proposing */

/* In a rolling upgrade a kind of fact is used only when every host that is here can read it. */
static bool everybody_reads(const struct ha *ha, enum ha_fact_kind kind)
{
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].present && ha->members[i].reported &&
            (unsigned)kind >= ha->members[i].report.fact_kinds)
            return false;
    return true;
}

/* Proposals read the newest log and what was proposed before them (rule 6): each is applied to a copy
 * at once. False if the fact does not fit, or the batch cannot take it now. */
bool ha_propose(struct ha *ha, const struct ha_fact *fact)
{
    if (!ha_facts_fits(&ha->prop, fact) || !everybody_reads(ha, fact->kind))
        return false;
    size_t at = ha->batch.n;
    ha_put_u32(&ha->batch, 0);
    ha_fact_encode(&ha->batch, fact);
    ha_put_patch_u32(&ha->batch, at, (uint32_t)(ha->batch.n - at - 4));
    if (ha->batch.failed || ha_facts_apply(&ha->prop, fact, ha->prop_i + 1) < 0) {
        ha->nomem = true;
        return false;
    }
    ha->prop_i++;
    ha->batch_n++;
    return true;
}

static void send_facts(struct ha *ha, uint64_t first, uint32_t n, const void *data, size_t len)
{
    struct ha_put put = ha_msg_new(ha, HA_MSG_FACT);
    ha_put_epoch(&put, ha->e);
    ha_put_u64(&put, first);
    ha_put_u32(&put, n);
    ha_put_bytes(&put, data, len);
    ha_send(ha, &put);
}

/* One batch is outstanding at a time; a large one goes out in several messages. */
static void send_batch(struct ha *ha)
{
    const uint8_t *v = ha->batch.v;
    size_t from = 0, at = 0;
    uint64_t first = ha->batch_first;
    uint32_t n = 0;
    while (at < ha->batch.n) {
        size_t len = 4 + (v[at] | (size_t)v[at + 1] << 8 | (size_t)v[at + 2] << 16 |
                          (size_t)v[at + 3] << 24);
        if (n && at + len - from > HA_CHUNK) {
            send_facts(ha, first, n, v + from, at - from);
            first += n;
            n = 0;
            from = at;
        }
        at += len;
        n++;
    }
    if (n)
        send_facts(ha, first, n, v + from, at - from);
    ha->outstanding = ha->batch_n > 0;
    ha->batch.n = 0;
    ha->batch_n = 0;
}

static void decide_begin(struct ha *ha)
{
    struct ha_fact fact = {.kind = HA_FACT_BEGIN, .host = ha->self};
    if (ha_uuid_zero(&ha->prop.cluster)) {
        fact.kind = HA_FACT_FOUND;
        fact.cluster = ha->fresh_cluster;
        fact.tbl = 1;
        for (size_t i = 0; i < ha->config->nhosts; i++) {
            const struct ha_member *m = ha_member(ha, ha->config->hosts[i].node, false);
            if (!m || !m->reported)
                return; /* its journal is not known: the founding fails, init can be repeated */
            fact.voters[fact.nvoters++] =
                (struct ha_voter){m->node, m->report.machine, m->report.journal};
        }
    }
    ha_propose(ha, &fact);
}

void ha_decide(struct ha *ha)
{
    if (!ha->decide_due || ha->outstanding || ha->halted || ha->fetching)
        return;
    ha->decide_due = false;
    if (!ha_is_coordinator(ha) || (!ha_quorate(ha) && HA_GUARD(ha, QUORUM))) {
        ha_fence_launch(ha); /* of the coordinator itself, by an operator's order */
        return;
    }
    if (ha_facts_copy(&ha->prop, &ha->log.head) < 0 || ha_desk_room(ha) < 0) {
        ha->nomem = true;
        return;
    }
    ha->prop_i = ha_log_key(&ha->log).i;
    ha->batch_first = ha->prop_i + 1;
    if (ha_epoch_cmp(ha_log_key(&ha->log).e, ha->e) != 0)
        decide_begin(ha); /* rule 5: an open coordinator's first fact */
    if (!ha_uuid_zero(&ha->prop.cluster)) {
        ha_freeze_update(ha);
        ha_decide_hosts(ha);
        ha_decide_asks(ha);
        if (!ha->half)
            ha_decide_guests(ha);
        if (!ha->half)
            ha_decide_chair(ha);
    }
    send_batch(ha);
    ha_fence_launch(ha);
}

/* -------------------------------------------------------------------------------------- desks */

void ha_desk_reset(struct ha *ha)
{
    for (size_t i = 0; i < ha->ndesks; i++) {
        struct ha_desk *desk = &ha->desks[i];
        *desk = (struct ha_desk){.not_before = desk->not_before,
                                 .cancel_mig = desk->cancel_mig,
                                 .move_after = desk->move_after,
                                 .move_fails = desk->move_fails,
                                 .held_since = desk->held_since,
                                 .starting_inc = desk->starting_inc,
                                 .up_inc = desk->up_inc,
                                 .up_since = desk->up_since};
    }
    for (size_t i = 0; i < HA_HOSTS_MAX; i++) {
        ha->host_desks[i].tell_valid = false;
        ha->host_desks[i].result_told = false;
        ha->host_desks[i].under_way_told = ha->host_desks[i].announced = false;
        ha->host_desks[i].live = 0;
        ha->host_desks[i].ours = false;
        ha->host_desks[i].confirm = ha->host_desks[i].replace = false;
        ha->host_desks[i].order = ha->host_desks[i].calm = false;
    }
    ha->nasks = 0;
}

static size_t name_slot(const struct ha *ha, const char *name)
{
    size_t at = ha_hash(HA_HASH_START, name, strnlen(name, HA_NAME_MAX)) & (ha->names_size - 1);
    const struct ha_guest_fact *g = ha->log.head.guests;
    while (ha->names[at] && strcmp(g[ha->names[at] - 1].name, name) != 0)
        at = (at + 1) & (ha->names_size - 1);
    return at;
}

static bool build_names(struct ha *ha)
{
    size_t n = ha->log.head.nguests, size = 64;
    while (size < n * 2)
        size *= 2;
    uint32_t *v = calloc(size, sizeof *v);
    if (!v) {
        ha->nomem = true;
        return false;
    }
    free(ha->names);
    ha->names = v;
    ha->names_size = size;
    ha->names_for = n;
    for (uint32_t i = 0; i < n; i++)
        v[name_slot(ha, ha->log.head.guests[i].name)] = i + 1;
    return true;
}

uint32_t ha_guest_index(struct ha *ha, const char *name)
{
    if ((!ha->names || ha->names_for != ha->log.head.nguests) && !build_names(ha))
        return UINT32_MAX;
    uint32_t found = ha->names[name_slot(ha, name)];
    return found ? found - 1 : UINT32_MAX;
}

/* Room on the desk for every guest of the newest facts, and their place in the configuration. */
int ha_desk_room(struct ha *ha)
{
    size_t n = ha->log.head.nguests > ha->stable.nguests ? ha->log.head.nguests
                                                         : ha->stable.nguests;
    if (n > ha->ndesks) {
        struct ha_desk *v = realloc(ha->desks, n * sizeof *v);
        if (!v)
            return -ENOMEM;
        ha->desks = v;
        int *index = realloc(ha->config_guest, n * sizeof *index);
        if (!index)
            return -ENOMEM;
        ha->config_guest = index;
        memset(v + ha->ndesks, 0, (n - ha->ndesks) * sizeof *v);
        ha->ndesks = n;
        ha_index_config(ha);
        for (size_t i = 0; i < ha->nmembers; i++)
            for (size_t j = 0; j < ha->members[i].ncopies; j++)
                ha_guest_reported(ha, &ha->members[i], &ha->members[i].copies[j]);
    }
    return 0;
}

/* After a new configuration, or when the log was replaced. */
void ha_index_config(struct ha *ha)
{
    ha_placing_forget(ha);
    if (ha->config->nguests) {
        uint32_t *v = realloc(ha->guest_of, ha->config->nguests * sizeof *v);
        if (!v) {
            ha->nomem = true;
            return;
        }
        ha->guest_of = v;
    }
    ha->nguest_of = ha->config->nguests;
    for (size_t i = 0; i < ha->ndesks; i++)
        ha->config_guest[i] = -1;
    for (size_t i = 0; i < ha->config->nguests; i++) {
        uint32_t guest = ha_guest_index(ha, ha->config->guests[i].name);
        ha->guest_of[i] = guest < ha->ndesks ? guest : UINT32_MAX;
        if (guest < ha->ndesks)
            ha->config_guest[guest] = (int)i;
    }
}

uint32_t ha_guest_of(const struct ha *ha, uint32_t config_guest)
{
    return config_guest < ha->nguest_of ? ha->guest_of[config_guest] : UINT32_MAX;
}

/* -------------------------------------------------------------------------------------- tells */

static void copy_there(const struct ha *ha, struct ha_desk *desk, const struct ha_member *m,
                       uint64_t inc, bool running)
{
    desk->copies |= 1ULL << (m - ha->members);
    desk->copy_on = m->node;
    desk->copy_inc = inc;
    desk->copy_running = running;
}

static void copy_gone(const struct ha *ha, struct ha_desk *desk, const struct ha_member *m)
{
    desk->copies &= ~(1ULL << (m - ha->members));
    if (desk->copy_on == m->node)
        desk->copy_on = 0; /* the next view names another one, if there is */
}

static void tell_guest(struct ha *ha, struct ha_member *m, const struct ha_tell *t)
{
    if (ha_desk_room(ha) < 0 || t->guest >= ha->ndesks)
        return;
    struct ha_desk *desk = &ha->desks[t->guest];
    switch (t->kind) {
    case HA_TELL_RUNNING:
    case HA_TELL_STOPPED:
        desk->tell = *t;
        desk->tell_from = m->node;
        if (t->kind == HA_TELL_STOPPED && t->how == HA_RELEASE_OTHER)
            copy_there(ha, desk, m, 0, false); /* what it is, it tells once it is free */
        else if (t->kind == HA_TELL_STOPPED)
            copy_gone(ha, desk, m);
        break;
    case HA_TELL_PREPARED:
        desk->mig_tell = *t;
        desk->mig_from = m->node;
        break;
    case HA_TELL_MIG_FAILED:
        desk->mig_bad = true;
        desk->mig_runs = (desk->mig_runs && desk->mig_bad_id == t->mig) ||
                         t->how == HA_COPY_RUNNING;
        desk->mig_bad_id = t->mig;
        break;
    case HA_TELL_COPY:
        copy_there(ha, desk, m, t->inc, t->how == HA_COPY_RUNNING);
        break;
    case HA_TELL_VACATED:
        desk->vacated = m->node;
        copy_gone(ha, desk, m);
        break;
    case HA_TELL_GONE:
        copy_gone(ha, desk, m);
        break;
    case HA_TELL_DEFINE:
        if (!desk->defined || t->mig)
            desk->define = *t;
        desk->defined = true;
        break;
    case HA_TELL_STOP_PHASE:
        desk->stop = *t;
        desk->stop_end = ha->now + t->level;
        break;
    case HA_TELL_HEALTH:
        desk->health = *t;
        break;
    case HA_TELL_FENCE:
    case HA_TELL_LEAVING:
    case HA_TELL_HOST:
    case HA_TELL_BOUND:
        break;
    }
}

static void tell_host(struct ha *ha, struct ha_member *m, const struct ha_tell *t)
{
    if (t->kind == HA_TELL_LEAVING) {
        m->leaving = t->how == HA_LEAVING_NOW;
        m->going = true;
    } else if (t->kind == HA_TELL_HOST) {
        m->report.inventory = t->how & HA_HOST_INVENTORY;
        m->report.keeper = t->how & HA_HOST_KEEPER;
        m->report.no_journal = t->how & HA_HOST_NO_JOURNAL;
        m->report.armed = t->how & HA_HOST_ARMED;
        m->report.frozen = t->how & HA_HOST_FROZEN;
        m->report.nguests = t->guest;
        m->report.memory_kib = t->inc;
        m->report.config_hash = t->mig;
        m->report.look = t->look;
        m->disk_told = true;
        m->disk_ok = t->how & HA_HOST_DISK;
        m->disk_id = t->boot;
    } else if (t->kind == HA_TELL_BOUND) {
        m->bound_gen = t->loss;
        m->bound_ms = (ha_ms)t->inc;
    } else if (t->kind == HA_TELL_FENCE) {
        for (size_t i = 0; i < ha->log.head.nhosts; i++) {
            if (ha->log.head.hosts[i].node != t->host)
                continue;
            ha->host_desks[i].tell = *t;
            ha->host_desks[i].tell_from = m->node;
            ha->host_desks[i].tell_valid = true;
            ha_fence_told(ha, &ha->host_desks[i], m->node, t);
        }
    }
}

void ha_tell_deliver(struct ha *ha, struct ha_member *m, struct ha_get *get)
{
    struct ha_epoch e = ha_get_epoch(get);
    struct ha_tell t = {0};
    ha_msg_get_tell(get, &t);
    if (get->failed || !ha_stamp(ha, e) || m->left)
        return;
    if (t.kind == HA_TELL_FENCE || t.kind == HA_TELL_LEAVING || t.kind == HA_TELL_HOST ||
        t.kind == HA_TELL_BOUND)
        tell_host(ha, m, &t);
    else
        tell_guest(ha, m, &t);
    ha->decide_due = true;
}

void ha_tell_send(struct ha *ha, const struct ha_tell *tell)
{
    struct ha_put put = ha_msg_new(ha, HA_MSG_TELL);
    ha_put_epoch(&put, ha->e);
    ha_msg_put_tell(&put, tell);
    ha_send(ha, &put);
}

void ha_tell_fence(struct ha *ha, ha_node node, const struct ha_uuid *boot, uint32_t loss,
                   uint32_t level, uint8_t how)
{
    struct ha_tell t = {.kind = HA_TELL_FENCE,
                        .host = node,
                        .boot = *boot,
                        .loss = loss,
                        .level = level,
                        .how = how};
    ha_tell_send(ha, &t);
}
