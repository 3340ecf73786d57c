/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the daemon's connections to corosync; see corosync.h. */
#include "corosync.h"

#include <assert.h>
#include <corosync/quorum.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "corosync_facts.h"
#include "cpg_link.h"
#include "util.h"

enum {
    IN_FLIGHT_MAX = 32,
    DISPATCH_MAX = 32,
    DRAIN_MAX = 1000, /* verdicts in a row: more is a fault of corosync, not worth a hang */
    RECONNECT_MIN_MS = 100,
    RECONNECT_MAX_MS = 1000,
    RESEND_MS = 10,
};

struct message {
    struct message *next;
    size_t len;
    unsigned char data[];
};

struct xvm_corosync {
    sd_event *loop;
    const struct xvm_corosync_sink *sink;
    void *user;
    struct xvm_cpg_link cpg;
    quorum_handle_t quorum;
    int quorum_fd;
    bool quorum_open;
    struct xvm_corosync_facts facts;
    const char *why; /* of a refusal in the helper thread; a literal */
    char said[HA_TEXT_MAX];
    bool broken; /* quorum's connection failed while CPG was being dispatched */
    bool no_provider;
    sd_event_source *ready_source, *cpg_source, *quorum_source, *reconnect_timer, *resend_timer;
    ha_ms reconnect_after;
    struct message *first, **last; /* not sent yet */
};

static void emit(struct xvm_corosync *c, struct ha_event *event)
{
    c->sink->event(c->user, event);
}

/* ------------------------------------------------------------------------------ helper thread */

static void on_verdict(quorum_handle_t handle, uint32_t quorate, struct quorum_ring_id ring,
                       uint32_t nmembers, const uint32_t *members)
{
    struct ha_event event = {.type = HA_EV_QUORUM};
    const void *context = NULL;
    struct xvm_corosync *c;

    (void)nmembers;
    (void)members;
    if (quorum_context_get(handle, &context) != CS_OK || !context)
        return;
    c = (struct xvm_corosync *)(uintptr_t)context;
    if (ring.seq == 0) {
        c->no_provider = true; /* then the verdict is always "quorate" */
        return;
    }
    event.u.quorum.ring = (struct ha_ring){ring.nodeid, ring.seq};
    event.u.quorum.quorate = quorate != 0;
    emit(c, &event);
}

static int open_quorum(struct xvm_corosync *c)
{
    quorum_model_v1_data_t model = {
        .model = QUORUM_MODEL_V1,
        .quorum_notify_fn = on_verdict,
    };
    cs_error_t error;
    uint32_t type = QUORUM_FREE;

    error = quorum_model_initialize(&c->quorum, QUORUM_MODEL_V1, (quorum_model_data_t *)&model,
                                    &type, c);
    if (error != CS_OK)
        return xvm_cs_errno(error);
    if (type != QUORUM_SET) {
        c->why = "corosync has no quorum provider, so it would call every fragment quorate: set "
                 "quorum.provider: corosync_votequorum in corosync.conf and restart it";
        c->no_provider = true;
        quorum_finalize(c->quorum);
        return -EPROTO;
    }
    error = quorum_fd_get(c->quorum, &c->quorum_fd);
    if (error == CS_OK)
        error = quorum_trackstart(c->quorum, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
    if (error != CS_OK)
        quorum_finalize(c->quorum);
    c->quorum_open = error == CS_OK;
    return xvm_cs_errno(error);
}

/* In the helper thread of cpg_link; the main thread does not look until it has ended. */
static int on_prepare(struct xvm_cpg_link *link)
{
    struct xvm_corosync *c = link->user;
    int r;

    memset(&c->facts, 0, sizeof(c->facts));
    c->facts.self = link->node;
    r = xvm_corosync_read_facts(&c->facts, &c->why);
    return r < 0 ? r : open_quorum(c);
}

/* ----------------------------------------------------------------------------------- messages */

static void drop_queue(struct xvm_corosync *c)
{
    while (c->first) {
        struct message *message = c->first;

        c->first = message->next;
        free(message);
    }
    c->last = &c->first;
}

static void send_queue(struct xvm_corosync *c)
{
    while (c->first) {
        struct message *message = c->first;
        int r = xvm_cpg_send(&c->cpg, message->data, message->len);

        if (r == -EAGAIN && c->cpg.in_flight < IN_FLIGHT_MAX) {
            /* corosync is busy with a sync; nothing else will wake us */
            sd_event_source_set_time_relative(c->resend_timer, RESEND_MS * 1000);
            sd_event_source_set_enabled(c->resend_timer, SD_EVENT_ONESHOT);
        }
        if (r < 0)
            return; /* -ENOTCONN: the dispatch finds out, too, and says so */
        c->first = message->next;
        if (!c->first)
            c->last = &c->first;
        free(message);
    }
}

int xvm_corosync_send(struct xvm_corosync *c, const void *data, size_t len)
{
    struct message *message;

    if (!c->cpg.connected)
        return -ENOTCONN;
    if (len > HA_MSG_MAX)
        return -EMSGSIZE;
    message = malloc(sizeof(*message) + len);
    if (!message)
        return -ENOMEM;
    message->next = NULL;
    message->len = len;
    memcpy(message->data, data, len);
    *c->last = message;
    c->last = &message->next;
    send_queue(c);
    return 0;
}

/* ------------------------------------------------------------------------------------- events */

/* Verdicts come by a socket of their own. That of a ring is queued before the ring's first message,
 * so whoever handles a message has to have read all verdicts first. */
static void drain_quorum(struct xvm_corosync *c)
{
    for (int i = 0; i < DRAIN_MAX && c->quorum_open; i++) {
        cs_error_t error = quorum_dispatch(c->quorum, CS_DISPATCH_ONE_NONBLOCKING);

        if (error == CS_ERR_TRY_AGAIN)
            return;
        if (error != CS_OK) {
            c->broken = true;
            return;
        }
    }
}

static void on_message(struct xvm_cpg_link *link, ha_node node, uint32_t pid, const void *data,
                       size_t len)
{
    struct xvm_corosync *c = link->user;
    struct ha_event event = {.type = HA_EV_MESSAGE};

    drain_quorum(c);
    event.u.message.from = (struct ha_process){node, pid};
    event.u.message.data = data;
    event.u.message.len = len;
    emit(c, &event);
}

static void copy_processes(const struct cpg_address *from, size_t n, struct ha_process *to)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (struct ha_process){from[i].nodeid, from[i].pid};
}

