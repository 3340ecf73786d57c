/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operators' commands: from any host to the coordinator, into facts, and the answer back. */
#include "core.h"

#include <errno.h>
#include <string.h>

enum {
    FORCE_MOST = 30000,
    TIDY_MOST = 5000, /* for the last move's source to clean up, before the next move is refused */
};

static void init_client(struct ha *ha, const struct ha_request *r)
{
    if (!ha_uuid_zero(&ha->log.head.cluster)) {
        ha_reply(ha, r->client, -EALREADY, "this cluster was founded already");
        return;
    }
    if (ha->init_client) {
        ha_reply(ha, r->client, -EBUSY, "the founding is under way already");
        return;
    }
    for (size_t i = 0; i < ha->config->nhosts; i++) {
        const struct ha_host_config *c = &ha->config->hosts[i];
        const struct ha_member *m = ha_member(ha, c->node, false);
        if (!m || !m->present || !m->reported) {
            ha_reply(ha, r->client, -EHOSTDOWN,
                     "founding a cluster needs every host of the configuration: xvm-had on %s is "
                     "not here; start it there (systemctl start xvm-had), then repeat",
                     c->name);
            return;
        }
        if (!ha_uuid_zero(&m->report.cluster)) {
            ha_reply(ha, r->client, -EEXIST,
                     "%s already belongs to a cluster: it will take this host in by itself",
                     c->name);
            return;
        }
    }
    ha->founding = true;
    ha->init_client = r->client;
    ha_open_try(ha);
    if (!ha->open_sent) {
        ha->founding = false;
        ha->init_client = 0;
        ha_reply(ha, r->client, -EAGAIN,
                 "the hosts are still getting to know each other (or there is no quorum): repeat "
                 "in a few seconds");
    }
}

/* Rule 26: a host that never synced since it booted waits for the absent voters, unless an operator
 * vouches that they are off. */
static void force_client(struct ha *ha, const struct ha_request *r)
{
    if (ha->config->mode != HA_MODE_FENCE_ONLY)
        ha_reply(ha, r->client, -EOPNOTSUPP,
                 "only a cluster without a majority rule (two_node, qdevice) can be forced; here "
                 "more than half of the hosts must be up");
    else if (ha->phase == HA_PHASE_OPEN && !ha->half)
        ha_reply(ha, r->client, -EALREADY, "the cluster is open: there is nothing to force");
    else if (!ha_quorate(ha))
        ha_reply(ha, r->client, -ENOTCONN,
                 "corosync has no quorum; if the absent hosts are off for sure: `corosync-cmapctl "
                 "-s quorum.cancel_wait_for_all u8 1`, then repeat");
    else {
        ha_name_copy(ha->forced, r->who[0] ? r->who : "an operator");
        ha->forced_until = ha->now + FORCE_MOST;
        ha_again(ha, "an operator forces the lineage");
        ha_reply(ha, r->client, 0, "the absent hosts count as off, on your word");
    }
}

void ha_client_event(struct ha *ha, const struct ha_request *r)
{
    if (r->command == HA_CMD_INIT) {
        init_client(ha, r);
        return;
    }
    if (ha_uuid_zero(&ha->log.head.cluster)) {
        ha_reply(ha, r->client, -ENOTCONN,
                 "no cluster has been founded yet: with every host up, run `xvmhactl init` once");
        return;
    }
    if (r->command == HA_CMD_LINEAGE_FORCE) {
        force_client(ha, r);
        return;
    }
    if (!ha_quorate(ha)) {
        ha_reply(ha, r->client, -ENOTCONN,
                 "this host has no quorum: nothing can be changed from here");
        return;
    }
    if (ha->nclients == HA_CLIENTS_MAX) {
        ha_reply(ha, r->client, -EBUSY, "too many commands at once");
        return;
    }
    struct ha_ask ask = {.id = ++ha->next_ask, .command = (uint8_t)r->command};
    ha_name_copy(ask.guest, r->guest);
    ha_name_copy(ask.host, r->host);
    ha_name_copy(ask.text, r->text);
    ha_name_copy(ask.who, r->who);
    ha->clients[ha->nclients++] = (struct ha_waiting_client){r->client, ask, ha->now, false};
}

