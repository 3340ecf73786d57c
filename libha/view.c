/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is there: ring, group, verdict, the view and its exchange of reports (rules 1-3, 9). */
#include "core.h"

#include <stdlib.h>
#include <string.h>

enum { AGAIN_FIRST = 2000, AGAIN_MOST = 30000, CALM = 10000 };

struct ha_member *ha_member(struct ha *ha, ha_node node, bool make)
{
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].node == node)
            return &ha->members[i];
    if (!make || ha->nmembers == HA_HOSTS_MAX || node == 0)
        return NULL;
    struct ha_member *m = &ha->members[ha->nmembers++];
    *m = (struct ha_member){.node = node};
    return m;
}

bool ha_in_ring(const struct ha *ha, ha_node node)
{
    for (size_t i = 0; i < ha->nring; i++)
        if (ha->ring_members[i] == node)
            return true;
    return false;
}

bool ha_forced(const struct ha *ha)
{
    return ha->forced[0] && ha->now < ha->forced_until;
}

/* A verdict counts only for the ring id it came with. */
bool ha_quorate(const struct ha *ha)
{
    if (!ha->connected || !ha->verdict)
        return false;
    return ha_ring_eq(ha->ring, ha->verdict_ring) || !HA_GUARD(ha, VERDICT_RING);
}

bool ha_is_coordinator(const struct ha *ha)
{
    return ha->phase == HA_PHASE_OPEN && ha->coord == ha->self &&
           ha->coord_instance == ha->instance;
}

size_t ha_votes_needed(const struct ha *ha)
{
    size_t n = 0;
    for (size_t i = 0; i < ha->log.head.nhosts; i++) {
        const struct ha_host_fact *h = &ha->log.head.hosts[i];
        /* the denominator is always the configured votes: dead hosts stay in it */
        if (h->voter && (HA_GUARD(ha, DEAD_LEAVE) || h->state != HA_HOST_DEAD))
            n++;
    }
    if (n == 0) /* founding: every host of the configuration */
        n = ha->config->nhosts;
    return n / 2 + 1;
}

/* Rule 3: does this member's journal count by the given facts? */
bool ha_counts_by(const struct ha *ha, const struct ha_facts *facts, const struct ha_member *m)
{
    if (ha_uuid_zero(&facts->cluster))
        return ha->founding;
    const struct ha_host_fact *h = ha_facts_host(facts, m->node);
    if (!h || !h->voter)
        return false;
    return ha_uuid_eq(&h->journal, &m->report.journal) || !HA_GUARD(ha, EMPTY_JOURNAL);
}

bool ha_member_counts(const struct ha *ha, const struct ha_member *m)
{
    return m->reported && !m->left && ha_counts_by(ha, &ha->log.head, m);
}

static void member_reset(struct ha_member *m)
{
    struct ha_copy *copies = m->copies;
    size_t size = m->copies_size;
    *m = (struct ha_member){.node = m->node,
                            .present = m->present,
                            .pid = m->pid,
                            .copies = copies,
                            .copies_size = size};
}

static void quorum_update(struct ha *ha)
{
    if (!ha_ring_eq(ha->ring, ha->verdict_ring) && HA_GUARD(ha, VERDICT_RING))
        return;
    if (ha->verdict == ha->had_quorum)
        return;
    ha->had_quorum = ha->verdict;
    if (ha->verdict)
        ha->quorum_gained = ha->now;
    ha_report(ha, HA_REPORT_QUORUM, ha->verdict ? HA_SEV_NOTICE : HA_SEV_WARNING, 0, NULL, "%s",
              ha->verdict ? "quorum gained" : "quorum lost: no facts change until it is back");
    ha->decide_due = ha->acts_due = true;
}

