/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of one child process in the event loop, from posix_spawn to waitid. */
#include "child.h"
#include "pidfd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef XVM_LIBEXEC_DIR
#define XVM_LIBEXEC_DIR "/usr/libexec/xvm-had"
#endif

enum {
    KILL_GRACE_US = 2 * 1000 * 1000, /* from SIGKILL to giving up on a process that cannot die */
    READ_CHUNK = 16 * 1024,
    READS_PER_100MS = 32, /* a program that spews must not starve the heartbeat */
};

struct tail {
    char data[XVM_CHILD_TAIL];
    size_t n;
};

/* Standard output of a program whose lines are wanted one by one. */
struct lines {
    char *data;
    size_t n, size;
    bool skipping; /* inside a line that is too long */
};

struct xvm_child {
    sd_event *loop;
    xvm_child_done done;
    void *user;
    pid_t pid;
    int pidfd;
    int in, out, err;
    bool timed_out;
    bool reported; /* could not be killed in time: the answer was given, only reaping is left */
    int start_errno;
    char *input;
    size_t input_len, input_sent;
    struct tail out_tail, err_tail;
    xvm_child_line on_line;
    struct lines lines;
    sd_event_source *on_exit, *on_in, *on_out, *on_err, *on_time, *on_defer;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void drop_io(struct xvm_child *child)
{
    child->on_in = sd_event_source_disable_unref(child->on_in);
    child->on_out = sd_event_source_disable_unref(child->on_out);
    child->on_err = sd_event_source_disable_unref(child->on_err);
    close_fd(&child->in);
    close_fd(&child->out);
    close_fd(&child->err);
    if (child->input)
        explicit_bzero(child->input, child->input_len); /* it may hold a device's password */
    free(child->input);
    child->input = NULL;
}

static struct xvm_child *destroy(struct xvm_child *child)
{
    drop_io(child);
    free(child->lines.data);
    sd_event_source_disable_unref(child->on_exit);
    sd_event_source_disable_unref(child->on_time);
    sd_event_source_disable_unref(child->on_defer);
    close_fd(&child->pidfd);
    sd_event_unref(child->loop);
    free(child);
    return NULL;
}

static void tail_add(struct tail *tail, const char *data, size_t n)
{
    const size_t room = sizeof(tail->data) - 1;
    if (n > room) {
        data += n - room;
        n = room;
    }
    if (tail->n + n > room) {
        size_t drop = tail->n + n - room;
        memmove(tail->data, tail->data + drop, tail->n - drop);
        tail->n -= drop;
    }
    memcpy(tail->data + tail->n, data, n);
    for (size_t i = tail->n; i < tail->n + n; i++)
        if (!tail->data[i])
            tail->data[i] = ' ';
    tail->n += n;
    tail->data[tail->n] = '\0';
}

/* False: no room, or the line is too long; it is then left out as a whole. */
static bool lines_add(struct lines *lines, const char *data, size_t n)
{
    if (lines->n + n + 1 > lines->size) {
        size_t size = 2 * (lines->n + n + 1);
        char *grown = size > 2 * (size_t)XVM_CHILD_LINE_MAX ? NULL : realloc(lines->data, size);
        if (!grown)
            return false;
        lines->data = grown;
        lines->size = size;
    }
    memcpy(lines->data + lines->n, data, n);
    lines->n += n;
    lines->data[lines->n] = '\0';
    return true;
}

static void split_lines(struct xvm_child *child, const char *data, size_t n)
{
    struct lines *lines = &child->lines;
    while (n) {
        const char *end = memchr(data, '\n', n);
        size_t len = end ? (size_t)(end - data) : n;
        if (!lines->skipping && !lines_add(lines, data, len))
            lines->skipping = true;
        if (end) {
            if (!lines->skipping && lines->n && strlen(lines->data) == lines->n)
                child->on_line(child->user, lines->data);
            lines->skipping = false;
            lines->n = 0;
            len++;
        }
        data += len;
        n -= len;
    }
}

/* One read. Returns false at end of file or error. */
static bool drain(struct xvm_child *child, bool is_out)
{
    char buf[READ_CHUNK];
    ssize_t n = read(is_out ? child->out : child->err, buf, sizeof(buf));
    if (n > 0) {
        tail_add(is_out ? &child->out_tail : &child->err_tail, buf, (size_t)n);
        if (is_out && child->on_line)
            split_lines(child, buf, (size_t)n);
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static int on_output(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_child *child = user;
    (void)revents;
    bool is_out = fd == child->out;
    if (!drain(child, is_out)) {
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        close_fd(is_out ? &child->out : &child->err);
    }
    return 0;
}

/* write() to a pipe without dying of SIGPIPE when the program closed its standard input early,
 * whatever our own program does about that signal. */
static ssize_t write_no_sigpipe(int fd, const char *data, size_t n)
{
    const struct timespec zero = {0};
    sigset_t pipe_set, pending, old;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    ssize_t r = write(fd, data, n);
    int saved = errno;
    if (r < 0 && saved == EPIPE && !sigismember(&pending, SIGPIPE))
        (void)sigtimedwait(&pipe_set, NULL, &zero);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return r;
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_child *child = user;
    (void)revents;
    ssize_t n = write_no_sigpipe(fd, child->input + child->input_sent,
                                 child->input_len - child->input_sent);
    if (n > 0)
        child->input_sent += (size_t)n;
    bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (child->input_sent == child->input_len || (n < 0 && !again)) {
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        close_fd(&child->in);
    }
    return 0;
}

static void report(struct xvm_child *child, enum xvm_child_how how, int code)
{
    struct xvm_child_end end = {
        .how = how, .code = code, .out = child->out_tail.data, .err = child->err_tail.data};
    child->done(child->user, &end);
}

static void kill_group(struct xvm_child *child)
{
    /* Before the leader is reaped its number cannot be given to another group. */
    if (child->pid > 0 && child->pidfd >= 0)
        (void)kill(-child->pid, SIGKILL);
}

static int on_exit_ready(sd_event_source *source, int fd, uint32_t revents, void *user)
{
    struct xvm_child *child = user;
    (void)source, (void)revents;
    siginfo_t info = {0};
    int r = waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG | WNOWAIT);
    if (r == 0 && !info.si_pid)
        return 0; /* spurious */
    if (r == 0)   /* else someone else reaped it, and its number may be another's by now */
        kill_group(child);
    /* What is in the pipes now, not until their end: a grandchild may hold them open for ever. */
    for (int i = 0; i < 8 && child->out >= 0 && drain(child, true); i++)
        ;
    for (int i = 0; i < 8 && child->err >= 0 && drain(child, false); i++)
        ;
    enum xvm_child_how how = XVM_CHILD_SIGNALED;
    int code = 0;
    info = (siginfo_t){0};
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) == 0 && info.si_pid) {
        how = info.si_code == CLD_EXITED ? XVM_CHILD_EXITED : XVM_CHILD_SIGNALED;
        code = info.si_status;
    }
    child->pid = 0;
    if (child->timed_out)
        how = XVM_CHILD_TIMED_OUT;
    bool reported = child->reported;
    drop_io(child);
    if (!reported)
        report(child, how, code);
    destroy(child);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
    struct xvm_child *child = user;
    (void)usec;
    if (!child->timed_out) {
        child->timed_out = true;
        kill_group(child);
        (void)sd_event_source_set_time_relative(source, KILL_GRACE_US);
        (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
    }
    /* Stuck in the kernel. Answer now; on_exit_ready() reaps it should it ever end. */
    child->reported = true;
    drop_io(child);
    report(child, XVM_CHILD_TIMED_OUT, 0);
    return 0;
}

static int on_not_started(sd_event_source *source, void *user)
{
    struct xvm_child *child = user;
    (void)source;
    report(child, XVM_CHILD_NOT_STARTED, child->start_errno);
    destroy(child);
    return 0;
}

/* posix_spawn: vfork inside, so a big daemon does not pay for its size, and a failed exec is told.
 */
static int spawn(struct xvm_child *child, const struct xvm_child_spec *spec, const int *fds,
                 int nfds)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    if (posix_spawn_file_actions_init(&actions))
        return ENOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&actions);
        return ENOMEM;
    }
    sigemptyset(&none);
    sigfillset(&all);
    int e = 0;
    for (int i = 0; i < nfds && !e; i++)
        e = posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    if (!e)
        e = posix_spawn_file_actions_addclosefrom_np(&actions, nfds);
    if (!e)
        e = posix_spawn_file_actions_addchdir_np(&actions, "/");
    if (!e)
        e = posix_spawnattr_setsigmask(&attr, &none);
    if (!e)
        e = posix_spawnattr_setsigdefault(&attr, &all);
    if (!e)
        e = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                POSIX_SPAWN_SETSIGDEF);
    pid_t pid = 0;
    if (!e)
        e = posix_spawn(&pid, spec->path, &actions, &attr, spec->argv, spec->envp);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (e)
        return e;
    child->pid = pid;
    child->pidfd = xvm_pidfd_open(pid);
    if (child->pidfd < 0) {
        e = errno;
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        child->pid = 0;
    }
    return e;
}

