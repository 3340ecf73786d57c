/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The messages of the daemons' group, to bytes and back. */
#include "msg.h"

#include <errno.h>
#include <string.h>

enum { MAGIC = 0x4858 };

void ha_msg_put_head(struct ha_put *put, const struct ha_msg_head *head)
{
    ha_put_u16(put, MAGIC);
    ha_put_u8(put, HA_MSG_MAJOR);
    ha_put_u8(put, HA_MSG_MINOR);
    ha_put_u8(put, (uint8_t)head->kind);
    ha_put_u64(put, head->instance);
    ha_put_uuid(put, &head->boot);
}

int ha_msg_get_head(struct ha_get *get, struct ha_msg_head *ret_head)
{
    uint16_t magic = ha_get_u16(get);
    uint8_t major = ha_get_u8(get);
    (void)ha_get_u8(get);
    uint8_t kind = ha_get_u8(get);
    uint64_t instance = ha_get_u64(get);
    struct ha_uuid boot = ha_get_uuid(get);
    if (get->failed || magic != MAGIC || kind == 0)
        return -EBADMSG;
    if (major != HA_MSG_MAJOR)
        return -ENOTSUP;
    if (kind > HA_MSG_KNOWS)
        return -ENOMSG;
    *ret_head = (struct ha_msg_head){(enum ha_msg_kind)kind, instance, boot};
    return 0;
}

void ha_msg_put_view(struct ha_put *put, const struct ha_view_id *view)
{
    ha_put_u32(put, view->ring.node);
    ha_put_u64(put, view->ring.seq);
    ha_put_u64(put, view->k);
}

struct ha_view_id ha_msg_get_view(struct ha_get *get)
{
    struct ha_view_id view;
    view.ring.node = ha_get_u32(get);
    view.ring.seq = ha_get_u64(get);
    view.k = ha_get_u64(get);
    return view;
}

bool ha_view_eq(const struct ha_view_id *a, const struct ha_view_id *b)
{
    return ha_ring_eq(a->ring, b->ring) && a->k == b->k;
}

void ha_msg_put_report(struct ha_put *put, const struct ha_msg_report *r)
{
    ha_msg_put_view(put, &r->view);
    ha_put_uuid(put, &r->machine);
    ha_put_uuid(put, &r->journal);
    ha_put_uuid(put, &r->cluster);
    ha_put_epoch(put, r->promised);
    ha_put_epoch(put, r->key.e);
    ha_put_u64(put, r->key.i);
    ha_put_u64(put, r->hash);
    ha_put_u32(put, r->tbl);
    ha_put_u16(put, r->fact_kinds);
    ha_put_u8(put, (uint8_t)(r->inventory | r->armed << 1 | r->keeper << 2 | r->synced_last << 3 |
                             r->leaving << 4 | r->last << 5 | r->no_journal << 6 | r->frozen << 7));
    ha_put_u64(put, r->memory_kib);
    ha_put_u64(put, r->config_hash);
    ha_put_u32(put, (uint32_t)r->lease_ms);
    ha_put_u32(put, (uint32_t)r->watchdog_ms);
    ha_put_u32(put, r->nguests);
    ha_put_u64(put, r->look);
    ha_put_u32(put, r->ncopies);
}

void ha_msg_get_report(struct ha_get *get, struct ha_msg_report *r)
{
    r->view = ha_msg_get_view(get);
    r->machine = ha_get_uuid(get);
    r->journal = ha_get_uuid(get);
    r->cluster = ha_get_uuid(get);
    r->promised = ha_get_epoch(get);
    r->key.e = ha_get_epoch(get);
    r->key.i = ha_get_u64(get);
    r->hash = ha_get_u64(get);
    r->tbl = ha_get_u32(get);
    r->fact_kinds = ha_get_u16(get);
    uint8_t flags = ha_get_u8(get);
    r->inventory = flags & 1;
    r->armed = flags & 2;
    r->keeper = flags & 4;
    r->synced_last = flags & 8;
    r->leaving = flags & 16;
    r->last = flags & 32;
    r->no_journal = flags & 64;
    r->frozen = flags & 128;
    r->memory_kib = ha_get_u64(get);
    r->config_hash = ha_get_u64(get);
    r->lease_ms = ha_get_u32(get);
    r->watchdog_ms = ha_get_u32(get);
    r->nguests = ha_get_u32(get);
    r->look = ha_get_u64(get);
    r->ncopies = ha_get_u32(get);
}

void ha_msg_put_copy(struct ha_put *put, const struct ha_copy *c)
{
    ha_put_name(put, c->guest);
    ha_put_u64(put, c->inc);
    ha_put_u64(put, c->mig);
    ha_put_u8(put, (uint8_t)c->state);
    ha_put_u8(put, (uint8_t)(c->worker | c->backends << 1));
}

void ha_msg_get_copy(struct ha_get *get, struct ha_copy *c)
{
    ha_get_name(get, c->guest);
    c->inc = ha_get_u64(get);
    c->mig = ha_get_u64(get);
    uint8_t state = ha_get_u8(get);
    if (state < HA_COPY_PAUSED || state > HA_COPY_DYING)
        get->failed = true;
    c->state = (enum ha_copy_state)state;
    uint8_t flags = ha_get_u8(get);
    c->worker = flags & 1;
    c->backends = flags & 2;
}