/* What came while no coordinator was there, or went to one that is not any more. */
void ha_clients_send(struct ha *ha)
{
    for (size_t i = 0; ha->phase == HA_PHASE_OPEN && i < ha->nclients; i++) {
        struct ha_waiting_client *c = &ha->clients[i];
        if (c->sent)
            continue;
        struct ha_put put = ha_msg_new(ha, HA_MSG_ASK);
        ha_put_epoch(&put, ha->e);
        ha_msg_put_ask(&put, &c->ask);
        ha_send(ha, &put);
        c->sent = true;
    }
}

void ha_client_give_up(struct ha *ha, size_t i)
{
    struct ha_waiting_client *c = &ha->clients[i];
    if (c->sent || c->ask.again)
        ha_reply(ha, c->client, -ETIMEDOUT,
                 "no answer from the coordinator: the command may still be carried out, see "
                 "`xvmhactl status`");
    else
        ha_reply(ha, c->client, -EAGAIN,
                 "the cluster is choosing its coordinator and takes long for it: nothing was done, "
                 "see `xvmhactl status`");
    *c = ha->clients[--ha->nclients];
}

static void send_answer(struct ha *ha, ha_node to, uint64_t instance, uint64_t id, int code,
                        const char *text)
{
    struct ha_put put = ha_msg_new(ha, HA_MSG_ANSWER);
    ha_put_u32(&put, to);
    ha_put_u64(&put, instance);
    ha_put_u64(&put, id);
    ha_put_u32(&put, (uint32_t)-code);
    ha_put_u8(&put, (uint8_t)strlen(text));
    ha_put_bytes(&put, text, (uint8_t)strlen(text));
    ha_send(ha, &put);
}

void ha_ask_deliver(struct ha *ha, ha_node from, const struct ha_msg_head *head, struct ha_get *get)
{
    struct ha_epoch e = ha_get_epoch(get);
    struct ha_pending_ask pending = {.from = from, .instance = head->instance};
    ha_msg_get_ask(get, &pending.ask);
    if (get->failed || !ha_stamp(ha, e) || !ha_is_coordinator(ha))
        return;
    if (ha->nasks == HA_ASKS_MAX) {
        send_answer(ha, from, head->instance, pending.ask.id, -EBUSY, "too many commands at once");
        return;
    }
    pending.since = ha->now;
    ha->asks[ha->nasks++] = pending;
    ha->decide_due = true;
}

void ha_answer_deliver(struct ha *ha, struct ha_get *get)
{
    ha_node to = ha_get_u32(get);
    uint64_t instance = ha_get_u64(get);
    uint64_t id = ha_get_u64(get);
    uint32_t wire_code = ha_get_u32(get);
    int code = wire_code < 4096 ? -(int)wire_code : -EPROTO;
    size_t len = ha_get_u8(get);
    const char *p = ha_get_bytes(get, len);
    if (!p || to != ha->self || instance != ha->instance || len >= HA_TEXT_MAX)
        return;
    char text[HA_TEXT_MAX] = "";
    memcpy(text, p, len);
    for (size_t i = 0; i < ha->nclients; i++) {
        if (ha->clients[i].ask.id != id)
            continue;
        ha_reply(ha, ha->clients[i].client, code, "%s", text);
        ha->clients[i] = ha->clients[--ha->nclients];
        return;
    }
}

/* Said twice it would move, or restart, twice: the first may have been carried out, to wherever was best then. */
static bool repeatable(const struct ha_ask *ask)
{
    return ask->command != HA_CMD_RESTART && (ask->command != HA_CMD_MOVE || ask->host[0]);
}

