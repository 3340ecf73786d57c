/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The short operations on a domain that is there: let it run, ask it to stop, tag it, let it go on.
 */
#include "domain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Says why there is no such domain. */
static int not_found(const struct domain_worker *w, int r)
{
    if (r == -ENOENT)
        return domain_say(w, XVM_WORKER_FAILED, "there is no copy with incarnation %" PRIu64,
                          w->options->inc);
    if (r == -EEXIST)
        return domain_say(w, XVM_WORKER_FAILED, "several domains are that guest's");
    return domain_say_words(w, XVM_WORKER_FAILED, "cannot tell what runs here (%s)", strerror(-r));
}

/* Gives an incoming copy its name. What stands in the way of the name must not stand in the way of the
 * guest. */
static void take_name(struct domain_worker *w, const struct xvm_domain *d)
{
    const struct domain_options *o = w->options;
    char incoming[XVM_DOMAIN_NAME_MAX];
    int n = snprintf(incoming, sizeof(incoming), "%s--incoming-", o->name);
    if (n > 0 && !strncmp(d->name, incoming, (size_t)n))
        (void)libxl_domain_rename(w->xl, d->domid, d->name, o->name);
}

/* Clears the migration id. */
static int make_own(struct domain_worker *w, const struct xvm_domain *d, uint64_t mig)
{
    const struct domain_options *o = w->options;
    int r = mig ? domain_tag_write(w, d->domid, o->inc, 0) : 0;
    struct xvm_domain_record record = {.uuid = d->uuid, .domid = d->domid, .inc = o->inc};
    (void)xvm_record_write(w->dir, &record);
    return r;
}

int domain_unpause(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    struct xvm_domain d;
    uint64_t mig = 0;
    int r = domain_find(w, o->inc, &d, &mig);
    if (r < 0)
        return not_found(w, r);
    enum ha_copy_state state = xvm_domain_state(&d);
    if (state != HA_COPY_PAUSED && state != HA_COPY_RUNNING)
        return domain_say(w, XVM_WORKER_FAILED, "domain %" PRIu32 " has ended (%s)", d.domid,
                          xvm_domain_end_name(d.end));
    domain_die_at_lease_end(w);
    r = make_own(w, &d, mig);
    if (r < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "its tag cannot be written: %s",
                                strerror(-r));
    if (state == HA_COPY_RUNNING) {
        take_name(w, &d);
        return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32 " runs already", d.domid);
    }
    const char *stop = domain_must_not_begin(w);
    if (stop)
        return domain_say(w, XVM_WORKER_FAILED, "%s", stop);
    domain_forget_words(w);
    int rc = libxl_domain_unpause(w->xl, d.domid, NULL);
    if (rc != 0)
        return domain_say_words(w, XVM_WORKER_UNKNOWN, "libxl cannot let it run (%d)", rc);
    take_name(w, &d); /* after it runs: each moment before is one in which it stands still */
    return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32 " runs", d.domid);
}

int domain_shutdown(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    struct xvm_domain d;
    uint64_t mig = 0;
    int r = domain_find(w, o->inc, &d, &mig);
    if (r < 0)
        return not_found(w, r);
    if (d.end != XVM_END_NONE)
        return domain_say(w, XVM_WORKER_OK, "it has ended already (%s)",
                          xvm_domain_end_name(d.end));
    int rc = libxl_domain_shutdown(w->xl, d.domid, NULL);
    if (rc == ERROR_NOPARAVIRT) {
        /* No driver of Xen's in it: the power button then. */
        domain_forget_words(w);
        rc = libxl_send_trigger(w->xl, d.domid, LIBXL_TRIGGER_POWER, 0, NULL);
    }
    if (rc != 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "it does not take the request (%d)", rc);
    return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32 " was asked", d.domid);
}

/* The running domain of the guest that has another incarnation, or none. */
static int find_any(struct domain_worker *w, struct xvm_domain *ret_domain)
{
    struct domain_scan scan;
    uint64_t inc, mig;
    unsigned found = 0;
    int r = domain_scan(w, &scan);
    if (r < 0)
        return r;
    const struct xvm_domain *d;
    for (size_t i = 0; (d = domain_next(w, &scan, &i, &inc, &mig));) {
        if (xvm_domain_state(d) == HA_COPY_DYING)
            continue;
        *ret_domain = *d;
        found++;
    }
    domain_scan_done(&scan);
    return found == 1 ? 0 : found ? -EEXIST : -ENOENT;
}

/* The xl first: a daemon that dies in between finds the guest as it was, and adopts it again. */
int domain_tag(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    struct xvm_domain d;
    unsigned monitors = 0;
    int r = find_any(w, &d);
    if (r == -ENOENT)
        return domain_say(w, XVM_WORKER_FAILED, "it does not run here");
    if (r < 0)
        return not_found(w, r);
    if (xvm_domain_state(&d) != HA_COPY_RUNNING)
        return domain_say(w, XVM_WORKER_FAILED, "domain %" PRIu32 " does not run", d.domid);
    r = domain_end_monitors(d.domid, &monitors);
    if (r < 0)
        return domain_say(w, XVM_WORKER_FAILED,
                          "the xl that waits for domain %" PRIu32 " cannot be ended: %s", d.domid,
                          strerror(-r));
    r = domain_tag_write(w, d.domid, o->inc, 0);
    if (r < 0)
        return domain_say_words(w, XVM_WORKER_FAILED, "its tag cannot be written: %s",
                                strerror(-r));
    struct xvm_domain_record record = {.uuid = d.uuid, .domid = d.domid, .inc = o->inc};
    (void)xvm_record_write(w->dir, &record);
    domain_guard_note(w);
    return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32 " adopted%s", d.domid,
                      monitors ? ", its xl ended" : "");
}

int domain_resume(struct domain_worker *w)
{
    const struct domain_options *o = w->options;
    struct xvm_domain d;
    uint64_t mig = 0;
    int r = domain_find(w, o->inc, &d, &mig);
    if (r < 0)
        return not_found(w, r);
    enum ha_copy_state state = xvm_domain_state(&d);
    if (state != HA_COPY_SUSPENDED && state != HA_COPY_RUNNING)
        return domain_say(w, XVM_WORKER_FAILED, "domain %" PRIu32 " is not suspended", d.domid);
    if (state == HA_COPY_SUSPENDED) {
        domain_die_at_lease_end(w);
        const char *stop = domain_must_not_begin(w);
        if (stop)
            return domain_say(w, XVM_WORKER_FAILED, "%s", stop);
        domain_forget_words(w);
        int rc = libxl_domain_resume(w->xl, d.domid, 1, NULL);
        if (rc != 0 && !domain_must_not_begin(w)) /* a guest that knows no cancelled suspend */
            rc = libxl_domain_resume(w->xl, d.domid, 0, NULL);
        if (rc != 0)
            return domain_say_words(w, XVM_WORKER_UNKNOWN, "libxl cannot let it go on (%d)", rc);
    }
    r = make_own(w, &d, mig);
    if (r < 0) /* runs, and what is left of the tag is of no interest before the next move */
        return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32 " goes on; its tag stays (%s)",
                          d.domid, strerror(-r));
    return domain_say(w, XVM_WORKER_OK, "domain %" PRIu32 " goes on", d.domid);
}
