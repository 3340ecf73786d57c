/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon around a core: events in, actions out, as the real shell does it. A daemon that is
 * stuck or whose host hangs finds its events queued. */
#include "world.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

/* -------------------------------------------------------------------------------- actions out */

struct sim_orders {
    struct ha_keeper_orders o;
};

static void send_orders(struct sim_world *w, struct sim_host *h, const struct ha_keeper_orders *o)
{
    struct sim_orders *copy = sim_alloc(w, sizeof(*copy));
    copy->o = *o;
    sim_us at = w->now + sim_delay(w, 200, SIM_MS(2));
    if (at <= h->last_order) /* a socket keeps the order */
        at = h->last_order + 1;
    h->last_order = at;
    if (h->keeper)
        sim_schedule(w, at, SIM_EV_KORDERS, h->i, h->keeper_life, (uint64_t)(uintptr_t)copy);
}

void sim_orders_arrive(struct sim_world *w, struct sim_host *h, uint64_t a)
{
    const struct sim_orders *orders = (const struct sim_orders *)(uintptr_t)a;
    if (h->hung) {
        sim_us at = w->now + SIM_MS(20);
        if (at <= h->last_order)
            at = h->last_order + 1;
        h->last_order = at;
        sim_schedule(w, at, SIM_EV_KORDERS, h->i, h->keeper_life, a);
        return;
    }
    sim_keeper_event(w, h,
                     &(struct ha_keeper_event){
                         .type = HA_KEV_ORDERS, .now = sim_clock(w, h), .u.orders = &orders->o});
}

static void remember_mark(struct sim_host *h, const struct ha_mark *mark)
{
    for (size_t i = 0; i < h->nmarks; i++)
        if (strcmp(h->marks[i].guest, mark->guest) == 0) {
            if (mark->inc > h->marks[i].inc)
                h->marks[i].inc = mark->inc;
            return;
        }
    assert(h->nmarks < SIM_GUESTS_MAX);
    h->marks[h->nmarks++] = *mark;
}

static void report(struct sim_world *w, struct sim_host *h, const struct ha_action *a)
{
    static const char severities[] = "DINWEA";
    int node = a->u.report.node ? sim_host_index(w, a->u.report.node) : -1;
    sim_log(w, "%s report %s %s%s%s: %s [%c]", h->name, ha_report_name(a->u.report.what),
            node >= 0 ? w->hosts[node].name : "", node >= 0 && a->u.report.guest[0] ? " " : "",
            a->u.report.guest, a->u.report.text, severities[a->u.report.severity]);
}

static void send(struct sim_world *w, struct sim_host *h, const struct ha_action *a)
{
    if (a->u.send.len > HA_MSG_MAX)
        sim_violate(w, SIM_CRASH, 0, "%s sends a message of %zu bytes", h->name, a->u.send.len);
    sim_mix_bytes(w, a->u.send.data, a->u.send.len);
    if (h->joined)
        sim_net_send(w, h, SIM_ENTRY_MESSAGE, a->u.send.data, a->u.send.len);
}

