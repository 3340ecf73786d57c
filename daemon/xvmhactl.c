/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvmhactl: what an operator types. Options, the table of commands, help. */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "version.h"

static int run_help(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);
static int run_version(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs);

/* clang-format off */
const struct ctl_command ctl_commands[] = {
    {"status", "", "the whole cluster on one screen", ctl_status, 0, 0, 0, NULL},
    {"events", "[-n N]", "what happened lately", ctl_events, 0, 0, OPT_LINES, NULL},
    {"why", "GUEST", "why a guest is where it is, and not elsewhere", ctl_why, 1, 1, 0, NULL},
    {"start", "GUEST [--force] [--wait]", "start a guest", ctl_guest, 1, 1,
     OPT_WAIT | OPT_TIMEOUT | OPT_FORCE, "start"},
    {"stop", "GUEST [--wait]", "shut a guest down; it stays down until `start`", ctl_guest, 1, 1,
     OPT_WAIT | OPT_TIMEOUT, "stop"},
    {"restart", "GUEST [--wait]", "shut a guest down and start it again", ctl_restart, 1, 1,
     OPT_WAIT | OPT_TIMEOUT, "restart"},
    {"enable", "GUEST [--force] [--wait]", "let the cluster run a guest again", ctl_guest, 1, 1,
     OPT_WAIT | OPT_TIMEOUT | OPT_FORCE, "enable"},
    {"disable", "GUEST [--wait]", "shut a guest down and keep it from starting", ctl_guest, 1, 1,
     OPT_WAIT | OPT_TIMEOUT, "disable"},
    {"clear", "GUEST [--wait]", "forget a guest's failures and quarantine", ctl_guest, 1, 1,
     OPT_WAIT | OPT_TIMEOUT, "clear"},
    {"move", "GUEST [HOST] [--type live|migrate|normal] [--force] [--wait]",
     "move a guest; --cancel takes it back", ctl_move, 1, 2,
     OPT_TYPE | OPT_CANCEL | OPT_WAIT | OPT_TIMEOUT | OPT_FORCE, NULL},
    {"evacuate", "HOST [--force] [--wait]", "move all guests off a host", ctl_maintenance, 1, 1,
     OPT_WAIT | OPT_TIMEOUT | OPT_FORCE, "evacuate"},
    {"maintenance on", "HOST [--force] [--wait]", "the same, and keep it empty", ctl_maintenance, 1,
     1, OPT_WAIT | OPT_TIMEOUT | OPT_FORCE, "maintenance-on"},
    {"maintenance off", "HOST", "let a host have guests again", ctl_maintenance, 1, 1, 0,
     "maintenance-off"},
    {"init", "", "found a new cluster: once, on one host", ctl_cluster, 0, 0, 0, "init"},
    {"fence history", "[HOST] [-n N]", "what happened to hosts and their fence devices",
     ctl_fence_history, 0, 1, OPT_LINES, NULL},
    {"fence check", "[HOST]", "ask every fence device whether it works", ctl_fence_check, 0, 1, 0,
     NULL},
    {"fence confirm", "HOST [--yes]", "vouch that a lost host is off", ctl_host, 1, 1, OPT_YES,
     "fence-confirm"},
    {"fence", "HOST [--yes]", "switch a host off, member or not", ctl_host, 1, 1, OPT_YES,
     "fence"},
    {"host clear", "HOST", "forget a host's losses: end of its quarantine", ctl_host, 1, 1, 0,
     "host-clear"},
    {"host replace", "HOST [--yes]", "let another machine take a host's place", ctl_host, 1, 1,
     OPT_YES, "host-replace"},
    {"freeze", "", "nobody reacts to anything: work on network or storage", ctl_freeze, 0, 0, 0,
     "freeze"},
    {"thaw", "", "the end of `freeze`", ctl_freeze, 0, 0, 0, "thaw"},
    {"coordinator", "HOST", "have another host coordinate", ctl_host, 1, 1, 0, "coordinator"},
    {"lineage force", "[--yes]", "go on without the absent hosts (two hosts)", ctl_cluster, 0, 0,
     OPT_YES, "lineage-force"},
    {"validate", "[GUEST]", "look on every host whether guests could be started there",
     ctl_validate, 0, 1, 0, NULL},
    {"guest add", "FILE.yaml|- | --xl-config FILE [--wait]",
     "register guests with all hosts", ctl_guest_add, 0, 1, OPT_WAIT | OPT_TIMEOUT | OPT_XL, NULL},
    {"guest remove", "GUEST [--force]", "take a guest out of the configuration", ctl_guest_remove,
     1, 1, OPT_FORCE | OPT_TIMEOUT | OPT_WAIT, NULL},
    {"guest export", "GUEST", "a guest's lines, fit for `guest add`", ctl_guest_export, 1, 1, 0,
     NULL},
    {"config show", "[HOST]", "a host's configuration file", ctl_config_show, 0, 1, 0, NULL},
    {"config diff", "[HOST]", "where other hosts' files differ from this one's", ctl_config_diff, 0,
     1, 0, NULL},
    {"config push", "[--yes]", "make this host's file that of all hosts", ctl_config_push, 0, 0,
     OPT_YES | OPT_TIMEOUT | OPT_WAIT, NULL},
    {"debug", "on|off [GUEST|HOST]", "log more about a guest, a host, or everything", ctl_debug, 1,
     2, 0, NULL},
    {"config check", "[FILE]", "look for mistakes in the configuration", ctl_config_check, 0, 1, 0,
     NULL},
    {"disk init", "[PATH] [--yes]", "make the shared disk ready; --yes: whatever is on it",
     ctl_disk, 0, 1, OPT_YES | OPT_FILE, "init"},
    {"disk add", "[PATH]", "give hosts that are new in the configuration a slot on it", ctl_disk,
     0, 1, OPT_FILE, "add"},
    {"disk show", "[PATH]", "what is on it: who wrote when, poison pills", ctl_disk, 0, 1,
     OPT_FILE, "show"},
    {"plan",
     "[--file INSTANCE.json] [--down HOST]... [--drain HOST]... [--add GUEST]... [--why GUEST]",
     "what would happen; touches nothing", ctl_plan, 0, 0, OPT_FILE | OPT_CHANGE | OPT_WHY,
     NULL},
    {"reload", "", "take the changed configuration into use", ctl_reload, 0, 0, 0, NULL},
    {"leave", "[--timeout TIME] [--force]", "this host goes down: its guests move away, it says goodbye", ctl_leave, 0,
     0, OPT_WAIT | OPT_TIMEOUT | OPT_FORCE, NULL},
    {"version", "", "this program's version", run_version, 0, 0, 0, NULL},
    {"help", "[COMMAND]", "this, or one command", run_help, 0, 2, 0, NULL},
    {"names", "guests|hosts", NULL, ctl_names, 1, 1, 0, NULL}, /* for completions; not in help */
    {0},
};
/* clang-format on */

