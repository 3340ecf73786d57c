/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fuzzes the core: three real ones that have founded a cluster, and then an input decides what goes
 * wrong: real messages with bytes changed, garbage behind a right header, events that make no sense
 * or come in no sensible order, journals with changed records. Whatever comes: no crash, no endless
 * talk, no memory without bound, and what a core wrote it can read again. A core may halt, guests
 * may get lost: nobody promises more about a member that lies. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../libha/msg.h"
#include "../unit/tiny_cluster.h"

enum { HOSTS = 3, GUESTS = 4, KEPT = 64, ACTS_MOST = 200, COPIES = 6 };

/* The latest messages of the cluster, to be changed. */
struct world {
    struct tiny *t;
    struct ha_config *other;
    struct tiny_record kept[KEPT];
    ha_node sender[KEPT];
    size_t nkept, next;
};

static void keep(void *context, ha_node from, const void *data, size_t len)
{
    struct world *w = context;
    struct tiny_record *r = &w->kept[w->next % KEPT];

    w->sender[w->next++ % KEPT] = from;
    free(r->data);
    *r = (struct tiny_record){malloc(len), len};
    if (r->data == NULL)
        abort();
    memcpy(r->data, data, len);
    w->nkept = w->next < KEPT ? w->next : KEPT;
}

static struct tiny_host *any_host(struct world *w, struct fuzz_input *in)
{
    return &w->t->hosts[fuzz_below(in, HOSTS)];
}

/* A message to start from, mostly one of the latest. */
static size_t any_kept(const struct world *w, struct fuzz_input *in)
{
    size_t back = fuzz_below(in, 4) ? fuzz_below(in, 8) : fuzz_below(in, KEPT);

    return (w->next - 1 - back % w->nkept) % KEPT;
}

/* Mostly who really sent it. */
static struct tiny_host *any_sender(struct world *w, struct fuzz_input *in, size_t kept)
{
    return fuzz_below(in, 4) ? tiny_host(w->t, w->sender[kept]) : any_host(w, in);
}

static struct ha_uuid odd_uuid(struct fuzz_input *in)
{
    if (fuzz_below(in, 4)) /* that of a host, see tiny_start() */
        return (struct ha_uuid){{'b', (uint8_t)(1 + fuzz_below(in, HOSTS)), 1}};
    return (struct ha_uuid){{fuzz_byte(in), fuzz_byte(in), fuzz_byte(in) % 3}};
}

static void odd_name(struct world *w, struct fuzz_input *in, char *ret_name)
{
    size_t i = fuzz_below(in, GUESTS + 2);

    ha_name_copy(ret_name, i < GUESTS ? w->other->guests[i].name : i == GUESTS ? "" : "stranger");
}

/* ----------------------------------------------------------------------------------- messages */

static void act_changed_message(struct world *w, struct fuzz_input *in)
{
    size_t i = any_kept(w, in);
    const struct tiny_record *r = &w->kept[i];
    uint8_t *copy = malloc(r->len + 1);
    size_t len;

    if (copy == NULL)
        abort();
    memcpy(copy, r->data, r->len);
    len = fuzz_mutate(in, copy, r->len);
    tiny_send(w->t, any_sender(w, in, i), copy, len);
    free(copy);
}

static struct ha_msg_head head_of(const struct tiny_record *r)
{
    struct ha_get get = {r->data, r->len, false};
    struct ha_msg_head head = {0};

    (void)ha_msg_get_head(&get, &head);
    return head;
}

/* Right up to the view or epoch of a real message of any kind, garbage from there on. */
static void act_garbage_message(struct world *w, struct fuzz_input *in)
{
    size_t i = any_kept(w, in);
    const struct tiny_record *r = &w->kept[i];
    struct ha_msg_head head = head_of(r);
    struct ha_put put = {0};
    size_t same = fuzz_below(in, 30), n = fuzz_below(in, 300);

    head.kind = (enum ha_msg_kind)(1 + fuzz_below(in, HA_MSG_KNOWS + 1));
    ha_msg_put_head(&put, &head);
    if (r->len > put.n)
        ha_put_bytes(&put, r->data + put.n, same < r->len - put.n ? same : r->len - put.n);
    for (; n > 0; n--)
        ha_put_u8(&put, fuzz_byte(in));
    if (put.failed)
        abort();
    tiny_send(w->t, any_sender(w, in, i), put.v, put.n);
    ha_put_done(&put);
}

