/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking in: what an operator (and a checker) may know about a core. For any state there is a sentence
 * that says what goes on, why, and what the operator can do. */
#include "core.h"

#include <errno.h>
#include <string.h>

static const struct ha_member *find_member(const struct ha *ha, ha_node node)
{
    for (size_t i = 0; i < ha->nmembers; i++)
        if (ha->members[i].node == node)
            return &ha->members[i];
    return NULL;
}

/* What an operator is shown: stable facts. Half of the voters make nothing stable until the others are
 * confirmed, and act on what they have written down (rule 26), so then it is that. */
const struct ha_facts *ha_shown(const struct ha *ha)
{
    return ha->half && ha->phase == HA_PHASE_OPEN ? &ha->log.head : &ha->stable;
}

/* This host had a lease and has it no more: its guests are ended, or will be in a moment. */
static bool lapsed(const struct ha *ha)
{
    return ha->started && !ha->frozen && ha->now >= ha->lapse_at && ha->lapse_at != INT64_MIN &&
           ha->now >= ha->lease_until;
}

/* Nothing comes from the others any more, not even that corosync's ring has changed. */
static bool unheard(const struct ha *ha)
{
    return ha->phase == HA_PHASE_OPEN && (ha->silent || (ha->coord == ha->self && lapsed(ha)));
}

static void sentence(const struct ha *ha, struct ha_status *s)
{
    char *dst = s->sentence;
    size_t size = sizeof s->sentence;
    if (ha->halted)
        ha_say(dst, size, "halted: a safety check failed, see the log");
    else if (ha->log.failed)
        ha_say(dst, size, "not synced: the journal cannot be written");
    else if (!ha->connected || ha->phase == HA_PHASE_START)
        ha_say(dst, size, "waiting for corosync");
    else if (!s->founded && ha->founding)
        ha_say(dst, size, "the cluster is being founded");
    else if (!s->founded)
        ha_say(dst, size,
               "no cluster founded yet: with every host up, run `xvmhactl init` once");
    else if (!s->quorate)
        ha_say(dst, size, "no quorum: waiting for more hosts, nothing is started or fenced%s",
               s->lapsed ? "; this host's lease has lapsed, its guests were ended" : "");
    else if (s->frozen)
        ha_say(dst, size, "frozen: nobody reacts to anything; `xvmhactl thaw` ends that");
    else if (ha->phase != HA_PHASE_OPEN)
        ha_say(dst, size, "the hosts are agreeing on a coordinator");
    else if (ha->fetching)
        ha_say(dst, size, "fetching the cluster's facts from %s", ha_host_name(ha, ha->coord));
    else if (!s->synced && !s->unheard)
        ha_say(dst, size, "waiting to be admitted by %s", ha_host_name(ha, ha->coord));
    else if (s->lapsed && s->unheard)
        ha_say(dst, size,
               "cut off: nothing is heard from the other hosts, this host's lease has lapsed and its "
               "guests were ended; is corosync stuck here?");
    else if (s->unheard)
        ha_say(dst, size, "nothing is heard from %s, the coordinator; is corosync stuck?",
               ha_host_name(ha, ha->coord));
    else if (ha->pilled)
        ha_say(dst, size, "this host was given a poison pill: its watchdog resets it");
    else if (s->lapsed && s->disk_on && !ha_disk_ok(ha))
        ha_say(dst, size,
               "this host has lost the shared disk %s: its guests were ended, the others "
               "start them",
               ha->config->disk.path ? ha->config->disk.path : "");
    else if (s->lapsed)
        ha_say(dst, size, "this host's lease has lapsed, its guests were ended: its keeper %s",
               ha->keeper ? "gets no echoes from the other keepers" : "is gone");
    else
        ha_say(dst, size, "synced, %s", ha->coord == ha->self ? "coordinating" : "following");
}

