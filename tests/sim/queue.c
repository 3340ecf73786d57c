/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulator's event queue: a binary heap ordered by time, then by insertion. */
#include "queue.h"

#include <assert.h>
#include <stdlib.h>

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_queue_push(struct sim_queue *q, struct sim_event event)
{
    if (q->n == q->size) {
        q->size = q->size ? q->size * 2 : 256;
        q->v = realloc(q->v, q->size * sizeof(*q->v));
        assert(q->v);
    }
    event.seq = ++q->seq;
    size_t i = q->n++;
    while (i > 0) {
        size_t up = (i - 1) / 2;
        if (!before(&event, &q->v[up]))
            break;
        q->v[i] = q->v[up];
        i = up;
    }
    q->v[i] = event;
}

bool sim_queue_pop(struct sim_queue *q, struct sim_event *ret_event)
{
    if (q->n == 0)
        return false;
    *ret_event = q->v[0];
    struct sim_event last = q->v[--q->n];
    size_t i = 0;
    for (;;) {
        size_t down = 2 * i + 1;
        if (down >= q->n)
            break;
        if (down + 1 < q->n && before(&q->v[down + 1], &q->v[down]))
            down++;
        if (!before(&q->v[down], &last))
            break;
        q->v[i] = q->v[down];
        i = down;
    }
    if (q->n)
        q->v[i] = last;
    return true;
}

void sim_queue_done(struct sim_queue *q)
{
    free(q->v);
    *q = (struct sim_queue){0};
}