static void on_group(struct xvm_cpg_link *link, const struct cpg_address *members, size_t nmembers,
                     const struct cpg_address *left, size_t nleft, const struct cpg_address *joined,
                     size_t njoined)
{
    struct ha_process now[CPG_MEMBERS_MAX], new[CPG_MEMBERS_MAX];
    struct ha_left gone[CPG_MEMBERS_MAX];
    struct ha_event event = {.type = HA_EV_GROUP};

    assert(nmembers <= CPG_MEMBERS_MAX && nleft <= CPG_MEMBERS_MAX && njoined <= CPG_MEMBERS_MAX);
    drain_quorum(link->user);
    copy_processes(members, nmembers, now);
    copy_processes(joined, njoined, new);
    for (size_t i = 0; i < nleft; i++) {
        gone[i].process = (struct ha_process){left[i].nodeid, left[i].pid};
        gone[i].reason = left[i].reason == CPG_REASON_NODEDOWN ? HA_LEFT_NODE : HA_LEFT_PROCESS;
    }
    event.u.group.members = now;
    event.u.group.nmembers = nmembers;
    event.u.group.left = gone;
    event.u.group.nleft = nleft;
    event.u.group.joined = new;
    event.u.group.njoined = njoined;
    emit(link->user, &event);
}

static void on_ring(struct xvm_cpg_link *link, struct ha_ring ring, const ha_node *members,
                    size_t nmembers)
{
    struct ha_event event = {.type = HA_EV_RING};

    event.u.ring.ring = ring;
    event.u.ring.members = members;
    event.u.ring.nmembers = nmembers;
    emit(link->user, &event);
}

static const struct xvm_cpg_ops cpg_ops = {
    .prepare = on_prepare,
    .deliver = on_message,
    .group = on_group,
    .ring = on_ring,
};

/* --------------------------------------------------------------------------------- connection */

static void refuse(struct xvm_corosync *c, bool fatal, const char *text)
{
    if (strcmp(c->said, text) == 0)
        return;
    strncpy(c->said, text, sizeof(c->said) - 1);
    c->sink->refused(c->user, fatal, text);
}

static void reconnect_later(struct xvm_corosync *c)
{
    sd_event_source_set_time_relative(c->reconnect_timer, (uint64_t)c->reconnect_after * 1000);
    sd_event_source_set_enabled(c->reconnect_timer, SD_EVENT_ONESHOT);
    c->reconnect_after *= 2;
    if (c->reconnect_after > RECONNECT_MAX_MS)
        c->reconnect_after = RECONNECT_MAX_MS;
}

