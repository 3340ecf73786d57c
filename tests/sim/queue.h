/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulator's event queue: a binary heap ordered by time, then by insertion. */
#ifndef SIM_QUEUE_H
#define SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Virtual time of the world in microseconds (hosts have clocks of their own). */
typedef int64_t sim_us;

struct sim_event {
    sim_us at;
    uint64_t seq;
    uint16_t type;
    uint16_t host;
    uint32_t gen; /* life it belongs to; void when that life has ended */
    uint64_t a;
};

struct sim_queue {
    struct sim_event *v;
    size_t n, size;
    uint64_t seq;
};

void sim_queue_push(struct sim_queue *q, struct sim_event event);
/* False when empty. */
bool sim_queue_pop(struct sim_queue *q, struct sim_event *ret_event);
void sim_queue_done(struct sim_queue *q);

#endif
