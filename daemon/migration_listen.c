/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The listener of the migration's transport, and who calls: strangers are sent away at once, hosts
 * of the cluster have a moment to name a migration, and are held until it is received here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "migration_internal.h"
#include "util.h"

enum {
    BACKLOG = 16,
    ACCEPTS = 8, /* in one turn of the loop */
    ACCEPTS_PER_SECOND = 64,
    SAY_MS = 10000,
};

static void destroy(struct xvm_caller *c)
{
    sd_event_source_disable_unref(c->on_io);
    sd_event_source_disable_unref(c->on_time);
    xvm_close(&c->fd);
    free(c);
}

static void caller_free(struct xvm_caller *c)
{
    struct xvm_caller **at = &c->m->callers;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    destroy(c);
}

static void turn_away(struct xvm_caller *c, const char *why)
{
    struct in6_addr address;
    char text[HA_ADDRESS_MAX] = "?", waste[HA_TEXT_MAX];
    if (xvm_migration_address(c->m->env.config, c->m->env.facts, c->from, &address, waste) == 0)
        xvm_address_text(&address, text);
    xvm_log(HA_SEV_WARNING, "migration: a connection from %s is closed: %s", text, why);
    caller_free(c);
}

/* ------------------------------------------------------------------------------- the preamble */

/* A caller that has named its migration: to its transfer, or held. */
static void place(struct xvm_caller *c)
{
    struct xvm_transfer *t = xvm_transfer_receiving(c->m, c->preamble.mig);
    if (!t || t->action.u.guest.peer != c->from || t->stage != XVM_STAGE_LISTEN ||
        xvm_attempts_count(c->m, t) >= XVM_ATTEMPTS_MAX)
        return;
    int fd = c->fd;
    c->fd = -1;
    caller_free(c);
    int r = xvm_attempt_new(t, fd);
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "migration: cannot take the connection for %s: %s",
                t->action.u.guest.guest, strerror(-r));
}

static int on_hold_time(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_caller *c = user;
    (void)source, (void)at;
    turn_away(c, c->named ? "the move it names is not being received here"
                          : "it did not say what it wants");
    return 0;
}

static void named(struct xvm_caller *c)
{
    if (c->preamble.source != c->from || c->preamble.target != c->m->env.self) {
        turn_away(c, "it claims to be another host, or means another one");
        return;
    }
    c->named = true;
    c->on_io = sd_event_source_disable_unref(c->on_io);
    (void)sd_event_source_set_time_relative(c->on_time, (uint64_t)XVM_HOLD_MS * 1000);
    (void)sd_event_source_set_enabled(c->on_time, SD_EVENT_ONESHOT);
    place(c);
}

static int on_caller(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_caller *c = user;
    (void)source, (void)revents;
    /* No byte more than the preamble: what follows is for the channel. */
    ssize_t n = read(fd, c->bytes + c->n, sizeof(c->bytes) - c->n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        caller_free(c);
        return 0;
    }
    c->n += (size_t)n;
    int r = xvm_preamble_read(c->bytes, c->n, &c->preamble);
    if (r == 0)
        named(c);
    else if (r == -EPROTONOSUPPORT)
        turn_away(c, "its xvm-had speaks another version of the transport: run the same on both");
    else if (r != -EAGAIN)
        turn_away(c, "it is not an xvm-had");
    return 0;
}

void xvm_callers_claim(struct xvm_migration *m, struct xvm_transfer *t)
{
    for (struct xvm_caller *c = m->callers, *next; c; c = next) {
        next = c->next;
        if (c->named && c->preamble.mig == t->action.u.guest.mig)
            place(c);
    }
}

/* -------------------------------------------------------------------------------- the listener */

/* The host of the cluster with that address; 0: a stranger. */
static ha_node host_of(const struct xvm_migration *m, const struct in6_addr *address)
{
    const struct ha_config *config = m->env.config;
    char why[HA_TEXT_MAX];
    for (size_t i = 0; i < config->nhosts; i++) {
        struct in6_addr known;
        if (config->hosts[i].node != m->env.self &&
            xvm_migration_address(config, m->env.facts, config->hosts[i].node, &known, why) == 0 &&
            memcmp(&known, address, sizeof(known)) == 0)
            return config->hosts[i].node;
    }
    return 0;
}

