/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Epochs: who opens, promises, acknowledgements, facts in order, what is stable (rules 3-8). */
#include "core.h"

#include <errno.h>
#include <string.h>

/* Was this stamped with the epoch that is open here? Messages of an old ring can arrive in a new one:
 * the check is not optional. */
bool ha_stamp(const struct ha *ha, struct ha_epoch e)
{
    if (!ha->opened || ha->closed)
        return false;
    return ha_epoch_cmp(e, ha->e) == 0 || !HA_GUARD(ha, EPOCH);
}

/* ----------------------------------------------------------------------------------- opening */

static struct ha_key rank_key(const struct ha *ha, const struct ha_msg_report *r)
{
    struct ha_key key = r->key;
    if (!HA_GUARD(ha, OPEN_IS_FACT)) /* mutant: a promise outranks facts */
        key.e = r->promised;
    return key;
}

/* Longest-serving first. */
static bool senior(const struct ha *ha, ha_node a, ha_node b)
{
    const struct ha_host_fact *ha_a = ha_facts_host(&ha->log.head, a);
    const struct ha_host_fact *ha_b = ha_facts_host(&ha->log.head, b);
    uint64_t ia = ha_a && ha_a->state == HA_HOST_IN ? ha_a->in_index : UINT64_MAX;
    uint64_t ib = ha_b && ha_b->state == HA_HOST_IN ? ha_b->in_index : UINT64_MAX;
    return ia != ib ? ia < ib : a < b;
}

/* Rule 4: is nobody that counts ahead of us? */
static bool am_candidate(const struct ha *ha, const struct ha_member *self)
{
    struct ha_key mine = rank_key(ha, &self->report);
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (m == self || !m->present || !ha_member_counts(ha, m))
            continue;
        if (!ha_uuid_eq(&m->report.cluster, &self->report.cluster))
            continue;
        /* a newer votes table outranks every key: it was made without us (rule 26) */
        int r = m->report.tbl != self->report.tbl ? (m->report.tbl > self->report.tbl ? 1 : -1) : 0;
        if (r == 0)
            r = ha_key_cmp(rank_key(ha, &m->report), mine);
        if (!HA_GUARD(ha, LINEAGE))
            r = 0;
        if (r > 0 || (r == 0 && senior(ha, m->node, ha->self)))
            return false;
    }
    return true;
}

/* An outdated votes table must not open: hosts that are no voters by it may have gone on without us. */
static bool table_outdated(const struct ha *ha, const struct ha_member *self)
{
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].reported && ha->members[i].report.tbl > self->report.tbl &&
            ha_uuid_eq(&ha->members[i].report.cluster, &self->report.cluster))
            return true;
    return false;
}

/* Founding: every host of the configuration is here, and every journal is empty. */
static bool can_found(const struct ha *ha)
{
    for (size_t i = 0; i < ha->config->nhosts; i++) {
        const struct ha_member *m = NULL;
        for (size_t j = 0; j < ha->nmembers; j++)
            if (ha->members[j].node == ha->config->hosts[i].node)
                m = &ha->members[j];
        if (!m || !m->present || !m->reported || m->report.key.i != 0 ||
            !ha_uuid_zero(&m->report.cluster))
            return false;
    }
    return ha->log.head.nhosts == 0;
}

/* Rule 26: exactly half of the voters, all of them synced in the last open view of this corosync
 * life. */
static bool half_allowed(const struct ha *ha, size_t counted)
{
    if (ha->config->mode != HA_MODE_FENCE_ONLY || counted * 2 != ha_facts_voters(&ha->log.head))
        return false;
    for (size_t i = 0; i < ha->log.head.nhosts; i++) {
        /* a daemon that is merely late is no absent voter */
        const struct ha_host_fact *h = &ha->log.head.hosts[i];
        const struct ha_member *m = ha_member((struct ha *)ha, h->node, false);
        if (h->voter && ha_in_ring(ha, h->node) && (!m || !m->present || !ha_member_counts(ha, m)))
            return false;
    }
    for (size_t i = 0; i < ha->nmembers && !ha_forced(ha); i++) {
        const struct ha_member *m = &ha->members[i];
        if (m->present && ha_member_counts(ha, m) && !m->report.synced_last)
            return false;
    }
    return true;
}

