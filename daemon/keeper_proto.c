/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the packets between daemon and keeper; see keeper_proto.h. Little endian, lengths checked.
 */
#include "keeper_proto.h"

#include <errno.h>
#include <string.h>

enum {
    MAGIC_HELLO = 0x484d5658,  /* "XVMH" */
    MAGIC_ORDERS = 0x4f4d5658, /* "XVMO" */
    MAGIC_STATE = 0x534d5658,  /* "XVMS" */
    MAGIC_WORD = 0x444d5658,   /* "XVMD" */
    MAGIC_ANSWER = 0x414d5658, /* "XVMA" */
    VERSION = 1,
    ORDERS_FENCE_ONLY = 1,
    ORDERS_QUORATE = 2,
    ORDERS_EMPTY = 4,
    ORDERS_DISARM = 8,
    ORDERS_FROZEN = 64, /* behind the two bits of the disk's */
    STATE_ARMED = 1,
    STATE_PILLED = 2,
    ORDERS_DISK_AT = 16, /* disk orders are so many times their value in the flags */
    STATE_FROZEN = 4,
};

struct writer {
    unsigned char *at;
};

struct reader {
    const unsigned char *at, *end;
    bool bad;
};

static void put(struct writer *w, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *w->at++ = (unsigned char)(value >> (8 * i));
}

static void put_uuid(struct writer *w, const struct ha_uuid *uuid)
{
    memcpy(w->at, uuid->b, sizeof(uuid->b));
    w->at += sizeof(uuid->b);
}

static uint64_t get(struct reader *r, size_t bytes)
{
    uint64_t value = 0;

    if ((size_t)(r->end - r->at) < bytes) {
        r->bad = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)*r->at++ << (8 * i);
    return value;
}

static void get_uuid(struct reader *r, struct ha_uuid *ret_uuid)
{
    if ((size_t)(r->end - r->at) < sizeof(ret_uuid->b)) {
        r->bad = true;
        return;
    }
    memcpy(ret_uuid->b, r->at, sizeof(ret_uuid->b));
    r->at += sizeof(ret_uuid->b);
}

static bool get_head(struct reader *r, uint32_t magic)
{
    return get(r, 4) == magic && get(r, 4) >= VERSION && !r->bad;
}

size_t xvm_keeper_put_hello(unsigned char *buffer, ha_node self, const char *watchdog)
{
    struct writer w = {buffer};
    size_t len = strnlen(watchdog, XVM_KEEPER_PATH_MAX - 1);

    put(&w, MAGIC_HELLO, 4);
    put(&w, VERSION, 4);
    put(&w, self, 4);
    put(&w, len, 4);
    memcpy(w.at, watchdog, len);
    return (size_t)(w.at - buffer) + len;
}

int xvm_keeper_get_hello(const unsigned char *data, size_t len, ha_node *ret_self,
                         char *ret_watchdog)
{
    struct reader r = {data, data + len, false};
    ha_node self;
    size_t n;

    if (!get_head(&r, MAGIC_HELLO))
        return -EBADMSG;
    self = (ha_node)get(&r, 4);
    n = get(&r, 4);
    if (r.bad || n >= XVM_KEEPER_PATH_MAX || n > (size_t)(r.end - r.at))
        return -EBADMSG;
    *ret_self = self;
    memcpy(ret_watchdog, r.at, n);
    ret_watchdog[n] = '\0';
    return 0;
}

size_t xvm_keeper_put_orders(unsigned char *buffer, ha_node self,
                             const struct ha_keeper_orders *orders)
{
    struct writer w = {buffer};

    put(&w, MAGIC_ORDERS, 4);
    put(&w, VERSION, 4);
    put(&w, self, 4);
    put(&w,
        (orders->fence_only ? ORDERS_FENCE_ONLY : 0U) | (orders->quorate ? ORDERS_QUORATE : 0U) |
            (orders->empty ? ORDERS_EMPTY : 0U) | (orders->disarm ? ORDERS_DISARM : 0U) |
            (orders->frozen ? ORDERS_FROZEN : 0U) | (uint32_t)orders->disk * ORDERS_DISK_AT,
        4);
    put(&w, orders->seq, 8);
    put(&w, orders->tbl, 4);
    put(&w, orders->votes, 4);
    put(&w, (uint64_t)orders->beat_ms, 8);
    put(&w, (uint64_t)orders->lease_ms, 8);
    put(&w, (uint64_t)orders->watchdog_ms, 8);
    put(&w, orders->ring.node, 4);
    put(&w, orders->ring.seq, 8);
    put(&w, orders->nvoters, 4);
    put(&w, orders->ncut, 4);
    for (size_t i = 0; i < orders->nvoters; i++)
        put(&w, orders->voters[i], 4);
    for (size_t i = 0; i < orders->ncut; i++) {
        put(&w, orders->cut[i].node, 4);
        put_uuid(&w, &orders->cut[i].boot);
    }
    put(&w, orders->disk_gen, 4);
    put(&w, (uint64_t)orders->disk_ms, 8);
    put(&w, orders->pill_void, 4);
    put_uuid(&w, &orders->disk_id);
    return (size_t)(w.at - buffer);
}

