/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Owns the socket to the keeper and the starting of one; see keeper_link.h. */
#include "keeper_link.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper_proto.h"
#include "log.h"
#include "util.h"

enum {
    RETRY_MS = 200,
    SPAWN_EVERY_MS = 2000,
    PACKETS_MAX = 64,
};

struct xvm_keeper_link {
    struct xvm_keeper_link_env env;
    int fd; /* -1: not connected */
    sd_event_source *source, *retry_timer;
    struct ha_keeper_orders orders;
    bool ordered; /* orders holds something */
    bool unsent;  /* the keeper has not got it yet */
    bool told;    /* the core thinks that there is a keeper */
    bool complained;
    pid_t child; /* the intermediate process of a spawn; it ends at once */
    ha_ms spawned_at;
};

static void tell_gone(struct xvm_keeper_link *link)
{
    struct ha_event event = {.type = HA_EV_KEEPER};

    if (!link->told)
        return;
    link->told = false;
    link->env.event(link->env.user, &event);
}

static void retry_later(struct xvm_keeper_link *link)
{
    sd_event_source_set_time_relative(link->retry_timer, RETRY_MS * 1000);
    sd_event_source_set_enabled(link->retry_timer, SD_EVENT_ONESHOT);
}

static void hang_up(struct xvm_keeper_link *link)
{
    link->source = sd_event_source_disable_unref(link->source);
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    retry_later(link);
}

/* -------------------------------------------------------------------------------------- talking */

static void watch_for(struct xvm_keeper_link *link, uint32_t events)
{
    if (link->source)
        sd_event_source_set_io_events(link->source, events);
}

