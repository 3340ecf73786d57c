/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest of the process driver: a process that writes ticks to its disk while it holds the lock on
 * it, and answers its workers on a control socket. One thread: it never ticks while it is being
 * suspended. */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_MAX = 128,
    REQUEST_WAIT_MS = 500, /* for a worker that connected to say what it wants */
};

struct guest {
    const struct xvm_guest_options *options;
    int guests_fd, dir, alive_fd, disk_fd, listen_fd;
    struct xvm_guest_state state;
    struct xvm_guest_behave behave;
    uint64_t tick;
    ha_ms tick_ms;
    ha_ms next_tick;
    ha_ms end_at; /* INT64_MAX: goes on */
    enum ha_exit end_how;
};

struct request {
    char what[16];
    uint64_t inc, mig;
    ha_ms until;
};

/* ------------------------------------------------------------------------------------ the disk */

static void note_violation(const struct guest *g)
{
    char *path = NULL, line[320], when[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    int n = snprintf(line, sizeof(line), "%s %s %" PRIu64 " %s\n", g->options->host,
                     g->options->name, g->state.inc, when);
    if (asprintf(&path, "%s/violations", g->options->shared_dir) < 0)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    free(path);
    if (fd < 0)
        return;
    if (write(fd, line, (size_t)n) == n)
        (void)fsync(fd);
    close(fd);
}

static int open_disk(struct guest *g)
{
    if (g->disk_fd >= 0)
        return 0;
    char *path = NULL;
    if (asprintf(&path, "%s/%s.disk", g->options->shared_dir, g->options->name) < 0)
        return -ENOMEM;
    g->disk_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = g->disk_fd < 0 ? -errno : 0;
    free(path);
    return r;
}

/* A power cut may have torn the last line: begin a new one. */
static int mend_last_line(int fd)
{
    struct stat st;
    char last = '\n';
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) != 1)
        return -EIO;
    return last == '\n' || write(fd, "\n", 1) == 1 ? 0 : -EIO;
}

static int write_tick(struct guest *g)
{
    char line[HA_NAME_MAX + 64];
    int n = snprintf(line, sizeof(line), "%s %" PRIu64 " %" PRIu64 "\n", g->options->host,
                     g->state.inc, g->tick + 1);
    if (write(g->disk_fd, line, (size_t)n) != n)
        return -EIO;
    g->tick++;
    return 0;
}

/* ---------------------------------------------------------------------------------- its states */

static int set_state(struct guest *g, enum ha_copy_state state, uint64_t inc, uint64_t mig)
{
    struct xvm_guest_state next = g->state;
    next.state = state;
    next.inc = inc;
    next.mig = mig;
    int r = xvm_state_write(g->dir, &next);
    if (r < 0)
        return r;
    g->state = next;
    xvm_guest_changed(g->guests_fd);
    return 0;
}

static void plan_run(struct guest *g)
{
    ha_ms now = xvm_boot_ms();
    xvm_behave_read(g->options->shared_dir, g->options->name, &g->behave);
    const struct xvm_guest_behave *b = &g->behave;
    g->tick_ms = b->tick_ms > 0            ? b->tick_ms
                 : g->options->tick_ms > 0 ? g->options->tick_ms
                                           : XVM_GUEST_TICK_MS;
    g->next_tick = now;
    const struct {
        ha_ms after;
        enum ha_exit how;
    } ends[] = {{b->crash_after_ms, HA_EXIT_CRASH},
                {b->reboot_after_ms, HA_EXIT_REBOOT},
                {b->poweroff_after_ms, HA_EXIT_POWEROFF}};
    for (size_t i = 0; i < 3; i++) {
        if (ends[i].after > 0 && now + ends[i].after < g->end_at) {
            g->end_at = now + ends[i].after;
            g->end_how = ends[i].how;
        }
    }
}

/* Takes the disk and runs. The state says "running" before the first right to write is taken, so an
 * inventory never calls a writer paused; `until` is looked at between the two, as late as can be.
 * Returns NULL or the reason why not. */
