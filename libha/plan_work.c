/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The planner's table: guests are put on hosts and taken off again; what is free and how rules
 * stand is kept up with every step. */
#include "plan_work.h"

#include <stdlib.h>

enum { TRAIL_MIN = 1024, RANDOM_START = 0x2545f491 };

static size_t members(const struct ha_plan_instance *in)
{
    size_t n = 0;
    for (size_t r = 0; r < in->nrules; r++)
        n += in->rules[r].nguests;
    return n;
}

/* Cuts `bytes` off the front of *memory, or only counts them. */
static void *cut(char **memory, size_t *used, size_t bytes)
{
    void *at = *memory ? *memory + *used : NULL;
    *used += (bytes + 15) & ~(size_t)15;
    return at;
}

static size_t lay_out(struct plan_work *w, const struct ha_plan_instance *in, char *memory)
{
    size_t ng = in->nguests + 1, nr = in->nrules + 1, used = 0;
    w->trail_size = 4 * ng + TRAIL_MIN;
    w->mem = cut(&memory, &used, ng * sizeof *w->mem);
    w->cpu = cut(&memory, &used, ng * sizeof *w->cpu);
    w->may = cut(&memory, &used, ng * sizeof *w->may);
    w->base = cut(&memory, &used, ng * sizeof *w->base);
    w->keys = cut(&memory, &used, 2 * ng * sizeof *w->keys);
    w->cls = cut(&memory, &used, ng * sizeof *w->cls);
    w->next = cut(&memory, &used, ng * sizeof *w->next);
    w->prev = cut(&memory, &used, ng * sizeof *w->prev);
    w->penalty = cut(&memory, &used, ng * sizeof *w->penalty);
    w->order = cut(&memory, &used, ng * sizeof *w->order);
    w->pool = cut(&memory, &used, ng * sizeof *w->pool);
    w->list = cut(&memory, &used, ng * sizeof *w->list);
    w->last_action = cut(&memory, &used, ng * sizeof *w->last_action);
    w->prev_action = cut(&memory, &used, ha_pw_actions_max(in) * sizeof *w->prev_action);
    w->in_pool = cut(&memory, &used, ng);
    w->todo = cut(&memory, &used, ng);
    w->nclass_placed = cut(&memory, &used, ng * sizeof *w->nclass_placed);
    w->rule_at = cut(&memory, &used, (ng + 1) * sizeof *w->rule_at);
    w->rule_of = cut(&memory, &used, (members(in) + 1) * sizeof *w->rule_of);
    w->domain = cut(&memory, &used, nr * sizeof *w->domain);
    w->count = cut(&memory, &used, nr * sizeof *w->count);
    w->placed = cut(&memory, &used, nr * sizeof *w->placed);
    w->trail = cut(&memory, &used, w->trail_size * sizeof *w->trail);
    w->from = cut(&memory, &used, ng * sizeof *w->from);
    w->at = cut(&memory, &used, ng * sizeof *w->at);
    w->flags = cut(&memory, &used, ng);
    w->first = cut(&memory, &used, ng * sizeof *w->first);
    w->best = cut(&memory, &used, ng * sizeof *w->best);
    w->save = cut(&memory, &used, ng * sizeof *w->save);
    return used;
}

size_t ha_pw_bytes(const struct ha_plan_instance *in)
{
    struct plan_work none;
    return lay_out(&none, in, NULL);
}

static int key_cmp(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

void ha_pw_sort(struct plan_work *w, uint32_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t g = order[i];
        w->keys[2 * i] = ((uint64_t)(UINT32_MAX - w->cls[g]) << 32) | 0;
        w->keys[2 * i + 1] = ((uint64_t)g) | ((uint64_t)(INT32_MAX - (w->mem[g] >> 10)) << 32);
    }
    qsort(w->keys, n, 2 * sizeof *w->keys, key_cmp);
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)w->keys[2 * i + 1];
}