/* A fact nobody would propose, from whoever coordinates: well-formed, and nonsense. */
static void act_odd_fact(struct world *w, struct fuzz_input *in)
{
    struct ha_fact f = {.kind = (enum ha_fact_kind)(1 + fuzz_below(in, HA_FACT_COUNT - 1))};
    struct tiny_host *h = any_host(w, in);
    struct ha_put put = {0};
    struct ha_status s;
    struct ha_msg_head head = {.kind = HA_MSG_FACT};

    ha_status(w->t->hosts[0].core, w->t->now, &s);
    if (s.coordinator >= 1 && s.coordinator <= HOSTS)
        h = tiny_host(w->t, s.coordinator);
    for (size_t i = 0; i < w->nkept; i++) /* its latest instance */
        if (head_of(&w->kept[i]).instance == h->instance)
            head = head_of(&w->kept[i]);
    head.kind = HA_MSG_FACT;
    f.host = (ha_node)(fuzz_below(in, 4) ? fuzz_below(in, HOSTS + 2) : fuzz_odd_number(in));
    f.boot = odd_uuid(in);
    f.loss = (uint32_t)(fuzz_below(in, 4) ? fuzz_below(in, 3) : fuzz_odd_number(in));
    f.level = (uint32_t)fuzz_odd_number(in);
    f.guest = (uint32_t)fuzz_odd_number(in) % (fuzz_below(in, 8) ? GUESTS : UINT32_MAX);
    f.inc = fuzz_below(in, 2) ? 5 + fuzz_below(in, 8) : fuzz_odd_number(in);
    f.mig = fuzz_below(in, 2) ? 1 + fuzz_below(in, 4) : fuzz_odd_number(in);
    f.how = fuzz_byte(in);
    f.tbl = (uint32_t)fuzz_odd_number(in);
    f.enabled = f.want_run = fuzz_below(in, 2);
    odd_name(w, in, f.name);
    ha_msg_put_head(&put, &head);
    ha_put_epoch(&put, s.epoch);
    ha_put_u64(&put, s.head.i + 1);
    ha_put_u32(&put, 1);
    size_t at = put.n;
    ha_put_u32(&put, 0);
    ha_fact_encode(&put, &f);
    ha_put_patch_u32(&put, at, (uint32_t)(put.n - at - 4));
    if (put.failed)
        abort();
    tiny_send(w->t, h, put.v, put.n);
    ha_put_done(&put);
}

/* ------------------------------------------------------------------------------------- events */

static void act_group(struct world *w, struct fuzz_input *in)
{
    struct ha_process all[70], left[4];
    struct ha_left gone[4];
    struct ha_event e = {.type = HA_EV_GROUP};

    for (size_t i = 0; i < 70; i++)
        all[i] = (struct ha_process){(ha_node)i, (uint32_t)(100 * i + 1)};
    for (size_t i = 0; i < 4; i++) {
        left[i] = (struct ha_process){(ha_node)fuzz_below(in, 6), 100 * (uint32_t)i + 1};
        gone[i] = (struct ha_left){left[i], (enum ha_left_reason)fuzz_below(in, 3)};
    }
    e.u.group.members = all;
    e.u.group.nmembers = fuzz_below(in, 4) ? fuzz_below(in, 5) : 70;
    e.u.group.joined = left;
    e.u.group.njoined = fuzz_below(in, 5);
    e.u.group.left = gone;
    e.u.group.nleft = fuzz_below(in, 5);
    tiny_step(w->t, any_host(w, in), e);
}

static void act_ring(struct world *w, struct fuzz_input *in)
{
    ha_node nodes[70];
    struct ha_event e = {.type = fuzz_below(in, 2) ? HA_EV_RING : HA_EV_QUORUM};
    struct ha_ring ring = {(ha_node)fuzz_below(in, 4), fuzz_odd_number(in)};

    if (fuzz_below(in, 2))
        ring.seq = w->t->ring + fuzz_below(in, 3);
    for (size_t i = 0; i < 70; i++)
        nodes[i] = (ha_node)(i < 4 ? fuzz_below(in, 5) : i);
    if (e.type == HA_EV_RING) {
        e.u.ring.ring = ring;
        e.u.ring.members = nodes;
        e.u.ring.nmembers = fuzz_below(in, 4) ? fuzz_below(in, 5) : 70;
    } else {
        e.u.quorum.ring = ring;
        e.u.quorum.quorate = fuzz_below(in, 2);
    }
    tiny_step(w->t, any_host(w, in), e);
}

