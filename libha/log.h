/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of facts and its journal: entries, the newest facts, the promise, this host's identity.
 * Owns what must be durable; says so by journal actions. */
#ifndef HA_LOG_H
#define HA_LOG_H

#include "facts.h"
#include "types.h"

struct ha;

struct ha_entry {
    struct ha_key key;
    uint64_t hash; /* of the whole log up to here */
    uint8_t *data;
    size_t len;
};

struct ha_log {
    /* entries first .. first + n - 1; everything before is only known by the base */
    struct ha_key base;
    uint64_t base_hash;
    struct ha_entry *entries;
    size_t n, size;
    struct ha_facts head;

    struct ha_epoch promised;
    bool have_meta;
    struct ha_uuid journal, machine; /* identity of this journal */
    bool snap_restored;
    struct ha_facts snap; /* while restoring */

    uint64_t seq, done; /* journal records handed out, durable */
    size_t since_rewrite;
    bool quiet;  /* changes are not journalled one by one: a rewrite follows */
    bool failed;
    int64_t retry_at;   /* when a rewrite is tried, after a failure */
    uint64_t retry_seq; /* and its number */
};

void ha_log_init(struct ha_log *log, enum ha_mutant mutant);
void ha_log_done(struct ha_log *log);

struct ha_key ha_log_key(const struct ha_log *log);  /* of the last fact */
uint64_t ha_log_head_hash(const struct ha_log *log);
/* The entry with this index; NULL if the log no longer (or not yet) has it. */
const struct ha_entry *ha_log_entry(const struct ha_log *log, uint64_t i);
/* Key and hash at index i, the base included. */
bool ha_log_at(const struct ha_log *log, uint64_t i, struct ha_key *ret_key, uint64_t *ret_hash);

/* Appends a fact, applies it to head and journals it. 0 or -ENOMEM; -EBADMSG/-ENOTSUP: unreadable. */
int ha_log_append(struct ha *ha, struct ha_epoch e, const void *data, size_t len);
/* Drops everything after index i (not below the stable index; the caller checks) and journals it. */
int ha_log_cut(struct ha *ha, uint64_t i);
/* Replaces everything by a snapshot. */
int ha_log_snapshot(struct ha *ha, struct ha_key key, uint64_t hash, const struct ha_facts *facts);
void ha_log_promise(struct ha *ha, struct ha_epoch e);
void ha_log_meta(struct ha *ha);
/* Rewrites the journal when it has grown enough; forgets old stable entries. */
void ha_log_compact(struct ha *ha);
/* The facts at index i (at least the stable one). 0 or -ENOMEM. */
int ha_log_facts_at(const struct ha *ha, uint64_t i, struct ha_facts *facts);
/* Journals everything anew: also the way back after a failure. */
void ha_log_rewrite(struct ha *ha);
int ha_log_restore(struct ha *ha, const void *record, size_t len);

#endif
