/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The register of guests: changes of the configuration file that all hosts make in the agreed
 * order, and which guests each host's configuration knows.
 *
 * The file itself is the shell's, and so are its bytes on their way between hosts, as definitions
 * are: a fact says which file it is from here on (its hash), and what it was made from. A host
 * whose file is that makes the change; one whose file is another keeps it, and says so.
 *
 * Hosts read their files at different moments, and files can differ for long. A host that does not
 * know a guest does not see what somebody started there by hand under that name, so that it has
 * looked says nothing about that guest: each member tells which guests it knows (HA_MSG_KNOWS,
 * positively: who is silent is not believed to have looked), and only then its look counts, and
 * only then it is given the guest. Members of a version that does not tell are believed as ever. */
#include "core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------ who knows which guest */

static bool known(const struct ha *ha, uint32_t i)
{
    return ha_guest_config(ha, i) && (ha->config_looked || ha->locals[i].in_look);
}

/* What the looks so far say is kept for the guests that are in the old and in the new one. */
void ha_knows_before(struct ha *ha)
{
    for (uint32_t i = 0; i < ha->nlocals; i++)
        ha->locals[i].in_look =
            ha_guest_config(ha, i) && (ha->config_looked || ha->locals[i].in_look);
}

void ha_knows_config(struct ha *ha)
{
    for (uint32_t i = 0; i < ha->nlocals; i++)
        ha->locals[i].in_look &= ha_guest_config(ha, i) != NULL;
    ha->config_since = ha->now;
    ha->config_looked = false;
    ha->knows_due = ha->acts_due = true;
    ha_ask_inventory(ha);
}

void ha_knows_looked(struct ha *ha)
{
    if (ha->config_looked || (ha->looked && ha->looked < ha->config_since))
        return;
    ha->config_looked = ha->knows_due = true;
}

bool ha_knows_unseen(const struct ha *ha, uint32_t i, const struct ha_guest_fact *g)
{
    return g->state == HA_GUEST_STARTING && g->by_adopt && g->owner == ha->self &&
           ha_uuid_eq(&g->boot, &ha->boot) && !known(ha, i) && HA_GUARD(ha, KNOWN_GUEST);
}

void ha_knows_reported(struct ha *ha)
{
    for (uint32_t i = 0; i < ha->nlocals; i++)
        ha->locals[i].in_report = known(ha, i);
}

/* Behind everything that was told of copies: who hears it has heard of those. What was known when this
 * host reported for this epoch is told as soon as that opens; a copy that was seen later is told only
 * when the log is settled, and so is this (the simulator's seed 940236). */
void ha_knows_tell(struct ha *ha)
{
    bool settled = ha->stable_known && ha_settled(ha), later = false;
    if (!ha->knows_due || (!ha->config_looked && !ha->knows_said) || ha->fetching ||
        !ha_may_tell(ha) || (ha->knows_told && !settled))
        return;
    size_t n = ha->nlocals < ha->ndesks ? ha->nlocals : ha->ndesks;
    uint8_t bits[HA_GUESTS_MAX / 8] = {0};
    for (uint32_t i = 0; i < n; i++) {
        bool now = known(ha, i) && (settled || ha->locals[i].in_report);
        later |= known(ha, i) && !now;
        if (now)
            bits[i / 8] |= (uint8_t)(1 << i % 8);
    }
    struct ha_put put = ha_msg_new(ha, HA_MSG_KNOWS);
    ha_put_epoch(&put, ha->e);
    ha_put_u32(&put, (uint32_t)n);
    ha_put_bytes(&put, bits, (n + 7) / 8);
    ha_send(ha, &put);
    ha->knows_due = later;
    ha->knows_told = ha->knows_said = true;
}

