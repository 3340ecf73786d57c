/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The frame around an operation: the guest's lock, time limits, cancelling, and how it says what
 * came of it. */
#include "domain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "worker_lock.h"

enum {
    ALARM_EXTRA_MS = 2000, /* the daemon's own kill comes first */
    NO_LIMIT_MS = 24 * 3600 * 1000,
    TEXT_MAX = 180, /* what the daemon has room for */
};

static volatile sig_atomic_t cancelled;
static int cancel_pipe[2] = {-1, -1};

static void on_term(int sig)
{
    (void)sig;
    int saved = errno;
    cancelled = 1;
    (void)!write(cancel_pipe[1], "", 1);
    errno = saved;
}

bool domain_cancelled(void)
{
    return cancelled;
}

int domain_cancel_fd(void)
{
    return cancel_pipe[0];
}

void domain_nap(ha_ms ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

/* --------------------------------------------------------------------------------- the words */

void domain_print(json_t *json)
{
    char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (line)
        puts(line);
    fflush(stdout);
    free(line);
    json_decref(json);
}

static int say(const struct domain_worker *w, int code, const char *what, const char *words)
{
    static const char *const names[] = {"ok", "failed", "unknown"};
    char text[TEXT_MAX];
    int n = snprintf(text, sizeof(text), "on %s: %s%s%s", w->options->host, what,
                     words[0] ? ": " : "", words);
    /* A cut must not leave half a character: JSON would have none of it. */
    for (n = n < (int)sizeof(text) ? -1 : (int)sizeof(text) - 2;
         n > 0 && ((unsigned char)text[n] & 0x80);)
        text[n--] = '\0';
    size_t i = code == XVM_WORKER_OK ? 0 : code == XVM_WORKER_FAILED ? 1 : 2;
    domain_print(json_pack("{s:s, s:s}", "result", names[i], "text", text));
    return code;
}

int domain_say(const struct domain_worker *w, int code, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return say(w, code, what, "");
}

int domain_say_words(const struct domain_worker *w, int code, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return say(w, code, what, w->logger.words);
}

/* -------------------------------------------------------------------------------- the limits */

const char *domain_must_not_begin(const struct domain_worker *w)
{
    if (cancelled)
        return "cancelled before it began";
    if (w->options->until && xvm_boot_ms() >= w->options->until)
        return "too late: the lease has ended";
    return NULL;
}

void domain_die_at_lease_end(const struct domain_worker *w)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    ha_ms until = w->options->until;
    struct itimerspec at = {
        .it_value = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000}};
    timer_t timer;
    if (!until)
        return;
    if (timer_create(CLOCK_BOOTTIME, &event, &timer) < 0 ||
        timer_settime(timer, TIMER_ABSTIME, &at, NULL) < 0)
        abort();
}

