/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process driver's files of a guest on its host, and its locks. */
#include "guest_files.h"
#include "fd_io.h"
#include "pidfd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *const xvm_op_names[HA_OP_RESUME + 1] = {
    [HA_OP_CREATE] = "create",   [HA_OP_UNPAUSE] = "unpause", [HA_OP_SHUTDOWN] = "shutdown",
    [HA_OP_DESTROY] = "destroy", [HA_OP_TAG] = "tag",         [HA_OP_SEND] = "send",
    [HA_OP_RECEIVE] = "receive", [HA_OP_RESUME] = "resume",
};

ha_ms xvm_boot_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (ha_ms)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool xvm_guest_name_ok(const char *name)
{
    size_t n = strlen(name);
    if (!n || n >= HA_NAME_MAX || name[0] == '.')
        return false;
    for (const char *s = name; *s; s++)
        if (*s == '/' || iscntrl((unsigned char)*s) || isspace((unsigned char)*s))
            return false;
    return true;
}

static int open_dir(int at, const char *path)
{
    if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

int xvm_guests_open(const char *run_dir)
{
    int run = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run < 0)
        return -errno;
    int fd = open_dir(run, "guests");
    close(run);
    return fd;
}

int xvm_guest_open(int guests_fd, const char *name)
{
    return xvm_guest_name_ok(name) ? open_dir(guests_fd, name) : -EINVAL;
}

void xvm_guest_changed(int guests_fd)
{
    int fd = openat(guests_fd, ".changed", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd); /* the driver sees IN_CLOSE_WRITE */
}

