/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How transfers go: told by the hosts at both ends to all, so that every host can show it. Not
 * facts: nothing is ever decided by it. */
#include "core.h"

#include <string.h>

enum { LATELY = 600000 }; /* a failure is news for that long */

void ha_transfer_event(struct ha *ha, const struct ha_transfer *t)
{
    if (ha->phase != HA_PHASE_OPEN || !ha_quorate(ha))
        return; /* nobody to tell; the next one tells it all */
    struct ha_put put = ha_msg_new(ha, HA_MSG_TRANSFER);
    ha_msg_put_transfer(&put, t);
    ha_send(ha, &put);
}

/* Place of a guest in the table: its own, a free one, or the one heard of least lately. */
static struct ha_heard_transfer *place(struct ha *ha, const char *guest)
{
    struct ha_heard_transfer *oldest = &ha->transfers[0];
    for (size_t i = 0; i < HA_TRANSFERS_MAX; i++) {
        struct ha_heard_transfer *h = &ha->transfers[i];
        if (strcmp(h->t.guest, guest) == 0)
            return h;
        if (h->serial < oldest->serial)
            oldest = h;
    }
    return oldest;
}

void ha_transfer_deliver(struct ha *ha, ha_node from, struct ha_get *get)
{
    struct ha_transfer t = {0};
    ha_msg_get_transfer(get, &t);
    if (get->failed || ha_guest_index(ha, t.guest) == UINT32_MAX || t.mig == 0)
        return;
    struct ha_heard_transfer *h = place(ha, t.guest);
    bool same = strcmp(h->t.guest, t.guest) == 0 && h->t.mig == t.mig;
    if (strcmp(h->t.guest, t.guest) == 0 && h->t.mig > t.mig)
        return; /* an earlier move's */
    if (t.failed)
        ha_report(ha, HA_REPORT_MIGRATE, HA_SEV_WARNING, from, t.guest,
                  "the move of %s failed at its %s: %s", t.guest,
                  t.target ? "target" : "source", t.text);
    /* The target knows best why it could not; the source only sees that it hung up. */
    if (same && h->t.failed && (!t.failed || h->t.target))
        return;
    h->t = t;
    h->heard = ha->now;
    h->serial = ++ha->transfer_serial;
}

const struct ha_transfer *ha_transfer_of(const struct ha *ha, const struct ha_guest_fact *g,
                                         ha_ms now)
{
    for (size_t i = 0; i < HA_TRANSFERS_MAX; i++) {
        const struct ha_heard_transfer *h = &ha->transfers[i];
        if (!h->serial || strcmp(h->t.guest, g->name) != 0)
            continue;
        bool news = h->t.failed && now < h->heard + LATELY && g->owner;
        return news || (g->mig && h->t.mig == g->mig) ? &h->t : NULL;
    }
    return NULL;
}
