/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transfers of this host, from the core's action to the driver's turn, and their progress. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "migration_internal.h"
#include "util.h"

enum {
    TRY_MS = 5000,              /* one attempt to connect */
    RETRY_MS = 300,             /* from one to the next */
    SOURCE_PATIENCE_MS = 30000, /* for a target that does not answer, or not yet */
    TARGET_PATIENCE_MS = 60000, /* for a source that does not come */
    TELL_MS = 1000,
    TIME_LEFT_MIN_MS = 1000,
};

static void start_connect(struct xvm_transfer *t);

void xvm_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

bool xvm_read_lines(int fd, char *buf, size_t size, size_t *n,
                    void (*line)(void *user, const char *line), void *user)
{
    ssize_t got = read(fd, buf + *n, size - 1 - *n);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return false;
    *n += (size_t)got;
    buf[*n] = '\0';
    char *at = buf, *end;
    while ((end = memchr(at, '\n', *n - (size_t)(at - buf)))) {
        *end = '\0';
        line(user, at);
        at = end + 1;
    }
    *n -= (size_t)(at - buf);
    memmove(buf, at, *n);
    if (*n == size - 1)
        *n = 0; /* no line of ours is that long */
    return true;
}

/* ------------------------------------------------------------------------------ its beginning */

static bool is_send(const struct xvm_transfer *t)
{
    return t->action.u.guest.what == HA_OP_SEND;
}

static const char *peer_name(const struct xvm_transfer *t)
{
    const struct ha_config *config = t->m->env.config;
    for (size_t i = 0; i < config->nhosts; i++)
        if (config->hosts[i].node == t->action.u.guest.peer)
            return config->hosts[i].name;
    return "the other host";
}

static struct xvm_transfer *find(struct xvm_migration *m, uint64_t op)
{
    for (struct xvm_transfer *t = m->transfers; t; t = t->next)
        if (t->action.u.guest.op == op)
            return t;
    return NULL;
}

struct xvm_transfer *xvm_transfer_receiving(struct xvm_migration *m, uint64_t mig)
{
    for (struct xvm_transfer *t = m->transfers; t; t = t->next)
        if (!is_send(t) && t->action.u.guest.mig == mig)
            return t;
    return NULL;
}

static void destroy(struct xvm_transfer *t)
{
    sd_event_source_disable_unref(t->on_socket);
    sd_event_source_disable_unref(t->on_time);
    sd_event_source_disable_unref(t->on_fail);
    sd_event_source_disable_unref(t->on_progress);
    xvm_close(&t->socket);
    xvm_close(&t->progress);
    free(t);
}

static void transfer_free(struct xvm_transfer *t)
{
    struct xvm_transfer **at = &t->m->transfers;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    destroy(t);
}

static void tell_failed(struct xvm_transfer *t, const char *text)
{
    if (t->cancelled)
        return;
    t->told.failed = true;
    t->told.target = !is_send(t);
    t->told.elapsed_ms = xvm_now_ms() - t->began;
    snprintf(t->told.text, sizeof(t->told.text), "%s", text);
    t->m->env.transfer(t->m->env.user, &t->told);
}

static int on_fail(sd_event_source *source, void *user)
{
    struct xvm_transfer *t = user;
    struct xvm_migration *m = t->m;
    uint64_t op = t->action.u.guest.op;
    char why[HA_TEXT_MAX];
    (void)source;
    memcpy(why, t->why, sizeof(why));
    tell_failed(t, why);
    transfer_free(t);
    m->env.done(m->env.user, op, HA_RESULT_FAILED, why);
    return 0;
}

/* Nothing has happened to the guest yet. The answer goes through the loop, like every answer. */
static void fail(struct xvm_transfer *t, const char *why)
{
    if (t->stage == XVM_STAGE_FAILED)
        return;
    assert(t->stage != XVM_STAGE_DRIVER);
    t->stage = XVM_STAGE_FAILED;
    snprintf(t->why, sizeof(t->why), "%s", why);
    t->on_socket = sd_event_source_disable_unref(t->on_socket);
    (void)sd_event_source_set_enabled(t->on_time, SD_EVENT_OFF);
    xvm_close(&t->socket);
    xvm_attempts_drop(t->m, t, NULL);
    (void)sd_event_source_set_enabled(t->on_fail, SD_EVENT_ONESHOT);
}

