/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The shared disk: whether leases need it, which hosts work by that, and what a poison pill proves.
 *
 * A host is *bound* to the disk when its keeper grants a lease only until D after the last look at
 * the disk (ha_disk_bound() says why that kills), when no lease from before that is left, and when
 * it has said so and that is a fact. Only against a bound host a pill proves anything. When no host
 * at all has the disk any more but they see each other, a fact frees them all, and nobody is
 * stopped; a host that is lost does not hear of it, and stays bound in the facts, too. Freezing frees
 * all hosts as well, in the facts at once: who was frozen is bound again only by a later decision. */
#include "core.h"

enum { NONE_FOR = 1000 }; /* ms that nobody must have the disk: daemons start anew, too */

static bool is_me(const struct ha *ha, const struct ha_host_fact *h)
{
    return h && h->state == HA_HOST_IN && ha_uuid_eq(&h->boot, &ha->boot);
}

static bool configured(const struct ha *ha)
{
    return ha->config->disk.timeout_ms > 0;
}

/* D: while the disk is needed, the decision's; a file that was changed on this host first counts
 * later. */
static ha_ms timeout(const struct ha *ha)
{
    return ha->orders.disk == HA_DISK_ON ? ha->orders.disk_ms : ha->config->disk.timeout_ms;
}

/* Half of the time is kept for agreeing on what to do about it. */
bool ha_disk_ok(const struct ha *ha)
{
    return ha->keeper && ha->disk_t >= 0 && !ha->pilled && ha->now < ha->disk_t + timeout(ha) / 2;
}

/* -------------------------------------------------------------------------------- this host */

/* A host needs the disk no more when that is stable and it is a member by the same facts. Who is
 * lost may be told so, too, but whoever writes a pill for it goes by what was before. */
void ha_disk_orders(struct ha *ha, struct ha_keeper_orders *o)
{
    bool careful = HA_GUARD(ha, DISK_STABLE);
    const struct ha_facts *f = careful ? &ha->stable : &ha->log.head;
    const struct ha_host_fact *self = ha_facts_host(f, ha->self);
    bool mine = is_me(ha, self) || !HA_GUARD(ha, DISK_LOST_KEEPS);
    o->disk = ha->orders.seq ? ha->orders.disk : HA_DISK_KEEP;
    o->disk_gen = ha->orders.disk_gen;
    o->disk_ms = ha->orders.disk_ms;
    o->disk_id = ha->orders.disk_id;
    o->pill_void = ha->orders.pill_void;
    if (!configured(ha) && ha->log.head.disk_gen == 0 && ha->orders.disk_gen == 0) {
        o->disk = HA_DISK_OFF; /* there never was one */
    } else if (mine && (ha->stable_known || !careful)) {
        o->disk = f->disk_on ? HA_DISK_ON : HA_DISK_OFF;
        o->disk_gen = f->disk_gen;
        o->disk_ms = f->disk_ms;
        o->disk_id = f->disk_id;
    }
    if (ha->stable_known && is_me(ha, ha_facts_host(&ha->stable, ha->self)) &&
        ha_facts_host(&ha->stable, ha->self)->loss > o->pill_void)
        o->pill_void = ha_facts_host(&ha->stable, ha->self)->loss;
}

/* After the lease in the event was taken over. */
void ha_disk_keeper(struct ha *ha, const struct ha_event *event)
{
    bool was = ha_disk_ok(ha);
    ha->disk_t = event->u.keeper.disk_t;
    ha->disk_id = event->u.keeper.disk_id;
    if (event->u.keeper.pilled && !ha->pilled)
        ha_report(ha, HA_REPORT_DISK, HA_SEV_ALERT, ha->self, NULL,
                  "this host was given a poison pill: its watchdog resets it");
    ha->pilled = event->u.keeper.pilled;
    if (!was && ha_disk_ok(ha) && ha->disk_late_said) {
        ha->disk_late_said = false;
        ha_report(ha, HA_REPORT_DISK, HA_SEV_NOTICE, ha->self, NULL, "the shared disk is back");
    }
    if (ha->orders.disk == HA_DISK_ON && ha->bound_at == INT64_MAX &&
        ha->keeper_applied >= ha->disk_seq && event->u.keeper.disk_gen == ha->orders.disk_gen)
        ha->bound_at =
            HA_GUARD(ha, DISK_FLOOR) && ha->lease_until > ha->now ? ha->lease_until : ha->now;
}

