/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The `shared_disk` section, and how long the storage below it takes to give up. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_disk.h"
#include "config_internal.h"

enum { DEPTH_MAX = 4, DAY = 24 * 3600 * 1000 };

/* ------------------------------------------------------------------------- what sysfs can tell */

/* A number of seconds in a file; 0: there is none. */
static ha_ms seconds(const char *path)
{
    char text[32] = "";
    FILE *file = fopen(path, "re");
    long long n = 0;

    if (file == NULL)
        return 0;
    if (fgets(text, sizeof(text), file) != NULL)
        n = strtoll(text, NULL, 10);
    fclose(file);
    return n > 0 && n < 24 * 3600 ? n * 1000 : 0;
}

static void take_longer(struct xvm_storage *s, ha_ms ms, const char *what, const char *path)
{
    if (ms <= s->ms)
        return;
    s->ms = ms;
    snprintf(s->what, sizeof(s->what), "%s of %.90s", what, path);
}

/* The session that a SCSI disk hangs on shows in the path that its link leads to. */
static void look_at_session(const char *sysfs, const char *real, struct xvm_storage *s)
{
    const char *at = strstr(real, "/session");
    char path[600];
    int len = 0;

    if (at == NULL)
        return;
    while (at[1 + len] != '\0' && at[1 + len] != '/')
        len++;
    snprintf(path, sizeof(path), "%s/class/iscsi_session/%.*s/recovery_tmo", sysfs, len, at + 1);
    take_longer(s, seconds(path), "iSCSI's replacement_timeout", path);
}

static void look(const char *sysfs, const char *folder, unsigned depth, struct xvm_storage *s);

/* Device mapper, md: what is below. */
static void look_below(const char *sysfs, const char *folder, unsigned depth, struct xvm_storage *s)
{
    char pattern[600];
    glob_t found;

    snprintf(pattern, sizeof(pattern), "%.500s/slaves/*", folder);
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        look(sysfs, found.gl_pathv[i], depth + 1, s);
    globfree(&found);
}

static void look(const char *sysfs, const char *folder, unsigned depth, struct xvm_storage *s)
{
    char path[700], *real;

    if (depth > DEPTH_MAX)
        return;
    real = realpath(folder, NULL);
    if (real == NULL)
        return;
    snprintf(path, sizeof(path), "%.500s/partition", real);
    if (access(path, F_OK) == 0) { /* the disk that it is a part of */
        snprintf(path, sizeof(path), "%.500s/..", real);
        look(sysfs, path, depth + 1, s);
    } else {
        snprintf(path, sizeof(path), "%.500s/device/timeout", real);
        take_longer(s, seconds(path), "the SCSI command timeout", path);
        look_at_session(sysfs, real, s);
        if (strstr(real, "/nvme") != NULL) {
            snprintf(path, sizeof(path), "%s/module/nvme_core/parameters/io_timeout", sysfs);
            take_longer(s, seconds(path), "the NVMe command timeout", path);
        }
        look_below(sysfs, real, depth, s);
    }
    free(real);
}

void xvm_storage_look(const char *sysfs, unsigned major, unsigned minor, struct xvm_storage *ret)
{
    char folder[256];

    *ret = (struct xvm_storage){0};
    snprintf(folder, sizeof(folder), "%.200s/dev/block/%u:%u", sysfs, major, minor);
    look(sysfs, folder, 0, ret);
}

/* ------------------------------------------------------------------------------------- section */

/* Asks nobody over a network: a server that is gone must not hold the daemon. */
static void look_at_path(struct xvm_loader *l, const struct xvm_node *at, const char *path,
                         struct xvm_storage *ret)
{
    struct statx st;

    *ret = (struct xvm_storage){0};
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0) {
        xvm_config_warn_node(l, at, "shared disk %.160s is not there on this host: %s", path,
                             strerror(errno));
        return;
    }
    if (S_ISBLK(st.stx_mode))
        xvm_storage_look("/sys", st.stx_rdev_major, st.stx_rdev_minor, ret);
    else if (S_ISREG(st.stx_mode))
        xvm_storage_look("/sys", st.stx_dev_major, st.stx_dev_minor, ret);
    else
        xvm_config_fail_node(l, at, "shared disk %.160s, expected a block device or a file", path);
}

void xvm_read_disk(struct xvm_loader *l, const struct xvm_node *node)
{
    static const struct xvm_field fields[] = {
        {.key = "path",
         .read = xvm_read_path,
         .offset = offsetof(struct ha_disk_config, path),
         .required = true},
        {.key = "interval",
         .read = xvm_read_duration,
         .offset = offsetof(struct ha_disk_config, interval_ms),
         .max = 60 * 1000},
        {.key = "timeout",
         .read = xvm_read_duration,
         .offset = offsetof(struct ha_disk_config, timeout_ms),
         .max = DAY},
    };
    struct ha_disk_config *disk = &l->config->disk;
    struct ha_error error = {0};
    struct xvm_storage storage;

    if (node == NULL)
        return;
    disk->interval_ms = 1000;
    if (xvm_read_map(l, node, "`shared_disk`", fields, sizeof(fields) / sizeof(fields[0]), disk) <
            0 ||
        disk->path == NULL)
        return;
    if (disk->timeout_ms == 0) /* not what this host's storage takes: hosts must not differ in it */
        disk->timeout_ms = ha_disk_timeout_min(&l->config->timers, disk->interval_ms, 0);
    look_at_path(l, node, disk->path, &storage);
    if (ha_disk_check(disk, &l->config->timers, storage.ms, &error) < 0)
        xvm_config_fail_node(l, node, "%s%s%s", error.text, storage.ms ? "; the storage: " : "",
                             storage.what);
}
