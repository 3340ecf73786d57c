/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the metadata of every installed fence agent, and prints how many of how many it understood.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/fence_agents.h"

#define FOLDER "/usr/sbin"

/* Not an agent in spite of its name: an interactive program of old cluster managers, without
 * actions. */
static bool is_agent(const char *name)
{
    return strncmp(name, "fence_", 6) == 0 && strcmp(name, "fence_ack_manual") != 0;
}

static bool understood(struct xvm_fence_agents *agents, const char *name, size_t *params)
{
    const struct xvm_fence_meta *meta;
    char why[XVM_META_WHY];

    if (xvm_fence_agents_get(agents, name, &meta, why) < 0) {
        printf("%s: %s\n", name, why);
        return false;
    }
    if ((meta->actions & XVM_META_OFF) == 0)
        printf("%s has no action off: it will be refused\n", name);
    *params += meta->nparams;
    return meta->agent != NULL && meta->nparams > 0;
}

int main(void)
{
    const struct xvm_agents_env env = {.dir = FOLDER, .limit_ms = 60 * 1000, .run = true};
    struct xvm_fence_agents *agents = xvm_fence_agents_new(&env);
    size_t n = 0, good = 0, params = 0;
    DIR *folder = opendir(FOLDER);

    if (agents == NULL || folder == NULL)
        return EXIT_FAILURE;
    for (struct dirent *d = readdir(folder); d != NULL; d = readdir(folder)) {
        if (!is_agent(d->d_name))
            continue;
        n++;
        good += understood(agents, d->d_name, &params);
    }
    closedir(folder);
    xvm_fence_agents_free(agents);
    printf("metadata of %zu of %zu fence agents understood, %zu parameters\n", good, n, params);
    if (n < 50)
        printf("that is too few: is the package fence-agents installed (contrib/setup test)?\n");
    return good == n && n >= 50 ? EXIT_SUCCESS : EXIT_FAILURE;
}