void ha_msg_put_cut(struct ha_put *put, const struct ha_cut_age *cut)
{
    ha_put_u32(put, cut->node);
    ha_put_uuid(put, &cut->boot);
    ha_put_u8(put, (uint8_t)(cut->seen | cut->armed << 1));
    ha_put_u64(put, (uint64_t)cut->age_ms);
    ha_put_u32(put, cut->tbl);
    ha_put_u64(put, (uint64_t)cut->lease_ms);
    ha_put_u64(put, (uint64_t)cut->watchdog_ms);
}

void ha_msg_get_cut(struct ha_get *get, struct ha_cut_age *cut)
{
    cut->node = ha_get_u32(get);
    cut->boot = ha_get_uuid(get);
    uint8_t flags = ha_get_u8(get);
    cut->seen = flags & 1;
    cut->armed = flags & 2;
    cut->age_ms = (ha_ms)ha_get_u64(get);
    cut->tbl = ha_get_u32(get);
    cut->lease_ms = (ha_ms)ha_get_u64(get);
    cut->watchdog_ms = (ha_ms)ha_get_u64(get);
    const ha_ms most = 366LL * 24 * 3600 * 1000; /* what is longer is nonsense, and could overflow */
    if (cut->age_ms < 0 || cut->age_ms > most || cut->lease_ms < 0 || cut->lease_ms > most ||
        cut->watchdog_ms < 0 || cut->watchdog_ms > most)
        get->failed = true;
}

void ha_msg_put_tell(struct ha_put *put, const struct ha_tell *t)
{
    ha_put_u8(put, (uint8_t)t->kind);
    ha_put_u32(put, t->guest);
    ha_put_u64(put, t->inc);
    ha_put_u64(put, t->mig);
    ha_put_u8(put, t->how);
    ha_put_u32(put, t->host);
    ha_put_uuid(put, &t->boot);
    ha_put_u32(put, t->loss);
    ha_put_u32(put, t->level);
    ha_put_u64(put, t->look);
}

void ha_msg_get_tell(struct ha_get *get, struct ha_tell *t)
{
    t->kind = (enum ha_tell_kind)ha_get_u8(get);
    t->guest = ha_get_u32(get);
    t->inc = ha_get_u64(get);
    t->mig = ha_get_u64(get);
    t->how = ha_get_u8(get);
    t->host = ha_get_u32(get);
    t->boot = ha_get_uuid(get);
    t->loss = ha_get_u32(get);
    t->level = ha_get_u32(get);
    t->look = ha_get_u64(get);
}

void ha_msg_put_ask(struct ha_put *put, const struct ha_ask *ask)
{
    ha_put_u64(put, ask->id);
    ha_put_u8(put, ask->command);
    ha_put_name(put, ask->guest);
    ha_put_name(put, ask->host);
    ha_put_name(put, ask->text);
    ha_put_name(put, ask->who);
    ha_put_u8(put, ask->again);
}

void ha_msg_get_ask(struct ha_get *get, struct ha_ask *ask)
{
    ask->id = ha_get_u64(get);
    ask->command = ha_get_u8(get);
    ha_get_name(get, ask->guest);
    ha_get_name(get, ask->host);
    ha_get_name(get, ask->text);
    ha_get_name(get, ask->who);
    ask->again = get->left > 0 && ha_get_u8(get); /* older ones end before it */
}

void ha_msg_put_transfer(struct ha_put *put, const struct ha_transfer *t)
{
    size_t n = strnlen(t->text, HA_TEXT_MAX - 1);
    ha_put_name(put, t->guest);
    ha_put_u64(put, t->mig);
    ha_put_u8(put, (uint8_t)(t->failed | t->target << 1));
    ha_put_u64(put, t->bytes);
    ha_put_u64(put, t->rate);
    ha_put_u64(put, (uint64_t)t->elapsed_ms);
    ha_put_u32(put, t->round);
    ha_put_u64(put, t->left_kib);
    ha_put_u8(put, (uint8_t)n);
    ha_put_bytes(put, t->text, n);
}

void ha_msg_get_transfer(struct ha_get *get, struct ha_transfer *t)
{
    ha_get_name(get, t->guest);
    t->mig = ha_get_u64(get);
    uint8_t flags = ha_get_u8(get);
    t->failed = flags & 1;
    t->target = flags & 2;
    t->bytes = ha_get_u64(get);
    t->rate = ha_get_u64(get);
    uint64_t elapsed = ha_get_u64(get);
    t->elapsed_ms = elapsed < INT32_MAX ? (ha_ms)elapsed : INT32_MAX;
    t->round = ha_get_u32(get);
    t->left_kib = ha_get_u64(get);
    size_t n = ha_get_u8(get);
    const char *p = n < HA_TEXT_MAX ? ha_get_bytes(get, n) : NULL;
    if (p)
        memcpy(t->text, p, n);
    else
        get->failed = true;
    t->text[p ? n : 0] = '\0';
}