static const struct {
    unsigned bit;
    const char *name;
} option_names[] = {
    {OPT_YES, "--yes"},   {OPT_WAIT, "--wait"},     {OPT_TIMEOUT, "--timeout"},
    {OPT_TYPE, "--type"}, {OPT_CANCEL, "--cancel"}, {OPT_LINES, "-n"},
    {OPT_FILE, "--file"}, {OPT_CHANGE, "--down, --drain or --add"}, {OPT_WHY, "--why"},
    {OPT_FORCE, "--force"}, {OPT_XL, "--xl-config"},
};

int ctl_usage_error(const char *format, ...)
{
    va_list args;

    fputs("xvmhactl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nTry `xvmhactl help`.\n", stderr);
    return CTL_USAGE;
}

/* ------------------------------------------------------------------------------------ help */

static void put_command_help(const struct ctl_command *c)
{
    printf("Usage: xvmhactl %s%s%s\n%s\n", c->name, c->args[0] != '\0' ? " " : "", c->args,
           c->help != NULL ? c->help : "");
}

static void put_help(void)
{
    puts("Usage: xvmhactl [--json] [--socket PATH] COMMAND ...\n");
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        char left[64];
        size_t len = strcspn(c->args, "[");

        if (c->help == NULL)
            continue;
        while (len > 0 && c->args[len - 1] == ' ')
            len--;
        snprintf(left, sizeof(left), "%s %.*s", c->name, (int)len, c->args);
        printf("  %-22s %s\n", left, c->help);
    }
    puts("\nExit: 0 done, 1 refused or failed, 2 usage, 3 no daemon here, 4 no permission,\n"
         "5 no quorum, 6 unknown name, 7 timed out. More in xvmhactl(8).");
}

