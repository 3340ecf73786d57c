/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl disk`: calls xvm-ha-disk, which alone touches the disk, with what the configuration
 * says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "ctl.h"
#include "version.h"

enum { ARGS_MAX = 2 * HA_HOSTS_MAX + 16 };

struct call {
    char *v[ARGS_MAX];
    size_t n;
};

static void add(struct call *call, const char *text)
{
    if (call->n + 1 < ARGS_MAX)
        call->v[call->n++] = strdup(text);
}

static void find_program(char *path, size_t size)
{
    static const char name[] = "xvm-ha-disk";
    ssize_t n = readlink("/proc/self/exe", path, size - 1);
    char *slash;

    path[n > 0 ? n : 0] = '\0';
    slash = strrchr(path, '/');
    if (slash != NULL && (size_t)(slash + 1 - path) + sizeof(name) <= size) {
        strcpy(slash + 1, name);
        if (access(path, X_OK) == 0)
            return;
    }
    snprintf(path, size, "/usr/sbin/%s", name);
}

static int call_program(struct call *call)
{
    char path[4096];

    find_program(path, sizeof(path));
    fflush(stdout);
    call->v[0] = path;
    execv(path, call->v);
    fprintf(stderr, "xvmhactl: %s: %s\n", path, strerror(errno));
    return CTL_FAILED;
}

/* disk init | add | show [PATH] */
int ctl_disk(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    struct xvm_config_errors errors = {0};
    struct ha_config *config = NULL;
    struct call call = {.n = 1};
    const char *config_path = ctl->file != NULL ? ctl->file : XVM_CONFIG_PATH;
    bool show = strcmp(command->method, "show") == 0;
    const char *path = nargs > 0 ? args[0] : NULL;
    char node[16];

    if ((!show || path == NULL) && xvm_config_load(config_path, NULL, &config, &errors) < 0) {
        xvm_config_errors_print(&errors, stderr);
        return CTL_FAILED;
    }
    if (path == NULL)
        path = config->disk.path;
    if (path == NULL)
        return ctl_usage_error("%s has no `shared_disk`: which disk?", config_path);
    add(&call, command->method);
    add(&call, "--path");
    add(&call, path);
    if (show && ctl->json)
        add(&call, "--json");
    if (!show) {
        add(&call, "--cluster");
        add(&call, config->cluster_name);
        if ((ctl->given & OPT_YES) != 0)
            add(&call, "--force");
        for (size_t i = 0; i < config->nhosts; i++) {
            snprintf(node, sizeof(node), "%u", config->hosts[i].node);
            add(&call, "--node");
            add(&call, node);
        }
    }
    return call_program(&call);
}
