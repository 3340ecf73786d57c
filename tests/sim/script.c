/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Schedules as text: reading them, and writing an op as the line that would be read. */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 24, WORD_MAX = 96 };

struct line {
    char word[WORDS_MAX][WORD_MAX];
    size_t n, at;
    const struct ha_config *config;
    const char *error;
};

/* What a verb expects after it: h host, p peer host, g guest, t time, m fence mode, o operation,
 * r outcome, c command and its arguments, s sides of a split, l optional level. Capital: optional.
 */
static const struct verb {
    const char *name;
    enum sim_op_kind kind;
    bool undo;
    const char *args;
    int arg;
} verbs[] = {
    {"power-off", SIM_OP_POWER_OFF, false, "h", 0},
    {"power-on", SIM_OP_POWER_OFF, true, "h", 0},
    {"reset", SIM_OP_RESET, false, "h", 0},
    {"hang", SIM_OP_HANG, false, "h", 0},
    {"resume", SIM_OP_HANG, true, "h", 0},
    {"daemon-kill", SIM_OP_DAEMON_KILL, false, "h", 0},
    {"daemon-start", SIM_OP_DAEMON_KILL, true, "h", 0},
    {"daemon-stuck", SIM_OP_DAEMON_STUCK, false, "h", 0},
    {"daemon-unstuck", SIM_OP_DAEMON_STUCK, true, "h", 0},
    {"keeper-kill", SIM_OP_KEEPER_KILL, false, "h", 0},
    {"keeper-start", SIM_OP_KEEPER_KILL, true, "h", 0},
    {"corosync-kill", SIM_OP_COROSYNC_KILL, false, "h", 0},
    {"corosync-start", SIM_OP_COROSYNC_KILL, true, "h", 0},
    {"corosync-freeze", SIM_OP_COROSYNC_FREEZE, false, "h", 0},
    {"corosync-thaw", SIM_OP_COROSYNC_FREEZE, true, "h", 0},
    {"cut", SIM_OP_CUT, false, "h", 0},
    {"join", SIM_OP_CUT, true, "h", 0},
    {"split", SIM_OP_SPLIT, false, "s", 0},
    {"heal", SIM_OP_HEAL, false, "", 0},
    {"reform", SIM_OP_REFORM, false, "h", 0},
    {"slow-net", SIM_OP_SLOW_NET, false, "ht", 0},
    {"hold-tx", SIM_OP_HOLD_TX, false, "h", 0},
    {"release-tx", SIM_OP_HOLD_TX, true, "h", 0},
    {"hold-rx", SIM_OP_HOLD_RX, false, "h", 0},
    {"release-rx", SIM_OP_HOLD_RX, true, "h", 0},
    {"journal-slow", SIM_OP_JOURNAL_SLOW, false, "ht", 0},
    {"journal-fast", SIM_OP_JOURNAL_SLOW, true, "h", 0},
    {"journal-fail", SIM_OP_JOURNAL_FAIL, false, "h", 0},
    {"journal-ok", SIM_OP_JOURNAL_FAIL, true, "h", 0},
    {"wipe", SIM_OP_WIPE, false, "h", 0},
    {"replace", SIM_OP_REPLACE, false, "h", 0},
    {"all-off", SIM_OP_ALL_OFF, false, "", 0},
    {"all-off-with-devices", SIM_OP_ALL_OFF, false, "", 1},
    {"all-on", SIM_OP_ALL_OFF, true, "", 0},
    {"fence", SIM_OP_FENCE, false, "hLm", 0},
    {"driver", SIM_OP_DRIVER, false, "horG", 0},
    {"guest-poweroff", SIM_OP_GUEST_EXIT, false, "g", HA_EXIT_POWEROFF},
    {"guest-reboot", SIM_OP_GUEST_EXIT, false, "g", HA_EXIT_REBOOT},
    {"guest-crash", SIM_OP_GUEST_EXIT, false, "g", HA_EXIT_CRASH},
    {"guest-killed", SIM_OP_GUEST_EXIT, false, "g", HA_EXIT_KILLED},
    {"hand-start", SIM_OP_HAND_START, false, "hg", 0},
    {"guest-deaf", SIM_OP_DEAF, false, "g", 0},
    {"guest-sick", SIM_OP_SICK, false, "g", HA_PROBE_UNHEALTHY},
    {"guest-mute", SIM_OP_SICK, false, "g", HA_PROBE_HUNG},
    {"probes-broken", SIM_OP_SICK, false, "g", HA_PROBE_NOTHING},
    {"guest-well", SIM_OP_SICK, true, "g", 0},
    {"backends-slow", SIM_OP_BACKENDS_SLOW, false, "ht", 0},
    {"cmd", SIM_OP_CMD, false, "hc", 0},
    {"confirm", SIM_OP_CONFIRM, false, "hp", 0},
    {"shutdown", SIM_OP_SHUTDOWN, false, "h", 0},
    {"shutdown-done", SIM_OP_SHUTDOWN, true, "h", 0},
    {"inventory-unknown", SIM_OP_INVENTORY, false, "h", 0},
    {"inventory-known", SIM_OP_INVENTORY, true, "h", 0},
    {"quorum-flip", SIM_OP_QUORUM_FLIP, false, "h", 0},
    {"verdict-late", SIM_OP_VERDICT_LATE, false, "ht", 0},
    {"verdict-yes", SIM_OP_VERDICT, false, "h", 1},
    {"verdict-no", SIM_OP_VERDICT, false, "h", 0},
    {"define", SIM_OP_DEFINE, false, "hg", 0},
    {"no-watchdog", SIM_OP_NO_WATCHDOG, false, "h", 0},
    {"disk-lost", SIM_OP_DISK_LOST, false, "h", 0},
    {"disk-back", SIM_OP_DISK_LOST, true, "h", 0},
    {"disk-all-lost", SIM_OP_DISK_ALL, false, "", 0},
    {"disk-all-back", SIM_OP_DISK_ALL, true, "", 0},
    {"disk-slow", SIM_OP_DISK_SLOW, false, "ht", 0},
    {"disk-fast", SIM_OP_DISK_SLOW, true, "h", 0},
    {"config-without", SIM_OP_CONFIG, false, "hg", 0},
    {"config-with", SIM_OP_CONFIG, true, "hg", 0},
};

