/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the group "xvm-had-definitions". Two kinds of messages: `want` (hash), and `piece` (hash, size of
 * the whole, place, bytes). Of the hosts that have what is wanted one answers: the others wait a moment,
 * in the order of their node ids, and stay silent when they see that it is coming. */
#include "spread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../libha/wire.h"
#include "cpg_link.h"
#include "log.h"

enum {
    MAGIC = 0x46445658, /* "XVDF" */
    VERSION = 1,
    WANT = 1,
    PIECE = 2,
    IN_FLIGHT_MAX = 8,
    DISPATCH_MAX = 32,
    PIECE_MAX = 16 * 1024,
    WANTS_MAX = 64, /* looked for at the same time; the rest wait */
    ASK_MS = 2000,
    TURN_MS = 100, /* how long the next one waits for the one before it to answer */
    RECONNECT_MS = 1000,
};

/* Something this host has not got. */
struct wanted {
    struct ha_uuid hash;
    struct ha_process from; /* who sends it; node 0: nobody yet */
    unsigned char *bytes;
    size_t len, total;
    ha_ms asked, heard;
};

/* Something that another host wants and this one has. */
struct answer {
    struct ha_uuid hash;
    ha_ms at; /* not before */
    void *bytes;
    size_t len, sent;
};

struct xvm_spread {
    sd_event *loop;
    struct xvm_blobs *blobs;
    xvm_spread_arrived arrived;
    void *user;
    struct xvm_cpg_link cpg;
    sd_event_source *ready, *readable, *timer;
    ha_ms reconnect_at; /* 0: not to */
    unsigned turn;      /* members with lower node ids */
    struct wanted *wants;
    size_t nwants;
    struct answer answers[WANTS_MAX];
    size_t nanswers;
};

static ha_ms now_ms(struct xvm_spread *s)
{
    uint64_t us = 0;

    sd_event_now(s->loop, CLOCK_BOOTTIME, &us);
    return (ha_ms)(us / 1000);
}

static void wake_at(struct xvm_spread *s, ha_ms at)
{
    uint64_t set = 0;
    int on = SD_EVENT_OFF;

    sd_event_source_get_enabled(s->timer, &on);
    sd_event_source_get_time(s->timer, &set);
    if (on != SD_EVENT_OFF && set <= (uint64_t)at * 1000)
        return;
    sd_event_source_set_time(s->timer, (uint64_t)at * 1000);
    sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

/* ------------------------------------------------------------------------------------- sending */

static int send_message(struct xvm_spread *s, struct ha_put *put)
{
    int r = put->failed ? -ENOMEM : xvm_cpg_send(&s->cpg, put->v, put->n);

    ha_put_done(put);
    return r;
}

static struct ha_put message(uint8_t kind, const struct ha_uuid *hash)
{
    struct ha_put put = {0};

    ha_put_u32(&put, MAGIC);
    ha_put_u8(&put, VERSION);
    ha_put_u8(&put, kind);
    ha_put_uuid(&put, hash);
    return put;
}

static void drop_answer(struct xvm_spread *s, size_t i)
{
    free(s->answers[i].bytes);
    s->answers[i] = s->answers[--s->nanswers];
}

/* The next piece; false: nothing more can be sent now. */
static bool send_piece(struct xvm_spread *s, struct answer *a)
{
    size_t n = a->len - a->sent < PIECE_MAX ? a->len - a->sent : PIECE_MAX;
    struct ha_put put = message(PIECE, &a->hash);

    ha_put_u32(&put, (uint32_t)a->len);
    ha_put_u32(&put, (uint32_t)a->sent);
    ha_put_u32(&put, (uint32_t)n);
    ha_put_bytes(&put, (const char *)a->bytes + a->sent, n);
    if (send_message(s, &put) < 0)
        return false;
    a->sent += n;
    return true;
}

static void send_answers(struct xvm_spread *s, ha_ms now)
{
    for (size_t i = 0; i < s->nanswers;) {
        struct answer *a = &s->answers[i];

        if (now < a->at) {
            wake_at(s, a->at);
            i++;
            continue;
        }
        if (a->bytes == NULL && xvm_blobs_get(s->blobs, &a->hash, &a->bytes, &a->len) < 0) {
            drop_answer(s, i); /* another host may have it */
            continue;
        }
        do {
            if (send_piece(s, a))
                continue;
            wake_at(s, now + TURN_MS);
            return;
        } while (a->sent < a->len);
        drop_answer(s, i);
    }
}

static void ask(struct xvm_spread *s, ha_ms now)
{
    for (size_t i = 0; i < s->nwants && i < WANTS_MAX; i++) {
        struct wanted *w = &s->wants[i];
        ha_ms due = (w->heard > w->asked ? w->heard : w->asked) + ASK_MS;

        if (w->asked == 0 || now >= due) {
            struct ha_put put = message(WANT, &w->hash);

            w->asked = now;
            w->from = (struct ha_process){0, 0};
            (void)send_message(s, &put); /* lost: asked again */
            due = now + ASK_MS;
        }
        wake_at(s, due);
    }
}

/* ----------------------------------------------------------------------------------- receiving */

static struct wanted *find_want(struct xvm_spread *s, const struct ha_uuid *hash)
{
    for (size_t i = 0; i < s->nwants; i++)
        if (ha_uuid_eq(&s->wants[i].hash, hash))
            return &s->wants[i];
    return NULL;
}

static void drop_want(struct xvm_spread *s, struct wanted *w)
{
    free(w->bytes);
    *w = s->wants[--s->nwants];
}

static void on_want(struct xvm_spread *s, const struct ha_uuid *hash)
{
    ha_ms now = now_ms(s);

    if (s->nanswers == WANTS_MAX || !xvm_blobs_have(s->blobs, hash))
        return;
    for (size_t i = 0; i < s->nanswers; i++)
        if (ha_uuid_eq(&s->answers[i].hash, hash))
            return;
    s->answers[s->nanswers++] =
        (struct answer){.hash = *hash, .at = now + (ha_ms)s->turn * TURN_MS};
    send_answers(s, now);
}

static void complete(struct xvm_spread *s, struct wanted *w)
{
    struct ha_uuid hash = w->hash, real;
    int r = xvm_blob_hash(w->bytes, w->len, &real);

    if (r == 0 && !ha_uuid_eq(&hash, &real)) {
        w->len = 0; /* asked for again, elsewhere */
        w->from = (struct ha_process){0, 0};
        return;
    }
    if (r == 0)
        r = xvm_blobs_put(s->blobs, w->bytes, w->len, &real);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "cannot keep a definition that another host sent: %s", strerror(-r));
        w->len = 0;
        return;
    }
    drop_want(s, w);
    s->arrived(s->user, &hash);
}

