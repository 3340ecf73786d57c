/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The methods of the control socket: one table, one function each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_nearest.h"
#include "ipc_internal.h"
#include "status_json.h"
#include "version.h"

enum { LEAVE_MAX_MS = 24 * 3600 * 1000 };

void xvm_client_bad_parameter(struct xvm_client *client, const char *name)
{
    xvm_client_error(client, "org.varlink.service.InvalidParameter",
                     json_pack("{s:o}", "parameter", xvm_json_text(name)));
}

const struct ha *xvm_client_core(struct xvm_client *client)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    const struct ha *core = env->core(env->user);

    if (core == NULL)
        xvm_client_error_text(client, "org.xvmha.NotReady", "xvm-had is not ready yet: %s",
                              env->waits_for != NULL
                                  ? env->waits_for(env->user)
                                  : "it starts, or waits for corosync (systemctl status corosync; "
                                    "journalctl -u xvm-had)");
    return core;
}

/* --------------------------------------------------------------------------------- reading */

static void on_get_info(struct xvm_client *client, json_t *params)
{
    (void)params;
    xvm_client_answer(client, json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "xvm-had",
                                        "product", "xvm-had", "version", XVM_VERSION, "url", "",
                                        "interfaces", "org.varlink.service", "org.xvmha"));
}

static void on_get_description(struct xvm_client *client, json_t *params)
{
    const char *interface = json_string_value(json_object_get(params, "interface"));
    const char *text;

    if (interface == NULL) {
        xvm_client_bad_parameter(client, "interface");
        return;
    }
    text = xvm_varlink_description(interface);
    if (text == NULL)
        xvm_client_error(client, "org.varlink.service.InterfaceNotFound",
                         json_pack("{s:s}", "interface", interface));
    else
        xvm_client_answer(client, json_pack("{s:s}", "description", text));
}

static void on_ping(struct xvm_client *client, json_t *params)
{
    (void)params;
    xvm_client_answer(client, NULL);
}

static void on_status(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    const struct ha *core = xvm_client_core(client);

    (void)params;
    if (core != NULL && !client->oneway)
    {
        json_t *all = xvm_status_json(core, env->now(env->user), env->config(env->user));

        if (all != NULL && env->clock != NULL)
            xvm_status_clocks(all, env->clock, env->user);
        if (all != NULL)
            xvm_status_register(all, env->config(env->user));
        xvm_client_answer(client, all);
    }
}

static void on_instance(struct xvm_client *client, json_t *params)
{
    const struct ha *core = xvm_client_core(client);
    json_t *instance;

    (void)params;
    if (core == NULL || client->oneway)
        return;
    instance = xvm_instance_json(core);
    if (instance == NULL)
        xvm_client_error_text(client, "org.xvmha.NotReady",
                              "there is no cluster to plan for yet: `xvmhactl status` says why");
    else
        xvm_client_answer(client, json_pack("{s:o}", "instance", instance));
}

static void on_events(struct xvm_client *client, json_t *params)
{
    json_t *last = json_object_get(params, "last");
    json_int_t n = json_is_integer(last) ? json_integer_value(last) : 50;

    if ((last != NULL && !json_is_integer(last) && !json_is_null(last)) || n < 0)
        xvm_client_bad_parameter(client, "last");
    else if (!client->oneway)
        xvm_client_answer(client, json_pack("{s:o}", "events",
                                            xvm_event_log_json(client->ipc->events, (size_t)n)));
}

/* -------------------------------------------------------------------------------- commands */

enum need {
    NEED_NOTHING,
    NEED_GUEST,
    NEED_HOST,
    NEED_GUEST_AND_MAYBE_HOST,
};

