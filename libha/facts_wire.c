/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts and the whole state of facts as bytes. Each fact is: u8 kind, u8 version, fields; a newer
 * version may append fields, which an older one passes over. */
#include "facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A snapshot opens with a u16: the version that wrote it, and in the upper byte the oldest
 * version that may read it. What an older version may pass over is appended; what it must not
 * miss (that the cluster is frozen, for it would take time for a proof of death) raises the
 * upper byte for as long as it is there, and it refuses. */
enum { FACT_VERSION = 1, SNAPSHOT_VERSION = 2, SNAPSHOT_FROZEN = 2 };

static void put_voters(struct ha_put *put, const struct ha_fact *f)
{
    ha_put_u32(put, f->tbl);
    ha_put_u8(put, (uint8_t)f->nvoters);
    for (size_t i = 0; i < f->nvoters; i++) {
        ha_put_u32(put, f->voters[i].node);
        ha_put_uuid(put, &f->voters[i].machine);
        ha_put_uuid(put, &f->voters[i].journal);
    }
}

static void get_voters(struct ha_get *get, struct ha_fact *f)
{
    f->tbl = ha_get_u32(get);
    f->nvoters = ha_get_u8(get);
    if (f->nvoters > HA_HOSTS_MAX) {
        get->failed = true;
        f->nvoters = 0;
    }
    for (size_t i = 0; i < f->nvoters; i++) {
        f->voters[i].node = ha_get_u32(get);
        f->voters[i].machine = ha_get_uuid(get);
        f->voters[i].journal = ha_get_uuid(get);
    }
}

static uint8_t flags_of(const struct ha_fact *f)
{
    return (uint8_t)(f->armed | f->want_run << 1 | f->enabled << 2 | f->failed << 3);
}

void ha_fact_encode(struct ha_put *put, const struct ha_fact *f)
{
    ha_put_u8(put, (uint8_t)f->kind);
    ha_put_u8(put, FACT_VERSION);
    switch (f->kind) {
    case HA_FACT_FOUND:
        ha_put_uuid(put, &f->cluster);
        put_voters(put, f);
        break;
    case HA_FACT_VOTERS:
        put_voters(put, f);
        break;
    case HA_FACT_IN:
        ha_put_u32(put, f->host);
        ha_put_uuid(put, &f->boot);
        ha_put_uuid(put, &f->machine);
        ha_put_uuid(put, &f->journal);
        ha_put_u8(put, flags_of(f));
        ha_put_u32(put, (uint32_t)f->lease_ms);
        ha_put_u32(put, (uint32_t)f->watchdog_ms);
        break;
    case HA_FACT_LOST:
    case HA_FACT_FENCING:
    case HA_FACT_FENCE_END:
    case HA_FACT_CONF:
    case HA_FACT_OUT:
    case HA_FACT_REPLACE:
    case HA_FACT_ORDER:
    case HA_FACT_CALM:
    case HA_FACT_TURN:
    case HA_FACT_MAINT:
    case HA_FACT_DOWN:
        ha_put_u32(put, f->host);
        ha_put_uuid(put, &f->boot);
        ha_put_u32(put, f->loss);
        ha_put_u32(put, f->level);
        ha_put_u8(put, f->how);
        ha_put_name(put, f->name);
        break;
    case HA_FACT_DISK:
    case HA_FACT_BOUND:
        ha_put_u32(put, f->host);
        ha_put_uuid(put, &f->boot);
        ha_put_u32(put, f->loss);
        ha_put_u32(put, f->level);
        ha_put_u32(put, (uint32_t)f->lease_ms);
        break;
    case HA_FACT_REGISTER:
        ha_put_name(put, f->name);
        ha_put_u8(put, flags_of(f));
        break;
    case HA_FACT_WANT:
    case HA_FACT_CLEAR:
    case HA_FACT_ASSIGN:
    case HA_FACT_ADOPT:
    case HA_FACT_RUN:
    case HA_FACT_RELEASED:
    case HA_FACT_MIG:
    case HA_FACT_COMMIT:
    case HA_FACT_ABORT:
    case HA_FACT_VACATED:
    case HA_FACT_RECALL:
    case HA_FACT_DEFINE:
    case HA_FACT_PREEMPT:
    case HA_FACT_RESTART:
        ha_put_u32(put, f->guest);
        ha_put_u8(put, flags_of(f));
        ha_put_u8(put, f->how);
        ha_put_u64(put, f->inc);
        ha_put_u64(put, f->old_inc);
        ha_put_u64(put, f->mig);
        ha_put_u32(put, f->host);
        ha_put_uuid(put, &f->boot);
        break;
    case HA_FACT_BEGIN:
        ha_put_u32(put, f->host);
        break;
    case HA_FACT_FREEZE:
    case HA_FACT_THAW:
    case HA_FACT_LOOKED:
    case HA_FACT_CHAIR:
    case HA_FACT_CONFIG:
        ha_put_u32(put, f->host);
        ha_put_uuid(put, &f->boot);
        ha_put_u64(put, f->inc);
        ha_put_name(put, f->name);
        break;
    case HA_FACT_COUNT:
        break;
    }
}