void ha_clients_interrupt(struct ha *ha, const char *why)
{
    for (size_t i = 0; i < ha->nclients;) {
        struct ha_waiting_client *c = &ha->clients[i];
        if (!c->sent || repeatable(&c->ask)) {
            c->ask.again |= c->sent;
            c->sent = false;
            i++;
            continue;
        }
        ha_reply(ha, c->client, -ETIMEDOUT,
                 "no answer: %s. The command may have been carried out, see `xvmhactl status`; "
                 "repeat it if not", why);
        *c = ha->clients[--ha->nclients];
    }
    if (ha->init_client)
        ha_reply(ha, ha->init_client, -EAGAIN, "the founding was interrupted (%s): repeat it", why);
    ha->init_client = 0;
    if (ha_uuid_zero(&ha->log.head.cluster))
        ha->founding = false;
}

/* ---------------------------------------------------------------------- at the coordinator */

#define OUTCOME(o, c, ...)                                                                         \
    do {                                                                                           \
        (o)->code = (c);                                                                           \
        ha_say((o)->text, sizeof(o)->text, __VA_ARGS__);                                           \
    } while (0)

static void ask_want(struct ha *ha, const struct ha_ask *ask, uint32_t i, struct ha_outcome *o)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    struct ha_fact fact = {
        .kind = HA_FACT_WANT, .guest = i, .want_run = g->want_run, .enabled = g->enabled};
    if (ask->command == HA_CMD_START && !g->enabled) {
        OUTCOME(o, -EPERM, "%s is disabled: `xvmhactl enable %s` first", g->name, g->name);
        return;
    }
    bool would_run = ask->command == HA_CMD_START || (ask->command == HA_CMD_ENABLE && g->want_run);
    if (would_run && !ha_wanted(g) && ha_start_refused(ha, ask, i, o))
        return;
    if (ask->command == HA_CMD_START)
        fact.want_run = true;
    else if (ask->command == HA_CMD_STOP)
        fact.want_run = false;
    else
        fact.enabled = ask->command == HA_CMD_ENABLE;
    if (ask->command == HA_CMD_START || ask->command == HA_CMD_ENABLE) {
        struct ha_fact clear = {.kind = HA_FACT_CLEAR, .guest = i};
        ha_propose(ha, &clear);
        ha->desks[i].not_before = 0;
    }
    if ((ask->command == HA_CMD_STOP || ask->command == HA_CMD_DISABLE) && g->mig)
        ha->desks[i].cancel_mig = g->mig;
    ha_propose(ha, &fact);
    static const char *const done[] = {
        [HA_CMD_START] = "will run", [HA_CMD_STOP] = "will be shut down",
        [HA_CMD_ENABLE] = "is enabled", [HA_CMD_DISABLE] = "is disabled and will be shut down"};
    OUTCOME(o, 0, "%s %s", g->name, done[ask->command]);
}

/* 0: no host is called that. */
static ha_node find_host(const struct ha *ha, const char *name)
{
    for (size_t k = 0; k < ha->config->nhosts; k++)
        if (strcmp(ha->config->hosts[k].name, name) == 0)
            return ha->config->hosts[k].node;
    return 0;
}

/* Whether a named host can take the guest; the outcome says which check failed, what would help. */
static bool target_fits(struct ha *ha, ha_node to, uint32_t i, struct ha_outcome *o)
{
    const char *host = ha_host_name(ha, to), *name = ha->prop.guests[i].name;
    const struct ha_host_fact *h = ha_facts_host(&ha->prop, to);
    char why[HA_TEXT_MAX];
    if (!h)
        OUTCOME(o, -EHOSTUNREACH, "%s cannot take %s: it is not part of the cluster", host, name);
    else if (ha_place_refused(ha, i, (size_t)(h - ha->prop.hosts), why, sizeof why))
        OUTCOME(o, -EHOSTUNREACH, "%s cannot take %s: %s", host, name, why);
    else
        return true;
    return false;
}

