/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of facts and its journal. */
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

/* Kinds of journal records: never renumber. */
enum {
    REC_META = 1,    /* journal uuid, machine id */
    REC_PROMISE = 2, /* epoch */
    REC_ENTRY = 3,   /* epoch, index, fact */
    REC_CUT = 4,     /* index: everything after it is dropped */
    REC_SNAP = 5,    /* key, hash, facts */
};

enum { KEEP_ENTRIES = 2000 };

void ha_log_init(struct ha_log *log, enum ha_mutant mutant)
{
    *log = (struct ha_log){.base_hash = HA_HASH_START};
    ha_facts_init(&log->head, mutant);
    ha_facts_init(&log->snap, mutant);
}

static void drop_entries(struct ha_log *log)
{
    for (size_t i = 0; i < log->n; i++)
        free(log->entries[i].data);
    log->n = 0;
}

void ha_log_done(struct ha_log *log)
{
    drop_entries(log);
    free(log->entries);
    ha_facts_done(&log->head);
    ha_facts_done(&log->snap);
    log->entries = NULL;
    log->size = 0;
}

struct ha_key ha_log_key(const struct ha_log *log)
{
    return log->n ? log->entries[log->n - 1].key : log->base;
}

uint64_t ha_log_head_hash(const struct ha_log *log)
{
    return log->n ? log->entries[log->n - 1].hash : log->base_hash;
}

const struct ha_entry *ha_log_entry(const struct ha_log *log, uint64_t i)
{
    if (i <= log->base.i || i > log->base.i + log->n)
        return NULL;
    return &log->entries[i - log->base.i - 1];
}

bool ha_log_at(const struct ha_log *log, uint64_t i, struct ha_key *ret_key, uint64_t *ret_hash)
{
    const struct ha_entry *entry = ha_log_entry(log, i);
    if (!entry && i != log->base.i)
        return false;
    *ret_key = entry ? entry->key : log->base;
    *ret_hash = entry ? entry->hash : log->base_hash;
    return true;
}

static void journal(struct ha *ha, struct ha_put *put, enum ha_action_type type)
{
    size_t len = 0;
    /* A record behind a gap is worth nothing; the rewrite will have it all. Once that has been handed
     * out, records follow it in order and count when they are durable. */
    bool gap = ha->log.failed && ha->log.retry_seq == 0 && type == HA_ACT_JOURNAL;
    if (ha->log.quiet || gap) {
        ha_put_done(put);
        return;
    }
    const void *data = ha_act_own(ha, put, &len);
    struct ha_action *a = data ? ha_act(ha, type) : NULL;
    if (!a)
        return;
    a->u.journal.seq = ++ha->log.seq;
    a->u.journal.data = data;
    a->u.journal.len = len;
    ha->log.since_rewrite++;
}

static struct ha_put record(uint8_t kind)
{
    struct ha_put put = {0};
    ha_put_u8(&put, kind);
    ha_put_u8(&put, 1); /* version */
    return put;
}

static uint64_t entry_hash(uint64_t before, struct ha_key key, const void *data, size_t len)
{
    struct ha_put put = {0};
    ha_put_epoch(&put, key.e);
    ha_put_u64(&put, key.i);
    uint64_t hash = put.failed ? before : ha_hash(before, put.v, put.n);
    ha_put_done(&put);
    return ha_hash(hash, data, len);
}

static int add_entry(struct ha_log *log, struct ha_epoch e, const void *data, size_t len)
{
    if (log->n == log->size) {
        size_t size = log->size ? log->size * 2 : 64;
        struct ha_entry *v = realloc(log->entries, size * sizeof *v);
        if (!v)
            return -ENOMEM;
        log->entries = v;
        log->size = size;
    }
    uint8_t *copy = malloc(len ? len : 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, data, len);
    struct ha_key key = {e, ha_log_key(log).i + 1};
    uint64_t hash = entry_hash(ha_log_head_hash(log), key, data, len);
    log->entries[log->n++] = (struct ha_entry){key, hash, copy, len};
    return 0;
}

/* Decodes and applies entry i to some facts. */
static int apply_entry(const struct ha_entry *entry, struct ha_facts *facts)
{
    struct ha_fact fact;
    int r = ha_fact_decode(entry->data, entry->len, &fact);
    return r < 0 ? r : ha_facts_apply(facts, &fact, entry->key.i);
}

