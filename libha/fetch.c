/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Getting the base of an epoch from its coordinator: asked for from the stable index on (what is
 * stable is part of every base), answered with log entries or a snapshot, in chunks below CPG's
 * limits. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ha_fetch_stop(struct ha *ha)
{
    for (size_t i = 0; i < ha->nlate; i++)
        free(ha->late[i].data);
    ha->nlate = 0;
    ha->fetching = false;
    ha->fetched.n = 0;
    ha->fetch_total = 0;
}

void ha_fetch_start(struct ha *ha)
{
    ha_fetch_stop(ha);
    ha->fetching = true;
    struct ha_key key = {{0}, 0};
    uint64_t hash = 0;
    if (!ha_log_at(&ha->log, ha->stable_i, &key, &hash)) {
        ha_halt(ha, "the stable part of the log is gone");
        return;
    }
    ha->fetch_from = ha->stable_i;
    struct ha_put put = ha_msg_new(ha, HA_MSG_FETCH);
    ha_msg_put_view(&put, &ha->view);
    ha_put_u64(&put, ha->stable_i);
    ha_put_u64(&put, hash);
    ha_send(ha, &put);
}

/* Facts that are delivered before the base has arrived are kept for later. */
void ha_late_add(struct ha *ha, uint64_t i, const void *data, size_t len)
{
    if (ha->nlate == ha->late_size) {
        size_t size = ha->late_size ? ha->late_size * 2 : 64;
        if (size > HA_LATE_MAX * 2)
            return; /* too slow: this epoch goes on without us, the next `again` mends it */
        struct ha_late *v = realloc(ha->late, size * sizeof *v);
        if (!v) {
            ha->nomem = true;
            return;
        }
        ha->late = v;
        ha->late_size = size;
    }
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy) {
        ha->nomem = true;
        return;
    }
    memcpy(copy, data, len);
    ha->late[ha->nlate++] = (struct ha_late){i, copy, len};
}

static void put_entries(struct ha *ha, struct ha_put *put, uint64_t from)
{
    uint64_t last = ha_log_key(&ha->log).i;
    ha_put_u32(put, (uint32_t)(last - from));
    for (uint64_t i = from + 1; i <= last; i++) {
        const struct ha_entry *entry = ha_log_entry(&ha->log, i);
        ha_put_epoch(put, entry->key.e);
        ha_put_u32(put, (uint32_t)entry->len);
        ha_put_bytes(put, entry->data, entry->len);
    }
}

enum { FETCH_MOST = 64 * 1024 * 1024 };

enum { FROM_LOG, FROM_SNAPSHOT, FROM_OTHER /* what is stable there is something else here */ };

/* The answer: u8 snapshot?, [key, hash, facts], entries. It ends with our newest fact: what comes
 * after it in the agreed order, the asker delivers itself. */
static struct ha_put answer(struct ha *ha, uint64_t from, uint64_t hash)
{
    struct ha_put put = {0};
    struct ha_key key;
    uint64_t own;
    bool have = ha_log_at(&ha->log, from, &key, &own);
    if (have && own == hash) {
        ha_put_u8(&put, FROM_LOG);
        put_entries(ha, &put, from);
        return put;
    }
    ha_put_u8(&put, have ? FROM_OTHER : FROM_SNAPSHOT);
    if (!ha_log_at(&ha->log, ha->stable_i, &key, &own)) {
        put.failed = true;
        return put;
    }
    ha_put_epoch(&put, key.e);
    ha_put_u64(&put, key.i);
    ha_put_u64(&put, own);
    ha_facts_encode(&put, &ha->stable);
    put_entries(ha, &put, key.i);
    return put;
}

void ha_fetch_deliver(struct ha *ha, const struct ha_msg_head *head, struct ha_get *get)
{
    struct ha_view_id view = ha_msg_get_view(get);
    uint64_t from = ha_get_u64(get);
    uint64_t hash = ha_get_u64(get);
    if (get->failed || !ha_view_eq(&view, &ha->view) || ha->closed || ha->coord != ha->self ||
        ha->coord_instance != ha->instance || !ha->opened)
        return;
    struct ha_put all = answer(ha, from, hash);
    for (size_t at = 0; at < all.n && !all.failed; at += HA_CHUNK) {
        size_t len = all.n - at < HA_CHUNK ? all.n - at : HA_CHUNK;
        struct ha_put put = ha_msg_new(ha, HA_MSG_CHUNK);
        ha_msg_put_view(&put, &view);
        ha_put_u64(&put, head->instance);
        ha_put_u32(&put, (uint32_t)all.n);
        ha_put_u32(&put, (uint32_t)at);
        ha_put_u32(&put, (uint32_t)len);
        ha_put_bytes(&put, all.v + at, len);
        ha_send(ha, &put);
    }
    if (all.failed)
        ha->nomem = true;
    ha_put_done(&all);
}