/* The sources go first: the helper threads close the descriptors. */
static void disconnect(struct xvm_corosync *c)
{
    c->cpg_source = sd_event_source_disable_unref(c->cpg_source);
    c->quorum_source = sd_event_source_disable_unref(c->quorum_source);
    sd_event_source_set_enabled(c->resend_timer, SD_EVENT_OFF);
    xvm_cpg_drop(&c->cpg);
    if (c->quorum_open)
        xvm_corosync_close_quorum(c->quorum);
    c->quorum_open = false;
    c->broken = false;
    c->no_provider = false;
    drop_queue(c);
}

static void lost(struct xvm_corosync *c)
{
    struct ha_event event = {.type = HA_EV_DISCONNECTED};

    if (c->no_provider)
        refuse(c, true, "corosync has lost its quorum provider");
    disconnect(c);
    emit(c, &event);
    reconnect_later(c);
}

static int on_cpg_ready(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_corosync *c = user;
    int r;

    (void)source;
    (void)fd;
    (void)revents;
    drain_quorum(c);
    r = xvm_cpg_dispatch(&c->cpg, DISPATCH_MAX);
    if (r < 0 || c->broken || c->no_provider)
        lost(c);
    else
        send_queue(c);
    return 0;
}

static int on_quorum_ready(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_corosync *c = user;

    (void)source;
    (void)fd;
    (void)revents;
    drain_quorum(c);
    if (c->broken || c->no_provider)
        lost(c);
    return 0;
}

static int watch(struct xvm_corosync *c)
{
    int r = sd_event_add_io(c->loop, &c->quorum_source, c->quorum_fd, EPOLLIN, on_quorum_ready, c);

    if (r >= 0) /* verdicts before messages */
        r = sd_event_source_set_priority(c->quorum_source, SD_EVENT_PRIORITY_NORMAL - 10);
    if (r >= 0)
        r = sd_event_add_io(c->loop, &c->cpg_source, c->cpg.fd, EPOLLIN, on_cpg_ready, c);
    return r;
}

static uint64_t random_instance(void)
{
    struct ha_uuid uuid;
    uint64_t instance = 0;

    while (instance == 0) {
        xvm_uuid_random(&uuid);
        memcpy(&instance, uuid.b, sizeof(instance));
    }
    return instance;
}

static void joined(struct xvm_corosync *c)
{
    struct ha_event event = {.type = HA_EV_JOINED};

    if (c->sink->connected(c->user, &c->facts) != 0 || watch(c) < 0) {
        disconnect(c);
        reconnect_later(c);
        return;
    }
    c->reconnect_after = RECONNECT_MIN_MS;
    c->said[0] = '\0';
    event.u.joined.instance = random_instance();
    event.u.joined.pid = (uint32_t)getpid();
    emit(c, &event);
}

static int on_connect_ended(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_corosync *c = user;
    int r = xvm_cpg_connected(&c->cpg);

    (void)source;
    (void)fd;
    (void)revents;
    if (r == -EAGAIN)
        return 0;
    if (r == 0) {
        joined(c);
        return 0;
    }
    if (c->quorum_open)
        xvm_corosync_close_quorum(c->quorum);
    c->quorum_open = false;
    refuse(c, c->no_provider, c->why ? c->why : "corosync does not answer: is it running?");
    reconnect_later(c);
    return 0;
}

static int on_reconnect(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_corosync *c = user;

    (void)source;
    (void)at;
    c->why = NULL;
    c->no_provider = false;
    if (xvm_cpg_connect(&c->cpg) < 0)
        reconnect_later(c);
    return 0;
}

static int on_resend(sd_event_source *source, uint64_t at, void *user)
{
    (void)source;
    (void)at;
    send_queue(user);
    return 0;
}

int xvm_corosync_new(sd_event *loop, const struct xvm_corosync_sink *sink, void *user,
                     struct xvm_corosync **ret_corosync)
{
    struct xvm_corosync *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->loop = loop;
    c->sink = sink;
    c->user = user;
    c->last = &c->first;
    c->reconnect_after = RECONNECT_MIN_MS;
    r = xvm_cpg_init(&c->cpg, "xvm-had", IN_FLIGHT_MAX, &cpg_ops, c);
    if (r >= 0)
        r = sd_event_add_io(loop, &c->ready_source, c->cpg.ready_fd, EPOLLIN, on_connect_ended, c);
    if (r >= 0)
        r = sd_event_add_time_relative(loop, &c->resend_timer, CLOCK_BOOTTIME, 0, 1000, on_resend,
                                       c);
    if (r >= 0)
        r = sd_event_source_set_enabled(c->resend_timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(loop, &c->reconnect_timer, CLOCK_BOOTTIME, 0, 1000,
                                       on_reconnect, c);
    if (r < 0)
        return r; /* the program ends: nothing is worth cleaning up */
    *ret_corosync = c;
    return 0;
}