/* Everything of the old view is void (rule 1). */
void ha_view_start(struct ha *ha, struct ha_view_id view)
{
    ha->view = view;
    ha->phase = HA_PHASE_EXCHANGE;
    ha->view_since = ha->phase_since = ha->now;
    ha->opened = ha->open_sent = ha->closed = ha->silent = false;
    ha->half = ha->synced_now = false;
    ha->e = (struct ha_epoch){0};
    ha->coord = 0;
    ha->ack_due = false;
    ha->outstanding = false;
    ha->batch.n = 0;
    ha->batch_n = 0;
    ha->admit_due = ha->handover = false;
    ha->unreadable = ha->behind = false;
    ha_fetch_stop(ha);
    for (size_t i = 0; i < ha->nmembers; i++)
        member_reset(&ha->members[i]);
    ha_desk_reset(ha);
    ha_tells_reset(ha);
    ha_clients_interrupt(ha, "the cluster is choosing its coordinator");
    ha->report_due = true;
    ha->report_journal = ha->log.seq;
    ha->acts_due = true;
}

void ha_view_disconnected(struct ha *ha)
{
    ha->connected = false;
    ha->forced[0] = 0;
    ha->ring = (struct ha_ring){0};
    ha->verdict_ring = (struct ha_ring){0};
    ha->nring = 0;
    ha->had_quorum = ha->verdict = false;
    for (size_t i = 0; i < ha->nmembers; i++)
        ha->members[i].present = false;
    ha_view_start(ha, (struct ha_view_id){{0}, 0});
    ha->phase = HA_PHASE_START;
    ha->report_due = false;
    ha->synced_last = ha->established = false;
}

/* The coordinator's process left inside the ring: nothing it sent can go on. */
static void coordinator_left(struct ha *ha)
{
    ha->phase = HA_PHASE_EXCHANGE;
    ha->closed = true;
    ha->phase_since = ha->now;
    ha->outstanding = false;
    ha_clients_interrupt(ha, "the coordinator has gone");
    ha_node first = 0; /* one call is enough; should that host be stuck, the others call later */
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].present && (!first || ha->members[i].node < first))
            first = ha->members[i].node;
    if (first == ha->self)
        ha_again(ha, "the coordinator's process left");
}

static void member_left(struct ha *ha, const struct ha_left *left)
{
    struct ha_member *m = ha_member(ha, left->process.node, false);
    if (!m || !m->present || m->pid != left->process.pid)
        return;
    m->present = false;
    m->left = true;
    for (size_t i = 0; i < HA_HOSTS_MAX;
         i++) { /* its fences ended with it, or nobody hears of them */
        struct ha_host_desk *desk = &ha->host_desks[i];
        if (desk->tell_from == m->node && desk->tell.how == 0)
            desk->tell_valid = false;
        ha_fence_told(ha, desk, m->node, NULL);
    }
    bool was_coord = ha->coord == m->node && m->instance == ha->coord_instance && ha->coord != 0;
    if (left->reason == HA_LEFT_PROCESS && was_coord && ha->opened && HA_GUARD(ha, COORD_CLOSE))
        coordinator_left(ha);
}

static void member_joined(struct ha *ha, const struct ha_process *process)
{
    struct ha_member *m = ha_member(ha, process->node, true);
    if (!m)
        return;
    m->pid = process->pid;
    m->present = true;
    if (m->left || !m->instance) {
        /* rule 2: whoever left is another member when it returns */
        if (HA_GUARD(ha, LEFT_NEW) || !m->left || !m->instance)
            member_reset(m);
        else
            m->left = false;
    }
    if (process->node == ha->self)
        return;
    if (ha->phase == HA_PHASE_EXCHANGE && !ha->opened)
        ha->report_due = true; /* it has not seen ours */
    else
        ha->admit_due = true;
}

void ha_view_event_group(struct ha *ha, const struct ha_event *event)
{
    for (size_t i = 0; i < event->u.group.nleft; i++)
        member_left(ha, &event->u.group.left[i]);
    for (size_t i = 0; i < event->u.group.njoined; i++)
        member_joined(ha, &event->u.group.joined[i]);
    for (size_t i = 0; i < ha->nmembers; i++)
        ha->members[i].present = false;
    for (size_t i = 0; i < event->u.group.nmembers; i++) {
        const struct ha_process *p = &event->u.group.members[i];
        struct ha_member *m = ha_member(ha, p->node, true);
        if (m) {
            m->present = true;
            m->pid = p->pid;
        }
    }
    ha->decide_due = true;
}

