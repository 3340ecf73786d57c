/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this host knows of itself: copies seen by the driver, operations that ended, the keeper's state
 * and the orders it gets. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY = 1000 };

/* ------------------------------------------------------------------------------------ copies */

/* What we did to it is younger than the look. */
static bool is_newer(const struct ha *ha, const struct ha_local *l)
{
    return ha->looked && (l->op || l->changed_at >= ha->looked);
}

static void match_copies(struct ha *ha, size_t from)
{
    for (size_t i = from; i < ha->nlocals; i++)
        ha->locals[i].have = is_newer(ha, &ha->locals[i]) && ha->locals[i].have;
    ha->unknown_copies = 0; /* tagged by us, but of no guest we know of */
    for (size_t k = 0; k < ha->nstrays; k++) {
        uint32_t i = ha_guest_index(ha, ha->strays[k].guest);
        ha->unknown_copies += i == UINT32_MAX && ha->strays[k].inc;
        if (i < from || i >= ha->nlocals || ha->locals[i].have || is_newer(ha, &ha->locals[i]))
            continue;
        ha->locals[i].have = true;
        ha->locals[i].told_copy = true; /* a report may have named it: its end is told too */
        ha->locals[i].copy = ha->strays[k];
    }
}

/* A tail was dropped, or the log replaced: guests registered there are gone, and their places may be
 * given to others. Only stable guests have operations under way. */
void ha_guests_dropped(struct ha *ha)
{
    size_t keep = ha->stable.nguests;
    ha->names_for = SIZE_MAX;
    ha_probes_forget(ha, keep);
    ha->knows_due = true;
    if (ha->nlocals > keep)
        ha->nlocals = keep;
    if (ha->ndesks > keep)
        ha->ndesks = keep;
    ha_index_config(ha);
}

int ha_local_room(struct ha *ha)
{
    size_t n = ha->log.head.nguests > ha->stable.nguests ? ha->log.head.nguests
                                                         : ha->stable.nguests;
    if (n <= ha->nlocals)
        return 0;
    struct ha_local *v = realloc(ha->locals, n * sizeof *v);
    if (!v)
        return -ENOMEM;
    size_t from = ha->nlocals;
    memset(v + from, 0, (n - from) * sizeof *v);
    ha->locals = v;
    ha->nlocals = n;
    for (size_t i = from; i < n; i++) {
        const struct ha_facts *f = i < ha->log.head.nguests ? &ha->log.head : &ha->stable;
        for (size_t k = 0; k < ha->nmarks; k++)
            if (strcmp(ha->marks[k].guest, f->guests[i].name) == 0)
                v[i].marked = ha->marks[k].inc;
    }
    match_copies(ha, from);
    ha->knows_due = true;
    return 0;
}

void ha_acts_inventory(struct ha *ha, const struct ha_event *event)
{
    ha->acts_due = true;
    if (!event->u.inventory.known) {
        if (ha->inventory)
            ha_report(ha, HA_REPORT_GUEST_ACT, HA_SEV_WARNING, ha->self, NULL,
                      "cannot tell what runs here: nothing is started or told until it can");
        ha->inventory = false;
        return;
    }
    size_t n = event->u.inventory.ncopies;
    if (n > ha->strays_size) {
        struct ha_copy *v = realloc(ha->strays, n * sizeof *v);
        if (!v) {
            ha->nomem = true;
            return;
        }
        ha->strays = v;
        ha->strays_size = n;
    }
    if (n)
        memcpy(ha->strays, event->u.inventory.copies, n * sizeof *ha->strays);
    ha->nstrays = n;
    ha->inventory = true;
    ha->looked = event->u.inventory.looked;
    ha->memory_kib = event->u.inventory.memory_kib;
    if (ha->look_asked && (!ha->looked || ha->looked >= ha->look_asked_at)) {
        ha->look_index = ha->look_asked;
        ha->look_asked = 0;
    }
    match_copies(ha, 0);
    ha_knows_looked(ha);
    for (size_t i = 0; i < ha->nlocals; i++)
        if (!ha->locals[i].op && !is_newer(ha, &ha->locals[i]))
            ha->locals[i].unsure = false;
}

static void done_ok(struct ha_local *l, const char *name)
{
    switch (l->op_what) {
    case HA_OP_CREATE:
    case HA_OP_RECEIVE:
        l->have = true;
        l->copy = (struct ha_copy){.inc = l->op_inc,
                                   .mig = l->op_what == HA_OP_RECEIVE ? l->op_mig : 0,
                                   .state = HA_COPY_PAUSED};
        ha_name_copy(l->copy.guest, name);
        break;
    case HA_OP_UNPAUSE:
    case HA_OP_RESUME:
        l->copy.state = HA_COPY_RUNNING;
        l->copy.mig = 0;
        break;
    case HA_OP_TAG:
        l->copy.inc = l->op_inc;
        break;
    case HA_OP_SEND:
        l->copy.state = HA_COPY_SUSPENDED;
        l->copy.mig = l->op_mig;
        break;
    case HA_OP_DESTROY:
        l->have = false;
        break;
    case HA_OP_SHUTDOWN:
        break;
    }
}