static const struct command {
    const char *name;
    enum ha_command command;
    enum need need;
} commands[] = {
    {"start", HA_CMD_START, NEED_GUEST},
    {"stop", HA_CMD_STOP, NEED_GUEST},
    {"enable", HA_CMD_ENABLE, NEED_GUEST},
    {"disable", HA_CMD_DISABLE, NEED_GUEST},
    {"clear", HA_CMD_CLEAR, NEED_GUEST},
    {"restart", HA_CMD_RESTART, NEED_GUEST},
    {"move", HA_CMD_MOVE, NEED_GUEST_AND_MAYBE_HOST},
    {"move-cancel", HA_CMD_MOVE_CANCEL, NEED_GUEST},
    {"fence-confirm", HA_CMD_FENCE_CONFIRM, NEED_HOST},
    {"host-replace", HA_CMD_HOST_REPLACE, NEED_HOST},
    {"init", HA_CMD_INIT, NEED_NOTHING},
    {"lineage-force", HA_CMD_LINEAGE_FORCE, NEED_NOTHING},
    {"fence", HA_CMD_FENCE, NEED_HOST},
    {"host-clear", HA_CMD_HOST_CLEAR, NEED_HOST},
    {"evacuate", HA_CMD_EVACUATE, NEED_HOST},
    {"maintenance-on", HA_CMD_MAINTENANCE_ON, NEED_HOST},
    {"maintenance-off", HA_CMD_MAINTENANCE_OFF, NEED_HOST},
    {"freeze", HA_CMD_FREEZE, NEED_NOTHING},
    {"thaw", HA_CMD_THAW, NEED_NOTHING},
    {"coordinator", HA_CMD_CHAIR, NEED_HOST},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

/* Copies an optional string parameter; false: it is no string or too long, and the client knows. */
static bool take_text(struct xvm_client *client, json_t *params, const char *name,
                      char buf[HA_NAME_MAX])
{
    json_t *value = json_object_get(params, name);
    const char *text = json_string_value(value);

    if (value == NULL || json_is_null(value))
        return true;
    if (text == NULL || strlen(text) >= HA_NAME_MAX) {
        xvm_client_bad_parameter(client, name);
        return false;
    }
    strcpy(buf, text);
    return true;
}

static bool known(struct xvm_nearest *nearest, const char *name)
{
    if (name == NULL)
        return false;
    xvm_nearest_try(nearest, name);
    return strcmp(name, nearest->wanted) == 0;
}

/* A guest counts if the configuration or the facts know it: one that was taken out of the file can
 * still run, and an operator must be able to stop it. */
static bool known_guest(const struct xvm_ipc *ipc, const struct ha *core,
                        struct xvm_nearest *nearest)
{
    const struct ha_config *config = ipc->env.config(ipc->env.user);
    ha_ms now = ipc->env.now(ipc->env.user);
    struct ha_guest_status guest = {0};
    struct ha_status status;

    for (size_t i = 0; config != NULL && i < config->nguests; i++) {
        if (known(nearest, config->guests[i].name))
            return true;
    }
    ha_status(core, now, &status);
    for (size_t i = 0; i < status.nguests; i++) {
        ha_status_guest(core, now, i, &guest);
        if (known(nearest, guest.name))
            return true;
    }
    return false;
}

static bool known_host(const struct xvm_ipc *ipc, struct xvm_nearest *nearest)
{
    const struct ha_config *config = ipc->env.config(ipc->env.user);

    for (size_t i = 0; config != NULL && i < config->nhosts; i++) {
        if (known(nearest, config->hosts[i].name))
            return true;
    }
    return false;
}

static void unknown_name(struct xvm_client *client, const char *kind,
                         const struct xvm_nearest *nearest)
{
    char text[HA_TEXT_MAX];

    if (nearest->best != NULL)
        snprintf(text, sizeof(text), "no %s named %s: did you mean %s?", kind, nearest->wanted,
                 nearest->best);
    else
        snprintf(text, sizeof(text), "no %s named %s: `xvmhactl status` lists them", kind,
                 nearest->wanted);
    xvm_client_error(client, "org.xvmha.UnknownName",
                     json_pack("{s:s, s:o, s:o, s:o}", "kind", kind, "name",
                               xvm_json_text(nearest->wanted), "nearest",
                               xvm_json_text(nearest->best != NULL ? nearest->best : ""), "text",
                               xvm_json_text(text)));
}

static bool check_names(struct xvm_client *client, const struct ha *core, enum need need,
                        const struct ha_request *request)
{
    struct xvm_nearest guest = {.wanted = request->guest}, host = {.wanted = request->host};
    bool with_guest = need == NEED_GUEST || need == NEED_GUEST_AND_MAYBE_HOST;
    bool with_host = need == NEED_HOST || need == NEED_GUEST_AND_MAYBE_HOST;

    if (with_guest && request->guest[0] == '\0')
        xvm_client_bad_parameter(client, "guest");
    else if (need == NEED_HOST && request->host[0] == '\0')
        xvm_client_bad_parameter(client, "host");
    else if (with_guest && !known_guest(client->ipc, core, &guest))
        unknown_name(client, "guest", &guest);
    else if (with_host && request->host[0] != '\0' && !known_host(client->ipc, &host))
        unknown_name(client, "host", &host);
    else
        return true;
    return false;
}

bool xvm_client_know_guest(struct xvm_client *client, const struct ha *core, const char *guest)
{
    struct xvm_nearest nearest = {.wanted = guest};

    if (known_guest(client->ipc, core, &nearest))
        return true;
    unknown_name(client, "guest", &nearest);
    return false;
}

bool xvm_client_know_name(struct xvm_client *client, const struct ha *core, const char *name,
                          bool *ret_host)
{
    struct xvm_nearest host = {.wanted = name};

    *ret_host = known_host(client->ipc, &host);
    return *ret_host || xvm_client_know_guest(client, core, name);
}

static bool check_move_kind(struct xvm_client *client, const char *text)
{
    static const char *const kinds[] = {"live", "migrate", "normal"};

    if (text[0] == '\0' || strcmp(text, "force") == 0)
        return true;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t len = strlen(kinds[i]);

        if (strncmp(text, kinds[i], len) == 0 &&
            (text[len] == '\0' || strcmp(text + len, ",force") == 0))
            return true;
    }
    xvm_client_bad_parameter(client, "text");
    return false;
}

