/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One xvm-ha-channel: started on a connected socket, listened to, and let go. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "migration_internal.h"

enum { LIMIT_EXTRA_MS = 60 * 1000 }; /* the worker's own limit comes first */

static void unlink_attempt(struct xvm_attempt *a)
{
    struct xvm_attempt **at = &a->m->attempts;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
}

static void close_ends(struct xvm_attempt *a)
{
    a->on_control = sd_event_source_disable_unref(a->on_control);
    xvm_close(&a->control);
    xvm_close(&a->stream);
    xvm_close(&a->socket);
}

static void on_line(void *user, const char *line)
{
    struct xvm_attempt *a = user;
    uint64_t out, in;
    if (!a->transfer)
        return;
    if (sscanf(line, "bytes %" SCNu64 " %" SCNu64, &out, &in) == 2) {
        if (a->ready)
            xvm_transfer_bytes(a->transfer, out, in);
        return;
    }
    bool direct = !strncmp(line, "ready direct ", 13);
    if (a->ready || (!direct && strncmp(line, "ready relay ", 12) != 0))
        return;
    a->ready = true;
    xvm_transfer_ready(a->transfer, a, direct, line + (direct ? 13 : 12));
}

static int on_control(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_attempt *a = user;
    (void)revents;
    if (!xvm_read_lines(fd, a->line, sizeof(a->line), &a->nline, on_line, a))
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF); /* its end is told by the child */
    return 0;
}

static void on_end(void *user, const struct xvm_child_end *end)
{
    struct xvm_attempt *a = user;
    struct xvm_transfer *t = a->transfer;
    bool ready = a->ready;
    char said[HA_TEXT_MAX];
    int code = end->how == XVM_CHILD_EXITED ? end->code : XVM_CHANNEL_BROKEN;
    xvm_child_sanitise(end->out[0] ? end->out : end->err, said, sizeof(said));
    if (end->how == XVM_CHILD_NOT_STARTED) {
        code = XVM_CHANNEL_FAILED;
        snprintf(said, sizeof(said), "cannot run %.100s: %s", a->m->program, strerror(end->code));
    } else if (!said[0]) {
        snprintf(said, sizeof(said), "xvm-ha-channel ended without a word (%s %d)",
                 end->how == XVM_CHILD_EXITED ? "exit" : "signal", end->code);
    }
    unlink_attempt(a);
    close_ends(a);
    free(a);
    /* After `ready` the worker finds out by itself. */
    if (t && !ready)
        xvm_transfer_attempt_failed(t, code, said);
}

struct numbers {
    char mig[24], source[16], target[16], rate[24], limit[24], handshake[24];
};

static void fill_numbers(const struct xvm_transfer *t, struct numbers *n)
{
    const struct ha_migration_config *config = &t->m->env.config->migration;
    bool send = t->action.u.guest.what == HA_OP_SEND;
    ha_node self = t->m->env.self, peer = t->action.u.guest.peer;
    snprintf(n->mig, sizeof(n->mig), "%" PRIu64, t->action.u.guest.mig);
    snprintf(n->source, sizeof(n->source), "%u", send ? self : peer);
    snprintf(n->target, sizeof(n->target), "%u", send ? peer : self);
    snprintf(n->rate, sizeof(n->rate), "%" PRIu64, send ? config->bandwidth_kib * 1024 : 0);
    snprintf(n->limit, sizeof(n->limit), "%" PRId64, config->time_limit_ms + LIMIT_EXTRA_MS);
    snprintf(n->handshake, sizeof(n->handshake), "%d", XVM_HANDSHAKE_MS);
}