/* Copies with numbers above all that the program will know, so that giving it one does not
 * overwrite another. */
static int raise_fds(const int *from, size_t n, int *to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 3 + XVM_CHILD_FDS);
        if (to[i] < 0)
            return errno;
    }
    return 0;
}

/* Makes the three streams and starts the program. Fills start_errno; never fails otherwise. */
static void start(struct xvm_child *child, const struct xvm_child_spec *spec)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
        child->start_errno = errno;
    } else {
        const int streams[3] = {in[0], out[1], err[1]};
        int fds[3 + XVM_CHILD_FDS] = {-1, -1, -1, -1, -1, -1, -1};
        assert(spec->nfds <= XVM_CHILD_FDS);
        child->start_errno = raise_fds(streams, 3, fds);
        if (!child->start_errno)
            child->start_errno = raise_fds(spec->fds, spec->nfds, fds + 3);
        if (!child->start_errno)
            child->start_errno = spawn(child, spec, fds, 3 + (int)spec->nfds);
        for (int i = 0; i < 3 + XVM_CHILD_FDS; i++)
            close_fd(&fds[i]);
    }
    close_fd(&in[0]);
    close_fd(&out[1]);
    close_fd(&err[1]);
    child->in = in[1];
    child->out = out[0];
    child->err = err[0];
}

