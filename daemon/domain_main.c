/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-ha-domain: its command line. */
#include "domain.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util.h"

enum { MOVE_NICE = -10 };

static const char usage[] =
    "usage: xvm-ha-domain OPERATION GUEST [OPTION]...\n"
    "       xvm-ha-domain define GUEST --file XL.CFG [--cluster NAME]\n"
    "       xvm-ha-domain check GUEST --definition FILE [--guard KEY]\n"
    "       xvm-ha-domain guard GUEST [--inc N] [--until MS]\n"
    "       xvm-ha-domain list | watch\n"
    "\n"
    "xvm-had's hands: what it does with Xen, one process an operation. OPERATION is one of\n"
    "create unpause shutdown destroy tag send receive resume. Prints one JSON object a line, the\n"
    "last one is the result; exits with 0 (ok), 65 (it certainly did not happen) or anything else\n"
    "(nobody knows).\n"
    "\n"
    "  --run DIR          run directory of the daemon (/run/xvm-had)\n"
    "  --host NAME        this host, in messages (its host name)\n"
    "  --inc N, --mig N   incarnation and migration\n"
    "  --uuid UUID        of the guest\n"
    "  --alias NAME       what its xl configuration calls it\n"
    "  --definition FILE  made by define\n"
    "  --guard KEY        hexadecimal: this host's, for reservations on the guest's disks\n"
    "  --kind KIND        send: live or migrate\n"
    "  --channel FD, --progress FD\n"
    "                     send, receive: an open stream to the other end; where to say how far\n"
    "  --go FD            connect to Xen, then wait for a line \"UNTIL TIMEOUT\" there; without one\n"
    "                     nothing is done\n"
    "  --until MS         do not begin at or after that time of CLOCK_BOOTTIME\n"
    "  --timeout MS       give up after that time\n";

static const struct {
    const char *name;
    enum ha_op op;
    int (*work)(struct domain_worker *w);
    int (*alone)(const struct domain_options *options);
} commands[] = {
    {"create", HA_OP_CREATE, domain_create, NULL},
    {"unpause", HA_OP_UNPAUSE, domain_unpause, NULL},
    {"shutdown", HA_OP_SHUTDOWN, domain_shutdown, NULL},
    {"destroy", HA_OP_DESTROY, domain_destroy, NULL},
    {"tag", HA_OP_TAG, domain_tag, NULL},
    {"send", HA_OP_SEND, domain_send, NULL},
    {"receive", HA_OP_RECEIVE, domain_receive, NULL},
    {"resume", HA_OP_RESUME, domain_resume, NULL},
    {"define", 0, NULL, domain_define},
    {"check", 0, NULL, domain_check},
    {"guard", 0, NULL, domain_guard},
    {"list", 0, NULL, domain_list},
    {"watch", 0, NULL, domain_watch},
};
enum { NCOMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const struct option known[] = {
    {"run", required_argument, NULL, 'r'},
    {"host", required_argument, NULL, 'h'},
    {"inc", required_argument, NULL, 'i'},
    {"mig", required_argument, NULL, 'm'},
    {"uuid", required_argument, NULL, 'u'},
    {"alias", required_argument, NULL, 'a'},
    {"definition", required_argument, NULL, 'd'},
    {"dump", required_argument, NULL, 'D'},
    {"file", required_argument, NULL, 'f'},
    {"cluster", required_argument, NULL, 'c'},
    {"guard", required_argument, NULL, 'g'},
    {"kind", required_argument, NULL, 'k'},
    {"channel", required_argument, NULL, 'C'},
    {"progress", required_argument, NULL, 'P'},
    {"go", required_argument, NULL, 'G'},
    {"until", required_argument, NULL, 'U'},
    {"timeout", required_argument, NULL, 'T'},
    {"help", no_argument, NULL, 'H'},
    {0},
};

static bool number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || n > max)
        return false;
    *ret = n;
    return true;
}

