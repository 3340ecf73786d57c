/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The operations of a host's driver: one worker an operation, one operation a guest at a time, and
 * all the ways in which it can end. Workers outlive the daemon that started them. */
#include "world.h"

#include <assert.h>
#include <string.h>

#include "check.h"

enum { PARTNER_WAIT = 30000 };

static struct sim_work *find(struct sim_host *h, uint64_t a)
{
    struct sim_work *work = &h->works[a >> 32];
    return work->stage != SIM_WORK_FREE && work->serial == (uint32_t)a ? work : NULL;
}

static void later(struct sim_world *w, struct sim_host *h, const struct sim_work *work,
                  enum sim_event_type type, sim_us delay)
{
    uint64_t a = (uint64_t)(work - h->works) << 32 | work->serial;
    sim_schedule(w, w->now + delay, type, h->i, h->life, a);
}

static bool active(const struct sim_work *work)
{
    return work->stage != SIM_WORK_FREE && work->stage != SIM_WORK_ANSWERS;
}

bool sim_work_of(const struct sim_host *h, int guest)
{
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++)
        if (active(&h->works[k]) && h->works[k].guest == guest)
            return true;
    return false;
}

static struct sim_copy *copy_of(struct sim_host *h, const struct sim_work *work,
                                enum ha_copy_state state)
{
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
        struct sim_copy *c = &h->copies[k];
        if (c->id && c->guest == work->guest && c->state == state && !c->building &&
            (work->inc == 0 || c->inc == work->inc))
            return c;
    }
    return NULL;
}

static struct sim_work *partner(struct sim_world *w, const struct sim_host *h,
                                const struct sim_work *work);
static void abort_work(struct sim_world *w, struct sim_host *h, struct sim_work *work,
                       sim_us delay);
static void lose_peer(struct sim_world *w, struct sim_host *h, struct sim_work *work,
                      sim_us delay);

/* ------------------------------------------------------------------------------------- the end */

/* Lets waiting operations of the guest begin. */
static void next_of(struct sim_world *w, struct sim_host *h, int guest)
{
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++)
        if (h->works[k].stage == SIM_WORK_QUEUED && h->works[k].guest == guest)
            later(w, h, &h->works[k], SIM_EV_WORK_BEGIN, sim_delay(w, 100, 2000));
}

static void end(struct sim_world *w, struct sim_host *h, struct sim_work *work,
                enum ha_result result)
{
    bool moves = work->what == HA_OP_SEND || work->what == HA_OP_RECEIVE;
    struct sim_work *p = moves && result != HA_RESULT_OK ? partner(w, h, work) : NULL;
    if (p) /* its connection breaks */
        lose_peer(w, &w->hosts[work->peer], p, sim_delay(w, SIM_MS(100), SIM_MS(8000)));
    work->stage = SIM_WORK_ANSWERS;
    work->result = result;
    SIM_LOG(w, "%s op %s %s inc %llu %s", h->name, ha_op_name(work->what),
            w->guests[work->guest].name, (unsigned long long)work->inc,
            result == HA_RESULT_OK       ? "ok"
            : result == HA_RESULT_FAILED ? "failed"
                                         : "unknown");
    later(w, h, work, SIM_EV_WORK_ANSWER, sim_delay(w, 100, SIM_MS(8)));
    sim_inventory_soon(w, h);
    next_of(w, h, work->guest);
}

static void answer(struct sim_world *w, struct sim_host *h, struct sim_work *work,
                   enum ha_result result)
{
    if (work->answered)
        return;
    work->answered = true;
    if (h->ha && work->daemon == h->daemon_life)
        sim_daemon_news(w, h,
                        &(struct sim_news){
                            .type = HA_EV_GUEST_DONE,
                            .id = work->op,
                            .result = result,
                            .text = result == HA_RESULT_OK ? NULL : "simulated trouble",
                        });
    sim_inventory_soon(w, h); /* a driver looks again after each answer */
}

static void drop_copy(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    struct sim_copy *c = sim_copy_find(h, work->copy);
    if (!c)
        return;
    c->building = false;
    sim_copy_kill(w, h, c);
}