void ha_status(const struct ha *ha, ha_ms now, struct ha_status *s)
{
    *s = (struct ha_status){.phase = ha->phase,
                            .ring = ha->ring,
                            .quorate = ha_quorate(ha),
                            .epoch = ha->e,
                            .self = ha->self,
                            .head = ha_log_key(&ha->log),
                            .head_hash = ha_log_head_hash(&ha->log),
                            .lease_until = ha->lease_until,
                            .keeper = ha->keeper,
                            .armed = ha->armed,
                            .going = ha->going,
                            .leaving = ha->leaving,
                            .empty = ha_empty(ha)};
    if (ha->going && ha->leave_by > now)
        s->leave_left_ms = ha->leave_by - now;
    s->lapsed = lapsed(ha);
    s->unheard = unheard(ha);
    struct ha_key key = {{0}, 0};
    uint64_t hash;
    if (ha_log_at(&ha->log, ha->stable_i, &key, &hash))
        s->stable = key;
    s->coordinator = ha->phase == HA_PHASE_OPEN ? ha->coord : 0;
    s->founded = !ha_uuid_zero(&ha->log.head.cluster);
    const struct ha_host_fact *h = ha_facts_host(ha_shown(ha), ha->self);
    const struct ha_member *m = find_member(ha, ha->self);
    s->synced = ha->phase == HA_PHASE_OPEN && !ha->fetching && m && m->acked && h &&
                h->state == HA_HOST_IN && ha_uuid_eq(&h->boot, &ha->boot) && !ha->log.failed;
    s->waiting = !s->synced && !ha->halted && ha->connected;
    s->frozen = ha->frozen || ha_shown(ha)->frozen;
    s->looking = ha_shown(ha)->looking;
    s->nhosts = ha_shown(ha)->nhosts || !ha->config ? ha_shown(ha)->nhosts : ha->config->nhosts;
    s->nguests = ha_shown(ha)->nguests;
    s->disk_configured = ha->config && ha->config->disk.timeout_ms > 0;
    s->disk_on = ha->orders.disk == HA_DISK_ON;
    s->disk_age_ms = ha->disk_t >= 0 && now >= ha->disk_t ? now - ha->disk_t : -1;
    s->pilled = ha->pilled;
    s->survivor = ha_survivor(ha, s->survivor_why, sizeof s->survivor_why);
    sentence(ha, s);
}

/* The way out comes first: the fence agent's words may be long. */
static void lost_why(const struct ha *ha, const struct ha_host_fact *h, struct ha_host_status *r)
{
    const char *name = ha_host_name(ha, h->node), *error = "";
    if (!h->tried) {
        ha_say(r->why, sizeof r->why,
               "not confirmed dead; if it is off for sure: `xvmhactl fence confirm %s`", name);
        return;
    }
    for (size_t i = 0; i < ha->log.head.nhosts; i++)
        if (ha->log.head.hosts[i].node == h->node)
            error = ha->host_desks[i].fence_error;
    ha_say(r->why, sizeof r->why,
           "fencing fails and is retried; if it is off for sure: `xvmhactl fence confirm %s`%s%s",
           name, error[0] ? "; what the fence said: " : "", error);
}

/* A second heartbeat: what the disk tells of a host that is not heard. */
static void disk_why(const struct ha *ha, ha_ms now, const struct ha_host_fact *h,
                     struct ha_host_status *r)
{
    char rest[HA_TEXT_MAX * 2];
    ha_ms seen = ha_disk_seen(ha, h);
    if (r->member || !seen ||
        !(h->state == HA_HOST_IN || h->state == HA_HOST_LOST || h->state == HA_HOST_FENCING))
        return;
    ha_say(rest, sizeof rest, "%s", r->why);
    if (now < seen + 3 * ha->config->disk.interval_ms + 1000)
        ha_say(r->why, sizeof r->why,
               "it lost the network but lives: it writes to the shared disk; %s", rest);
    else
        ha_say(r->why, sizeof r->why, "it wrote to the shared disk %lu s ago; %s",
               (unsigned long)(now - seen) / 1000, rest);
}