static void send_orders(struct xvm_keeper_link *link)
{
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
    size_t len;

    if (!link->unsent || link->fd < 0)
        return;
    len = xvm_keeper_put_orders(packet, link->env.self, &link->orders);
    if (send(link->fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
        link->unsent = false;
        watch_for(link, EPOLLIN);
    } else if (errno == EAGAIN) {
        watch_for(link, EPOLLIN | EPOLLOUT);
    } /* else: the socket tells the loop */
}

static void take_state(struct xvm_keeper_link *link, const struct xvm_keeper_state *state)
{
    struct ha_event event = {.type = HA_EV_KEEPER};

    if (state->self != link->env.self ||
        memcmp(&state->boot, &link->env.boot, sizeof(state->boot)) != 0) {
        if (!link->complained)
            xvm_log(HA_SEV_ERROR, "the keeper in %s is of node %u or of another boot: end it",
                    link->env.run_dir, state->self);
        link->complained = true;
        return;
    }
    event.u.keeper.connected = true;
    event.u.keeper.seq_applied = state->seq_applied;
    event.u.keeper.lease_until = state->lease_until;
    event.u.keeper.armed = state->armed;
    event.u.keeper.disk_t = state->disk_t;
    event.u.keeper.disk_gen = state->disk_gen;
    event.u.keeper.disk_id = state->disk_id;
    event.u.keeper.pilled = state->pilled;
    event.u.keeper.frozen = state->frozen;
    event.u.keeper.peers = state->peers;
    event.u.keeper.npeers = state->npeers;
    link->told = true;
    link->env.event(link->env.user, &event);
}

/* Each state is complete: only the newest of those that wait is of interest. */
static int receive(struct xvm_keeper_link *link)
{
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
    struct xvm_keeper_state state;
    bool any = false;
    int r = 0;

    for (int i = 0; i < PACKETS_MAX && r == 0; i++) {
        ssize_t n = recv(link->fd, packet, sizeof(packet), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0)
            r = -ENOTCONN;
        else if (xvm_keeper_get_state(packet, (size_t)n, &state) == 0)
            any = true;
    }
    if (any)
        take_state(link, &state);
    return r;
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_keeper_link *link = user;

    (void)source;
    (void)fd;
    if (receive(link) < 0 || (revents & (EPOLLHUP | EPOLLERR))) {
        xvm_log(HA_SEV_WARNING, "the keeper has hung up");
        hang_up(link);
        tell_gone(link);
    } else if (revents & EPOLLOUT) {
        watch_for(link, EPOLLIN);
        send_orders(link);
    }
    return 0;
}

/* ----------------------------------------------------------------------------------- connecting */

static int connect_to(const char *run_dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n, r, fd;

    n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/keeper.sock", run_dir);
    if (n < 0 || (size_t)n >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    r = -errno;
    close(fd);
    return r;
}

static int keeper_path(char *path, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    char *slash;

    if (n < 0)
        return -errno;
    path[n] = '\0';
    slash = strrchr(path, '/');
    if (!slash || (size_t)(slash + 1 - path) + sizeof("xvm-ha-keeper") > size)
        return -ENAMETOOLONG;
    strcpy(slash + 1, "xvm-ha-keeper");
    return 0;
}

static void uuid_text(const struct ha_uuid *uuid, char *text)
{
    for (size_t i = 0; i < sizeof(uuid->b); i++)
        sprintf(text + 2 * i, "%02x", uuid->b[i]);
}

/* The keeper detaches itself: it must live when we do not. */
static void spawn_keeper(struct xvm_keeper_link *link)
{
    char path[4096], boot[40];
    const char *const argv[] = {path,        "--detach", "--run-dir",    link->env.run_dir,
                                "--boot-id", boot,       "--log-target", link->env.log_target,
                                NULL};
    posix_spawnattr_t attr;
    sigset_t none;
    int r;

    if (link->child > 0 && waitpid(link->child, NULL, WNOHANG) == link->child)
        link->child = 0;
    if (!link->env.spawn || link->child > 0 || xvm_now_ms() - link->spawned_at < SPAWN_EVERY_MS)
        return;
    link->spawned_at = xvm_now_ms();
    r = keeper_path(path, sizeof(path));
    if (r == 0) {
        uuid_text(&link->env.boot, boot);
        sigemptyset(&none);
        posix_spawnattr_init(&attr);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
        r = -posix_spawn(&link->child, path, NULL, &attr, (char *const *)(uintptr_t)argv, environ);
        posix_spawnattr_destroy(&attr);
    }
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "cannot start %s: %s", path, strerror(-r));
    else
        xvm_log(HA_SEV_NOTICE, "started a keeper");
}

static void greet(struct xvm_keeper_link *link)
{
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
    size_t len = xvm_keeper_put_hello(packet, link->env.self,
                                      link->env.watchdog ? link->env.watchdog : "none");

    if (send(link->fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return; /* the socket tells the loop */
    link->unsent = link->ordered;
    send_orders(link);
}

static int on_retry(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_keeper_link *link = user;
    int r;

    (void)source;
    (void)at;
    link->fd = connect_to(link->env.run_dir);
    if (link->fd < 0) {
        if (link->fd != -EAGAIN) /* that is a keeper whose queue is full: there is one */
            spawn_keeper(link);
        link->fd = -1;
        retry_later(link);
        return 0;
    }
    r = sd_event_add_io(link->env.loop, &link->source, link->fd, EPOLLIN, on_socket, link);
    if (r < 0) {
        hang_up(link);
        return 0;
    }
    greet(link);
    return 0;
}

/* ------------------------------------------------------------------------------------ interface */

void xvm_keeper_link_order(struct xvm_keeper_link *link, const struct ha_keeper_orders *orders)
{
    link->orders = *orders;
    link->ordered = true;
    link->unsent = true;
    send_orders(link);
}

int xvm_keeper_link_new(const struct xvm_keeper_link_env *env, struct xvm_keeper_link **ret_link)
{
    struct xvm_keeper_link *link = calloc(1, sizeof(*link));
    int r;

    if (!link)
        return -ENOMEM;
    link->env = *env;
    link->fd = -1;
    link->spawned_at = -SPAWN_EVERY_MS;
    r = sd_event_add_time_relative(env->loop, &link->retry_timer, CLOCK_BOOTTIME, 0, 1000, on_retry,
                                   link);
    if (r < 0) {
        free(link);
        return r;
    }
    *ret_link = link;
    return 0;
}