static void wake_in(struct xvm_transfer *t, ha_ms ms)
{
    (void)sd_event_source_set_time_relative(t->on_time, (uint64_t)(ms > 0 ? ms : 0) * 1000);
    (void)sd_event_source_set_enabled(t->on_time, SD_EVENT_ONESHOT);
}

/* ---------------------------------------------------------------------------------- the source */

static void cannot_connect(struct xvm_transfer *t, const char *why)
{
    struct in6_addr address;
    char text[HA_ADDRESS_MAX] = "?", said[HA_TEXT_MAX], full[HA_TEXT_MAX * 2];
    t->on_socket = sd_event_source_disable_unref(t->on_socket);
    xvm_close(&t->socket);
    t->stage = XVM_STAGE_CONNECT;
    if (xvm_now_ms() + RETRY_MS < t->connect_until) {
        wake_in(t, RETRY_MS);
        return;
    }
    if (xvm_migration_address(t->m->env.config, t->m->env.facts, t->action.u.guest.peer, &address,
                              said) == 0)
        xvm_address_text(&address, text);
    snprintf(full, sizeof(full),
             "%s does not take the connection (%s port %d: %s): see its log, and whether a "
             "firewall is between",
             peer_name(t), text, t->m->env.config->migration.port, why);
    fail(t, full);
}

static void send_preamble(struct xvm_transfer *t)
{
    const struct xvm_preamble p = {
        .mig = t->action.u.guest.mig, .source = t->m->env.self, .target = t->action.u.guest.peer};
    uint8_t bytes[XVM_PREAMBLE_SIZE];
    int fd = t->socket;
    xvm_preamble_write(&p, bytes);
    /* A fresh connection's buffer takes so few bytes at once. */
    if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != (ssize_t)sizeof(bytes)) {
        cannot_connect(t, strerror(errno));
        return;
    }
    t->socket = -1;
    t->stage = XVM_STAGE_SECURE;
    wake_in(t, XVM_HANDSHAKE_MS + TRY_MS); /* the program's own limit comes first */
    int r = xvm_attempt_new(t, fd);
    if (r < 0)
        fail(t, strerror(-r));
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_transfer *t = user;
    int error = 0;
    socklen_t len = sizeof(error);
    (void)source, (void)revents;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    t->on_socket = sd_event_source_disable_unref(t->on_socket);
    if (error)
        cannot_connect(t, strerror(error));
    else
        send_preamble(t);
    return 0;
}

/* From our own address: the target checks it. */
static int open_socket(struct xvm_transfer *t, char why[HA_TEXT_MAX])
{
    const struct xvm_migration_env *env = &t->m->env;
    struct sockaddr_storage to, from;
    struct in6_addr here, there;
    char text[HA_ADDRESS_MAX];
    int r = xvm_migration_address(env->config, env->facts, env->self, &here, why);
    if (r == 0)
        r = xvm_migration_address(env->config, env->facts, t->action.u.guest.peer, &there, why);
    if (r < 0)
        return r;
    socklen_t nfrom = xvm_address_socket(&here, 0, &from);
    socklen_t nto = xvm_address_socket(&there, env->config->migration.port, &to);
    t->socket = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->socket >= 0)
        xvm_migration_buffers(t->socket);
    if (t->socket >= 0 && bind(t->socket, (struct sockaddr *)&from, nfrom) == 0 &&
        (connect(t->socket, (struct sockaddr *)&to, nto) == 0 || errno == EINPROGRESS))
        return 0;
    r = -errno;
    xvm_address_text(&here, text);
    snprintf(why, HA_TEXT_MAX, "cannot connect from this host's address %s: %s", text,
             strerror(-r));
    return r;
}

static void start_connect(struct xvm_transfer *t)
{
    char why[HA_TEXT_MAX] = "";
    int r = open_socket(t, why);
    if (r == 0)
        r = sd_event_add_io(t->m->env.loop, &t->on_socket, t->socket, EPOLLOUT, on_socket, t);
    if (r < 0)
        cannot_connect(t, why[0] ? why : strerror(-r));
    else
        wake_in(t, TRY_MS);
}

static int on_time(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_transfer *t = user;
    char why[HA_TEXT_MAX];
    (void)source, (void)at;
    if (t->stage == XVM_STAGE_LISTEN) {
        snprintf(why, sizeof(why), "%s did not connect to send %s", peer_name(t),
                 t->action.u.guest.guest);
        fail(t, why);
    } else if (t->stage == XVM_STAGE_CONNECT && t->socket >= 0) {
        cannot_connect(t, "no answer");
    } else if (t->stage == XVM_STAGE_CONNECT) {
        start_connect(t);
    } else if (t->stage == XVM_STAGE_SECURE) {
        xvm_attempts_drop(t->m, t, NULL);
        cannot_connect(t, "the handshake did not end");
    }
    return 0;
}