/* Where to: the host that was named, or the best one; 0 with an outcome that says why not. */
static ha_node move_target(struct ha *ha, const struct ha_ask *ask, uint32_t i,
                           struct ha_outcome *o)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    ha_used_count(ha, &ha->prop, ha->used_kib);
    if (!ask->host[0]) {
        char why[HA_TEXT_MAX];
        ha_node best = ha_place_elsewhere(ha, i, why, sizeof why);
        if (!best)
            OUTCOME(o, -EHOSTUNREACH, "no other host can take %s: %s", g->name, why);
        return best;
    }
    ha_node to = find_host(ha, ask->host);
    if (!to || to == g->owner) {
        OUTCOME(o, -EINVAL, "%s: name another host to move %s to",
                to ? "it runs there already" : "no such host", g->name);
        return 0;
    }
    return target_fits(ha, to, i, o) ? to : 0;
}

/* What the operator said, else what the configuration says, else live. */
static enum ha_move_kind move_kind(const struct ha_ask *ask, const struct ha_guest_config *c)
{
    if (strncmp(ask->text, "normal", 6) == 0)
        return HA_MOVE_NORMAL;
    if (strncmp(ask->text, "migrate", 7) == 0)
        return HA_MOVE_MIGRATE;
    bool said = strncmp(ask->text, "live", 4) == 0;
    return !said && c->move_type ? (enum ha_move_kind)c->move_type : HA_MOVE_LIVE;
}

/* Has what is asked for happened already, or begun? */
static bool moved(const struct ha_guest_fact *g, ha_node to)
{
    if (g->mig)
        return g->mig_host == to;
    return to && (g->recall ? g->prefer == to : g->owner == to);
}

static void ask_move(struct ha *ha, const struct ha_ask *ask, uint32_t i, struct ha_outcome *o)
{
    const struct ha_guest_fact *g = &ha->prop.guests[i];
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (ask->again && moved(g, find_host(ha, ask->host))) {
        OUTCOME(o, 0, "%s moves to %s", g->name, ask->host);
        return;
    }
    if (!c) {
        OUTCOME(o, -ENOENT, "%s is not in the configuration any more: add it to `guests`, then "
                "`xvmhactl reload`", g->name);
        return;
    }
    if (g->state == HA_GUEST_MIGRATING) {
        OUTCOME(o, -EBUSY, "%s is on its way to %s already; `xvmhactl move --cancel %s` calls that "
                "off", g->name, ha_host_name(ha, g->mig_host), g->name);
        return;
    }
    if (g->state != HA_GUEST_RUNNING) {
        OUTCOME(o, -EBUSY, "%s is %s: only a running guest can be moved", g->name,
                ha_guest_state_name(g->state));
        return;
    }
    if (!ha_wanted(g)) {
        OUTCOME(o, -EBUSY, "%s is being shut down: there is nothing to move", g->name);
        return;
    }
    enum ha_move_kind kind = move_kind(ask, c);
    bool cannot = kind == HA_MOVE_LIVE && (g->def_flags & HA_DEF_NO_LIVE);
    if (cannot && c->move_fallback != HA_FALLBACK_NORMAL) {
        OUTCOME(o, -EOPNOTSUPP, "%s cannot move live: its kind of guest cannot on these hypervisors; "
                "`--type migrate` suspends it for the time, `--type normal` stops and starts it",
                g->name);
        return;
    }
    if (cannot)
        kind = HA_MOVE_NORMAL;
    ha_node to = move_target(ha, ask, i, o);
    if (!to || ha_move_refused(ha, ask, i, to, o))
        return;
    if (!ha_propose_move(ha, i, to, kind, false)) {
        if (g->left_host)
            OUTCOME(o, -EBUSY, "%s cannot be moved now: %s has not cleaned up after its last move",
                    g->name, ha_host_name(ha, g->left_host));
        else
            OUTCOME(o, -EBUSY, "%s cannot be moved now: not every host knows how; upgrade them all",
                    g->name);
        return;
    }
    OUTCOME(o, 0, "%s moves to %s", g->name, ha_host_name(ha, to));
}