static void act_keeper(struct world *w, struct fuzz_input *in)
{
    struct ha_peer_beat peers[70] = {{0}};
    struct ha_event e = {.type = HA_EV_KEEPER};

    for (size_t i = 0; i < 70; i++)
        peers[i] = i >= 5 ? peers[i % 5]
                          : (struct ha_peer_beat){.node = (ha_node)i,
                                                  .boot = odd_uuid(in),
                                                  .last_ms = w->t->now - (ha_ms)fuzz_number(in, 2),
                                                  .armed = fuzz_below(in, 2),
                                                  .tbl = fuzz_byte(in),
                                                  .lease_ms = (ha_ms)fuzz_odd_number(in),
                                                  .watchdog_ms = (ha_ms)fuzz_odd_number(in)};
    e.u.keeper.connected = fuzz_below(in, 4) != 0;
    e.u.keeper.seq_applied = fuzz_odd_number(in);
    e.u.keeper.lease_until = fuzz_below(in, 3) ? w->t->now + (ha_ms)fuzz_number(in, 2) : INT64_MIN;
    e.u.keeper.armed = fuzz_below(in, 2);
    e.u.keeper.peers = peers;
    e.u.keeper.npeers = fuzz_below(in, 71);
    tiny_step(w->t, any_host(w, in), e);
}

static void act_inventory(struct world *w, struct fuzz_input *in)
{
    struct ha_copy copies[COPIES];
    struct ha_event e = {.type = HA_EV_INVENTORY};

    memset(copies, 0, sizeof(copies));
    for (size_t i = 0; i < COPIES; i++) {
        odd_name(w, in, copies[i].guest);
        copies[i].inc = fuzz_odd_number(in);
        copies[i].mig = fuzz_below(in, 4);
        copies[i].state = (enum ha_copy_state)(1 + fuzz_below(in, 4));
        copies[i].worker = fuzz_below(in, 4) == 0;
        copies[i].backends = fuzz_below(in, 4) == 0;
    }
    e.u.inventory.known = fuzz_below(in, 8) != 0;
    e.u.inventory.copies = copies;
    e.u.inventory.ncopies = fuzz_below(in, COPIES + 1);
    e.u.inventory.memory_kib = fuzz_odd_number(in);
    tiny_step(w->t, any_host(w, in), e);
}

static void act_ended(struct world *w, struct fuzz_input *in)
{
    struct ha_event e = {.type = HA_EV_GUEST_DONE};
    char name[HA_NAME_MAX];

    odd_name(w, in, name);
    switch (fuzz_below(in, 3)) {
    case 0:
        e.u.done.op = fuzz_below(in, 20);
        e.u.done.result = (enum ha_result)fuzz_below(in, 5);
        e.u.done.text = fuzz_below(in, 2) ? "it did what it did" : NULL;
        break;
    case 1:
        e.type = HA_EV_FENCE;
        e.u.fence.id = fuzz_below(in, 20);
        e.u.fence.result = (enum ha_result)fuzz_below(in, 5);
        break;
    default:
        e.type = HA_EV_GUEST_EXIT;
        e.u.exit.guest = name;
        e.u.exit.inc = fuzz_odd_number(in);
        e.u.exit.exit = (enum ha_exit)fuzz_below(in, 8);
        break;
    }
    tiny_step(w->t, any_host(w, in), e);
}

static void act_plain(struct world *w, struct fuzz_input *in)
{
    static const enum ha_event_type types[] = {HA_EV_TICK,           HA_EV_JOINED, HA_EV_JOURNALED,
                                               HA_EV_JOURNAL_FAILED, HA_EV_CONFIG, HA_EV_SHUTDOWN,
                                               HA_EV_DISCONNECTED};
    struct tiny_host *h = any_host(w, in);
    struct ha_event e = {.type = types[fuzz_below(in, sizeof(types) / sizeof(*types))]};

    if (e.type == HA_EV_JOINED) {
        e.u.joined.instance = 1 + fuzz_number(in, 7);
        e.u.joined.pid = (uint32_t)fuzz_number(in, 2);
    } else if (e.type == HA_EV_JOURNALED) {
        e.u.journaled.seq = fuzz_odd_number(in);
    } else if (e.type == HA_EV_CONFIG) {
        e.u.config = fuzz_below(in, 2) ? w->other : w->t->config;
    } else if (e.type == HA_EV_JOURNAL_FAILED) {
        e.u.text = fuzz_below(in, 2) ? "the disk is full" : NULL;
    }
    tiny_step(w->t, h, e);
}

static void act_command(struct world *w, struct fuzz_input *in)
{
    char guest[HA_NAME_MAX], host[HA_NAME_MAX];

    odd_name(w, in, guest);
    ha_say(host, sizeof(host), "host%u", (unsigned)fuzz_below(in, 5));
    tiny_command(w->t, any_host(w, in)->node, (enum ha_command)fuzz_below(in, 14), guest, host);
}

/* ------------------------------------------------------------------------------------ journals */