static struct ha_put entry_record(const struct ha_entry *entry)
{
    struct ha_put put = record(REC_ENTRY);
    ha_put_epoch(&put, entry->key.e);
    ha_put_u64(&put, entry->key.i);
    ha_put_bytes(&put, entry->data, entry->len);
    return put;
}

int ha_log_append(struct ha *ha, struct ha_epoch e, const void *data, size_t len)
{
    struct ha_log *log = &ha->log;
    struct ha_fact fact;
    int r = ha_fact_decode(data, len, &fact);
    if (r < 0)
        return r;
    r = add_entry(log, e, data, len);
    if (r < 0)
        return r;
    const struct ha_entry *entry = &log->entries[log->n - 1];
    struct ha_put put = entry_record(entry);
    journal(ha, &put, HA_ACT_JOURNAL);
    return ha_facts_apply(&log->head, &fact, entry->key.i);
}

/* head = facts at `from` (index i) plus the entries after it. */
static int replay(struct ha_log *log, const struct ha_facts *from, uint64_t i)
{
    int r = ha_facts_copy(&log->head, from);
    uint64_t last = ha_log_key(log).i;
    for (uint64_t j = i + 1; r == 0 && j <= last; j++)
        r = apply_entry(ha_log_entry(log, j), &log->head);
    return r;
}

int ha_log_facts_at(const struct ha *ha, uint64_t i, struct ha_facts *facts)
{
    int r = ha_facts_copy(facts, &ha->stable);
    for (uint64_t j = ha->stable_i + 1; r == 0 && j <= i; j++) {
        const struct ha_entry *entry = ha_log_entry(&ha->log, j);
        if (!entry)
            break;
        r = apply_entry(entry, facts);
    }
    return r;
}

static void cut_entries(struct ha_log *log, uint64_t i)
{
    while (log->n && log->entries[log->n - 1].key.i > i)
        free(log->entries[--log->n].data);
}

int ha_log_cut(struct ha *ha, uint64_t i)
{
    if (ha_log_key(&ha->log).i == i)
        return 0;
    cut_entries(&ha->log, i);
    struct ha_put put = record(REC_CUT);
    ha_put_u64(&put, i);
    journal(ha, &put, HA_ACT_JOURNAL);
    int r = replay(&ha->log, &ha->stable, ha->stable_i);
    ha_guests_dropped(ha);
    return r;
}

static struct ha_put snap_record(struct ha_key key, uint64_t hash, const struct ha_facts *facts)
{
    struct ha_put put = record(REC_SNAP);
    ha_put_epoch(&put, key.e);
    ha_put_u64(&put, key.i);
    ha_put_u64(&put, hash);
    ha_facts_encode(&put, facts);
    return put;
}

int ha_log_snapshot(struct ha *ha, struct ha_key key, uint64_t hash, const struct ha_facts *facts)
{
    struct ha_log *log = &ha->log;
    drop_entries(log);
    log->base = key;
    log->base_hash = hash;
    struct ha_put put = snap_record(key, hash, facts);
    journal(ha, &put, HA_ACT_JOURNAL);
    return ha_facts_copy(&log->head, facts);
}

static struct ha_put promise_record(struct ha_epoch e)
{
    struct ha_put put = record(REC_PROMISE);
    ha_put_epoch(&put, e);
    return put;
}

void ha_log_promise(struct ha *ha, struct ha_epoch e)
{
    ha->log.promised = e;
    struct ha_put put = promise_record(e);
    journal(ha, &put, HA_ACT_JOURNAL);
}

static struct ha_put meta_record(const struct ha_log *log)
{
    struct ha_put put = record(REC_META);
    ha_put_uuid(&put, &log->journal);
    ha_put_uuid(&put, &log->machine);
    return put;
}

void ha_log_meta(struct ha *ha)
{
    struct ha_put put = meta_record(&ha->log);
    ha->log.have_meta = true;
    journal(ha, &put, HA_ACT_JOURNAL);
}

/* Adds a record, behind its length, to the contents of a rewritten journal. */
static void add_record(struct ha_put *all, struct ha_put *put)
{
    if (put->failed)
        all->failed = true;
    ha_put_u32(all, (uint32_t)put->n);
    ha_put_bytes(all, put->v, put->n);
    ha_put_done(put);
}