static void say_late(struct ha *ha)
{
    ha_ms late = ha->disk_t + timeout(ha) / 2;
    if (timeout(ha) == 0 || ha->disk_t < 0 || ha->disk_late_said)
        return;
    if (ha->now < late) {
        ha_wake(ha, late);
        return;
    }
    ha->disk_late_said = true;
    ha_report(ha, HA_REPORT_DISK, HA_SEV_ALERT, ha->self, NULL,
              "the shared disk %s has not answered for %lu s%s",
              ha->config->disk.path ? ha->config->disk.path : "",
              (unsigned long)(ha->now - ha->disk_t) / 1000,
              ha->orders.disk == HA_DISK_ON ? ": without it this host's lease will end" : "");
}

/* That this host is bound is said once in a view, until it is a fact. */
void ha_disk_tell(struct ha *ha)
{
    const struct ha_facts *f = &ha->log.head;
    const struct ha_host_fact *self = ha_facts_host(f, ha->self);
    say_late(ha);
    if (ha->frozen || ha->orders.disk != HA_DISK_ON || ha->bound_at == INT64_MAX ||
        !is_me(ha, self) ||
        (self->disk_ms && self->disk_gen == ha->orders.disk_gen) ||
        ha->bound_told == ha->orders.disk_gen)
        return;
    if (ha->now < ha->bound_at) {
        ha_wake(ha, ha->bound_at);
        return;
    }
    struct ha_tell t = {
        .kind = HA_TELL_BOUND, .loss = ha->orders.disk_gen, .inc = (uint64_t)ha->orders.disk_ms};
    ha->bound_told = ha->orders.disk_gen;
    ha_tell_send(ha, &t);
}

/* --------------------------------------------------------------------------- the coordinator */

static bool counts(const struct ha *ha, const struct ha_member *m)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->prop, m->node);
    return h && m->present && !m->left && m->reported && h->state == HA_HOST_IN &&
           ha_uuid_eq(&h->boot, &m->boot);
}

/* Since when something holds; true: for long enough. */
static bool lasts(struct ha *ha, bool holds, ha_ms *since, ha_ms patience)
{
    if (!holds)
        *since = 0;
    else if (*since == 0)
        *since = ha->now;
    if (!holds || ha->now >= *since + patience)
        return holds;
    ha_wake(ha, *since + patience);
    return false;
}

/* The disk that is meant: the one that the facts name; else the first that somebody has. */
static struct ha_uuid which(const struct ha *ha)
{
    for (size_t i = 0; i < ha->nmembers && !ha->prop.disk_on; i++)
        if (counts(ha, &ha->members[i]) && ha->members[i].disk_ok)
            return ha->members[i].disk_id;
    return ha->prop.disk_id;
}

static void say_odd(struct ha *ha, const struct ha_member *m)
{
    if (!m->disk_ok)
        return;
    if (!ha->disk_odd_said)
        ha_report(ha, HA_REPORT_DISK, HA_SEV_ALERT, m->node, NULL,
                  "%s has another shared disk than the others: is the same path the same storage "
                  "everywhere?",
                  ha_host_name(ha, m->node));
    ha->disk_odd_said = true;
}

/* Needed once everybody has it, or some have it for a while and the others are the ones with a
 * trouble. Not needed any more when nobody has it: then the disk is the trouble, and no host. */
static bool needed(struct ha *ha)
{
    const struct ha_facts *f = &ha->prop;
    struct ha_uuid disk = which(ha);
    size_t n = 0, ok = 0, told = 0, odd = 0;
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (!counts(ha, m))
            continue;
        n++;
        told += m->disk_told;
        if (!m->disk_ok || ha_uuid_eq(&m->disk_id, &disk)) {
            ok += m->disk_ok;
            continue;
        }
        odd++;
        say_odd(ha, m);
    }
    ha->disk_odd_said &= odd > 0;
    bool none = lasts(ha, ok == 0 && told == n, &ha->disk_none_since, NONE_FOR);
    bool some = lasts(ha, ok > 0 && odd == 0, &ha->disk_some_since, ha->config->disk.timeout_ms);
    if (!configured(ha) || (f->disk_on && f->disk_ms != ha->config->disk.timeout_ms))
        return false; /* another D is another decision */
    return f->disk_on ? !none : (n && ok == n) || some;
}