static void ask_guest(struct ha *ha, const struct ha_ask *ask, struct ha_outcome *o)
{
    const struct ha_guest_fact *g = ha_facts_guest(&ha->prop, ask->guest);
    if (!g) {
        OUTCOME(o, -ENOENT, "no guest is called %s", ask->guest);
        return;
    }
    uint32_t i = (uint32_t)(g - ha->prop.guests);
    const struct ha_guest_config *c = ha_guest_config(ha, i);
    if (c && c->external && ask->command != HA_CMD_CLEAR) {
        OUTCOME(o, -EPERM,
                "%s is managed elsewhere (`managed: external`): its orchestrator starts, stops and "
                "moves it, and nobody else", g->name);
        return;
    }
    if (ask->command == HA_CMD_RESTART) {
        o->code = ha_ask_restart(ha, ask, i, o->text, sizeof o->text);
    } else if (ask->command == HA_CMD_MOVE) {
        ask_move(ha, ask, i, o);
    } else if (ask->command == HA_CMD_MOVE_CANCEL) {
        OUTCOME(o, g->mig || ask->again ? 0 : -ENOENT,
                g->mig ? "the move of %s is being cancelled" : "%s is not being moved", g->name);
        ha->desks[i].cancel_mig = g->mig;
        ha->decide_due = true;
    } else if (ask->command == HA_CMD_CLEAR) {
        struct ha_fact fact = {.kind = HA_FACT_CLEAR, .guest = i};
        ha_propose(ha, &fact);
        ha->desks[i].not_before = 0;
        OUTCOME(o, 0, "the failures of %s are forgotten", g->name);
    } else {
        ask_want(ha, ask, i, o);
    }
}

/* Would the others still be enough to confirm anything? */
static bool enough_without(const struct ha *ha, ha_node node)
{
    size_t n = 0;
    for (size_t i = 0; i < ha->nmembers; i++) {
        const struct ha_member *m = &ha->members[i];
        const struct ha_host_fact *h = ha_facts_host(&ha->prop, m->node);
        n += m->node != node && m->present && !m->left && m->acked && m->counted && h &&
             h->state == HA_HOST_IN && !ha->host_desks[h - ha->prop.hosts].order;
    }
    if (ha->config->mode == HA_MODE_FENCE_ONLY)
        return n * 2 >= ha_facts_voters(&ha->prop);
    return n >= ha_votes_needed(ha);
}

static void ask_fence(struct ha *ha, const struct ha_ask *ask, const struct ha_host_fact *h,
                      struct ha_outcome *o)
{
    const struct ha_host_config *c = ha_host_config(ha, h->node);
    bool device = false;
    for (size_t i = 0; i < c->nlevels; i++)
        device |= c->levels[i].kind == HA_FENCE_DEVICE;
    if (h->state == HA_HOST_NEW || h->state == HA_HOST_OUT || h->state == HA_HOST_DEAD)
        OUTCOME(o, ask->again && h->state == HA_HOST_DEAD ? 0 : -EALREADY, "%s is %s: there is nothing to fence", ask->host,
                h->state == HA_HOST_DEAD  ? "confirmed dead already"
                : h->state == HA_HOST_OUT ? "out: it said goodbye"
                                          : "new: it never was a member");
    else if (!device)
        OUTCOME(o, -ENODEV, "%s has no fence device: switch it off by hand, then `xvmhactl fence "
                "confirm %s`", ask->host, ask->host);
    else if (h->distrusted)
        OUTCOME(o, -EPERM, "the fence device of %s lied and is not believed: switch it off by "
                "hand, then `xvmhactl fence confirm %s`", ask->host, ask->host);
    else if (!enough_without(ha, h->node))
        OUTCOME(o, -EBUSY, "without %s there would be no quorum: nothing could be started again",
                ask->host);
    else if (h->state == HA_HOST_FENCING)
        OUTCOME(o, 0, "%s is being fenced already", ask->host);
    else {
        ha->host_desks[h - ha->prop.hosts].order = true;
        OUTCOME(o, 0, "%s is being fenced; its guests start elsewhere once it is off", ask->host);
    }
}

