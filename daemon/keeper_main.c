/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-ha-keeper: owns the watchdog and the beats of this host, and nothing else. One loop that
 * never waits for anybody, all memory locked, the pure core of libha/keeper.c inside. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "cpg_link.h"
#include "keeper_memory.h"
#include "keeper_proto.h"
#include "log.h"
#include "util.h"
#include "watchdog.h"

enum {
    IN_FLIGHT_MAX = 8, /* own beats; more would only be old news */
    DISPATCH_MAX = 32,
    PACKETS_MAX = 16,
    RECONNECT_MIN_MS = 100,
    RECONNECT_MAX_MS = 1000,
    RESEND_MS = 20,
};

struct options {
    const char *run_dir, *watchdog, *log_target; /* watchdog NULL: the daemon knows */
    struct ha_uuid boot;
    bool detach;
};

struct keeper {
    struct ha_keeper core;
    bool known; /* our node id is known: the core lives */
    struct ha_uuid boot;
    struct xvm_keeper_file file;
    struct xvm_cpg_link cpg;
    struct xvm_watchdog dog;
    ha_ms last_pet;
    char dog_path[XVM_KEEPER_PATH_MAX];
    bool dog_by_option; /* the daemon's word on the device does not count */
    int adopted_fd;     /* a device that an earlier life left with systemd; -1: none */
    bool arm_failed;    /* said so */
    int listen_fd, daemon_fd, timer_fd, signal_fd;
    int disk_listen_fd, disk_fd; /* the process that reads and writes the shared disk */
    bool died;                   /* the watchdog was set to its shortest for a poison pill */
    bool ordered; /* by the daemon of this connection */
    bool dirty;   /* the daemon has not heard of the present state */
    bool stopping;
    ha_ms reconnect_at, reconnect_after; /* at: INT64_MAX while connected or connecting */
    ha_ms resend_at;
    unsigned char beat[HA_BEAT_MAX];
    size_t beat_len; /* a beat that could not be sent yet */
};

static struct keeper self; /* static: locked, and nothing to allocate */
static void step(struct keeper *k, struct ha_keeper_event event);

/* ------------------------------------------------------------------------------------ watchdog */

/* Called after each write that may have petted. A write that came after the lapse (we were stopped
 * between check and write) gave the host too much time: take it back. */
static void take_back_late_pet(struct keeper *k)
{
    ha_ms now = xvm_now_ms(), late;
    unsigned left = 1;

    k->last_pet = now;
    if (!k->dog.armed || ha_keeper_may_pet(&k->core, now))
        return;
    late = (now - ha_keeper_lease(&k->core) + 999) / 1000;
    if (late >= 0 && late < (ha_ms)k->dog.seconds - 1)
        left = k->dog.seconds - (unsigned)late;
    xvm_log(HA_SEV_WARNING, "petted the watchdog at the lease's very end; it fires in %u s", left);
    xvm_watchdog_set_timeout(&k->dog, left);
}

/* Opens nothing; only the core's word does. */
static void choose_watchdog(struct keeper *k, const char *path)
{
    int r;

    if (k->dog.armed || strcmp(k->dog_path, path) == 0)
        return; /* another one, when this one has been disarmed */
    if (k->dog.fd >= 0)
        return; /* an adopted one still ticks */
    snprintf(k->dog_path, sizeof(k->dog_path), "%s", path);
    r = xvm_watchdog_choose(&k->dog, k->dog_path);
    if (strcmp(path, "none") == 0)
        xvm_log(HA_SEV_NOTICE, "no watchdog: self-fencing is not claimed");
    if (r < 0)
        xvm_log(HA_SEV_WARNING, "watchdog %s: %s%s", path, strerror(-r),
                strcmp(path, "xen") == 0
                    ? ": the hypervisor's own is not there; is this a dom0, and xen_wdt loaded?"
                    : "");
    k->arm_failed = false;
    if (k->adopted_fd >= 0 && strcmp(k->dog.ops->name, "device") == 0) {
        k->dog.fd = k->adopted_fd; /* still ticking */
        k->adopted_fd = -1;
    }
}

