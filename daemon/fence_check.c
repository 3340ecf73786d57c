/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A round of questions to fence devices. */
#include "fence_check.h"
#include "child.h"
#include "fence_meta.h"
#include "util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 4 };

struct question {
    struct xvm_checker *checker;
    struct xvm_fence_device device; /* a copy of its own */
    const char *action;             /* NULL: cannot be asked */
    size_t at;                      /* in checker->checks */
    struct xvm_child *child;
    bool asked, answered;
    ha_ms begin;
};

struct xvm_checker {
    sd_event *loop;
    xvm_check_done done;
    void *user;
    struct xvm_check *checks;
    struct question *questions;
    size_t n, left, running;
    sd_event_source *next;
};

const char *xvm_check_result_name(enum xvm_check_result result)
{
    switch (result) {
    case XVM_CHECK_ON:
        return "on";
    case XVM_CHECK_OFF:
        return "off";
    case XVM_CHECK_WORKS:
        return "works";
    case XVM_CHECK_FAILED:
        return "failed";
    case XVM_CHECK_UNKNOWN:
        return "unknown";
    }
    return "unknown";
}

/* ------------------------------------------------------------------------------------- asking */

static void finish(struct question *q, enum xvm_check_result result)
{
    struct xvm_check *check = &q->checker->checks[q->at];

    check->result = result;
    check->took_ms = q->begin ? xvm_now_ms() - q->begin : 0;
    q->answered = true;
    q->checker->left--;
}

static void schedule(struct xvm_checker *checker)
{
    (void)sd_event_source_set_enabled(checker->next, SD_EVENT_ONESHOT);
}

static void on_child(void *user, const struct xvm_child_end *end)
{
    struct question *q = user;
    struct xvm_check *check = &q->checker->checks[q->at];
    enum xvm_fence_power power = xvm_fence_status(end);

    q->child = NULL;
    q->checker->running--;
    if (strcmp(q->action, "monitor") == 0 && end->how == XVM_CHILD_EXITED && end->code == 0)
        finish(q, XVM_CHECK_WORKS);
    else if (strcmp(q->action, "status") == 0 && power == XVM_FENCE_ON)
        finish(q, XVM_CHECK_ON);
    else if (strcmp(q->action, "status") == 0 && power == XVM_FENCE_OFF)
        finish(q, XVM_CHECK_OFF);
    else {
        xvm_fence_explain(&q->device, q->action, end, check->text);
        finish(q, XVM_CHECK_FAILED);
    }
    schedule(q->checker);
}

static void ask(struct question *q)
{
    struct xvm_check *check = &q->checker->checks[q->at];
    char *argv[] = {q->device.path, NULL};
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char locale[] = "LC_ALL=C", home[] = "HOME=/root";
    char *envp[] = {path, locale, home, NULL}, *input = NULL;
    size_t len = 0;
    int r;

    q->asked = true;
    if (q->action == NULL) {
        snprintf(check->text, sizeof(check->text), "its agent has neither status nor monitor");
        finish(q, XVM_CHECK_UNKNOWN);
        return;
    }
    q->begin = xvm_now_ms();
    r = xvm_fence_input(&q->device, q->action, &input, &len, check->text);
    if (r == 0) {
        const struct xvm_child_spec spec = {.path = q->device.path,
                                            .argv = argv,
                                            .envp = envp,
                                            .input = input,
                                            .input_len = len,
                                            .timeout_ms = q->device.timeout_ms};

        r = xvm_child_new(q->checker->loop, &spec, on_child, q, &q->child);
        explicit_bzero(input, len);
        free(input);
        if (r < 0)
            snprintf(check->text, sizeof(check->text), "cannot be called: %s", strerror(-r));
    }
    if (r < 0)
        finish(q, XVM_CHECK_FAILED);
    else
        q->checker->running++;
}

/* Many management controllers take one session at a time. */
static bool device_busy(const struct xvm_checker *checker, const struct question *q)
{
    for (size_t i = 0; i < checker->n; i++) {
        const struct question *other = &checker->questions[i];

        if (other->child != NULL && strcmp(other->device.name, q->device.name) == 0)
            return true;
    }
    return false;
}