static bool is_about_maintenance(const struct ha_ask *ask)
{
    return ask->command == HA_CMD_EVACUATE || ask->command == HA_CMD_MAINTENANCE_ON ||
           ask->command == HA_CMD_MAINTENANCE_OFF;
}

static void ask_host(struct ha *ha, const struct ha_ask *ask, struct ha_outcome *o)
{
    ha_node node = find_host(ha, ask->host);
    const struct ha_host_fact *h = node ? ha_facts_host(&ha->prop, node) : NULL;
    if (!h) {
        OUTCOME(o, -ENOENT, "no host is called %s", ask->host);
        return;
    }
    struct ha_host_desk *desk = &ha->host_desks[h - ha->prop.hosts];
    ha_name_copy(desk->who, ask->who);
    if (ha->half && is_about_maintenance(ask)) {
        OUTCOME(o, -EAGAIN, "half of the hosts are missing: no guest is moved before they are "
                "back or confirmed dead");
        return;
    }
    if (ha->half && (ask->command == HA_CMD_FENCE || ask->command == HA_CMD_HOST_CLEAR)) {
        OUTCOME(o, -EAGAIN, "half of the hosts are missing: they are fenced without being asked");
        return;
    }
    if (ask->command == HA_CMD_FENCE) {
        ask_fence(ha, ask, h, o);
        return;
    }
    if (is_about_maintenance(ask)) {
        ha_ask_maintenance(ha, ask, h, o);
        return;
    }
    if (ask->command == HA_CMD_HOST_CLEAR) {
        desk->calm = h->flaps > 0;
        OUTCOME(o, 0, h->flaps ? "the losses of %s are forgotten" : "%s has no losses to forget",
                ask->host);
        return;
    }
    if (ask->command == HA_CMD_HOST_REPLACE) {
        const struct ha_member *m = ha_member(ha, node, false);
        bool other = m && m->present && m->reported && !ha_uuid_eq(&m->boot, &h->boot);
        if (h->state == HA_HOST_IN || (ha_in_ring(ha, node) && !other)) {
            OUTCOME(o, -EBUSY, "%s is here: only a host that is gone can be replaced", ask->host);
            return;
        }
        desk->replace = true;
        OUTCOME(o, 0, "the next machine that comes as %s is admitted", ask->host);
        return;
    }
    if (ask->again && h->state == HA_HOST_DEAD) {
        OUTCOME(o, 0, "%s is confirmed dead", ask->host);
        return;
    }
    if (ha_in_ring(ha, node) || (h->state != HA_HOST_LOST && h->state != HA_HOST_FENCING)) {
        OUTCOME(o, -EBUSY, "%s is %s%s: only a host that is lost can be confirmed to be off",
                ask->host, ha_host_state_name(h->state),
                ha_in_ring(ha, node) ? " and in the ring" : "");
        return;
    }
    desk->confirm = true;
    desk->confirm_boot = h->boot;
    OUTCOME(o, 0, "%s counts as off, on your word; its guests start elsewhere", ask->host);
}

