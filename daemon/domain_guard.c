/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's disks and their reservations: which of them can be guarded, and when that is done.
 *
 * What a copy cannot do without (to be registered, and to be the only one when it is built) is done
 * by the worker that makes the copy, before it does. All else, taking over after a move and
 * unregistering, is done afterwards by a process of its own, `xvm-ha-domain guard`, which holds
 * neither the guest's lock nor up its end: storage that hangs must not keep a host from being
 * empty. */
#include "domain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk_guard.h"

enum {
    HOLD_MS = 30 * 1000,    /* all disks of a guest */
    SETTLED_MS = 10 * 1000, /* another worker's changes */
    NAP_MS = 20,
};

static const char *refuse(void *user)
{
    return domain_must_not_begin(user);
}

/* Programs of tests: as with XVM_XL. */
static struct xvm_guard guard_of(struct domain_worker *w, uint64_t key, ha_ms deadline)
{
    return (struct xvm_guard){.key = key,
                              .deadline = deadline,
                              .refuse = refuse,
                              .user = w,
                              .sg_persist = getenv("XVM_SG_PERSIST"),
                              .mpathpersist = getenv("XVM_MPATHPERSIST")};
}

static ha_ms limit_of(const struct domain_worker *w, ha_ms ms)
{
    ha_ms end = xvm_boot_ms() + ms;
    return w->deadline && w->deadline < end ? w->deadline : end;
}

