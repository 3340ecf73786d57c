/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A daemon's journal on a disk that can be slow, fail, lose its tail in a crash, or be wiped. */
#include "world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void push_record(struct sim_journal *j, const void *data, size_t len)
{
    if (j->n == j->size) {
        j->size = j->size ? j->size * 2 : 32;
        j->v = realloc(j->v, j->size * sizeof(*j->v));
        assert(j->v);
    }
    j->v[j->n++] = (struct sim_record){data, len};
}

static void apply(struct sim_journal *j, const struct sim_write *write)
{
    if (!write->rewrite) {
        push_record(j, write->data, write->len);
        return;
    }
    j->n = 0;
    const unsigned char *p = write->data;
    size_t left = write->len;
    while (left >= 4) {
        size_t len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
        assert(len <= left - 4);
        push_record(j, p + 4, len);
        p += 4 + len;
        left -= 4 + len;
    }
    assert(left == 0);
}

static void drop_writes(struct sim_journal *j, size_t n)
{
    memmove(j->w, j->w + n, (j->nw - n) * sizeof(*j->w));
    j->nw -= n;
}

/* One fsync covers all that was written when it began. */
static void begin(struct sim_world *w, struct sim_host *h)
{
    struct sim_journal *j = &h->journal;
    if (j->busy || j->nw == 0)
        return;
    j->busy = true;
    sim_us d = sim_delay(w, 500, SIM_MS(8)) + SIM_MS(h->journal_slow);
    sim_schedule(w, w->now + d, SIM_EV_FSYNC, h->i, h->daemon_life, j->w[j->nw - 1].seq);
    j->w[j->nw - 1].last = true;
}

void sim_journal_append(struct sim_world *w, struct sim_host *h, uint64_t seq, bool rewrite,
                        const void *data, size_t len)
{
    struct sim_journal *j = &h->journal;
    if (j->nw == j->sizew) {
        j->sizew = j->sizew ? j->sizew * 2 : 16;
        j->w = realloc(j->w, j->sizew * sizeof(*j->w));
        assert(j->w);
    }
    j->w[j->nw++] = (struct sim_write){
        .seq = seq, .rewrite = rewrite, .data = sim_dup(w, data, len), .len = len};
    begin(w, h);
}

void sim_journal_fsync(struct sim_world *w, struct sim_host *h)
{
    struct sim_journal *j = &h->journal;
    if (h->hung) { /* the disk's answer waits for dom0 */
        sim_schedule(w, w->now + SIM_MS(20), SIM_EV_FSYNC, h->i, h->daemon_life, 0);
        return;
    }
    j->busy = false;
    if (h->journal_fails) { /* until a whole journal has been written anew */
        j->nw = 0;
        j->broken = true;
        sim_daemon_news(
            w, h,
            &(struct sim_news){.type = HA_EV_JOURNAL_FAILED, .text = "no space left on device"});
        return;
    }
    size_t n = 0;
    uint64_t seq = 0;
    for (bool last = false; n < j->nw && !last; n++) {
        j->broken = j->broken && !j->w[n].rewrite;
        if (!j->broken) {
            apply(j, &j->w[n]);
            seq = j->w[n].seq;
        }
        last = j->w[n].last;
    }
    drop_writes(j, n);
    if (seq)
        sim_daemon_news(w, h, &(struct sim_news){.type = HA_EV_JOURNALED, .id = seq});
    if (h->ha)
        begin(w, h);
}

/* The writer is gone: a prefix of what was not acknowledged may have reached the disk. */
void sim_journal_crash(struct sim_world *w, struct sim_host *h)
{
    struct sim_journal *j = &h->journal;
    size_t keep = 0;
    if (j->nw && !h->journal_fails && sim_chance(w, w->rates.crash_tail))
        keep = sim_rng_below(&w->rng, (uint32_t)j->nw + 1);
    for (size_t i = 0; i < keep; i++) {
        j->broken = j->broken && !j->w[i].rewrite;
        if (!j->broken)
            apply(j, &j->w[i]);
    }
    j->nw = 0;
    j->busy = j->broken = false;
}

void sim_journal_wipe(struct sim_host *h)
{
    h->journal.n = 0;
}

void sim_journal_fail(struct sim_world *w, struct sim_host *h, bool fails)
{
    if (h->journal_fails != fails)
        SIM_LOG(w, "%s journal %s", h->name, fails ? "fails" : "works");
    h->journal_fails = fails;
}

void sim_journal_done(struct sim_host *h)
{
    free(h->journal.v);
    free(h->journal.w);
    h->journal = (struct sim_journal){0};
}