static void on_command(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    const char *name = json_string_value(json_object_get(params, "command"));
    const struct command *command = find_command(name);
    const struct ha *core = xvm_client_core(client);
    struct ha_request request = {0};

    if (core == NULL)
        return;
    if (command == NULL) {
        xvm_client_bad_parameter(client, "command");
        return;
    }
    request.command = command->command;
    if (!take_text(client, params, "guest", request.guest) ||
        !take_text(client, params, "host", request.host) ||
        !take_text(client, params, "text", request.text) ||
        !check_names(client, core, command->need, &request) ||
        (command->command == HA_CMD_MOVE && !check_move_kind(client, request.text)))
        return;
    xvm_user_name(client->uid, request.who, sizeof(request.who));
    /* The core may answer before this returns. */
    request.client = client->waiting = ++client->ipc->last_id;
    env->command(env->user, &request);
}

void xvm_client_command_done(struct xvm_client *client, int code, const char *text)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    const struct ha *core = env->core(env->user);
    struct ha_status status = {0};

    if (text == NULL)
        text = code == 0 ? "done" : strerror(-code);
    if (code == 0) {
        xvm_client_answer(client, json_pack("{s:i, s:o}", "code", 0, "text", xvm_json_text(text)));
        return;
    }
    if (core != NULL)
        ha_status(core, env->now(env->user), &status);
    xvm_client_error(client, "org.xvmha.Failed",
                     json_pack("{s:i, s:o, s:b}", "code", code, "text", xvm_json_text(text),
                               "quorate", status.quorate));
}