static const char *go(struct guest *g, ha_ms until, bool by_hand)
{
    const struct xvm_guest_state before = g->state;
    if (open_disk(g) < 0)
        return "the disk cannot be opened";
    if (set_state(g, HA_COPY_RUNNING, before.inc, 0) < 0)
        return "the state cannot be written";
    const char *why = NULL;
    int r = 0;
    if (until && xvm_boot_ms() >= until)
        why = "too late: the lease has ended";
    else if ((r = xvm_lock_try(g->disk_fd)) < 0)
        why = r == -EAGAIN ? "DOUBLE START: another process holds the lock on the disk"
                           : "the disk cannot be locked";
    else if (mend_last_line(g->disk_fd) < 0)
        why = "the disk cannot be read and written";
    if (!why) {
        plan_run(g);
        return NULL;
    }
    /* Someone who starts a guest by hand where it may not run is told so; the lock did its work. A
     * managed start that meets the lock is what must never happen. */
    if (r == -EAGAIN && !by_hand)
        note_violation(g);
    if (r == 0)
        xvm_lock_drop(g->disk_fd);
    (void)set_state(g, before.state, before.inc, before.mig);
    return why;
}

static _Noreturn void end(struct guest *g, enum ha_exit how)
{
    (void)xvm_exit_write(g->dir, g->state.nonce, how);
    _exit(how == HA_EXIT_CRASH ? 1 : 0);
}

/* -------------------------------------------------------------------------------- its requests */

static const char *do_unpause(struct guest *g, const struct request *q)
{
    if (g->state.state == HA_COPY_RUNNING)
        return NULL;
    if (g->state.state != HA_COPY_PAUSED)
        return "it is suspended, not paused";
    return go(g, q->until, false);
}

static const char *do_resume(struct guest *g, const struct request *q)
{
    if (g->state.state == HA_COPY_RUNNING)
        return NULL;
    if (g->state.state != HA_COPY_SUSPENDED)
        return "it never ran here: it is paused, not suspended";
    return go(g, q->until, false);
}

static const char *do_suspend(struct guest *g, const struct request *q)
{
    if (g->state.state == HA_COPY_SUSPENDED && g->state.mig == q->mig)
        return NULL;
    if (g->state.state != HA_COPY_RUNNING)
        return "it is not running";
    if (set_state(g, HA_COPY_SUSPENDED, g->state.inc, q->mig) < 0)
        return "the state cannot be written";
    g->end_at = INT64_MAX;
    xvm_lock_drop(g->disk_fd);
    return NULL;
}

static const char *do_tag(struct guest *g, const struct request *q)
{
    if (g->state.state != HA_COPY_RUNNING)
        return "it is not running";
    if (q->inc < g->state.inc)
        return "it has a newer incarnation already";
    return set_state(g, HA_COPY_RUNNING, q->inc, g->state.mig) < 0 ? "the state cannot be written"
                                                                   : NULL;
}

static const char *do_shutdown(struct guest *g, const struct request *q)
{
    (void)q;
    if (g->state.state != HA_COPY_RUNNING)
        return "it is not running";
    xvm_behave_read(g->options->shared_dir, g->options->name, &g->behave);
    if (g->behave.shutdown == XVM_FAULT_FAIL)
        return "told to fail";
    ha_ms at = xvm_boot_ms() + g->behave.shutdown_ms;
    if (g->behave.shutdown != XVM_FAULT_IGNORE && at < g->end_at) {
        g->end_at = at;
        g->end_how = g->behave.exit;
    }
    return NULL;
}

static const struct {
    const char *what;
    const char *(*run)(struct guest *g, const struct request *q);
    bool any_inc; /* the incarnation is not a condition */
} requests[] = {
    {"unpause", do_unpause, false},   {"resume", do_resume, false},
    {"suspend", do_suspend, false},   {"tag", do_tag, true},
    {"shutdown", do_shutdown, false},
};

static const char *handle(struct guest *g, const struct request *q)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (strcmp(requests[i].what, q->what) != 0)
            continue;
        if (!requests[i].any_inc && q->inc && q->inc != g->state.inc)
            return "the copy here has another incarnation";
        return requests[i].run(g, q);
    }
    return "unknown request";
}

/* A worker that was killed gets nothing done: its daemon has already said "unknown" and may have
 * looked since. */
