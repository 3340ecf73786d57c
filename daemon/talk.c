/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the group "xvm-had-talk": one JSON object a message, {"kind": text, "body": object}. */
#include "talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "cpg_link.h"

enum {
    IN_FLIGHT_MAX = 8,
    DISPATCH_MAX = 32,
    MESSAGE_MAX = 16 * 1024,
    WAITING_MAX = 16 * 1024, /* messages */
    RECONNECT_MS = 1000,
    AGAIN_MS = 100,
};

struct message {
    struct message *next;
    size_t len;
    char *text;
};

struct xvm_talk {
    sd_event *loop;
    xvm_talk_heard heard;
    void *user;
    struct xvm_cpg_link cpg;
    sd_event_source *ready, *readable, *timer;
    struct message *first, **last;
    size_t nwaiting;
};

static void drop_first(struct xvm_talk *t)
{
    struct message *m = t->first;

    t->first = m->next;
    if (t->first == NULL)
        t->last = &t->first;
    t->nwaiting--;
    free(m->text);
    free(m);
}

static void again_in(struct xvm_talk *t, uint64_t ms)
{
    sd_event_source_set_time_relative(t->timer, ms * 1000);
    sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

static void send_waiting(struct xvm_talk *t)
{
    while (t->first != NULL && t->cpg.connected) {
        int r = xvm_cpg_send(&t->cpg, t->first->text, t->first->len);

        if (r == -EAGAIN) {
            again_in(t, AGAIN_MS);
            return;
        }
        if (r == -ENOTCONN)
            return;
        drop_first(t);
    }
}

/* --------------------------------------------------------------------------------- the group */

static void on_deliver(struct xvm_cpg_link *link, ha_node node, uint32_t pid, const void *data,
                       size_t len)
{
    struct xvm_talk *t = link->user;
    json_t *all = len <= MESSAGE_MAX ? json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *kind = json_string_value(json_object_get(all, "kind"));
    const json_t *body = json_object_get(all, "body");

    (void)pid;
    if (kind != NULL && json_is_object(body))
        t->heard(t->user, node, kind, body);
    json_decref(all);
}

static void on_group(struct xvm_cpg_link *link, const struct cpg_address *members, size_t nmembers,
                     const struct cpg_address *left, size_t nleft, const struct cpg_address *joined,
                     size_t njoined)
{
    (void)link;
    (void)members;
    (void)nmembers;
    (void)left;
    (void)nleft;
    (void)joined;
    (void)njoined;
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

static void lost(struct xvm_talk *t)
{
    t->readable = sd_event_source_disable_unref(t->readable);
    xvm_cpg_drop(&t->cpg);
    while (t->first != NULL)
        drop_first(t); /* old news */
    again_in(t, RECONNECT_MS);
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_talk *t = user;

    (void)source;
    (void)fd;
    (void)revents;
    if (xvm_cpg_dispatch(&t->cpg, DISPATCH_MAX) < 0)
        lost(t);
    else
        send_waiting(t);
    return 0;
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_talk *t = user;
    int r = xvm_cpg_connected(&t->cpg);

    (void)source;
    (void)fd;
    (void)revents;
    if (r == -EAGAIN)
        return 0;
    if (r == 0)
        r = sd_event_add_io(t->loop, &t->readable, t->cpg.fd, EPOLLIN, on_readable, t);
    if (r < 0)
        lost(t);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_talk *t = user;

    (void)source;
    (void)at;
    if (t->cpg.connected)
        send_waiting(t);
    else if (xvm_cpg_connect(&t->cpg) < 0)
        again_in(t, RECONNECT_MS); /* the last attempt has not ended yet */
    return 0;
}

/* ------------------------------------------------------------------------------------ outside */

int xvm_talk_new(sd_event *loop, xvm_talk_heard heard, void *user, struct xvm_talk **ret_talk)
{
    struct xvm_talk *t = calloc(1, sizeof(*t));
    int r;

    if (t == NULL)
        return -ENOMEM;
    t->loop = loop;
    t->heard = heard;
    t->user = user;
    t->last = &t->first;
    r = xvm_cpg_init(&t->cpg, "xvm-had-talk", IN_FLIGHT_MAX, &cpg_ops, t);
    if (r < 0) {
        free(t);
        return r;
    }
    r = sd_event_add_time(loop, &t->timer, CLOCK_BOOTTIME, 0, 1000, on_timer, t);
    if (r >= 0)
        r = sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_io(loop, &t->ready, t->cpg.ready_fd, EPOLLIN, on_ready, t);
    if (r < 0) {
        xvm_talk_free(t);
        return r;
    }
    if (xvm_cpg_connect(&t->cpg) < 0)
        again_in(t, RECONNECT_MS);
    *ret_talk = t;
    return 0;
}

struct xvm_talk *xvm_talk_free(struct xvm_talk *t)
{
    if (t == NULL)
        return NULL;
    sd_event_source_disable_unref(t->ready);
    sd_event_source_disable_unref(t->readable);
    sd_event_source_disable_unref(t->timer);
    if (t->cpg.connected)
        xvm_cpg_drop(&t->cpg);
    while (t->first != NULL)
        drop_first(t);
    free(t);
    return NULL;
}

static int queue(struct xvm_talk *t, const json_t *all)
{
    char *text = json_dumps(all, JSON_COMPACT);
    struct message *m = calloc(1, sizeof(*m));

    if (text == NULL || m == NULL || strlen(text) > MESSAGE_MAX) {
        int r = text == NULL || m == NULL ? -ENOMEM : -EMSGSIZE;

        free(text);
        free(m);
        return r;
    }
    m->text = text;
    m->len = strlen(text);
    *t->last = m;
    t->last = &m->next;
    t->nwaiting++;
    return 0;
}

int xvm_talk_say(struct xvm_talk *t, const char *kind, json_t *body)
{
    json_t *all = json_pack("{s:s, s:o}", "kind", kind, "body", body);
    int r;

    if (all == NULL)
        return -ENOMEM;
    r = !t->cpg.connected ? -ENOTCONN : t->nwaiting >= WAITING_MAX ? -ENOBUFS : queue(t, all);
    json_decref(all);
    if (r == 0)
        send_waiting(t);
    return r;
}
