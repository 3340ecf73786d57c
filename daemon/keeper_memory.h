/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper's memory across its own restarts: a small mapped file in the run folder. */
#ifndef XVM_KEEPER_MEMORY_H
#define XVM_KEEPER_MEMORY_H

#include "../libha/keeper.h"

struct xvm_keeper_slot {
    uint32_t magic, crc; /* crc of all that follows */
    uint64_t generation;
    ha_node self;
    uint32_t reserved;
    struct ha_keeper_memory memory;
};

struct xvm_keeper_file {
    struct xvm_keeper_slot *slots; /* two, written in turns: one is whole whenever we die */
    struct xvm_keeper_slot last;
};

/* 0 or a negative errno. */
int xvm_keeper_file_open(struct xvm_keeper_file *file, const char *path);
/* What an earlier life left, or NULL. Valid until the next save. */
const struct xvm_keeper_slot *xvm_keeper_file_last(const struct xvm_keeper_file *file);
/* Called after each step; a copy of some two thousand bytes. */
void xvm_keeper_file_save(struct xvm_keeper_file *file, const struct ha_keeper *k);

#endif
