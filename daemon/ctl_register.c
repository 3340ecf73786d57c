/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl guest add`, `remove`, `export`, `config push`: the register of guests; and `restart`,
 * `debug`. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

enum {
    POLL_MS = 200,
    TAKE_TIMEOUT_S = 90, /* a fence agent may have to be asked for its options */
    STOP_TIMEOUT_S = 660,
    TEXT_MAX = 512 * 1024,
};

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------------- until all have taken it */

/* The hosts that are here and do not work by this host's configuration (names, comma between), or
 * "this host" while that is still the old one; "": none. False: no answer. */
static bool laggards(const struct ctl *ctl, const char *before, char *buf, size_t size)
{
    json_t *status = NULL;
    const json_t *host;
    size_t i, n = 0;

    if (ctl_call(ctl, "org.xvmha.Status", NULL, &status) != CTL_OK)
        return false;
    buf[0] = '\0';
    if (strcmp(ctl_string(status, "config_hash"), before) == 0)
        n = (size_t)snprintf(buf, size, "%s", ctl_string(status, "self"));
    json_array_foreach(json_object_get(status, "hosts"), i, host)
    {
        if (n < size && ctl_bool(host, "daemon") && ctl_bool(host, "drift"))
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "",
                                  ctl_string(host, "name"));
    }
    json_decref(status);
    return true;
}

static int current(const struct ctl *ctl, char *buf, size_t size)
{
    json_t *status = NULL;
    int r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);

    if (r == CTL_OK)
        snprintf(buf, size, "%s", ctl_string(status, "config_hash"));
    json_decref(status);
    return r;
}

static int wait_taken(const struct ctl *ctl, const char *before)
{
    int limit_s = (ctl->given & OPT_TIMEOUT) != 0 ? ctl->timeout_s : TAKE_TIMEOUT_S;
    long long end = now_ms() + (long long)limit_s * 1000;
    char who[400] = "", text[700];

    while (laggards(ctl, before, who, sizeof(who))) {
        if (who[0] == '\0')
            return CTL_OK;
        if (now_ms() >= end) {
            snprintf(text, sizeof(text),
                     "not in use after %d s on %s: `xvmhactl events` there says why, `xvmhactl "
                     "config diff` what differs",
                     limit_s, who);
            ctl_put_error(ctl, text);
            return CTL_TIMEOUT;
        }
        usleep(POLL_MS * 1000);
    }
    return CTL_NO_DAEMON;
}

/* Asks, waits until every host that is here works by it, and says what the cluster said. */
static int change(const struct ctl *ctl, json_t *params, bool push)
{
    json_t *answer = NULL;
    char before[32] = "";
    int r = current(ctl, before, sizeof(before));

    if (r != CTL_OK) {
        json_decref(params);
        return r;
    }
    r = ctl_call(ctl, "org.xvmha.ConfigChange", params, &answer);
    if (r != CTL_OK)
        return r;
    r = wait_taken(ctl, push ? "" : before);
    if (ctl->json)
        ctl_print_json(answer);
    else
        ctl_put_wrapped(ctl, STYLE_PLAIN, ctl_string(answer, "text"), 0, 0);
    json_decref(answer);
    return r;
}

/* ------------------------------------------------------------------------------------ guest add */

static char *read_text(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *text = malloc(TEXT_MAX + 1);
    size_t n = 0;

    if (file == NULL || text == NULL) {
        fprintf(stderr, "xvmhactl: cannot read %s: %s\n", path, strerror(errno));
    } else {
        n = fread(text, 1, TEXT_MAX + 1, file);
        if (ferror(file) || n > TEXT_MAX) {
            fprintf(stderr, "xvmhactl: cannot read %s: %s\n", path,
                    n > TEXT_MAX ? "it is larger than 512 KiB" : strerror(errno));
            free(text);
            text = NULL;
        } else {
            text[n] = '\0';
        }
    }
    if (file == NULL) {
        free(text);
        text = NULL;
    }
    if (file != NULL && file != stdin)
        fclose(file);
    return text;
}