static int take_snapshot(struct ha *ha, struct ha_get *get)
{
    struct ha_key key;
    key.e = ha_get_epoch(get);
    key.i = ha_get_u64(get);
    uint64_t hash = ha_get_u64(get);
    struct ha_facts facts;
    ha_facts_init(&facts, ha->mutant);
    int r = ha_facts_decode(get, &facts);
    /* what is taken becomes stable here: first it must be what the open named */
    if (r == 0 && (key.i < ha->stable_i ||
                   (key.i == ha->base.i && hash != ha->base_hash)))
        r = -EBADMSG;
    if (r == 0) {
        r = ha_log_snapshot(ha, key, hash, &facts);
        ha->stable_i = key.i;
    }
    if (r == 0)
        r = ha_facts_copy(&ha->stable, &facts);
    ha_facts_done(&facts);
    return r;
}

/* What we have already stays: nothing that was acknowledged may leave the journal before its
 * replacement is in it, so the tail is cut only where it differs. */
static int take_entry(struct ha *ha, uint64_t i, struct ha_epoch e, const void *data, size_t len)
{
    const struct ha_entry *own = ha_log_entry(&ha->log, i);
    if (own && ha_epoch_cmp(own->key.e, e) == 0 && own->len == len &&
        memcmp(own->data, data, len) == 0)
        return 0;
    int r = own ? ha_log_cut(ha, i - 1) : 0;
    return r < 0 ? r : ha_log_append(ha, e, data, len);
}

static int take_entries(struct ha *ha, struct ha_get *get, uint64_t from)
{
    size_t n = ha_get_u32(get);
    for (size_t k = 0; k < n; k++) {
        struct ha_epoch e = ha_get_epoch(get);
        size_t len = ha_get_u32(get);
        const void *data = ha_get_bytes(get, len);
        if (!data)
            return -EBADMSG;
        int r = take_entry(ha, from + k + 1, e, data, len);
        if (r < 0)
            return r;
    }
    if (get->failed)
        return -EBADMSG;
    return ha_log_cut(ha, from + n); /* what is left of a longer tail */
}

/* A snapshot and what follows it reach the journal in one piece. */
static int take_all(struct ha *ha, struct ha_get *get)
{
    ha->log.quiet = true;
    int r = take_snapshot(ha, get);
    if (r == 0)
        r = take_entries(ha, get, ha->stable_i);
    ha->log.quiet = false;
    ha_log_rewrite(ha);
    return r;
}

static void take(struct ha *ha)
{
    struct ha_get get = {ha->fetched.v, ha->fetched.n, false};
    uint8_t kind = ha_get_u8(&get);
    if (kind == FROM_OTHER) {
        ha_halt(ha, "what is stable here is something else at the coordinator");
        return;
    }
    int r = kind == FROM_SNAPSHOT ? take_all(ha, &get) : take_entries(ha, &get, ha->fetch_from);
    if (r == -ENOMEM)
        ha->nomem = true;
    struct ha_key key;
    uint64_t hash;
    ha_guests_dropped(ha);
    bool right = ha_log_key(&ha->log).i >= ha->base.i &&
                 (!ha_log_at(&ha->log, ha->base.i, &key, &hash) || hash == ha->base_hash);
    if (r < 0 || !right) {
        /* stay without a base: nothing is acknowledged, and `again` comes */
        ha_report(ha, HA_REPORT_SYNC, HA_SEV_ERROR, ha->coord, NULL,
                  "the log fetched from %s is not readable here", ha_host_name(ha, ha->coord));
        ha->fetched.n = 0;
        return;
    }
    ha_report(ha, HA_REPORT_SYNC, HA_SEV_INFO, ha->coord, NULL, "fetched the log up to fact %lu",
              (unsigned long)ha_log_key(&ha->log).i);
    ha->quiet_i = ha_log_key(&ha->log).i;
    if (ha_local_room(ha) < 0 || ha_desk_room(ha) < 0)
        ha->nomem = true;
    ha->fetching = false;
    ha_open_based(ha);
}

void ha_chunk_deliver(struct ha *ha, ha_node from, const struct ha_msg_head *head,
                      struct ha_get *get)
{
    struct ha_view_id view = ha_msg_get_view(get);
    uint64_t instance = ha_get_u64(get);
    uint32_t total = ha_get_u32(get);
    uint32_t at = ha_get_u32(get);
    uint32_t len = ha_get_u32(get);
    const void *data = ha_get_bytes(get, len);
    if (!data || !ha_view_eq(&view, &ha->view) || !ha->fetching || instance != ha->instance)
        return;
    if (from != ha->coord || head->instance != ha->coord_instance || total > FETCH_MOST)
        return;
    if (at == 0)
        ha->fetched.n = 0;
    if (at != ha->fetched.n || total < at || total - at < len)
        return;
    ha->fetch_total = total;
    ha->phase_since = ha->now; /* it moves: not silent */
    ha_put_bytes(&ha->fetched, data, len);
    if (ha->fetched.failed)
        ha->nomem = true;
    else if (ha->fetched.n == total)
        take(ha);
}
