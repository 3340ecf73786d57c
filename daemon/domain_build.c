/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Builds a guest's domain, paused and tagged; and clears away what a failed build left. */
#include "domain.h"

#include <errno.h>
#include <inttypes.h>
#include <libxl_utils.h>
#include <string.h>

enum {
    BALLOON_SECONDS = 10, /* a step of dom0's ballooning */
    BALLOON_STEPS = 3,
};

/* 0: there is no copy here. Else says why not, with its code. */
static int refuse_second(struct domain_worker *w)
{
    struct domain_scan scan;
    uint64_t inc, mig;
    size_t i = 0;
    int r = domain_scan(w, &scan);
    if (r < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "cannot tell what runs here (%s)",
                                strerror(-r));
    const struct xvm_domain *d = domain_next(w, &scan, &i, &inc, &mig);
    if (d && (d->gone || d->dying))
        r = domain_say(w, XVM_WORKER_FAILED,
                       "the last copy's disks are not closed yet (domain %" PRIu32 ")", d->domid);
    else if (d)
        r = domain_say(w, XVM_WORKER_FAILED, "a copy is on this host already: domain %" PRIu32,
                       d->domid);
    domain_scan_done(&scan);
    return r;
}

int domain_make_room(struct domain_worker *w, libxl_domain_config *config,
                     char why[static HA_TEXT_MAX])
{
    uint64_t need = 0, free_kib = 0;
    if (libxl_domain_need_memory(w->xl, config, 0, &need) != 0) {
        snprintf(why, HA_TEXT_MAX, "libxl does not know how much memory it needs");
        return -ENOMEM;
    }
    for (int i = 0;; i++) {
        if (libxl_get_free_memory(w->xl, &free_kib) != 0)
            break;
        if (free_kib >= need)
            return 0;
        uint64_t gives = domain_memory_dom0_gives(w);
        if (i == BALLOON_STEPS || free_kib + gives < need)
            break;
        if (libxl_set_memory_target(w->xl, 0, (int64_t)free_kib - (int64_t)need, 1, 0) != 0)
            break;
        (void)libxl_wait_for_memory_target(w->xl, 0, BALLOON_SECONDS);
    }
    snprintf(why, HA_TEXT_MAX, "it needs %" PRIu64 " MiB and %" PRIu64 " MiB are free", need >> 10,
             free_kib >> 10);
    return -ENOMEM;
}

int domain_clear(struct domain_worker *w, uint64_t inc)
{
    struct domain_scan scan;
    uint64_t its_inc, mig;
    int code = XVM_WORKER_FAILED;
    if (domain_scan(w, &scan) < 0)
        return XVM_WORKER_UNKNOWN;
    const struct xvm_domain *d;
    for (size_t i = 0; (d = domain_next(w, &scan, &i, &its_inc, &mig));)
        if (!d->gone && its_inc == inc)
            (void)libxl_domain_destroy(w->xl, d->domid, NULL);
    domain_scan_done(&scan);
    if (domain_scan(w, &scan) < 0)
        return XVM_WORKER_UNKNOWN;
    for (size_t i = 0; domain_next(w, &scan, &i, &its_inc, &mig);)
        if (its_inc == inc)
            code = XVM_WORKER_UNKNOWN; /* the inventory shows it */
    domain_scan_done(&scan);
    if (code == XVM_WORKER_FAILED) {
        xvm_record_remove(w->dir);
        domain_guard_let_go(w, inc);
    }
    return code;
}

static int build(struct domain_worker *w, libxl_domain_config *config)
{
    const struct domain_options *o = w->options;
    struct xvm_domain_record record = {.inc = o->inc};
    uint32_t domid = 0;
    char why[HA_TEXT_MAX];
    memcpy(record.uuid.b, libxl_uuid_bytearray_const(&config->c_info.uuid), sizeof(record.uuid.b));
    if (domain_make_room(w, config, why) < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "%s", why);
    int r = xvm_record_write(w->dir, &record);
    if (r < 0)
        return domain_say(w, XVM_WORKER_FAILED, "%s cannot be written: %s", o->run_dir,
                          strerror(-r));
    w->known.record = record;
    w->known.has_record = true;
    const char *stop = domain_must_not_begin(w);
    if (stop) {
        xvm_record_remove(w->dir);
        return domain_say(w, XVM_WORKER_FAILED, "%s", stop);
    }
    if (domain_guard_hold(w, config, why) < 0) {
        xvm_record_remove(w->dir);
        return domain_say(w, XVM_WORKER_FAILED, "%s", why);
    }
    stop = domain_must_not_begin(w); /* that may have taken a while */
    domain_forget_words(w);
    int rc = stop ? ERROR_ABORTED : libxl_domain_create_new(w->xl, config, &domid, NULL, NULL);
    if (rc != 0) {
        int code = domain_clear(w, o->inc);
        return domain_say_words(w, code, "%s (%d)", stop ? stop : "libxl cannot build it", rc);
    }
    record.domid = domid;
    (void)xvm_record_write(w->dir, &record); /* the tag says the same */
    return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32, domid);
}

int domain_create(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    libxl_domain_config config;
    char why[HA_TEXT_MAX];
    if (!o->inc)
        return domain_say(w, XVM_WORKER_FAILED, "a copy needs an incarnation");
    libxl_domain_config_init(&config);
    int r = domain_config_read(w, o->definition, &config, why);
    if (r < 0) {
        libxl_domain_config_dispose(&config);
        return domain_say_words(w, XVM_WORKER_FAILED, "%s", why);
    }
    if (!domain_check_files(&config, why)) {
        libxl_domain_config_dispose(&config);
        return domain_say(w, XVM_WORKER_FAILED, "it cannot be started here: %s", why);
    }
    memcpy(w->known.uuid.b, libxl_uuid_bytearray_const(&config.c_info.uuid),
           sizeof(w->known.uuid.b));
    domain_config_own(&config, o->name, NULL, o->name, o->inc, 0);
    r = refuse_second(w);
    if (!r)
        r = build(w, &config);
    libxl_domain_config_dispose(&config);
    return r;
}