static int watch(struct xvm_child *child, ha_ms timeout_ms)
{
    const int fds[2] = {child->out, child->err};
    sd_event_source **sources[2] = {&child->on_out, &child->on_err};
    for (int i = 0; i < 2; i++) {
        if (fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0)
            return -errno;
        int r = sd_event_add_io(child->loop, sources[i], fds[i], EPOLLIN, on_output, child);
        if (r < 0)
            return r;
        (void)sd_event_source_set_priority(*sources[i], SD_EVENT_PRIORITY_IDLE);
        (void)sd_event_source_set_ratelimit(*sources[i], 100 * 1000, READS_PER_100MS);
    }
    int r = fcntl(child->in, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    if (r >= 0 && child->input_len)
        r = sd_event_add_io(child->loop, &child->on_in, child->in, EPOLLOUT, on_input, child);
    else
        close_fd(&child->in);
    if (r >= 0)
        r = sd_event_add_io(child->loop, &child->on_exit, child->pidfd, EPOLLIN, on_exit_ready,
                            child);
    if (r >= 0 && timeout_ms > 0)
        r = sd_event_add_time_relative(child->loop, &child->on_time, CLOCK_BOOTTIME,
                                       (uint64_t)timeout_ms * 1000, 1000, on_timer, child);
    return r < 0 ? r : 0;
}

int xvm_child_new(sd_event *loop, const struct xvm_child_spec *spec, xvm_child_done done,
                  void *user, struct xvm_child **ret_child)
{
    struct xvm_child *child = calloc(1, sizeof(*child));
    if (!child)
        return -ENOMEM;
    child->loop = sd_event_ref(loop);
    child->done = done;
    child->user = user;
    child->on_line = spec->line;
    child->pidfd = child->in = child->out = child->err = -1;
    if (spec->input_len) {
        child->input = malloc(spec->input_len);
        if (!child->input) {
            destroy(child);
            return -ENOMEM;
        }
        memcpy(child->input, spec->input, spec->input_len);
        child->input_len = spec->input_len;
    }
    start(child, spec);
    int r = child->start_errno ? sd_event_add_defer(loop, &child->on_defer, on_not_started, child)
                               : watch(child, spec->timeout_ms);
    if (r < 0) {
        xvm_child_free(child);
        return r;
    }
    *ret_child = child;
    return 0;
}

int xvm_child_limit(struct xvm_child *child, ha_ms timeout_ms)
{
    if (!child->on_time || child->timed_out)
        return -EINVAL;
    return sd_event_source_set_time_relative(child->on_time, (uint64_t)timeout_ms * 1000);
}

void xvm_child_kill(struct xvm_child *child)
{
    kill_group(child);
}

void xvm_child_signal(struct xvm_child *child, int sig)
{
    if (child->pidfd >= 0)
        (void)xvm_pidfd_signal(child->pidfd, sig);
}

struct xvm_child *xvm_child_free(struct xvm_child *child)
{
    if (!child)
        return NULL;
    kill_group(child);
    /* A killed process is gone within milliseconds; one that is stuck in the kernel is left behind.
     */
    const struct timespec nap = {.tv_nsec = 2 * 1000 * 1000};
    for (int i = 0; child->pidfd >= 0 && i < 50; i++) {
        siginfo_t info = {0};
        if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid)
            break;
        nanosleep(&nap, NULL);
    }
    return destroy(child);
}