static void maint_why(const struct ha *ha, const struct ha_host_fact *h, struct ha_host_status *r)
{
    const char *name = ha_host_name(ha, h->node);
    if (h->down)
        ha_say(r->why, sizeof r->why, "goes down: %u guests to go, %u of them under way",
               r->leaving, r->going);
    else if (h->maint == HA_MAINT_ON && r->leaving == 0)
        ha_say(r->why, sizeof r->why, "in maintenance, empty; `xvmhactl maintenance off %s` ends that",
               name);
    else if (r->going < r->leaving)
        ha_say(r->why, sizeof r->why,
               "is being emptied: %u guests to go, %u of them under way; `xvmhactl why GUEST` says why "
               "one stays", r->leaving, r->going);
    else
        ha_say(r->why, sizeof r->why, "is being emptied: %u guests under way", r->going);
}

static void host_why(const struct ha *ha, ha_ms now, const struct ha_host_fact *h,
                     struct ha_host_status *r)
{
    const char *name = ha_host_name(ha, h->node);
    const struct ha_member *m = find_member(ha, h->node);
    const char *bound_why = "";
    ha_ms at = INT64_MAX;
    if (h->state == HA_HOST_LOST || h->state == HA_HOST_FENCING)
        at = ha_bound_at(ha, h, &bound_why);
    switch (h->state) {
    case HA_HOST_FENCING:
        ha_say(r->why, sizeof r->why, "its guests wait for that (%slevel %u)%s%s%s",
               h->ordered ? "by order, " : "", h->level + 1,
               h->rounds || h->level ? "; if it is off for sure: `xvmhactl fence confirm " : "",
               h->rounds || h->level ? name : "", h->rounds || h->level ? "`" : "");
        break;
    case HA_HOST_LOST:
        if (ha_fence_held(ha, ha_shown(ha), h) && at == INT64_MAX)
            ha_say(r->why, sizeof r->why,
                   "not fenced: %s; `xvmhactl fence %s` does it, or `xvmhactl fence confirm %s`",
                   ha_fence_held(ha, ha_shown(ha), h), name, name);
        else if (at != INT64_MAX && at > now)
            ha_say(r->why, sizeof r->why, "its watchdog will have ended it in %lu s at the latest",
                   (unsigned long)((at - now + 999) / 1000));
        else
            lost_why(ha, h, r);
        break;
    case HA_HOST_DEAD:
        ha_say(r->why, sizeof r->why, "it is admitted again when it comes back");
        break;
    case HA_HOST_OUT:
        ha_say(r->why, sizeof r->why, "said goodbye");
        break;
    case HA_HOST_NEW:
        ha_say(r->why, sizeof r->why, "never admitted yet");
        break;
    case HA_HOST_IN:
        if (!r->member && ha_shown(ha)->frozen)
            ha_say(r->why, sizeof r->why,
                   "not in the ring: seen to after `xvmhactl thaw`, for the cluster is frozen");
        else if (!r->member)
            ha_say(r->why, sizeof r->why, "not in the ring; it is waited for, then fenced");
        else if (!r->daemon)
            ha_say(r->why, sizeof r->why,
                   "no daemon answers there, its guests go on; `systemctl start xvm-had` there");
        else if (m && m->report.no_journal)
            ha_say(r->why, sizeof r->why,
                   "it cannot write its journal, so it takes no guests: is its disk full?");
        else if (m && m->acked && !m->report.inventory)
            ha_say(r->why, sizeof r->why,
                   "what runs there is unknown, its hypervisor does not answer: nothing is started "
                   "there; see `journalctl -u xvm-had` there");
        else if (ha_shown(ha)->disk_on && r->disk_told && !r->disk_ok)
            ha_say(r->why, sizeof r->why,
                   "it has lost the shared disk: its guests are ended, it takes none; is its way "
                   "to the "
                   "storage broken?");
        else if (h->distrusted)
            ha_say(r->why, sizeof r->why, "its fence device lied once: check it");
        else if (h->maint || h->down)
            maint_why(ha, h, r);
        else if (ha_quarantined(ha, h))
            ha_say(r->why, sizeof r->why,
                   "in quarantine: lost %u times lately, gets no guests; `xvmhactl host clear %s`",
                   h->flaps, name);
        break;
    }
}