/* Ends a transfer or a build before its time. What is left behind depends on how far it was. */
static void end_aborted(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    enum ha_result result = HA_RESULT_FAILED;
    if (work->what == HA_OP_SEND && work->xfer == 2) {
        result = HA_RESULT_UNKNOWN; /* suspended, and nobody knows whether the image arrived */
    } else if (work->what == HA_OP_SEND && sim_chance(w, 150)) {
        struct sim_copy *c = copy_of(h, work, HA_COPY_RUNNING);
        result = HA_RESULT_UNKNOWN;
        if (c) { /* libxl: the guest may suspend later all the same */
            c->mig = work->mig;
            sim_schedule(w, w->now + sim_rng_range(&w->op_rng, SIM_MS(50), SIM_MS(20000)),
                         SIM_EV_LATE_SUSPEND, h->i, h->life, c->id);
        }
    }
    if (work->what == HA_OP_RECEIVE || work->what == HA_OP_CREATE) {
        drop_copy(w, h, work);
        if (sim_chance(w, 200))
            result = HA_RESULT_UNKNOWN;
    }
    end(w, h, work, result);
}

static void abort_work(struct sim_world *w, struct sim_host *h, struct sim_work *work, sim_us delay)
{
    if (work->stage != SIM_WORK_RUNS || work->aborted)
        return;
    if (work->what != HA_OP_SEND && work->what != HA_OP_RECEIVE && work->what != HA_OP_CREATE)
        return;
    if (work->what == HA_OP_CREATE && work->outcome == SIM_OUT_HANG)
        return; /* building cannot be aborted */
    work->aborted = true;
    later(w, h, work, SIM_EV_WORK_END, delay);
}

/* The other end has gone. What a source had sent may still arrive, even after the decision: an image
 * that is complete and too late. */
static void lose_peer(struct sim_world *w, struct sim_host *h, struct sim_work *work, sim_us delay)
{
    if (work->what == HA_OP_RECEIVE && work->xfer == 2 && work->stage == SIM_WORK_RUNS &&
        !work->aborted && !work->late && sim_chance(w, 300)) {
        work->late = true;
        later(w, h, work, SIM_EV_WORK_END, sim_delay(w, SIM_MS(20), SIM_MS(20000)));
        return;
    }
    if (!work->late)
        abort_work(w, h, work, delay);
}

void sim_work_peer_lost(struct sim_world *w, unsigned lost)
{
    for (unsigned i = 0; i < w->nhosts; i++)
        for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
            struct sim_work *work = &w->hosts[i].works[k];
            bool moves = work->what == HA_OP_SEND || work->what == HA_OP_RECEIVE;
            if (active(work) && moves && work->peer == lost)
                lose_peer(w, &w->hosts[i], work, sim_delay(w, SIM_MS(200), SIM_MS(5000)));
        }
}

void sim_work_off(struct sim_host *h)
{
    memset(h->works, 0, sizeof(h->works));
}

/* ------------------------------------------------------------------------------- what they do */

static void suspend_or_shut(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    struct sim_copy *c = copy_of(h, work, HA_COPY_RUNNING);
    if (!c || w->guests[work->guest].deaf || sim_chance(w, 50))
        return;
    sim_schedule(w, w->now + sim_delay(w, SIM_MS(500), SIM_MS(8000)), SIM_EV_GUEST_OBEYS, h->i,
                 h->life, c->id);
}

static bool destroy(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    bool left = false;
    for (unsigned k = 0; k < SIM_COPIES_MAX; k++) {
        struct sim_copy *c = &h->copies[k];
        if (!c->id || c->guest != work->guest || (work->inc && c->inc != work->inc))
            continue;
        sim_copy_kill(w, h, c);
        left = true;
    }
    return left;
}

void sim_work_closed(struct sim_world *w, struct sim_host *h, int guest)
{
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
        struct sim_work *work = &h->works[k];
        if (work->stage != SIM_WORK_CLOSING || work->guest != guest)
            continue;
        bool left = false;
        for (unsigned j = 0; j < SIM_COPIES_MAX; j++)
            left |= h->copies[j].id && h->copies[j].guest == guest &&
                    (work->inc == 0 || h->copies[j].inc == work->inc);
        if (!left)
            end(w, h, work, work->outcome == SIM_OUT_LOST ? HA_RESULT_UNKNOWN : HA_RESULT_OK);
    }
}