static bool room_for(const struct xvm_migration *m, ha_node from)
{
    size_t all = 0, of_host = 0;
    for (const struct xvm_caller *c = m->callers; c; c = c->next) {
        all++;
        of_host += c->from == from;
    }
    return all < XVM_CALLERS_MAX && of_host < XVM_CALLERS_OF_HOST;
}

static int caller_new(struct xvm_migration *m, int fd, ha_node from)
{
    struct xvm_caller *c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return -ENOMEM;
    }
    *c = (struct xvm_caller){.next = m->callers, .m = m, .fd = fd, .from = from};
    m->callers = c;
    int r = sd_event_add_io(m->env.loop, &c->on_io, fd, EPOLLIN, on_caller, c);
    if (r >= 0)
        r = sd_event_add_time_relative(m->env.loop, &c->on_time, CLOCK_BOOTTIME,
                                       (uint64_t)XVM_PREAMBLE_MS * 1000, 10000, on_hold_time, c);
    if (r < 0)
        caller_free(c);
    return r < 0 ? r : 0;
}

/* A port scan must not fill the log. */
static void say_stranger(struct xvm_migration *m, const char *from, const char *why)
{
    ha_ms now = xvm_now_ms();
    m->strangers++;
    if (m->stranger_said && now - m->stranger_said < SAY_MS)
        return;
    xvm_log(HA_SEV_WARNING,
            "migration: a connection from %s is closed: %s (%u since the last such "
            "line)",
            from, why, m->strangers);
    m->stranger_said = now;
    m->strangers = 0;
}

static void take_one(struct xvm_migration *m, int fd, const struct sockaddr_storage *from)
{
    struct in6_addr address;
    char text[HA_ADDRESS_MAX] = "?";
    ha_node host = 0;
    if (xvm_address_of(from, &address)) {
        host = host_of(m, &address);
        xvm_address_text(&address, text);
    }
    if (!host || !room_for(m, host)) {
        close(fd);
        say_stranger(m, text,
                     host ? "too many of that host are waiting" : "that is no host of the cluster");
        return;
    }
    if (caller_new(m, fd, host) < 0)
        xvm_log(HA_SEV_ERROR, "migration: out of memory");
}

static int on_listen(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_migration *m = user;
    (void)source, (void)revents;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof(from);
        int conn = accept4(fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (conn < 0)
            return 0;
        take_one(m, conn, &from);
    }
    return 0;
}

void xvm_listen_close(struct xvm_migration *m)
{
    m->on_listen = sd_event_source_disable_unref(m->on_listen);
    xvm_close(&m->listen_fd);
}

static int open_listener(const struct in6_addr *address, int port)
{
    struct sockaddr_storage at;
    socklen_t len = xvm_address_socket(address, port, &at);
    int on = 1, fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    xvm_migration_buffers(fd);
    /* The daemon may come up before the address does. */
    if (at.ss_family == AF_INET)
        (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
    else
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, BACKLOG) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

int xvm_listen(struct xvm_migration *m, char ret_why[HA_TEXT_MAX])
{
    int port = m->env.config->migration.port;
    struct in6_addr address;
    char text[HA_ADDRESS_MAX];
    int r = xvm_migration_address(m->env.config, m->env.facts, m->env.self, &address, ret_why);
    if (r < 0)
        return r;
    if (m->listen_fd >= 0 && m->listen_port == port &&
        memcmp(&address, &m->listen_address, sizeof(address)) == 0)
        return 0;
    xvm_listen_close(m);
    xvm_address_text(&address, text);
    m->listen_fd = open_listener(&address, port);
    r = m->listen_fd;
    if (r >= 0)
        r = sd_event_add_io(m->env.loop, &m->on_listen, m->listen_fd, EPOLLIN, on_listen, m);
    if (r < 0) {
        snprintf(ret_why, HA_TEXT_MAX, "cannot listen on %s port %d: %s", text, port, strerror(-r));
        xvm_listen_close(m);
        return r;
    }
    (void)sd_event_source_set_ratelimit(m->on_listen, 1000 * 1000, ACCEPTS_PER_SECOND);
    m->listen_address = address;
    m->listen_port = port;
    xvm_log(HA_SEV_INFO, "migration: moves arrive at %s port %d", text, port);
    return 0;
}

void xvm_callers_free(struct xvm_migration *m)
{
    for (struct xvm_caller *c = m->callers, *next; c; c = next) {
        next = c->next;
        destroy(c);
    }
    m->callers = NULL;
}
