/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process driver: a guest is a process of its own that holds the lock on its disk on shared
 * storage. Operations run in workers, one exec'd process each. */
#include "driver_process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
    RETRY_MS = 20,
    UNCLEAR_MAX = 25,        /* looks before a half-done guest makes the inventory "unknown" */
    UNKNOWN_RETRY_MS = 1000, /* looks after that */
    OLD_WORKERS_MS = 50,     /* how often an earlier daemon's workers are looked for */
};

static void start_op(struct xvm_op *op);

/* -------------------------------------------------------------------------------- the inventory */

/* A guest without a process. What a worker is building counts as a paused copy of what it will be,
 * and what it is clearing away as dying: a copy is listed as long as any part of it is left. */
static struct ha_copy copy_of_worker(enum ha_op op, uint64_t inc, uint64_t mig)
{
    bool building = op == HA_OP_CREATE || op == HA_OP_RECEIVE;
    return (struct ha_copy){
        .inc = inc,
        .mig = op == HA_OP_RECEIVE ? mig : 0,
        .state = building ? HA_COPY_PAUSED : HA_COPY_DYING,
        .worker = true,
    };
}

static bool to_copy(const struct xvm_driver *driver, const struct xvm_seen *seen,
                    struct ha_copy *ret_copy)
{
    const struct xvm_op *op = xvm_ops_of(&driver->ops, seen->guest);
    struct ha_copy copy = {0};
    if (seen->alive) {
        copy.inc = seen->state.inc;
        copy.mig = seen->state.mig;
        copy.state = seen->state.state;
        copy.worker = seen->worker || op;
        copy.backends = seen->state.state == HA_COPY_RUNNING;
    } else if (op) {
        copy = copy_of_worker(op->what, op->inc, op->mig);
    } else if (seen->worker) {
        copy = copy_of_worker(seen->holder.op, seen->holder.inc, seen->holder.mig);
    } else {
        return false;
    }
    memcpy(copy.guest, seen->guest, sizeof(copy.guest));
    *ret_copy = copy;
    return true;
}

static bool is_seen(const struct xvm_scan *scan, const char *guest)
{
    for (size_t i = 0; i < scan->n; i++)
        if (!strcmp(scan->v[i].guest, guest))
            return true;
    return false;
}

static int report(struct xvm_driver *driver, const struct xvm_scan *scan)
{
    size_t n = 0, nops = 0;
    for (const struct xvm_op *op = driver->ops.first; op; op = op->next)
        nops++;
    struct ha_copy *copies = calloc(scan->n + nops + 1, sizeof(*copies));
    if (!copies)
        return -ENOMEM;
    for (size_t i = 0; i < scan->n; i++)
        if (to_copy(driver, &scan->v[i], &copies[n]))
            n++;
    /* Workers so young that they have not left a trace yet. */
    for (const struct xvm_op *op = driver->ops.first; op; op = op->next) {
        if (op->child && xvm_ops_of(&driver->ops, op->guest) == op && !is_seen(scan, op->guest)) {
            copies[n] = copy_of_worker(op->what, op->inc, op->mig);
            memcpy(copies[n++].guest, op->guest, sizeof(op->guest));
        }
    }
    driver->sink->inventory(driver->user, true, copies, n, driver->config->process_memory_kib, 0);
    free(copies);
    return 0;
}

static void retry_in(struct xvm_driver *driver, ha_ms ms)
{
    (void)sd_event_source_set_time_relative(driver->on_retry, (uint64_t)ms * 1000);
    (void)sd_event_source_set_enabled(driver->on_retry, SD_EVENT_ONESHOT);
}

/* Workers that are not ours: an earlier daemon's (or an operator who starts a guest by hand). Until
 * the former have ended they may change everything: no word before that, and no worker of ours,
 * except for destroys, which wait for nobody. */
static bool old_workers(const struct xvm_driver *driver, const struct xvm_scan *scan)
{
    for (size_t i = 0; i < scan->n; i++)
        if (scan->v[i].worker && !xvm_ops_of(&driver->ops, scan->v[i].guest))
            return true;
    return false;
}

static void become_ready(struct xvm_driver *driver)
{
    driver->ready = true;
    for (struct xvm_op *op = driver->ops.first; op; op = op->next)
        if (!op->child && !op->problem)
            start_op(op);
}

static int look(struct xvm_driver *driver)
{
    struct xvm_scan scan = {0};
    int r = xvm_process_scan(driver->guests_fd, &scan);
    if (!r && !driver->ready) {
        if (old_workers(driver, &scan)) {
            free(scan.v);
            retry_in(driver, OLD_WORKERS_MS);
            return 0;
        }
        become_ready(driver);
    }
    if (!r)
        r = xvm_process_watch(driver, &scan);
    if (!r)
        r = report(driver, &scan);
    /* Nobody tells when a worker that is not ours lets go. */
    if (!r && old_workers(driver, &scan))
        retry_in(driver, OLD_WORKERS_MS);
    free(scan.v);
    return r;
}

