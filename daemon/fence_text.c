/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fence agents' input, exit codes and words; pure functions beside memory. */
#include "fence_text.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int param_copy(const struct ha_param *from, struct ha_param *to)
{
    to->name = strdup(from->name);
    to->value = strdup(from->value ? from->value : "");
    to->secret = from->secret;
    return to->name && to->value ? 0 : -ENOMEM;
}

static const struct ha_param *find_param(const struct ha_param *params, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(params[i].name, name))
            return &params[i];
    return NULL;
}

int xvm_fence_device_copy(const struct ha_fence_device *from, const struct ha_host_config *host,
                          const char *agent_dir, struct xvm_fence_device *ret_device)
{
    struct xvm_fence_device d = {
        .timeout_ms = from->timeout_ms, .retries = from->retries,
        .verify = from->verify,
        .delay_ms = from->delay_ms};
    memcpy(d.name, from->name, sizeof(d.name));
    const char *agent = from->agent ? from->agent : "";
    int n = strchr(agent, '/') ? asprintf(&d.path, "%s", agent)
                               : asprintf(&d.path, "%s/%s", agent_dir, agent);
    if (n < 0)
        d.path = NULL;
    d.params = calloc(from->nparams + host->nparams + 1, sizeof(*d.params));
    int r = d.path && d.params ? 0 : -ENOMEM;
    for (size_t i = 0; !r && i < from->nparams; i++)
        if (!find_param(host->params, host->nparams, from->params[i].name))
            r = param_copy(&from->params[i], &d.params[d.nparams++]);
    for (size_t i = 0; !r && i < host->nparams; i++)
        r = param_copy(&host->params[i], &d.params[d.nparams++]);
    if (r < 0)
        xvm_fence_device_done(&d);
    else
        *ret_device = d;
    return r;
}

void xvm_fence_device_done(struct xvm_fence_device *device)
{
    for (size_t i = 0; i < device->nparams; i++) {
        struct ha_param *p = &device->params[i];
        if (p->value)
            explicit_bzero(p->value, strlen(p->value));
        free(p->name);
        free(p->value);
    }
    free(device->params);
    free(device->path);
    *device = (struct xvm_fence_device){0};
}

/* The agent's input is a list of lines: a line end in a value would smuggle in another parameter,
 * and a second action would turn an off into whatever it says. */
static const char *param_problem(const struct ha_param *p)
{
    if (!p->name[0] || strpbrk(p->name, "=\r\n \t#"))
        return "is not a parameter's name";
    if (!strcmp(p->name, "action") || !strcmp(p->name, "option"))
        return "would override what xvm-had asks for";
    if (strpbrk(p->value, "\r\n"))
        return "has a line end in its value, which agents cannot be given";
    return NULL;
}

int xvm_fence_input(const struct xvm_fence_device *device, const char *action, char **ret_input,
                    size_t *ret_len, char why[static XVM_FENCE_TEXT])
{
    size_t size = strlen(action) + sizeof("action=\n");
    for (size_t i = 0; i < device->nparams; i++) {
        const struct ha_param *p = &device->params[i];
        const char *problem = param_problem(p);
        if (problem) {
            snprintf(why, XVM_FENCE_TEXT,
                     "device '%s': parameter '%.64s' %s; correct it in the configuration",
                     device->name, p->name, problem);
            return -EINVAL;
        }
        size += strlen(p->name) + strlen(p->value) + 2;
    }
    char *input = malloc(size);
    if (!input)
        return -ENOMEM;
    size_t n = (size_t)snprintf(input, size, "action=%s\n", action);
    for (size_t i = 0; i < device->nparams; i++)
        n += (size_t)snprintf(input + n, size - n, "%s=%s\n", device->params[i].name,
                              device->params[i].value);
    *ret_input = input;
    *ret_len = n;
    return 0;
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = text; *s; s++)
        if (!strncasecmp(s, word, n) && !isalnum((unsigned char)s[n]) &&
            (s == text || !isalnum((unsigned char)s[-1])))
            return true;
    return false;
}

static bool blank(const char *text)
{
    return !text[strspn(text, " \t\r\n")];
}

/* Exit code 2 of status is "off" by the agents' API, but it is also what shells, python and
 * argparse exit with when they cannot run the agent at all. A host must not be taken for dead
 * because of a syntax error: the agent has to say "off", or to say nothing whatsoever. */