/* What xl makes of a guest's xl configuration, or NULL and a complaint. */
static json_t *ask_xl(const char *path)
{
    const char *xl = getenv("XVM_XL"), *begin;
    const char *const argv[] = {xl != NULL ? xl : "xl", "-N", "create", path, NULL};
    char *text = NULL;
    json_t *json = NULL;
    int status = 0, r = ctl_run(argv, NULL, 0, &text, &status);

    begin = text != NULL ? strchr(text, '{') : NULL;
    if (r == 0 && status == 0 && begin != NULL)
        json = json_loads(begin, JSON_DISABLE_EOF_CHECK, NULL);
    if (json == NULL && r < 0)
        fprintf(stderr, "xvmhactl: xl cannot be run: %s\n", strerror(-r));
    else if (json == NULL)
        fprintf(stderr, "xvmhactl: xl does not take %s\n", path);
    free(text);
    return json;
}

static bool plain_name(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_.+-";

    for (const char *c = name; *c != '\0'; c++)
        if (strchr(plain, *c) == NULL)
            return false;
    return name[0] != '\0';
}

/* The least that is to be said of a guest. */
static char *fragment_of(const char *path)
{
    char real[PATH_MAX], *text = NULL;
    json_t *json = realpath(path, real) != NULL ? ask_xl(real) : NULL;
    const char *name;
    long long memory_kib, vcpus;

    if (json == NULL) {
        if (access(path, R_OK) < 0)
            fprintf(stderr, "xvmhactl: cannot read %s: %s\n", path, strerror(errno));
        return NULL;
    }
    name = ctl_string(json_object_get(json, "c_info"), "name");
    memory_kib = ctl_int(json_object_get(json, "b_info"), "max_memkb");
    vcpus = ctl_int(json_object_get(json, "b_info"), "max_vcpus");
    if (!plain_name(name) || memory_kib <= 0)
        fprintf(stderr, "xvmhactl: %s: %s\n", path,
                memory_kib <= 0 ? "it names no memory"
                                : "its `name` is none that a guest can have here: letters, digits "
                                  "and _ . + -");
    else if (asprintf(&text, "%s:\n  config: \"%s\"\n  memory: %lldM\n  vcpus: %lld\n", name, real,
                      (memory_kib + 1023) / 1024, vcpus > 0 ? vcpus : 1) < 0)
        text = NULL;
    json_decref(json);
    return text;
}

/* Guests that the cluster knows from before keep what it knows. */
static void put_hint(const struct ctl *ctl, const char *guest)
{
    json_t *status = NULL;
    const json_t *g;
    char text[300];

    if (ctl->json || ctl_call(ctl, "org.xvmha.Status", NULL, &status) != CTL_OK)
        return;
    g = ctl_find_guest(status, guest);
    if (g != NULL && !ctl_bool(g, "enabled")) {
        snprintf(text, sizeof(text), "it is disabled: `xvmhactl enable %.64s` lets it run", guest);
        ctl_put_wrapped(ctl, STYLE_BUSY, text, 0, 0);
    } else if (g != NULL && !ctl_bool(g, "want_run")) {
        snprintf(text, sizeof(text), "it is stopped: `xvmhactl start %.64s` starts it", guest);
        ctl_put_wrapped(ctl, STYLE_BUSY, text, 0, 0);
    }
    json_decref(status);
}

/* The first guest of a fragment, which may be under `guests:`. */
static void first_name(const char *text, char *buf, size_t size)
{
    buf[0] = '\0';
    while (*text != '\0') {
        size_t len = strcspn(text, "\n"), from = strspn(text, " "), n = 0;

        while (from + n < len && plain_name((char[]){text[from + n], '\0'}))
            n++;
        if (n > 0 && text[from + n] == ':' && strncmp(text + from, "guests:", 7) != 0) {
            snprintf(buf, size, "%.*s", (int)n, text + from);
            return;
        }
        text += len + (text[len] == '\n');
    }
}

int ctl_guest_add(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    bool xl = (ctl->given & OPT_XL) != 0;
    char *text, name[128];
    int r;

    if (xl == (nargs > 0))
        return ctl_usage_error("usage: xvmhactl %s %s", command->name, command->args);
    text = xl ? fragment_of(ctl->xl_config) : read_text(args[0]);
    if (text == NULL)
        return CTL_FAILED;
    first_name(text, name, sizeof(name));
    r = change(ctl, json_pack("{s:s, s:s}", "what", "add", "text", text), false);
    free(text);
    if (r == CTL_OK && name[0] != '\0')
        put_hint(ctl, name);
    if (r == CTL_OK && name[0] != '\0' && (ctl->given & OPT_WAIT) != 0)
        r = ctl_wait(ctl, name, GOAL_RUNNING, "", 0);
    return r;
}

