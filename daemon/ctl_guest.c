/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for one guest: start, stop, enable, disable, clear, move. */
#include <string.h>

#include "ctl.h"

/* Whether the guest should run after the command, for --wait. */
static enum ctl_goal goal_of(const char *method)
{
    return strcmp(method, "stop") == 0 || strcmp(method, "disable") == 0 ? GOAL_STOPPED
                                                                         : GOAL_RUNNING;
}

int ctl_guest(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    bool force = (ctl->given & OPT_FORCE) != 0;
    int r = ctl_request_print(ctl, command->method, args[0], "", force ? "force" : "");

    (void)nargs;
    if (r == CTL_OK && (ctl->given & OPT_WAIT) != 0)
        r = ctl_wait(ctl, args[0], goal_of(command->method), "", 0);
    return r;
}

/* Where the guest is now, so that --wait can tell that it left; and its last failed move, so that
 * it can tell a new failure from an old one. */
static int where_is(const struct ctl *ctl, const char *guest, char *buf, size_t size,
                    long long *ret_mig)
{
    json_t *status = NULL;
    const json_t *g;
    int r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);

    if (r != CTL_OK)
        return r;
    g = ctl_find_guest(status, guest);
    snprintf(buf, size, "%s", g != NULL ? ctl_string(g, "host") : "");
    *ret_mig = g != NULL ? ctl_int(json_object_get(g, "transfer"), "migration") : 0;
    json_decref(status);
    return CTL_OK;
}

int ctl_move(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    const char *type = (ctl->given & OPT_TYPE) != 0 ? ctl->type : "";
    const char *host = nargs > 1 ? args[1] : "";
    bool wait = (ctl->given & OPT_WAIT) != 0, force = (ctl->given & OPT_FORCE) != 0;
    char from[128] = "", text[32];
    long long mig = 0;
    int r = CTL_OK;

    (void)command;
    if ((ctl->given & OPT_CANCEL) != 0) {
        if (nargs > 1 || type[0] != '\0' || wait || force)
            return ctl_usage_error("move --cancel takes only the guest's name");
        return ctl_request_print(ctl, "move-cancel", args[0], "", "");
    }
    if (type[0] != '\0' && strcmp(type, "live") != 0 && strcmp(type, "migrate") != 0 &&
        strcmp(type, "normal") != 0)
        return ctl_usage_error("move --type %s, expected live, migrate or normal", type);
    snprintf(text, sizeof(text), "%s%s%s", type, force && type[0] != '\0' ? "," : "",
             force ? "force" : "");
    if (wait)
        r = where_is(ctl, args[0], from, sizeof(from), &mig);
    if (r == CTL_OK)
        r = ctl_request_print(ctl, "move", args[0], host, text);
    if (r == CTL_OK && wait && strcmp(from, host) != 0)
        r = ctl_wait(ctl, args[0], GOAL_MOVED, from, mig);
    return r;
}
