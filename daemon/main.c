/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-had: options, and the loop. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "fence_exec.h"
#include "log.h"
#include "util.h"
#include "version.h"

static struct xvm_daemon self;

static void usage(FILE *to)
{
    fputs("usage: xvm-had [OPTION]...\n"
          "High availability for the guests of Xen hosts; see xvm-had(8).\n\n"
          "  --config FILE         configuration (" XVM_CONFIG_PATH ")\n"
          "  --check-config FILE   check that file, print what is wrong, exit with 0 or 1\n"
          "  --run-dir DIR         sockets and what is known of this boot (/run/xvm-had)\n"
          "  --state-dir DIR       the journal (/var/lib/xvm-had)\n"
          "  --agent-dir DIR       fence agents (/usr/sbin)\n"
          "  --probe-dir DIR       probes of guests (" XVM_PROBE_DIR ")\n"
          "  --agent-cache DIR     what agents said about themselves (RUN-DIR/agents)\n"
          "  --log-target WHERE    journal or console (journal)\n"
          "  --spawn-keeper        start xvm-ha-keeper if it does not run\n"
          "  --machine-id ID       instead of " XVM_MACHINE_ID "\n"
          "  --boot-id UUID        instead of " XVM_BOOT_ID "\n"
          "  --keep-unneeded S     seconds that definitions nobody needs are kept (86400)\n"
          "  --version, --help\n",
          to);
}

static int check_config(const char *path, const struct xvm_options *options)
{
    const struct xvm_config_agents agents = {
        .env = {.dir = options->agent_dir, .cache_dir = options->agent_cache, .run = true},
        .strict = true,
    };
    struct xvm_config_errors errors = {0};
    struct ha_config *config = NULL;
    int r = xvm_config_load_checked(path, NULL, &agents, &config, &errors);

    xvm_config_errors_print(&errors, stderr);
    xvm_config_errors_done(&errors);
    xvm_config_free(config);
    return r < 0 ? XVM_EXIT_FAILURE : 0;
}

enum given {
    GIVEN_BOOT = 1,
    GIVEN_MACHINE = 2,
};

static const struct option known[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", required_argument, NULL, 'C'},
    {"run-dir", required_argument, NULL, 'r'},
    {"state-dir", required_argument, NULL, 's'},
    {"agent-dir", required_argument, NULL, 'a'},
    {"probe-dir", required_argument, NULL, 'p'},
    {"agent-cache", required_argument, NULL, 'A'},
    {"log-target", required_argument, NULL, 'l'},
    {"spawn-keeper", no_argument, NULL, 'k'},
    {"machine-id", required_argument, NULL, 'm'},
    {"boot-id", required_argument, NULL, 'b'},
    {"keep-unneeded", required_argument, NULL, 'K'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* One option. False: not understood. */
static bool take(int c, struct xvm_options *options, unsigned *given)
{
    switch (c) {
    case 'c':
        options->config_path = optarg;
        return true;
    case 'C':
        options->check_path = optarg;
        return true;
    case 'A':
        options->agent_cache = optarg;
        return true;
    case 'r':
        options->run_dir = optarg;
        return true;
    case 's':
        options->state_dir = optarg;
        return true;
    case 'a':
        options->agent_dir = optarg;
        return true;
    case 'p':
        options->probe_dir = optarg;
        return true;
    case 'l':
        options->log_target = optarg;
        return true;
    case 'k':
        options->spawn_keeper = true;
        return true;
    case 'K':
        options->keep_ms = strtol(optarg, NULL, 10) * 1000L;
        return options->keep_ms > 0;
    case 'm':
        *given |= GIVEN_MACHINE;
        return xvm_uuid_parse(optarg, &options->machine) == 0;
    case 'b':
        *given |= GIVEN_BOOT;
        return xvm_uuid_parse(optarg, &options->boot) == 0;
    case 'V':
        puts("xvm-had " XVM_VERSION);
        exit(0);
    case 'h':
        usage(stdout);
        exit(0);
    default:
        return false;
    }
}

static bool parse(int argc, char **argv, struct xvm_options *options, unsigned *given)
{
    int c;

    while ((c = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (!take(c, options, given))
            return false;
    }
    return optind == argc;
}

static int identify(struct xvm_options *options, unsigned given)
{
    int r = 0;

    if (!(given & GIVEN_MACHINE))
        r = xvm_uuid_read(XVM_MACHINE_ID, &options->machine);
    if (r < 0) {
        xvm_log(HA_SEV_ERROR, "%s: %s", XVM_MACHINE_ID, strerror(-r));
        return r;
    }
    if (!(given & GIVEN_BOOT))
        r = xvm_uuid_read(XVM_BOOT_ID, &options->boot);
    if (r < 0)
        xvm_log(HA_SEV_ERROR, "%s: %s", XVM_BOOT_ID, strerror(-r));
    return r;
}

int main(int argc, char **argv)
{
    struct xvm_options options = {
        .config_path = XVM_CONFIG_PATH,
        .run_dir = "/run/xvm-had",
        .state_dir = "/var/lib/xvm-had",
        .agent_dir = "/usr/sbin",
        .probe_dir = XVM_PROBE_DIR,
        .log_target = "journal",
    };
    enum xvm_log_target target;
    unsigned given = 0;
    int r;

    if (!parse(argc, argv, &options, &given) ||
        xvm_log_target_parse(options.log_target, &target) < 0) {
        usage(stderr);
        return XVM_EXIT_USAGE;
    }
    if (options.check_path)
        return check_config(options.check_path, &options);
    xvm_log_open(target, "xvm-had");
    if (identify(&options, given) < 0)
        return XVM_EXIT_FAILURE;
    r = xvm_daemon_setup(&self, &options);
    if (r < 0)
        return r == -EUCLEAN || r == -EBADMSG || r == -ENOTSUP ? XVM_EXIT_JOURNAL
                                                               : XVM_EXIT_FAILURE;
    r = sd_event_loop(self.loop);
    if (r < 0)
        xvm_log(HA_SEV_ALERT, "the event loop failed: %s", strerror(-r));
    /* Nobody would hear of their end: another host, or the next daemon, begins them again (rule
     * 22). */
    xvm_fencer_free(self.fencer);
    /* No more tidying up: a helper thread may be waiting for corosync, and all that matters is
     * durable.
     */
    _exit(r < 0 ? XVM_EXIT_FAILURE : r);
}