static void on_reload(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    char *text = NULL;
    int r;

    (void)params;
    xvm_groups_find(&client->ipc->groups); /* the groups may have been made since */
    client->waiting = ++client->ipc->last_id;
    r = env->reload(env->user, client->waiting, &text);
    if (r == -EINPROGRESS)
        return;
    client->waiting = 0;
    if (r < 0) {
        xvm_client_command_done(client, r, text);
    } else {
        xvm_client_answer(client, json_pack("{s:o}", "text", xvm_json_text(text ? text : "")));
    }
    free(text);
}

static void on_leave(struct xvm_client *client, json_t *params)
{
    const json_t *limit = json_object_get(params, "timeout_ms");
    json_int_t limit_ms = 0;
    const struct xvm_ipc_env *env = &client->ipc->env;

    if (json_is_integer(limit) && json_integer_value(limit) > 0)
        limit_ms = json_integer_value(limit);
    if (xvm_client_core(client) == NULL)
        return;
    env->leave(env->user, limit_ms < LEAVE_MAX_MS ? limit_ms : LEAVE_MAX_MS);
    xvm_client_answer(client, NULL);
}

/* ---------------------------------------------------------------------------------- fencing */

/* An optional host by name. False: answered with an error already. */
bool xvm_client_take_host(struct xvm_client *client, json_t *params, char host[static HA_NAME_MAX])
{
    struct xvm_nearest nearest = {.wanted = host};

    if (!take_text(client, params, "host", host))
        return false;
    if (host[0] == '\0' || known_host(client->ipc, &nearest))
        return true;
    unknown_name(client, "host", &nearest);
    return false;
}

static void on_fence_history(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    json_t *last = json_object_get(params, "last");
    json_int_t n = json_is_integer(last) ? json_integer_value(last) : 50;
    char host[HA_NAME_MAX] = "";

    if ((last != NULL && !json_is_integer(last) && !json_is_null(last)) || n < 0)
        xvm_client_bad_parameter(client, "last");
    else if (xvm_client_take_host(client, params, host))
        xvm_client_answer(client,
                          json_pack("{s:o}", "entries",
                                    env->fence_history != NULL
                                        ? env->fence_history(env->user, host, (size_t)n)
                                        : json_array()));
}

static void on_fence_check(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    char host[HA_NAME_MAX] = "";
    int r;

    if (xvm_client_core(client) == NULL || !xvm_client_take_host(client, params, host))
        return;
    client->waiting = ++client->ipc->last_id;
    r = env->fence_check != NULL
            ? env->fence_check(env->user, client->waiting, host[0] != '\0' ? host : NULL)
            : -EOPNOTSUPP;
    if (r == 0)
        return;
    client->waiting = 0;
    xvm_client_command_done(client, r,
                            r == -EBUSY ? "several checks are under way: repeat in a moment"
                                        : NULL);
}

static void on_validate(struct xvm_client *client, json_t *params)
{
    const struct xvm_ipc_env *env = &client->ipc->env;
    const char *guest = json_string_value(json_object_get(params, "guest"));
    int r;

    if (xvm_client_core(client) == NULL)
        return;
    client->waiting = ++client->ipc->last_id;
    r = env->validate != NULL ? env->validate(env->user, client->waiting, guest) : -EOPNOTSUPP;
    if (r == 0)
        return;
    client->waiting = 0;
    xvm_client_command_done(client, r,
                            r == -EBUSY      ? "several validations are under way: repeat soon"
                            : r == -ENOENT   ? "no guest of that name is in the configuration"
                            : r == -ENOTCONN ? "nobody can be asked: is corosync running?"
                                             : NULL);
}

/* ------------------------------------------------------------------------------------ calls */