void ha_knows_deliver(struct ha *ha, struct ha_member *m, struct ha_get *get)
{
    struct ha_epoch e = ha_get_epoch(get);
    size_t n = ha_get_u32(get);
    const void *bits = n <= HA_GUESTS_MAX ? ha_get_bytes(get, (n + 7) / 8) : NULL;
    if (!bits || get->failed || !ha_stamp(ha, e) || m->left)
        return;
    memcpy(m->knows, bits, (n + 7) / 8);
    m->nknows = (uint32_t)n;
    m->knows_told = true;
    ha->decide_due = true;
}

/* A version that tells what it knows. */
static bool tells(const struct ha_member *m)
{
    return m->report.fact_kinds > HA_FACT_CONFIG;
}

bool ha_knows_awaited(const struct ha_member *m)
{
    return tells(m) && !m->knows_told;
}

bool ha_knows(const struct ha_member *m, uint32_t guest)
{
    if (!tells(m))
        return true;
    return m->knows_told && guest < m->nknows && m->knows[guest / 8] >> guest % 8 & 1;
}

bool ha_knows_not(const struct ha *ha, ha_node node, uint32_t guest)
{
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (m->node == node && m->present && m->reported)
            return !ha_knows_awaited(m) && !ha_knows(m, guest);
    }
    return false;
}

ha_node ha_knows_missing(const struct ha *ha, uint32_t guest)
{
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (m->present && m->reported && !m->left && !ha_knows(m, guest))
            return m->node;
    }
    return 0;
}

ha_node ha_knows_where(const struct ha *ha, uint32_t guest)
{
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        if (m->present && m->reported && !m->left && tells(m) && ha_knows(m, guest))
            return m->node;
    }
    return 0;
}

/* ----------------------------------------------------- a coordinator that does not know a guest */

enum { CHAIR_AGAIN = 30000 }; /* at the earliest: the other one may not have got it */

static bool is_synced(const struct ha *ha, const struct ha_member *m, const struct ha_host_fact *h)
{
    return h && h->state == HA_HOST_IN && ha_uuid_eq(&h->boot, &m->boot) && !h->down &&
           m->node != ha->self && m->present && m->reported && m->acked && !m->left && !m->going;
}

/* It waits for somebody to decide about it, and this host knows neither where it may run nor what
 * it takes. */
static bool waits_unknown(const struct ha *ha, uint32_t i)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    return g->state == HA_GUEST_FREE && ha_wanted(g) && !g->failed && !g->quarantined &&
           !ha_guest_config(ha, i);
}

/* How many guests that are to run the member knows; 0 if none of them waits for that, or if this
 * host knows one that it does not: so the chair only goes to who knows more, never in a circle. */
static size_t knows_more(const struct ha *ha, const struct ha_member *m, uint32_t *ret_guest)
{
    size_t n = 0;
    uint32_t waiting = UINT32_MAX;
    for (uint32_t i = 0; i < ha->prop.nguests; i++) {
        if (!ha_wanted(&ha->prop.guests[i]))
            continue;
        bool there = ha_knows(m, i);
        if (!there && ha_guest_config(ha, i))
            return 0;
        if (there && waiting == UINT32_MAX && waits_unknown(ha, i))
            waiting = i;
        n += there;
    }
    if (waiting == UINT32_MAX)
        return 0;
    *ret_guest = waiting;
    return n;
}

/* Who knows most of those who know more than this host; of them the most senior. NULL: nobody. */
static const struct ha_host_fact *knows_most(const struct ha *ha, uint32_t *ret_guest)
{
    const struct ha_host_fact *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        const struct ha_host_fact *h = ha_facts_host(&ha->prop, m->node);
        uint32_t guest;
        size_t n = is_synced(ha, m, h) && tells(m) ? knows_more(ha, m, &guest) : 0;
        if (n > most || (n && n == most && h->in_index < best->in_index)) {
            best = h;
            most = n;
            *ret_guest = guest;
        }
    }
    return best;
}