/* ------------------------------------------------------------------------------- the handshake */

void xvm_transfer_attempt_failed(struct xvm_transfer *t, int code, const char *why)
{
    char text[HA_TEXT_MAX * 2];
    if (t->stage == XVM_STAGE_FAILED || t->stage == XVM_STAGE_DRIVER)
        return;
    snprintf(text, sizeof(text), "%s %s: %s", is_send(t) ? "to" : "from", peer_name(t), why);
    if (is_send(t) && code == XVM_CHANNEL_CLOSED) {
        cannot_connect(t, why);
    } else if (is_send(t) || code == XVM_CHANNEL_FAILED) {
        fail(t, code == XVM_CHANNEL_FAILED ? why : text);
    } else {
        /* Whoever that was, the source may still come. */
        xvm_log(HA_SEV_WARNING, "migration: a connection for %s failed, %s",
                t->action.u.guest.guest, text);
        xvm_callers_claim(t->m, t);
    }
}

static void on_progress_line(void *user, const char *line)
{
    struct xvm_transfer *t = user;
    uint32_t round;
    uint64_t left;
    if (sscanf(line, "round %" SCNu32 " %" SCNu64, &round, &left) == 2) {
        t->told.round = round;
        t->told.left_kib = left;
    }
}

static int on_progress(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_transfer *t = user;
    (void)revents;
    if (!xvm_read_lines(fd, t->line, sizeof(t->line), &t->nline, on_progress_line, t))
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    return 0;
}

/* Where the worker tells its rounds. Without it there is simply less to show. */
static int open_progress(struct xvm_transfer *t)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    t->progress = fds[0];
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0 ||
        sd_event_add_io(t->m->env.loop, &t->on_progress, fds[0], EPOLLIN, on_progress, t) < 0) {
        close(fds[1]);
        return -1;
    }
    (void)sd_event_source_set_ratelimit(t->on_progress, 1000 * 1000, 50);
    return fds[1];
}

void xvm_transfer_ready(struct xvm_transfer *t, struct xvm_attempt *a, bool direct,
                        const char *words)
{
    struct xvm_channel channel = {.stream = direct ? a->socket : a->stream};
    if (t->stage != XVM_STAGE_SECURE && t->stage != XVM_STAGE_LISTEN)
        return;
    t->stage = XVM_STAGE_DRIVER;
    (void)sd_event_source_set_enabled(t->on_time, SD_EVENT_OFF);
    xvm_attempts_drop(t->m, t, a);
    channel.progress = open_progress(t);
    snprintf(t->told.text, sizeof(t->told.text), "%s", words);
    xvm_log(HA_SEV_INFO, "migration: %s %s %s: %s", t->action.u.guest.guest,
            is_send(t) ? "to" : "from", peer_name(t), words);
    ha_ms left = t->action.u.guest.timeout_ms - (xvm_now_ms() - t->began);
    t->action.u.guest.timeout_ms = left < TIME_LEFT_MIN_MS ? TIME_LEFT_MIN_MS : left;
    t->m->env.start(t->m->env.user, &t->action, &channel);
    xvm_close(&channel.progress);
    xvm_close(&a->stream);
    xvm_close(&a->socket);
}

void xvm_transfer_bytes(struct xvm_transfer *t, uint64_t out, uint64_t in)
{
    uint64_t bytes = is_send(t) ? out : in;
    ha_ms now = xvm_now_ms(), since = now - t->counted_at;
    if (t->stage != XVM_STAGE_DRIVER)
        return;
    if (t->counted_at && since > 0 && bytes >= t->told.bytes) {
        uint64_t rate = (bytes - t->told.bytes) * 1000 / (uint64_t)since;
        t->told.rate = t->told.rate ? (t->told.rate * 3 + rate) / 4 : rate;
    }
    t->counted_at = now;
    t->told.bytes = bytes;
    t->told.elapsed_ms = now - t->began;
    if (is_send(t) && now - t->told_at >= TELL_MS) {
        t->told_at = now;
        t->m->env.transfer(t->m->env.user, &t->told);
    }
}

/* ---------------------------------------------------------------------------------- the module */