/* A descriptor that holds the guest's guard lock, or a negative errno. */
static int take_lock(int dir, ha_ms deadline)
{
    int r, fd = xvm_lock_open(dir, XVM_GUARD_LOCK);
    if (fd < 0)
        return fd;
    while ((r = xvm_lock_try(fd)) == -EAGAIN && !domain_cancelled() && xvm_boot_ms() < deadline)
        domain_nap(NAP_MS);
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

/* ------------------------------------------------------------------------------- which disks */

/* Whether it is one that the guest writes to; a reader harms nobody. */
static bool writes(const libxl_device_disk *disk)
{
    return disk->readwrite && disk->pdev_path && disk->pdev_path[0];
}

static enum xvm_guard_kind kind_of(const struct xvm_guard *guard, const libxl_device_disk *disk,
                                   char why[static HA_TEXT_MAX])
{
    if (disk->backend_domname || disk->backend_domid)
        snprintf(why, HA_TEXT_MAX, "another domain has it");
    else if (disk->script && disk->script[0] && !domain_script_ours(disk->script))
        snprintf(why, HA_TEXT_MAX, "it is made by a script (%.60s)", disk->script);
    else if (disk->pdev_path[0] != '/')
        snprintf(why, HA_TEXT_MAX, "it is not a path");
    else
        return xvm_guard_kind(guard, disk->pdev_path, why);
    return XVM_GUARD_NONE;
}

static int collect(const struct xvm_guard *guard, const libxl_domain_config *config,
                   struct xvm_guard_record *record, char why[static HA_TEXT_MAX])
{
    int r = 0;
    for (int i = 0; !r && i < config->num_disks; i++) {
        const libxl_device_disk *disk = &config->disks[i];
        if (!writes(disk))
            continue;
        enum xvm_guard_kind kind = kind_of(guard, disk, why);
        /* Nobody knows what one would be that is not here. */
        r = disk->pdev_path[0] == '/' && access(disk->pdev_path, F_OK) < 0 ? -errno : 0;
        if (!r && kind == XVM_GUARD_NONE)
            continue;
        if (!r)
            r = xvm_guard_add(record, disk->pdev_path);
        if (r < 0)
            snprintf(why, HA_TEXT_MAX, "%.80s: %s", disk->pdev_path, strerror(-r));
    }
    if (!r && record->n == 0) {
        r = -ENODEV;
        snprintf(why, HA_TEXT_MAX, "none is a whole SCSI disk; see `xvmhactl validate`, or say "
                                   "`disk_guard: none`");
    }
    return r;
}

/* ---------------------------------------------------------------------------- making a copy */

typedef int guard_operation(const struct xvm_guard *guard, const char *path,
                            enum xvm_guard_kind kind, char why[static HA_TEXT_MAX]);

/* Does it to each disk; every one is tried, the first failure is told. */
static int on_all(const struct xvm_guard *guard, const struct xvm_guard_record *record,
                  guard_operation *operation, bool go_on, char why[static HA_TEXT_MAX])
{
    char failure[HA_TEXT_MAX];
    int result = 0;
    for (size_t i = 0; i < record->n && (go_on || !result); i++) {
        const char *path = record->disks[i];
        enum xvm_guard_kind kind = xvm_guard_kind(guard, path, failure);
        int r = kind == XVM_GUARD_NONE ? -ENODEV : operation(guard, path, kind, failure);
        if (r < 0 && !result) {
            result = r;
            memcpy(why, failure, HA_TEXT_MAX);
        }
    }
    return result;
}

static int take(struct domain_worker *w, const libxl_domain_config *config,
                guard_operation *operation, char why[static HA_TEXT_MAX])
{
    const struct domain_options *o = w->options;
    struct xvm_guard guard = guard_of(w, o->guard, limit_of(w, HOLD_MS));
    struct xvm_guard_record record = {.key = o->guard, .inc = o->inc};
    char text[HA_TEXT_MAX] = "";
    if (!o->guard)
        return 0;
    int r = collect(&guard, config, &record, text), lock = -1;
    if (!r && (lock = take_lock(w->dir, guard.deadline)) < 0) {
        r = lock;
        snprintf(text, sizeof(text), "an earlier copy's are still being released");
    }
    if (!r && (r = xvm_guard_write(w->dir, &record)) < 0)
        snprintf(text, sizeof(text), "%s cannot be written: %s", o->run_dir, strerror(-r));
    if (!r) {
        /* What an earlier copy has left is this one's now. */
        (void)unlinkat(w->dir, XVM_GUARD_LEFT, 0);
        r = on_all(&guard, &record, operation, false, text);
        if (r < 0)
            domain_guard_let_go(w, o->inc);
    }
    if (lock >= 0)
        close(lock);
    if (r < 0)
        snprintf(why, HA_TEXT_MAX, "its disks cannot be guarded: %.*s", HA_TEXT_MAX - 40, text);
    return r;
}

int domain_guard_hold(struct domain_worker *w, const libxl_domain_config *config,
                      char why[static HA_TEXT_MAX])
{
    return take(w, config, xvm_guard_hold, why);
}

int domain_guard_join(struct domain_worker *w, const libxl_domain_config *config,
                      char why[static HA_TEXT_MAX])
{
    return take(w, config, xvm_guard_join, why);
}

void domain_guard_let_go(struct domain_worker *w, uint64_t inc)
{
    struct xvm_guard_record record;
    int r = xvm_guard_read(w->dir, XVM_GUARD_FILE, &record);
    if (r == 0 && (!inc || record.inc == inc))
        (void)renameat(w->dir, XVM_GUARD_FILE, w->dir, XVM_GUARD_LEFT);
}

int domain_guard_settled(struct domain_worker *w)
{
    if (faccessat(w->dir, XVM_GUARD_LOCK, F_OK, 0) < 0)
        return 0; /* nobody has ever changed any */
    int lock = take_lock(w->dir, limit_of(w, SETTLED_MS));
    if (lock < 0)
        return lock;
    close(lock);
    return 0;
}

static void warn(const char *text)
{
    domain_print(json_pack("{s:s}", "warning", text));
}

void domain_guard_note(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    struct xvm_guard guard = guard_of(w, o->guard, 0);
    struct xvm_guard_record record = {.key = o->guard, .inc = o->inc, .adopted = true};
    libxl_domain_config config;
    char why[HA_TEXT_MAX], text[HA_TEXT_MAX + 64];
    if (!o->guard)
        return;
    libxl_domain_config_init(&config);
    int r = domain_config_read(w, o->definition, &config, why);
    if (!r)
        r = collect(&guard, &config, &record, why);
    if (!r && (r = xvm_guard_write(w->dir, &record)) < 0)
        snprintf(why, sizeof(why), "%s", strerror(-r));
    libxl_domain_config_dispose(&config);
    snprintf(text, sizeof(text), "it was taken over with unguarded disks: %s", why);
    if (r < 0)
        warn(text);
}

/* ------------------------------------------------------------------------------- afterwards */

static int leave_all(struct domain_worker *w, int dir)
{
    struct xvm_guard_record record;
    char why[HA_TEXT_MAX];
    int r = xvm_guard_read(dir, XVM_GUARD_LEFT, &record);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    struct xvm_guard guard = guard_of(w, record.key, w->deadline);
    guard.refuse = NULL; /* giving up a right needs none */
    r = on_all(&guard, &record, xvm_guard_leave, true, why);
    if (r < 0)
        return domain_say(w, XVM_WORKER_FAILED, "this host's key stays on a disk: %s", why);
    (void)unlinkat(dir, XVM_GUARD_LEFT, 0);
    return 0;
}

static int keep_all(struct domain_worker *w, int dir)
{
    struct xvm_guard_record record;
    char why[HA_TEXT_MAX];
    int r = xvm_guard_read(dir, XVM_GUARD_FILE, &record);
    if (r < 0 || record.inc != w->options->inc)
        return 0; /* another copy's, or none */
    struct xvm_guard guard = guard_of(w, record.key, w->deadline);
    r = on_all(&guard, &record, record.adopted ? xvm_guard_adopt : xvm_guard_hold, true, why);
    if (r == 0)
        return 0;
    return domain_say(w, XVM_WORKER_FAILED, "not all of its disks are guarded: %s", why);
}

int domain_guard(const struct domain_options *options)
{
    struct domain_worker w = {.options = options, .logger = {.file = -1, .progress = -1}};
    ha_ms limit = options->timeout_ms > 0 ? options->timeout_ms : HOLD_MS;
    int guests = xvm_guests_open(options->run_dir);
    int dir = guests < 0 ? guests : xvm_guest_open(guests, options->name);
    w.deadline = xvm_boot_ms() + limit;
    int lock = dir < 0 ? dir : take_lock(dir, w.deadline);
    if (lock < 0)
        return domain_say(&w, XVM_WORKER_FAILED, "its reservations cannot be settled: %s",
                          strerror(-lock));
    int r = leave_all(&w, dir);
    if (!r && options->inc)
        r = keep_all(&w, dir);
    if (r < 0)
        return domain_say(&w, XVM_WORKER_FAILED, "%s cannot be read: %s", options->run_dir,
                          strerror(-r));
    return r ? r : domain_say(&w, XVM_WORKER_OK, "settled");
}

/* ---------------------------------------------------------------------------------- looking */

void domain_guard_check(struct domain_worker *w, const libxl_domain_config *config, void *user,
                        void (*problem)(void *user, const char *text))
{
    const struct domain_options *o = w->options;
    struct xvm_guard guard = guard_of(w, o->guard, xvm_boot_ms() + HOLD_MS);
    char why[HA_TEXT_MAX], text[2 * HA_TEXT_MAX];
    size_t guarded = 0;
    for (int i = 0; o->guard && i < config->num_disks; i++) {
        const libxl_device_disk *disk = &config->disks[i];
        if (!writes(disk))
            continue;
        enum xvm_guard_kind kind = kind_of(&guard, disk, why);
        if (kind == XVM_GUARD_NONE) {
            snprintf(text, sizeof(text), "disk %s (%.80s) is not guarded: %s", disk->vdev,
                     disk->pdev_path, why);
            warn(text);
            continue;
        }
        guarded++;
        if (xvm_guard_probe(&guard, disk->pdev_path, kind, why) < 0) {
            snprintf(text, sizeof(text), "disk %s cannot be guarded: %s", disk->vdev, why);
            problem(user, text);
        }
    }
    if (o->guard && !guarded)
        problem(user, "`disk_guard` is scsi, and none of its disks can be guarded");
}