int xvm_keeper_get_orders(const unsigned char *data, size_t len, ha_node *ret_self,
                          struct ha_keeper_orders *ret_orders)
{
    struct reader r = {data, data + len, false};
    struct ha_keeper_orders orders = {0};
    uint32_t flags;
    ha_node self;

    if (!get_head(&r, MAGIC_ORDERS))
        return -EBADMSG;
    self = (ha_node)get(&r, 4);
    flags = (uint32_t)get(&r, 4);
    orders.fence_only = (flags & ORDERS_FENCE_ONLY) != 0;
    orders.quorate = (flags & ORDERS_QUORATE) != 0;
    orders.empty = (flags & ORDERS_EMPTY) != 0;
    orders.disarm = (flags & ORDERS_DISARM) != 0;
    if (flags / ORDERS_DISK_AT % 4 > HA_DISK_KEEP)
        return -EBADMSG;
    orders.disk = (enum ha_disk_order)(flags / ORDERS_DISK_AT % 4);
    orders.frozen = (flags & ORDERS_FROZEN) != 0;
    orders.seq = get(&r, 8);
    orders.tbl = (uint32_t)get(&r, 4);
    orders.votes = (uint32_t)get(&r, 4);
    orders.beat_ms = (ha_ms)get(&r, 8);
    orders.lease_ms = (ha_ms)get(&r, 8);
    orders.watchdog_ms = (ha_ms)get(&r, 8);
    orders.ring.node = (ha_node)get(&r, 4);
    orders.ring.seq = get(&r, 8);
    orders.nvoters = get(&r, 4);
    orders.ncut = get(&r, 4);
    if (orders.nvoters > HA_HOSTS_MAX || orders.ncut > HA_HOSTS_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < orders.nvoters; i++)
        orders.voters[i] = (ha_node)get(&r, 4);
    for (size_t i = 0; i < orders.ncut; i++) {
        orders.cut[i].node = (ha_node)get(&r, 4);
        get_uuid(&r, &orders.cut[i].boot);
    }
    if (r.at < r.end) { /* a daemon that knows of the disk */
        orders.disk_gen = (uint32_t)get(&r, 4);
        orders.disk_ms = (ha_ms)get(&r, 8);
        orders.pill_void = (uint32_t)get(&r, 4);
        get_uuid(&r, &orders.disk_id);
    }
    if (r.bad || orders.disk_ms < 0 || orders.lease_ms < 0 || orders.watchdog_ms < 0 ||
        orders.beat_ms < 0)
        return -EBADMSG;
    *ret_self = self;
    *ret_orders = orders;
    return 0;
}

size_t xvm_keeper_put_state(unsigned char *buffer, const struct xvm_keeper_state *state)
{
    struct writer w = {buffer};

    put(&w, MAGIC_STATE, 4);
    put(&w, VERSION, 4);
    put(&w, state->self, 4);
    put(&w,
        (state->armed ? STATE_ARMED : 0U) | (state->pilled ? STATE_PILLED : 0U) |
            (state->frozen ? STATE_FROZEN : 0U),
        4);
    put_uuid(&w, &state->boot);
    put(&w, state->seq_applied, 8);
    put(&w, (uint64_t)state->lease_until, 8);
    put(&w, state->npeers, 4);
    for (size_t i = 0; i < state->npeers; i++) {
        const struct ha_peer_beat *peer = &state->peers[i];

        put(&w, peer->node, 4);
        put_uuid(&w, &peer->boot);
        put(&w, (uint64_t)peer->last_ms, 8);
        put(&w, peer->armed ? STATE_ARMED : 0, 4);
        put(&w, peer->tbl, 4);
        put(&w, (uint64_t)peer->lease_ms, 8);
        put(&w, (uint64_t)peer->watchdog_ms, 8);
    }
    put(&w, (uint64_t)state->disk_t, 8);
    put(&w, state->disk_gen, 4);
    put_uuid(&w, &state->disk_id);
    for (size_t i = 0; i < state->npeers; i++) {
        put(&w, (uint64_t)state->peers[i].disk_ms, 8);
        put_uuid(&w, &state->peers[i].disk_boot);
    }
    return (size_t)(w.at - buffer);
}