static void give_chair(struct ha *ha, const struct ha_host_fact *to, uint32_t guest)
{
    struct ha_fact fact = {.kind = HA_FACT_CHAIR, .host = to->node, .boot = to->boot};
    ha_name_copy(fact.name, ha_host_name(ha, ha->self));
    (void)ha_propose(ha, &fact); /* it may be the most senior one already */
    ha->handover = true;
    ha->chair_given = ha->now;
    ha_report(ha, HA_REPORT_DRIFT, HA_SEV_WARNING, ha->self, ha->prop.guests[guest].name,
              "%s gives the chair to %s, whose configuration has %s: see `xvmhactl config diff`",
              ha_host_name(ha, ha->self), ha_host_name(ha, to->node), ha->prop.guests[guest].name);
}

/* Who coordinates must not matter, and rules, priorities and room are in the configuration only:
 * where files differ, somebody decides who has the guest in his. */
void ha_decide_chair(struct ha *ha)
{
    uint32_t guest = 0;
    ha_ms due = ha->phase_since + ha->config->timers.exchange;
    if (ha->handover || ha->prop.frozen)
        return;
    while (guest < ha->prop.nguests && !waits_unknown(ha, guest))
        guest++;
    const struct ha_host_fact *to = guest < ha->prop.nguests ? knows_most(ha, &guest) : NULL;
    if (!to)
        return;
    if (ha->chair_given && due < ha->chair_given + CHAIR_AGAIN)
        due = ha->chair_given + CHAIR_AGAIN;
    if (ha->now >= due)
        give_chair(ha, to, guest);
    else
        ha_wake(ha, due);
}

/* ----------------------------------------------------------------------- the file, on this host */

void ha_config_act(struct ha *ha)
{
    const struct ha_config_change *v = ha->stable.config_changes;
    if (!ha->stable_known || v[0].at == 0 || v[0].at == ha->config_said)
        return;
    struct ha_action *a = ha_act(ha, HA_ACT_CONFIG);
    if (!a)
        return;
    ha->config_said = v[0].at;
    a->u.config.file = ha->stable.config_file;
    memcpy(a->u.config.changes, v, sizeof a->u.config.changes);
}

void ha_config_taken(struct ha *ha, uint64_t at)
{
    ha->config_taken = at > ha->config_taken ? at : ha->config_taken;
    ha->decide_due = true;
}

/* --------------------------------------------------------------------------- at the coordinator */

struct change {
    char what[8];
    uint64_t from;
    struct ha_uuid file;
};

static bool hex(const char *text, size_t digits, uint8_t *ret)
{
    for (size_t i = 0; i < digits; i++) {
        char c = text[i];
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0)
            return false;
        ret[i / 2] = (uint8_t)(i % 2 ? ret[i / 2] | v : v << 4);
    }
    return true;
}

/* "add 0123456789abcdef 0123456789abcdef0123456789abcdef" */
static bool parse(const char *text, struct change *ret)
{
    uint8_t from[8];
    size_t n = 0;
    while (text[n] && text[n] != ' ')
        n++;
    if (n >= sizeof ret->what || strlen(text) != n + 1 + 16 + 1 + 32 || text[n + 17] != ' ' ||
        !hex(text + n + 1, 16, from) || !hex(text + n + 18, 32, ret->file.b))
        return false;
    memcpy(ret->what, text, n);
    ret->what[n] = '\0';
    ret->from = 0;
    for (size_t i = 0; i < 8; i++)
        ret->from = ret->from << 8 | from[i];
    return !ha_uuid_zero(&ret->file);
}

/* Everybody who is here has the file that it is made from; else it would get lost somewhere. */
static int check_files(struct ha *ha, const struct change *c, char *ret_text, size_t size)
{
    if (ha->config_taken < ha->prop.config_changes[0].at) {
        ha_say(ret_text, size,
               "%s has not taken the last change of the configuration yet: repeat in a moment",
               ha_host_name(ha, ha->self));
        return -EAGAIN;
    }
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        const char *name = ha_host_name(ha, m->node);
        if (!m->present || m->left || !m->reported || m->report.config_hash == c->from)
            continue;
        ha_say(ret_text, size, "%s has another configuration, or it was changed this moment: see "
               "`xvmhactl config diff %s`; make them equal (`xvmhactl config push`), then repeat",
               name, name);
        return -EBUSY;
    }
    return 0;
}