static void carry_out(struct sim_world *w, struct sim_host *h, const struct ha_action *a)
{
    sim_mix(w, a->type);
    switch (a->type) {
    case HA_ACT_SEND:
        send(w, h, a);
        break;
    case HA_ACT_JOURNAL:
    case HA_ACT_REWRITE:
        sim_journal_append(w, h, a->u.journal.seq, a->type == HA_ACT_REWRITE, a->u.journal.data,
                           a->u.journal.len);
        break;
    case HA_ACT_MARK:
        remember_mark(h, &a->u.mark);
        break;
    case HA_ACT_KEEPER:
        send_orders(w, h, a->u.keeper);
        break;
    case HA_ACT_GUEST:
        sim_work_start(w, h, a);
        break;
    case HA_ACT_GUEST_CANCEL:
        if (a->u.cancel.id)
            sim_work_cancel(w, h, a->u.cancel.id);
        else
            sim_work_cancel_old(w, h, a->u.cancel.guest);
        break;
    case HA_ACT_FENCE:
        sim_fence_start(w, h, a);
        break;
    case HA_ACT_FENCE_CANCEL:
        sim_fence_cancel(w, h, a->u.cancel.id, a->u.cancel.begun);
        break;
    case HA_ACT_REPLY:
        SIM_LOG(w, "%s reply %llu: %d %s", h->name, (unsigned long long)a->u.reply.client,
                a->u.reply.code, a->u.reply.text);
        break;
    case HA_ACT_REPORT:
        if (a->u.report.what == HA_REPORT_DISTRUST)
            w->distrusted = true;
        w->mig_news |= a->u.report.what == HA_REPORT_MIGRATE ||
                       a->u.report.what == HA_REPORT_COMMIT || a->u.report.what == HA_REPORT_ABORT;
        if (w->logging)
            report(w, h, a);
        break;
    case HA_ACT_PROBE:
        sim_probe_start(w, h, a);
        break;
    case HA_ACT_DEFINITION:
        SIM_LOG(w, "%s is to have definition %u of %s", h->name, a->u.definition.hash.b[1],
                a->u.definition.guest);
        break;
    case HA_ACT_CONFIG: /* the files themselves are not simulated: it is taken, some time later */
        SIM_LOG(w, "%s is to have configuration %02x", h->name, a->u.config.file.b[0]);
        sim_schedule(w, w->now + sim_delay(w, SIM_MS(1), SIM_MS(400)), SIM_EV_TAKEN, h->i,
                     h->daemon_life, a->u.config.changes[0].at);
        break;
    case HA_ACT_INVENTORY:
        sim_inventory_soon(w, h);
        break;
    case HA_ACT_HALT:
        SIM_LOG(w, "%s halt: %s", h->name, a->u.text);
        h->halted = true;
        if (!w->lied)
            sim_violate(w, SIM_SAFETY, 0, "%s halted: %s", h->name, a->u.text);
        break;
    }
}

/* ----------------------------------------------------------------------------------- events in */

static void reschedule_tick(struct sim_world *w, struct sim_host *h)
{
    ha_ms deadline = ha_deadline(h->ha);
    if (deadline == INT64_MAX)
        return;
    sim_us at = sim_when(w, h, deadline);
    if (at <= w->now)
        at = w->now + 500;
    if (h->tick_at > w->now && h->tick_at <= at)
        return; /* an earlier tick will look again */
    h->tick_at = at + sim_delay(w, 0, SIM_MS(2));
    sim_schedule(w, h->tick_at, SIM_EV_TICK, h->i, h->daemon_life, 0);
}

static void step(struct sim_world *w, struct sim_host *h, const struct ha_event *event)
{
    int r = ha_step(h->ha, event, &w->actions);
    if (r < 0) {
        sim_violate(w, SIM_CRASH, 0, "%s: ha_step of event %d says %d", h->name, (int)event->type,
                    r);
        return;
    }
    for (size_t i = 0; i < w->actions.n && !w->stop; i++)
        carry_out(w, h, &w->actions.v[i]);
    if (w->stop)
        return;
    check_after_step(w, h, event->type);
    reschedule_tick(w, h);
    if (h->halted)
        sim_daemon_kill(w, h, false);
}

static void fill_group(struct sim_world *w, struct sim_host *h, struct ha_event *e,
                       const struct sim_conf *c)
{
    memset(h->told_group, 0, sizeof(h->told_group));
    for (size_t k = 0; k < c->ngroup; k++)
        h->told_group[sim_host_index(w, c->group[k].node)] = c->group[k].pid;
    w->disturbed++;
    check_note_left(w, h, c);
    e->u.group.members = c->group;
    e->u.group.nmembers = c->ngroup;
    e->u.group.left = c->left;
    e->u.group.nleft = c->nleft;
    e->u.group.joined = c->joined;
    e->u.group.njoined = c->njoined;
}