struct named {
    const char *name;
    int value;
};
static const struct named modes[] = {
    {"ok", SIM_DEV_OK},     {"fail", SIM_DEV_FAIL}, {"hang", SIM_DEV_HANG}, {"late", SIM_DEV_LATE},
    {"lost", SIM_DEV_LOST}, {"lie", SIM_DEV_LIE},   {"slow", SIM_DEV_SLOW}, {NULL, 0}};
static const struct named ops[] = {{"any", 0},
                                   {"create", HA_OP_CREATE},
                                   {"unpause", HA_OP_UNPAUSE},
                                   {"shutdown", HA_OP_SHUTDOWN},
                                   {"destroy", HA_OP_DESTROY},
                                   {"tag", HA_OP_TAG},
                                   {"send", HA_OP_SEND},
                                   {"receive", HA_OP_RECEIVE},
                                   {"resume", HA_OP_RESUME},
                                   {NULL, 0}};
static const struct named outcomes[] = {{"ok", SIM_OUT_OK},
                                        {"fail", SIM_OUT_FAIL},
                                        {"answer-lost", SIM_OUT_LOST},
                                        {"nothing", SIM_OUT_NOTHING},
                                        {"hang", SIM_OUT_HANG},
                                        {"slow", SIM_OUT_SLOW},
                                        {"late", SIM_OUT_LATE},
                                        {NULL, 0}};
