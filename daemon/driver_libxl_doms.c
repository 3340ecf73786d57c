/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The domains of guests on this host from look to look: each end is reported once, with its reason,
 * and what an ended one leaves is cleared away. Until it is, its disks are not closed, and nobody
 * else would do it: there is no xl that waits for a guest of ours. */
#include "driver_libxl.h"

#include <stdlib.h>
#include <string.h>

enum {
    BURY_AGAIN_MS = 10 * 1000, /* after an attempt, or for what somebody else is taking apart */
    FOREIGN_MS = 30 * 1000,    /* for one that nobody has adopted and no xl waits for */
};

static struct xvm_dom *find(struct xvm_driver *driver, uint32_t domid)
{
    for (struct xvm_dom *d = driver->doms; d; d = d->next)
        if (d->domid == domid)
            return d;
    return NULL;
}

static void ended(struct xvm_driver *driver, struct xvm_dom *dom, enum ha_exit how)
{
    if (dom->reported)
        return;
    dom->reported = true;
    /* What nobody has adopted yet is none of ours to judge. */
    if (!dom->expected && !dom->building && dom->inc)
        driver->sink->exited(driver->user, dom->guest, dom->inc, how);
}

/* Not while an operation is at the guest: that one deals with it, or a destroy follows. */
static void clear_away(struct xvm_driver *driver, struct xvm_dom *dom,
                       const struct xvm_domain *domain)
{
    ha_ms now = xvm_boot_ms();
    bool ended_itself = !domain->gone && !domain->dying;
    ha_ms wait = !dom->inc ? FOREIGN_MS : ended_itself ? 0 : BURY_AGAIN_MS;
    if (!dom->dead_since)
        dom->dead_since = now;
    if (now < dom->dead_since + wait || (!dom->inc && domain->monitored))
        return;
    dom->dead_since = now + (ended_itself ? BURY_AGAIN_MS : 0);
    xvm_libxl_bury(driver, dom->guest, dom->inc,
                   domain->end == XVM_END_CRASH || domain->end == XVM_END_WATCHDOG);
}

/* An incarnation of 0 would mean every copy there is. */
static bool has_other(const struct xvm_driver *driver, const struct xvm_dom *dom)
{
    for (const struct xvm_dom *d = driver->doms; d; d = d->next)
        if (d != dom && !strcmp(d->guest, dom->guest))
            return true;
    return false;
}

void xvm_libxl_follow(struct xvm_driver *driver, const struct xvm_domain *domain, const char *guest,
                      uint64_t inc, bool worker)
{
    struct xvm_dom *dom = find(driver, domain->domid);
    if (!dom) {
        dom = calloc(1, sizeof(*dom));
        if (!dom)
            return; /* the next look tries again */
        dom->domid = domain->domid;
        dom->building = worker;
        dom->next = driver->doms;
        driver->doms = dom;
    }
    dom->stale = false;
    memcpy(dom->guest, guest, strnlen(guest, sizeof(dom->guest) - 1) + 1);
    if (inc)
        dom->inc = inc;
    if (!worker || domain->ran)
        dom->building = false;
    if (xvm_domain_state(domain) != HA_COPY_DYING) {
        dom->dead_since = 0;
        return;
    }
    ended(driver, dom, xvm_domain_exit(domain->end));
    if (!worker && (dom->inc || !has_other(driver, dom)))
        clear_away(driver, dom, domain);
}

void xvm_libxl_follow_begin(struct xvm_driver *driver)
{
    for (struct xvm_dom *d = driver->doms; d; d = d->next)
        d->stale = true;
}

void xvm_libxl_follow_end(struct xvm_driver *driver)
{
    for (struct xvm_dom **at = &driver->doms; *at;) {
        struct xvm_dom *dom = *at;
        if (!dom->stale) {
            at = &dom->next;
            continue;
        }
        *at = dom->next;
        ended(driver, dom, HA_EXIT_KILLED);
        free(dom);
    }
}

void xvm_libxl_ended(struct xvm_driver *driver, uint32_t domid, enum xvm_domain_end end)
{
    struct xvm_dom *dom = find(driver, domid);
    if (dom && end != XVM_END_SUSPEND && end != XVM_END_NONE)
        ended(driver, dom, xvm_domain_exit(end));
}

bool xvm_libxl_moving(const struct xvm_driver *driver, uint32_t domid)
{
    const struct xvm_dom *dom = driver->doms;
    while (dom && dom->domid != domid)
        dom = dom->next;
    const struct xvm_op *op = dom ? xvm_ops_of(&driver->ops, dom->guest) : NULL;
    return op && op->what == HA_OP_SEND;
}

void xvm_libxl_expect(struct xvm_driver *driver, const char *guest, uint64_t inc, bool expected)
{
    for (struct xvm_dom *d = driver->doms; d; d = d->next)
        if (!strcmp(d->guest, guest) && (!inc || d->inc == inc))
            d->expected = expected;
}

void xvm_libxl_forget_all(struct xvm_driver *driver)
{
    while (driver->doms) {
        struct xvm_dom *dom = driver->doms;
        driver->doms = dom->next;
        free(dom);
    }
}