static int check_remove(const struct ha *ha, const struct ha_ask *ask, char *ret_text, size_t size)
{
    const struct ha_guest_fact *g = ha_facts_guest(&ha->prop, ask->guest);
    if (!g || (!g->owner && !g->mig && !ha_wanted(g)))
        return 0;
    ha_say(ret_text, size, "%s is %s: `xvmhactl disable %s` first, or --force, which leaves it as "
           "it is and looks after it no more", g->name, g->owner || g->mig ? "running" : "to run",
           g->name);
    return -EBUSY;
}

static const char *away(const struct ha *ha)
{
    for (size_t i = 0; i < ha->prop.nhosts; i++)
        if (!ha_in_ring(ha, ha->prop.hosts[i].node))
            return ha_host_name(ha, ha->prop.hosts[i].node);
    return NULL;
}

static void say_done(const struct ha *ha, const struct ha_ask *ask, const struct change *c,
                     char *ret_text, size_t size)
{
    const char *host = away(ha);
    const char *done = strcmp(c->what, "add") == 0      ? "is added"
                       : strcmp(c->what, "remove") == 0 ? "is removed"
                       : strcmp(c->what, "drop") == 0   ? "is no longer looked after"
                                                        : "is the same for all hosts";
    ha_say(ret_text, size, "%s %s%s%s%s", ask->guest[0] ? ask->guest : "the configuration", done,
           host ? "; " : "", host ? host : "", host ? " is away and takes it when it is back" : "");
}

int ha_ask_config(struct ha *ha, const struct ha_ask *ask, char *ret_text, size_t size)
{
    struct change c = {0};
    int r = 0;
    if (!parse(ask->text, &c)) {
        ha_say(ret_text, size, "this change is not understood: upgrade the coordinator's host");
        return -EINVAL;
    }
    bool push = strcmp(c.what, "push") == 0;
    if (ask->again && ha_uuid_eq(&c.file, &ha->prop.config_file)) {
        say_done(ha, ask, &c, ret_text, size);
        return 0;
    }
    if (!push)
        r = check_files(ha, &c, ret_text, size);
    if (r == 0 && strcmp(c.what, "remove") == 0)
        r = check_remove(ha, ask, ret_text, size);
    if (r < 0)
        return r;
    struct ha_fact fact = {.kind = HA_FACT_CONFIG, .boot = c.file, .inc = push ? 0 : c.from};
    ha_name_copy(fact.name, ask->who);
    if (!ha_propose(ha, &fact)) {
        ha_say(ret_text, size,
               "not every host can change its configuration by command: upgrade them all");
        return -EOPNOTSUPP;
    }
    say_done(ha, ask, &c, ret_text, size);
    return 0;
}

int ha_ask_restart(struct ha *ha, const struct ha_ask *ask, uint32_t i, char *ret_text, size_t size)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    struct ha_fact fact = {.kind = HA_FACT_RESTART, .guest = i};
    if (ask->again && g->recall) {
        ha_say(ret_text, size, "%s is restarted", g->name);
        return 0;
    }
    if (g->state != HA_GUEST_RUNNING || !ha_wanted(g) || g->recall || g->preempted) {
        if (g->state == HA_GUEST_FREE)
            ha_say(ret_text, size, "%s does not run: `xvmhactl start %s`", g->name, g->name);
        else
            ha_say(ret_text, size, "%s is %s: only a guest that runs can be restarted", g->name,
                   g->state != HA_GUEST_RUNNING ? ha_guest_state_name(g->state)
                                                : "being shut down");
        return -EBUSY;
    }
    if (!ha_propose(ha, &fact)) {
        ha_say(ret_text, size, "not every host knows how to restart a guest: upgrade them all");
        return -EOPNOTSUPP;
    }
    ha_say(ret_text, size, "%s is shut down and started again", g->name);
    return 0;
}