static const struct named commands[] = {{"init", HA_CMD_INIT},
                                        {"start", HA_CMD_START},
                                        {"stop", HA_CMD_STOP},
                                        {"enable", HA_CMD_ENABLE},
                                        {"disable", HA_CMD_DISABLE},
                                        {"clear", HA_CMD_CLEAR},
                                        {"move", HA_CMD_MOVE},
                                        {"move-cancel", HA_CMD_MOVE_CANCEL},
                                        {"fence-confirm", HA_CMD_FENCE_CONFIRM},
                                        {"host-replace", HA_CMD_HOST_REPLACE},
                                        {"lineage-force", HA_CMD_LINEAGE_FORCE},
                                        {"fence", HA_CMD_FENCE},
                                        {"host-clear", HA_CMD_HOST_CLEAR},
                                        {"evacuate", HA_CMD_EVACUATE},
                                        {"maintenance-on", HA_CMD_MAINTENANCE_ON},
                                        {"maintenance-off", HA_CMD_MAINTENANCE_OFF},
                                        {"freeze", HA_CMD_FREEZE},
                                        {"thaw", HA_CMD_THAW},
                                        {"chair", HA_CMD_CHAIR},
                                        {"config", HA_CMD_CONFIG},
                                        {"restart", HA_CMD_RESTART},
                                        {NULL, 0}};

/* ------------------------------------------------------------------------------------- words */

ha_ms sim_script_time(const char *word)
{
    char *end;
    double x = strtod(word, &end);
    if (end == word || x < 0)
        return -1;
    if (strcmp(end, "ms") == 0)
        return (ha_ms)x;
    return strcmp(end, "s") == 0 ? (ha_ms)(x * 1000 + 0.5) : -1;
}

static void cut_words(struct line *l, const char *text)
{
    while (l->n < WORDS_MAX) {
        text += strspn(text, " \t\r");
        if (*text == '\0' || *text == '#')
            return;
        bool quoted = *text == '"';
        text += quoted;
        size_t len = quoted ? strcspn(text, "\"") : strcspn(text, " \t\r");
        snprintf(l->word[l->n++], WORD_MAX, "%.*s", (int)len, text);
        text += len + (quoted && text[len] == '"');
    }
}

static const char *next(struct line *l)
{
    return l->at < l->n ? l->word[l->at++] : "";
}

static const char *peek(const struct line *l)
{
    return l->at < l->n ? l->word[l->at] : "";
}

static int host_of(const struct line *l, const char *word)
{
    for (size_t i = 0; i < l->config->nhosts; i++)
        if (strcmp(l->config->hosts[i].name, word) == 0)
            return (int)i;
    return -1;
}

static int guest_of(const struct line *l, const char *word)
{
    for (size_t i = 0; i < l->config->nguests; i++)
        if (strcmp(l->config->guests[i].name, word) == 0)
            return (int)i;
    return -1;
}

static int value_of(struct line *l, const struct named *names, const char *what)
{
    const char *word = next(l);
    for (; names->name; names++)
        if (strcmp(names->name, word) == 0)
            return names->value;
    l->error = what;
    return 0;
}

static const char *name_of(const struct named *names, int value)
{
    for (; names->name; names++)
        if (names->value == value)
            return names->name;
    return "?";
}

/* ------------------------------------------------------------------------------------ reading */

/* A host's name; or @g1: whoever runs g1 then; @not-g1: the first host without a copy of it;
 * @chair: the coordinator; @not-chair: the first one that is not. */
static int any_host_of(const struct line *l, const char *word)
{
    if (word[0] != '@')
        return host_of(l, word);
    if (strcmp(word, "@chair") == 0)
        return SIM_HOST_CHAIR;
    if (strcmp(word, "@not-chair") == 0)
        return SIM_HOST_NOT_CHAIR;
    bool not = strncmp(word, "@not-", 5) == 0;
    int g = guest_of(l, word + (not ? 5 : 1));
    return g < 0 ? -1 : g + (not ? SIM_HOST_NOT_OF : SIM_HOST_OF);
}

static uint8_t read_host(struct line *l)
{
    int h = any_host_of(l, next(l));
    if (h < 0)
        l->error = "expected a host";
    return (uint8_t)h;
}

static void read_sides(struct line *l, struct sim_op *op)
{
    uint8_t side = 0;
    while (l->at < l->n && strcmp(peek(l), "for") != 0) {
        if (strcmp(peek(l), "|") == 0) {
            side++;
            l->at++;
            continue;
        }
        int h = host_of(l, next(l));
        if (h < 0) {
            l->error = "expected a host by its name";
            return;
        }
        op->comp[h] = side;
    }
}

