/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A worker of the process driver: carries out one operation on one guest, holding the guest's
 * worker lock, and dies of its own alarm should it ever outlive its time without a daemon to kill
 * it. */
#include "driver.h"
#include "guest.h"
#include "guest_transfer.h"
#include "pidfd.h"
#include "worker_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    NAP_MS = 10,
    ALARM_EXTRA_MS = 1000, /* the daemon's own kill comes first */
    NO_LIMIT_MS = 24 * 3600 * 1000,
};

struct worker {
    const struct xvm_worker_options *options;
    int guests_fd, dir, lock_fd;
    ha_ms deadline; /* when it gives up by itself, in time to say so */
    struct xvm_guest_behave behave;
};

static volatile sig_atomic_t cancelled;

static void on_term(int sig)
{
    (void)sig;
    cancelled = 1;
}

static bool is_cancelled(void)
{
    return cancelled;
}

__attribute__((format(printf, 2, 3))) static int say(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
    return code;
}

static void nap(ha_ms ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

/* ---------------------------------------------------------------------- before anything happens */

/* Whether the operation may begin. Asked again right before the step that cannot be taken back. */
static const char *must_not_begin(const struct worker *w)
{
    if (cancelled)
        return "cancelled before it began";
    if (w->options->until && xvm_boot_ms() >= w->options->until)
        return "too late: the lease has ended";
    return NULL;
}

/* For the tests' slow and hanging guests. Returns NULL or the reason to stop. */
static const char *misbehave(const struct worker *w, enum xvm_fault fault, ha_ms slow_ms)
{
    if (fault == XVM_FAULT_FAIL)
        return "told to fail";
    while (fault == XVM_FAULT_HANG) /* NOLINT(bugprone-infinite-loop): a kill ends it */
        pause();
    for (ha_ms end = xvm_boot_ms() + slow_ms; xvm_boot_ms() < end && !cancelled;)
        nap(NAP_MS);
    return must_not_begin(w);
}

static int take_lock(const struct worker *w)
{
    const struct xvm_worker_lock lock = {
        .guests_fd = w->guests_fd,
        .dir = w->dir,
        .lock_fd = w->lock_fd,
        .op = w->options->op,
        .inc = w->options->inc,
        .mig = w->options->mig,
        .deadline = w->deadline,
        .cancelled = is_cancelled,
    };
    return xvm_worker_lock_take(&lock);
}

/* -------------------------------------------------------------------- talking to the guest's
 * process */

/* Sends one request. XVM_WORKER_...; a "no" is FAILED, no answer at all is UNKNOWN. */
static int ask(const struct worker *w, const char *what, char reply[static HA_TEXT_MAX])
{
    const struct xvm_worker_options *o = w->options;
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "ctl"};
    char request[128];
    int n = snprintf(request, sizeof(request), "%s %" PRIu64 " %" PRIu64 " %" PRId64, what, o->inc,
                     o->mig, o->until);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || fchdir(w->dir) < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        snprintf(reply, HA_TEXT_MAX, "the guest's process does not listen: %s", strerror(e));
        return XVM_WORKER_FAILED;
    }
    const char *why = must_not_begin(w);
    if (why || send(fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
        close(fd);
        snprintf(reply, HA_TEXT_MAX, "%s",
                 why ? why : "the guest's process does not take requests");
        return XVM_WORKER_FAILED;
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t got = -1;
    ha_ms left;
    while (got < 0 && (left = w->deadline - xvm_boot_ms()) > 0)
        if (poll(&p, 1, (int)left) == 1)
            got = recv(fd, reply, HA_TEXT_MAX - 1, 0);
    close(fd);
    reply[got > 0 ? got : 0] = '\0';
    if (got > 3 && !strncmp(reply, "ok ", 3))
        return XVM_WORKER_OK;
    if (got > 3 && !strncmp(reply, "no ", 3)) {
        memmove(reply, reply + 3, (size_t)got - 2);
        return XVM_WORKER_FAILED;
    }
    snprintf(reply, HA_TEXT_MAX, "the guest's process gave no answer");
    return XVM_WORKER_UNKNOWN;
}

static int ask_and_say(const struct worker *w, const char *what)
{
    char reply[HA_TEXT_MAX];
    int code = ask(w, what, reply);
    return code ? say(code, "%s: %s", w->options->name, reply) : code;
}

/* -------------------------------------------------------------------------------- the operations
 */

static int spawn(const struct worker *w, uint64_t tick)
{
    const struct xvm_worker_options *o = w->options;
    const struct xvm_guest_options guest = {
        .name = o->name,
        .host = o->host,
        .run_dir = o->run_dir,
        .shared_dir = o->shared_dir,
        .inc = o->inc,
        .mig = o->op == HA_OP_RECEIVE ? o->mig : 0,
        .tick = tick,
        .paused = true,
        .lock_fd = -1,
        .ready_fd = -1,
    };
    int alive = xvm_lock_held_at(w->dir, "alive");
    if (alive != 0)
        return say(XVM_WORKER_FAILED,
                   alive < 0 ? "%s: the run directory cannot be read"
                             : "%s: a copy is on this host already",
                   o->name);
    xvm_state_clear(w->dir);
    /* A restored copy began when its transfer did: that may be longer ago than a lease lasts. It
     * stays paused, and its unpause asks for the lease again. */
    const char *stop = o->op == HA_OP_RECEIVE && !cancelled ? NULL : must_not_begin(w);
    if (stop)
        return say(XVM_WORKER_FAILED, "%s", stop);
    char why[HA_TEXT_MAX];
    if (xvm_guest_spawn(&guest, w->lock_fd, why) == 0)
        return XVM_WORKER_OK;
    return say(xvm_lock_held_at(w->dir, "alive") == 0 ? XVM_WORKER_FAILED : XVM_WORKER_UNKNOWN,
               "%s: %s", o->name, why);
}

static int do_create(struct worker *w)
{
    const char *why = misbehave(w, w->behave.create, w->behave.create_ms);
    if (why)
        return say(XVM_WORKER_FAILED, "%s", why);
    return spawn(w, 0);
}

static int do_unpause(struct worker *w)
{
    const char *why = misbehave(w, w->behave.unpause, w->behave.unpause_ms);
    if (why)
        return say(XVM_WORKER_FAILED, "%s", why);
    return ask_and_say(w, "unpause");
}

static int do_resume(struct worker *w)
{
    const char *why = must_not_begin(w);
    if (why)
        return say(XVM_WORKER_FAILED, "%s", why);
    return ask_and_say(w, "resume");
}

static int do_shutdown(struct worker *w)
{
    return ask_and_say(w, "shutdown");
}

static int do_tag(struct worker *w)
{
    return ask_and_say(w, "tag");
}

/* ------------------------------------------------------------------------------------- moves */

static struct xvm_image_stream open_stream(const struct worker *w)
{
    return (struct xvm_image_stream){.fd = w->options->channel,
                                     .progress = w->options->progress,
                                     .deadline = w->deadline,
                                     .cancelled = &cancelled};
}

static int transfer_failed(const struct worker *w, int code, int r, const char *when)
{
    return say(code, "%s: %s%s", w->options->name,
               r == -ECANCELED   ? "cancelled "
               : r == -ETIMEDOUT ? "its time was over "
               : r == -EPIPE     ? "the other host broke off "
                                 : "the transfer failed ",
               when);
}

/* Rounds over the memory while the guest runs, then what is left with the guest suspended. Returns
 * an errno, or a worker's code in ret_code when the guest's process said no. */
static int send_image(const struct worker *w, struct xvm_image_stream *s,
                      struct xvm_guest_image *image, int *ret_code)
{
    char reply[HA_TEXT_MAX];
    uint64_t kib = w->behave.image_kib;
    int r = xvm_image_send_head(s, image);
    if (r == 0 && w->options->live)
        r = xvm_image_send_memory(s, kib);
    if (r == 0 && w->options->live)
        r = xvm_image_send_memory(s, kib / 8);
    if (r < 0)
        return r;
    if (cancelled)
        return -ECANCELED;
    *ret_code = ask(w, "suspend", reply);
    if (*ret_code) {
        say(*ret_code, "%s: %s", w->options->name, reply);
        return 0;
    }
    if (sscanf(reply, "ok %" SCNu64 " %" SCNu64, &image->inc, &image->tick) != 2) {
        *ret_code =
            say(XVM_WORKER_UNKNOWN, "%s: nonsense from the guest's process", w->options->name);
        return 0;
    }
    r = xvm_image_send_memory(s, w->options->live ? kib / 64 : kib);
    return r < 0 ? r : xvm_image_send_state(s, image);
}

/* It may be suspended when this fails; the inventory says so, and a resume lets it go on. */
static int do_send(struct worker *w)
{
    const struct xvm_worker_options *o = w->options;
    struct xvm_guest_image image = {.mig = o->mig};
    struct xvm_image_stream s = open_stream(w);
    int code = XVM_WORKER_OK;
    if (!o->mig || o->channel < 0)
        return say(XVM_WORKER_FAILED, "a migration needs an id and a channel");
    snprintf(image.name, sizeof(image.name), "%s", o->name);
    int r = xvm_image_wait(&s, XVM_CHANNEL_READY);
    if (r < 0)
        return transfer_failed(w, XVM_WORKER_FAILED, r, "before it was ready");
    r = send_image(w, &s, &image, &code);
    if (code)
        return code;
    if (r < 0)
        return transfer_failed(w, XVM_WORKER_FAILED, r, "before it had the whole image");
    r = xvm_image_send_end(&s);
    if (r == 0)
        r = xvm_image_wait(&s, XVM_CHANNEL_COMPLETE);
    if (r < 0)
        return transfer_failed(w, XVM_WORKER_UNKNOWN, r, "without saying that the image arrived");
    return XVM_WORKER_OK;
}

static int do_receive(struct worker *w)
{
    const struct xvm_worker_options *o = w->options;
    struct xvm_guest_image image = {0};
    struct xvm_image_stream s = open_stream(w);
    if (!o->mig || o->channel < 0)
        return say(XVM_WORKER_FAILED, "a migration needs an id and a channel");
    const char *why = misbehave(w, w->behave.create, w->behave.create_ms);
    if (why)
        return say(XVM_WORKER_FAILED, "%s", why);
    if (xvm_lock_held_at(w->dir, "alive") != 0)
        return say(XVM_WORKER_FAILED, "%s: a copy is on this host already", o->name);
    int r = xvm_image_say(&s, XVM_CHANNEL_READY);
    if (r == 0)
        r = xvm_image_receive(&s, o->name, o->mig, &image);
    if (r == -EBADMSG)
        return say(XVM_WORKER_FAILED, "%s: the image is damaged or another guest's", o->name);
    if (r < 0)
        return transfer_failed(w, XVM_WORKER_FAILED, r, "before the image was complete");
    int code = spawn(w, image.tick);
    /* It is here, whether the source hears of it or not. */
    if (code == XVM_WORKER_OK)
        (void)xvm_image_say(&s, XVM_CHANNEL_COMPLETE);
    for (ha_ms end = xvm_boot_ms() + w->behave.complete_ms; xvm_boot_ms() < end;)
        nap(NAP_MS);
    return code;
}

/* A pidfd of the process that holds `alive`. When the state cannot be read the socket tells who
 * listens: a damaged file must not save a copy that has to go. */
static int find_process(const struct worker *w, const struct xvm_guest_state *state, bool known)
{
    if (known)
        return xvm_pidfd_of(state->pid, state->start);
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "ctl"};
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), pidfd = -ESRCH;
    if (fd >= 0 && fchdir(w->dir) == 0 &&
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
        pidfd = xvm_pidfd_of(peer.pid, 0);
    /* Still the listener, so its number has not been given to another since. */
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    if (pidfd >= 0 && poll(&p, 1, 0) != 0) {
        close(pidfd);
        pidfd = -ESRCH;
    }
    if (fd >= 0)
        close(fd);
    return pidfd;
}