static void get_flags(struct ha_get *get, struct ha_fact *f)
{
    uint8_t flags = ha_get_u8(get);
    f->armed = flags & 1;
    f->want_run = flags & 2;
    f->enabled = flags & 4;
    f->failed = flags & 8;
}

static void get_fields(struct ha_get *get, struct ha_fact *f)
{
    switch (f->kind) {
    case HA_FACT_FOUND:
        f->cluster = ha_get_uuid(get);
        get_voters(get, f);
        break;
    case HA_FACT_VOTERS:
        get_voters(get, f);
        break;
    case HA_FACT_IN:
        f->host = ha_get_u32(get);
        f->boot = ha_get_uuid(get);
        f->machine = ha_get_uuid(get);
        f->journal = ha_get_uuid(get);
        get_flags(get, f);
        f->lease_ms = ha_get_u32(get);
        f->watchdog_ms = ha_get_u32(get);
        break;
    case HA_FACT_LOST:
    case HA_FACT_FENCING:
    case HA_FACT_FENCE_END:
    case HA_FACT_CONF:
    case HA_FACT_OUT:
    case HA_FACT_REPLACE:
    case HA_FACT_ORDER:
    case HA_FACT_CALM:
    case HA_FACT_TURN:
    case HA_FACT_MAINT:
    case HA_FACT_DOWN:
        f->host = ha_get_u32(get);
        f->boot = ha_get_uuid(get);
        f->loss = ha_get_u32(get);
        f->level = ha_get_u32(get);
        f->how = ha_get_u8(get);
        ha_get_name(get, f->name);
        break;
    case HA_FACT_DISK:
    case HA_FACT_BOUND:
        f->host = ha_get_u32(get);
        f->boot = ha_get_uuid(get);
        f->loss = ha_get_u32(get);
        f->level = ha_get_u32(get);
        f->lease_ms = ha_get_u32(get);
        break;
    case HA_FACT_REGISTER:
        ha_get_name(get, f->name);
        get_flags(get, f);
        break;
    case HA_FACT_WANT:
    case HA_FACT_CLEAR:
    case HA_FACT_ASSIGN:
    case HA_FACT_ADOPT:
    case HA_FACT_RUN:
    case HA_FACT_RELEASED:
    case HA_FACT_MIG:
    case HA_FACT_COMMIT:
    case HA_FACT_ABORT:
    case HA_FACT_VACATED:
    case HA_FACT_RECALL:
    case HA_FACT_DEFINE:
    case HA_FACT_PREEMPT:
    case HA_FACT_RESTART:
        f->guest = ha_get_u32(get);
        get_flags(get, f);
        f->how = ha_get_u8(get);
        f->inc = ha_get_u64(get);
        f->old_inc = ha_get_u64(get);
        f->mig = ha_get_u64(get);
        f->host = ha_get_u32(get);
        f->boot = ha_get_uuid(get);
        break;
    case HA_FACT_BEGIN:
        f->host = ha_get_u32(get);
        break;
    case HA_FACT_FREEZE:
    case HA_FACT_THAW:
    case HA_FACT_LOOKED:
    case HA_FACT_CHAIR:
    case HA_FACT_CONFIG:
        f->host = ha_get_u32(get);
        f->boot = ha_get_uuid(get);
        f->inc = ha_get_u64(get);
        ha_get_name(get, f->name);
        break;
    case HA_FACT_COUNT:
        break;
    }
}