static bool same_group(const struct ha *ha, const struct ha_event *event)
{
    /* for the mutant only: is everybody who is in the group in the new ring too? */
    for (size_t i = 0; i < ha->nmembers; i++) {
        bool in = false;
        for (size_t j = 0; j < event->u.ring.nmembers; j++)
            in |= event->u.ring.members[j] == ha->members[i].node;
        if (ha->members[i].present && (!in || ha->members[i].left))
            return false;
        if (ha->members[i].present && !ha->members[i].reported)
            return false;
    }
    return true;
}

void ha_view_event_ring(struct ha *ha, const struct ha_event *event)
{
    if (ha_ring_eq(ha->ring, event->u.ring.ring))
        return; /* told again what we know */
    bool first = ha->ring.seq == 0;
    ha->orders_again = ha->config->mode == HA_MODE_FENCE_ONLY; /* its keeper waits for the verdict */
    ha->forced[0] = 0; /* said of other hosts than those that are absent now */
    ha->ring = event->u.ring.ring;
    ha->nring = 0;
    for (size_t i = 0; i < event->u.ring.nmembers && i < HA_HOSTS_MAX; i++)
        ha->ring_members[ha->nring++] = event->u.ring.members[i];
    ha->established = !first;
    ha_report(ha, HA_REPORT_VIEW, HA_SEV_INFO, 0, NULL, "%u hosts in the ring",
              (unsigned)ha->nring);
    if (HA_GUARD(ha, RING_CLOSE) || first || !same_group(ha, event))
        ha_view_start(ha, (struct ha_view_id){ha->ring, 0});
    quorum_update(ha);
}

void ha_view_event_quorum(struct ha *ha, const struct ha_event *event)
{
    /* the channels are separate: a verdict of an older ring may come late */
    if (event->u.quorum.ring.seq < ha->verdict_ring.seq && HA_GUARD(ha, VERDICT_RING))
        return;
    ha->verdict_ring = event->u.quorum.ring;
    ha->verdict = event->u.quorum.quorate;
    quorum_update(ha);
}

/* ------------------------------------------------------------------------------------- again */

void ha_again(struct ha *ha, const char *why)
{
    if (HA_GUARD(ha, AGAIN_LIMIT)) {
        if (ha->again_wait == 0)
            ha->again_wait = AGAIN_FIRST;
        ha->again_at = ha->now + ha->again_wait;
        ha->again_wait = ha->again_wait * 2 > AGAIN_MOST ? AGAIN_MOST : ha->again_wait * 2;
    }
    /* a nonce that nobody else makes: the instance is random, the counter ours */
    uint64_t nonce = ha->instance ^ (++ha->again_counter * 0x9e3779b97f4a7c15ULL);
    struct ha_put put = ha_msg_new(ha, HA_MSG_AGAIN);
    ha_msg_put_view(&put, &ha->view);
    ha_put_u64(&put, nonce ? nonce : 1);
    ha_send(ha, &put);
    ha_report(ha, HA_REPORT_VIEW, HA_SEV_DEBUG, 0, NULL, "asked for a new exchange: %s", why);
}

void ha_view_again(struct ha *ha, const struct ha_msg_head *head, struct ha_get *get)
{
    (void)head;
    struct ha_view_id old = ha_msg_get_view(get);
    uint64_t nonce = ha_get_u64(get);
    if (get->failed || ha->phase == HA_PHASE_START)
        return;
    /* whoever has no coordinator follows the latest call: the order is agreed, so they meet */
    bool free = !ha->established || (ha->phase == HA_PHASE_EXCHANGE && (!ha->opened || ha->closed));
    if (!ha_view_eq(&old, &ha->view) && !free) {
        if (ha_is_coordinator(ha) && ha_ring_eq(old.ring, ha->ring))
            ha->admit_due = true; /* a joiner that does not know our view yet */
        return;
    }
    ha_view_start(ha, (struct ha_view_id){ha->ring, nonce});
}