static void look_now(struct xvm_driver *driver)
{
    int r = look(driver);
    if (!r) {
        driver->unclear = 0;
        return;
    }
    if (r == -EAGAIN && driver->unclear < UNCLEAR_MAX) {
        driver->unclear++;
        retry_in(driver, RETRY_MS);
        return;
    }
    driver->sink->inventory(driver->user, false, NULL, 0, 0, 0);
    retry_in(driver, UNKNOWN_RETRY_MS);
}

static int on_look(sd_event_source *source, void *user)
{
    (void)source;
    look_now(user);
    return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *user)
{
    (void)source, (void)usec;
    look_now(user);
    return 0;
}

static int on_change(sd_event_source *source, const struct inotify_event *event, void *user)
{
    (void)source, (void)event;
    xvm_process_look_soon(user);
    return 0;
}

void xvm_process_look_soon(struct xvm_driver *driver)
{
    (void)sd_event_source_set_enabled(driver->on_look, SD_EVENT_ONESHOT);
}

/* ------------------------------------------------------------------------------- the operations */

static void finish(struct xvm_op *op, enum ha_result result, const char *text)
{
    struct xvm_driver *driver = op->driver;
    xvm_op_take(op);
    if (op->what == HA_OP_DESTROY && result != HA_RESULT_OK)
        xvm_process_expect(driver, op->guest, op->inc, false);
    xvm_process_look_soon(driver);
    driver->sink->done(driver->user, op->id, result, text);
    free(op);
}

static void on_worker(void *user, const struct xvm_child_end *end)
{
    struct xvm_op *op = user;
    const char *name = xvm_op_names[op->what];
    char said[HA_TEXT_MAX], text[HA_TEXT_MAX + 128] = "";
    enum ha_result result = HA_RESULT_UNKNOWN;
    op->child = NULL;
    xvm_child_sanitise(end->out[0] ? end->out : end->err, said, sizeof(said));
    switch (end->how) {
    case XVM_CHILD_EXITED:
        if (end->code == XVM_WORKER_OK)
            result = HA_RESULT_OK;
        else if (end->code == XVM_WORKER_FAILED)
            result = HA_RESULT_FAILED;
        snprintf(text, sizeof(text), "%s", said);
        break;
    case XVM_CHILD_SIGNALED:
        snprintf(text, sizeof(text), "%s: the worker of %s was ended by signal %d", op->guest, name,
                 end->code);
        break;
    case XVM_CHILD_TIMED_OUT:
        snprintf(text, sizeof(text), "%s: %s was not done in time; its worker was killed",
                 op->guest, name);
        break;
    case XVM_CHILD_NOT_STARTED:
        result = HA_RESULT_FAILED;
        snprintf(text, sizeof(text), "cannot run %s: %s", op->driver->program, strerror(end->code));
        break;
    }
    finish(op, result, text);
}

static int run_worker(struct xvm_op *op, ha_ms timeout_ms)
{
    struct xvm_driver *driver = op->driver;
    char inc[24], mig[24], until[24], timeout[24];
    snprintf(inc, sizeof(inc), "%" PRIu64, op->inc);
    snprintf(mig, sizeof(mig), "%" PRIu64, op->mig);
    snprintf(until, sizeof(until), "%" PRId64, op->until);
    snprintf(timeout, sizeof(timeout), "%" PRId64, timeout_ms);
    char *argv[] = {(char *)"xvm-ha-guest",
                    (char *)"worker",
                    (char *)xvm_op_names[op->what],
                    (char *)"--name",
                    op->guest,
                    (char *)"--host",
                    driver->host_name,
                    (char *)"--run",
                    driver->run_dir,
                    (char *)"--shared",
                    driver->config->shared_dir,
                    (char *)"--inc",
                    inc,
                    (char *)"--mig",
                    mig,
                    (char *)"--until",
                    until,
                    (char *)"--timeout",
                    timeout,
                    /* only for transfers */
                    op->stream < 0 ? NULL : (char *)"--channel",
                    (char *)"3",
                    op->kind == HA_MOVE_LIVE ? (char *)"--live" : (char *)"--suspended",
                    op->progress < 0 ? NULL : (char *)"--progress",
                    (char *)"4",
                    NULL};
    const int fds[] = {op->stream, op->progress};
    const struct xvm_child_spec spec = {.path = driver->program,
                                        .argv = argv,
                                        .envp = environ,
                                        .fds = fds,
                                        .nfds = op->stream < 0 ? 0 : op->progress < 0 ? 1 : 2,
                                        .timeout_ms = timeout_ms};
    int r = xvm_child_new(driver->loop, &spec, on_worker, op, &op->child);
    xvm_op_close_channel(op);
    return r;
}