static bool parse_number(int c, const char *text, struct domain_options *o)
{
    uint64_t n = 0;
    if (!number(text, c == 'i' || c == 'm' ? UINT64_MAX : INT32_MAX, &n) && c != 'U')
        return false;
    if (c == 'U' && !number(text, INT64_MAX, &n))
        return false;
    if (c == 'i')
        o->inc = n;
    else if (c == 'm')
        o->mig = n;
    else if (c == 'C')
        o->channel = (int)n;
    else if (c == 'P')
        o->progress = (int)n;
    else if (c == 'G')
        o->go = (int)n;
    else if (c == 'U')
        o->until = (ha_ms)n;
    else
        o->timeout_ms = (ha_ms)n;
    return true;
}

/* Hexadecimal; "": none. */
static bool parse_key(const char *text, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    uint64_t n = strtoull(text, &end, 16);
    if (errno || *end || *text == '-')
        return false;
    *ret = n;
    return true;
}

static bool parse_one(int c, const char *text, struct domain_options *o)
{
    switch (c) {
    case 'r':
        o->run_dir = text;
        return true;
    case 'h':
        o->host = text;
        return true;
    case 'u':
        return !text[0] || xvm_uuid_parse(text, &o->uuid) == 0;
    case 'a':
        o->alias = text;
        return true;
    case 'd':
        o->definition = text;
        return true;
    case 'D':
        o->dump = text;
        return true;
    case 'f':
        o->file = text;
        return true;
    case 'c':
        o->cluster = text;
        return true;
    case 'g':
        return parse_key(text, &o->guard);
    case 'k':
        o->kind = !strcmp(text, "live") ? HA_MOVE_LIVE : HA_MOVE_MIGRATE;
        return o->kind == HA_MOVE_LIVE || !strcmp(text, "migrate");
    case 'i':
    case 'm':
    case 'C':
    case 'P':
    case 'G':
    case 'U':
    case 'T':
        return parse_number(c, text, o);
    default:
        return false;
    }
}

/* A guest stands still during the end of its move: what works at that, libxl's scripts among it,
 * goes before everything ordinary that dom0 does. Without the right to that it takes longer. */
static void hurry(enum ha_op op)
{
    if (op == HA_OP_SEND || op == HA_OP_RECEIVE || op == HA_OP_UNPAUSE)
        (void)setpriority(PRIO_PROCESS, 0, MOVE_NICE);
}

static int run(size_t i, const struct domain_options *o)
{
    hurry(commands[i].op);
    return commands[i].alone ? commands[i].alone(o)
                             : domain_work(o, commands[i].op, commands[i].work);
}

int main(int argc, char **argv)
{
    static char host[HA_NAME_MAX];
    struct domain_options o = {.run_dir = "/run/xvm-had",
                               .host = host,
                               .cluster = "",
                               .channel = -1,
                               .progress = -1,
                               .go = -1,
                               .kind = HA_MOVE_LIVE};
    size_t i = 0;
    int c;
    bool good = argc > 1;
    if (gethostname(host, sizeof(host) - 1) < 0)
        strcpy(host, "this host");
    while (i < NCOMMANDS && argc > 1 && strcmp(argv[1], commands[i].name) != 0)
        i++;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'H') {
            fputs(usage, stdout);
            return 0;
        }
        if (c == '?' || !parse_one(c, optarg, &o)) {
            if (c != '?')
                fprintf(stderr, "xvm-ha-domain: `%s` makes no sense there\n", optarg);
            good = false;
        }
    }
    bool has_guest =
        i < NCOMMANDS && commands[i].alone != domain_list && commands[i].alone != domain_watch;
    good = good && i < NCOMMANDS && argc - optind == 1 + has_guest;
    if (good && has_guest) {
        o.name = argv[optind + 1];
        good = xvm_guest_name_ok(o.name);
    }
    if (!good) {
        fputs(usage, stderr);
        return XVM_WORKER_FAILED;
    }
    return run(i, &o);
}