static void fill_ring(struct sim_world *w, struct sim_host *h, struct ha_event *e,
                      const struct sim_conf *c, ha_node *nodes)
{
    size_t n = 0;
    w->disturbed++;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (c->members & 1u << i)
            nodes[n++] = w->hosts[i].node;
    e->u.ring.ring = c->ring;
    e->u.ring.members = nodes;
    e->u.ring.nmembers = n;
    h->told_ring = c->ring;
    h->told_members = c->members;
}

/* Gives the news to the core. */
static void tell(struct sim_world *w, struct sim_host *h, const struct sim_news *news)
{
    ha_node nodes[SIM_HOSTS_MAX];
    struct ha_definition definition;
    struct ha_event e = {.type = news->type, .now = sim_clock(w, h)};
    switch (news->type) {
    case HA_EV_JOINED:
        e.u.joined.instance = news->id;
        e.u.joined.pid = news->pid;
        break;
    case HA_EV_GROUP:
        fill_group(w, h, &e, news->conf);
        break;
    case HA_EV_RING:
        fill_ring(w, h, &e, news->conf, nodes);
        break;
    case HA_EV_QUORUM:
        e.u.quorum.ring = news->conf->ring;
        e.u.quorum.quorate = news->flag;
        if (news->conf->ring.seq >=
            h->told_verdict_ring.seq) { /* not a late one of an older ring */
            h->told_verdict_ring = news->conf->ring;
            h->told_quorate = news->flag;
        }
        break;
    case HA_EV_MESSAGE:
        e.u.message.from = news->from;
        e.u.message.data = news->data;
        e.u.message.len = news->len;
        break;
    case HA_EV_JOURNALED:
        e.u.journaled.seq = news->id;
        break;
    case HA_EV_GUEST_DONE:
        e.u.done.op = news->id;
        e.u.done.result = news->result;
        e.u.done.text = news->text;
        break;
    case HA_EV_GUEST_EXIT:
        e.u.exit.guest = w->guests[news->guest].name;
        e.u.exit.inc = news->id;
        e.u.exit.exit = news->exit;
        break;
    case HA_EV_FENCE:
        e.u.fence.id = news->id;
        e.u.fence.result = news->result;
        e.u.fence.text = news->text;
        break;
    case HA_EV_CLIENT:
        e.u.client = news->request;
        break;
    case HA_EV_PROBE:
        e.u.probe.id = news->id;
        e.u.probe.result = news->probe;
        e.u.probe.text = news->probe == HA_PROBE_HEALTHY ? NULL : "simulated illness";
        break;
    case HA_EV_JOURNAL_FAILED:
        e.u.text = news->text;
        break;
    case HA_EV_DEFINITION:
        definition = (struct ha_definition){.hash = {{(uint8_t)(news->guest + 1), (uint8_t)news->id}},
                                            .need_kib =
                                                w->setup->need_kib[news->guest]
                                                    ? w->setup->need_kib[news->guest]
                                                    : w->guests[news->guest].config->memory_kib,
                                            .fresh = news->flag};
        memcpy(definition.guest, w->guests[news->guest].name, HA_NAME_MAX);
        e.u.definition = &definition;
        break;
    case HA_EV_CONFIG:
        e.u.config = &h->own->config;
        break;
    case HA_EV_CONFIG_TAKEN:
        e.u.taken.at = news->id;
        break;
    case HA_EV_SHUTDOWN:
        e.u.shutdown.limit_ms = (ha_ms)news->id;
        break;
    case HA_EV_DISCONNECTED:
        break;
    case HA_EV_START:
    case HA_EV_TICK:
    case HA_EV_KEEPER:
    case HA_EV_INVENTORY:
    case HA_EV_TRANSFER: /* shows only */
        assert(!"not news");
    }
    if (news->type == HA_EV_DISCONNECTED || news->type == HA_EV_JOINED) {
        h->told_ring = (struct ha_ring){0};
        h->told_verdict_ring = (struct ha_ring){0};
        h->told_quorate = false;
        h->told_members = 0;
        memset(h->told_group, 0, sizeof(h->told_group));
    }
    step(w, h, &e);
}