static void keep_device_open(const struct keeper *k)
{
    /* Should we crash, systemd still holds the device: a close would pet it once more. */
    if (strcmp(k->dog.ops->name, "device") == 0)
        sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=watchdog\nFDPOLL=0", &k->dog.fd, 1);
}

static void arm(struct keeper *k)
{
    struct ha_keeper_event event = {.type = HA_KEV_DEVICE};
    unsigned seconds = (unsigned)(k->core.orders.watchdog_ms / 1000);
    int r;

    if (!ha_keeper_may_pet(&k->core, xvm_now_ms()) || seconds == 0)
        return;
    r = xvm_watchdog_arm(&k->dog, seconds);
    if (r < 0) {
        if (!k->arm_failed && strcmp(k->dog.path, "none") != 0)
            xvm_log(HA_SEV_WARNING, "no watchdog (%s: %s): self-fencing is not claimed",
                    k->dog.path, strerror(-r));
        k->arm_failed = true;
        return;
    }
    k->arm_failed = false;
    take_back_late_pet(k);
    keep_device_open(k);
    xvm_log(HA_SEV_NOTICE, "watchdog %s armed, %u s", k->dog.path, seconds);
    event.u.armed = true;
    step(k, event);
}

static void pet(struct keeper *k)
{
    struct ha_keeper_event event = {.type = HA_KEV_DEVICE};
    int r;

    /* again, with the time of now: the step may have been computed before a stop */
    if (!ha_keeper_may_pet(&k->core, xvm_now_ms()))
        return;
    r = xvm_watchdog_pet(&k->dog);
    if (r < 0 && r != -EAGAIN) {
        xvm_log(HA_SEV_ERROR, "watchdog %s cannot be petted: %s", k->dog.path, strerror(-r));
        k->dog.armed = false;
        step(k, event);
        return;
    }
    take_back_late_pet(k);
}

static void disarm(struct keeper *k)
{
    int r = xvm_watchdog_disarm(&k->dog);

    if (r < 0) {
        bool frozen = k->core.orders.frozen;
        xvm_log(HA_SEV_ERROR, "watchdog %s cannot be disarmed: %s; it %s", k->dog.path,
                strerror(-r),
                frozen ? "is petted until it can, for the cluster is frozen" : "will fire");
        if (frozen && k->dog.armed)
            step(k, (struct ha_keeper_event){.type = HA_KEV_DEVICE, .u.armed = true});
        return;
    }
    sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=watchdog");
    xvm_log(HA_SEV_NOTICE, "watchdog %s disarmed", k->dog.path);
}

/* Follows a new W. A shorter one at once, before a beat tells others of it; a longer one only when
 * the lease rests on beats that carry it. A change pets, so without a lease it must not prolong. */
static void follow_timeout(struct keeper *k)
{
    unsigned want = (unsigned)(k->core.orders.watchdog_ms / 1000);
    ha_ms now = xvm_now_ms();
    bool may_pet;
    int r;

    if (!k->dog.armed || want == 0 || want == k->dog.seconds)
        return;
    may_pet = ha_keeper_may_pet(&k->core, now);
    if (may_pet && want > k->dog.seconds && !ha_keeper_settled(&k->core))
        return;
    if (!may_pet && now + (ha_ms)want * 1000 >= k->last_pet + (ha_ms)k->dog.seconds * 1000)
        return;
    r = xvm_watchdog_set_timeout(&k->dog, want);
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "watchdog %s refuses %u s: %s", k->dog.path, want, strerror(-r));
    if (may_pet)
        take_back_late_pet(k);
}

/* A poison pill: nobody pets any more; with the shortest time that the device takes it is over
 * sooner. */
static void die(struct keeper *k)
{
    if (k->died)
        return;
    k->died = true;
    xvm_log(HA_SEV_ALERT,
            "a poison pill for this host is on the shared disk: the watchdog resets it");
    for (unsigned seconds = 1; seconds < k->dog.seconds; seconds *= 2)
        if (xvm_watchdog_set_timeout(&k->dog, seconds) == 0)
            return;
}

/* ---------------------------------------------------------------------------------------- core */