static void open_send(struct ha *ha, bool half)
{
    struct ha_epoch e = {0, ha->self};
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].reported && ha->members[i].report.promised.number > e.number)
            e.number = ha->members[i].report.promised.number;
    e.number++;
    struct ha_key key = ha_log_key(&ha->log);
    struct ha_put put = ha_msg_new(ha, HA_MSG_OPEN);
    ha_msg_put_view(&put, &ha->view);
    ha_put_epoch(&put, e);
    ha_put_epoch(&put, key.e);
    ha_put_u64(&put, key.i);
    ha_put_u64(&put, ha_log_head_hash(&ha->log));
    ha_put_uuid(&put, &ha->log.head.cluster);
    ha_put_u8(&put, (uint8_t)(half | ha->founding << 1));
    ha_send(ha, &put);
    ha->open_sent = true;
}

void ha_open_try(struct ha *ha)
{
    if (ha->phase != HA_PHASE_EXCHANGE || ha->opened || ha->open_sent || ha->closed || ha->halted ||
        ha->log.failed)
        return;
    struct ha_member *self = ha_member(ha, ha->self, false);
    if (!self || !self->reported || (!ha_quorate(ha) && HA_GUARD(ha, QUORUM)))
        return;
    bool all = true;
    size_t counted = 0;
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        all &= m->reported || !m->present;
        counted += m->present && ha_member_counts(ha, m);
    }
    ha_ms patience = ha->view_since + ha->config->timers.exchange;
    if (!all && (ha->now < patience || !HA_GUARD(ha, EXCHANGE_ALL))) {
        ha_wake(ha, patience);
        return;
    }
    if (ha_uuid_zero(&ha->log.head.cluster)) {
        if (ha->founding && all && can_found(ha))
            open_send(ha, false);
        return;
    }
    if (!ha_member_counts(ha, self) || !am_candidate(ha, self) || table_outdated(ha, self))
        return;
    if (counted >= ha_votes_needed(ha))
        open_send(ha, false);
    else if (half_allowed(ha, counted))
        open_send(ha, true);
}

static void foreign(struct ha *ha, ha_node node)
{
    ha_report(ha, HA_REPORT_FOREIGN, HA_SEV_ALERT, node, NULL,
              "%s opened another cluster than the one this host belongs to; if this host should "
              "join it, empty its journal first",
              ha_host_name(ha, node));
}

/* Rule 5. */
void ha_open_deliver(struct ha *ha, struct ha_member *m, const struct ha_msg_head *head,
                     struct ha_get *get)
{
    struct ha_view_id view = ha_msg_get_view(get);
    struct ha_epoch e = ha_get_epoch(get);
    struct ha_key base;
    base.e = ha_get_epoch(get);
    base.i = ha_get_u64(get);
    uint64_t hash = ha_get_u64(get);
    struct ha_uuid cluster = ha_get_uuid(get);
    uint8_t flags = ha_get_u8(get);
    if (get->failed || e.number > HA_EPOCH_MAX || !ha_view_eq(&view, &ha->view) || ha->opened || ha->closed || m->left ||
        m->instance != head->instance)
        return;
    ha->opened = true; /* the first open of a view is the only one */
    ha->phase_since = ha->now;
    if (ha_epoch_cmp(e, ha->log.promised) <= 0 && HA_GUARD(ha, PROMISE))
        return; /* after a while: again */
    if (ha_log_key(&ha->log).i && !ha_uuid_eq(&cluster, &ha->log.head.cluster)) {
        foreign(ha, m->node);
        return;
    }
    ha->phase = HA_PHASE_OPENING;
    ha->established = true;
    ha->half = flags & 1;
    ha->founding = (flags & 2) && base.i == 0;
    ha->e = e;
    ha->coord = m->node;
    ha->coord_instance = head->instance;
    ha->coord_heard = ha->now;
    ha->base = base;
    ha->base_hash = hash;
    ha_log_promise(ha, ha_epoch_cmp(e, ha->log.promised) > 0 ? e : ha->log.promised);
    struct ha_key key;
    uint64_t own;
    if (ha_log_at(&ha->log, base.i, &key, &own) && own == hash && ha_key_cmp(key, base) == 0) {
        if (base.i < ha->stable_i) {
            ha_halt(ha, "an open would undo stable facts: another lineage has taken over");
            return;
        }
        if (ha_log_cut(ha, base.i) < 0)
            ha->nomem = true;
        ha_open_based(ha);
    } else {
        ha_fetch_start(ha);
    }
}

/* Rule 3: by the facts of the base, which a fetched log may have passed already. */
static void count_members(struct ha *ha)
{
    struct ha_facts base;
    ha_facts_init(&base, ha->mutant);
    int r = ha_log_facts_at(ha, ha->base.i, &base);
    for (size_t i = 0; i < ha->nmembers; i++) {
        struct ha_member *m = &ha->members[i];
        m->counted = r == 0 && m->reported && !m->left && ha_counts_by(ha, &base, m);
    }
    ha->base_voters = r == 0 ? ha_facts_voters(&base) : 0;
    ha->nomem |= r == -ENOMEM;
    ha_facts_done(&base);
}