int ha_fact_decode(const void *data, size_t len, struct ha_fact *ret_fact)
{
    struct ha_get get = {data, len, false};
    uint8_t kind = ha_get_u8(&get);
    (void)ha_get_u8(&get); /* version: fields are only ever appended */
    if (get.failed || kind == 0)
        return -EBADMSG;
    if (kind >= HA_FACT_COUNT)
        return -ENOTSUP;
    memset(ret_fact, 0, offsetof(struct ha_fact, voters));
    ret_fact->nvoters = 0;
    ret_fact->kind = (enum ha_fact_kind)kind;
    get_fields(&get, ret_fact);
    return get.failed ? -EBADMSG : 0;
}

/* What is about the cluster as a whole came later: it is in every host's record, where there is
 * room for more, and older versions pass it over. */
static void put_cluster(struct ha_put *put, const struct ha_facts *facts)
{
    ha_put_u8(put, (uint8_t)(facts->frozen | facts->looking << 1));
    ha_put_u64(put, facts->froze_at);
    ha_put_u64(put, facts->thaw_at);
    if (facts->config_changes[0].at == 0)
        return;
    ha_put_uuid(put, &facts->config_file);
    for (size_t i = 0; i < HA_CONFIG_CHANGES; i++) {
        ha_put_u64(put, facts->config_changes[i].at);
        ha_put_u64(put, facts->config_changes[i].from);
    }
}

static void get_cluster(struct ha_get *get, struct ha_facts *facts)
{
    if (get->failed || get->left == 0)
        return; /* written before there was more */
    uint8_t flags = ha_get_u8(get);
    facts->frozen = flags & 1;
    facts->looking = flags & 2;
    facts->froze_at = ha_get_u64(get);
    facts->thaw_at = ha_get_u64(get);
    if (get->failed || get->left == 0)
        return; /* the file was never changed by command, or a version that cannot wrote it */
    facts->config_file = ha_get_uuid(get);
    for (size_t i = 0; i < HA_CONFIG_CHANGES; i++) {
        facts->config_changes[i].at = ha_get_u64(get);
        facts->config_changes[i].from = ha_get_u64(get);
    }
}

static void put_host(struct ha_put *put, const struct ha_host_fact *h)
{
    ha_put_u32(put, h->node);
    ha_put_u8(put, (uint8_t)h->state);
    ha_put_u8(put, (uint8_t)(h->voter | h->armed << 1 | h->distrusted << 2 | h->tried << 3 |
                             h->ordered << 4 | h->unarmed << 5 | h->down << 6 |
                             h->down_return << 7));
    ha_put_uuid(put, &h->boot);
    ha_put_uuid(put, &h->machine);
    ha_put_uuid(put, &h->journal);
    ha_put_u32(put, h->loss);
    ha_put_u32(put, h->level);
    ha_put_u32(put, h->rounds);
    ha_put_u64(put, h->in_index);
    ha_put_u8(put, h->how);
    ha_put_u32(put, (uint32_t)h->lease_ms);
    ha_put_u32(put, (uint32_t)h->watchdog_ms);
    ha_put_u64(put, h->conf_index);
    ha_put_u8(put, h->flaps);
    ha_put_u8(put, h->turn);
    ha_put_u8(put, (uint8_t)(h->maint | h->maint_force << 7));
    ha_put_u32(put, (uint32_t)h->disk_ms);
    ha_put_u32(put, h->disk_gen);
}

/* The cluster's own word on the disk goes with each host's record: what comes behind the hosts has
 * no length that an older version could pass over. */
static void put_disk(struct ha_put *put, const struct ha_facts *facts)
{
    ha_put_u8(put, facts->disk_on);
    ha_put_u32(put, facts->disk_gen);
    ha_put_u32(put, (uint32_t)facts->disk_ms);
    ha_put_uuid(put, &facts->disk_id);
}

static void get_disk(struct ha_get *get, struct ha_facts *facts)
{
    if (get->failed || get->left == 0)
        return; /* written before there was a disk */
    facts->disk_on = ha_get_u8(get);
    facts->disk_gen = ha_get_u32(get);
    facts->disk_ms = ha_get_u32(get);
    facts->disk_id = ha_get_uuid(get);
}