static void send_beat(struct keeper *k)
{
    int r;

    if (k->beat_len == 0)
        return;
    r = xvm_cpg_send(&k->cpg, k->beat, k->beat_len);
    if (r == -EAGAIN) {
        k->resend_at = xvm_now_ms() + RESEND_MS;
        return;
    }
    k->beat_len = 0; /* sent, or no corosync: the dispatch will tell */
    k->resend_at = INT64_MAX;
}

static void carry_out(struct keeper *k, const struct ha_keeper_result *result)
{
    if (!k->died)
        follow_timeout(k);
    if (result->die)
        die(k);
    if (result->disarm)
        disarm(k);
    if (result->pet)
        pet(k);
    if (result->send) {
        memcpy(k->beat, result->beat, result->beat_len);
        k->beat_len = result->beat_len;
        send_beat(k);
    }
    k->dirty = k->dirty || result->changed;
    xvm_keeper_file_save(&k->file, &k->core);
    if (result->arm)
        arm(k);
}

static void step(struct keeper *k, struct ha_keeper_event event)
{
    struct ha_keeper_result result;

    if (!k->known)
        return;
    event.now = xvm_now_ms();
    ha_keeper_step(&k->core, &event, &result);
    carry_out(k, &result);
}

/* The core begins to live when somebody tells our node id: corosync or the daemon. */
static int know_self(struct keeper *k, ha_node node)
{
    const struct xvm_keeper_slot *slot = xvm_keeper_file_last(&k->file);

    if (node == 0)
        return -EINVAL;
    if (k->known)
        return k->core.self == node ? 0 : -EINVAL;
    ha_keeper_init(&k->core, node, &k->boot, HA_MUTANT_NONE);
    ha_keeper_restore(&k->core, slot && slot->self == node ? &slot->memory : NULL, xvm_now_ms());
    k->known = true;
    k->dirty = true;
    return 0;
}

/* ---------------------------------------------------------------------------------------- ring */

static void on_beat(struct xvm_cpg_link *link, ha_node node, uint32_t pid, const void *data,
                    size_t len)
{
    struct ha_keeper_event event = {.type = HA_KEV_BEAT};

    (void)pid;
    event.u.beat.from = node;
    event.u.beat.data = data;
    event.u.beat.len = len;
    step(link->user, event);
}

static void on_group(struct xvm_cpg_link *link, const struct cpg_address *members, size_t nmembers,
                     const struct cpg_address *left, size_t nleft, const struct cpg_address *joined,
                     size_t njoined)
{
    (void)members;
    (void)nmembers;
    (void)left;
    (void)nleft;
    (void)joined;
    (void)njoined;
    step(link->user, (struct ha_keeper_event){.type = HA_KEV_GROUP});
}

static void on_ring(struct xvm_cpg_link *link, struct ha_ring ring, const ha_node *members,
                    size_t nmembers)
{
    (void)members;
    (void)nmembers;
    step(link->user, (struct ha_keeper_event){.type = HA_KEV_RING, .u.ring = ring});
}

static const struct xvm_cpg_ops cpg_ops = {
    .deliver = on_beat,
    .group = on_group,
    .ring = on_ring,
};

static void reconnect_later(struct keeper *k)
{
    k->reconnect_at = xvm_now_ms() + k->reconnect_after;
    k->reconnect_after *= 2;
    if (k->reconnect_after > RECONNECT_MAX_MS)
        k->reconnect_after = RECONNECT_MAX_MS;
}

static void on_connected(struct keeper *k)
{
    int r = xvm_cpg_connected(&k->cpg);

    if (r == -EAGAIN)
        return;
    if (r == 0 && know_self(k, k->cpg.node) < 0) {
        xvm_log(HA_SEV_ERROR, "corosync says that this is node %u, not %u", k->cpg.node,
                k->core.self);
        xvm_cpg_drop(&k->cpg);
        r = -EINVAL;
    }
    if (r < 0) {
        reconnect_later(k);
        return;
    }
    k->reconnect_after = RECONNECT_MIN_MS;
    k->beat_len = 0;
    xvm_log(HA_SEV_INFO, "connected to corosync as node %u", k->cpg.node);
}