/* Our log is the base now: acknowledge the open, take what came meanwhile. */
void ha_open_based(struct ha *ha)
{
    ha->phase_since = ha->now;
    ha->ack_due = true;
    ha->ack_i = ha_log_key(&ha->log).i;
    ha->ack_journal = ha->log.seq;
    count_members(ha);
    for (size_t i = 0; i < ha->nlate; i++) {
        if (ha->late[i].i == ha_log_key(&ha->log).i + 1)
            ha_fact_append(ha, ha->late[i].i, ha->late[i].data, ha->late[i].len);
    }
    ha_fetch_stop(ha);
    ha_keeper_orders(ha);
    ha->acts_due = true;
}

/* -------------------------------------------------------------------------------------- acks */

static void put_cuts(struct ha *ha, struct ha_put *put)
{
    size_t at = put->n, n = 0;
    ha_put_u32(put, 0);
    for (size_t i = 0; i < ha->log.head.nhosts; i++) {
        const struct ha_host_fact *h = &ha->log.head.hosts[i];
        if (!ha_is_cut(ha, h) || (h->state != HA_HOST_LOST && h->state != HA_HOST_FENCING))
            continue;
        struct ha_cut_age cut = {.node = h->node, .boot = h->boot};
        for (size_t j = 0; j < ha->npeers; j++) {
            const struct ha_peer_beat *p = &ha->peers[j];
            if (p->node != h->node || !ha_uuid_eq(&p->boot, &h->boot) || p->last_ms == 0)
                continue;
            cut.seen = true;
            cut.armed = p->armed;
            cut.age_ms = ha->now > p->last_ms ? ha->now - p->last_ms : 0;
            cut.tbl = p->tbl;
            cut.lease_ms = p->lease_ms;
            cut.watchdog_ms = p->watchdog_ms;
        }
        ha_msg_put_cut(put, &cut);
        n++;
    }
    ha_put_patch_u32(put, at, (uint32_t)n);
}

void ha_ack_flush(struct ha *ha)
{
    if (!ha->ack_due || ha->fetching || ha->unreadable || ha->log.failed)
        return;
    if (ha->log.done < ha->ack_journal && HA_GUARD(ha, FSYNC_ACK))
        return;
    /* rule 21: not before the keeper has confirmed the cut */
    if (ha->orders.ncut && ha->keeper_applied < ha->cut_seq)
        return;
    ha->ack_due = false;
    struct ha_put put = ha_msg_new(ha, HA_MSG_ACK);
    ha_put_epoch(&put, ha->e);
    ha_put_u64(&put, ha->ack_i);
    put_cuts(ha, &put);
    ha_send(ha, &put);
}

static void became_open(struct ha *ha)
{
    ha->phase = HA_PHASE_OPEN;
    ha->phase_since = ha->now;
    ha->coord_heard = ha->now;
    const struct ha_member *self = ha_member(ha, ha->self, false);
    const struct ha_host_fact *h = ha_facts_host(&ha->log.head, ha->self);
    ha->synced_now = self && self->acked && h && h->state == HA_HOST_IN &&
                     ha_uuid_eq(&h->boot, &ha->boot);
    if (!ha->half) {
        ha->synced_last = ha->synced_now;
        ha->forced[0] = 0;
    }
    ha_mark_seen(ha);
    ha->register_due = true;
    ha_report(ha, HA_REPORT_OPEN, HA_SEV_INFO, ha->coord, NULL,
              "epoch %lu is open, %s coordinates%s", (unsigned long)ha->e.number,
              ha_host_name(ha, ha->coord), ha->half ? " (half of the voters: fencing only)" : "");
    ha->decide_due = ha->acts_due = true;
}

static void stable_advance(struct ha *ha, uint64_t to)
{
    for (uint64_t i = ha->stable_i + 1; i <= to && !ha->nomem; i++) {
        const struct ha_entry *entry = ha_log_entry(&ha->log, i);
        struct ha_fact fact;
        if (!entry || ha_fact_decode(entry->data, entry->len, &fact) < 0) {
            ha_halt(ha, "a stable fact is not in the log");
            return;
        }
        if (fact.kind == HA_FACT_IN && fact.host == ha->self &&
            ha_uuid_eq(&fact.boot, &ha->boot) && ha->phase == HA_PHASE_OPEN)
            ha->synced_now = ha->synced_last = true;
        if (i > ha->quiet_i)
            ha_say_stable(ha, &ha->stable, &fact);
        if (ha_facts_apply(&ha->stable, &fact, i) < 0)
            ha->nomem = true;
        ha->stable_i = i;
    }
    ha->stable_known = true;
    ha_mark_seen(ha);
    ha->decide_due = ha->acts_due = true;
    ha_asks_answer_stable(ha);
    ha_log_compact(ha);
}