static bool requester_gone(int conn)
{
    struct pollfd p = {.fd = conn, .events = POLLIN | POLLRDHUP};
    return poll(&p, 1, 0) < 0 || (p.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

static void serve(struct guest *g)
{
    int conn = accept4(g->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (conn < 0)
        return;
    char buf[REQUEST_MAX], reply[HA_TEXT_MAX];
    struct request q = {0};
    struct pollfd p = {.fd = conn, .events = POLLIN};
    ssize_t n = poll(&p, 1, REQUEST_WAIT_MS) == 1 ? recv(conn, buf, sizeof(buf) - 1, 0) : -1;
    if (n > 0) {
        buf[n] = '\0';
        const char *why = "malformed request";
        bool ok = sscanf(buf, "%15s %" SCNu64 " %" SCNu64 " %" SCNd64, q.what, &q.inc, &q.mig,
                         &q.until) == 4;
        if (ok && !requester_gone(conn))
            why = handle(g, &q);
        int len =
            why ? snprintf(reply, sizeof(reply), "no %s", why)
                : snprintf(reply, sizeof(reply), "ok %" PRIu64 " %" PRIu64, g->state.inc, g->tick);
        (void)send(conn, reply, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    close(conn);
}

/* ------------------------------------------------------------------------------------- its life */

static int open_control(struct guest *g)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "ctl"};
    /* The guest lives in its directory: a short name whatever the length of the path. */
    if (fchdir(g->dir) < 0)
        return -errno;
    g->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (g->listen_fd < 0 || bind(g->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(g->listen_fd, 16) < 0)
        return -errno;
    return 0;
}

/* Makes the copy visible on this host. Returns NULL or the reason why not. */
static const char *register_copy(struct guest *g)
{
    const struct xvm_guest_options *o = g->options;
    g->guests_fd = xvm_guests_open(o->run_dir);
    g->dir = g->guests_fd < 0 ? -1 : xvm_guest_open(g->guests_fd, o->name);
    g->alive_fd = g->dir < 0 ? -1 : xvm_lock_open(g->dir, "alive");
    if (g->alive_fd < 0)
        return "the run directory cannot be used";
    if (xvm_lock_try(g->alive_fd) < 0)
        return "a copy of this guest is on this host already";
    xvm_state_clear(g->dir); /* a dead one's */
    if (getrandom(&g->state.nonce, sizeof(g->state.nonce), 0) != sizeof(g->state.nonce))
        return "no random numbers";
    if (open_control(g) < 0)
        return "the control socket cannot be made";
    g->state.pid = getpid();
    g->state.start = xvm_pid_start(getpid());
    g->tick = o->tick;
    return set_state(g, HA_COPY_PAUSED, o->inc, o->mig) < 0 ? "the state cannot be written" : NULL;
}

/* Leaves nothing that looks like a copy, or like one that crashed. */
static void unregister(struct guest *g)
{
    if (!g->state.pid)
        return;
    xvm_state_clear(g->dir);
    close(g->alive_fd);
    xvm_guest_changed(g->guests_fd);
}

static void say_ready(const struct xvm_guest_options *o, const char *why)
{
    if (o->ready_fd < 0)
        return;
    if (dprintf(o->ready_fd, "%s", why ? why : "ok") < 0)
        return; /* nobody waits any more; the inventory will show us */
    close(o->ready_fd);
}

static int wait_ms(const struct guest *g)
{
    ha_ms next = g->end_at;
    if (g->state.state == HA_COPY_RUNNING && g->next_tick < next)
        next = g->next_tick;
    ha_ms left = next - xvm_boot_ms();
    return next == INT64_MAX ? -1 : left < 0 ? 0 : left > 1000 ? 1000 : (int)left;
}

static _Noreturn void live(struct guest *g)
{
    for (;;) {
        struct pollfd p = {.fd = g->listen_fd, .events = POLLIN};
        if (poll(&p, 1, wait_ms(g)) > 0)
            serve(g);
        ha_ms now = xvm_boot_ms();
        if (g->state.state != HA_COPY_RUNNING)
            continue;
        if (now >= g->end_at)
            end(g, g->end_how);
        if (now >= g->next_tick) {
            if (write_tick(g) < 0)
                end(g, HA_EXIT_CRASH);
            g->next_tick += g->tick_ms;
            if (g->next_tick < now) /* the host stood still: no burst to make up for it */
                g->next_tick = now + g->tick_ms;
        }
    }
}

int xvm_guest_run(const struct xvm_guest_options *options)
{
    struct guest g = {
        .options = options,
        .guests_fd = -1,
        .dir = -1,
        .alive_fd = -1,
        .disk_fd = -1,
        .listen_fd = -1,
        .end_at = INT64_MAX,
    };
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    const char *why = register_copy(&g);
    if (!why && !options->paused)
        why = go(&g, 0, true);
    if (why)
        unregister(&g);
    /* Both before the word is out: whoever hears it must find the locks as they will stay. */
    if (options->lock_fd >= 0)
        close(options->lock_fd);
    say_ready(options, why);
    if (why) {
        if (options->ready_fd < 0)
            fprintf(stderr, "%s: %s\n", options->name, why);
        return 1;
    }
    live(&g);
}