static void on_cpg(struct keeper *k)
{
    if (xvm_cpg_dispatch(&k->cpg, DISPATCH_MAX) == 0)
        return;
    xvm_log(HA_SEV_WARNING, "corosync is gone");
    xvm_cpg_drop(&k->cpg);
    k->beat_len = 0;
    k->resend_at = INT64_MAX;
    step(k, (struct ha_keeper_event){.type = HA_KEV_DISCONNECTED});
    reconnect_later(k);
}

/* -------------------------------------------------------------------------------------- daemon */

static void forget_daemon(struct keeper *k)
{
    if (k->daemon_fd >= 0)
        close(k->daemon_fd);
    k->daemon_fd = -1;
    k->ordered = false; /* what a later daemon sees as applied are its own orders only */
}

static int accept_root(int listen_fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return -1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
        (peer.uid != 0 && peer.uid != geteuid())) {
        close(fd);
        return -1;
    }
    return fd;
}

static void on_listen(struct keeper *k)
{
    int fd = accept_root(k->listen_fd);

    if (fd < 0)
        return;
    forget_daemon(k); /* the newest: two daemons never run at once */
    k->daemon_fd = fd;
    k->dirty = true;
}

/* ---------------------------------------------------------------------------------------- disk */

static void forget_disk(struct keeper *k)
{
    if (k->disk_fd >= 0)
        close(k->disk_fd);
    k->disk_fd = -1;
}