/* The effect. False: it cannot be done. */
static bool apply(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    struct sim_copy *c;
    switch (work->what) {
    case HA_OP_CREATE:
        c = sim_copy_find(h, work->copy);
        if (c)
            c->building = false;
        return c != NULL;
    case HA_OP_UNPAUSE:
        c = copy_of(h, work, HA_COPY_PAUSED);
        if (!c)
            return copy_of(h, work, HA_COPY_RUNNING) != NULL;
        sim_copy_run(w, h, c);
        return true;
    case HA_OP_RESUME:
        c = copy_of(h, work, HA_COPY_SUSPENDED);
        if (!c)
            return copy_of(h, work, HA_COPY_RUNNING) != NULL;
        sim_copy_run(w, h, c);
        return true;
    case HA_OP_TAG:
        for (unsigned k = 0; k < SIM_COPIES_MAX; k++)
            if (h->copies[k].id && h->copies[k].guest == work->guest &&
                h->copies[k].state == HA_COPY_RUNNING) {
                h->copies[k].inc = work->inc;
                return true;
            }
        return false;
    case HA_OP_SHUTDOWN:
        suspend_or_shut(w, h, work);
        return copy_of(h, work, HA_COPY_RUNNING) != NULL;
    case HA_OP_DESTROY:
    case HA_OP_SEND:
    case HA_OP_RECEIVE:
        break;
    }
    return true;
}

static void arrive_late(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    struct sim_copy *image = sim_copy_find(h, work->copy);
    if (image) {
        image->building = false;
        image->restored = true;
        image->image = work->image;
    }
    SIM_LOG(w, "%s has the image of %s, late", h->name, w->guests[work->guest].name);
    end(w, h, work, image ? HA_RESULT_OK : HA_RESULT_FAILED);
}

static void finish(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    if (work->stage != SIM_WORK_RUNS)
        return;
    if (work->late && !(work->aborted && sim_chance(w, 500))) {
        arrive_late(w, h, work);
        return;
    }
    if (work->aborted) {
        end_aborted(w, h, work);
        return;
    }
    bool effect = work->outcome == SIM_OUT_OK || work->outcome == SIM_OUT_SLOW ||
                  work->outcome == SIM_OUT_LOST ||
                  (work->outcome == SIM_OUT_HANG && sim_rng_chance(&w->op_rng, 500));
    bool sure = work->outcome == SIM_OUT_OK || work->outcome == SIM_OUT_SLOW;
    if (!effect) {
        if (work->what == HA_OP_CREATE || work->what == HA_OP_RECEIVE)
            drop_copy(w, h, work);
        end(w, h, work, work->outcome == SIM_OUT_FAIL ? HA_RESULT_FAILED : HA_RESULT_UNKNOWN);
        return;
    }
    if (work->what == HA_OP_DESTROY && destroy(w, h, work)) {
        work->stage = SIM_WORK_CLOSING;
        return;
    }
    bool done = apply(w, h, work);
    end(w, h, work, !done ? HA_RESULT_FAILED : sure ? HA_RESULT_OK : HA_RESULT_UNKNOWN);
}

/* ---------------------------------------------------------------------------------- migration */

static struct sim_work *partner(struct sim_world *w, const struct sim_host *h,
                                const struct sim_work *work)
{
    enum ha_op other = work->what == HA_OP_SEND ? HA_OP_RECEIVE : HA_OP_SEND;
    if (work->peer == SIM_NO_HOST)
        return NULL;
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
        struct sim_work *p = &w->hosts[work->peer].works[k];
        if (p->stage == SIM_WORK_RUNS && p->what == other && p->guest == work->guest &&
            p->mig == work->mig && p->peer == h->i && !p->aborted)
            return p;
    }
    return NULL;
}

/* When both ends are there the transfer begins; its steps are events of the source. */
static void try_transfer(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    struct sim_work *p = partner(w, h, work);
    if (!p || work->xfer || p->xfer || w->comp[h->i] != w->comp[work->peer])
        return;
    work->xfer = p->xfer = 1;
    struct sim_host *from = work->what == HA_OP_SEND ? h : &w->hosts[work->peer];
    sim_us d = sim_delay(w, SIM_MS(500), SIM_MS(4000));
    later(w, from, work->what == HA_OP_SEND ? work : p, SIM_EV_XFER, d);
}