/* A coordinator is open in a view that is not ours: it should hear of us. */
void ha_view_outside(struct ha *ha)
{
    if (ha->phase == HA_PHASE_EXCHANGE && ha->now >= ha->again_at &&
        ha->now > ha->view_since + ha->config->timers.exchange)
        ha_again(ha, "a coordinator is open without us");
}

/* ----------------------------------------------------------------------------------- reports */

static struct ha_msg_report own_report(const struct ha *ha)
{
    struct ha_msg_report r = {
        .view = ha->view,
        .machine = ha->machine,
        .journal = ha->log.journal,
        .cluster = ha->log.head.cluster,
        .promised = ha->log.promised,
        .key = ha_log_key(&ha->log),
        .hash = ha_log_head_hash(&ha->log),
        .tbl = ha->log.head.tbl,
        .fact_kinds = HA_FACT_COUNT,
        .inventory = ha->inventory,
        .armed = ha_armed(ha),
        .keeper = ha->keeper,
        .no_journal = ha->log.failed,
        .synced_last = ha->synced_last,
        .leaving = ha->leaving,
        .frozen = ha->frozen && !ha->armed,
        .memory_kib = ha->memory_kib,
        .config_hash = ha->config->hash,
        .lease_ms = ha->config->timers.lease,
        .watchdog_ms = ha->config->timers.watchdog,
        .nguests = (uint32_t)ha->nlocals,
        .look = ha->look_index,
    };
    return r;
}

/* The inventory may need several messages; each part repeats the head. */
static void report_send(struct ha *ha)
{
    enum { PART = 500 };
    size_t i = 0, all = ha->nlocals + ha->nstrays;
    ha->host_told = (struct ha_tell){
        .guest = (uint32_t)ha->nlocals,
        .inc = ha->memory_kib,
        .mig = ha->config->hash,
        .how = ha_host_flags(ha),
        .look = ha->look_index};
    ha->disk_said = false; /* a report does not tell of the disk */
    ha_knows_reported(ha);
    do {
        struct ha_msg_report r = own_report(ha);
        struct ha_put copies = {0};
        for (; i < all && r.ncopies < PART; i++) {
            struct ha_copy copy;
            if (!ha_copy_at(ha, i, &copy))
                continue;
            ha_msg_put_copy(&copies, &copy);
            r.ncopies++;
        }
        r.last = i == all;
        struct ha_put put = ha_msg_new(ha, HA_MSG_REPORT);
        ha_msg_put_report(&put, &r);
        ha_put_bytes(&put, copies.v, copies.n);
        put.failed |= copies.failed;
        ha_put_done(&copies);
        ha_send(ha, &put);
    } while (i < all);
}

static bool add_copies(struct ha_member *m, struct ha_get *get, size_t n)
{
    if (n > HA_GUESTS_MAX || m->ncopies + n > HA_GUESTS_MAX)
        return false;
    if (m->ncopies + n > m->copies_size) {
        struct ha_copy *v = realloc(m->copies, (m->ncopies + n) * sizeof *v);
        if (!v)
            return false;
        m->copies = v;
        m->copies_size = m->ncopies + n;
    }
    for (size_t i = 0; i < n; i++) {
        ha_msg_get_copy(get, &m->copies[m->ncopies]);
        m->ncopies += !get->failed;
    }
    return !get->failed;
}

