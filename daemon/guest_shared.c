/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process driver's files on the shared storage: how a test wants a guest to misbehave. */
#include "guest_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_file(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    size_t n = 0;
    ssize_t r = 1;
    while (n < size - 1 && (r = read(fd, buf + n, size - 1 - n)) > 0)
        n += (size_t)r;
    int e = r < 0 ? errno : 0;
    close(fd);
    buf[n] = '\0';
    return e ? -e : (ssize_t)n;
}

static void parse_fault(const char *value, enum xvm_fault *fault, ha_ms *slow_ms)
{
    if (!strcmp(value, "fail"))
        *fault = XVM_FAULT_FAIL;
    else if (!strcmp(value, "hang"))
        *fault = XVM_FAULT_HANG;
    else if (!strcmp(value, "ignore"))
        *fault = XVM_FAULT_IGNORE;
    else if (!strncmp(value, "slow:", 5))
        *slow_ms = strtoll(value + 5, NULL, 10);
}

static enum ha_exit parse_exit(const char *value)
{
    return !strcmp(value, "reboot")  ? HA_EXIT_REBOOT
           : !strcmp(value, "crash") ? HA_EXIT_CRASH
                                     : HA_EXIT_POWEROFF;
}

static void parse_behave(const char *key, const char *value, struct xvm_guest_behave *b)
{
    if (!strcmp(key, "create"))
        parse_fault(value, &b->create, &b->create_ms);
    else if (!strcmp(key, "unpause"))
        parse_fault(value, &b->unpause, &b->unpause_ms);
    else if (!strcmp(key, "shutdown"))
        parse_fault(value, &b->shutdown, &b->shutdown_ms);
    else if (!strcmp(key, "crash_after"))
        b->crash_after_ms = strtoll(value, NULL, 10);
    else if (!strcmp(key, "reboot_after"))
        b->reboot_after_ms = strtoll(value, NULL, 10);
    else if (!strcmp(key, "poweroff_after"))
        b->poweroff_after_ms = strtoll(value, NULL, 10);
    else if (!strcmp(key, "exit"))
        b->exit = parse_exit(value);
    else if (!strcmp(key, "tick"))
        b->tick_ms = strtoll(value, NULL, 10);
    else if (!strcmp(key, "complete"))
        parse_fault(value, &(enum xvm_fault){XVM_FAULT_NONE}, &b->complete_ms);
    else if (!strcmp(key, "image"))
        b->image_kib = strtoull(value, NULL, 10);
}

void xvm_behave_read(const char *shared_dir, const char *name, struct xvm_guest_behave *ret_behave)
{
    struct xvm_guest_behave b = {
        .shutdown_ms = XVM_GUEST_SHUTDOWN_MS, .exit = HA_EXIT_POWEROFF, .tick_ms = 0};
    char *path = NULL, buf[2048], *save = NULL;
    if (asprintf(&path, "%s/%s.behave", shared_dir, name) >= 0 &&
        read_file(path, buf, sizeof(buf)) > 0) {
        for (char *line = strtok_r(buf, "\r\n", &save); line;
             line = strtok_r(NULL, "\r\n", &save)) {
            char *eq = strchr(line, '=');
            if (line[0] == '#' || !eq)
                continue;
            *eq = '\0';
            parse_behave(line, eq + 1, &b);
        }
    }
    free(path);
    *ret_behave = b;
}