int xvm_keeper_get_state(const unsigned char *data, size_t len, struct xvm_keeper_state *ret_state)
{
    struct reader r = {data, data + len, false};
    struct xvm_keeper_state state = {.disk_t = -1};
    uint32_t flags;

    if (!get_head(&r, MAGIC_STATE))
        return -EBADMSG;
    state.self = (ha_node)get(&r, 4);
    flags = (uint32_t)get(&r, 4);
    state.armed = (flags & STATE_ARMED) != 0;
    state.pilled = (flags & STATE_PILLED) != 0;
    state.frozen = (flags & STATE_FROZEN) != 0;
    get_uuid(&r, &state.boot);
    state.seq_applied = get(&r, 8);
    state.lease_until = (ha_ms)get(&r, 8);
    state.npeers = get(&r, 4);
    if (state.npeers > HA_HOSTS_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < state.npeers; i++) {
        struct ha_peer_beat *peer = &state.peers[i];

        peer->node = (ha_node)get(&r, 4);
        get_uuid(&r, &peer->boot);
        peer->last_ms = (ha_ms)get(&r, 8);
        peer->armed = (get(&r, 4) & STATE_ARMED) != 0;
        peer->tbl = (uint32_t)get(&r, 4);
        peer->lease_ms = (ha_ms)get(&r, 8);
        peer->watchdog_ms = (ha_ms)get(&r, 8);
    }
    if (r.at < r.end && !r.bad) { /* a keeper that knows of the disk */
        state.disk_t = (ha_ms)get(&r, 8);
        state.disk_gen = (uint32_t)get(&r, 4);
        get_uuid(&r, &state.disk_id);
        for (size_t i = 0; i < state.npeers; i++) {
            state.peers[i].disk_ms = (ha_ms)get(&r, 8);
            get_uuid(&r, &state.peers[i].disk_boot);
        }
    }
    if (r.bad)
        return -EBADMSG;
    *ret_state = state;
    return 0;
}

size_t xvm_keeper_put_word(unsigned char *buffer, const struct xvm_disk_word *word)
{
    struct writer w = {buffer};

    put(&w, MAGIC_WORD, 4);
    put(&w, VERSION, 4);
    put(&w, word->self, 4);
    put(&w, word->pill, 4);
    put_uuid(&w, &word->boot);
    put_uuid(&w, &word->disk);
    put(&w, (uint64_t)word->t, 8);
    put(&w, word->loss, 4);
    put(&w, word->nseen, 4);
    for (size_t i = 0; i < word->nseen; i++) {
        put(&w, word->seen[i].node, 4);
        put_uuid(&w, &word->seen[i].boot);
        put(&w, (uint64_t)word->seen[i].changed_ms, 8);
    }
    return (size_t)(w.at - buffer);
}

int xvm_keeper_get_word(const unsigned char *data, size_t len, struct xvm_disk_word *ret_word)
{
    struct reader r = {data, data + len, false};
    struct xvm_disk_word word = {0};

    if (!get_head(&r, MAGIC_WORD))
        return -EBADMSG;
    word.self = (ha_node)get(&r, 4);
    word.pill = get(&r, 4) != 0;
    get_uuid(&r, &word.boot);
    get_uuid(&r, &word.disk);
    word.t = (ha_ms)get(&r, 8);
    word.loss = (uint32_t)get(&r, 4);
    word.nseen = get(&r, 4);
    if (r.bad || word.nseen > HA_HOSTS_MAX)
        return -EBADMSG;
    for (size_t i = 0; i < word.nseen; i++) {
        word.seen[i].node = (ha_node)get(&r, 4);
        get_uuid(&r, &word.seen[i].boot);
        word.seen[i].changed_ms = (ha_ms)get(&r, 8);
    }
    if (r.bad)
        return -EBADMSG;
    *ret_word = word;
    return 0;
}

size_t xvm_keeper_put_answer(unsigned char *buffer, const struct xvm_disk_answer *answer)
{
    struct writer w = {buffer};

    put(&w, MAGIC_ANSWER, 4);
    put(&w, VERSION, 4);
    put(&w, (answer->bound ? 1U : 0U) | (answer->armed ? 2U : 0U), 4);
    put(&w, (uint64_t)answer->timeout_ms, 8);
    put(&w, (uint64_t)answer->watchdog_ms, 8);
    return (size_t)(w.at - buffer);
}

int xvm_keeper_get_answer(const unsigned char *data, size_t len, struct xvm_disk_answer *ret_answer)
{
    struct reader r = {data, data + len, false};
    struct xvm_disk_answer answer = {0};
    uint64_t flags;

    if (!get_head(&r, MAGIC_ANSWER))
        return -EBADMSG;
    flags = get(&r, 4);
    answer.bound = (flags & 1) != 0;
    answer.armed = (flags & 2) != 0;
    answer.timeout_ms = (ha_ms)get(&r, 8);
    answer.watchdog_ms = (ha_ms)get(&r, 8);
    if (r.bad)
        return -EBADMSG;
    *ret_answer = answer;
    return 0;
}