void ha_decide_disk(struct ha *ha)
{
    /* whoever freezes also ends the need for the disk (apply_freeze) */
    if (ha->prop.frozen && HA_GUARD(ha, FREEZE_DISK)) {
        ha->disk_none_since = ha->disk_some_since = 0;
        return;
    }
    bool want = needed(ha);
    struct ha_fact fact = {
        .kind = HA_FACT_DISK, .level = want, .lease_ms = want ? ha->config->disk.timeout_ms : 0};
    if (want)
        fact.boot = which(ha);
    if (want != ha->prop.disk_on)
        ha_propose(ha, &fact);
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (!counts(ha, m) || !m->acked || !m->bound_gen)
            continue;
        fact = (struct ha_fact){.kind = HA_FACT_BOUND,
                                .host = m->node,
                                .boot = m->boot,
                                .loss = m->bound_gen,
                                .lease_ms = m->bound_ms};
        ha_propose(ha, &fact);
    }
}

const char *ha_disk_unfit(const struct ha *ha, const struct ha_member *m)
{
    bool ok = m->disk_ok && ha_uuid_eq(&m->disk_id, &ha->prop.disk_id);
    return ha->prop.disk_on && !ok ? "has lost the shared disk" : NULL;
}

bool ha_may_live(const struct ha_host_fact *h)
{
    return h->state == HA_HOST_DEAD && (h->how == HA_CONF_BOUND || h->how == HA_CONF_PILL);
}

ha_ms ha_disk_seen(const struct ha *ha, const struct ha_host_fact *h)
{
    if (h->node == ha->self)
        return ha->disk_t > 0 ? ha->disk_t : 0;
    for (size_t i = 0; i < ha->npeers; i++)
        if (ha->peers[i].node == h->node && ha_uuid_eq(&ha->peers[i].disk_boot, &h->boot))
            return ha->peers[i].disk_ms;
    return 0;
}

/* -------------------------------------------------------------------------------------- pills */

/* The watchdog as its last beats told of it; false: not armed. */
static bool armed(const struct ha *ha, const struct ha_host_fact *h, ha_ms *w)
{
    bool ok = h->armed;
    for (size_t i = 0; i < ha->nmembers; i++)
        for (size_t j = 0; j < ha->members[i].ncuts; j++) {
            const struct ha_cut_age *cut = &ha->members[i].cuts[j];
            if (cut->node != h->node || !cut->seen || !ha_uuid_eq(&cut->boot, &h->boot))
                continue;
            ok &= cut->armed;
            *w = cut->watchdog_ms > *w ? cut->watchdog_ms : *w;
        }
    for (size_t i = 0; i < ha->npeers; i++) {
        const struct ha_peer_beat *p = &ha->peers[i];
        if (p->node != h->node || !p->last_ms || !ha_uuid_eq(&p->boot, &h->boot))
            continue;
        ok &= p->armed;
        *w = p->watchdog_ms > *w ? p->watchdog_ms : *w;
    }
    return ok;
}

ha_ms ha_pill_wait(const struct ha *ha, const struct ha_host_fact *h, const char **ret_why)
{
    const struct ha_timers *t = &ha->config->timers;
    ha_ms w = h->watchdog_ms > t->watchdog ? h->watchdog_ms : t->watchdog;
    ha_ms d = h->disk_ms;
    *ret_why = "a virtual machine that can be suspended cannot be trusted to end itself";
    if (ha->config->suspendable_hosts)
        return -1;
    *ret_why = "it did not depend on the shared disk when it was lost";
    if (d == 0 && !HA_GUARD(ha, DISK_BOUND))
        d = ha->config->disk.timeout_ms;
    if (d == 0)
        return -1;
    *ret_why = "it was frozen, and has not said since that its watchdog is armed";
    if (h->unarmed && HA_GUARD(ha, THAW_ARMED))
        return -1;
    *ret_why = "it had no armed watchdog when it was last heard of";
    if (!armed(ha, h, &w))
        return -1;
    *ret_why = "";
    return HA_GUARD(ha, DISK_WAIT) ? ha_disk_bound(d, w, t->margin) : 0;
}