/* The rank of each priority: cls, nclasses. */
static void init_classes(struct plan_work *w)
{
    uint32_t rank = 0;
    for (uint32_t g = 0; g < w->ng; g++) {
        w->keys[2 * g] = (uint64_t)((int64_t)w->in->guests[g].priority - INT32_MIN);
        w->keys[2 * g + 1] = g;
    }
    qsort(w->keys, w->ng, 2 * sizeof *w->keys, key_cmp);
    for (uint32_t i = 0; i < w->ng; i++) {
        if (i && w->keys[2 * i] != w->keys[2 * i - 2])
            rank++;
        w->cls[w->keys[2 * i + 1]] = rank;
    }
    w->nclasses = w->ng ? rank + 1 : 0;
}

static void init_rules(struct plan_work *w)
{
    for (uint32_t r = 0; r < w->nr; r++) {
        const struct ha_plan_rule *rule = &w->in->rules[r];
        for (uint32_t h = 0; h < w->nh; h++)
            w->domain[r][h] = rule->domain ? rule->domain[h] : (uint8_t)h;
        for (size_t i = 0; i < rule->nguests; i++)
            w->rule_at[rule->guests[i] + 1]++;
    }
    for (uint32_t g = 0; g < w->ng; g++)
        w->rule_at[g + 1] += w->rule_at[g];
    /* Filled from the back, with rule_at moved to the end first; then it is right again. */
    memcpy(w->order, w->rule_at, w->ng * sizeof *w->order);
    for (uint32_t r = 0; r < w->nr; r++)
        for (size_t i = 0; i < w->in->rules[r].nguests; i++)
            w->rule_of[w->order[w->in->rules[r].guests[i]]++] = r;
}

static uint64_t base_hosts(const struct plan_work *w, uint32_t g)
{
    const struct ha_plan_guest *guest = &w->in->guests[g];
    uint64_t may = w->up & guest->allowed;
    for (size_t i = 0; i < guest->nneeds; i++)
        may &= w->in->labels[guest->needs[i]].hosts;
    for (uint32_t h = 0; h < w->nh; h++)
        if (w->mem[g] > w->cap[h] || w->cpu[g] > w->cpu_cap[h])
            may &= ~(UINT64_C(1) << h);
    return may;
}

static void init_hosts(struct plan_work *w)
{
    for (uint32_t h = 0; h < w->nh; h++) {
        const struct ha_plan_host *host = &w->in->hosts[h];
        w->cap[h] = (int64_t)host->memory_kib;
        w->cpu_cap[h] = w->in->vcpus_per_cpu ? (int64_t)host->cpus * (int64_t)w->in->vcpus_per_cpu
                                             : INT64_MAX / 2;
        if (host->state == HA_PLAN_UP)
            w->up |= UINT64_C(1) << h;
    }
}

void ha_pw_init(struct plan_work *w, const struct ha_plan_instance *in, void *memory)
{
    memset(w, 0, sizeof *w);
    lay_out(w, in, memory);
    w->in = in;
    w->nh = (uint32_t)in->nhosts;
    w->ng = (uint32_t)in->nguests;
    w->nr = (uint32_t)in->nrules;
    w->random = RANDOM_START;
    init_hosts(w);
    init_classes(w);
    init_rules(w);
    for (uint32_t g = 0; g < w->ng; g++) {
        const struct ha_plan_guest *guest = &in->guests[g];
        w->mem[g] = (int64_t)guest->memory_kib;
        w->cpu[g] = guest->vcpus;
        w->base[g] = base_hosts(w, g);
        w->from[g] = guest->on >= 0 && in->hosts[guest->on].state != HA_PLAN_DOWN
                         ? (int16_t)guest->on
                         : NOWHERE;
        w->flags[g] = guest->run ? PW_WANT : 0;
        w->at[g] = NOWHERE;
    }
    ha_pw_clear(w);
}

void ha_pw_clear(struct plan_work *w)
{
    w->room_all = 0;
    for (uint32_t h = 0; h < w->nh; h++) {
        w->head[h] = NOWHERE;
        w->room[h] = w->cap[h];
        w->cpu_room[h] = w->cpu_cap[h];
        if (w->up >> h & 1)
            w->room_all += w->cap[h];
    }
    for (uint32_t g = 0; g < w->ng; g++)
        w->at[g] = NOWHERE;
    memset(w->count, 0, w->nr * sizeof *w->count);
    memset(w->placed, 0, w->nr * sizeof *w->placed);
    memset(w->nclass_placed, 0, w->ng * sizeof *w->nclass_placed);
}