/* The command that the words name; *ret_words: how many of them. */
static const struct ctl_command *find_command(char **words, int nwords, int *ret_words)
{
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        const char *space = strchr(c->name, ' ');
        size_t len = space != NULL ? (size_t)(space - c->name) : strlen(c->name);

        if (nwords < 1 || strlen(words[0]) != len || strncmp(words[0], c->name, len) != 0)
            continue;
        if (space != NULL && (nwords < 2 || strcmp(words[1], space + 1) != 0))
            continue;
        *ret_words = space != NULL ? 2 : 1;
        return c;
    }
    return NULL;
}

static int unknown_command(char **words, int nwords)
{
    for (const struct ctl_command *c = ctl_commands; nwords > 0 && c->name != NULL; c++) {
        const char *space = strchr(c->name, ' ');

        if (space != NULL && strlen(words[0]) == (size_t)(space - c->name) &&
            strncmp(words[0], c->name, strlen(words[0])) == 0)
            return ctl_usage_error("`%s` wants a second word: %s %s", words[0], c->name, c->args);
    }
    return ctl_usage_error("no command `%s`", nwords > 0 ? words[0] : "");
}

static int run_help(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    const struct ctl_command *about;
    int words;

    (void)ctl;
    (void)command;
    if (nargs == 0) {
        put_help();
        return CTL_OK;
    }
    about = find_command(args, nargs, &words);
    if (about == NULL)
        return unknown_command(args, nargs);
    put_command_help(about);
    return CTL_OK;
}

static int run_version(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    (void)command;
    (void)args;
    (void)nargs;
    if (ctl->json)
        puts("{\n  \"version\": \"" XVM_VERSION "\"\n}");
    else
        puts("xvmhactl " XVM_VERSION);
    return CTL_OK;
}

/* --------------------------------------------------------------------------------- options */

/* "90", "90s", "5m", "1h"; -1: none of these. */
static int parse_seconds(const char *text)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 10);
    if (errno != 0 || end == text || n < 0 || n > 86400)
        return -1;
    if (strcmp(end, "m") == 0)
        n *= 60;
    else if (strcmp(end, "h") == 0)
        n *= 3600;
    else if (*end != '\0' && strcmp(end, "s") != 0)
        return -1;
    return n > 86400 ? -1 : (int)n;
}

static int parse_lines(const char *text)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(text, &end, 10);
    return errno != 0 || end == text || *end != '\0' || n < 1 || n > 1000 ? -1 : (int)n;
}

static int take_word(struct ctl *ctl, struct ctl_words *words)
{
    ctl->given |= OPT_CHANGE;
    if (words->n == CTL_WORDS_MAX)
        return ctl_usage_error("at most %d hosts or guests", CTL_WORDS_MAX);
    words->word[words->n++] = optarg;
    return CTL_OK;
}