static bool can_run(const struct sim_host *h)
{
    return h->ha && !h->stuck && sim_awake(h);
}

void sim_daemon_news(struct sim_world *w, struct sim_host *h, const struct sim_news *news)
{
    if (!h->ha)
        return;
    if (can_run(h) && h->headdq == h->ndq) {
        tell(w, h, news);
        return;
    }
    if (h->ndq == h->sizedq) {
        h->sizedq = h->sizedq ? h->sizedq * 2 : 64;
        h->dq = realloc(h->dq, h->sizedq * sizeof(*h->dq));
        assert(h->dq);
    }
    h->dq[h->ndq++] = *news;
}

void sim_daemon_define(struct sim_world *w, struct sim_host *h, int guest, bool fresh)
{
    sim_daemon_news(w, h,
                    &(struct sim_news){.type = HA_EV_DEFINITION,
                                       .guest = guest,
                                       .id = h->files[guest],
                                       .flag = fresh});
}

void sim_daemon_reconfigure(struct sim_world *w, struct sim_host *h)
{
    struct sim_own *own = calloc(1, sizeof(*own));
    assert(own);
    own->config = *w->config;
    own->config.guests = calloc(w->nguests + 1, sizeof(*own->config.guests));
    assert(own->config.guests);
    own->config.nguests = 0;
    for (unsigned g = 0; g < w->nguests; g++) {
        own->config.hash = own->config.hash * 31 + !h->unregistered[g];
        if (!h->unregistered[g])
            own->config.guests[own->config.nguests++] = w->config->guests[g];
    }
    own->next = h->own;
    h->own = own;
    SIM_LOG(w, "%s configuration has %zu guests", h->name, own->config.nguests);
    sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_CONFIG});
}

void sim_daemon_done(struct sim_host *h)
{
    while (h->own) {
        struct sim_own *own = h->own;
        h->own = own->next;
        free(own->config.guests);
        free(own);
    }
}

/* What has queued up is read in one go; then the newest of what is not queued. */
void sim_daemon_drain(struct sim_world *w, struct sim_host *h)
{
    uint32_t life = h->daemon_life;
    h->stuck_at = w->now;
    while (can_run(h) && !w->stop && h->daemon_life == life && h->headdq < h->ndq) {
        struct sim_news news = h->dq[h->headdq++];
        tell(w, h, &news);
    }
    if (!can_run(h) || w->stop)
        return;
    h->headdq = h->ndq = 0;
    sim_keeper_news(w, h, 1000);
    sim_inventory_soon(w, h);
    sim_daemon_tick(w, h);
}

void sim_daemon_tick(struct sim_world *w, struct sim_host *h)
{
    h->tick_at = 0;
    if (can_run(h))
        step(w, h, &(struct ha_event){.type = HA_EV_TICK, .now = sim_clock(w, h)});
}

void sim_daemon_kstate(struct sim_world *w, struct sim_host *h)
{
    struct ha_event e = {.type = HA_EV_KEEPER};
    struct ha_peer_beat peers[HA_HOSTS_MAX];
    h->kstate_pending = false;
    if (!can_run(h))
        return;
    e.now = sim_clock(w, h);
    if (h->told_keeper &&
        h->told_keeper != h->keeper_life) { /* the connection to the old one ended */
        uint32_t life = h->daemon_life;
        h->told_keeper = 0;
        step(w, h, &e);
        if (w->stop || h->daemon_life != life)
            return;
    }
    h->told_keeper = h->keeper ? h->keeper_life : 0;
    if (h->keeper)
        ha_keeper_state(&h->k, &e, peers);
    e.type = HA_EV_KEEPER;
    e.now = sim_clock(w, h);
    e.u.keeper.connected = h->keeper;
    step(w, h, &e);
}