static void on_piece(struct xvm_spread *s, struct ha_process from, const struct ha_uuid *hash,
                     struct ha_get *get)
{
    uint32_t total = ha_get_u32(get), at = ha_get_u32(get), len = ha_get_u32(get);
    const void *data = ha_get_bytes(get, len);
    struct wanted *w = find_want(s, hash);

    if (!data || total > XVM_BLOB_MAX || len == 0 || at > total || len > total - at)
        return;
    for (size_t i = 0; i < s->nanswers; i++)
        if (from.node != s->cpg.node && ha_uuid_eq(&s->answers[i].hash, hash) &&
            s->answers[i].sent == 0)
            drop_answer(s, i--); /* it is being answered */
    if (!w)
        return;
    if (at == 0 && w->from.node == 0) {
        unsigned char *bytes = realloc(w->bytes, total);

        if (!bytes)
            return;
        w->bytes = bytes;
        w->from = from;
        w->len = 0;
        w->total = total;
    }
    if (w->from.node != from.node || w->from.pid != from.pid || at != w->len || total != w->total)
        return;
    memcpy(w->bytes + at, data, len);
    w->len += len;
    w->heard = now_ms(s);
    if (w->len == w->total)
        complete(s, w);
}

static void on_deliver(struct xvm_cpg_link *link, ha_node node, uint32_t pid, const void *data,
                       size_t len)
{
    struct xvm_spread *s = link->user;
    struct ha_get get = {data, len, false};
    uint32_t magic = ha_get_u32(&get);
    uint8_t version = ha_get_u8(&get), kind = ha_get_u8(&get);
    struct ha_uuid hash = ha_get_uuid(&get);

    if (get.failed || magic != MAGIC || version != VERSION)
        return;
    if (kind == WANT)
        on_want(s, &hash);
    else if (kind == PIECE)
        on_piece(s, (struct ha_process){node, pid}, &hash, &get);
}