/* What nobody knows is asked for, not guessed. */
void ha_ask_inventory(struct ha *ha)
{
    ha->asked_inventory = ha->now;
    ha_act(ha, HA_ACT_INVENTORY);
    ha_wake(ha, ha->now + RETRY);
}

static void done_bad(struct ha *ha, struct ha_local *l, enum ha_result result)
{
    /* whatever the driver says: what is there shows in the next inventory */
    l->unsure = true;
    l->retry_at = ha->now + RETRY;
    ha_wake(ha, l->retry_at);
    if (l->op_what == HA_OP_CREATE || (l->op_what == HA_OP_UNPAUSE && result == HA_RESULT_FAILED)) {
        l->release = HA_RELEASE_START_FAILED;
        l->release_inc = l->op_inc;
    }
    if (l->op_what == HA_OP_SEND || l->op_what == HA_OP_RECEIVE)
        l->mig_failed = l->op_mig;
    if (l->op_what == HA_OP_SHUTDOWN)
        l->unsure = false;
    else
        ha_ask_inventory(ha);
}

void ha_acts_done(struct ha *ha, const struct ha_event *event)
{
    for (size_t i = 0; i < ha->nlocals; i++) {
        struct ha_local *l = &ha->locals[i];
        if (l->op == 0 || l->op != event->u.done.op)
            continue;
        l->op = 0;
        l->changed_at = ha->now;
        l->copy.worker = false;
        ha->acts_due = true;
        const char *name = ha->log.head.nguests > i ? ha->log.head.guests[i].name
                                                    : ha->stable.guests[i].name;
        const char *text = event->u.done.text ? event->u.done.text : "";
        if (event->u.done.result == HA_RESULT_OK) {
            done_ok(l, name);
            return;
        }
        done_bad(ha, l, event->u.done.result);
        ha_say(l->error, sizeof l->error, "%s: %s", ha_op_name(l->op_what), text);
        ha_report(ha, HA_REPORT_GUEST_ACT, HA_SEV_ERROR, ha->self, name, "%s of %s %s%s%s",
                  ha_op_name(l->op_what), name,
                  event->u.done.result == HA_RESULT_FAILED ? "failed" : "has an unknown outcome",
                  *text ? ": " : "", text);
        return;
    }
}

void ha_acts_exit(struct ha *ha, const struct ha_event *event)
{
    static const uint8_t how[] = {[HA_EXIT_POWEROFF] = HA_RELEASE_POWEROFF,
                                  [HA_EXIT_REBOOT] = HA_RELEASE_REBOOT,
                                  [HA_EXIT_CRASH] = HA_RELEASE_CRASH,
                                  [HA_EXIT_KILLED] = HA_RELEASE_CRASH,
                                  [HA_EXIT_UNKNOWN] = HA_RELEASE_CRASH};
    static const char *const words[] = {[HA_EXIT_POWEROFF] = "powered itself off",
                                        [HA_EXIT_REBOOT] = "rebooted",
                                        [HA_EXIT_CRASH] = "crashed",
                                        [HA_EXIT_KILLED] = "was killed",
                                        [HA_EXIT_UNKNOWN] = "ended"};
    ha_local_room(ha);
    uint32_t i = ha_guest_index(ha, event->u.exit.guest);
    if (i < ha->nlocals) {
        struct ha_local *l = &ha->locals[i];
        if (event->u.exit.exit < HA_EXIT_POWEROFF || event->u.exit.exit > HA_EXIT_UNKNOWN)
            return;
        bool asked = l->release == HA_RELEASE_STOPPED && l->release_inc == event->u.exit.inc &&
                     l->stop_began;
        bool ours = l->op && l->op_what == HA_OP_DESTROY;
        if (!asked && !ours) {
            l->release = how[event->u.exit.exit];
            l->release_inc = event->u.exit.inc;
            ha_report(ha, HA_REPORT_GUEST_EXIT, HA_SEV_WARNING, ha->self, event->u.exit.guest,
                      "%s %s", event->u.exit.guest, words[event->u.exit.exit]);
        }
        /* what is left of it shows in the inventory that follows */
        if (l->have && l->copy.inc == event->u.exit.inc && l->copy.state != HA_COPY_DYING) {
            l->copy.state = HA_COPY_DYING;
            l->copy.backends = true;
        }
    }
    ha->acts_due = true;
}

