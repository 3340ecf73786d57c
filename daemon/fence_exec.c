/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The launches of fence levels: their delays, calls, retries and verification, as state machines.
 */
#include "fence_exec.h"
#include "child.h"
#include "fence_text.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    STATUS_PAUSE_MS = 500, /* between two looks at the status */
    RETRY_PAUSE_MS = 500,  /* before a retry; doubles */
    RETRY_PAUSE_MAX_MS = 8000,
    DEFAULT_TIMEOUT_MS = 20000,
    SLOW_OFF_MS = 10000, /* a cancelled off: what a machine may take to go off */
};

enum phase {
    PHASE_DELAY,  /* nothing has been called yet */
    PHASE_OFF,    /* action=off runs */
    PHASE_CHECK,  /* off failed; action=status may still say that the host is off */
    PHASE_VERIFY, /* off succeeded; action=status must say off */
    PHASE_RETRY,  /* waiting before the next off, of this device or the next one */
    PHASE_PILL,   /* xvm-ha-disk runs */
    PHASE_ANSWER, /* only the answer is left */
};

struct launch {
    struct launch *next;
    struct xvm_fencer *fencer;
    uint64_t id;
    char host[HA_NAME_MAX];
    struct xvm_fence_device devices[4];
    size_t ndevices, current;
    enum phase phase;
    unsigned tries; /* of off, on the current device */
    ha_ms off_at, verify_end;
    bool cancelled; /* no further off is called */
    bool unknown; /* a call ended without a clear answer: nobody can say "it did not happen" */
    enum ha_result result;
    char why[XVM_FENCE_TEXT];
    struct xvm_child *child;
    sd_event_source *timer;
    char **pill; /* arguments of xvm-ha-disk, for a level of the shared disk; NULL: devices */
    ha_ms pill_ms;
};

struct xvm_fencer {
    sd_event *loop;
    const struct ha_config *config;
    char *agent_dir;
    xvm_fence_done done;
    void *user;
    struct launch *launches;
};

static void start_off(struct launch *launch);
static void start_status(struct launch *launch);
static void start_pill(struct launch *launch);

static ha_ms now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (ha_ms)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct launch *launch_free(struct launch *launch)
{
    if (!launch)
        return NULL;
    launch->child = xvm_child_free(launch->child);
    launch->timer = sd_event_source_disable_unref(launch->timer);
    for (size_t i = 0; i < launch->ndevices; i++)
        xvm_fence_device_done(&launch->devices[i]);
    for (size_t i = 0; launch->pill && launch->pill[i]; i++)
        free(launch->pill[i]);
    free(launch->pill);
    free(launch);
    return NULL;
}

static void unlink_launch(struct launch *launch)
{
    struct launch **at = &launch->fencer->launches;
    while (*at != launch)
        at = &(*at)->next;
    *at = launch->next;
}

/* The launch ends here: it is gone when this returns, and so may be the fencer. */
static void answer(struct launch *launch)
{
    struct xvm_fencer *fencer = launch->fencer;
    unlink_launch(launch);
    fencer->done(fencer->user, launch->id, launch->result, launch->why);
    launch_free(launch);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *user)
{
    struct launch *launch = user;
    (void)usec;
    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    switch (launch->phase) {
    case PHASE_DELAY:
        if (launch->pill)
            start_pill(launch);
        else
            start_off(launch);
        break;
    case PHASE_RETRY:
        start_off(launch);
        break;
    case PHASE_VERIFY:
        start_status(launch);
        break;
    case PHASE_ANSWER:
        answer(launch);
        break;
    case PHASE_OFF:
    case PHASE_CHECK:
    case PHASE_PILL:
        break;
    }
    return 0;
}

static int wait_ms(struct launch *launch, ha_ms ms)
{
    uint64_t usec = (uint64_t)(ms > 0 ? ms : 0) * 1000;
    launch->timer = sd_event_source_disable_unref(launch->timer);
    return sd_event_add_time_relative(launch->fencer->loop, &launch->timer, CLOCK_BOOTTIME, usec,
                                      1000, on_timer, launch);
}

