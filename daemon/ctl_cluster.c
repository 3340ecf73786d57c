/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for the cluster and its hosts. Those that vouch for something the cluster cannot see ask
 * first. */
#include <string.h>
#include <unistd.h>

#include "ctl.h"

enum { FREEZE_POLLS = 100, POLL_US = 100 * 1000 };

/* Has the operator type `word`. CTL_OK, or an exit code. */
int ctl_confirm(const struct ctl *ctl, const char *warning, const char *word)
{
    char line[128];

    if ((ctl->given & OPT_YES) != 0)
        return CTL_OK;
    if (isatty(STDIN_FILENO) != 1)
        return ctl_usage_error("this wants a person's word: run it on a terminal, or add --yes");
    ctl_put_wrapped(ctl, STYLE_PLAIN, warning, 0, 0);
    printf("Type %s to go on: ", word);
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, word) == 0)
        return CTL_OK;
    fputs("xvmhactl: not confirmed, nothing was changed\n", stderr);
    return CTL_FAILED;
}

int ctl_cluster(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    int r = CTL_OK;

    (void)args;
    (void)nargs;
    if (strcmp(command->method, "lineage-force") == 0)
        r = ctl_confirm(ctl,
                    "You vouch that every other host is off, or runs no guest and will not be "
                    "reached again before it is reset. If one still runs guests, they will run "
                    "twice and their disks will be ruined.",
                    "force");
    return r == CTL_OK ? ctl_request_print(ctl, command->method, "", "", "") : r;
}

/* Hosts that have not done yet what the cluster agreed on; -1: nobody answers. */
static int behind(const struct ctl *ctl, bool frozen)
{
    json_t *status = NULL;
    const json_t *host;
    int n = 0;
    size_t i;

    if (ctl_call(ctl, "org.xvmha.Status", NULL, &status) != CTL_OK)
        return -1;
    json_array_foreach(json_object_get(status, "hosts"), i, host)
    {
        bool here = strcmp(ctl_string(host, "state"), "in") == 0 && ctl_bool(host, "daemon");

        n += here && ctl_bool(host, "frozen") != frozen;
    }
    json_decref(status);
    return n;
}

int ctl_freeze(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    bool frozen = strcmp(command->method, "freeze") == 0;
    int r = ctl_request_print(ctl, command->method, "", "", ""), n = 1;

    (void)args;
    (void)nargs;
    if (r != CTL_OK)
        return r;
    /* Accepted is not done: each host has a watchdog to see to. */
    for (int i = 0; i < FREEZE_POLLS && n > 0; i++) {
        n = behind(ctl, frozen);
        if (n > 0)
            usleep(POLL_US);
    }
    if (n < 0)
        return CTL_NO_DAEMON;
    if (n > 0) {
        fprintf(stderr, "xvmhactl: %d hosts have not followed yet: see `xvmhactl status`\n", n);
        return CTL_TIMEOUT;
    }
    return CTL_OK;
}

int ctl_host(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    char warning[512];
    int r;

    (void)nargs;
    if (strcmp(command->method, "host-clear") == 0 || strcmp(command->method, "coordinator") == 0)
        return ctl_request_print(ctl, command->method, "", args[0], "");
    if (strcmp(command->method, "fence") == 0)
        snprintf(
            warning, sizeof(warning),
            "%.64s will be switched off by its fence devices, now, whatever it does. Its guests "
            "end without a shutdown and start on other hosts.",
            args[0]);
    else if (strcmp(command->method, "fence-confirm") == 0)
        snprintf(warning, sizeof(warning),
                 "You vouch that %.64s is off: powered down, or reset since it was lost. If it "
                 "still runs guests, they will run twice and their disks will be ruined.",
                 args[0]);
    else
        snprintf(warning, sizeof(warning),
                 "You vouch that the old machine behind %.64s is off and stays off, and that "
                 "another machine has taken its place.",
                 args[0]);
    r = ctl_confirm(ctl, warning, args[0]);
    return r == CTL_OK ? ctl_request_print(ctl, command->method, "", args[0], "") : r;
}

int ctl_reload(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *answer = NULL;
    const char *text;
    int r = ctl_call(ctl, "org.xvmha.Reload", NULL, &answer);

    (void)command;
    (void)args;
    (void)nargs;
    if (r != CTL_OK)
        return r;
    text = ctl_string(answer, "text");
    if (ctl->json)
        ctl_print_json(answer);
    else
        ctl_put_wrapped(ctl, STYLE_PLAIN, text[0] != '\0' ? text : "configuration reloaded", 0, 2);
    json_decref(answer);
    return CTL_OK;
}
