/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process driver's files on the shared storage: migration images and tests' behaviours. */
#include "guest_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FNV-1a: it has to notice a torn or foreign file, not an attacker. */
static uint64_t sum(const char *data, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
    return h;
}

static char *image_path(const char *shared_dir, const char *name, uint64_t mig)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s.mig-%" PRIu64, shared_dir, name, mig) < 0 ? NULL : path;
}

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

int xvm_image_read(const char *shared_dir, const char *name, uint64_t mig,
                   struct xvm_guest_image *ret_image)
{
    char *path = image_path(shared_dir, name, mig);
    if (!path)
        return -ENOMEM;
    char buf[512];
    ssize_t n = read_file(path, buf, sizeof(buf));
    free(path);
    if (n < 0)
        return (int)n;
    struct xvm_guest_image image = {0};
    uint64_t said = 0;
    const char *tail = strstr(buf, "sum ");
    if (!tail || sscanf(tail, "sum %" SCNx64, &said) != 1 || said != sum(buf, (size_t)(tail - buf)))
        return -EBADMSG;
    if (sscanf(buf, "xvm-image 1\nname %63s\nmig %" SCNu64 "\ninc %" SCNu64 "\ntick %" SCNu64,
               image.name, &image.mig, &image.inc, &image.tick) != 4 ||
        strcmp(image.name, name) != 0 || image.mig != mig)
        return -EBADMSG;
    *ret_image = image;
    return 0;
}

static int write_durable(const char *path, const char *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    ssize_t r = write(fd, data, n);
    int e = r < 0 ? -errno : (size_t)r != n ? -ENOSPC : 0;
    if (!e && fsync(fd) < 0)
        e = -errno;
    close(fd);
    return e;
}

static int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int xvm_image_write(const char *shared_dir, const char *host, const struct xvm_guest_image *image)
{
    char buf[512];
    int n = snprintf(buf, sizeof(buf) - 32,
                     "xvm-image 1\nname %s\nmig %" PRIu64 "\ninc %" PRIu64 "\ntick %" PRIu64 "\n",
                     image->name, image->mig, image->inc, image->tick);
    n += snprintf(buf + n, sizeof(buf) - (size_t)n, "sum %016" PRIx64 "\n", sum(buf, (size_t)n));
    char *path = image_path(shared_dir, image->name, image->mig), *tmp = NULL;
    if (!path || asprintf(&tmp, "%s.%s.new", path, host) < 0) {
        free(path);
        return -ENOMEM;
    }
    int r = write_durable(tmp, buf, (size_t)n);
    if (!r && rename(tmp, path) < 0)
        r = -errno;
    if (!r)
        r = sync_dir(shared_dir);
    if (r < 0)
        (void)unlink(tmp);
    free(tmp);
    free(path);
    return r;
}

void xvm_image_remove(const char *shared_dir, const char *name, uint64_t mig)
{
    char *path = mig ? image_path(shared_dir, name, mig) : NULL;
    if (path)
        (void)unlink(path);
    free(path);
}

void xvm_image_remove_all(const char *shared_dir, const char *name)
{
    char prefix[HA_NAME_MAX + 8];
    int n = snprintf(prefix, sizeof(prefix), "%s.mig-", name);
    DIR *dir = opendir(shared_dir);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (!strncmp(entry->d_name, prefix, (size_t)n))
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
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