static void answer_disk(struct keeper *k)
{
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
    struct xvm_disk_answer answer = {
        .bound = k->core.disk == HA_DISK_ON,
        .armed = k->dog.armed,
        .timeout_ms = k->core.disk_ms,
        .watchdog_ms = k->core.orders.watchdog_ms,
    };
    size_t len = xvm_keeper_put_answer(packet, &answer);

    /* one that does not listen is busy with the disk; the next answer is as good */
    (void)send(k->disk_fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_disk(struct keeper *k)
{
    static struct xvm_disk_word word;
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
    struct ha_keeper_event event = {.type = HA_KEV_DISK};

    for (int i = 0; i < PACKETS_MAX; i++) {
        ssize_t n = recv(k->disk_fd, packet, sizeof(packet), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || xvm_keeper_get_word(packet, (size_t)n, &word) < 0) {
            forget_disk(k);
            return;
        }
        if (!k->known || word.self != k->core.self ||
            memcmp(&word.boot, &k->boot, sizeof(word.boot)) != 0)
            continue; /* of another life: proves nothing */
        event.u.disk.t = word.t;
        event.u.disk.disk = word.disk;
        event.u.disk.pill = word.pill;
        event.u.disk.loss = word.loss;
        event.u.disk.seen = word.seen;
        event.u.disk.nseen = word.nseen;
        step(k, event);
        answer_disk(k);
    }
}

static void on_disk_listen(struct keeper *k)
{
    int fd = accept_root(k->disk_listen_fd);

    if (fd < 0)
        return;
    forget_disk(k); /* the newest; a lock keeps them to one */
    k->disk_fd = fd;
}

static int take_packet(struct keeper *k, const unsigned char *packet, size_t len)
{
    struct ha_keeper_event event = {.type = HA_KEV_ORDERS};
    struct ha_keeper_orders orders;
    char watchdog[XVM_KEEPER_PATH_MAX];
    ha_node node;

    if (xvm_keeper_get_hello(packet, len, &node, watchdog) == 0) {
        k->dirty = true;
        if (!k->dog_by_option)
            choose_watchdog(k, watchdog);
        return know_self(k, node);
    }
    if (xvm_keeper_get_orders(packet, len, &node, &orders) < 0 || know_self(k, node) < 0)
        return -EBADMSG;
    k->ordered = true;
    event.u.orders = &orders;
    step(k, event);
    return 0;
}

static void on_daemon(struct keeper *k)
{
    unsigned char packet[XVM_KEEPER_PACKET_MAX];

    for (int i = 0; i < PACKETS_MAX; i++) {
        ssize_t n = recv(k->daemon_fd, packet, sizeof(packet), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            forget_daemon(k);
            return;
        }
        if (take_packet(k, packet, (size_t)n) < 0) {
            xvm_log(HA_SEV_ERROR, "orders not understood, or for another node than %u",
                    k->core.self);
            forget_daemon(k);
            return;
        }
    }
}

static void tell_daemon(struct keeper *k)
{
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
    struct xvm_keeper_state state;
    struct ha_event event;
    size_t len;

    if (!k->dirty || !k->known || k->daemon_fd < 0)
        return;
    ha_keeper_state(&k->core, &event, state.peers);
    state.self = k->core.self;
    state.boot = k->boot;
    state.seq_applied = k->ordered ? event.u.keeper.seq_applied : 0;
    state.lease_until = event.u.keeper.lease_until;
    state.armed = event.u.keeper.armed;
    state.disk_t = event.u.keeper.disk_t;
    state.disk_gen = event.u.keeper.disk_gen;
    state.disk_id = event.u.keeper.disk_id;
    state.pilled = event.u.keeper.pilled;
    state.frozen = event.u.keeper.frozen;
    state.npeers = event.u.keeper.npeers;
    len = xvm_keeper_put_state(packet, &state);
    if (send(k->daemon_fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        k->dirty = false;
    else if (errno != EAGAIN)
        forget_daemon(k);
}

/* ---------------------------------------------------------------------------------------- loop */

static void on_signal(struct keeper *k)
{
    struct signalfd_siginfo info;

    if (read(k->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (!k->stopping && k->dog.armed)
        xvm_log(HA_SEV_WARNING, "the watchdog is armed: going on until this host is disarmed");
    k->stopping = true;
}

static void set_timer(struct keeper *k)
{
    struct itimerspec at = {0};
    ha_ms next = k->known ? ha_keeper_deadline(&k->core) : INT64_MAX;

    if (k->reconnect_at < next)
        next = k->reconnect_at;
    if (k->resend_at < next)
        next = k->resend_at;
    if (next != INT64_MAX) {
        if (next < 1)
            next = 1; /* 0 would stop the timer */
        at.it_value.tv_sec = next / 1000;
        at.it_value.tv_nsec = next % 1000 * 1000000;
    }
    timerfd_settime(k->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_time(struct keeper *k)
{
    ha_ms now = xvm_now_ms();

    step(k, (struct ha_keeper_event){.type = HA_KEV_TICK});
    if (k->resend_at <= now) {
        k->resend_at = INT64_MAX;
        send_beat(k);
    }
    if (k->reconnect_at <= now) {
        k->reconnect_at = INT64_MAX;
        if (xvm_cpg_connect(&k->cpg) < 0)
            reconnect_later(k);
    }
}

static void loop(struct keeper *k)
{
    uint64_t count;

    while (!k->stopping || k->dog.armed) {
        struct pollfd fds[] = {
            {.fd = k->timer_fd, .events = POLLIN},     {.fd = k->signal_fd, .events = POLLIN},
            {.fd = k->cpg.ready_fd, .events = POLLIN}, {.fd = k->cpg.fd, .events = POLLIN},
            {.fd = k->daemon_fd, .events = POLLIN},    {.fd = k->listen_fd, .events = POLLIN},
            {.fd = k->disk_fd, .events = POLLIN},      {.fd = k->disk_listen_fd, .events = POLLIN},
        };

        if (!k->cpg.connected)
            fds[3].fd = -1; /* while connecting, another thread writes it */
        set_timer(k);
        if (poll(fds, sizeof(fds) / sizeof(fds[0]), -1) < 0 && errno != EINTR)
            break;
        if (read(k->timer_fd, &count, sizeof(count)) < 0)
            count = 0;
        on_time(k); /* first, whatever else there is */
        if (fds[1].revents)
            on_signal(k);
        if (fds[2].revents)
            on_connected(k);
        if (fds[3].revents && k->cpg.connected)
            on_cpg(k);
        if (fds[4].revents && k->daemon_fd >= 0)
            on_daemon(k);
        if (fds[5].revents)
            on_listen(k);
        if (fds[6].revents && k->disk_fd >= 0)
            on_disk(k);
        if (fds[7].revents)
            on_disk_listen(k);
        tell_daemon(k);
    }
}

/* --------------------------------------------------------------------------------------- start */

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, probe, r = 0;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return -errno;
    if (connect(probe, (const struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN)
        r = -EADDRINUSE; /* two keepers would pet one watchdog by two leases */
    close(probe);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    unlink(path);
    umask(0177);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static void adopt_device(struct keeper *k)
{
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names);

    k->adopted_fd = -1;
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], "watchdog") == 0)
            k->adopted_fd = SD_LISTEN_FDS_START + i;
        free(names[i]);
    }
    free(names);
}

static int prepare(struct keeper *k, const struct options *options)
{
    char path[4096];
    sigset_t signals;
    int r;

    r = xvm_mkdirs(options->run_dir, 0755);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/keeper.sock", options->run_dir);
    k->listen_fd = listen_at(path);
    if (k->listen_fd < 0)
        return k->listen_fd;
    snprintf(path, sizeof(path), "%s/keeper-disk.sock", options->run_dir);
    k->disk_listen_fd = listen_at(path);
    if (k->disk_listen_fd < 0)
        return k->disk_listen_fd;
    snprintf(path, sizeof(path), "%s/keeper.state", options->run_dir);
    r = xvm_keeper_file_open(&k->file, path);
    if (r < 0)
        xvm_log(HA_SEV_WARNING, "%s: %s: a restart will forget the lease", path, strerror(-r));
    adopt_device(k);
    xvm_watchdog_choose(&k->dog, "none");
    k->dog_by_option = options->watchdog != NULL;
    if (k->dog_by_option)
        choose_watchdog(k, options->watchdog);
    /* for the helper threads, too: they inherit the mask */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    k->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    k->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (k->signal_fd < 0 || k->timer_fd < 0)
        return -errno;
    return xvm_cpg_init(&k->cpg, "xvm-ha-keeper", IN_FLIGHT_MAX, &cpg_ops, k);
}

static void usage(FILE *to)
{
    fputs("usage: xvm-ha-keeper [--watchdog PATH|none] [--run-dir DIR] [--boot-id UUID]\n"
          "                     [--log-target journal|console] [--detach]\n"
          "Keeps this host's lease and pets its watchdog; see xvm-ha-keeper(8).\n",
          to);
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {
        {"watchdog", required_argument, NULL, 'w'},   {"run-dir", required_argument, NULL, 'r'},
        {"boot-id", required_argument, NULL, 'b'},    {"detach", no_argument, NULL, 'd'},
        {"log-target", required_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},          {NULL, 0, NULL, 0},
    };
    bool boot_given = false;
    int c;

    while ((c = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        switch (c) {
        case 'w':
            options->watchdog = optarg;
            break;
        case 'r':
            options->run_dir = optarg;
            break;
        case 'b':
            boot_given = true;
            if (xvm_uuid_parse(optarg, &options->boot) < 0)
                return -EINVAL;
            break;
        case 'd':
            options->detach = true;
            break;
        case 'l':
            options->log_target = optarg;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        case 'V':
            puts("xvm-ha-keeper " XVM_VERSION);
            exit(0);
        default:
            return -EINVAL;
        }
    }
    if (optind != argc)
        return -EINVAL;
    return boot_given ? 0 : xvm_uuid_read(XVM_BOOT_ID, &options->boot);
}

int main(int argc, char **argv)
{
    struct options options = {"/run/xvm-had", NULL, "journal", {{0}}, false};
    struct keeper *k = &self;
    enum xvm_log_target target;
    int r;

    if (parse(argc, argv, &options) < 0 || xvm_log_target_parse(options.log_target, &target) < 0) {
        usage(stderr);
        return 2;
    }
    if (options.detach && xvm_detach() < 0)
        return 1;
    xvm_log_open(target, "xvm-ha-keeper");
    k->daemon_fd = k->disk_fd = -1;
    k->boot = options.boot;
    k->reconnect_after = RECONNECT_MIN_MS;
    k->resend_at = INT64_MAX;
    r = prepare(k, &options);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "cannot start in %s: %s", options.run_dir, strerror(-r));
        return 1;
    }
    mallopt(M_ARENA_MAX, 1); /* or each helper thread makes one, of 64 MiB, locked */
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        xvm_log(HA_SEV_WARNING, "memory is not locked: %s", strerror(errno));
    sd_notify(0, "READY=1\nSTATUS=waiting for orders");
    loop(k);
    xvm_log(HA_SEV_INFO, "stopped");
    return 0;
}
