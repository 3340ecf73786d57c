/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fence devices: they work, fail, hang, come late, lose their answer, or lie. A device switches off
 * whatever life of the host it finds. The agent is a process of the host that launched it. */
#include "world.h"

#include <assert.h>

#include "check.h"

static struct sim_fence *find(struct sim_world *w, uint64_t a)
{
    struct sim_fence *f = &w->fences[a >> 32];
    return f->used && f->serial == (uint32_t)a ? f : NULL;
}

static void later(struct sim_world *w, struct sim_fence *f, enum sim_event_type type, sim_us delay)
{
    uint64_t a = (uint64_t)(f - w->fences) << 32 | f->serial;
    f->coming |= type == SIM_EV_FENCE_EFFECT;
    sim_schedule(w, w->now + delay, type, f->by, 0, a);
}

void sim_fence_start(struct sim_world *w, struct sim_host *h, const struct ha_action *a)
{
    struct sim_fence *f = NULL;
    for (unsigned k = 0; k < SIM_FENCES_MAX && !f; k++)
        if (!w->fences[k].used)
            f = &w->fences[k];
    assert(f);
    int target = sim_host_index(w, a->u.fence.node);
    if (target < 0 || a->u.fence.level >= w->config->hosts[target].nlevels ||
        w->config->hosts[target].levels[a->u.fence.level].kind == HA_FENCE_SELF) {
        sim_violate(w, SIM_CRASH, 0, "%s fences node %u at level %u: there is no such device",
                    h->name, a->u.fence.node, a->u.fence.level);
        return;
    }
    *f = (struct sim_fence){
        .used = true,
        .serial = ++w->serial,
        .daemon = h->daemon_life,
        .id = a->u.fence.id,
        .by = h->i,
        .target = (uint8_t)target,
        .boot = a->u.fence.boot,
        .loss = a->u.fence.loss,
        .level = a->u.fence.level,
        .result = HA_RESULT_UNKNOWN,
        .pill = w->config->hosts[target].levels[a->u.fence.level].kind == HA_FENCE_DISK,
        .wait_ms = a->u.fence.wait_ms,
        .by_life = h->life,
    };
    sim_mix(w, f->id << 8 | f->target);
    SIM_LOG(w, "%s fence %s level %u requested", h->name, w->hosts[target].name, f->level);
    check_fence_requested(w, h, f);
    later(w, f, SIM_EV_FENCE_LAUNCH,
          SIM_MS(w->config->hosts[target].levels[f->level].delay_ms) + 500);
}

static void fail_now(struct sim_world *w, struct sim_fence *f)
{
    f->result = HA_RESULT_FAILED;
    later(w, f, SIM_EV_FENCE_RESULT, SIM_MS(1));
}

void sim_fence_cancel(struct sim_world *w, struct sim_host *h, uint64_t id, bool begun)
{
    for (unsigned k = 0; k < SIM_FENCES_MAX; k++) {
        struct sim_fence *f = &w->fences[k];
        if (f->used && f->by == h->i && f->daemon == h->daemon_life && f->id == id &&
            !f->cancelled && (begun || !f->launched)) {
            SIM_LOG(w, "%s fence %s cancelled", h->name, w->hosts[f->target].name);
            f->cancelled = true;
            if (!f->launched)
                fail_now(w, f);
        }
    }
}

static enum sim_device_mode roll(struct sim_world *w, const struct sim_fence *f)
{
    enum sim_device_mode mode = w->devices[f->target][f->level].mode;
    if (mode != SIM_DEV_OK || w->setup->calm || w->healing)
        return mode;
    const struct sim_rates *r = &w->rates;
    uint32_t x = sim_rng_below(&w->op_rng, 1000);
    if (x < r->fence_fail)
        return SIM_DEV_FAIL;
    if ((x -= r->fence_fail) < r->fence_late)
        return SIM_DEV_LATE;
    if ((x -= r->fence_late) < r->fence_hang)
        return SIM_DEV_HANG;
    x -= r->fence_hang;
    return x < r->fence_lost ? SIM_DEV_LOST : SIM_DEV_OK;
}

/* The agent's own clock; it writes at once, and the answer comes when the pill has had its time. */
static void launch_pill(struct sim_world *w, struct sim_fence *f, enum sim_device_mode mode)
{
    sim_us d = sim_delay(w, SIM_MS(5), SIM_MS(1500)), give_up = SIM_MS(8000);
    f->result = mode == SIM_DEV_FAIL ? HA_RESULT_FAILED : HA_RESULT_UNKNOWN;
    switch (mode) {
    case SIM_DEV_SLOW:
    case SIM_DEV_OK:
    case SIM_DEV_LIE: /* a disk that forgets what it has said to be written: found out by reading */
        later(w, f, SIM_EV_FENCE_EFFECT, d);
        f->result = HA_RESULT_OK;
        return;
    case SIM_DEV_FAIL:
    case SIM_DEV_HANG:
        later(w, f, SIM_EV_FENCE_RESULT, mode == SIM_DEV_FAIL ? d : give_up);
        return;
    case SIM_DEV_LATE: /* the write is on its way, and nobody waits for it any more */
        later(w, f, SIM_EV_FENCE_RESULT, give_up);
        later(w, f, SIM_EV_FENCE_EFFECT, give_up + sim_delay(w, SIM_MS(1000), SIM_MS(40000)));
        return;
    case SIM_DEV_LOST:
        later(w, f, SIM_EV_FENCE_EFFECT, d);
        later(w, f, SIM_EV_FENCE_RESULT, give_up);
        return;
    }
}

