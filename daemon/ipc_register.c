/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Methods of the control socket about the register of guests: the configuration changed on all
 * hosts, shown, exported; and the switch for debugging. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc_internal.h"

/* The end of a call whose function has not taken it. */
static void refused(struct xvm_client *client, int r, char *text)
{
    client->waiting = 0;
    xvm_client_command_done(client, r,
                            text != NULL ? text
                            : r == -EBUSY ? "several such requests are under way: repeat soon"
                            : r == -ENOTCONN || r == -EAGAIN
                                ? "the other hosts cannot be asked: is corosync running?"
                                : NULL);
    free(text);
}

/* Programs that the configuration names run as root (probes, fence agents), and the file may be
 * root's alone to read: members of the group that may steer the cluster must not become
 * root by it. */
static bool is_root(struct xvm_client *client)
{
    char who[HA_NAME_MAX];

    if (client->uid == 0)
        return true;
    xvm_user_name(client->uid, who, sizeof(who));
    xvm_client_error_text(client, "org.xvmha.PermissionDenied",
                          "user %s may not see or change the configuration: that is for root, for "
                          "whom programs run that it names",
                          who);
    return false;
}

static bool take_what(struct xvm_client *client, json_t *params,
                      struct xvm_register_request *request)
{
    const char *what = json_string_value(json_object_get(params, "what"));

    request->guest = json_string_value(json_object_get(params, "guest"));
    request->fragment = json_string_value(json_object_get(params, "text"));
    request->force = json_is_true(json_object_get(params, "force"));
    if (what != NULL && strcmp(what, "add") == 0)
        request->what = XVM_REGISTER_ADD;
    else if (what != NULL && strcmp(what, "remove") == 0)
        request->what = XVM_REGISTER_REMOVE;
    else if (what != NULL && strcmp(what, "push") == 0)
        request->what = XVM_REGISTER_PUSH;
    else
        what = NULL;
    if (what == NULL)
        xvm_client_bad_parameter(client, "what");
    else if (request->what == XVM_REGISTER_ADD && request->fragment == NULL)
        xvm_client_bad_parameter(client, "text");
    else if (request->what == XVM_REGISTER_REMOVE && request->guest == NULL)
        xvm_client_bad_parameter(client, "guest");
    else
        return true;
    return false;
}

void xvm_client_config_change(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    struct xvm_register_request request = {0};
    const struct ha *core = xvm_client_core(client);
    char who[HA_NAME_MAX], *text = NULL;
    int r;

    if (core == NULL || !is_root(client) || !take_what(client, params, &request))
        return;
    if (request.what == XVM_REGISTER_REMOVE &&
        !xvm_client_know_guest(client, core, request.guest))
        return;
    xvm_user_name(client->uid, who, sizeof(who));
    request.who = who;
    /* The core may answer before this returns. */
    request.client = client->waiting = ++client->ipc->last_id;
    r = env->config_change != NULL ? env->config_change(env->user, &request, &text) : -EOPNOTSUPP;
    if (r < 0)
        refused(client, r, text);
}

void xvm_client_config_file(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    char host[HA_NAME_MAX] = "", *text = NULL;
    int r;

    if (xvm_client_core(client) == NULL || !is_root(client) ||
        !xvm_client_take_host(client, params, host))
        return;
    client->waiting = ++client->ipc->last_id;
    r = env->config_file != NULL
            ? env->config_file(env->user, client->waiting, host[0] ? host : NULL, &text)
            : -EOPNOTSUPP;
    if (r < 0)
        refused(client, r, text);
}

void xvm_client_guest_export(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    const char *guest = json_string_value(json_object_get(params, "guest"));
    const struct ha *core = xvm_client_core(client);
    json_t *answer = NULL;
    char *text = NULL;
    int r;

    if (core == NULL || !is_root(client))
        return;
    if (guest == NULL) {
        xvm_client_bad_parameter(client, "guest");
        return;
    }
    if (!xvm_client_know_guest(client, core, guest))
        return;
    r = env->guest_export != NULL ? env->guest_export(env->user, guest, &answer, &text)
                                  : -EOPNOTSUPP;
    if (r < 0)
        refused(client, r, text);
    else
        xvm_client_answer(client, answer);
}

void xvm_client_debug(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    const json_t *on = json_object_get(params, "on");
    const char *name = json_string_value(json_object_get(params, "name"));
    const struct ha *core = xvm_client_core(client);
    bool host = true;
    char who[HA_NAME_MAX];
    int r;

    if (core == NULL)
        return;
    if (!json_is_boolean(on)) {
        xvm_client_bad_parameter(client, "on");
        return;
    }
    if (name != NULL && !xvm_client_know_name(client, core, name, &host))
        return;
    xvm_user_name(client->uid, who, sizeof(who));
    r = env->debug != NULL
            ? env->debug(env->user, name != NULL ? name : "", host, json_is_true(on), who)
            : -EOPNOTSUPP;
    if (r < 0)
        refused(client, r, NULL);
    else
        xvm_client_answer(client, json_pack("{s:s}", "text", "told to every host"));
}