static void finish(struct launch *launch, enum ha_result result)
{
    launch->result = result;
    launch->phase = PHASE_ANSWER;
    /* Through the loop, so that the answer never comes from inside a call of ours. Without memory
     * for a timer there is no way to keep that promise; an answer is worth more than the detour. */
    if (wait_ms(launch, 0) < 0)
        answer(launch);
}

static void finish_failed(struct launch *launch)
{
    finish(launch, launch->unknown ? HA_RESULT_UNKNOWN : HA_RESULT_FAILED);
}

static void finish_ok(struct launch *launch)
{
    size_t n = (size_t)snprintf(launch->why, sizeof(launch->why), "%s is off:", launch->host);
    for (size_t i = 0; i < launch->ndevices && n < sizeof(launch->why); i++)
        n += (size_t)snprintf(launch->why + n, sizeof(launch->why) - n, "%s device '%s'%s",
                              i ? "," : "", launch->devices[i].name,
                              launch->devices[i].verify ? " (verified)" : "");
    finish(launch, HA_RESULT_OK);
}

/* What was done until now is not all that the level asks for. */
static void called_off(struct launch *launch)
{
    size_t n = (size_t)snprintf(launch->why, sizeof(launch->why),
                                "called off, for %s is back or dead already, or there is no quorum",
                                launch->host);
    if (launch->current && n < sizeof(launch->why))
        snprintf(launch->why + n, sizeof(launch->why) - n,
                 "; %zu of its %zu devices have switched off their part", launch->current,
                 launch->ndevices);
    finish_failed(launch);
}

/* The next off, of this device or the next one, unless there is to be none. */
static void off_after(struct launch *launch, ha_ms pause)
{
    if (launch->cancelled) {
        called_off(launch);
        return;
    }
    launch->phase = PHASE_RETRY;
    if (wait_ms(launch, pause) < 0)
        finish_failed(launch);
}

static void device_is_off(struct launch *launch)
{
    if (++launch->current == launch->ndevices) {
        finish_ok(launch);
        return;
    }
    launch->tries = 0;
    off_after(launch, launch->devices[launch->current].delay_ms);
}

/* launch->why holds the sentence about what went wrong. */
static void retry_or_fail(struct launch *launch)
{
    const struct xvm_fence_device *device = &launch->devices[launch->current];
    if (launch->tries > device->retries) {
        finish_failed(launch);
        return;
    }
    unsigned doublings = launch->tries > 5 ? 5 : launch->tries - 1;
    ha_ms pause = (ha_ms)RETRY_PAUSE_MS << doublings;
    off_after(launch, pause < RETRY_PAUSE_MAX_MS ? pause : RETRY_PAUSE_MAX_MS);
}

static void note(struct launch *launch, const char *action, const struct xvm_child_end *end)
{
    xvm_fence_explain(&launch->devices[launch->current], action, end, launch->why);
}

/* Once it is cancelled nobody waits long for a machine that is still on: it may be its next life.
 */
static void shorten_verify(struct launch *launch)
{
    if (launch->cancelled && launch->verify_end > launch->off_at + SLOW_OFF_MS)
        launch->verify_end = launch->off_at + SLOW_OFF_MS;
}

static void off_ended(struct launch *launch, const struct xvm_child_end *end)
{
    const struct xvm_fence_device *device = &launch->devices[launch->current];
    if (end->how == XVM_CHILD_EXITED && end->code == 0) {
        if (!device->verify) {
            device_is_off(launch);
            return;
        }
        launch->phase = PHASE_VERIFY;
        launch->off_at = now_ms();
        launch->verify_end = launch->off_at + device->timeout_ms;
        shorten_verify(launch);
        start_status(launch);
        return;
    }
    note(launch, "off", end);
    if (xvm_fence_verdict(end) == HA_RESULT_UNKNOWN)
        launch->unknown = true;
    if (device->verify && end->how != XVM_CHILD_NOT_STARTED) {
        /* Several agents fail to switch off what is off already. */
        launch->phase = PHASE_CHECK;
        start_status(launch);
        return;
    }
    retry_or_fail(launch);
}