/* The i-th copy for a report: what is here, what may be here, and copies of guests that the facts do
 * not know. False: there is none at i. */
bool ha_copy_at(struct ha *ha, size_t i, struct ha_copy *ret_copy)
{
    if (i >= ha->nlocals) {
        *ret_copy = ha->strays[i - ha->nlocals];
        return ha_guest_index(ha, ret_copy->guest) == UINT32_MAX;
    }
    struct ha_local *l = &ha->locals[i];
    bool coming = l->op && (l->op_what == HA_OP_CREATE || l->op_what == HA_OP_RECEIVE);
    if (!l->have && !coming && !l->unsure)
        return false;
    l->told_copy = true;
    if (l->have) {
        *ret_copy = l->copy;
        return true;
    }
    const struct ha_facts *f = i < ha->log.head.nguests ? &ha->log.head : &ha->stable;
    *ret_copy = (struct ha_copy){.inc = l->op_inc,
                                 .mig = l->op_mig,
                                 .state = HA_COPY_DYING,
                                 .worker = true};
    ha_name_copy(ret_copy->guest, f->guests[i].name);
    return true;
}

bool ha_is_me(const struct ha *ha, ha_node node, const struct ha_uuid *boot)
{
    return node == ha->self && ha_uuid_eq(boot, &ha->boot);
}

/* A copy with our tag; and one without it of a guest that is here by the facts, or has another
 * captain: it was started anew since, and could not be taken over any more. */
bool ha_ends_with_lease(const struct ha *ha, uint32_t i)
{
    const struct ha_local *l = &ha->locals[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    const struct ha_guest_fact *g = i < ha->log.head.nguests ? &ha->log.head.guests[i] : NULL;
    bool here = g && ha_is_me(ha, g->owner, &g->boot);
    return l->have && (l->copy.inc || here || (c && c->external));
}

/* Empty: nothing of any guest of ours in any state, no operation under way, no worker, backends
 * closed. What nobody knows is not empty. */
bool ha_empty(const struct ha *ha)
{
    bool workers = HA_GUARD(ha, WORKERS_EMPTY);
    if (!ha->inventory)
        return false;
    for (uint32_t i = 0; i < ha->nlocals; i++) {
        const struct ha_local *l = &ha->locals[i];
        if (workers && (l->op || l->unsure))
            return false;
        if (ha_ends_with_lease(ha, i) && (workers || l->copy.state == HA_COPY_RUNNING))
            return false;
        if (i < ha->log.head.nguests && ha_knows_unseen(ha, i, &ha->log.head.guests[i]))
            return false;
    }
    return ha->unknown_copies == 0;
}

/* ------------------------------------------------------------------------------------ keeper */

/* Rule 21: from lost on, until the stable log says in(h). A daemon that has just begun does not know which
 * of its facts are stable, so whoever was lost in its journal stays cut off: the others may have confirmed
 * it dead, and the admission in the journal may be one that never came to be. */
bool ha_is_cut(const struct ha *ha, const struct ha_host_fact *h)
{
    if (h->state == HA_HOST_LOST || h->state == HA_HOST_FENCING || h->state == HA_HOST_DEAD)
        return true;
    if (!ha->stable_known && HA_GUARD(ha, CUT_BEGIN))
        return h->lost_here;
    const struct ha_host_fact *s = ha_facts_host(&ha->stable, h->node);
    return s && ha_uuid_eq(&s->boot, &h->boot) &&
           (s->state == HA_HOST_LOST || s->state == HA_HOST_FENCING || s->state == HA_HOST_DEAD);
}

static void fill_voters(const struct ha *ha, struct ha_keeper_orders *o)
{
    const struct ha_facts *f = &ha->log.head;
    if (ha_uuid_zero(&f->cluster))
        return;
    o->tbl = f->tbl;
    for (size_t i = 0; i < f->nhosts; i++) {
        const struct ha_host_fact *h = &f->hosts[i];
        if (h->voter)
            o->voters[o->nvoters++] = h->node;
        if (ha_is_cut(ha, h)) {
            o->cut[o->ncut].node = h->node;
            o->cut[o->ncut++].boot = h->boot;
        }
    }
    o->votes = (uint32_t)o->nvoters;
}

static bool disarmed(const struct ha *ha)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->stable, ha->self);
    return ha->leaving && ha->stable_known && h && h->state == HA_HOST_OUT &&
           ha_uuid_eq(&h->boot, &ha->boot);
}