static void read_command(struct line *l, struct sim_op *op)
{
    op->arg = value_of(l, commands, "expected a command");
    op->guest = guest_of(l, peek(l));
    if (op->guest >= 0)
        l->at++;
    int peer = any_host_of(l, peek(l));
    if (peer >= 0) {
        op->peer = (uint8_t)peer;
        l->at++;
    }
    if (l->at < l->n && strcmp(peek(l), "for") != 0)
        snprintf(op->text, sizeof(op->text), "%.15s", next(l));
}

static void read_arg(struct line *l, char what, struct sim_op *op)
{
    switch (what) {
    case 'h':
        op->host = read_host(l);
        break;
    case 'p':
        op->peer = read_host(l);
        break;
    case 'G':
        if (guest_of(l, peek(l)) >= 0)
            op->guest = guest_of(l, next(l));
        break;
    case 'g':
        op->guest = guest_of(l, next(l));
        if (op->guest < 0)
            l->error = "expected a guest";
        break;
    case 't':
        op->val = sim_script_time(next(l));
        if (op->val < 0)
            l->error = "expected a time";
        break;
    case 'L':
        op->arg2 = -1;
        if (strcmp(peek(l), "level") == 0) {
            l->at++;
            op->arg2 = atoi(next(l));
        }
        break;
    case 'm':
        op->arg = value_of(l, modes, "expected ok, fail, hang, late, lost, lie or slow");
        if (op->arg == SIM_DEV_SLOW)
            read_arg(l, 't', op);
        break;
    case 'o':
        op->arg = value_of(l, ops, "expected an operation");
        break;
    case 'r':
        op->arg2 = value_of(l, outcomes, "expected ok, fail, answer-lost, nothing, hang or slow");
        if (peek(l)[0] == 'x')
            op->val = atoi(next(l) + 1);
        break;
    case 's':
        read_sides(l, op);
        break;
    case 'c':
        read_command(l, op);
        break;
    default:
        break;
    }
}

static void read_when(struct line *l, struct sim_op *op)
{
    if (strcmp(peek(l), "when") != 0)
        return;
    l->at++;
    snprintf(op->pattern, sizeof(op->pattern), "%s", next(l));
    if (peek(l)[0] == 'x' && peek(l)[1] >= '0' && peek(l)[1] <= '9')
        op->nth = (unsigned)atoi(next(l) + 1);
    if (peek(l)[0] == '+') {
        op->delay = sim_script_time(next(l) + 1);
        if (op->delay < 0)
            l->error = "expected a time after +";
    }
}

static void read_op(struct line *l, struct sim_op *op)
{
    read_when(l, op);
    const char *word = next(l);
    const struct verb *v = NULL;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs) && !v; i++)
        if (strcmp(verbs[i].name, word) == 0)
            v = &verbs[i];
    if (!v) {
        l->error = "unknown verb";
        return;
    }
    op->kind = v->kind;
    op->undo = v->undo;
    op->arg = v->arg;
    for (const char *a = v->args; *a && !l->error; a++)
        read_arg(l, *a, op);
    if (!l->error && strcmp(peek(l), "for") == 0) {
        l->at++;
        op->dur = sim_script_time(next(l));
        if (op->dur <= 0)
            l->error = "expected a time after `for`";
    }
    if (!l->error && l->at < l->n)
        l->error = "more words than expected";
}