static void on_group(struct xvm_cpg_link *link, const struct cpg_address *members, size_t nmembers,
                     const struct cpg_address *left, size_t nleft, const struct cpg_address *joined,
                     size_t njoined)
{
    struct xvm_spread *s = link->user;

    (void)left;
    (void)nleft;
    s->turn = 0;
    for (size_t i = 0; i < nmembers; i++)
        s->turn += members[i].nodeid < s->cpg.node;
    for (size_t i = 0; i < s->nwants && njoined > 0; i++)
        s->wants[i].asked = 0; /* who came may have it */
    (void)joined;
    ask(s, now_ms(s));
}

static void on_ring(struct xvm_cpg_link *link, struct ha_ring ring, const ha_node *members,
                    size_t nmembers)
{
    (void)link;
    (void)ring;
    (void)members;
    (void)nmembers;
}

static const struct xvm_cpg_ops cpg_ops = {
    .deliver = on_deliver, .group = on_group, .ring = on_ring};

/* ---------------------------------------------------------------------------------- connection */

static void reconnect_later(struct xvm_spread *s)
{
    s->reconnect_at = now_ms(s) + RECONNECT_MS;
    wake_at(s, s->reconnect_at);
}

static void lost(struct xvm_spread *s)
{
    s->readable = sd_event_source_disable_unref(s->readable);
    xvm_cpg_drop(&s->cpg);
    while (s->nanswers > 0)
        drop_answer(s, 0);
    for (size_t i = 0; i < s->nwants; i++)
        s->wants[i].from = (struct ha_process){0, 0};
    reconnect_later(s);
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_spread *s = user;

    (void)source;
    (void)fd;
    (void)revents;
    if (xvm_cpg_dispatch(&s->cpg, DISPATCH_MAX) < 0)
        lost(s);
    else
        send_answers(s, now_ms(s));
    return 0;
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_spread *s = user;
    int r = xvm_cpg_connected(&s->cpg);

    (void)source;
    (void)fd;
    (void)revents;
    if (r == -EAGAIN)
        return 0;
    if (r == 0)
        r = sd_event_add_io(s->loop, &s->readable, s->cpg.fd, EPOLLIN, on_readable, s);
    if (r < 0)
        lost(s);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_spread *s = user;
    ha_ms now = now_ms(s);

    (void)source;
    (void)at;
    if (s->reconnect_at && now >= s->reconnect_at) {
        s->reconnect_at = 0;
        if (xvm_cpg_connect(&s->cpg) < 0)
            reconnect_later(s); /* the last attempt has not ended yet */
    } else if (s->reconnect_at) {
        wake_at(s, s->reconnect_at);
    }
    if (s->cpg.connected) {
        send_answers(s, now);
        ask(s, now);
    }
    return 0;
}

int xvm_spread_new(sd_event *loop, struct xvm_blobs *blobs, xvm_spread_arrived arrived, void *user,
                   struct xvm_spread **ret_spread)
{
    struct xvm_spread *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    *s = (struct xvm_spread){.loop = loop, .blobs = blobs, .arrived = arrived, .user = user};
    r = xvm_cpg_init(&s->cpg, "xvm-had-definitions", IN_FLIGHT_MAX, &cpg_ops, s);
    if (r < 0) {
        free(s);
        return r;
    }
    r = sd_event_add_time(loop, &s->timer, CLOCK_BOOTTIME, 0, 1000, on_timer, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_io(loop, &s->ready, s->cpg.ready_fd, EPOLLIN, on_ready, s);
    if (r < 0) {
        xvm_spread_free(s);
        return r;
    }
    if (xvm_cpg_connect(&s->cpg) < 0)
        reconnect_later(s);
    *ret_spread = s;
    return 0;
}

struct xvm_spread *xvm_spread_free(struct xvm_spread *s)
{
    if (!s)
        return NULL;
    sd_event_source_disable_unref(s->ready);
    sd_event_source_disable_unref(s->readable);
    sd_event_source_disable_unref(s->timer);
    if (s->cpg.connected)
        xvm_cpg_drop(&s->cpg);
    while (s->nanswers > 0)
        drop_answer(s, 0);
    for (size_t i = 0; i < s->nwants; i++)
        free(s->wants[i].bytes);
    free(s->wants);
    free(s);
    return NULL;
}

int xvm_spread_want(struct xvm_spread *s, const struct ha_uuid *hash)
{
    struct wanted *v;

    if (xvm_blobs_have(s->blobs, hash) || find_want(s, hash))
        return 0;
    v = realloc(s->wants, (s->nwants + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    s->wants = v;
    v[s->nwants++] = (struct wanted){.hash = *hash};
    if (s->cpg.connected)
        ask(s, now_ms(s));
    return 0;
}