static int spawn(struct xvm_attempt *a, int stream, int control)
{
    const struct xvm_transfer *t = a->transfer;
    const struct ha_config *config = a->m->env.config;
    struct numbers n = {0};
    fill_numbers(t, &n);
    const char *argv[] = {"xvm-ha-channel",
                          t->action.u.guest.what == HA_OP_SEND ? "send" : "receive",
                          "--socket",
                          "3",
                          "--stream",
                          "4",
                          "--control",
                          "5",
                          "--encryption",
                          config->migration.encrypted ? "tls" : "off",
                          "--key",
                          config->migration.authkey,
                          "--cluster",
                          config->cluster_name,
                          "--guest",
                          t->action.u.guest.guest,
                          "--mig",
                          n.mig,
                          "--source",
                          n.source,
                          "--target",
                          n.target,
                          "--rate",
                          n.rate,
                          "--limit",
                          n.limit,
                          "--handshake",
                          n.handshake,
                          NULL};
    const int fds[] = {a->socket, stream, control};
    const struct xvm_child_spec spec = {.path = a->m->program,
                                        .argv = (char *const *)(uintptr_t)argv,
                                        .envp = environ,
                                        .fds = fds,
                                        .nfds = 3};
    return xvm_child_new(a->m->env.loop, &spec, on_end, a, &a->child);
}

/* A host that is gone without a word is noticed, whoever waits for whom. */
static void watch_the_line(int socket)
{
    static const struct {
        int name, value;
    } options[] = {
        {TCP_KEEPIDLE, 10}, {TCP_KEEPINTVL, 5},
        {TCP_KEEPCNT, 6},   {TCP_USER_TIMEOUT, 60 * 1000}, /* ms */
        {TCP_NODELAY, 1},
    };
    int on = 1;
    (void)setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        (void)setsockopt(socket, IPPROTO_TCP, options[i].name, &options[i].value,
                         sizeof(options[i].value));
}

/* The worker's reads and writes block. */
static int make_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

int xvm_attempt_new(struct xvm_transfer *t, int socket)
{
    int stream[2] = {-1, -1}, control[2] = {-1, -1};
    struct xvm_attempt *a = calloc(1, sizeof(*a));
    if (!a) {
        close(socket);
        return -ENOMEM;
    }
    *a = (struct xvm_attempt){
        .m = t->m, .transfer = t, .control = -1, .stream = -1, .socket = socket};
    watch_the_line(socket);
    int r = make_blocking(socket);
    if (r == 0 && (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) < 0 ||
                   socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control) < 0))
        r = -errno;
    a->stream = stream[0];
    a->control = control[0];
    if (r == 0)
        r = sd_event_add_io(t->m->env.loop, &a->on_control, a->control, EPOLLIN, on_control, a);
    if (r >= 0)
        r = spawn(a, stream[1], control[1]);
    xvm_close(&stream[1]);
    xvm_close(&control[1]);
    if (r < 0) {
        close_ends(a);
        free(a);
        return r;
    }
    a->next = t->m->attempts;
    t->m->attempts = a;
    return 0;
}

void xvm_attempts_drop(struct xvm_migration *m, const struct xvm_transfer *t,
                       const struct xvm_attempt *keep)
{
    for (struct xvm_attempt *a = m->attempts; a; a = a->next) {
        if (a->transfer != t || a == keep)
            continue;
        a->transfer = NULL;
        close_ends(a);
        xvm_child_kill(a->child);
    }
}

void xvm_attempts_release(struct xvm_migration *m, const struct xvm_transfer *t)
{
    for (struct xvm_attempt *a = m->attempts; a; a = a->next) {
        if (a->transfer != t)
            continue;
        a->transfer = NULL;
        close_ends(a);
    }
}

size_t xvm_attempts_count(const struct xvm_migration *m, const struct xvm_transfer *t)
{
    size_t n = 0;
    for (const struct xvm_attempt *a = m->attempts; a; a = a->next)
        n += a->transfer == t;
    return n;
}

void xvm_attempts_free(struct xvm_migration *m)
{
    while (m->attempts) {
        struct xvm_attempt *a = m->attempts;
        m->attempts = a->next;
        xvm_child_abandon(a->child); /* it goes on if its worker does, and ends if there is none */
        close_ends(a);
        free(a);
    }
}