static void sort_down(uint64_t *v, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t j = i; j > 0 && v[j] > v[j - 1]; j--) {
            uint64_t t = v[j];
            v[j] = v[j - 1];
            v[j - 1] = t;
        }
}

/* What is stable here says who the voters are, once it has reached what this epoch was opened on. Before
 * that it may be from long ago, with voters that have been outvoted since. */
bool ha_settled(const struct ha *ha)
{
    return ha->stable_i >= ha->base.i;
}

/* Rule 3 for acks: by the facts this epoch was opened on, or by facts that are stable without it. */
static bool ack_counts(const struct ha *ha, const struct ha_member *m)
{
    if (!m->acked || m->left || !m->present)
        return false;
    const struct ha_host_fact *h = ha_facts_host(&ha->stable, m->node);
    return m->counted || (ha_settled(ha) && h && h->voter &&
                          ha_uuid_eq(&h->journal, &m->report.journal));
}

static const struct ha_member *find_member(const struct ha *ha, ha_node node)
{
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].node == node)
            return &ha->members[i];
    return NULL;
}

static bool was_voter(const struct ha *ha, ha_node node)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->stable, node);
    const struct ha_member *m = find_member(ha, node);
    return ha_settled(ha) ? h && h->voter : m && m->counted;
}

/* Fence-only: index of the first tentative fact that puts a voter back, 0: none. */
static uint64_t grow_index(const struct ha *ha)
{
    size_t old = ha_settled(ha) ? ha_facts_voters(&ha->stable) : ha->base_voters;
    if (ha->config->mode != HA_MODE_FENCE_ONLY || old == 0 ||
        ha_facts_voters(&ha->log.head) <= old)
        return 0;
    uint64_t from = ha_settled(ha) ? ha->stable_i : ha->base.i;
    for (uint64_t i = from + 1; i <= ha_log_key(&ha->log).i; i++) {
        const struct ha_entry *entry = ha_log_entry(&ha->log, i);
        struct ha_fact fact;
        if (!entry || ha_fact_decode(entry->data, entry->len, &fact) < 0)
            return 0;
        if (fact.kind == HA_FACT_IN && !was_voter(ha, fact.host))
            return i;
    }
    return 0;
}

static uint64_t base_voters_ack(const struct ha *ha)
{
    uint64_t least = UINT64_MAX;
    size_t n = 0;
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (!m->counted)
            continue;
        uint64_t ack = m->acked && m->present && !m->left ? m->ack_i : 0;
        least = ack < least ? ack : least;
        n++;
    }
    return n < ha->base_voters ? 0 : least; /* one that is absent acknowledges nothing */
}

/* The index that every voter, before any is put back, has acknowledged. */
static uint64_t old_voters_ack(const struct ha *ha)
{
    uint64_t least = UINT64_MAX;
    if (!ha_settled(ha))
        return base_voters_ack(ha);
    for (size_t i = 0; i < ha->stable.nhosts; i++) {
        const struct ha_host_fact *h = &ha->stable.hosts[i];
        const struct ha_member *m = find_member(ha, h->node);
        if (!h->voter)
            continue;
        bool acked = m && m->acked && m->present && !m->left &&
                     ha_uuid_eq(&h->journal, &m->report.journal);
        uint64_t ack = acked ? m->ack_i : 0;
        least = ack < least ? ack : least;
    }
    return least;
}

/* A snapshot brought facts of this very epoch that are stable: there may be none to come. */
static bool stable_of_now(struct ha *ha)
{
    struct ha_key key;
    uint64_t hash;
    if (!ha_log_at(&ha->log, ha->stable_i, &key, &hash) || ha_epoch_cmp(key.e, ha->e) != 0)
        return false;
    ha->stable_known = true;
    ha_mark_seen(ha);
    ha->decide_due = ha->acts_due = true;
    return true;
}