int ctl_guest_remove(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    (void)command;
    (void)nargs;
    return change(ctl,
                  json_pack("{s:s, s:s, s:b}", "what", "remove", "guest", args[0], "force",
                            (ctl->given & OPT_FORCE) != 0),
                  false);
}

int ctl_guest_export(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    json_t *answer = NULL;
    int r = ctl_call(ctl, "org.xvmha.GuestExport", json_pack("{s:s}", "guest", args[0]), &answer);

    (void)command;
    (void)nargs;
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        ctl_print_json(answer);
    else
        fputs(ctl_string(answer, "text"), stdout);
    json_decref(answer);
    return CTL_OK;
}

int ctl_config_push(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    int r = ctl_confirm(ctl,
                        "This host's configuration file replaces that of every other host, "
                        "whatever is in it (`xvmhactl config diff` shows that). Each keeps its old "
                        "one beside it, with .before behind the name.",
                        "push");

    (void)command;
    (void)args;
    (void)nargs;
    return r == CTL_OK ? change(ctl, json_pack("{s:s}", "what", "push"), true) : r;
}

/* ------------------------------------------------------------------------------------- restart */

static int incarnation(const struct ctl *ctl, const char *guest, long long *ret)
{
    json_t *status = NULL;
    const json_t *g;
    int r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);

    g = r == CTL_OK ? ctl_find_guest(status, guest) : NULL;
    *ret = g != NULL ? ctl_int(g, "incarnation") : 0;
    json_decref(status);
    return r;
}

/* First until it is another start, then until that runs. */
static int wait_restarted(const struct ctl *ctl, const char *guest, long long before)
{
    int limit_s = (ctl->given & OPT_TIMEOUT) != 0 ? ctl->timeout_s : STOP_TIMEOUT_S;
    long long end = now_ms() + (long long)limit_s * 1000, now = before;
    char text[300];
    int r = CTL_OK;

    while (r == CTL_OK && now == before && now_ms() < end) {
        usleep(POLL_MS * 1000);
        r = incarnation(ctl, guest, &now);
    }
    if (r != CTL_OK)
        return r;
    if (now != before)
        return ctl_wait(ctl, guest, GOAL_RUNNING, "", 0);
    snprintf(text, sizeof(text),
             "%.64s has not started again after %d s; the command stands, see `xvmhactl status`",
             guest, limit_s);
    ctl_put_error(ctl, text);
    return CTL_TIMEOUT;
}

int ctl_restart(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    long long before = 0;
    int r = CTL_OK;

    (void)nargs;
    if ((ctl->given & OPT_WAIT) != 0)
        r = incarnation(ctl, args[0], &before);
    if (r == CTL_OK)
        r = ctl_request_print(ctl, command->method, args[0], "", "");
    if (r == CTL_OK && (ctl->given & OPT_WAIT) != 0)
        r = wait_restarted(ctl, args[0], before);
    return r;
}

/* --------------------------------------------------------------------------------------- debug */

int ctl_debug(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    bool on = strcmp(args[0], "on") == 0;
    json_t *answer = NULL, *params;
    int r;

    if (!on && strcmp(args[0], "off") != 0)
        return ctl_usage_error("usage: xvmhactl %s %s", command->name, command->args);
    params = json_pack("{s:b}", "on", on);
    if (nargs > 1)
        json_object_set_new(params, "name", json_string(args[1]));
    r = ctl_call(ctl, "org.xvmha.Debug", params, &answer);
    if (r != CTL_OK)
        return r;
    if (ctl->json)
        ctl_print_json(answer);
    else
        printf("messages for debugging %s are %s\n", nargs > 1 ? args[1] : "everything",
               on ? "on: journalctl -u xvm-had -p debug" : "off");
    json_decref(answer);
    return CTL_OK;
}