enum { ARMING = 15000 }; /* for so long it may take until it is said */

/* Refused until an operator says that it replaces the one that was known under that node id. */
static bool is_foreign(const struct ha_member *m, const struct ha_host_fact *h)
{
    return m && m->present && m->reported && !ha_uuid_zero(&h->machine) &&
           !ha_uuid_zero(&m->report.machine) && !ha_uuid_eq(&m->report.machine, &h->machine);
}

static void count_leaving(const struct ha *ha, const struct ha_host_fact *h,
                          struct ha_host_status *r)
{
    r->maintenance = h->maint;
    r->down = h->down && h->state == HA_HOST_IN;
    for (size_t k = 0; (h->maint || r->down) && k < ha_shown(ha)->nguests; k++) {
        const struct ha_guest_fact *g = &ha_shown(ha)->guests[k];
        bool here = g->owner == h->node || g->left_host == h->node;
        r->leaving += here;
        r->going += here && (g->mig || g->recall || g->preempted || g->left_host || !ha_wanted(g));
    }
}

void ha_status_host(const struct ha *ha, ha_ms now, size_t i, struct ha_host_status *r)
{
    *r = (struct ha_host_status){0};
    static const struct ha_host_fact none;
    const struct ha_host_fact *h = &none;
    if (ha_shown(ha)->nhosts)
        h = &ha_shown(ha)->hosts[i];
    r->node = ha_shown(ha)->nhosts ? h->node : ha->config->hosts[i].node;
    const struct ha_host_config *c = ha_host_config(ha, r->node);
    r->name = c ? c->name : NULL;
    r->state = h->state;
    r->boot = h->boot;
    r->loss = h->loss;
    r->fence_level = h->level;
    r->ordered = h->ordered;
    r->flaps = h->flaps;
    r->quarantined = ha_quarantined(ha, h);
    r->armed = h->armed;
    r->member = ha_in_ring(ha, r->node);
    const struct ha_member *m = find_member(ha, r->node);
    if (m) {
        r->daemon = m->present && !m->left && m->reported;
        r->synced = ha->phase == HA_PHASE_OPEN && m->acked && !m->left && r->daemon;
        r->drift = m->reported && m->report.config_hash != ha->config->hash;
        r->memory_kib = m->report.memory_kib;
        r->disk_told = r->daemon && m->disk_told;
        r->disk_ok = r->disk_told && m->disk_ok;
        r->frozen = r->daemon && m->report.frozen;
    }
    r->foreign = is_foreign(m, h);
    r->arming = !h->armed && ha->config && ha->config->watchdog_device &&
                ((m && m->report.armed) || now < ha->phase_since + ARMING);
    r->disk_bound = h->disk_ms > 0;
    ha_ms seen = ha_disk_seen(ha, h);
    r->disk_age_ms = seen && now >= seen ? now - seen : -1;
    r->coordinator = ha->phase == HA_PHASE_OPEN && ha->coord == r->node;
    for (uint32_t k = 0; k < ha_shown(ha)->nguests; k++) {
        if (ha_guest_config(ha, k) && r->node && ha_shown(ha)->guests[k].owner == r->node)
            r->memory_used_kib += ha_guest_need_kib(ha, ha_shown(ha), k);
    }
    count_leaving(ha, h, r);
    host_why(ha, now, h, r);
    disk_why(ha, now, h, r);
}

/* A host in the ring of which nobody knows what runs there. */
static ha_node silent_host(const struct ha *ha)
{
    for (size_t i = 0; i < ha_shown(ha)->nhosts; i++) {
        const struct ha_member *m = find_member(ha, ha_shown(ha)->hosts[i].node);
        enum ha_host_state state = ha_shown(ha)->hosts[i].state;
        if (state == HA_HOST_LOST || state == HA_HOST_FENCING || ha_may_live(&ha_shown(ha)->hosts[i]))
            return ha_shown(ha)->hosts[i].node;
        if (ha_in_ring(ha, ha_shown(ha)->hosts[i].node) && (!m || !m->acked || !m->report.inventory))
            return ha_shown(ha)->hosts[i].node;
    }
    return 0;
}

