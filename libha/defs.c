/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions: which one each guest is built from is a fact; the bytes themselves are the shell's, found
 * by their hash, and travel outside of the log. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

/* A definition made on this host. Kept by name: its guest may not be registered yet. */
int ha_defs_offer(struct ha *ha, const struct ha_definition *def)
{
    struct ha_offer *o = NULL;
    for (size_t i = 0; i < ha->noffers; i++)
        if (strcmp(ha->offers[i].def.guest, def->guest) == 0)
            o = &ha->offers[i];
    if (!o) {
        struct ha_offer *v = realloc(ha->offers, (ha->noffers + 1) * sizeof *v);
        if (!v)
            return -1;
        ha->offers = v;
        o = &v[ha->noffers++];
    }
    *o = (struct ha_offer){.def = *def};
    ha->acts_due = true;
    return 0;
}

static bool refers(const struct ha_facts *facts, const struct ha_uuid *hash)
{
    bool found = ha_uuid_eq(&facts->config_file, hash);
    for (size_t i = 0; i < facts->nguests && !found; i++)
        found = ha_uuid_eq(&facts->guests[i].def, hash);
    return found;
}

/* Guests that are in no configuration any more are facts still, and may come back. Unknown is not
 * unneeded: who has not got the newest facts needs everything. */
bool ha_bytes_needed(const struct ha *ha, const struct ha_uuid *hash)
{
    if (ha->phase != HA_PHASE_OPEN || ha->fetching || !ha->stable_known || !ha_quorate(ha) ||
        ha->frozen)
        return true;
    for (size_t i = 0; i < ha->noffers; i++)
        if (ha_uuid_eq(&ha->offers[i].def.hash, hash))
            return true;
    return refers(&ha->stable, hash) || refers(&ha->log.head, hash);
}

static bool wanted(const struct ha_guest_fact *g, const struct ha_definition *def)
{
    return ha_uuid_zero(&g->def) || (def->fresh && !ha_uuid_eq(&g->def, &def->hash));
}

/* Offers what the cluster has not got, or what an operator has changed. */
void ha_defs_tell(struct ha *ha)
{
    for (size_t i = 0; i < ha->noffers; i++) {
        struct ha_offer *o = &ha->offers[i];
        uint32_t guest = ha_guest_index(ha, o->def.guest);
        if (o->told || guest >= ha->log.head.nguests)
            continue;
        const struct ha_guest_fact *g = &ha->log.head.guests[guest];
        if (ha_uuid_eq(&g->def, &o->def.hash) && guest < ha->stable.nguests &&
            ha_uuid_eq(&ha->stable.guests[guest].def, &o->def.hash))
            o->def.fresh = false; /* taken: another host's newer one is not undone by it */
        if (!wanted(g, &o->def))
            continue;
        struct ha_tell t = {.kind = HA_TELL_DEFINE,
                            .guest = guest,
                            .inc = o->def.need_kib,
                            .mig = o->def.fresh,
                            .how = o->def.flags,
                            .boot = o->def.hash};
        ha_tell_send(ha, &t);
        o->told = true;
    }
}

void ha_defs_tells_reset(struct ha *ha)
{
    for (size_t i = 0; i < ha->noffers; i++)
        ha->offers[i].told = false;
}

/* The shell is to have the bytes of what its guests may be built from. */
void ha_defs_fetch(struct ha *ha)
{
    for (uint32_t i = 0; i < ha->nlocals && i < ha->stable.nguests; i++) {
        struct ha_local *l = &ha->locals[i];
        const struct ha_guest_fact *g = &ha->stable.guests[i];
        if (ha_uuid_zero(&g->def) || ha_uuid_eq(&l->def_said, &g->def))
            continue;
        struct ha_action *a = ha_act(ha, HA_ACT_DEFINITION);
        if (!a)
            return;
        l->def_said = g->def;
        ha_name_copy(a->u.definition.guest, g->name);
        a->u.definition.hash = g->def;
    }
}

/* The coordinator: the first one offered is taken, and later only what an operator changed. */
void ha_defs_decide(struct ha *ha, uint32_t i)
{
    struct ha_desk *desk = &ha->desks[i];
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    const struct ha_tell *t = &desk->define;
    if (!desk->defined)
        return;
    desk->defined = false;
    struct ha_definition def = {.hash = t->boot, .fresh = t->mig != 0};
    struct ha_fact fact = {.kind = HA_FACT_DEFINE,
                           .guest = i,
                           .boot = t->boot,
                           .inc = t->inc,
                           .how = t->how};
    if (wanted(g, &def))
        ha_propose(ha, &fact);
}

uint64_t ha_guest_need_kib(const struct ha *ha, const struct ha_facts *facts, uint32_t i)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    uint64_t told = i < facts->nguests ? facts->guests[i].need_kib : 0;
    return c && c->memory_kib ? c->memory_kib : told;
}

bool ha_guest_undefined(const struct ha *ha, uint32_t i)
{
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    return c && c->config_path && ha_uuid_zero(&ha->prop.guests[i].def);
}