static void effect_pill(struct sim_world *w, struct sim_fence *f)
{
    const struct sim_host *by = &w->hosts[f->by];
    bool waited = f->result == HA_RESULT_OK, there = by->on || sim_chance(w, 500);
    f->effect = there && sim_pill_write(w, f);
    if (f->effect && w->devices[f->target][f->level].mode == SIM_DEV_LIE)
        w->pills[f->target][f->by] = (struct sim_pill){0};
    if (!waited)
        return;
    if (!f->effect)
        f->result = HA_RESULT_FAILED;
    later(w, f, SIM_EV_FENCE_RESULT,
          f->effect ? sim_when(w, by, sim_clock(w, by) + f->wait_ms) - w->now + SIM_MS(1) : 1000);
}

static void launch(struct sim_world *w, struct sim_fence *f)
{
    const struct sim_host *by = &w->hosts[f->by];
    if (!by->ha || by->daemon_life != f->daemon) {
        f->used = false; /* the daemon died during the level's delay */
        return;
    }
    if (f->cancelled) {
        if (f->launched)
            fail_now(w, f);
        return;
    }
    f->launched = true;
    enum sim_device_mode mode = roll(w, f);
    sim_us d = sim_delay(w, SIM_MS(300), SIM_MS(3000)), give_up = SIM_MS(8000);
    SIM_LOG(w, "%s fence %s level %u launched", by->name, w->hosts[f->target].name, f->level);
    check_fence_launched(w, &w->hosts[f->by], f);
    if (f->pill) {
        launch_pill(w, f, mode);
        return;
    }
    switch (mode) {
    case SIM_DEV_SLOW:
        d = SIM_MS(w->devices[f->target][f->level].delay_ms);
        /* fall through */
    case SIM_DEV_OK:
        later(w, f, SIM_EV_FENCE_EFFECT, d);
        later(w, f, SIM_EV_FENCE_RESULT, d + sim_delay(w, SIM_MS(50), SIM_MS(800)));
        f->result = HA_RESULT_OK;
        break;
    case SIM_DEV_FAIL:
        if (!f->again) {
            f->again = true;
            later(w, f, SIM_EV_FENCE_LAUNCH, d + SIM_MS(1000));
            break;
        }
        later(w, f, SIM_EV_FENCE_RESULT, d);
        f->result = HA_RESULT_FAILED;
        break;
    case SIM_DEV_HANG:
        later(w, f, SIM_EV_FENCE_RESULT, give_up);
        break;
    case SIM_DEV_LATE:
        later(w, f, SIM_EV_FENCE_RESULT, d);
        later(w, f, SIM_EV_FENCE_EFFECT, d + sim_delay(w, SIM_MS(3000), SIM_MS(40000)));
        break;
    case SIM_DEV_LOST:
        later(w, f, SIM_EV_FENCE_EFFECT, d);
        later(w, f, SIM_EV_FENCE_RESULT, give_up);
        break;
    case SIM_DEV_LIE:
        w->lied = true;
        later(w, f, SIM_EV_FENCE_RESULT, d);
        f->result = HA_RESULT_OK;
        break;
    }
}

static void effect(struct sim_world *w, struct sim_fence *f)
{
    struct sim_host *t = &w->hosts[f->target];
    if (f->effect)
        return;
    if (f->pill) {
        effect_pill(w, f);
        return;
    }
    f->effect = true;
    /* An agent whose host died in between may not have got through. */
    if (!w->hosts[f->by].on && sim_chance(w, 500)) {
        f->result = HA_RESULT_UNKNOWN;
        return;
    }
    check_fence_effect(w, t, f);
    bool was_on = t->on;
    sim_power_off(w, t, "fenced");
    t->fenced_off |= was_on;
    if (was_on && !t->stay_off)
        sim_schedule(w, w->now + sim_delay(w, SIM_MS(4000), SIM_MS(25000)), SIM_EV_POWER_ON, t->i,
                     t->life, 0);
}

static void result(struct sim_world *w, struct sim_fence *f)
{
    struct sim_host *by = &w->hosts[f->by];
    static const char *const words[] = {"", "ok", "failed", "unknown"};
    if (by->hung) {
        later(w, f, SIM_EV_FENCE_RESULT, SIM_MS(100));
        return;
    }
    /* it stays on the disk: a host that lived on, empty, must not get its lease back from the disk
     */
    if (f->pill && f->result == HA_RESULT_OK &&
        (!by->on || by->life != f->by_life || !sim_pill_there(w, f)))
        f->result = HA_RESULT_UNKNOWN;
    SIM_LOG(w, "%s fence %s level %u %s", by->name, w->hosts[f->target].name, f->level,
            words[f->result]);
    if (f->result == HA_RESULT_OK)
        check_note_ok(w, f);
    else
        w->device_trouble = true;
    if (by->ha && by->daemon_life == f->daemon)
        sim_daemon_news(
            w, by,
            &(struct sim_news){.type = HA_EV_FENCE,
                               .id = f->id,
                               .result = f->result,
                               .text = f->result == HA_RESULT_OK ? NULL : "device trouble"});
    f->result = 0;
}

void sim_fence_event(struct sim_world *w, struct sim_host *h, const struct sim_event *event)
{
    struct sim_fence *f = find(w, event->a);
    (void)h;
    if (!f)
        return;
    switch (event->type) {
    case SIM_EV_FENCE_LAUNCH:
        launch(w, f);
        break;
    case SIM_EV_FENCE_EFFECT:
        f->coming = false;
        effect(w, f);
        if (!f->result)
            f->used = false; /* a late one: reported long ago */
        break;
    case SIM_EV_FENCE_RESULT:
        if (w->hosts[f->by].hung) {
            later(w, f, SIM_EV_FENCE_RESULT, SIM_MS(100));
            break;
        }
        result(w, f);
        if (f->pill && !f->coming)
            f->used = false;
        break;
    default:
        break;
    }
}