void ha_view_report(struct ha *ha, struct ha_member *m, const struct ha_msg_head *head,
                    struct ha_get *get)
{
    struct ha_msg_report r = {0};
    ha_msg_get_report(get, &r);
    if (get->failed || r.promised.number > HA_EPOCH_MAX)
        return;
    if (!ha_view_eq(&r.view, &ha->view)) {
        if (ha_is_coordinator(ha) && ha_ring_eq(r.view.ring, ha->ring))
            ha->admit_due = true;
        else if (ha->phase == HA_PHASE_EXCHANGE && !ha->opened && ha->now >= ha->again_at &&
                 ha_ring_eq(r.view.ring, ha->ring))
            ha_again(ha, "the hosts are in different views");
        return;
    }
    if (m->left || m->acked)
        return;
    if (m->instance != head->instance || m->reported)
        m->ncopies = 0;
    if (!add_copies(m, get, r.ncopies))
        return;
    m->going = r.leaving || (m->going && m->instance == head->instance);
    m->instance = head->instance;
    m->boot = head->boot;
    m->report = r;
    m->leaving = r.leaving;
    m->reported = r.last;
    if (!r.last)
        return;
    for (size_t i = 0; i < m->ncopies; i++)
        ha_guest_reported(ha, m, &m->copies[i]);
    if (!ha_uuid_zero(&r.cluster) && !ha_uuid_zero(&ha->log.head.cluster) &&
        !ha_uuid_eq(&r.cluster, &ha->log.head.cluster))
        ha_report(ha, HA_REPORT_FOREIGN, HA_SEV_ALERT, m->node, NULL,
                  "%s belongs to another cluster: its journal does not count here",
                  ha_host_name(ha, m->node));
    ha->decide_due = true;
}

/* -------------------------------------------------------------------------------------- time */

static void tick_stuck(struct ha *ha)
{
    if (ha->unreadable)
        return; /* a fact of a newer version: a new exchange would not help */
    ha_ms chair = ha->config->timers.chair;
    ha_ms due;
    const char *why;
    if (ha->phase == HA_PHASE_OPEN && !ha->fetching && !ha->behind) {
        if (ha->coord == ha->self)
            return;
        due = ha->coord_heard + chair;
        why = "the coordinator is silent";
    } else {
        due = ha->phase_since + (ha->closed ? ha->config->timers.exchange : chair);
        why = ha->closed   ? "the coordinator's process left"
              : ha->behind ? "facts are missing here"
              : ha->opened ? "the open did not succeed" : "nobody opened";
    }
    if (HA_GUARD(ha, AGAIN_LIMIT) && due < ha->again_at)
        due = ha->again_at;
    if (ha->now < due) {
        ha_wake(ha, due);
        return;
    }
    ha->silent = ha->phase == HA_PHASE_OPEN && !ha->fetching && !ha->behind;
    ha->coord_heard = ha->phase_since = ha->now;
    ha_again(ha, why);
    ha_wake(ha, ha->now + chair);
}

static void tick_chair(struct ha *ha)
{
    if (!ha_is_coordinator(ha))
        return;
    ha_ms every = ha->config->timers.chair / 3;
    if (ha->now >= ha->last_chair + every) {
        ha->last_chair = ha->now;
        struct ha_put put = ha_msg_new(ha, HA_MSG_CHAIR);
        ha_put_epoch(&put, ha->e);
        ha_send(ha, &put);
    }
    ha_wake(ha, ha->last_chair + every);
    /* the answer to whoever asked for it has gone out before */
    if (ha->handover && ha->stable_i >= ha->prop_i && !ha->outstanding && ha->nasks == 0) {
        ha->handover = false;
        ha_again(ha, "another host is to coordinate");
    }
    if (ha->admit_due) {
        if (ha->now >= ha->again_at) {
            ha->admit_due = false;
            ha_again(ha, "to admit a host");
        } else {
            ha_wake(ha, ha->again_at);
        }
    }
}

void ha_view_tick(struct ha *ha)
{
    if (ha->phase == HA_PHASE_START || ha->halted)
        return;
    if (ha->report_due && ha->log.done >= ha->report_journal && !ha->log.failed) {
        ha->report_due = false;
        ha->acts_due = true;
        report_send(ha);
    }
    if (ha->phase == HA_PHASE_OPEN && ha->now - ha->phase_since > CALM)
        ha->again_wait = 0;
    tick_chair(ha);
    bool founded = !ha_uuid_zero(&ha->log.head.cluster);
    bool others = false; /* somebody else has a lineage we could join */
    for (size_t i = 0; i < ha->nmembers; i++)
        others |= ha->members[i].reported && !ha_uuid_zero(&ha->members[i].report.cluster);
    if (ha_quorate(ha) && (founded || others || ha->opened || ha->closed))
        tick_stuck(ha);
}