static void break_transfer(struct sim_world *w, struct sim_host *h, struct sim_work *work,
                           struct sim_work *p)
{
    abort_work(w, h, work, sim_delay(w, SIM_MS(100), SIM_MS(8000)));
    if (p)
        lose_peer(w, &w->hosts[work->peer], p, sim_delay(w, SIM_MS(100), SIM_MS(8000)));
}

/* A transfer that hangs is a fault, too, and its time limit is longer than anybody waits here. */
void sim_work_heal(struct sim_world *w, struct sim_host *h)
{
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
        struct sim_work *work = &h->works[k];
        if (work->stage == SIM_WORK_RUNS && !work->aborted && work->outcome == SIM_OUT_HANG &&
            (work->what == HA_OP_SEND || work->what == HA_OP_RECEIVE))
            break_transfer(w, h, work, partner(w, h, work));
    }
}

static void transfer(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    struct sim_host *to = &w->hosts[work->peer];
    struct sim_work *p = partner(w, h, work);
    if (work->stage != SIM_WORK_RUNS || work->aborted)
        return;
    if (p && to->hung) {
        later(w, h, work, SIM_EV_XFER, SIM_MS(200));
        return;
    }
    struct sim_copy *c = copy_of(h, work, work->xfer == 1 ? HA_COPY_RUNNING : HA_COPY_SUSPENDED);
    struct sim_copy *image = p ? sim_copy_find(to, p->copy) : NULL;
    bool bad =
        work->xfer == 1 && (work->outcome == SIM_OUT_FAIL || (p && p->outcome == SIM_OUT_FAIL));
    if (!p || !c || !image || w->comp[h->i] != w->comp[to->i] || bad) {
        break_transfer(w, h, work, p);
        return;
    }
    if (work->outcome == SIM_OUT_HANG || p->outcome == SIM_OUT_HANG)
        return; /* until somebody's patience ends */
    if (work->xfer == 1) {
        c->state = HA_COPY_SUSPENDED;
        c->mig = work->mig;
        c->image = w->guests[work->guest].version;
        work->xfer = p->xfer = 2;
        p->image = c->image;
        SIM_LOG(w, "%s suspended %s for %s", h->name, w->guests[work->guest].name, to->name);
        sim_inventory_soon(w, h);
        later(w, h, work, SIM_EV_XFER, sim_delay(w, SIM_MS(50), SIM_MS(1500)));
        return;
    }
    if (work->outcome == SIM_OUT_LATE) {
        p->late = true;
        later(w, to, p, SIM_EV_WORK_END, SIM_MS(6000));
        end(w, h, work, HA_RESULT_UNKNOWN);
        return;
    }
    image->building = false;
    image->restored = true;
    image->image = c->image;
    end(w, h, work, work->outcome == SIM_OUT_LOST ? HA_RESULT_UNKNOWN : HA_RESULT_OK);
    end(w, to, p, p->outcome == SIM_OUT_LOST ? HA_RESULT_UNKNOWN : HA_RESULT_OK);
}

/* ---------------------------------------------------------------------------------- begin, stop */

static enum sim_outcome roll(struct sim_world *w, struct sim_host *h, const struct sim_work *work)
{
    if (h->forced.times && (!h->forced.what || h->forced.what == work->what) &&
        (h->forced.guest < 0 || h->forced.guest == work->guest)) {
        h->forced.times--;
        return h->forced.outcome;
    }
    if (w->setup->calm || w->healing)
        return SIM_OUT_OK;
    const struct sim_rates *r = &w->rates;
    uint32_t x = sim_rng_below(&w->op_rng, 1000);
    if (x < r->op_fail)
        return SIM_OUT_FAIL;
    if ((x -= r->op_fail) < r->op_lost && work->what == HA_OP_SEND &&
        sim_rng_chance(&w->op_rng, 500))
        return SIM_OUT_LATE;
    if (x < r->op_lost)
        return sim_rng_chance(&w->op_rng, 600) ? SIM_OUT_LOST : SIM_OUT_NOTHING;
    if ((x -= r->op_lost) < r->op_hang)
        return SIM_OUT_HANG;
    x -= r->op_hang;
    return x < r->op_slow ? SIM_OUT_SLOW : SIM_OUT_OK;
}