static int take_option(struct ctl *ctl, int option)
{
    switch (option) {
    case 'n':
        ctl->lines = parse_lines(optarg);
        ctl->given |= OPT_LINES;
        return ctl->lines < 0 ? ctl_usage_error("-n %s, expected 1 to 1000", optarg) : CTL_OK;
    case 'j':
        ctl->json = true;
        return CTL_OK;
    case 'S':
        ctl->socket = optarg;
        return CTL_OK;
    case 'y':
        ctl->given |= OPT_YES;
        return CTL_OK;
    case 'w':
        ctl->given |= OPT_WAIT;
        return CTL_OK;
    case 't':
        ctl->given |= OPT_TIMEOUT | OPT_WAIT;
        ctl->timeout_s = parse_seconds(optarg);
        return ctl->timeout_s < 0
                   ? ctl_usage_error("--timeout %s, expected a time such as 90s or 5m", optarg)
                   : CTL_OK;
    case 'T':
        ctl->given |= OPT_TYPE;
        ctl->type = optarg;
        return CTL_OK;
    case 'c':
        ctl->given |= OPT_CANCEL;
        return CTL_OK;
    case 'f':
        ctl->given |= OPT_FILE;
        ctl->file = optarg;
        return CTL_OK;
    case 'W':
        ctl->given |= OPT_WHY;
        ctl->why = optarg;
        return CTL_OK;
    case 'x':
        ctl->given |= OPT_XL;
        ctl->xl_config = optarg;
        return CTL_OK;
    case 'F':
        ctl->given |= OPT_FORCE;
        return CTL_OK;
    case 'D':
        return take_word(ctl, &ctl->down);
    case 'R':
        return take_word(ctl, &ctl->drain);
    case 'A':
        return take_word(ctl, &ctl->add);
    default: /* getopt has said what is wrong */
        fputs("Try `xvmhactl help`.\n", stderr);
        return CTL_USAGE;
    }
}

static int run(struct ctl *ctl, char **words, int nwords)
{
    int used = 0;
    const struct ctl_command *c = find_command(words, nwords, &used);

    if (c == NULL)
        return unknown_command(words, nwords);
    for (size_t i = 0; i < sizeof(option_names) / sizeof(option_names[0]); i++) {
        if ((ctl->given & ~c->options & option_names[i].bit) != 0)
            return ctl_usage_error("`%s` has no option %s", c->name, option_names[i].name);
    }
    if (nwords - used < c->min_args || nwords - used > c->max_args)
        return ctl_usage_error("usage: xvmhactl %s %s", c->name, c->args);
    return c->run(ctl, c, words + used, nwords - used);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"socket", required_argument, NULL, 'S'},
        {"yes", no_argument, NULL, 'y'},
        {"wait", no_argument, NULL, 'w'},
        {"timeout", required_argument, NULL, 't'},
        {"type", required_argument, NULL, 'T'},
        {"cancel", no_argument, NULL, 'c'},
        {"lines", required_argument, NULL, 'n'},
        {"file", required_argument, NULL, 'f'},
        {"force", no_argument, NULL, 'F'},
        {"xl-config", required_argument, NULL, 'x'},
        {"down", required_argument, NULL, 'D'},
        {"drain", required_argument, NULL, 'R'},
        {"add", required_argument, NULL, 'A'},
        {"why", required_argument, NULL, 'W'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    struct ctl ctl = {.socket = XVM_SOCKET_PATH};
    int option, r;

    setlocale(LC_ALL, "");
    ctl_output_init(&ctl);
    while ((option = getopt_long(argc, argv, "n:h", options, NULL)) != -1) {
        if (option == 'h')
            return run_help(&ctl, NULL, argv + optind, 0);
        if (option == 'V')
            return run_version(&ctl, NULL, NULL, 0);
        r = take_option(&ctl, option);
        if (r != CTL_OK)
            return r;
    }
    if (optind == argc) {
        put_help();
        return CTL_USAGE;
    }
    r = run(&ctl, argv + optind, argc - optind);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("xvmhactl: cannot write");
        return r != CTL_OK ? r : CTL_FAILED;
    }
    return r;
}