struct xvm_child *xvm_child_abandon(struct xvm_child *child)
{
    return child ? destroy(child) : NULL;
}

char *xvm_child_find(const char *name, const char *variable)
{
    const char *said = secure_getenv(variable);
    if (said)
        return strdup(said);
    char self[4096], *program = NULL;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        char *slash = strrchr(self, '/');
        if (slash && asprintf(&program, "%.*s/%s", (int)(slash - self), self, name) >= 0) {
            if (access(program, X_OK) == 0)
                return program;
            free(program);
        }
    }
    return asprintf(&program, "%s/%s", XVM_LIBEXEC_DIR, name) < 0 ? NULL : program;
}

/* Length of the valid UTF-8 sequence at s (no overlong forms, no surrogates); 0: invalid. */
static size_t utf8_len(const unsigned char *s)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

/* Writes the clean form of `from` and returns its length; `to` may be NULL to measure only. Leading
 * and trailing blanks are left out. `skip` clean bytes are passed over first. */
static size_t clean(const char *from, size_t skip, char *to)
{
    const unsigned char *s = (const unsigned char *)from;
    size_t n = 0, kept = 0;
    bool blank = false;
    while (*s) {
        size_t len = utf8_len(s);
        /* C1 controls are c2 80 .. c2 9f. */
        bool text = len && *s > ' ' && *s != 0x7f && !(s[0] == 0xc2 && s[1] < 0xa0);
        if (!text) {
            blank = true;
            s++;
            continue;
        }
        if (blank && n) {
            if (to && n >= skip)
                to[kept++] = ' ';
            n++;
        }
        blank = false;
        /* A sequence that begins before the cut is left out whole. */
        if (to && n >= skip) {
            memcpy(to + kept, s, len);
            kept += len;
        }
        n += len;
        s += len;
    }
    return to ? kept : n;
}

void xvm_child_sanitise(const char *from, char *to, size_t size)
{
    assert(size > 8);
    size_t n = clean(from, 0, NULL);
    if (n < size) {
        to[clean(from, 0, to)] = '\0';
        return;
    }
    memcpy(to, "...", 3);
    size_t kept = clean(from, n - (size - 1 - 3), to + 3);
    to[3 + kept] = '\0';
}