static void kill_process(const struct worker *w, int pidfd)
{
    (void)xvm_pidfd_signal(pidfd, SIGKILL);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    ha_ms left;
    while ((left = w->deadline - xvm_boot_ms()) > 0 && poll(&p, 1, (int)left) != 1)
        ;
}

static int do_destroy(struct worker *w)
{
    const struct xvm_worker_options *o = w->options;
    int alive;
    while ((alive = xvm_lock_held_at(w->dir, "alive")) == 1 && xvm_boot_ms() < w->deadline) {
        struct xvm_guest_state state;
        bool known = xvm_state_read(w->dir, &state) == 0;
        if (known && o->inc && state.inc != o->inc)
            return say(XVM_WORKER_OK, "%s: the copy here has another incarnation", o->name);
        if (!known && o->inc)
            return say(XVM_WORKER_UNKNOWN, "%s: the copy's incarnation cannot be read", o->name);
        int pidfd = find_process(w, &state, known);
        if (pidfd >= 0) {
            kill_process(w, pidfd);
            close(pidfd);
        } else {
            nap(NAP_MS); /* about to be gone, or about to write its state */
        }
    }
    if (alive != 0)
        return say(XVM_WORKER_UNKNOWN, "%s: its process cannot be ended", o->name);
    xvm_state_clear(w->dir);
    return XVM_WORKER_OK;
}