static void status_ended(struct launch *launch, const struct xvm_child_end *end)
{
    enum xvm_fence_power power = xvm_fence_status(end);
    if (power == XVM_FENCE_OFF) {
        device_is_off(launch);
        return;
    }
    if (launch->phase == PHASE_CHECK) { /* launch->why: what off said */
        retry_or_fail(launch);
        return;
    }
    note(launch, "status", end);
    if (now_ms() + STATUS_PAUSE_MS < launch->verify_end) {
        if (wait_ms(launch, STATUS_PAUSE_MS) >= 0)
            return;
    }
    /* "Still on" is an answer; anything else leaves it open whether the off worked. */
    if (power != XVM_FENCE_ON)
        launch->unknown = true;
    retry_or_fail(launch);
}

static void on_child(void *user, const struct xvm_child_end *end)
{
    struct launch *launch = user;
    launch->child = NULL;
    if (launch->phase == PHASE_OFF)
        off_ended(launch, end);
    else
        status_ended(launch, end);
}

static int run(struct launch *launch, const char *action, const char *input, size_t len,
               ha_ms timeout_ms)
{
    const struct xvm_fence_device *device = &launch->devices[launch->current];
    char *argv[] = {device->path, NULL};
    /* Agents get a small, known environment, not the daemon's. */
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char locale[] = "LC_ALL=C", home[] = "HOME=/root";
    char *envp[] = {path, locale, home, NULL};
    const struct xvm_child_spec spec = {
        .path = device->path,
        .argv = argv,
        .envp = envp,
        .input = input,
        .input_len = len,
        .timeout_ms = timeout_ms > 0 ? timeout_ms : 1,
    };
    int r = xvm_child_new(launch->fencer->loop, &spec, on_child, launch, &launch->child);
    if (r < 0)
        snprintf(launch->why, sizeof(launch->why), "device '%s': %s could not be called: %s",
                 device->name, action, strerror(-r));
    return r;
}

static int call_agent(struct launch *launch, const char *action, ha_ms timeout_ms)
{
    char *input = NULL;
    size_t len = 0;
    int r = xvm_fence_input(&launch->devices[launch->current], action, &input, &len, launch->why);
    if (r == -ENOMEM)
        snprintf(launch->why, sizeof(launch->why), "out of memory");
    if (r < 0)
        return r;
    r = run(launch, action, input, len, timeout_ms);
    explicit_bzero(input, len);
    free(input);
    return r;
}

static void start_off(struct launch *launch)
{
    launch->phase = PHASE_OFF;
    launch->tries++;
    if (call_agent(launch, "off", launch->devices[launch->current].timeout_ms) < 0)
        finish_failed(launch);
}

/* In PHASE_CHECK or PHASE_VERIFY. */
static void start_status(struct launch *launch)
{
    ha_ms timeout = launch->devices[launch->current].timeout_ms;
    if (launch->phase == PHASE_VERIFY) {
        ha_ms left = launch->verify_end - now_ms();
        timeout = left < timeout ? left : timeout;
    }
    if (call_agent(launch, "status", timeout) < 0) {
        launch->unknown = true;
        finish_failed(launch);
    }
}

static const struct ha_host_config *find_host(const struct ha_config *config, ha_node node)
{
    for (size_t i = 0; i < config->nhosts; i++)
        if (config->hosts[i].node == node)
            return &config->hosts[i];
    return NULL;
}