static size_t list_copies(struct sim_world *w, const struct sim_host *h, struct ha_copy *ret_copies)
{
    size_t n = 0;
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
        const struct sim_copy *c = &h->copies[k];
        if (!c->id || (!c->inc && h->unregistered[c->guest]))
            continue; /* what carries no tag of ours is known by the configuration only */
        struct ha_copy *to = &ret_copies[n++];
        *to = (struct ha_copy){.inc = c->inc,
                               .mig = c->mig,
                               .state = c->state,
                               .worker = sim_work_of(h, c->guest),
                               .backends = c->backends};
        memcpy(to->guest, w->guests[c->guest].name, HA_NAME_MAX);
    }
    return n;
}

/* The driver can tell: nothing ails it, and it has waited out the workers of an earlier daemon. A move
 * is not waited for: it may last. */
static bool can_look(struct sim_world *w, struct sim_host *h)
{
    bool known = !h->inv_unknown && !sim_chance(w, w->rates.inventory_unknown);
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
        bool move = h->works[k].what == HA_OP_SEND || h->works[k].what == HA_OP_RECEIVE;
        if (h->works[k].stage != SIM_WORK_FREE && h->works[k].daemon != h->daemon_life &&
            h->inv_wait && !move)
            known = false;
    }
    return known;
}

void sim_daemon_inventory(struct sim_world *w, struct sim_host *h)
{
    h->inv_event = false;
    if (!can_run(h))
        return;
    if (h->look.at) { /* one look at a time */
        sim_inventory_soon(w, h);
        return;
    }
    h->look.known = can_look(w, h);
    if (!h->look.known)
        sim_inventory_soon(w, h);
    else
        h->inv_wait = false;
    h->look.n = h->look.known ? list_copies(w, h, h->look.copies) : 0;
    if (w->setup->look_ms && sim_rng_chance(&w->op_rng, 600)) {
        sim_us d = sim_rng_range(&w->op_rng, SIM_MS(1), SIM_MS(w->setup->look_ms));
        h->look.at = sim_clock(w, h);
        sim_schedule(w, w->now + d, SIM_EV_LOOKED, h->i, h->daemon_life, 0);
        return;
    }
    sim_daemon_looked(w, h);
}

void sim_daemon_looked(struct sim_world *w, struct sim_host *h)
{
    ha_ms at = h->look.at;
    if (!can_run(h)) { /* read when the daemon goes on */
        sim_schedule(w, w->now + SIM_MS(50), SIM_EV_LOOKED, h->i, h->daemon_life, 0);
        return;
    }
    h->look.at = 0;
    struct ha_event e = {
        .type = HA_EV_INVENTORY,
        .now = sim_clock(w, h),
        .u.inventory = {h->look.known, h->look.copies, h->look.n,
                        h->look.known ? h->memory_kib : 0, at},
    };
    step(w, h, &e);
}

/* ----------------------------------------------------------------------------------- its life */

void sim_daemon_start(struct sim_world *w, struct sim_host *h)
{
    if (h->ha || !h->booted)
        return;
    h->daemon_life++;
    h->pid = 1000 + sim_rng_below(&w->rng, 30000);
    h->ha = ha_new(w->setup->mutant);
    assert(h->ha);
    h->stuck = h->joined = h->halted = h->kstate_pending = false;
    h->instance = 0;
    h->tick_at = 0;
    h->headdq = h->ndq = 0;
    h->inv_wait = true;
    h->look.at = 0;
    h->told_keeper = 0;
    h->daemon_since = w->now;
    h->told_ring = h->told_verdict_ring = (struct ha_ring){0};
    h->told_quorate = false;
    h->seen_head = h->seen_stable = (struct ha_key){0};
    h->max_epoch = (struct ha_epoch){0};
    memset(h->left_in, 0, sizeof(h->left_in));
    h->had_quorum = false;
    SIM_LOG(w, "%s daemon start, %zu records", h->name, h->journal.n);
    for (size_t i = 0; i < h->journal.n; i++) {
        int r = ha_restore(h->ha, h->journal.v[i].data, h->journal.v[i].len);
        if (r < 0) {
            sim_violate(w, SIM_CRASH, 0, "%s: record %zu not restored: %d", h->name, i, r);
            return;
        }
    }
    struct ha_event e = {
        .type = HA_EV_START,
        .now = sim_clock(w, h),
        .u.start = {.node = h->node,
                    .boot = h->boot,
                    .machine = h->machine,
                    .fresh_journal = sim_uuid(w),
                    .fresh_cluster = sim_uuid(w),
                    .marks = h->marks,
                    .nmarks = h->nmarks,
                    .config = h->own ? &h->own->config : w->config},
    };
    step(w, h, &e);
    for (unsigned g = 0; g < w->nguests; g++)
        if (h->files[g])
            sim_daemon_define(w, h, (int)g, false);
    sim_keeper_news(w, h, sim_delay(w, SIM_MS(1), SIM_MS(20)));
    sim_inventory_soon(w, h);
    if (h->cs)
        sim_schedule(w, w->now + sim_delay(w, SIM_MS(5), SIM_MS(200)), SIM_EV_JOIN, h->i,
                     h->daemon_life, 0);
}

