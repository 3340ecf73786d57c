/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts a guest as a process of its own, with init for a parent: neither its worker nor the daemon
 * takes it along when it ends. */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LOCK_FD = 3,
    READY_FD = 4,
};

/* In the process that becomes the guest. */
static _Noreturn void become_guest(const struct xvm_guest_options *o, int lock_fd, int ready_fd)
{
    char inc[24], mig[24], tick[24], tick_ms[24];
    snprintf(inc, sizeof(inc), "%" PRIu64, o->inc);
    snprintf(mig, sizeof(mig), "%" PRIu64, o->mig);
    snprintf(tick, sizeof(tick), "%" PRIu64, o->tick);
    snprintf(tick_ms, sizeof(tick_ms), "%" PRId64, o->tick_ms);
    /* Out of the way first, so that the fixed numbers do not overwrite each other. */
    int lock_up = fcntl(lock_fd, F_DUPFD_CLOEXEC, 10),
        ready_up = fcntl(ready_fd, F_DUPFD_CLOEXEC, 10);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (lock_up < 0 || ready_up < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
        dup2(null, 2) < 0 || dup2(lock_up, LOCK_FD) < 0 || dup2(ready_up, READY_FD) < 0 ||
        chdir("/") < 0)
        _exit(1);
    closefrom(READY_FD + 1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execl("/proc/self/exe", "xvm-ha-guest", "--name", o->name, "--host", o->host, "--run",
          o->run_dir, "--shared", o->shared_dir, "--inc", inc, "--mig", mig, "--memory", tick,
          "--tick", tick_ms, "--lock-fd", "3", "--ready-fd", "4",
          o->paused ? "--paused" : "--running", (char *)NULL);
    dprintf(READY_FD, "cannot execute the guest's program: %s", strerror(errno));
    _exit(1);
}

static int fork_twice(const struct xvm_guest_options *o, int lock_fd, int ready_fd)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        if (setsid() < 0)
            _exit(1);
        pid = fork();
        if (pid == 0)
            become_guest(o, lock_fd, ready_fd);
        _exit(pid < 0);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EAGAIN;
}

int xvm_guest_spawn(const struct xvm_guest_options *options, int lock_fd,
                    char why[static HA_TEXT_MAX])
{
    int fds[2];
    snprintf(why, HA_TEXT_MAX, "the guest's process could not be started");
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    int r = fork_twice(options, lock_fd, fds[1]);
    close(fds[1]);
    char buf[HA_TEXT_MAX];
    size_t n = 0;
    ssize_t got = 1;
    while (!r && n < sizeof(buf) - 1 && (got = read(fds[0], buf + n, sizeof(buf) - 1 - n)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    close(fds[0]);
    buf[n] = '\0';
    if (r < 0)
        return r;
    if (!strcmp(buf, "ok"))
        return 0;
    if (n)
        memcpy(why, buf, n + 1);
    return -ECHILD;
}