int xvm_lock_open(int dir, const char *file)
{
    int fd = openat(dir, file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd;
}

int xvm_lock_try(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

void xvm_lock_drop(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

int xvm_lock_held(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

int xvm_lock_held_at(int dir, const char *file)
{
    int fd = openat(dir, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = xvm_lock_held(fd);
    close(fd);
    return r;
}

int xvm_text_read(int dir, const char *file, char *buf, size_t size)
{
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    size_t n = 0;
    ssize_t r = 1;
    while (n < size - 1 && (r = read(fd, buf + n, size - 1 - n)) > 0)
        n += (size_t)r;
    int e = r < 0 ? -errno : 0;
    close(fd);
    buf[n] = '\0';
    return e;
}

int xvm_text_replace(int dir, const char *file, const char *text)
{
    char tmp[64];
    snprintf(tmp, sizeof(tmp), "%s.new", file);
    int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int r = xvm_write_all(fd, text, strlen(text));
    close(fd);
    if (!r && renameat(dir, tmp, dir, file) < 0)
        r = -errno;
    return r;
}

int xvm_state_read(int dir, struct xvm_guest_state *ret_state)
{
    char buf[512];
    int r = xvm_text_read(dir, "state", buf, sizeof(buf));
    if (r < 0)
        return r;
    struct xvm_guest_state s = {0};
    int pid = 0, state = 0, end = 0;
    int n = sscanf(buf,
                   "pid %d\nstart %" SCNu64 "\nnonce %" SCNx64 "\ninc %" SCNu64 "\nmig %" SCNu64
                   "\nstate %d\nend%n",
                   &pid, &s.start, &s.nonce, &s.inc, &s.mig, &state, &end);
    if (n != 6 || !end || strcmp(buf + end, "\n") != 0 || pid <= 0 || state < HA_COPY_PAUSED ||
        state > HA_COPY_SUSPENDED)
        return -EBADMSG;
    s.pid = pid;
    s.state = (enum ha_copy_state)state;
    *ret_state = s;
    return 0;
}

int xvm_state_write(int dir, const struct xvm_guest_state *state)
{
    char buf[512];
    snprintf(buf, sizeof(buf),
             "pid %d\nstart %" PRIu64 "\nnonce %" PRIx64 "\ninc %" PRIu64 "\nmig %" PRIu64
             "\nstate %d\nend\n",
             (int)state->pid, state->start, state->nonce, state->inc, state->mig,
             (int)state->state);
    return xvm_text_replace(dir, "state", buf);
}

int xvm_holder_read(int dir, struct xvm_guest_holder *ret_holder)
{
    char buf[256];
    int r = xvm_text_read(dir, "lock", buf, sizeof(buf));
    if (r < 0)
        return r;
    struct xvm_guest_holder h = {0};
    int pid = 0, op = 0, end = 0;
    int n = sscanf(buf, "%d %" SCNu64 " %d %" SCNu64 " %" SCNu64 " end%n", &pid, &h.start, &op,
                   &h.inc, &h.mig, &end);
    if (n != 5 || !end || pid <= 0)
        return -EBADMSG;
    h.pid = pid;
    h.op = (enum ha_op)op;
    *ret_holder = h;
    return 0;
}

int xvm_holder_write(int lock_fd, const struct xvm_guest_holder *holder)
{
    char buf[256];
    int n = snprintf(buf, sizeof(buf), "%d %" PRIu64 " %d %" PRIu64 " %" PRIu64 " end\n",
                     (int)holder->pid, holder->start, (int)holder->op, holder->inc, holder->mig);
    if (ftruncate(lock_fd, 0) < 0)
        return -errno;
    return pwrite(lock_fd, buf, (size_t)n, 0) == n ? 0 : -EIO;
}

static const struct {
    enum ha_exit how;
    const char *name;
} exits[] = {
    {HA_EXIT_POWEROFF, "poweroff"},
    {HA_EXIT_REBOOT, "reboot"},
    {HA_EXIT_CRASH, "crash"},
};

int xvm_exit_write(int dir, uint64_t nonce, enum ha_exit how)
{
    char buf[64];
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
        if (exits[i].how != how)
            continue;
        snprintf(buf, sizeof(buf), "%" PRIx64 " %s\n", nonce, exits[i].name);
        return xvm_text_replace(dir, "exit", buf);
    }
    return -EINVAL;
}

enum ha_exit xvm_exit_read(int dir, uint64_t nonce)
{
    char buf[64], name[16];
    uint64_t seen = 0;
    if (xvm_text_read(dir, "exit", buf, sizeof(buf)) < 0 ||
        sscanf(buf, "%" SCNx64 " %15s", &seen, name) != 2 || seen != nonce)
        return HA_EXIT_KILLED;
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++)
        if (!strcmp(exits[i].name, name))
            return exits[i].how;
    return HA_EXIT_UNKNOWN;
}

void xvm_state_clear(int dir)
{
    (void)unlinkat(dir, "state", 0);
    (void)unlinkat(dir, "exit", 0);
    (void)unlinkat(dir, "ctl", 0);
}

uint64_t xvm_pid_start(pid_t pid)
{
    char path[32], buf[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (xvm_text_read(AT_FDCWD, path, buf, sizeof(buf)) < 0)
        return 0;
    /* The second field is the program's name in parentheses, which may hold anything. */
    char *s = strrchr(buf, ')');
    uint64_t start = 0;
    for (int field = 2; s && field < 22; field++)
        s = strchr(s + 1, ' ');
    return s && sscanf(s, " %" SCNu64, &start) == 1 ? start : 0;
}

int xvm_pidfd_of(pid_t pid, uint64_t start)
{
    int fd = xvm_pidfd_open(pid);
    if (fd < 0)
        return -errno;
    /* Looked at after the open: if it is the right one now, the descriptor is the right one. */
    uint64_t now = xvm_pid_start(pid);
    if (start && now && now != start) {
        close(fd);
        return -ESRCH;
    }
    return fd;
}

const char *xvm_copy_state_name(enum ha_copy_state state)
{
    switch (state) {
    case HA_COPY_PAUSED:
        return "paused";
    case HA_COPY_RUNNING:
        return "running";
    case HA_COPY_SUSPENDED:
        return "suspended";
    case HA_COPY_DYING:
        return "dying";
    }
    return "unknown";
}