/* Name of the guest that this one was stopped for; NULL: nobody in particular. */
static const char *gave_way(const struct ha *ha, const struct ha_guest_fact *g)
{
    const struct ha_facts *f = ha_shown(ha);
    return g->gave_way && g->gave_way <= f->nguests ? f->guests[g->gave_way - 1].name : NULL;
}

/* Not in this host's configuration: perhaps it was removed, perhaps the files differ. */
static void why_unmanaged(const struct ha *ha, uint32_t i, struct ha_guest_status *r)
{
    ha_node node = ha_knows_where(ha, i);
    const char *name = ha_host_name(ha, node);
    if (!node)
        ha_say(r->why, sizeof r->why, "not in the configuration any more");
    else
        ha_say(r->why, sizeof r->why,
               "not in this host's configuration, but in that of %s: `xvmhactl config diff %s`, "
               "then `xvmhactl config push` where it is right", name, name);
}

static void why_free(const struct ha *ha, const struct ha_guest_fact *g, uint32_t i,
                     struct ha_guest_status *r)
{
    size_t size = sizeof r->why;
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (ha_shown(ha)->frozen)
        ha_say(r->why, size, "the cluster is frozen: nothing is started before `xvmhactl thaw`");
    else if (c && c->external)
        ha_say(r->why, size, "does not run; its orchestrator may start it, on any host");
    else if (!g->enabled)
        ha_say(r->why, size, "disabled: `xvmhactl enable %s`", g->name);
    else if (ha_ended_why(ha, i, g, r->why, size))
        return;
    else if (!g->want_run)
        ha_say(r->why, size, "stopped by an operator: `xvmhactl start %s`", g->name);
    else if (g->quarantined)
        ha_say(r->why, size,
               "two hosts were lost while it started; `xvmhactl clear %s` tries again",
               g->name);
    else if (!r->managed)
        why_unmanaged(ha, i, r);
    else if (!ha_quorate(ha))
        ha_say(r->why, size, "no quorum: more hosts are needed");
    else if (ha->phase != HA_PHASE_OPEN)
        ha_say(r->why, size, "the hosts are agreeing on a coordinator");
    else if (ha->coord != ha->self && ha_knows_not(ha, ha->coord, i))
        ha_say(r->why, size,
               "%s coordinates, and its configuration does not have it: see `xvmhactl config diff "
               "%s`, then `xvmhactl config push`", ha_host_name(ha, ha->coord),
               ha_host_name(ha, ha->coord));
    else if (c && c->config_path && ha_uuid_zero(&g->def))
        ha_say(r->why, size,
               "no host has a definition of it: put a good %s on one of them, then `xvmhactl reload` "
               "there", c->config_path);
    else if (g->left_host)
        ha_say(r->why, size, "%s has not cleaned up after its last move: is xvm-had running there?",
               ha_host_name(ha, g->left_host));
    else if (i < ha->ndesks && ha->desks[i].copies > 0)
        ha_say(r->why, size, "a copy nobody owns is on %s: it is taken over when it runs",
               ha_host_name(ha, ha->desks[i].copy_on));
    else if ((g->inc == 0 || g->loose) && ha->now > ha->phase_since + 5000 && silent_host(ha))
        ha_say(r->why, size,
               "nobody can tell whether it runs on %s by hand: start xvm-had there, or fence it, or, "
               "if it is off for good, `xvmhactl host replace %s`", ha_host_name(ha, silent_host(ha)),
               ha_host_name(ha, silent_host(ha)));
    else if ((g->inc == 0 || g->loose) && ha->now > ha->phase_since + 5000 &&
             ha_knows_missing(ha, i))
        ha_say(r->why, size,
               "nobody can tell whether it runs on %s by hand: the configuration there does not have "
               "it; see `xvmhactl config diff %s`, then `xvmhactl config push`",
               ha_host_name(ha, ha_knows_missing(ha, i)), ha_host_name(ha, ha_knows_missing(ha, i)));
    else if (ha_shown(ha)->looking)
        ha_say(r->why, size, "was frozen: it is started once every host has looked what runs there");
    else if ((r->unplaced = g->preempted))
        ha_say(r->why, size,
               "stopped for want of room%s%s; it starts again when there is some: `xvmhactl why %s`",
               gave_way(ha, g) ? ", for the sake of " : "", gave_way(ha, g) ? gave_way(ha, g) : "", g->name);
    else if (i < ha->ndesks && ha->now < ha->desks[i].not_before)
        ha_say(r->why, size, "it failed; tried again in %lu s",
               (unsigned long)((ha->desks[i].not_before - ha->now + 999) / 1000));
    else if ((r->unplaced = !ha_order_why(ha, ha_shown(ha), i, ha->now, r->why, size)))
        ha_say(r->why, size,
               "no host can take it now: `xvmhactl why %s` says why, and what would help", g->name);
}