/* Copies all that the launch needs. 0, or a negative errno with launch->why filled. */
static int prepare(struct launch *launch, ha_node node, uint32_t index, ha_ms *ret_delay)
{
    const struct ha_config *config = launch->fencer->config;
    const struct ha_host_config *host = find_host(config, node);
    if (!host || index >= host->nlevels || host->levels[index].kind != HA_FENCE_DEVICE ||
        !host->levels[index].ndevices) {
        snprintf(launch->why, sizeof(launch->why),
                 "node %u has no fence level %u with devices in this host's configuration", node,
                 index + 1);
        return -ENOENT;
    }
    const struct ha_fence_level *level = &host->levels[index];
    memcpy(launch->host, host->name, sizeof(launch->host));
    for (size_t i = 0; i < level->ndevices; i++) {
        assert(level->devices[i] < config->ndevices);
        struct xvm_fence_device *device = &launch->devices[i];
        int r = xvm_fence_device_copy(&config->devices[level->devices[i]], host,
                                      launch->fencer->agent_dir, device);
        if (r < 0) {
            snprintf(launch->why, sizeof(launch->why), "out of memory");
            return r;
        }
        if (device->timeout_ms <= 0)
            device->timeout_ms = DEFAULT_TIMEOUT_MS;
        launch->ndevices++;
    }
    *ret_delay = level->delay_ms + launch->devices[0].delay_ms;
    return 0;
}

/* ---------------------------------------------------------------------------------------- pills */

enum { PILL_SLACK_MS = 20000, PILL_ARGS = 24, PILL_EXIT_FAILED = 1 };

static void pill_ended(void *user, const struct xvm_child_end *end)
{
    struct launch *launch = user;
    char said[XVM_FENCE_TEXT];
    launch->child = NULL;
    xvm_child_sanitise(end->err ? end->err : "", said, sizeof(said));
    snprintf(launch->why, sizeof(launch->why), "%s",
             said[0] ? said : "xvm-ha-disk ended without a word");
    if (end->how == XVM_CHILD_EXITED && end->code == 0)
        finish(launch, HA_RESULT_OK);
    else if (end->how == XVM_CHILD_NOT_STARTED ||
             (end->how == XVM_CHILD_EXITED && end->code == PILL_EXIT_FAILED))
        finish(launch, HA_RESULT_FAILED);
    else
        finish(launch, HA_RESULT_UNKNOWN);
}

static void start_pill(struct launch *launch)
{
    char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C";
    char *envp[] = {path, locale, NULL};
    const struct xvm_child_spec spec = {
        .path = launch->pill[0],
        .argv = launch->pill,
        .envp = envp,
        .timeout_ms = launch->pill_ms,
    };
    launch->phase = PHASE_PILL;
    if (xvm_child_new(launch->fencer->loop, &spec, pill_ended, launch, &launch->child) < 0) {
        snprintf(launch->why, sizeof(launch->why), "xvm-ha-disk could not be called");
        finish(launch, HA_RESULT_FAILED);
    }
}

static char *uuid_text(const struct ha_uuid *uuid)
{
    char *text = malloc(2 * sizeof(uuid->b) + 1);
    for (size_t i = 0; text && i < sizeof(uuid->b); i++)
        sprintf(text + 2 * i, "%02x", uuid->b[i]);
    return text;
}

static char *number_text(long long n)
{
    char *text = NULL;
    return asprintf(&text, "%lld", n) < 0 ? NULL : text;
}

/* 0 or -ENOMEM. */
static int pill_args(struct launch *launch, const char *disk, ha_node node,
                     const struct xvm_fence_pill *p)
{
    char **v = calloc(PILL_ARGS, sizeof(*v));
    size_t n = 0;
    launch->pill = v;
    if (!v)
        return -ENOMEM;
    char *const values[][2] = {
        {"--path", strdup(disk)},
        {"--self", number_text(p->self)},
        {"--boot-id", uuid_text(&p->boot)},
        {"--target", number_text(node)},
        {"--target-boot", uuid_text(&p->target_boot)},
        {"--loss", number_text(p->loss)},
        {"--wait", number_text(p->wait_ms)},
        {"--disk", uuid_text(&p->disk)},
        {"--run-dir", strdup(p->run_dir)},
    };
    bool room =
        (v[n++] = xvm_child_find("xvm-ha-disk", "XVM_HA_DISK")) && (v[n++] = strdup("pill"));
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        room = room && values[i][1] && (v[n] = strdup(values[i][0]));
        if (!room) {
            free(values[i][1]);
            continue;
        }
        v[n + 1] = values[i][1];
        n += 2;
    }
    return room ? 0 : -ENOMEM;
}