static int check_key(struct xvm_migration *m, char why[HA_TEXT_MAX])
{
    const struct ha_migration_config *config = &m->env.config->migration;
    return config->encrypted ? xvm_authkey_check(config->authkey, why, HA_TEXT_MAX) : 0;
}

static void begin(struct xvm_transfer *t)
{
    char why[HA_TEXT_MAX];
    if (check_key(t->m, why) < 0 || (!is_send(t) && xvm_listen(t->m, why) < 0)) {
        fail(t, why);
    } else if (is_send(t)) {
        t->connect_until = t->began + SOURCE_PATIENCE_MS;
        start_connect(t);
    } else {
        t->stage = XVM_STAGE_LISTEN;
        wake_in(t, TARGET_PATIENCE_MS);
        xvm_callers_claim(t->m, t);
    }
}

void xvm_migration_start(struct xvm_migration *m, const struct ha_action *action)
{
    ha_ms limit = m->env.config->migration.time_limit_ms;
    struct xvm_transfer *t = calloc(1, sizeof(*t));
    int r = t ? 0 : -ENOMEM;
    assert(action->type == HA_ACT_GUEST);
    if (r == 0) {
        *t = (struct xvm_transfer){.next = m->transfers,
                                   .m = m,
                                   .action = *action,
                                   .socket = -1,
                                   .progress = -1,
                                   .began = xvm_now_ms()};
        m->transfers = t;
        t->told.mig = action->u.guest.mig;
        memcpy(t->told.guest, action->u.guest.guest, sizeof(t->told.guest));
        if (action->u.guest.timeout_ms <= 0 || limit < action->u.guest.timeout_ms)
            t->action.u.guest.timeout_ms = limit;
        r = sd_event_add_defer(m->env.loop, &t->on_fail, on_fail, t);
    }
    if (r >= 0)
        r = sd_event_source_set_enabled(t->on_fail, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(m->env.loop, &t->on_time, CLOCK_BOOTTIME, 0, 1000, on_time,
                                       t);
    if (r >= 0)
        r = sd_event_source_set_enabled(t->on_time, SD_EVENT_OFF);
    if (r >= 0) {
        begin(t);
        return;
    }
    /* No memory for an answer later: this one comes at once. */
    if (t)
        transfer_free(t);
    m->env.done(m->env.user, action->u.guest.op, HA_RESULT_FAILED, strerror(-r));
}

bool xvm_migration_cancel(struct xvm_migration *m, uint64_t op)
{
    struct xvm_transfer *t = op ? find(m, op) : NULL;
    if (t && t->stage != XVM_STAGE_FAILED)
        t->cancelled = true;
    if (!t || t->stage == XVM_STAGE_DRIVER)
        return false;
    fail(t, "cancelled before the transfer began");
    return true;
}

void xvm_migration_ended(struct xvm_migration *m, uint64_t op, enum ha_result result,
                         const char *text)
{
    struct xvm_transfer *t = find(m, op);
    if (!t)
        return;
    xvm_attempts_release(m, t);
    if (result != HA_RESULT_OK)
        tell_failed(t, text ? text : "");
    transfer_free(t);
}

void xvm_migration_set_config(struct xvm_migration *m, const struct ha_config *config)
{
    char why[HA_TEXT_MAX];
    m->env.config = config;
    /* Without any node corosync has not been heard yet; this is called again when it has. */
    if (m->env.facts->nnodes > 0 && xvm_listen(m, why) < 0)
        xvm_log(HA_SEV_WARNING, "migration: %s", why);
    if (check_key(m, why) < 0)
        xvm_log(HA_SEV_WARNING, "migration: %s", why);
}

int xvm_migration_new(const struct xvm_migration_env *env, struct xvm_migration **ret_migration)
{
    struct xvm_migration *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->env = *env;
    m->listen_fd = -1;
    m->program = xvm_child_find("xvm-ha-channel", "XVM_HA_CHANNEL");
    if (!m->program) {
        free(m);
        return -ENOMEM;
    }
    xvm_migration_set_config(m, env->config);
    *ret_migration = m;
    return 0;
}

struct xvm_migration *xvm_migration_free(struct xvm_migration *m)
{
    if (!m)
        return NULL;
    xvm_callers_free(m);
    xvm_listen_close(m);
    xvm_attempts_free(m);
    for (struct xvm_transfer *t = m->transfers, *next; t; t = next) {
        next = t->next;
        destroy(t);
    }
    free(m->program);
    free(m);
    return NULL;
}
