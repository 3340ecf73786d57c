/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-ha-disk: the only program that touches the shared disk. Its options. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk_main.h"
#include "log.h"
#include "util.h"

static void usage(FILE *to)
{
    fputs("usage: xvm-ha-disk run  --path DISK --self ID [--interval MS] [--run-dir DIR]\n"
          "                        [--boot-id UUID] [--log-target journal|console] [--detach]\n"
          "       xvm-ha-disk pill --path DISK --self ID --target ID --target-boot UUID --loss N\n"
          "                        --wait MS [--disk UUID] [--run-dir DIR] [--boot-id UUID]\n"
          "       xvm-ha-disk init --path DISK --cluster NAME --node ID [--node ID ...] [--force]\n"
          "       xvm-ha-disk add  --path DISK --cluster NAME --node ID [--node ID ...]\n"
          "       xvm-ha-disk show --path DISK [--json]\n"
          "Reads and writes the shared disk of a cluster; see xvm-ha-disk(8).\n",
          to);
}

static bool number(const char *text, unsigned long long most, unsigned long long *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *ret <= most;
}

static bool take_number(int c, const char *text, struct xvm_disk_options *o)
{
    unsigned long long n;

    if (!number(text, c == 'w' || c == 'i' ? 24ULL * 3600 * 1000 : UINT32_MAX, &n))
        return false;
    switch (c) {
    case 's':
        o->self = (ha_node)n;
        return n > 0;
    case 't':
        o->target = (ha_node)n;
        return n > 0;
    case 'l':
        o->loss = (uint32_t)n;
        return true;
    case 'w':
        o->wait_ms = (ha_ms)n;
        return true;
    case 'i':
        o->interval_ms = (ha_ms)n;
        return n >= 100;
    case 'n':
        if (n == 0 || o->nnodes == XVM_DISK_NODES_MAX)
            return false;
        o->nodes[o->nnodes++] = (ha_node)n;
        return true;
    default:
        return false;
    }
}

static bool take(int c, char *text, struct xvm_disk_options *o)
{
    switch (c) {
    case 'p':
        o->path = text;
        return true;
    case 'r':
        o->run_dir = text;
        return true;
    case 'L':
        o->log_target = text;
        return true;
    case 'c':
        o->cluster = text;
        return strlen(text) < HA_NAME_MAX;
    case 'b':
        return xvm_uuid_parse(text, &o->boot) == 0;
    case 'B':
        return xvm_uuid_parse(text, &o->target_boot) == 0;
    case 'D':
        o->disk_given = true;
        return xvm_uuid_parse(text, &o->disk) == 0;
    case 'd':
        o->detach = true;
        return true;
    case 'f':
        o->force = true;
        return true;
    case 'j':
        o->json = true;
        return true;
    case 'h':
        usage(stdout);
        exit(0);
    case 'V':
        puts("xvm-ha-disk " XVM_VERSION);
        exit(0);
    default:
        return take_number(c, text ? text : "", o);
    }
}

static int parse(int argc, char **argv, struct xvm_disk_options *o)
{
    static const struct option known[] = {
        {"path", required_argument, NULL, 'p'},
        {"run-dir", required_argument, NULL, 'r'},
        {"log-target", required_argument, NULL, 'L'},
        {"cluster", required_argument, NULL, 'c'},
        {"boot-id", required_argument, NULL, 'b'},
        {"self", required_argument, NULL, 's'},
        {"target-boot", required_argument, NULL, 'B'},
        {"target", required_argument, NULL, 't'},
        {"loss", required_argument, NULL, 'l'},
        {"wait", required_argument, NULL, 'w'},
        {"interval", required_argument, NULL, 'i'},
        {"node", required_argument, NULL, 'n'},
        {"disk", required_argument, NULL, 'D'},
        {"detach", no_argument, NULL, 'd'},
        {"force", no_argument, NULL, 'f'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int c, r = xvm_uuid_read(XVM_BOOT_ID, &o->boot);

    while ((c = getopt_long(argc, argv, "h", known, NULL)) != -1)
        if (!take(c, optarg, o))
            return -EINVAL;
    return optind + 1 == argc && o->path != NULL ? r : -EINVAL;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const struct xvm_disk_options *options);
    } commands[] = {{"run", xvm_disk_run},
                    {"pill", xvm_disk_pill},
                    {"init", xvm_disk_init},
                    {"add", xvm_disk_add},
                    {"show", xvm_disk_show}};
    struct xvm_disk_options options = {
        .run_dir = "/run/xvm-had", .log_target = "journal", .interval_ms = 1000};
    enum xvm_log_target target;

    if (parse(argc, argv, &options) < 0 || xvm_log_target_parse(options.log_target, &target) < 0) {
        usage(stderr);
        return XVM_DISK_USAGE;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[optind], commands[i].name) != 0)
            continue;
        xvm_log_open(target, "xvm-ha-disk");
        return commands[i].run(&options);
    }
    usage(stderr);
    return XVM_DISK_USAGE;
}