static bool can_be_fenced(const struct ha *ha, const struct ha_host_fact *h)
{
    const struct ha_host_config *c = ha_host_config(ha, h->node);
    for (size_t i = 0; c && i < c->nlevels; i++)
        if (c->levels[i].kind == HA_FENCE_DEVICE)
            return !h->distrusted && h->state == HA_HOST_LOST && !ha->half;
    return false;
}

/* What blocks a guest whose host is lost, and what would help. */
static void why_host_lost(const struct ha *ha, const struct ha_host_fact *h,
                          struct ha_guest_status *r)
{
    const char *name = ha_host_name(ha, h->node);
    bool again = can_be_fenced(ha, h);
    ha_say(r->why, sizeof r->why,
           "waits until %s is confirmed dead: %s; %s%s%sif it is off for sure: `xvmhactl fence "
           "confirm %s`",
           name,
           h->state == HA_HOST_FENCING ? "it is being fenced" : "no fence of it is confirmed yet",
           again ? "`xvmhactl fence " : "", again ? name : "", again ? "` fences it, or, " : "",
           name);
}

static void why_owned(const struct ha *ha, const struct ha_guest_fact *g, uint32_t i,
                      struct ha_guest_status *r)
{
    const char *name = ha_host_name(ha, g->owner);
    const struct ha_host_fact *h = ha_facts_host(ha_shown(ha), g->owner);
    size_t size = sizeof r->why;
    if (h && (h->state == HA_HOST_LOST || h->state == HA_HOST_FENCING)) {
        why_host_lost(ha, h, r);
        return;
    }
    if (h && !ha_in_ring(ha, g->owner) && ha->phase != HA_PHASE_START) {
        ha_say(r->why, size, ha_shown(ha)->frozen ? "its host %s is away, and the cluster is frozen"
                                               : "its host %s is away: waited for, then fenced",
               name);
        return;
    }
    if (r->ended) {
        ha_say(r->why, size, "it has ended here%s",
               lapsed(ha) ? ": this host's lease had lapsed; the others may start it"
                          : ", which the cluster has not noted yet");
        return;
    }
    if (g->owner != ha->self && unheard(ha)) {
        ha_say(r->why, size, "what runs on %s is not known here: nothing is heard from there", name);
        return;
    }
    if (!ha_wanted(g)) {
        ha_say(r->why, size, "is being shut down");
        return;
    }
    if (g->preempted) {
        ha_say(r->why, size, "is being shut down for want of room%s%s",
               gave_way(ha, g) ? ", for the sake of " : "",
               gave_way(ha, g) ? gave_way(ha, g) : "");
        return;
    }
    if (g->recall && g->state == HA_GUEST_RUNNING) {
        ha_say(r->why, size, g->prefer == g->owner ? "is being shut down, to start again on %s"
                                                   : "is being shut down, to start on %s",
               ha_host_name(ha, g->prefer));
        return;
    }
    if (g->state == HA_GUEST_STARTING || g->state == HA_GUEST_ARRIVED) {
        bool here = g->owner == ha->self && i < ha->nlocals && ha->locals[i].error[0];
        ha_say(r->why, size, "is being started on %s%s%s", name, here ? "; last error: " : "",
               here ? ha->locals[i].error : "");
    } else if (g->state == HA_GUEST_MIGRATING) {
        ha_say(r->why, size, "moves to %s", ha_host_name(ha, g->mig_host));
    } else if (r->managed && r->memory_kib == 0) {
        ha_say(r->why, size,
               "nobody knows how much memory it takes, and none is kept for it: put its file on a "
               "host, or give it `memory`, then `xvmhactl reload`");
    }
}

