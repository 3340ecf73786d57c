/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ends a guest's domains on this host, and does not say so before nothing of them can write any
 * more: the domain is gone, its block backends are closed, its device model has ended. */
#include "domain.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAP_MS = 50,
    AGAIN_MS = 1000,      /* between two attempts at the same domain */
    MODEL_GRACE_MS = 2000 /* for a device model to end by itself */
};

static bool meant(const struct domain_worker *w, uint64_t inc)
{
    return !w->options->inc || w->options->inc == inc;
}

/* Without a word to xenstore, which may hang: a domain that is certainly meant stops here and now.
 * That is written down before: should this worker not come to its end, nobody must take the paused
 * domain for one that an operator has paused, and leave it so. */
static void pause_first(struct domain_worker *w)
{
    struct xvm_domain_record *record = &w->known.record;
    if (w->known.has_record && meant(w, record->inc)) {
        record->ending = true;
        if (xvm_record_write(w->dir, record) < 0)
            return;
    }
    int n = 0;
    libxl_dominfo *info = libxl_list_domain(w->xl, &n);
    for (int i = 0; info && i < n; i++) {
        const uint8_t *uuid = libxl_uuid_bytearray_const(&info[i].uuid);
        bool recorded = w->known.has_record && record->domid == info[i].domid &&
                        !memcmp(record->uuid.b, uuid, sizeof(record->uuid.b));
        if (info[i].domid && recorded && meant(w, record->inc) && !info[i].dying)
            (void)libxl_domain_pause(w->xl, info[i].domid, NULL);
    }
    if (info)
        libxl_dominfo_list_free(info, n);
}

/* Number of domains that are still there in part, or a negative errno. */
static int destroy_once(struct domain_worker *w, bool again, bool kill_models,
                        char what[static HA_TEXT_MAX])
{
    struct domain_scan scan;
    uint64_t inc, mig;
    int left = 0, r = domain_scan(w, &scan);
    if (r < 0)
        return r;
    const struct xvm_domain *d;
    for (size_t i = 0; (d = domain_next(w, &scan, &i, &inc, &mig));) {
        if (!meant(w, inc))
            continue;
        left++;
        snprintf(what, HA_TEXT_MAX, "domain %" PRIu32 "%s", d->domid,
                 d->gone    ? " is gone, but its disks are not closed"
                 : d->dying ? " is dying"
                            : " cannot be ended");
        if (!d->gone && !d->dying && again) {
            domain_forget_words(w);
            (void)libxl_domain_destroy(w->xl, d->domid, NULL);
        } else if ((d->gone || d->dying) && kill_models) {
            domain_kill_models(d->domid);
        }
    }
    domain_scan_done(&scan);
    return left;
}

static void make_folder_of(const char *path)
{
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
    if (slash) {
        *slash = '\0';
        (void)mkdir(folder, 0700);
    }
    free(folder);
}

/* As far as it goes: a dump that cannot be written keeps nobody from ending the guest. One that a
 * worker did not finish in its time is not begun again: its guest has waited long enough. */
static void dump_first(struct domain_worker *w)
{
    const char *path = w->options->dump;
    char partial[PATH_MAX];
    struct xvm_domain domain;
    uint64_t mig;
    make_folder_of(path);
    int r = domain_find(w, w->options->inc, &domain, &mig);
    if (snprintf(partial, sizeof(partial), "%s.partial", path) >= (int)sizeof(partial))
        r = -ENAMETOOLONG;
    if (r == 0 && access(path, F_OK) == 0)
        return; /* kept by an earlier worker, which did not get further */
    if (r == 0 && access(partial, F_OK) == 0)
        r = -ETIMEDOUT;
    else if (r == 0 && (libxl_domain_core_dump(w->xl, domain.domid, partial, NULL) != 0 ||
                        rename(partial, path) < 0)) {
        r = -EIO;
        (void)unlink(partial); /* half of one is of no use */
    }
    domain_forget_words(w);
    domain_print(
        json_pack("{s:s, s:b}", "dump", r == -ETIMEDOUT ? partial : path, "written", r == 0));
}

int domain_destroy(struct domain_worker *w)
{
    char what[HA_TEXT_MAX] = "";
    ha_ms begin = xvm_boot_ms(), tried = 0;
    int left;
    if (w->options->dump && w->options->dump[0])
        dump_first(w);
    pause_first(w);
    for (;;) {
        ha_ms now = xvm_boot_ms();
        bool again = !tried || now >= tried + AGAIN_MS;
        left = destroy_once(w, again, now >= begin + MODEL_GRACE_MS, what);
        if (left <= 0 || now >= w->deadline)
            break;
        if (again)
            tried = xvm_boot_ms();
        else
            domain_nap(NAP_MS);
    }
    if (left < 0)
        return domain_say_words(w, XVM_WORKER_UNKNOWN, "cannot tell what runs here (%s)",
                                strerror(-left));
    if (left > 0)
        return domain_say_words(w, XVM_WORKER_UNKNOWN, "%s", what);
    if (w->known.has_record && meant(w, w->known.record.inc))
        xvm_record_remove(w->dir);
    domain_guard_let_go(w, w->options->inc);
    return domain_say(w, XVM_WORKER_OK, "gone");
}
