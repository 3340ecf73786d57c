/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One child a run: its environment, and what its end says. */
#include "prober.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"

enum {
    CANNOT_TELL = 2,       /* exit code of a probe that could not find out */
    NOT_EXECUTABLE = 126,  /* those of a shell whose program is not there */
    NOT_FOUND = 127,
    ENV_MAX = 10,
};

struct run {
    struct run *next;
    struct xvm_prober *prober;
    struct xvm_child *child;
    sd_event_source *soon; /* it could not even be tried */
    uint64_t id;
};

struct xvm_prober {
    sd_event *loop;
    char *dir, *host;
    xvm_prober_done done;
    void *user;
    struct run *runs;
};

static void forget(struct run *run)
{
    struct run **at = &run->prober->runs;

    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    sd_event_source_disable_unref(run->soon);
    free(run);
}

static enum ha_probe_result judge(const struct xvm_child_end *end)
{
    if (end->how == XVM_CHILD_TIMED_OUT)
        return HA_PROBE_HUNG;
    if (end->how != XVM_CHILD_EXITED || end->code == CANNOT_TELL ||
        end->code == NOT_EXECUTABLE || end->code == NOT_FOUND)
        return HA_PROBE_NOTHING;
    return end->code == 0 ? HA_PROBE_HEALTHY : HA_PROBE_UNHEALTHY;
}

static void on_end(void *user, const struct xvm_child_end *end)
{
    struct run *run = user;
    struct xvm_prober *prober = run->prober;
    char text[HA_TEXT_MAX] = "";
    uint64_t id = run->id;

    xvm_child_sanitise(end->out[0] != '\0' ? end->out : end->err, text, sizeof(text));
    if (text[0] == '\0' && end->how == XVM_CHILD_TIMED_OUT)
        snprintf(text, sizeof(text), "it hung and was killed");
    else if (text[0] == '\0' && end->how == XVM_CHILD_NOT_STARTED)
        snprintf(text, sizeof(text), "it cannot be run: %s", strerror(end->code));
    else if (text[0] == '\0' && end->how == XVM_CHILD_SIGNALED)
        snprintf(text, sizeof(text), "it was ended by signal %d", end->code);
    else if (text[0] == '\0' && end->code != 0)
        snprintf(text, sizeof(text), "it ended with code %d, without a word", end->code);
    forget(run);
    prober->done(prober->user, id, judge(end), text);
}

static int on_soon(sd_event_source *source, void *user)
{
    static const struct xvm_child_end none = {
        .how = XVM_CHILD_NOT_STARTED, .code = EAGAIN, .out = "", .err = ""};

    (void)source;
    on_end(user, &none);
    return 0;
}

int xvm_prober_new(sd_event *loop, const char *dir, const char *host, xvm_prober_done done,
                   void *user, struct xvm_prober **ret_prober)
{
    struct xvm_prober *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -ENOMEM;
    *p = (struct xvm_prober){
        .loop = loop, .dir = strdup(dir), .host = strdup(host), .done = done, .user = user};
    if (p->dir == NULL || p->host == NULL) {
        xvm_prober_free(p);
        return -ENOMEM;
    }
    *ret_prober = p;
    return 0;
}

struct xvm_prober *xvm_prober_free(struct xvm_prober *prober)
{
    if (prober == NULL)
        return NULL;
    while (prober->runs != NULL) {
        xvm_child_free(prober->runs->child);
        forget(prober->runs);
    }
    free(prober->dir);
    free(prober->host);
    free(prober);
    return NULL;
}

struct environment {
    char text[ENV_MAX][HA_TEXT_MAX];
    char *v[ENV_MAX + 1];
};

static void fill(struct environment *env, const struct xvm_prober *prober,
                 const struct ha_guest_config *guest, const struct ha_probe_config *probe,
                 const struct ha_action *action)
{
    const char *const values[][2] = {
        {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"LC_ALL", "C.UTF-8"},
        {"HOME", "/root"},
        {"XVM_PROBE_GUEST", guest->name},
        {"XVM_PROBE_HOST", prober->host},
        {"XVM_PROBE_NAME", probe->name},
    };
    size_t n = sizeof(values) / sizeof(values[0]);

    for (size_t i = 0; i < n; i++)
        snprintf(env->text[i], sizeof(env->text[i]), "%s=%s", values[i][0], values[i][1]);
    snprintf(env->text[n++], HA_TEXT_MAX, "XVM_PROBE_INCARNATION=%" PRIu64, action->u.probe.inc);
    snprintf(env->text[n++], HA_TEXT_MAX, "XVM_PROBE_TIMEOUT=%lld",
             (long long)(probe->timeout_ms + 999) / 1000);
    for (size_t i = 0; i < n; i++)
        env->v[i] = env->text[i];
}

static int start(struct run *run, const struct ha_guest_config *guest,
                 const struct ha_probe_config *probe, const struct ha_action *action)
{
    struct environment env = {0};
    char *path = NULL;
    int r;

    fill(&env, run->prober, guest, probe, action);
    if (probe->argv[0][0] == '/')
        path = strdup(probe->argv[0]);
    else if (asprintf(&path, "%s/%s", run->prober->dir, probe->argv[0]) < 0)
        path = NULL;
    if (path == NULL)
        return -ENOMEM;
    const struct xvm_child_spec spec = {
        .path = path, .argv = probe->argv, .envp = env.v, .timeout_ms = probe->timeout_ms};
    r = xvm_child_new(run->prober->loop, &spec, on_end, run, &run->child);
    free(path);
    return r;
}

int xvm_prober_run(struct xvm_prober *prober, const struct ha_guest_config *guest,
                   const struct ha_action *action)
{
    struct run *run = calloc(1, sizeof(*run));
    int r;

    if (run == NULL)
        return -ENOMEM;
    run->prober = prober;
    run->id = action->u.probe.id;
    run->next = prober->runs;
    prober->runs = run;
    r = start(run, guest, &guest->probes[action->u.probe.probe], action);
    if (r < 0) /* the answer never comes from inside this call */
        r = sd_event_add_defer(prober->loop, &run->soon, on_soon, run);
    return r < 0 ? -ENOMEM : 0;
}
