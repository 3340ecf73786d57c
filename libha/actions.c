/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of actions a step leaves behind, and the short ways to add to it. */
#include "core.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void ha_actions_clear(struct ha_actions *actions)
{
    for (size_t i = 0; i < actions->nblocks; i++)
        free(actions->blocks[i]);
    actions->nblocks = 0;
    actions->n = 0;
}

void ha_actions_done(struct ha_actions *actions)
{
    ha_actions_clear(actions);
    free(actions->v);
    free(actions->blocks);
    *actions = (struct ha_actions){0};
}

/* A place to write to when memory ran out: the step will end with -ENOMEM. */
static struct ha_action *spare(struct ha *ha)
{
    ha->nomem = true;
    return NULL;
}

struct ha_action *ha_act(struct ha *ha, enum ha_action_type type)
{
    struct ha_actions *a = ha->out;
    if (a->n == a->size) {
        size_t size = a->size ? a->size * 2 : 32;
        struct ha_action *v = realloc(a->v, size * sizeof *v);
        if (!v)
            return spare(ha);
        a->v = v;
        a->size = size;
    }
    struct ha_action *action = &a->v[a->n++];
    memset(action, 0, sizeof *action);
    action->type = type;
    return action;
}

static bool own(struct ha *ha, void *block)
{
    struct ha_actions *a = ha->out;
    if (a->nblocks == a->blocks_size) {
        size_t size = a->blocks_size ? a->blocks_size * 2 : 32;
        void **v = realloc(a->blocks, size * sizeof *v);
        if (!v) {
            free(block);
            ha->nomem = true;
            return false;
        }
        a->blocks = v;
        a->blocks_size = size;
    }
    a->blocks[a->nblocks++] = block;
    return true;
}

const void *ha_act_own(struct ha *ha, struct ha_put *put, size_t *ret_len)
{
    if (put->failed) {
        ha_put_done(put);
        ha->nomem = true;
        return NULL;
    }
    void *v = put->v;
    *ret_len = put->n;
    *put = (struct ha_put){0};
    if (v && !own(ha, v))
        return NULL;
    return v;
}

void ha_send(struct ha *ha, struct ha_put *put)
{
    size_t len = 0;
    const void *data = ha_act_own(ha, put, &len);
    struct ha_action *a = data ? ha_act(ha, HA_ACT_SEND) : NULL;
    if (a) {
        a->u.send.data = data;
        a->u.send.len = len;
    }
}

struct ha_put ha_msg_new(const struct ha *ha, enum ha_msg_kind kind)
{
    struct ha_put put = {0};
    struct ha_msg_head head = {kind, ha->instance, ha->boot};
    ha_msg_put_head(&put, &head);
    return put;
}

void ha_report(struct ha *ha, enum ha_report what, enum ha_severity severity, ha_node node,
               const char *guest, const char *format, ...)
{
    struct ha_action *a = ha_act(ha, HA_ACT_REPORT);
    if (!a)
        return;
    a->u.report.what = what;
    a->u.report.severity = severity;
    a->u.report.node = node;
    ha_name_copy(a->u.report.guest, guest ? guest : "");
    va_list ap;
    va_start(ap, format);
    ha_vsay(a->u.report.text, sizeof a->u.report.text, format, ap);
    va_end(ap);
}

void ha_reply(struct ha *ha, uint64_t client, int code, const char *format, ...)
{
    struct ha_action *a = ha_act(ha, HA_ACT_REPLY);
    if (!a)
        return;
    a->u.reply.client = client;
    a->u.reply.code = code;
    va_list ap;
    va_start(ap, format);
    ha_vsay(a->u.reply.text, sizeof a->u.reply.text, format, ap);
    va_end(ap);
}

void ha_halt(struct ha *ha, const char *text)
{
    ha->halted = true;
    struct ha_action *a = ha_act(ha, HA_ACT_HALT);
    if (a)
        ha_say(a->u.text, sizeof a->u.text, "%s", text);
}

void ha_wake(struct ha *ha, ha_ms at)
{
    if (at < ha->deadline)
        ha->deadline = at;
}

const struct ha_host_config *ha_host_config(const struct ha *ha, ha_node node)
{
    for (size_t i = 0; ha->config && i < ha->config->nhosts; i++)
        if (ha->config->hosts[i].node == node)
            return &ha->config->hosts[i];
    return NULL;
}

const char *ha_host_name(const struct ha *ha, ha_node node)
{
    const struct ha_host_config *h = ha_host_config(ha, node);
    return h ? h->name : "a host that is not in the configuration";
}

const struct ha_guest_config *ha_guest_config(const struct ha *ha, uint32_t guest)
{
    if (guest >= ha->ndesks || !ha->config_guest || ha->config_guest[guest] < 0)
        return NULL;
    return &ha->config->guests[ha->config_guest[guest]];
}