static void get_host(struct ha_get *get, struct ha_host_fact *h)
{
    h->node = ha_get_u32(get);
    uint8_t state = ha_get_u8(get);
    if (state > HA_HOST_OUT)
        get->failed = true;
    h->state = (enum ha_host_state)state;
    h->lost_here = state == HA_HOST_LOST || state == HA_HOST_FENCING || state == HA_HOST_DEAD;
    uint8_t flags = ha_get_u8(get);
    h->voter = flags & 1;
    h->armed = flags & 2;
    h->distrusted = flags & 4;
    h->tried = flags & 8;
    h->ordered = flags & 16;
    h->unarmed = flags & 32;
    h->down = flags & 64;
    h->down_return = flags & 128;
    h->boot = ha_get_uuid(get);
    h->machine = ha_get_uuid(get);
    h->journal = ha_get_uuid(get);
    h->loss = ha_get_u32(get);
    h->level = ha_get_u32(get);
    h->rounds = ha_get_u32(get);
    h->in_index = ha_get_u64(get);
    h->how = ha_get_u8(get);
    h->lease_ms = ha_get_u32(get);
    h->watchdog_ms = ha_get_u32(get);
    h->conf_index = get->left ? ha_get_u64(get) : 0;
    if (get->failed || get->left == 0)
        return; /* written before there was more */
    h->flaps = ha_get_u8(get);
    h->turn = ha_get_u8(get);
    uint8_t maint = get->left ? ha_get_u8(get) : 0;
    h->maint = maint & 127;
    h->maint_force = maint & 128;
    if (h->turn > HA_TURNS || h->maint > HA_MAINT_ON)
        get->failed = true;
    if (get->failed || get->left == 0)
        return;
    h->disk_ms = ha_get_u32(get);
    h->disk_gen = ha_get_u32(get);
}

static void put_guest(struct ha_put *put, const struct ha_guest_fact *g)
{
    ha_put_name(put, g->name);
    ha_put_u8(put, (uint8_t)g->state);
    ha_put_u8(put, (uint8_t)(g->enabled | g->want_run << 1 | g->failed << 2 | g->quarantined << 3 |
                             g->by_mig << 4 | g->by_adopt << 5 | g->recall << 6 |
                             g->loose << 7));
    ha_put_u32(put, g->owner);
    ha_put_uuid(put, &g->boot);
    ha_put_u64(put, g->inc);
    ha_put_u64(put, g->old_inc);
    ha_put_u32(put, g->restarts);
    ha_put_u32(put, g->start_losses);
    ha_put_u64(put, g->mig);
    ha_put_u8(put, g->mig_kind);
    ha_put_u32(put, g->mig_host);
    ha_put_uuid(put, &g->mig_boot);
    ha_put_u64(put, g->mig_inc);
    ha_put_u32(put, g->avoid);
    ha_put_u32(put, g->prefer);
    ha_put_u32(put, g->left_host);
    ha_put_uuid(put, &g->left_boot);
    ha_put_u8(put, g->last_release);
    ha_put_uuid(put, &g->def);
    ha_put_u64(put, g->need_kib);
    ha_put_u8(put, g->def_flags);
    ha_put_u64(put, g->asked_index);
    ha_put_u8(put, g->preempted);
    ha_put_u32(put, g->gave_way);
    ha_put_u32(put, g->home);
    ha_put_u32(put, g->ended_on);
    ha_put_u8(put, g->failures_there);
}

static void get_guest(struct ha_get *get, struct ha_guest_fact *g)
{
    ha_get_name(get, g->name);
    uint8_t state = ha_get_u8(get);
    if (state > HA_GUEST_ARRIVED)
        get->failed = true;
    g->state = (enum ha_guest_state)state;
    uint8_t flags = ha_get_u8(get);
    g->enabled = flags & 1;
    g->want_run = flags & 2;
    g->failed = flags & 4;
    g->quarantined = flags & 8;
    g->by_mig = flags & 16;
    g->by_adopt = flags & 32;
    g->recall = flags & 64;
    g->loose = flags & 128;
    g->owner = ha_get_u32(get);
    g->boot = ha_get_uuid(get);
    g->inc = ha_get_u64(get);
    g->old_inc = ha_get_u64(get);
    g->restarts = ha_get_u32(get);
    g->start_losses = ha_get_u32(get);
    g->mig = ha_get_u64(get);
    g->mig_kind = ha_get_u8(get);
    g->mig_host = ha_get_u32(get);
    g->mig_boot = ha_get_uuid(get);
    g->mig_inc = ha_get_u64(get);
    g->avoid = ha_get_u32(get);
    g->prefer = ha_get_u32(get);
    g->left_host = ha_get_u32(get);
    g->left_boot = ha_get_uuid(get);
    g->last_release = ha_get_u8(get);
    if (!get->left)
        return; /* of a version without definitions */
    g->def = ha_get_uuid(get);
    g->need_kib = ha_get_u64(get);
    g->def_flags = ha_get_u8(get);
    g->asked_index = ha_get_u64(get);
    if (get->failed || !get->left)
        return; /* of a version that placed without a planner */
    g->preempted = ha_get_u8(get) & 1;
    g->gave_way = ha_get_u32(get);
    g->home = ha_get_u32(get);
    if (g->gave_way > HA_GUESTS_MAX)
        get->failed = true;
    if (get->failed || get->left == 0)
        return; /* written before there was more */
    g->ended_on = ha_get_u32(get);
    g->failures_there = ha_get_u8(get);
}