static uint64_t keep_entries(const struct ha *ha)
{
    return ha->config && ha->config->journal_keep ? ha->config->journal_keep : KEEP_ENTRIES;
}

static void forget_entries(struct ha *ha)
{
    struct ha_log *log = &ha->log;
    uint64_t keep = keep_entries(ha);
    uint64_t keep_from = ha->stable_i > keep ? ha->stable_i - keep : 0;
    size_t drop = 0;
    while (drop < log->n && log->entries[drop].key.i <= keep_from)
        free(log->entries[drop++].data);
    if (!drop)
        return;
    log->base = log->entries[drop - 1].key;
    log->base_hash = log->entries[drop - 1].hash;
    log->n -= drop;
    memmove(log->entries, log->entries + drop, log->n * sizeof *log->entries);
}

void ha_log_compact(struct ha *ha)
{
    if (ha->log.since_rewrite < 2 * keep_entries(ha) || ha->log.failed)
        return;
    ha_log_rewrite(ha);
    forget_entries(ha);
}

void ha_log_rewrite(struct ha *ha)
{
    struct ha_log *log = &ha->log;
    struct ha_key key;
    uint64_t hash;
    if (!ha_log_at(log, ha->stable_i, &key, &hash))
        return;
    struct ha_put all = {0};
    struct ha_put put = meta_record(log);
    add_record(&all, &put);
    put = snap_record(key, hash, &ha->stable);
    add_record(&all, &put);
    for (uint64_t i = ha->stable_i + 1; i <= ha_log_key(log).i; i++) {
        put = entry_record(ha_log_entry(log, i));
        add_record(&all, &put);
    }
    put = promise_record(log->promised);
    add_record(&all, &put);
    journal(ha, &all, HA_ACT_REWRITE);
    log->since_rewrite = 0;
}

static int restore_entry(struct ha *ha, struct ha_get *get)
{
    struct ha_log *log = &ha->log;
    struct ha_epoch e = ha_get_epoch(get);
    uint64_t i = ha_get_u64(get);
    if (get->failed || i != ha_log_key(log).i + 1)
        return -EBADMSG;
    int r = add_entry(log, e, get->p, get->left);
    return r < 0 ? r : apply_entry(&log->entries[log->n - 1], &log->head);
}

static int restore_cut(struct ha *ha, struct ha_get *get)
{
    struct ha_log *log = &ha->log;
    uint64_t i = ha_get_u64(get);
    if (get->failed || i < log->base.i || i > ha_log_key(log).i)
        return -EBADMSG;
    cut_entries(log, i);
    return replay(log, &log->snap, log->base.i);
}

static int restore_snap(struct ha *ha, struct ha_get *get)
{
    struct ha_log *log = &ha->log;
    struct ha_key key;
    key.e = ha_get_epoch(get);
    key.i = ha_get_u64(get);
    uint64_t hash = ha_get_u64(get);
    int r = ha_facts_decode(get, &log->snap);
    if (r < 0)
        return r;
    drop_entries(log);
    log->base = key;
    log->base_hash = hash;
    r = ha_facts_copy(&ha->stable, &log->snap);
    if (r == 0)
        r = ha_facts_copy(&log->head, &log->snap);
    ha->stable_i = key.i;
    return r;
}

int ha_log_restore(struct ha *ha, const void *data, size_t len)
{
    struct ha_get get = {data, len, false};
    uint8_t kind = ha_get_u8(&get);
    (void)ha_get_u8(&get);
    if (get.failed)
        return -EBADMSG;
    struct ha_log *log = &ha->log;
    switch (kind) {
    case REC_META:
        log->journal = ha_get_uuid(&get);
        log->machine = ha_get_uuid(&get);
        log->have_meta = true;
        return get.failed ? -EBADMSG : 0;
    case REC_PROMISE:
        log->promised = ha_get_epoch(&get);
        return get.failed ? -EBADMSG : 0;
    case REC_ENTRY:
        return restore_entry(ha, &get);
    case REC_CUT:
        return restore_cut(ha, &get);
    case REC_SNAP:
        return restore_snap(ha, &get);
    }
    return -EBADMSG;
}