/* Rule 7. */
static void calc(struct ha *ha)
{
    if (ha->fetching || ha->phase < HA_PHASE_OPENING)
        return;
    uint64_t acks[HA_HOSTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ack_counts(ha, &ha->members[i]))
            acks[n++] = ha->members[i].ack_i;
    size_t needed = ha_votes_needed(ha);
    size_t half = ha_facts_voters(&ha->log.head) / 2;
    if (ha->phase == HA_PHASE_OPENING && (n >= needed || (ha->half && n >= half)))
        became_open(ha);
    uint64_t i = 0, last = ha_log_key(&ha->log).i;
    if (n >= needed && n > 0) {
        ha->half = false; /* rule 26: the voters are the view, normal rules hold */
        sort_down(acks, n);
        i = acks[needed - 1] < last ? acks[needed - 1] : last;
    }
    uint64_t grow = grow_index(ha);
    if (grow) { /* rule 26: a voter is put back: all the old ones, and for what follows both */
        uint64_t old = old_voters_ack(ha);
        i = i < old ? i : old;
        uint64_t up_to = old < grow ? old : grow;
        i = i > up_to ? i : up_to;
    }
    if (i == 0)
        return;
    if (i <= ha->stable_i && (ha->stable_known || stable_of_now(ha)))
        return;
    const struct ha_entry *entry = ha_log_entry(&ha->log, i);
    /* older facts become stable with this epoch's first (its begin), never by counting */
    if (!entry || (ha_epoch_cmp(entry->key.e, ha->e) != 0 && HA_GUARD(ha, RAFT_RULE)))
        return;
    stable_advance(ha, i);
    if (grow && !ha->halted && !ha->nomem)
        calc(ha); /* the voter that is back may count for what follows */
}

void ha_ack_deliver(struct ha *ha, struct ha_member *m, struct ha_get *get)
{
    struct ha_epoch e = ha_get_epoch(get);
    uint64_t i = ha_get_u64(get);
    size_t n = ha_get_u32(get);
    if (get->failed || !ha_stamp(ha, e) || m->left || n > HA_HOSTS_MAX)
        return;
    m->acked = true;
    m->acked_at = ha->now;
    if (i > m->ack_i)
        m->ack_i = i;
    const struct ha_host_fact *own = ha_facts_host(&ha->stable, ha->self);
    if (m->node == ha->self && ha->phase == HA_PHASE_OPEN && !ha->half && own &&
        own->state == HA_HOST_IN && ha_uuid_eq(&own->boot, &ha->boot))
        ha->synced_now = ha->synced_last = true;
    m->ncuts = 0;
    for (size_t k = 0; k < n; k++) {
        ha_msg_get_cut(get, &m->cuts[m->ncuts]);
        m->cuts_at[m->ncuts] = ha->now;
        m->ncuts += !get->failed;
    }
    calc(ha);
    ha->decide_due = true;
}

/* ------------------------------------------------------------------------------------- facts */

void ha_fact_append(struct ha *ha, uint64_t i, const void *data, size_t len)
{
    ha->behind |= i > ha_log_key(&ha->log).i + 1 && !ha->unreadable;
    if (i != ha_log_key(&ha->log).i + 1 || ha->unreadable)
        return; /* not the next one: void (rule 6) */
    int r = ha_log_append(ha, ha->e, data, len);
    if (r == -ENOMEM)
        ha->nomem = true;
    if (r == -ENOTSUP || r == -EBADMSG) {
        ha_report(ha, HA_REPORT_FOREIGN, HA_SEV_ALERT, ha->coord, NULL,
                  "a fact this version cannot read: upgrade xvm-had on this host");
        ha->unreadable = true; /* acknowledges nothing more in this epoch */
        return;
    }
    ha->ack_due = true;
    ha->ack_i = i;
    ha->ack_journal = ha->log.seq;
}

void ha_fact_deliver(struct ha *ha, ha_node from, const struct ha_msg_head *head,
                     struct ha_get *get)
{
    struct ha_epoch e = ha_get_epoch(get);
    uint64_t i = ha_get_u64(get);
    size_t n = ha_get_u32(get);
    if (get->failed || !ha_stamp(ha, e))
        return;
    if ((from != ha->coord || head->instance != ha->coord_instance) && HA_GUARD(ha, EPOCH))
        return;
    ha->coord_heard = ha->now;
    for (size_t k = 0; k < n; k++, i++) {
        size_t len = ha_get_u32(get);
        const void *data = ha_get_bytes(get, len);
        if (!data)
            return;
        if (ha->fetching)
            ha_late_add(ha, i, data, len);
        else
            ha_fact_append(ha, i, data, len);
    }
    if (ha->outstanding && from == ha->self && ha_log_key(&ha->log).i >= ha->prop_i)
        ha->outstanding = false;
    ha_keeper_orders(ha);
    ha->decide_due = ha->acts_due = true;
}