static void set_alarm(ha_ms ms)
{
    struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

/* ---------------------------------------------------------------------------------- the lock */

static int take_lock(const struct domain_worker *w)
{
    const struct xvm_worker_lock lock = {
        .guests_fd = w->guests_fd,
        .dir = w->dir,
        .lock_fd = w->lock_fd,
        .op = w->op,
        .inc = w->options->inc,
        .mig = w->options->mig,
        .deadline = w->deadline,
        .group = true, /* the helper that libxl has it save or restore a domain with */
        .cancelled = domain_cancelled,
    };
    return xvm_worker_lock_take(&lock);
}

static int open_guest(struct domain_worker *w)
{
    w->guests_fd = xvm_guests_open(w->options->run_dir);
    w->dir = w->guests_fd < 0 ? w->guests_fd : xvm_guest_open(w->guests_fd, w->options->name);
    w->lock_fd = w->dir < 0 ? w->dir : xvm_lock_open(w->dir, "lock");
    return w->lock_fd < 0 ? w->lock_fd : 0;
}

/* By what its domains are known. A record that cannot be read is none. */
static void learn(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    snprintf(w->known.guest, sizeof(w->known.guest), "%s", o->name);
    snprintf(w->known.name, sizeof(w->known.name), "%s", o->alias ? o->alias : o->name);
    w->known.uuid = o->uuid;
    w->known.has_record = xvm_record_read(w->dir, &w->known.record) == 0;
}

/* What libxl says goes to RUN_DIR/guests/NAME/OPERATION.log: the whole of the latest one. */
static void open_log(struct domain_worker *w)
{
    char file[32];
    snprintf(file, sizeof(file), "%s.log", xvm_op_names[w->op]);
    w->logger.file =
        openat(w->dir, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Waits until the daemon says that it is time, and how much there is. False: it will not. */
static bool wait_for_word(struct domain_options *o)
{
    char word[64];
    size_t n = 0;
    while (n < sizeof(word) && (!n || word[n - 1] != '\n')) {
        struct pollfd fds[2] = {{.fd = o->go, .events = POLLIN},
                                {.fd = cancel_pipe[0], .events = POLLIN}};
        int ready = poll(fds, 2, -1);
        if (ready < 0 && errno == EINTR)
            continue;
        ssize_t r = ready < 0 || fds[1].revents ? 0 : read(o->go, word + n, sizeof(word) - n);
        if (r <= 0)
            return false;
        n += (size_t)r;
    }
    int end = 0;
    bool good = n < sizeof(word);
    word[good ? n : 0] = '\0';
    good = good &&
           sscanf(word, "%" SCNd64 " %" SCNd64 "\n%n", &o->until, &o->timeout_ms, &end) == 2 &&
           (size_t)end == n;
    close(o->go);
    return good;
}

static int prepare(struct domain_worker *w, struct domain_options *o)
{
    if (o->go >= 0 && domain_open_xen(w) < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "no connection to Xen");
    if (o->go >= 0 && !wait_for_word(o))
        return domain_say(w, XVM_WORKER_FAILED, "it was not needed");
    return 0;
}

int domain_work(const struct domain_options *asked, enum ha_op op,
                int (*work)(struct domain_worker *w))
{
    struct domain_options options = *asked;
    struct domain_worker w = {.options = &options,
                              .op = op,
                              .guests_fd = -1,
                              .dir = -1,
                              .lock_fd = -1,
                              .logger = {.file = -1, .progress = -1}};
    struct sigaction term = {.sa_handler = on_term};
    (void)signal(SIGPIPE, SIG_IGN); /* the daemon may be gone: the work is done all the same */
    if (pipe2(cancel_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return domain_say(&w, XVM_WORKER_FAILED, "no pipe: %s", strerror(errno));
    (void)sigaction(SIGTERM, &term, NULL);
    int r = prepare(&w, &options);
    if (r)
        return r;
    ha_ms limit = options.timeout_ms > 0 ? options.timeout_ms : NO_LIMIT_MS;
    set_alarm(limit + ALARM_EXTRA_MS);
    w.deadline = xvm_boot_ms() + limit - limit / 10;
    r = open_guest(&w);
    if (r < 0)
        return domain_say(&w, XVM_WORKER_FAILED, "%s cannot be used: %s", options.run_dir,
                          strerror(-r));
    r = take_lock(&w);
    if (r < 0)
        return domain_say(&w, XVM_WORKER_FAILED, "%s",
                          r == -EAGAIN ? "another worker is at it" : strerror(-r));
    learn(&w);
    open_log(&w);
    const char *stop = op == HA_OP_DESTROY ? NULL : domain_must_not_begin(&w);
    if (stop)
        return domain_say(&w, XVM_WORKER_FAILED, "%s", stop);
    if (!w.xl && domain_open_xen(&w) < 0)
        return domain_say_words(&w, op == HA_OP_DESTROY ? XVM_WORKER_UNKNOWN : XVM_WORKER_FAILED,
                                "no connection to Xen");
    r = work(&w);
    domain_close_xen(&w);
    return r;
}