static const struct method {
    const char *name;
    enum xvm_access access;
    void (*call)(struct xvm_client *client, json_t *params);
} methods[] = {
    {"org.varlink.service.GetInfo", XVM_ACCESS_READ, on_get_info},
    {"org.varlink.service.GetInterfaceDescription", XVM_ACCESS_READ, on_get_description},
    {"org.xvmha.Ping", XVM_ACCESS_READ, on_ping},
    {"org.xvmha.Status", XVM_ACCESS_READ, on_status},
    {"org.xvmha.Events", XVM_ACCESS_READ, on_events},
    {"org.xvmha.Instance", XVM_ACCESS_READ, on_instance},
    {"org.xvmha.Command", XVM_ACCESS_CHANGE, on_command},
    {"org.xvmha.Reload", XVM_ACCESS_CHANGE, on_reload},
    {"org.xvmha.Leave", XVM_ACCESS_CHANGE, on_leave},
    {"org.xvmha.FenceHistory", XVM_ACCESS_READ, on_fence_history},
    {"org.xvmha.FenceCheck", XVM_ACCESS_CHANGE, on_fence_check},
    {"org.xvmha.Validate", XVM_ACCESS_CHANGE, on_validate},
    {"org.xvmha.ConfigChange", XVM_ACCESS_CHANGE, xvm_client_config_change},
    {"org.xvmha.ConfigFile", XVM_ACCESS_CHANGE, xvm_client_config_file},
    {"org.xvmha.GuestExport", XVM_ACCESS_CHANGE, xvm_client_guest_export},
    {"org.xvmha.Debug", XVM_ACCESS_CHANGE, xvm_client_debug},
};

static void unknown_method(struct xvm_client *client, const char *name)
{
    const char *dot = strrchr(name, '.');
    char interface[128];
    size_t len = dot != NULL ? (size_t)(dot - name) : strlen(name);

    snprintf(interface, sizeof(interface), "%.*s", (int)(len < 100 ? len : 100), name);
    if (xvm_varlink_description(interface) == NULL)
        xvm_client_error(client, "org.varlink.service.InterfaceNotFound",
                         json_pack("{s:o}", "interface", xvm_json_text(interface)));
    else
        xvm_client_error(client, "org.varlink.service.MethodNotFound",
                         json_pack("{s:o}", "method", xvm_json_text(name)));
}

static void permission_denied(struct xvm_client *client, enum xvm_access needed)
{
    char who[HA_NAME_MAX];

    xvm_user_name(client->uid, who, sizeof(who));
    if (needed == XVM_ACCESS_CHANGE)
        xvm_client_error_text(client, "org.xvmha.PermissionDenied",
                              "user %s may not change the cluster: that is for root and members of "
                              "group " XVM_GROUP_CHANGE,
                              who);
    else
        xvm_client_error_text(
            client, "org.xvmha.PermissionDenied",
            "user %s may not look at the cluster: that is for root and members of "
            "the groups " XVM_GROUP_CHANGE " and " XVM_GROUP_READ,
            who);
    client->closing = client->access == XVM_ACCESS_NONE;
}

static void call(struct xvm_client *client, json_t *message, const char *name)
{
    json_t *params = json_object_get(message, "parameters");
    const struct method *method = NULL;

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i].name, name) == 0)
            method = &methods[i];
    }
    client->oneway = json_is_true(json_object_get(message, "oneway"));
    if (client->access == XVM_ACCESS_NONE)
        permission_denied(client, method != NULL ? method->access : XVM_ACCESS_READ);
    else if (method == NULL)
        unknown_method(client, name);
    else if (client->access < method->access)
        permission_denied(client, method->access);
    else if (!client->oneway && xvm_client_gone(client))
        client->closing = true; /* nobody waits for it any more, so nobody expects it to be done */
    else if (params != NULL && !json_is_object(params) && !json_is_null(params))
        xvm_client_bad_parameter(client, "parameters");
    else
        method->call(client, params);
}

void xvm_client_call(struct xvm_client *client, const char *message, size_t len)
{
    json_error_t error;
    json_t *json = json_loadb(message, len, JSON_REJECT_DUPLICATES, &error);
    const char *method = json_string_value(json_object_get(json, "method"));

    if (json == NULL || method == NULL) {
        client->closing = true;
        xvm_client_error_text(client, "org.xvmha.BadMessage", "not a varlink call: %s",
                              json == NULL ? error.text : "expected an object with a `method`");
    } else {
        call(client, json, method);
    }
    json_decref(json);
}
