/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that belong to domains: device models, and the xl that `xl create` leaves behind to
 * react to its domain's end.
 *
 * A device model is known by its arguments: libxl gives it `-xen-domid N`. An xl is known by three
 * things together: its program is xl, its output goes to a log in /var/log/xen, and in that log it
 * says which domain it waits for, and with which process id. */
#include "domain.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pidfd.h"

#define XL_LOG "/var/log/xen/xl-"

enum {
    CMDLINE_MAX = 16 * 1024,
    LOG_TAIL = 64 * 1024,
    MONITOR_END_MS = 5000,
};

/* Reads the last `size` bytes of a file (of /proc: the first). Length or -1. */
static ssize_t read_tail(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < (off_t)size || lseek(fd, end - (off_t)size + 1, SEEK_SET) < 0)
        (void)lseek(fd, 0, SEEK_SET);
    size_t n = 0;
    ssize_t got = 1;
    while (n < size - 1 && (got = read(fd, buf + n, size - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    buf[n] = '\0';
    return got < 0 ? -1 : (ssize_t)n;
}

/* The domain of a device model; 0: it is none. */
static uint32_t model_of(pid_t pid, char *buf)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    ssize_t n = read_tail(path, buf, CMDLINE_MAX);
    for (const char *arg = buf; n > 0 && arg < buf + n; arg += strlen(arg) + 1) {
        const char *next = arg + strlen(arg) + 1;
        if (!strcmp(arg, "-xen-domid") && next < buf + n)
            return (uint32_t)strtoul(next, NULL, 10);
    }
    return 0;
}

/* The domain whose end an xl waits for; 0: it is no xl, or it waits for none that it has told. */
static uint32_t monitored_by(pid_t pid, char *buf)
{
    char path[64], target[PATH_MAX];
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(target, '/');
    if (!slash || strcmp(slash, "/xl") != 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/%d/fd/1", (int)pid);
    n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    if (strncmp(target, XL_LOG, strlen(XL_LOG)) != 0 || read_tail(path, buf, LOG_TAIL) < 0)
        return 0;
    /* The last one counts: after a restart of its domain it waits for the new one. */
    uint32_t domid = 0;
    for (char *at = buf; (at = strstr(at, "Waiting for domain ")); at++) {
        unsigned its_domid;
        long its_pid;
        char *rest = strstr(at, " (domid ");
        if (rest && strchr(at, '\n') && rest < strchr(at, '\n') &&
            sscanf(rest, " (domid %u) to die [pid %ld]", &its_domid, &its_pid) == 2 &&
            its_pid == (long)pid)
            domid = its_domid;
    }
    return domid;
}

static int add(struct domain_process **v, size_t *n, size_t *size, struct domain_process one)
{
    if (*n == *size) {
        struct domain_process *grown = reallocarray(*v, *size + 32, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        *v = grown;
        *size += 32;
    }
    (*v)[(*n)++] = one;
    return 0;
}

int domain_processes(struct domain_process **ret, size_t *ret_n)
{
    DIR *proc = opendir("/proc");
    char *buf = malloc(LOG_TAIL);
    struct domain_process *v = NULL;
    size_t n = 0, size = 0;
    const struct dirent *one;
    int r = proc && buf ? 0 : -ENOMEM;
    while (!r && (one = readdir(proc))) {
        if (!isdigit((unsigned char)one->d_name[0]))
            continue;
        pid_t pid = (pid_t)atoi(one->d_name);
        uint32_t model = model_of(pid, buf), waits = model ? 0 : monitored_by(pid, buf);
        if (model || waits)
            r = add(&v, &n, &size,
                    (struct domain_process){
                        .domid = model ? model : waits, .pid = pid, .device_model = model});
    }
    if (proc)
        closedir(proc);
    free(buf);
    if (r < 0) {
        free(v);
        return r;
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

/* A pidfd of a process that is still what it was taken for, or -1. */
static int certain(const struct domain_process *p, char *buf)
{
    int fd = xvm_pidfd_open(p->pid);
    uint32_t now = fd < 0 ? 0 : p->device_model ? model_of(p->pid, buf) : monitored_by(p->pid, buf);
    if (fd >= 0 && now != p->domid) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int domain_end_monitors(uint32_t domid, unsigned *ret_n)
{
    struct domain_process *v = NULL;
    size_t n = 0;
    unsigned ended = 0;
    char *buf = malloc(LOG_TAIL);
    int r = buf ? domain_processes(&v, &n) : -ENOMEM;
    for (size_t i = 0; !r && i < n; i++) {
        if (v[i].device_model || v[i].domid != domid)
            continue;
        int fd = certain(&v[i], buf);
        if (fd < 0)
            continue;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)xvm_pidfd_signal(fd, SIGTERM);
        if (poll(&p, 1, MONITOR_END_MS) != 1)
            r = -EBUSY;
        close(fd);
        ended++;
    }
    free(v);
    free(buf);
    if (!r)
        *ret_n = ended;
    return r;
}

void domain_kill_models(uint32_t domid)
{
    struct domain_process *v = NULL;
    size_t n = 0;
    char *buf = malloc(LOG_TAIL);
    if (!buf || domain_processes(&v, &n) < 0)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        int fd = v[i].device_model && v[i].domid == domid ? certain(&v[i], buf) : -1;
        if (fd < 0)
            continue;
        (void)xvm_pidfd_signal(fd, SIGKILL);
        close(fd);
    }
    free(v);
    free(buf);
}