static void note(struct plan_work *w, uint32_t g)
{
    if (!w->trailing)
        return;
    assert(w->ntrail < w->trail_size);
    w->trail[w->ntrail++] = (struct pw_change){g, w->at[g]};
}

static void put(struct plan_work *w, uint32_t g, int h)
{
    w->at[g] = (int16_t)h;
    w->room[h] -= w->mem[g];
    w->cpu_room[h] -= w->cpu[g];
    if (w->up >> h & 1)
        w->room_all -= w->mem[g];
    w->nclass_placed[w->cls[g]]++;
    w->prev[g] = NOWHERE;
    w->next[g] = w->head[h];
    if (w->head[h] >= 0)
        w->prev[w->head[h]] = (int32_t)g;
    w->head[h] = (int32_t)g;
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i];
        w->count[r][w->domain[r][h]]++;
        w->placed[r]++;
    }
}

static void take(struct plan_work *w, uint32_t g)
{
    int h = w->at[g];
    w->at[g] = NOWHERE;
    w->room[h] += w->mem[g];
    w->cpu_room[h] += w->cpu[g];
    if (w->up >> h & 1)
        w->room_all += w->mem[g];
    w->nclass_placed[w->cls[g]]--;
    if (w->prev[g] >= 0)
        w->next[w->prev[g]] = w->next[g];
    else
        w->head[h] = w->next[g];
    if (w->next[g] >= 0)
        w->prev[w->next[g]] = w->prev[g];
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i];
        w->count[r][w->domain[r][h]]--;
        w->placed[r]--;
    }
}

void ha_pw_put(struct plan_work *w, uint32_t g, int h)
{
    assert(w->at[g] == NOWHERE && h >= 0);
    note(w, g);
    put(w, g, h);
}

void ha_pw_take(struct plan_work *w, uint32_t g)
{
    assert(w->at[g] != NOWHERE);
    note(w, g);
    take(w, g);
}

void ha_pw_rollback(struct plan_work *w, size_t mark)
{
    while (w->ntrail > mark) {
        struct pw_change *c = &w->trail[--w->ntrail];
        if (w->at[c->guest] != NOWHERE)
            take(w, c->guest);
        if (c->was != NOWHERE)
            put(w, c->guest, c->was);
    }
}

bool ha_pw_rules_ok(const struct plan_work *w, uint32_t g, int h)
{
    int self = w->at[g];
    for (uint32_t i = w->rule_at[g]; i < w->rule_at[g + 1]; i++) {
        uint32_t r = w->rule_of[i];
        uint8_t d = w->domain[r][h];
        if (!ha_pw_hard(w, r))
            continue;
        unsigned here = w->count[r][d], all = w->placed[r];
        if (self != NOWHERE) {
            all--;
            if (w->domain[r][self] == d)
                here--;
        }
        if (w->in->rules[r].kind == HA_PLAN_APART ? here > 0 : here < all)
            return false;
    }
    return true;
}

bool ha_pw_has_room(struct plan_work *w, uint32_t g, int h)
{
    w->steps++;
    return w->room[h] >= w->mem[g] && w->cpu_room[h] >= w->cpu[g] && ha_pw_rules_ok(w, g, h);
}

bool ha_pw_fits(struct plan_work *w, uint32_t g, int h)
{
    return (w->may[g] >> h & 1) && ha_pw_has_room(w, g, h);
}

void ha_pw_save(const struct plan_work *w, int16_t *ret_places)
{
    memcpy(ret_places, w->at, w->ng * sizeof *ret_places);
}

void ha_pw_restore(struct plan_work *w, const int16_t *places)
{
    for (uint32_t g = 0; g < w->ng; g++)
        if (w->at[g] != NOWHERE && w->at[g] != places[g])
            ha_pw_take(w, g);
    for (uint32_t g = 0; g < w->ng; g++)
        if (w->at[g] != places[g])
            ha_pw_put(w, g, places[g]);
}

/* xorshift64: variety for the search, the same each time. */
uint32_t ha_pw_random(struct plan_work *w, uint32_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random >> 16) % below);
}