int sim_script_parse(const char *text, const struct ha_config *config, struct sim_plan *plan,
                     ha_ms *ret_end_ms, char *ret_error, size_t size)
{
    unsigned number = 0;
    while (*text) {
        char buffer[400];
        size_t len = strcspn(text, "\n");
        snprintf(buffer, sizeof(buffer), "%.*s", (int)len, text);
        text += len + (text[len] == '\n');
        number++;
        struct line l = {.config = config};
        cut_words(&l, buffer);
        if (l.n == 0)
            continue;
        struct sim_op op = {.host = SIM_NO_HOST, .peer = SIM_NO_HOST, .guest = -1};
        op.at = sim_script_time(next(&l));
        if (op.at < 0) {
            l.error = "expected a time";
        } else if (strcmp(peek(&l), "end") == 0) {
            *ret_end_ms = op.at;
            continue;
        } else {
            read_op(&l, &op);
        }
        if (l.error) {
            snprintf(ret_error, size, "line %u, word %zu: %s: `%s`", number, l.at, l.error, buffer);
            return -1;
        }
        sim_plan_add(plan, &op);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------ writing */

static const char *guest_name(const struct ha_config *config, int g)
{
    return g >= 0 && g < (int)config->nguests ? config->guests[g].name : "";
}

static void write_host(FILE *f, const struct ha_config *config, uint8_t h)
{
    if (h < config->nhosts)
        fprintf(f, " %s", config->hosts[h].name);
    else if (h == SIM_HOST_CHAIR)
        fprintf(f, " @chair");
    else if (h == SIM_HOST_NOT_CHAIR)
        fprintf(f, " @not-chair");
    else if (h >= SIM_HOST_NOT_OF)
        fprintf(f, " @not-%s", guest_name(config, h - SIM_HOST_NOT_OF));
    else
        fprintf(f, " @%s", guest_name(config, h - SIM_HOST_OF));
}

static void write_sides(FILE *f, const struct sim_op *op, const struct ha_config *config)
{
    bool any = false;
    for (int side = 0; side < SIM_HOSTS_MAX; side++) {
        bool first = true;
        for (size_t i = 0; i < config->nhosts; i++) {
            if (op->comp[i] != side)
                continue;
            fprintf(f, "%s %s", first && any ? " |" : "", config->hosts[i].name);
            first = false;
            any = true;
        }
    }
}

static void write_arg(FILE *f, char what, const struct sim_op *op, const struct ha_config *config)
{
    switch (what) {
    case 'h':
        write_host(f, config, op->host);
        break;
    case 'p':
        write_host(f, config, op->peer);
        break;
    case 'g':
    case 'G':
        if (op->guest >= 0)
            fprintf(f, " %s", guest_name(config, op->guest));
        break;
    case 't':
        fprintf(f, " %lldms", (long long)op->val);
        break;
    case 'L':
        if (op->arg2 >= 0)
            fprintf(f, " level %d", op->arg2);
        break;
    case 'm':
        fprintf(f, " %s", name_of(modes, op->arg));
        if (op->arg == SIM_DEV_SLOW)
            fprintf(f, " %lldms", (long long)op->val);
        break;
    case 'o':
        fprintf(f, " %s", name_of(ops, op->arg));
        break;
    case 'r':
        fprintf(f, " %s", name_of(outcomes, op->arg2));
        if (op->val > 1)
            fprintf(f, " x%lld", (long long)op->val);
        break;
    case 's':
        write_sides(f, op, config);
        break;
    case 'c':
        fprintf(f, " %s", name_of(commands, op->arg));
        if (op->guest >= 0)
            fprintf(f, " %s", guest_name(config, op->guest));
        if (op->peer != SIM_NO_HOST)
            write_host(f, config, op->peer);
        if (op->text[0])
            fprintf(f, " %s", op->text);
        break;
    default:
        break;
    }
}

static const struct verb *verb_of(const struct sim_op *op)
{
    const struct verb *best = NULL;
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
        if (verbs[i].kind == op->kind && verbs[i].undo == op->undo &&
            (!best || verbs[i].arg == op->arg))
            best = &verbs[i];
    return best;
}

void sim_op_format(const struct sim_op *op, const struct ha_config *config, char *ret, size_t size)
{
    FILE *f = fmemopen(ret, size, "w");
    const struct verb *v = verb_of(op);
    if (!f)
        return;
    fprintf(f, "%lldms ", (long long)op->at);
    if (op->pattern[0]) {
        fprintf(f, "when \"%s\" ", op->pattern);
        if (op->nth > 1)
            fprintf(f, "x%u ", op->nth);
        if (op->delay)
            fprintf(f, "+%lldms ", (long long)op->delay);
    }
    fputs(v ? v->name : "?", f);
    for (const char *a = v ? v->args : ""; *a; a++)
        write_arg(f, *a, op, config);
    if (op->dur)
        fprintf(f, " for %lldms", (long long)op->dur);
    fclose(f);
}