static void start_op(struct xvm_op *op)
{
    if (!op->driver->config->shared_dir) {
        xvm_op_fail_soon(op, "no shared directory is configured");
        return;
    }
    ha_ms left = xvm_op_left(op);
    if (left <= 0) {
        xvm_op_fail_soon(op, "workers of an earlier daemon were in the way until its time was over");
        return;
    }
    if (op->what == HA_OP_DESTROY) {
        xvm_op_clear_the_way(op);
        xvm_process_expect(op->driver, op->guest, op->inc, true);
    }
    if (run_worker(op, left) < 0)
        xvm_op_fail_soon(op, "a worker could not be started");
}

static void process_start(struct xvm_driver *driver, const struct ha_action *action,
                          const struct xvm_channel *channel)
{
    struct xvm_op *op = xvm_op_asked(&driver->ops, driver, action, channel);
    if (!op) {
        driver->sink->done(driver->user, action->u.guest.op, HA_RESULT_FAILED, "out of memory");
        return;
    }
    if (!xvm_op_ok(op))
        xvm_op_fail_soon(op, "not a guest's name or not an operation");
    else if (driver->ready || op->what == HA_OP_DESTROY)
        start_op(op);
}

static void process_cancel(struct xvm_driver *driver, uint64_t id, const char *guest)
{
    xvm_ops_cancel(&driver->ops, driver->guests_fd, id, guest);
}

/* ----------------------------------------------------------------------------------- the driver */

static struct xvm_driver *process_free(struct xvm_driver *driver)
{
    if (!driver)
        return NULL;
    xvm_ops_close(&driver->ops);
    xvm_process_unwatch_all(driver);
    sd_event_source_disable_unref(driver->on_change);
    sd_event_source_disable_unref(driver->on_look);
    sd_event_source_disable_unref(driver->on_retry);
    if (driver->guests_fd >= 0)
        close(driver->guests_fd);
    sd_event_unref(driver->loop);
    free(driver->host_name);
    free(driver->run_dir);
    free(driver->program);
    free(driver);
    return NULL;
}

/* Opens the guests' directory and watches it. */
static int attach(struct xvm_driver *driver)
{
    driver->guests_fd = xvm_guests_open(driver->run_dir);
    if (driver->guests_fd < 0)
        return driver->guests_fd;
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d/.", driver->guests_fd);
    int r = sd_event_add_inotify(driver->loop, &driver->on_change, path, IN_CLOSE_WRITE, on_change,
                                 driver);
    if (r >= 0)
        r = sd_event_add_defer(driver->loop, &driver->on_look, on_look, driver);
    if (r >= 0)
        r = sd_event_source_set_enabled(driver->on_look, SD_EVENT_ONESHOT);
    if (r >= 0)
        r = xvm_ops_open(&driver->ops, driver->loop, finish);
    if (r >= 0)
        r = sd_event_add_time_relative(driver->loop, &driver->on_retry, CLOCK_BOOTTIME, 0, 1000,
                                       on_retry, driver);
    if (r >= 0)
        r = sd_event_source_set_enabled(driver->on_retry, SD_EVENT_OFF);
    return r < 0 ? r : 0;
}

static int fill_error(struct ha_error *error, int code, const char *what, const char *path)
{
    *error = (struct ha_error){.code = code};
    snprintf(error->text, sizeof(error->text), "process driver: %s %.200s: %s", what, path,
             strerror(-code));
    return code;
}

static int process_open(const struct xvm_driver_env *env, struct xvm_driver **ret_driver,
                        struct ha_error *ret_error)
{
    if (!env->config->shared_dir || access(env->config->shared_dir, R_OK | W_OK | X_OK) < 0)
        return fill_error(ret_error, env->config->shared_dir ? -errno : -EINVAL,
                          "the shared directory cannot be used:",
                          env->config->shared_dir ? env->config->shared_dir : "(none)");
    struct xvm_driver *driver = calloc(1, sizeof(*driver));
    if (!driver)
        return fill_error(ret_error, -ENOMEM, "open", "");
    driver->guests_fd = -1;
    driver->loop = sd_event_ref(env->loop);
    driver->config = env->config;
    driver->sink = env->sink;
    driver->user = env->user;
    driver->host_name = strdup(env->host_name);
    driver->run_dir = strdup(env->run_dir);
    driver->program = xvm_child_find("xvm-ha-guest", "XVM_HA_GUEST");
    int r = driver->host_name && driver->run_dir && driver->program ? attach(driver) : -ENOMEM;
    if (r < 0) {
        process_free(driver);
        return fill_error(ret_error, r, "the run directory cannot be used:", env->run_dir);
    }
    *ret_driver = driver;
    return 0;
}

static void process_set_config(struct xvm_driver *driver, const struct ha_config *config)
{
    driver->config = config;
}

static void process_inventory(struct xvm_driver *driver)
{
    xvm_process_look_soon(driver);
}

const struct xvm_driver_ops xvm_driver_process = {
    .name = "process",
    .raw_definitions = true,
    .open = process_open,
    .free = process_free,
    .set_config = process_set_config,
    .start = process_start,
    .cancel = process_cancel,
    .inventory = process_inventory,
    .check = xvm_process_check,
};
