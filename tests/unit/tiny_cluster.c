/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A few real cores on an ideal network. After each step all that its actions point to is hashed,
 * and again right before the host's next step: it must have stayed there, unchanged. */
#include "tiny_cluster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../libha/wire.h"

enum {
    SETTLE_MOST = 200000,
    KEEPER_EVERY = 500,
    STEP = 100,
    GUEST_KIB = 1024,
    HOST_KIB = 64 * 1024 * 1024
};

static void *must(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

static struct ha_uuid uuid_of(unsigned kind, unsigned node, unsigned life)
{
    return (struct ha_uuid){{(uint8_t)kind, (uint8_t)node, (uint8_t)life}};
}

/* ----------------------------------------------------------------------------- configuration */

struct ha_config *tiny_config(size_t nhosts, size_t nguests)
{
    struct ha_config *c = must(calloc(1, sizeof(*c)));

    ha_name_copy(c->cluster_name, "tiny");
    ha_timers_default((unsigned)nhosts, 3650, 4380, &c->timers);
    c->hosts = must(calloc(nhosts, sizeof(*c->hosts)));
    c->nhosts = nhosts;
    for (size_t i = 0; i < nhosts; i++) {
        ha_say(c->hosts[i].name, HA_NAME_MAX, "host%u", (unsigned)i + 1);
        c->hosts[i].node = (ha_node)i + 1;
        c->hosts[i].levels[0].kind = HA_FENCE_SELF;
        c->hosts[i].nlevels = 1;
    }
    c->guests = must(calloc(nguests + 1, sizeof(*c->guests)));
    c->nguests = nguests;
    for (size_t i = 0; i < nguests; i++) {
        struct ha_guest_config *g = &c->guests[i];

        snprintf(g->name, sizeof(g->name), "guest%04u", (unsigned)i);
        g->priority = 100;
        g->memory_kib = GUEST_KIB;
        g->vcpus = 1;
        g->enabled = true;
        g->stop_timeout_ms = 60000;
        g->restart_limit = 3;
        g->restart_window_ms = 600000;
        g->restart_delay_ms = 1000;
    }
    return c;
}

struct ha_config *tiny_config_free(struct ha_config *config)
{
    if (config == NULL)
        return NULL;
    free(config->hosts);
    free(config->guests);
    free(config);
    return NULL;
}

/* -------------------------------------------------------------------------------------- queue */

static void push(struct tiny *t, struct tiny_host *host, struct ha_event event)
{
    if (t->nitems == t->items_size) {
        t->items_size = t->items_size ? t->items_size * 2 : 64;
        t->items = must(reallocarray(t->items, t->items_size, sizeof(*t->items)));
    }
    t->items[t->nitems++] = (struct tiny_item){host, event};
}

void tiny_send(struct tiny *t, struct tiny_host *from, const void *data, size_t len)
{
    struct ha_event e = {.type = HA_EV_MESSAGE};
    uint8_t *copy = must(malloc(len + 1));

    memcpy(copy, data, len);
    e.u.message.from = (struct ha_process){from->node, from->pid};
    e.u.message.data = copy;
    e.u.message.len = len;
    push(t, NULL, e);
}

/* What this host's keeper has heard of the others. */
static size_t peers_of(const struct tiny *t, const struct tiny_host *h, struct ha_peer_beat *peers)
{
    size_t n = 0;

    for (size_t i = 0; i < t->nhosts; i++) {
        const struct tiny_host *o = &t->hosts[i];

        if (o == h || o->beat_ms == 0)
            continue;
        peers[n++] = (struct ha_peer_beat){.node = o->node,
                                           .boot = uuid_of('b', o->node, 1),
                                           .last_ms = o->beat_ms,
                                           .armed = true,
                                           .tbl = 1,
                                           .lease_ms = t->config->timers.lease,
                                           .watchdog_ms = t->config->timers.watchdog};
    }
    return n;
}

static void deliver_own(struct tiny *t, struct tiny_host *h, struct ha_event event)
{
    struct ha_peer_beat peers[TINY_HOSTS_MAX];

    if (event.type == HA_EV_INVENTORY) /* what is there now, not when it was asked for */
        event.u.inventory.ncopies = h->ncopies;
    if (event.type == HA_EV_KEEPER) {
        event.u.keeper.npeers = peers_of(t, h, peers);
        event.u.keeper.peers = peers;
    }
    if (h->core != NULL)
        tiny_step(t, h, event);
}

static void deliver(struct tiny *t, struct tiny_item item)
{
    if (item.host != NULL) {
        deliver_own(t, item.host, item.event);
        return;
    }
    for (size_t i = 0; i < t->nhosts; i++)
        if (t->hosts[i].core != NULL && t->hosts[i].joined)
            tiny_step(t, &t->hosts[i], item.event);
    free((void *)item.event.u.message.data);
}

void tiny_settle(struct tiny *t)
{
    while (t->first < t->nitems) {
        if (t->nitems > SETTLE_MOST)
            abort(); /* they talk for ever, and no time passes */
        deliver(t, t->items[t->first++]);
    }
    t->first = t->nitems = 0;
}

/* ------------------------------------------------------------------------- what a host carries out
 */

static void journal_clear(struct tiny_host *h)
{
    for (size_t i = 0; i < h->nrecords; i++)
        free(h->journal[i].data);
    h->nrecords = 0;
}

static void journal_add(struct tiny_host *h, const void *data, size_t len)
{
    uint8_t *copy = must(malloc(len + 1));

    if (h->nrecords == h->records_size) {
        h->records_size = h->records_size ? h->records_size * 2 : 64;
        h->journal = must(reallocarray(h->journal, h->records_size, sizeof(*h->journal)));
    }
    memcpy(copy, data, len);
    h->journal[h->nrecords++] = (struct tiny_record){copy, len};
}

static void journal_rewrite(struct tiny_host *h, const void *data, size_t len)
{
    struct ha_get get = {data, len, false};

    journal_clear(h);
    while (get.left > 0) {
        size_t n = ha_get_u32(&get);
        const void *p = ha_get_bytes(&get, n);

        journal_add(h, must((void *)p), n);
    }
}

static struct ha_copy *find_copy(struct tiny_host *h, const char *guest)
{
    for (size_t i = 0; i < h->ncopies; i++)
        if (strcmp(h->copies[i].guest, guest) == 0)
            return &h->copies[i];
    return NULL;
}

static void push_inventory(struct tiny *t, struct tiny_host *h)
{
    struct ha_event e = {.type = HA_EV_INVENTORY};

    e.u.inventory.known = true;
    e.u.inventory.copies = h->copies;
    e.u.inventory.ncopies = h->ncopies;
    e.u.inventory.memory_kib = HOST_KIB;
    push(t, h, e);
}

static void push_keeper(struct tiny *t, struct tiny_host *h)
{
    struct ha_event e = {.type = HA_EV_KEEPER};

    h->beat_ms = t->now;
    e.u.keeper.connected = true;
    e.u.keeper.armed = true;
    e.u.keeper.seq_applied = h->orders_seq;
    e.u.keeper.lease_until = h->joined ? t->now + t->config->timers.lease : INT64_MIN;
    push(t, h, e);
}

static void copy_remove(struct tiny_host *h, struct ha_copy *c)
{
    if (c != NULL)
        *c = h->copies[--h->ncopies];
}

static struct ha_copy *copy_new(struct tiny_host *h, const struct ha_action *a)
{
    struct ha_copy *c = find_copy(h, a->u.guest.guest);

    if (c == NULL && h->ncopies < TINY_COPIES_MAX)
        c = &h->copies[h->ncopies++];
    if (c == NULL)
        return NULL;
    *c = (struct ha_copy){.inc = a->u.guest.inc, .mig = a->u.guest.mig, .state = HA_COPY_PAUSED};
    ha_name_copy(c->guest, a->u.guest.guest);
    return c;
}

static void exited(struct tiny *t, struct tiny_host *h, struct ha_copy *c)
{
    struct ha_event e = {.type = HA_EV_GUEST_EXIT};

    for (size_t i = 0; i < t->config->nguests; i++)
        if (strcmp(t->config->guests[i].name, c->guest) == 0)
            e.u.exit.guest = t->config->guests[i].name; /* outlives the copy */
    e.u.exit.inc = c->inc;
    e.u.exit.exit = HA_EXIT_POWEROFF;
    copy_remove(h, c);
    if (e.u.exit.guest != NULL)
        push(t, h, e);
    push_inventory(t, h);
}

static void guest_op(struct tiny *t, struct tiny_host *h, const struct ha_action *a)
{
    struct ha_event e = {.type = HA_EV_GUEST_DONE};
    struct ha_copy *c = find_copy(h, a->u.guest.guest);
    enum ha_op what = a->u.guest.what;

    if (what == HA_OP_CREATE || what == HA_OP_RECEIVE)
        c = copy_new(h, a);
    e.u.done.op = a->u.guest.op;
    e.u.done.result = c != NULL || what == HA_OP_DESTROY ? HA_RESULT_OK : HA_RESULT_FAILED;
    push(t, h, e);
    if (c == NULL)
        return;
    if (what == HA_OP_UNPAUSE || what == HA_OP_RESUME) {
        c->state = HA_COPY_RUNNING;
        c->mig = 0;
    } else if (what == HA_OP_SHUTDOWN) {
        exited(t, h, c);
    } else if (what == HA_OP_DESTROY) {
        copy_remove(h, c);
    } else if (what == HA_OP_TAG) {
        c->inc = a->u.guest.inc;
    } else if (what == HA_OP_SEND) {
        c->state = HA_COPY_SUSPENDED;
        c->mig = a->u.guest.mig;
    }
}

static void push_journaled(struct tiny *t, struct tiny_host *h, uint64_t seq)
{
    struct ha_event e = {.type = HA_EV_JOURNALED};

    e.u.journaled.seq = seq;
    push(t, h, e);
}

static void carry_out(struct tiny *t, struct tiny_host *h, const struct ha_action *a)
{
    struct ha_event e = {.type = HA_EV_FENCE};

    switch (a->type) {
    case HA_ACT_SEND:
        t->longest = a->u.send.len > t->longest ? a->u.send.len : t->longest;
        if (t->tap != NULL)
            t->tap(t->context, h->node, a->u.send.data, a->u.send.len);
        if (!h->mute)
            tiny_send(t, h, a->u.send.data, a->u.send.len);
        break;
    case HA_ACT_JOURNAL:
        journal_add(h, a->u.journal.data, a->u.journal.len);
        push_journaled(t, h, a->u.journal.seq);
        break;
    case HA_ACT_REWRITE:
        journal_rewrite(h, a->u.journal.data, a->u.journal.len);
        push_journaled(t, h, a->u.journal.seq);
        break;
    case HA_ACT_KEEPER:
        h->orders_seq = a->u.keeper->seq;
        push_keeper(t, h);
        break;
    case HA_ACT_GUEST:
        guest_op(t, h, a);
        break;
    case HA_ACT_FENCE:
        e.u.fence.id = a->u.fence.id;
        e.u.fence.result = HA_RESULT_OK;
        push(t, h, e);
        break;
    case HA_ACT_REPLY:
        h->replies++;
        h->reply_code = a->u.reply.code;
        memcpy(h->reply_text, a->u.reply.text, sizeof(h->reply_text));
        break;
    case HA_ACT_REPORT:
        h->reports[a->u.report.what]++;
        break;
    case HA_ACT_DEFINITION:
    case HA_ACT_PROBE:
    case HA_ACT_CONFIG:
        break;
    case HA_ACT_INVENTORY:
        push_inventory(t, h);
        break;
    case HA_ACT_HALT:
        h->halted = true;
        break;
    case HA_ACT_MARK:
    case HA_ACT_GUEST_CANCEL:
    case HA_ACT_FENCE_CANCEL:
        break;
    }
}

/* Reads every byte that the actions point to. */
static uint64_t hash_actions(const struct ha_actions *actions)
{
    uint64_t hash = ha_hash(HA_HASH_START, actions->v, actions->n * sizeof(*actions->v));

    for (size_t i = 0; i < actions->n; i++) {
        const struct ha_action *a = &actions->v[i];

        if (a->type == HA_ACT_SEND)
            hash = ha_hash(hash, a->u.send.data, a->u.send.len);
        else if (a->type == HA_ACT_JOURNAL || a->type == HA_ACT_REWRITE)
            hash = ha_hash(hash, a->u.journal.data, a->u.journal.len);
        else if (a->type == HA_ACT_KEEPER)
            hash = ha_hash(hash, a->u.keeper, sizeof(*a->u.keeper));
    }
    return hash;
}

void tiny_step(struct tiny *t, struct tiny_host *h, struct ha_event event)
{
    event.now = t->now;
    if (hash_actions(&h->actions) != h->actions_hash)
        abort(); /* what the last actions pointed to has changed */
    if (ha_step(h->core, &event, &h->actions) != 0)
        abort();
    h->actions_hash = hash_actions(&h->actions);
    for (size_t i = 0; i < h->actions.n; i++)
        carry_out(t, h, &h->actions.v[i]);
    t->steps++;
}

/* --------------------------------------------------------------------------------- the cluster */

struct tiny *tiny_new(size_t nhosts, size_t nguests)
{
    struct tiny *t = must(calloc(1, sizeof(*t)));

    assert(nhosts <= TINY_HOSTS_MAX);
    t->now = 1000000;
    t->nhosts = nhosts;
    t->config = tiny_config(nhosts, nguests);
    for (size_t i = 0; i < nhosts; i++) {
        t->hosts[i].node = (ha_node)i + 1;
        t->hosts[i].actions_hash = HA_HASH_START;
    }
    return t;
}

struct tiny *tiny_free(struct tiny *t)
{
    if (t == NULL)
        return NULL;
    for (; t->first < t->nitems; t->first++)
        if (t->items[t->first].host == NULL)
            free((void *)t->items[t->first].event.u.message.data);
    for (size_t i = 0; i < t->nhosts; i++) {
        tiny_stop(t, (ha_node)i + 1);
        journal_clear(&t->hosts[i]);
        free(t->hosts[i].journal);
    }
    tiny_config_free(t->config);
    free(t->items);
    free(t);
    return NULL;
}

struct tiny_host *tiny_host(struct tiny *t, ha_node node)
{
    assert(node >= 1 && node <= t->nhosts);
    return &t->hosts[node - 1];
}

void tiny_start(struct tiny *t, ha_node node)
{
    struct tiny_host *h = tiny_host(t, node);
    struct ha_event e = {.type = HA_EV_START};

    tiny_settle(t);
    h->core = must(ha_new(HA_MUTANT_NONE));
    for (size_t i = 0; i < h->nrecords; i++)
        if (ha_restore(h->core, h->journal[i].data, h->journal[i].len) != 0)
            abort();
    h->life++;
    h->pid = 100 * node + h->life;
    h->instance = 0x1000000000000000ULL * node + h->life;
    h->orders_seq = 0;
    e.u.start.node = node;
    e.u.start.boot = uuid_of('b', node, 1); /* a daemon started again in the same boot */
    e.u.start.machine = uuid_of('m', node, 0);
    e.u.start.fresh_journal = uuid_of('j', node, h->life);
    e.u.start.fresh_cluster = uuid_of('c', node, h->life);
    e.u.start.config = t->config;
    tiny_step(t, h, e);
    e = (struct ha_event){.type = HA_EV_JOINED};
    e.u.joined.instance = h->instance;
    e.u.joined.pid = h->pid;
    tiny_step(t, h, e);
    push_inventory(t, h);
    push_keeper(t, h);
}

void tiny_stop(struct tiny *t, ha_node node)
{
    struct tiny_host *h = tiny_host(t, node);

    h->core = ha_free(h->core);
    ha_actions_done(&h->actions);
    h->actions_hash = HA_HASH_START;
}

void tiny_new_disk(struct tiny *t, ha_node node)
{
    journal_clear(tiny_host(t, node));
}

void tiny_ring(struct tiny *t)
{
    struct ha_process members[TINY_HOSTS_MAX], joined[TINY_HOSTS_MAX];
    struct ha_left left[TINY_HOSTS_MAX];
    ha_node nodes[TINY_HOSTS_MAX];
    size_t n = 0, njoined = 0, nleft = 0;
    struct ha_event e;

    tiny_settle(t);
    for (size_t i = 0; i < t->nhosts; i++) {
        struct tiny_host *h = &t->hosts[i];
        struct ha_process p = {h->node, h->pid};

        if (h->core != NULL) {
            members[n] = p;
            nodes[n++] = h->node;
        }
        if (h->core != NULL && !h->joined)
            joined[njoined++] = p;
        if (h->core == NULL && h->joined)
            left[nleft++] = (struct ha_left){p, HA_LEFT_NODE};
        h->joined = h->core != NULL;
    }
    t->ring += 4;
    for (size_t i = 0; i < n; i++) {
        struct tiny_host *h = tiny_host(t, nodes[i]);

        e = (struct ha_event){.type = HA_EV_GROUP};
        e.u.group.members = members;
        e.u.group.nmembers = n;
        e.u.group.left = left;
        e.u.group.nleft = nleft;
        e.u.group.joined = joined;
        e.u.group.njoined = njoined;
        tiny_step(t, h, e);
        e = (struct ha_event){.type = HA_EV_RING};
        e.u.ring.ring = (struct ha_ring){nodes[0], t->ring};
        e.u.ring.members = nodes;
        e.u.ring.nmembers = n;
        tiny_step(t, h, e);
        e = (struct ha_event){.type = HA_EV_QUORUM};
        e.u.quorum.ring = (struct ha_ring){nodes[0], t->ring};
        e.u.quorum.quorate = n > t->nhosts / 2;
        tiny_step(t, h, e);
    }
}

void tiny_run(struct tiny *t, ha_ms ms)
{
    for (ha_ms end = t->now + ms; t->now < end; t->now += STEP) {
        tiny_settle(t);
        for (size_t i = 0; i < t->nhosts; i++)
            if (t->hosts[i].core != NULL && ha_deadline(t->hosts[i].core) <= t->now)
                push(t, &t->hosts[i], (struct ha_event){.type = HA_EV_TICK});
        if (t->now < t->keepers_due)
            continue;
        t->keepers_due = t->now + KEEPER_EVERY;
        for (size_t i = 0; i < t->nhosts; i++)
            if (t->hosts[i].core != NULL)
                push_keeper(t, &t->hosts[i]);
    }
    tiny_settle(t);
}

void tiny_found(struct tiny *t)
{
    for (ha_node node = 1; node <= t->nhosts; node++)
        tiny_start(t, node);
    tiny_ring(t);
    tiny_run(t, 2000);
    tiny_command(t, 1, HA_CMD_INIT, "", "");
    tiny_run(t, 10000);
}

void tiny_command(struct tiny *t, ha_node node, enum ha_command command, const char *guest,
                  const char *host)
{
    struct tiny_host *h = tiny_host(t, node);
    struct ha_event e = {.type = HA_EV_CLIENT};
    struct ha_request r = {.client = 7, .command = command, .who = "tester"};

    ha_name_copy(r.guest, guest);
    ha_name_copy(r.host, host);
    ha_name_copy(r.text, "live");
    e.u.client = &r;
    h->reply_code = 1;
    h->reply_text[0] = '\0';
    tiny_step(t, h, e);
}

ha_node tiny_agreed(struct tiny *t)
{
    struct ha_status first = {0}, s;

    for (size_t i = 0; i < t->nhosts; i++) {
        if (t->hosts[i].core == NULL)
            continue;
        ha_status(t->hosts[i].core, t->now, &s);
        if (first.coordinator == 0)
            first = s;
        if (!s.synced || s.coordinator != first.coordinator || s.head_hash != first.head_hash ||
            s.head.i != first.head.i)
            return 0;
    }
    return first.coordinator;
}

unsigned tiny_running(const struct tiny *t, const char *guest)
{
    unsigned n = 0;

    for (size_t i = 0; i < t->nhosts; i++)
        for (size_t k = 0; k < t->hosts[i].ncopies; k++)
            n += strcmp(t->hosts[i].copies[k].guest, guest) == 0 &&
                 t->hosts[i].copies[k].state == HA_COPY_RUNNING;
    return n;
}