/* A core from a journal of which a record was changed: refused, or it starts and says what it is.
 */
static void act_changed_journal(struct world *w, struct fuzz_input *in)
{
    const struct tiny_host *from = any_host(w, in);
    size_t bad = from->nrecords ? (size_t)fuzz_number(in, 2) % from->nrecords : 0;
    struct ha *ha = ha_new(HA_MUTANT_NONE);
    struct ha_actions actions = {0};
    struct ha_event e = {.type = HA_EV_START, .now = w->t->now};
    struct ha_status s;
    int r = 0;

    for (size_t i = 0; i < from->nrecords && r == 0; i++) {
        size_t len = from->journal[i].len;
        uint8_t *copy = malloc(len + 1);

        if (ha == NULL || copy == NULL)
            abort();
        memcpy(copy, from->journal[i].data, len);
        if (i == bad)
            len = fuzz_mutate(in, copy, len);
        r = ha_restore(ha, copy, len);
        free(copy);
    }
    e.u.start.node = from->node;
    e.u.start.config = w->other;
    if (r == 0 && ha_step(ha, &e, &actions) != 0)
        abort();
    if (r == 0)
        ha_status(ha, w->t->now, &s);
    ha_actions_done(&actions);
    ha_free(ha);
}

static void act_restart(struct world *w, struct fuzz_input *in)
{
    struct tiny_host *h = any_host(w, in);

    tiny_stop(w->t, h->node);
    if (fuzz_below(in, 2)) {
        tiny_ring(w->t);
        tiny_run(w->t, (ha_ms)fuzz_number(in, 2));
    }
    h->mute = h->halted = false;
    tiny_start(w->t, h->node);
    tiny_ring(w->t);
}

/* --------------------------------------------------------------------------------- one input */

static void look_in(struct world *w)
{
    struct ha_host_status host;
    struct ha_guest_status guest;
    struct ha_status s;

    for (size_t i = 0; i < HOSTS; i++) {
        const struct ha *core = w->t->hosts[i].core;

        ha_status(core, w->t->now, &s);
        for (size_t k = 0; k < s.nhosts; k++)
            ha_status_host(core, w->t->now, k, &host);
        for (size_t k = 0; k < s.nguests; k++)
            ha_status_guest(core, w->t->now, k, &guest);
    }
}

/* Some clusters have fence devices, some have no majority rule. */
static void odd_config(struct ha_config *config, uint8_t how)
{
    for (size_t i = 0; i < config->nhosts && how % 3; i++) {
        config->hosts[i].levels[0].kind = HA_FENCE_DEVICE;
        config->hosts[i].levels[1].kind = how % 3 == 1 ? HA_FENCE_SELF : HA_FENCE_DEVICE;
        config->hosts[i].nlevels = 2;
    }
    if (how % 4 == 3)
        config->mode = HA_MODE_FENCE_ONLY;
}

static void act(struct world *w, struct fuzz_input *in)
{
    static void (*const acts[])(struct world *, struct fuzz_input *) = {
        act_changed_message, act_changed_message,
        act_changed_message, act_changed_message,
        act_garbage_message, act_garbage_message,
        act_odd_fact,        act_odd_fact,
        act_group,           act_ring,
        act_keeper,          act_inventory,
        act_ended,           act_plain,
        act_command,         act_changed_journal,
        act_restart,
    };
    size_t i = fuzz_below(in, sizeof(acts) / sizeof(*acts) + 4);

    if (i < sizeof(acts) / sizeof(*acts))
        acts[i](w, in);
    else if (i == sizeof(acts) / sizeof(*acts))
        tiny_ring(w->t); /* the truth again */
    else
        tiny_run(w->t, (ha_ms)(fuzz_number(in, 2) % 4000));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    struct world w = {.t = tiny_new(HOSTS, GUESTS), .other = tiny_config(HOSTS, GUESTS + 3)};

    odd_config(w.t->config, fuzz_byte(&in));
    odd_config(w.other, fuzz_byte(&in));
    w.t->tap = keep;
    w.t->context = &w;
    tiny_found(w.t);
    if (tiny_agreed(w.t) == 0)
        abort(); /* nothing has gone wrong so far */
    for (size_t i = 0; i < ACTS_MOST && in.left > 0; i++) {
        act(&w, &in);
        look_in(&w);
    }
    tiny_run(w.t, 5000);
    look_in(&w);
    tiny_free(w.t);
    tiny_config_free(w.other);
    for (size_t i = 0; i < KEPT; i++)
        free(w.kept[i].data);
    return 0;
}

size_t fuzz_make(uint64_t *seed, uint8_t *data, size_t size)
{
    return fuzz_random_bytes(seed, data, size);
}