static sim_us duration(struct sim_world *w, const struct sim_work *work)
{
    static const sim_us lo[] = {
        [HA_OP_CREATE] = 200, [HA_OP_UNPAUSE] = 2, [HA_OP_SHUTDOWN] = 5, [HA_OP_DESTROY] = 20,
        [HA_OP_TAG] = 5,      [HA_OP_SEND] = 0,    [HA_OP_RECEIVE] = 0,  [HA_OP_RESUME] = 5};
    static const sim_us hi[] = {
        [HA_OP_CREATE] = 2000, [HA_OP_UNPAUSE] = 40, [HA_OP_SHUTDOWN] = 50, [HA_OP_DESTROY] = 300,
        [HA_OP_TAG] = 50,      [HA_OP_SEND] = 0,     [HA_OP_RECEIVE] = 0,   [HA_OP_RESUME] = 100};
    sim_us d = sim_delay(w, SIM_MS(lo[work->what]), SIM_MS(hi[work->what]));
    if (work->outcome == SIM_OUT_SLOW)
        d += sim_rng_range(&w->op_rng, SIM_MS(1000), SIM_MS(12000));
    if (work->outcome == SIM_OUT_HANG)
        d = sim_rng_range(&w->op_rng, SIM_MS(5000), SIM_MS(60000));
    return d;
}

/* One operation a guest at a time; a destroy ends what can be ended. */
static bool must_wait(struct sim_world *w, struct sim_host *h, const struct sim_work *work)
{
    bool wait = false;
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
        struct sim_work *o = &h->works[k];
        if (o == work || o->guest != work->guest ||
            (o->stage != SIM_WORK_RUNS && o->stage != SIM_WORK_CLOSING))
            continue;
        wait = true;
        if (work->what == HA_OP_DESTROY)
            abort_work(w, h, o, sim_delay(w, SIM_MS(10), SIM_MS(300)));
    }
    return wait;
}

static void begin(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    if (work->stage != SIM_WORK_QUEUED || must_wait(w, h, work))
        return;
    if (work->until && sim_clock(w, h) >= work->until) {
        if (work->copy) { /* nothing was built yet */
            struct sim_copy *c = sim_copy_find(h, work->copy);
            if (c)
                *c = (struct sim_copy){0};
        }
        end(w, h, work, HA_RESULT_FAILED);
        return;
    }
    work->stage = SIM_WORK_RUNS;
    work->outcome = roll(w, h, work);
    SIM_LOG(w, "%s op %s %s inc %llu mig %llu begin", h->name, ha_op_name(work->what),
            w->guests[work->guest].name, (unsigned long long)work->inc,
            (unsigned long long)work->mig);
    check_op_begins(w, h, work);
    if (work->what == HA_OP_SEND || work->what == HA_OP_RECEIVE) {
        later(w, h, work, SIM_EV_WORK_TIMEOUT, SIM_MS(PARTNER_WAIT)); /* nobody calls */
        try_transfer(w, h, work);
    } else
        later(w, h, work, SIM_EV_WORK_END, duration(w, work));
}

void sim_work_start(struct sim_world *w, struct sim_host *h, const struct ha_action *a)
{
    struct sim_work *work = NULL;
    for (unsigned k = 0; k < SIM_WORKS_MAX && !work; k++)
        if (h->works[k].stage == SIM_WORK_FREE)
            work = &h->works[k];
    assert(work);
    int guest = sim_guest_index(w, a->u.guest.guest);
    if (guest < 0) {
        sim_violate(w, SIM_CRASH, 0, "%s: operation on unknown guest %s", h->name,
                    a->u.guest.guest);
        return;
    }
    bool undefined = w->config->guests[guest].config_path && a->u.guest.def.b[1] == 0;
    if (a->u.guest.what == HA_OP_CREATE && undefined)
        sim_violate(w, SIM_SAFETY, 0, "%s: create of %s from no definition", h->name,
                    a->u.guest.guest);
    int peer = a->u.guest.peer ? sim_host_index(w, a->u.guest.peer) : -1;
    *work = (struct sim_work){
        .stage = SIM_WORK_QUEUED,
        .serial = ++w->serial,
        .daemon = h->daemon_life,
        .op = a->u.guest.op,
        .inc = a->u.guest.inc,
        .mig = a->u.guest.mig,
        .what = a->u.guest.what,
        .guest = guest,
        .peer = peer < 0 ? SIM_NO_HOST : (uint8_t)peer,
        .until = a->u.guest.until,
        .timeout_ms = a->u.guest.timeout_ms ? a->u.guest.timeout_ms : 60000,
    };
    if (work->what == HA_OP_CREATE || work->what == HA_OP_RECEIVE) {
        struct sim_copy *c = sim_copy_new(w, h, guest, work->inc);
        c->building = true;
        c->mig = work->mig;
        work->copy = c->id;
    }
    check_op_asked(w, h, work);
    work->deadline = w->now + SIM_MS(work->timeout_ms);
    sim_mix(w, work->op << 8 | work->what);
    sim_inventory_soon(w, h);
    later(w, h, work, SIM_EV_WORK_BEGIN, sim_delay(w, SIM_MS(1), SIM_MS(15)));
    later(w, h, work, SIM_EV_WORK_TIMEOUT, SIM_MS(work->timeout_ms));
}