void sim_daemon_join(struct sim_world *w, struct sim_host *h)
{
    if (!h->cs || h->instance || !can_run(h)) {
        if (h->cs && !h->instance)
            sim_schedule(w, w->now + SIM_MS(200), SIM_EV_JOIN, h->i, h->daemon_life, 0);
        return;
    }
    h->instance = sim_rng_next(&w->rng) | 1;
    sim_net_send(w, h, SIM_ENTRY_JOIN, NULL, 0);
}

void sim_daemon_kill(struct sim_world *w, struct sim_host *h, bool host_died)
{
    if (!h->ha)
        return;
    SIM_LOG(w, "%s daemon gone", h->name);
    if (h->instance && !host_died)
        sim_net_send(w, h, SIM_ENTRY_LEAVE, NULL, 0);
    h->ha = ha_free(h->ha);
    h->daemon_life++;
    h->joined = h->stuck = h->kstate_pending = false;
    h->instance = 0;
    h->headdq = h->ndq = 0;
    sim_journal_crash(w, h);
    if (!host_died)
        sim_work_orphan(w, h);
}

void sim_daemon_stuck(struct sim_world *w, struct sim_host *h, bool stuck)
{
    if (!h->ha || h->stuck == stuck)
        return;
    SIM_LOG(w, "%s daemon %s", h->name, stuck ? "stuck" : "unstuck");
    h->stuck = stuck;
    if (!stuck)
        sim_daemon_drain(w, h);
}

void sim_daemon_command(struct sim_world *w, struct sim_host *h, enum ha_command command,
                        const char *guest, const char *host, const char *text)
{
    struct ha_request *r = sim_alloc(w, sizeof(*r));
    *r = (struct ha_request){.client = (uint64_t)command << 32 | ++w->serial, .command = command};
    strncpy(r->guest, guest, sizeof(r->guest) - 1);
    strncpy(r->host, host, sizeof(r->host) - 1);
    strncpy(r->text, text, sizeof(r->text) - 1);
    if (command == HA_CMD_CONFIG) /* `text` of the file that is here, into one of its own */
        snprintf(r->text, sizeof(r->text), "%s %016llx %032llx", text,
                 (unsigned long long)(h->own ? h->own->config.hash : w->config->hash),
                 (unsigned long long)++w->config_files);
    strncpy(r->who, "root", sizeof(r->who) - 1);
    SIM_LOG(w, "%s command %d %s %s %s (client %llu)", h->name, (int)command, guest, host, text,
            (unsigned long long)r->client);
    int g = sim_guest_index(w, guest);
    if (g >= 0)
        w->guests[g].touched = w->now;
    int t = -1;
    for (unsigned i = 0; i < w->nhosts; i++)
        if (strcmp(w->hosts[i].name, host) == 0)
            t = (int)i;
    if (t >= 0 && (command == HA_CMD_FENCE_CONFIRM || command == HA_CMD_HOST_REPLACE))
        w->confirmed |= 1u << t;
    sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_CLIENT, .request = r});
}