static int prepare_pill(struct launch *launch, ha_node node, uint32_t index,
                        const struct xvm_fence_pill *pill, ha_ms *ret_delay)
{
    const struct ha_config *config = launch->fencer->config;
    const struct ha_host_config *host = find_host(config, node);
    if (!host || index >= host->nlevels || host->levels[index].kind != HA_FENCE_DISK ||
        !config->disk.path) {
        snprintf(launch->why, sizeof(launch->why),
                 "node %u has no fence level %u on a shared disk in this host's configuration",
                 node, index + 1);
        return -ENOENT;
    }
    memcpy(launch->host, host->name, sizeof(launch->host));
    *ret_delay = host->levels[index].delay_ms;
    /* a claim of a host that is gone takes as long again */
    launch->pill_ms = 2 * pill->wait_ms + PILL_SLACK_MS;
    int r = pill_args(launch, config->disk.path, node, pill);
    if (r < 0)
        snprintf(launch->why, sizeof(launch->why), "out of memory");
    return r;
}

int xvm_fencer_new(sd_event *loop, const struct ha_config *config, const char *agent_dir,
                   xvm_fence_done done, void *user, struct xvm_fencer **ret_fencer)
{
    struct xvm_fencer *fencer = calloc(1, sizeof(*fencer));
    if (!fencer)
        return -ENOMEM;
    fencer->agent_dir = strdup(agent_dir ? agent_dir : "/usr/sbin");
    if (!fencer->agent_dir) {
        free(fencer);
        return -ENOMEM;
    }
    fencer->loop = sd_event_ref(loop);
    fencer->config = config;
    fencer->done = done;
    fencer->user = user;
    *ret_fencer = fencer;
    return 0;
}

struct xvm_fencer *xvm_fencer_free(struct xvm_fencer *fencer)
{
    if (!fencer)
        return NULL;
    while (fencer->launches) {
        struct launch *launch = fencer->launches;
        fencer->launches = launch->next;
        launch_free(launch);
    }
    sd_event_unref(fencer->loop);
    free(fencer->agent_dir);
    free(fencer);
    return NULL;
}

void xvm_fencer_set_config(struct xvm_fencer *fencer, const struct ha_config *config)
{
    fencer->config = config;
}

static void launch_level(struct xvm_fencer *fencer, uint64_t id, ha_node node, uint32_t level,
                         const struct xvm_fence_pill *pill)
{
    struct launch *launch = calloc(1, sizeof(*launch));
    if (!launch) {
        /* Nothing was called, and nothing can be kept for later. */
        fencer->done(fencer->user, id, HA_RESULT_FAILED, "out of memory");
        return;
    }
    launch->fencer = fencer;
    launch->id = id;
    launch->next = fencer->launches;
    fencer->launches = launch;
    ha_ms delay = 0;
    int r = pill ? prepare_pill(launch, node, level, pill, &delay)
                 : prepare(launch, node, level, &delay);
    if (r < 0) {
        finish(launch, HA_RESULT_FAILED);
        return;
    }
    launch->phase = PHASE_DELAY;
    if (wait_ms(launch, delay) < 0) {
        snprintf(launch->why, sizeof(launch->why), "out of memory");
        finish(launch, HA_RESULT_FAILED);
    }
}

void xvm_fencer_launch(struct xvm_fencer *fencer, uint64_t id, ha_node node, uint32_t level)
{
    launch_level(fencer, id, node, level, NULL);
}

void xvm_fencer_pill(struct xvm_fencer *fencer, uint64_t id, ha_node node, uint32_t level,
                     const struct xvm_fence_pill *pill)
{
    launch_level(fencer, id, node, level, pill);
}

bool xvm_fencer_cancel(struct xvm_fencer *fencer, uint64_t id, bool begun)
{
    for (struct launch *launch = fencer->launches; launch; launch = launch->next) {
        if (launch->id != id)
            continue;
        launch->cancelled |= begun;
        shorten_verify(launch);
        if (launch->phase != PHASE_DELAY && !(begun && launch->phase == PHASE_RETRY))
            return false;
        called_off(launch);
        return true;
    }
    return false;
}
