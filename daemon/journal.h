/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The durable journal: records in order, each durable before it is acknowledged, written by a
 * thread of its own so that a hung disk never stops the loop.
 *
 * On disk: a head, then frames. One frame holds the records of one write+fsync, and no frame is
 * written before the last one is durable. So a bad frame at the end is a torn write and goes; a bad
 * frame with a good one after it is damage, and nobody may guess what it said. */
#ifndef XVM_JOURNAL_H
#define XVM_JOURNAL_H

#include <systemd/sd-event.h>

#include "../libha/types.h"

struct xvm_journal;

struct xvm_journal_sink {
    /* Everything up to seq is durable. */
    void (*durable)(void *user, uint64_t seq);
    /* A write failed: from its record on nothing is durable until a rewrite succeeds. `text` is why.
     * Said for each write that fails. */
    void (*failed)(void *user, const char *text);
};

/* Called for each record found, oldest first. A negative errno ends the reading. */
typedef int (*xvm_journal_record)(void *user, const void *record, size_t len);

/* Opens (or founds) the journal in folder `dir`, locks it, reads it. -EBUSY: another daemon works
 * here; -EUCLEAN: damaged; both with a text for the operator. */
int xvm_journal_open(const char *dir, xvm_journal_record record, void *user,
                     struct xvm_journal **ret_journal, struct ha_error *ret_error);
/* Starts the writer; from now on the sink is called from the loop. */
int xvm_journal_start(struct xvm_journal *journal, sd_event *loop,
                      const struct xvm_journal_sink *sink, void *user);
/* Queues a record (copied). 0 or -ENOMEM. */
int xvm_journal_append(struct xvm_journal *journal, uint64_t seq, const void *data, size_t len);
/* Queues the replacement of all records by those in data (each: u32 length LE, bytes). It goes to a
 * file of its own that then takes the journal's place, so it also mends one that failed. */
int xvm_journal_rewrite(struct xvm_journal *journal, uint64_t seq, const void *data, size_t len);

#endif