static unsigned oldest_reader(const struct ha_facts *facts)
{
    bool unarmed = facts->frozen || facts->looking;
    for (size_t i = 0; i < facts->nhosts; i++)
        unarmed |= facts->hosts[i].unarmed;
    return unarmed ? SNAPSHOT_FROZEN : 0;
}

void ha_facts_encode(struct ha_put *put, const struct ha_facts *facts)
{
    ha_put_u16(put, (uint16_t)(SNAPSHOT_VERSION | oldest_reader(facts) << 8));
    ha_put_uuid(put, &facts->cluster);
    ha_put_u32(put, facts->tbl);
    ha_put_u64(put, facts->next_inc);
    ha_put_u64(put, facts->next_mig);
    ha_put_u32(put, (uint32_t)facts->nhosts);
    for (size_t i = 0; i < facts->nhosts; i++) {
        /* each record behind its length, so that a newer version can append fields */
        size_t at = put->n;
        ha_put_u32(put, 0);
        put_host(put, &facts->hosts[i]);
        put_disk(put, facts);
        put_cluster(put, facts);
        ha_put_patch_u32(put, at, (uint32_t)(put->n - at - 4));
    }
    ha_put_u32(put, (uint32_t)facts->nguests);
    for (size_t i = 0; i < facts->nguests; i++) {
        size_t at = put->n;
        ha_put_u32(put, 0);
        put_guest(put, &facts->guests[i]);
        ha_put_patch_u32(put, at, (uint32_t)(put->n - at - 4));
    }
}

static struct ha_get get_record(struct ha_get *get)
{
    size_t len = ha_get_u32(get);
    const void *p = ha_get_bytes(get, len);
    return (struct ha_get){p, p ? len : 0, !p};
}

static bool known_host(const struct ha_facts *facts, ha_node node)
{
    return node == 0 || ha_facts_host(facts, node);
}

static int get_guests(struct ha_get *get, struct ha_facts *facts)
{
    size_t n = ha_get_u32(get);
    if (get->failed || n > HA_GUESTS_MAX)
        return -EBADMSG;
    if (n > facts->guests_size) {
        struct ha_guest_fact *v = realloc(facts->guests, n * sizeof *v);
        if (!v)
            return -ENOMEM;
        facts->guests = v;
        facts->guests_size = n;
    }
    facts->nguests = n;
    for (size_t i = 0; i < n; i++) {
        struct ha_get record = get_record(get);
        facts->guests[i] = (struct ha_guest_fact){0};
        get_guest(&record, &facts->guests[i]);
        const struct ha_guest_fact *g = &facts->guests[i];
        if (record.failed || !known_host(facts, g->owner) || !known_host(facts, g->mig_host) ||
            !known_host(facts, g->left_host))
            return -EBADMSG;
    }
    return 0;
}

int ha_facts_decode(struct ha_get *get, struct ha_facts *facts)
{
    ha_facts_done(facts);
    unsigned version = ha_get_u16(get);
    if (version >> 8 > SNAPSHOT_VERSION)
        return -ENOTSUP;
    facts->cluster = ha_get_uuid(get);
    facts->tbl = ha_get_u32(get);
    facts->next_inc = ha_get_u64(get);
    facts->next_mig = ha_get_u64(get);
    size_t nhosts = ha_get_u32(get);
    if (get->failed || nhosts > HA_HOSTS_MAX)
        return -EBADMSG;
    facts->nhosts = nhosts;
    for (size_t i = 0; i < nhosts; i++) {
        struct ha_get record = get_record(get);
        facts->hosts[i] = (struct ha_host_fact){0};
        get_host(&record, &facts->hosts[i]);
        get_disk(&record, facts);
        get_cluster(&record, facts);
        if (record.failed)
            return -EBADMSG;
    }
    return get_guests(get, facts);
}