static int (*const operations[])(struct worker *w) = {
    [HA_OP_CREATE] = do_create,   [HA_OP_UNPAUSE] = do_unpause, [HA_OP_SHUTDOWN] = do_shutdown,
    [HA_OP_DESTROY] = do_destroy, [HA_OP_TAG] = do_tag,         [HA_OP_SEND] = do_send,
    [HA_OP_RECEIVE] = do_receive, [HA_OP_RESUME] = do_resume,
};

static void set_alarm(ha_ms ms)
{
    struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

int xvm_worker_run(const struct xvm_worker_options *options)
{
    struct worker w = {.options = options, .guests_fd = -1, .dir = -1, .lock_fd = -1};
    struct sigaction term = {.sa_handler = on_term};
    (void)signal(SIGPIPE, SIG_IGN); /* the daemon may be gone: the work is done all the same */
    (void)sigaction(SIGTERM, &term, NULL);
    ha_ms limit = options->timeout_ms > 0 ? options->timeout_ms : NO_LIMIT_MS;
    set_alarm(limit + ALARM_EXTRA_MS);
    w.deadline = xvm_boot_ms() + limit - limit / 10;
    w.guests_fd = xvm_guests_open(options->run_dir);
    w.dir = w.guests_fd < 0 ? w.guests_fd : xvm_guest_open(w.guests_fd, options->name);
    w.lock_fd = w.dir < 0 ? w.dir : xvm_lock_open(w.dir, "lock");
    if (w.lock_fd < 0)
        return say(XVM_WORKER_FAILED, "%s: the run directory cannot be used: %s", options->name,
                   strerror(-w.lock_fd));
    int r = take_lock(&w);
    if (r < 0)
        return say(XVM_WORKER_FAILED, "%s: %s", options->name,
                   r == -EAGAIN ? "another worker is at it" : strerror(-r));
    xvm_behave_read(options->shared_dir, options->name, &w.behave);
    return operations[options->op](&w);
}