static int on_next(sd_event_source *source, void *user)
{
    struct xvm_checker *checker = user;

    (void)source;
    for (size_t i = 0; i < checker->n && checker->running < AT_ONCE; i++) {
        struct question *q = &checker->questions[i];

        if (!q->asked && !device_busy(checker, q))
            ask(q);
    }
    if (checker->left > 0)
        return 0;
    checker->done(checker->user, checker->checks, checker->n);
    xvm_checker_free(checker);
    return 0;
}

/* ----------------------------------------------------------------------------------- the list */

static const char *action_for(const struct ha_fence_device *device)
{
    if (device->actions == 0 || (device->actions & XVM_META_STATUS) != 0)
        return "status"; /* not known: nearly all have it */
    return (device->actions & XVM_META_MONITOR) != 0 ? "monitor" : NULL;
}

static bool listed(const struct xvm_checker *checker, ha_node node, const char *device)
{
    for (size_t i = 0; i < checker->n; i++) {
        if (checker->checks[i].node == node && strcmp(checker->checks[i].device, device) == 0)
            return true;
    }
    return false;
}

static int add(struct xvm_checker *checker, const struct ha_fence_device *device,
               const struct ha_host_config *host, uint32_t level, const char *agent_dir)
{
    struct xvm_check *check = &checker->checks[checker->n];
    struct question *q = &checker->questions[checker->n];
    int r;

    if (listed(checker, host->node, device->name))
        return 0;
    r = xvm_fence_device_copy(device, host, agent_dir, &q->device);
    if (r < 0)
        return r;
    if (q->device.timeout_ms <= 0)
        q->device.timeout_ms = 20000;
    q->checker = checker;
    q->action = action_for(device);
    q->at = checker->n++;
    memcpy(check->host, host->name, sizeof(check->host));
    memcpy(check->device, device->name, sizeof(check->device));
    check->node = host->node;
    check->level = level;
    return 0;
}

static int add_all(struct xvm_checker *checker, const struct ha_config *config,
                   const char *agent_dir, ha_node node, const char *device)
{
    int r = 0;

    for (size_t i = 0; i < config->nhosts; i++) {
        const struct ha_host_config *host = &config->hosts[i];

        for (size_t l = 0; l < host->nlevels && (node == 0 || node == host->node); l++) {
            for (size_t k = 0; k < host->levels[l].ndevices && r == 0; k++) {
                const struct ha_fence_device *d = &config->devices[host->levels[l].devices[k]];

                if (device == NULL || strcmp(device, d->name) == 0)
                    r = add(checker, d, host, (uint32_t)l, agent_dir);
            }
        }
    }
    return r;
}

int xvm_checker_new(sd_event *loop, const struct ha_config *config, const char *agent_dir,
                    ha_node node, const char *device, xvm_check_done done, void *user,
                    struct xvm_checker **ret_checker)
{
    size_t room = config->nhosts * HA_LEVELS_MAX * 4 + 1;
    struct xvm_checker *checker = calloc(1, sizeof(*checker));
    int r = -ENOMEM;

    if (checker == NULL)
        return -ENOMEM;
    checker->loop = sd_event_ref(loop);
    checker->done = done;
    checker->user = user;
    checker->checks = calloc(room, sizeof(*checker->checks));
    checker->questions = calloc(room, sizeof(*checker->questions));
    if (checker->checks != NULL && checker->questions != NULL)
        r = add_all(checker, config, agent_dir ? agent_dir : "/usr/sbin", node, device);
    checker->left = checker->n;
    if (r == 0)
        r = sd_event_add_defer(loop, &checker->next, on_next, checker);
    if (r < 0) {
        xvm_checker_free(checker);
        return r;
    }
    schedule(checker);
    *ret_checker = checker;
    return 0;
}

struct xvm_checker *xvm_checker_free(struct xvm_checker *checker)
{
    if (checker == NULL)
        return NULL;
    for (size_t i = 0; i < checker->n; i++) {
        xvm_child_free(checker->questions[i].child);
        xvm_fence_device_done(&checker->questions[i].device);
    }
    sd_event_source_disable_unref(checker->next);
    sd_event_unref(checker->loop);
    free(checker->questions);
    free(checker->checks);
    free(checker);
    return NULL;
}