static void ask(struct ha *ha, const struct ha_ask *ask, struct ha_outcome *o)
{
    bool cluster = ask->command == HA_CMD_FREEZE || ask->command == HA_CMD_THAW ||
                   ask->command == HA_CMD_CHAIR;
    if (ha->prop.frozen && !cluster && ask->command < HA_CMD_COUNT) {
        OUTCOME(o, -EBUSY, "the cluster is frozen, nothing is changed: `xvmhactl thaw` first");
        return;
    }
    switch (ask->command) {
    case HA_CMD_START:
    case HA_CMD_STOP:
    case HA_CMD_ENABLE:
    case HA_CMD_DISABLE:
    case HA_CMD_CLEAR:
    case HA_CMD_MOVE:
    case HA_CMD_MOVE_CANCEL:
    case HA_CMD_RESTART:
        if (ha->half)
            OUTCOME(o, -EAGAIN,
                    "half of the hosts are missing: no guest is touched before they are confirmed "
                    "dead, by a fence device or by `xvmhactl fence confirm HOST`");
        else
            ask_guest(ha, ask, o);
        break;
    case HA_CMD_FENCE_CONFIRM:
    case HA_CMD_HOST_REPLACE:
    case HA_CMD_FENCE:
    case HA_CMD_HOST_CLEAR:
    case HA_CMD_EVACUATE:
    case HA_CMD_MAINTENANCE_ON:
    case HA_CMD_MAINTENANCE_OFF:
        ask_host(ha, ask, o);
        ha->decide_due = true; /* the facts come with the next round */
        break;
    case HA_CMD_CONFIG:
        if (ha->half)
            OUTCOME(o, -EAGAIN, "half of the hosts are missing: first they are confirmed dead");
        else
            o->code = ha_ask_config(ha, ask, o->text, sizeof o->text);
        break;
    case HA_CMD_FREEZE:
    case HA_CMD_CHAIR:
        if (ha->half) {
            OUTCOME(o, -EAGAIN, "half of the hosts are missing: first they are confirmed dead");
            break;
        }
        /* fall through */
    case HA_CMD_THAW:
        o->code = ha_ask_cluster(ha, ask, o->text, sizeof o->text);
        ha->decide_due = true;
        break;
    default:
        OUTCOME(o, -EOPNOTSUPP, "the coordinator does not know this command: upgrade it");
        break;
    }
}

/* A move right after a move: its source is usually done in a moment. */
static bool must_wait(struct ha *ha, const struct ha_pending_ask *p)
{
    const struct ha_guest_fact *g =
        p->ask.command == HA_CMD_MOVE ? ha_facts_guest(&ha->prop, p->ask.guest) : NULL;
    bool tidying = g && (g->left_host || g->state == HA_GUEST_ARRIVED);
    if (!tidying || ha->now >= p->since + TIDY_MOST)
        return false;
    ha_wake(ha, p->since + TIDY_MOST);
    return true;
}

void ha_decide_asks(struct ha *ha)
{
    size_t kept = 0;
    for (size_t i = 0; i < ha->nasks; i++) {
        struct ha_pending_ask *p = &ha->asks[i];
        if (p->index || must_wait(ha, p)) {
            ha->asks[kept++] = *p;
            continue;
        }
        struct ha_outcome o = {0};
        ask(ha, &p->ask, &o);
        ha_report(ha, HA_REPORT_COMMAND, HA_SEV_NOTICE, p->from, p->ask.guest, "%s: %s",
                  p->ask.who, o.text);
        if (o.code < 0) {
            send_answer(ha, p->from, p->instance, p->ask.id, o.code, o.text);
            continue;
        }
        if (ha->half && p->ask.command == HA_CMD_THAW) { /* stable only once the other is dead */
            send_answer(ha, p->from, p->instance, p->ask.id, 0, o.text);
            continue;
        }
        p->index = ha->prop_i;
        ha_name_copy(p->ask.who, "");
        ha_say(p->answer, sizeof p->answer, "%s", o.text);
        ha->asks[kept++] = *p;
    }
    ha->nasks = kept;
    ha_asks_answer_stable(ha);
}

void ha_asks_answer_stable(struct ha *ha)
{
    size_t kept = 0;
    for (size_t i = 0; i < ha->nasks; i++) {
        struct ha_pending_ask *p = &ha->asks[i];
        if (p->index && p->index <= ha->stable_i)
            send_answer(ha, p->from, p->instance, p->ask.id, 0, p->answer);
        else
            ha->asks[kept++] = *p;
    }
    ha->nasks = kept;
    if (ha->init_client && !ha_uuid_zero(&ha->stable.cluster)) {
        ha_reply(ha, ha->init_client, 0, "the cluster is founded");
        ha->init_client = 0;
    }
}