enum xvm_fence_power xvm_fence_status(const struct xvm_child_end *end)
{
    if (end->how != XVM_CHILD_EXITED)
        return XVM_FENCE_DONT_KNOW;
    if (end->code == 0)
        return has_word(end->out, "off") ? XVM_FENCE_DONT_KNOW : XVM_FENCE_ON;
    if (end->code == 2 && (has_word(end->out, "off") || (blank(end->out) && blank(end->err))))
        return XVM_FENCE_OFF;
    return XVM_FENCE_DONT_KNOW;
}

enum ha_result xvm_fence_verdict(const struct xvm_child_end *end)
{
    switch (end->how) {
    case XVM_CHILD_EXITED:
        /* 126 and up: the interpreter or a shell speaks, not the agent. */
        return end->code > 0 && end->code < 126 ? HA_RESULT_FAILED : HA_RESULT_UNKNOWN;
    case XVM_CHILD_NOT_STARTED:
        return HA_RESULT_FAILED;
    case XVM_CHILD_SIGNALED:
    case XVM_CHILD_TIMED_OUT:
        return HA_RESULT_UNKNOWN;
    }
    return HA_RESULT_UNKNOWN;
}

/* EC_... of the fence agents' library. */
static const char *exit_hint(int code, bool is_status)
{
    switch (code) {
    case 2:
        return is_status ? "exit code 2 without the word off; run the agent by hand"
                         : "bad arguments; check the device's parameters";
    case 3:
        return "login refused; check user name and password";
    case 4:
        return "connection lost; check address and cabling";
    case 5:
        return "the device did not answer in time; check address and cabling";
    case 6:
    case 7:
        return "the device took the order but the power did not change; look at the machine";
    case 8:
    case 9:
        return "no status for this plug; check the plug's name";
    case 10:
        return "a password is missing in the device's parameters";
    case 11:
        return "the user may not do this; check its privileges on the device";
    case 12:
        return "the device does not know this plug";
    case 126:
    case 127:
        return "a program or interpreter that the agent needs is missing; run the agent by hand";
    default:
        return "run the agent by hand to see more";
    }
}

static const char *start_hint(int e)
{
    switch (e) {
    case ENOENT:
        return "it or its interpreter does not exist; install it or correct 'agent'";
    case EACCES:
    case EPERM:
        return "it is not executable; correct its permissions or 'agent'";
    case ENOEXEC:
        return "it is not a program; correct 'agent'";
    default:
        return "the system could not start it";
    }
}

static void strike_secrets(const struct xvm_fence_device *device, char *text)
{
    for (size_t i = 0; i < device->nparams; i++) {
        const struct ha_param *p = &device->params[i];
        size_t n = strlen(p->value);
        if (!p->secret || !n)
            continue;
        for (char *s = text; (s = strstr(s, p->value)); s += n)
            memset(s, '*', n);
    }
}

static void last_words(const struct xvm_fence_device *device, const struct xvm_child_end *end,
                       char *words, size_t size)
{
    char raw[XVM_CHILD_TAIL];
    snprintf(raw, sizeof(raw), "%s", blank(end->err) ? end->out : end->err);
    strike_secrets(device, raw);
    xvm_child_sanitise(raw, words, size);
    explicit_bzero(raw, sizeof(raw));
}

void xvm_fence_explain(const struct xvm_fence_device *device, const char *action,
                       const struct xvm_child_end *end, char why[static XVM_FENCE_TEXT])
{
    char what[320] = "", words[160] = "";
    switch (end->how) {
    case XVM_CHILD_EXITED:
        snprintf(what, sizeof(what), "exit code %d: %s", end->code,
                 end->code ? exit_hint(end->code, !strcmp(action, "status"))
                           : "it says that the host is still on; look at the machine");
        break;
    case XVM_CHILD_SIGNALED:
        snprintf(what, sizeof(what), "the agent was ended by signal %d (%s); run it by hand",
                 end->code, end->code > 0 ? strsignal(end->code) : "unknown");
        break;
    case XVM_CHILD_TIMED_OUT:
        snprintf(what, sizeof(what),
                 "not done within %.1f s, killed; check that the device answers, or raise its "
                 "timeout",
                 (double)device->timeout_ms / 1000);
        break;
    case XVM_CHILD_NOT_STARTED:
        snprintf(what, sizeof(what), "cannot run %.128s (%s): %s", device->path,
                 strerror(end->code), start_hint(end->code));
        break;
    }
    last_words(device, end, words, sizeof(words));
    snprintf(why, XVM_FENCE_TEXT, "device '%s': %s failed: %s%s%s%s", device->name, action, what,
             words[0] ? "; it said: \"" : "", words, words[0] ? "\"" : "");
}