void sim_work_cancel(struct sim_world *w, struct sim_host *h, uint64_t op)
{
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
        struct sim_work *work = &h->works[k];
        if (!active(work) || work->op != op || work->daemon != h->daemon_life)
            continue;
        if (work->stage == SIM_WORK_QUEUED) {
            struct sim_copy *c = sim_copy_find(h, work->copy);
            if (c)
                *c = (struct sim_copy){0};
            end(w, h, work, HA_RESULT_FAILED);
        } else {
            abort_work(w, h, work, sim_delay(w, SIM_MS(5), SIM_MS(300)));
        }
    }
}

void sim_work_cancel_old(struct sim_world *w, struct sim_host *h, const char *guest)
{
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
        struct sim_work *work = &h->works[k];
        if (active(work) && work->daemon != h->daemon_life &&
            strcmp(w->guests[work->guest].name, guest) == 0)
            abort_work(w, h, work, sim_delay(w, SIM_MS(5), SIM_MS(300)));
    }
}

/* The daemon died. Workers live on, also some that were only about to begin. */
void sim_work_orphan(struct sim_world *w, struct sim_host *h)
{
    for (unsigned k = 0; k < SIM_WORKS_MAX; k++) {
        struct sim_work *work = &h->works[k];
        if (work->stage == SIM_WORK_ANSWERS)
            work->stage = SIM_WORK_FREE;
        if (work->stage != SIM_WORK_QUEUED || sim_chance(w, 500))
            continue;
        struct sim_copy *c = sim_copy_find(h, work->copy);
        if (c)
            *c = (struct sim_copy){0};
        work->stage = SIM_WORK_FREE;
    }
}

static void time_out(struct sim_world *w, struct sim_host *h, struct sim_work *work)
{
    if (work->stage == SIM_WORK_QUEUED) {
        sim_work_cancel(w, h, work->op);
        return;
    }
    if (work->stage == SIM_WORK_ANSWERS)
        return;
    if (work->xfer && w->now < work->deadline)
        return; /* its partner came in time */
    answer(w, h, work, HA_RESULT_UNKNOWN);
    abort_work(w, h, work, sim_delay(w, SIM_MS(5), SIM_MS(300)));
}

void sim_work_event(struct sim_world *w, struct sim_host *h, const struct sim_event *event)
{
    struct sim_work *work = find(h, event->a);
    if (!work)
        return;
    if (h->hung) { /* workers are processes of dom0 */
        sim_schedule(w, w->now + SIM_MS(50), (enum sim_event_type)event->type, h->i, event->gen,
                     event->a);
        return;
    }
    switch (event->type) {
    case SIM_EV_WORK_BEGIN:
        begin(w, h, work);
        break;
    case SIM_EV_WORK_END:
        finish(w, h, work);
        break;
    case SIM_EV_WORK_TIMEOUT:
        time_out(w, h, work);
        break;
    case SIM_EV_WORK_ANSWER:
        answer(w, h, work, work->result);
        work->stage = SIM_WORK_FREE;
        break;
    case SIM_EV_XFER:
        transfer(w, h, work);
        break;
    default:
        break;
    }
}