void ha_status_guest(const struct ha *ha, ha_ms now, size_t i, struct ha_guest_status *r)
{
    const struct ha_guest_fact *g = &ha_shown(ha)->guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, (uint32_t)i);
    *r = (struct ha_guest_status){.name = g->name,
                                  .state = g->state,
                                  .managed = c != NULL,
                                  .external = c && c->external,
                                  .enabled = g->enabled,
                                  .want_run = g->want_run,
                                  .failed = g->failed,
                                  .quarantined = g->quarantined,
                                  .owner = g->owner,
                                  .target = g->mig ? g->mig_host : 0,
                                  .inc = g->inc,
                                  .mig = g->mig,
                                  .priority = c ? c->priority : 0,
                                  .memory_kib = ha_guest_need_kib(ha, ha_shown(ha), (uint32_t)i),
                                  .restarts = g->restarts,
                                  .recalled = g->recall,
                                  .preempted = g->preempted,
                                  .gave_way = g->preempted ? gave_way(ha, g) : NULL,
                                  .transfer = ha_transfer_of(ha, g, now)};
    bool runs = g->state == HA_GUEST_RUNNING || g->state == HA_GUEST_MIGRATING;
    r->ended = g->owner == ha->self && runs && ha->inventory && i < ha->nlocals &&
               !ha->locals[i].have && !ha->locals[i].op && !ha->locals[i].unsure;
    if (g->state == HA_GUEST_FREE)
        why_free(ha, g, (uint32_t)i, r);
    else if (g->owner)
        why_owned(ha, g, (uint32_t)i, r);
    else
        ha_say(r->why, sizeof r->why, "its complete image is on %s: the move is being decided",
               ha_host_name(ha, g->mig_host));
    ha_stop_status(ha, (uint32_t)i, g, now, r);
    ha_probe_status(ha, (uint32_t)i, g, r);
}

int ha_log_hash(const struct ha *ha, uint64_t i, struct ha_epoch *ret_e, uint64_t *ret_hash)
{
    struct ha_key key;
    uint64_t hash;
    if (!ha_log_at(&ha->log, i, &key, &hash))
        return -ENOENT;
    *ret_e = key.e;
    *ret_hash = hash;
    return 0;
}

int ha_stable_owner(const struct ha *ha, const char *guest, ha_node *ret_owner,
                    struct ha_uuid *ret_boot, uint64_t *ret_inc)
{
    const struct ha_guest_fact *g = ha_facts_guest(&ha->stable, guest);
    if (!g)
        return -ENOENT;
    *ret_owner = g->owner;
    *ret_boot = g->boot;
    *ret_inc = g->inc;
    return 0;
}

int ha_stable_host(const struct ha *ha, ha_node node, enum ha_host_state *ret_state,
                   struct ha_uuid *ret_boot, uint32_t *ret_loss)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->stable, node);
    if (!h)
        return -ENOENT;
    *ret_state = h->state;
    *ret_boot = h->boot;
    *ret_loss = h->loss;
    return 0;
}

int ha_stable_restraint(const struct ha *ha, ha_node node, bool *ret_ordered, unsigned *ret_flaps)
{
    const struct ha_host_fact *h = ha_facts_host(&ha->stable, node);
    if (!h)
        return -ENOENT;
    *ret_ordered = h->ordered;
    *ret_flaps = h->flaps;
    return 0;
}

int ha_stable_target(const struct ha *ha, const char *guest, ha_node *ret_target)
{
    const struct ha_guest_fact *g = ha_facts_guest(&ha->stable, guest);
    if (!g)
        return -ENOENT;
    *ret_target = g->mig ? g->mig_host : 0;
    return 0;
}