void ha_keeper_orders(struct ha *ha)
{
    static const struct ha_keeper_orders none;
    struct ha_keeper_orders o = none;
    if (ha->log.head.frozen && !ha->keeper)
        return; /* first it has to tell whether it is frozen */
    ha_freeze_update(ha);
    fill_voters(ha, &o);
    o.fence_only = ha->config->mode == HA_MODE_FENCE_ONLY;
    o.quorate = o.fence_only && ha_quorate(ha);
    if (o.quorate)
        o.ring = ha->ring;
    o.beat_ms = ha->config->timers.beat;
    o.lease_ms = ha->config->timers.lease;
    o.watchdog_ms = ha->config->timers.watchdog;
    o.empty = ha_empty(ha) && !ha->busy;
    o.disarm = disarmed(ha);
    o.frozen = ha->frozen;
    o.seq = ha->orders.seq;
    ha_disk_orders(ha, &o);
    bool again = ha->orders_again || ha->orders.seq == 0;
    /* Padding that differs only sends the orders once more. */
    if (!again && memcmp(&o, &ha->orders, sizeof o) == 0) /* NOLINT(bugprone-suspicious-memory-comparison) */
        return;
    ha->orders_again = false;
    bool was_empty = ha->orders.empty || again;
    bool cut_changed = again || o.ncut != ha->orders.ncut ||
                       memcmp(o.cut, ha->orders.cut, sizeof o.cut) != 0;
    o.seq++;
    if (again || o.disk != ha->orders.disk || o.disk_gen != ha->orders.disk_gen) {
        ha->disk_seq = o.seq;
        ha->bound_at = INT64_MAX;
    }
    if (was_empty && !o.empty)
        ha->nonempty_seq = o.seq;
    if (cut_changed)
        ha->cut_seq = o.seq;
    if (!o.frozen && ha->orders.frozen)
        ha->thaw_seq = o.seq;
    ha->orders = o;
    struct ha_put put = {0};
    ha_put_bytes(&put, &o, sizeof o);
    size_t len = 0;
    const void *copy = ha_act_own(ha, &put, &len);
    struct ha_action *a = copy ? ha_act(ha, HA_ACT_KEEPER) : NULL;
    if (a)
        a->u.keeper = copy;
}

static void say_lease(struct ha *ha)
{
    bool holds = ha->keeper && ha->now < ha->lease_until;
    if (holds == ha->lease_said)
        return;
    ha->lease_said = holds;
    ha_report(ha, HA_REPORT_LEASE, holds ? HA_SEV_INFO : HA_SEV_WARNING, ha->self, NULL, "%s",
              holds        ? "this host holds its lease"
              : ha->frozen ? "this host's lease has lapsed: while it is frozen that means nothing"
                           : "this host's lease has lapsed: its guests are destroyed, the others may "
                      "start them");
}

void ha_keeper_event(struct ha *ha, const struct ha_event *event)
{
    bool was = ha->keeper;
    ha->keeper = event->u.keeper.connected;
    ha->acts_due = ha->decide_due = true;
    if (was != ha->keeper)
        ha_report(ha, HA_REPORT_KEEPER, ha->keeper ? HA_SEV_INFO : HA_SEV_ALERT, ha->self, NULL,
                  "%s",
                  ha->keeper ? "the keeper is here"
                             : "the keeper is gone: nothing is started here until it is back "
                               "(systemctl status xvm-ha-keeper)");
    if (!ha->keeper) {
        ha->keeper_applied = 0;
        return;
    }
    ha->keeper_applied = event->u.keeper.seq_applied;
    ha->armed = event->u.keeper.armed;
    if (!was && ha->orders.seq == 0)
        ha->keeper_frozen = event->u.keeper.frozen;
    /* echoes that were given stay given: a lease only ever grows within a boot. Until a keeper with
     * echoes has spoken, nothing says that the lease of an earlier daemon has ended. */
    ha_ms until = event->u.keeper.lease_until;
    if (until > ha->lease_until) {
        ha->lapse_at = ha->lease_until == INT64_MIN || until > ha->lapse_at ? until : ha->lapse_at;
        ha->lease_until = until;
    }
    ha->npeers = event->u.keeper.npeers < HA_HOSTS_MAX ? event->u.keeper.npeers : HA_HOSTS_MAX;
    if (ha->npeers)
        memcpy(ha->peers, event->u.keeper.peers, ha->npeers * sizeof *ha->peers);
    ha_disk_keeper(ha, event);
    say_lease(ha);
    if (!was) { /* an earlier daemon's orders are not ours: give them again, under a higher number */
        if (ha->keeper_applied > ha->orders.seq)
            ha->orders.seq = ha->keeper_applied;
        ha->orders_again = true;
        ha_keeper_orders(ha);
    }
}
