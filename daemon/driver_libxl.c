/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The libxl driver: operations on guests, each a process of its own. */
#include "driver_libxl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BURY_TIMEOUT_MS = 120 * 1000,
    DUMP_TIMEOUT_MS = 600 * 1000,
};

static void start_op(struct xvm_op *op);

void xvm_libxl_say(struct xvm_driver *driver, enum ha_severity severity, const char *guest,
                   const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (driver->sink->say)
        driver->sink->say(driver->user, severity, guest, text);
}

const struct xvm_known *xvm_libxl_known(const struct xvm_driver *driver, const char *guest)
{
    for (size_t i = 0; i < driver->nknown; i++)
        if (!strcmp(driver->known[i].guest, guest))
            return &driver->known[i];
    return NULL;
}

int xvm_libxl_run(struct xvm_driver *driver, char *const *argv, ha_ms timeout_ms,
                  xvm_child_line line, xvm_child_done done, void *user,
                  struct xvm_child **ret_child)
{
    const struct xvm_child_spec spec = {.path = driver->program,
                                        .argv = argv,
                                        .envp = environ,
                                        .timeout_ms = timeout_ms,
                                        .line = line};
    return xvm_child_new(driver->loop, &spec, done, user, ret_child);
}

/* ------------------------------------------------------------------------------- the operations */

static void finish(struct xvm_op *op, enum ha_result result, const char *text)
{
    struct xvm_driver *driver = op->driver;
    bool received = op->what == HA_OP_RECEIVE && result == HA_RESULT_OK;
    xvm_op_take(op);
    xvm_libxl_guard_settle(op, result);
    if (op->what == HA_OP_DESTROY && result != HA_RESULT_OK && op->id)
        xvm_libxl_expect(driver, op->guest, op->inc, false);
    if (op->what == HA_OP_RECEIVE && !received)
        xvm_libxl_ready_drop(driver, op->guest);
    /* A guest that was received stands still until it is let run, which is next: the host's
     * processors have better things to do than to look at what the result has just said. */
    if (received)
        xvm_libxl_look_later(driver);
    else
        xvm_libxl_look_soon(driver);
    if (op->id)
        driver->sink->done(driver->user, op->id, result, text);
    else if (result != HA_RESULT_OK)
        xvm_libxl_say(driver, HA_SEV_WARNING, op->guest,
                      "what is left of an ended copy cannot be cleared away yet: %s", text);
    free(op);
}

void xvm_libxl_on_line(void *user, const char *line)
{
    struct xvm_op *op = user;
    const char *result = NULL, *text = NULL;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    if (json && json_unpack(json, "{s:s, s:s}", "result", &result, "text", &text) == 0) {
        xvm_child_sanitise(text, op->text, sizeof(op->text));
        op->has_text = true;
    } else if (json && json_unpack(json, "{s:s}", "warning", &text) == 0) {
        char clean[HA_TEXT_MAX * 2];
        xvm_child_sanitise(text, clean, sizeof(clean));
        xvm_libxl_say(op->driver, HA_SEV_WARNING, op->guest, "%s", clean);
    }
    json_decref(json);
}

void xvm_libxl_on_worker(void *user, const struct xvm_child_end *end)
{
    struct xvm_op *op = user;
    const char *name = xvm_op_names[op->what];
    char text[HA_TEXT_MAX + 128] = "";
    enum ha_result result = HA_RESULT_UNKNOWN;
    op->child = NULL;
    switch (end->how) {
    case XVM_CHILD_EXITED:
        if (!op->has_text) /* it broke down before it could tell */
            xvm_child_sanitise(end->err[0] ? end->err : "its worker said nothing", op->text,
                               sizeof(op->text));
        else if (end->code == XVM_WORKER_OK)
            result = HA_RESULT_OK;
        else if (end->code == XVM_WORKER_FAILED)
            result = HA_RESULT_FAILED;
        snprintf(text, sizeof(text), "%s", op->text);
        break;
    case XVM_CHILD_SIGNALED:
        snprintf(text, sizeof(text), "on %s: the worker of %s was ended by signal %d",
                 op->driver->host_name, name, end->code);
        break;
    case XVM_CHILD_TIMED_OUT:
        snprintf(text, sizeof(text), "on %s: %s was not done in time; its worker was killed",
                 op->driver->host_name, name);
        break;
    case XVM_CHILD_NOT_STARTED:
        result = HA_RESULT_FAILED;
        snprintf(text, sizeof(text), "on %s: cannot run %s: %s", op->driver->host_name,
                 op->driver->program, strerror(end->code));
        break;
    }
    finish(op, result, text);
}

static bool decided(const struct xvm_op *op)
{
    static const struct ha_uuid none;
    return memcmp(&op->def, &none, sizeof(none)) != 0 && op->driver->definition_path;
}

/* Path of what the guest is built from. */
static char *definition_of(const struct xvm_op *op)
{
    struct xvm_driver *driver = op->driver;
    return decided(op) ? driver->definition_path(driver->user, &op->def)
                       : xvm_definitions_path(driver->definitions, op->guest);
}

/* A host without the guest's file knows it by what it was built from. */
static void remember(const struct xvm_op *op)
{
    struct xvm_driver *driver = op->driver;
    struct xvm_definition facts;
    char *path = decided(op) ? definition_of(op) : NULL, *bytes = NULL;
    size_t size = XVM_DEFINITION_MAX + 1;
    struct ha_error error;
    if (path && xvm_definitions_facts(driver->definitions, op->guest, &facts) == -ENOENT &&
        (bytes = malloc(size)) && xvm_text_read(AT_FDCWD, path, bytes, size) == 0)
        (void)xvm_definitions_put(driver->definitions, op->guest, bytes, strlen(bytes), false,
                                  &error);
    free(bytes);
    free(path);
}

int xvm_libxl_worker(const struct xvm_op *op, ha_ms timeout_ms, int go, xvm_child_line line,
                     xvm_child_done done, void *user, struct xvm_child **ret_child)
{
    struct xvm_driver *driver = op->driver;
    const struct xvm_known *known = xvm_libxl_known(driver, op->guest);
    char inc[24], mig[24], until[24], timeout[24], uuid[37] = "", dump[512] = "", guard[17];
    char *definition = definition_of(op);
    bool transfer = op->stream >= 0;
    const int fds[] = {transfer ? op->stream : go, op->progress};
    if (!definition)
        return -ENOMEM;
    if (known)
        xvm_domain_uuid_text(&known->uuid, uuid);
    snprintf(inc, sizeof(inc), "%" PRIu64, op->inc);
    snprintf(mig, sizeof(mig), "%" PRIu64, op->mig);
    if (op->what == HA_OP_DESTROY && op->dump && driver->dump_dir)
        snprintf(dump, sizeof(dump), "%s/%s-%" PRIu64 ".core", driver->dump_dir, op->guest,
                 op->inc);
    xvm_libxl_guard_key(driver, op->guest, guard);
    snprintf(until, sizeof(until), "%" PRId64, op->until > 0 ? op->until : 0);
    snprintf(timeout, sizeof(timeout), "%" PRId64, timeout_ms);
    const char *const argv[] = {"xvm-ha-domain",
                                xvm_op_names[op->what],
                                op->guest,
                                "--host",
                                driver->host_name,
                                "--run",
                                driver->run_dir,
                                "--inc",
                                inc,
                                "--mig",
                                mig,
                                "--uuid",
                                uuid,
                                "--alias",
                                known && known->name[0] ? known->name : op->guest,
                                "--definition",
                                definition,
                                "--until",
                                until,
                                "--timeout",
                                timeout,
                                "--dump",
                                dump,
                                "--guard",
                                guard,
                                transfer  ? "--channel"
                                : go >= 0 ? "--go"
                                          : NULL,
                                "3", /* only for transfers from here on */
                                transfer ? "--kind" : NULL,
                                op->kind == HA_MOVE_LIVE ? "live" : "migrate",
                                op->progress < 0 ? NULL : "--progress",
                                "4",
                                NULL};
    const struct xvm_child_spec spec = {.path = driver->program,
                                        .argv = (char *const *)argv,
                                        .envp = environ,
                                        .fds = fds,
                                        .nfds = fds[0] < 0         ? 0
                                                : op->progress < 0 ? 1
                                                                   : 2,
                                        .timeout_ms = timeout_ms,
                                        .line = line};
    int r = xvm_child_new(driver->loop, &spec, done, user, ret_child);
    free(definition);
    return r;
}

static int run_worker(struct xvm_op *op, ha_ms timeout_ms)
{
    if (op->what == HA_OP_UNPAUSE && xvm_libxl_ready_take(op, timeout_ms))
        return 0;
    int r = xvm_libxl_worker(op, timeout_ms, -1, xvm_libxl_on_line, xvm_libxl_on_worker, op,
                             &op->child);
    xvm_op_close_channel(op);
    if (r == 0 && op->what == HA_OP_RECEIVE)
        xvm_libxl_ready_begin(op, timeout_ms);
    return r;
}

static void start_op(struct xvm_op *op)
{
    ha_ms left = xvm_op_left(op);
    if (left <= 0) {
        xvm_op_fail_soon(op,
                         "workers of an earlier daemon were in the way until its time was over");
        return;
    }
    if (op->what == HA_OP_DESTROY) {
        xvm_libxl_ready_drop(op->driver, op->guest);
        xvm_op_clear_the_way(op);
        if (op->id)
            xvm_libxl_expect(op->driver, op->guest, op->inc, true);
    }
    if (op->what == HA_OP_CREATE)
        remember(op);
    if (run_worker(op, left) < 0)
        xvm_op_fail_soon(op, "a worker could not be started");
}

void xvm_libxl_become_ready(struct xvm_driver *driver)
{
    driver->ready = true;
    xvm_libxl_guard_resume(driver);
    for (struct xvm_op *op = driver->ops.first; op; op = op->next)
        if (!op->child && !op->problem)
            start_op(op);
}

const struct ha_guest_config *xvm_libxl_guest_config(const struct xvm_driver *driver,
                                                     const char *guest)
{
    for (size_t i = 0; i < driver->config->nguests; i++)
        if (!strcmp(driver->config->guests[i].name, guest))
            return &driver->config->guests[i];
    return NULL;
}

/* What the configuration says about a crash of that guest. */
static bool keeps_dumps(const struct xvm_driver *driver, const char *guest)
{
    const struct ha_guest_config *g = xvm_libxl_guest_config(driver, guest);
    return g && (g->on_crash == HA_ON_DUMP_RESTART || g->on_crash == HA_ON_DUMP_STOP);
}

void xvm_libxl_bury(struct xvm_driver *driver, const char *guest, uint64_t inc, bool crashed)
{
    struct xvm_op *op = xvm_op_new(&driver->ops, driver, guest);
    if (!op)
        return; /* the next look tries again */
    op->what = HA_OP_DESTROY;
    op->inc = inc;
    op->dump = crashed && inc && keeps_dumps(driver, guest);
    op->timeout_ms = op->dump ? DUMP_TIMEOUT_MS : BURY_TIMEOUT_MS;
    start_op(op);
}

static void libxl_start(struct xvm_driver *driver, const struct ha_action *action,
                        const struct xvm_channel *channel)
{
    struct xvm_op *op = xvm_op_asked(&driver->ops, driver, action, channel);
    if (!op) {
        driver->sink->done(driver->user, action->u.guest.op, HA_RESULT_FAILED, "out of memory");
        return;
    }
    bool transfer = op->what == HA_OP_SEND || op->what == HA_OP_RECEIVE;
    if (!xvm_op_ok(op))
        xvm_op_fail_soon(op, "not a guest's name or not an operation");
    else if (transfer && op->stream < 0)
        xvm_op_fail_soon(op, "a transfer needs a channel");
    else if (driver->ready || op->what == HA_OP_DESTROY)
        start_op(op);
}

static void libxl_cancel(struct xvm_driver *driver, uint64_t id, const char *guest)
{
    xvm_ops_cancel(&driver->ops, driver->guests_fd, id, guest);
}

/* ----------------------------------------------------------------------------------- the driver */

/* By what the configuration's guests are recognised. */
static int learn(struct xvm_driver *driver)
{
    struct xvm_known *v = calloc(driver->config->nguests + 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < driver->config->nguests; i++) {
        struct xvm_definition facts;
        const char *guest = driver->config->guests[i].name;
        memcpy(v[i].guest, guest, sizeof(v[i].guest));
        if (xvm_definitions_facts(driver->definitions, guest, &facts) < 0)
            continue;
        v[i].uuid = facts.uuid;
        memcpy(v[i].name, facts.name, sizeof(v[i].name));
    }
    free(driver->known);
    driver->known = v;
    driver->nknown = driver->config->nguests;
    return 0;
}

static void on_definition(void *user, const char *guest, const void *bytes, size_t len, bool here)
{
    struct xvm_driver *driver = user;
    struct xvm_definition facts;
    struct ha_error error;
    (void)here;
    if (xvm_definition_parse(bytes, len, guest, &facts, &error) < 0)
        return;
    for (size_t i = 0; i < driver->nknown; i++) {
        if (strcmp(driver->known[i].guest, guest) != 0)
            continue;
        driver->known[i].uuid = facts.uuid;
        memcpy(driver->known[i].name, facts.name, sizeof(facts.name));
        xvm_libxl_look_soon(driver);
    }
}

static struct xvm_driver *libxl_free(struct xvm_driver *driver)
{
    if (!driver)
        return NULL;
    xvm_ops_close(&driver->ops);
    xvm_libxl_ready_close(driver);
    xvm_libxl_check_close(driver);
    xvm_libxl_guard_close(driver);
    xvm_libxl_define_close(driver);
    xvm_libxl_watch_close(driver);
    xvm_libxl_look_close(driver);
    xvm_libxl_forget_all(driver);
    xvm_definitions_unlisten(driver->definitions, driver);
    if (driver->guests_fd >= 0)
        close(driver->guests_fd);
    sd_event_unref(driver->loop);
    free(driver->known);
    free(driver->host_name);
    free(driver->run_dir);
    free(driver->dump_dir);
    free(driver->program);
    free(driver);
    return NULL;
}

static int attach(struct xvm_driver *driver)
{
    driver->guests_fd = xvm_guests_open(driver->run_dir);
    int r = driver->guests_fd < 0 ? driver->guests_fd : learn(driver);
    if (r >= 0)
        r = xvm_definitions_listen(driver->definitions, on_definition, driver);
    if (r >= 0)
        r = xvm_ops_open(&driver->ops, driver->loop, finish);
    if (r >= 0)
        r = xvm_libxl_look_open(driver);
    if (r >= 0)
        r = xvm_libxl_watch_open(driver);
    if (r >= 0)
        r = xvm_libxl_define_open(driver);
    return r < 0 ? r : 0;
}

static int libxl_open(const struct xvm_driver_env *env, struct xvm_driver **ret_driver,
                      struct ha_error *ret_error)
{
    struct xvm_driver *driver = calloc(1, sizeof(*driver));
    int r = driver ? 0 : -ENOMEM;
    if (driver) {
        driver->guests_fd = -1;
        driver->loop = sd_event_ref(env->loop);
        driver->config = env->config;
        driver->self = env->self;
        driver->sink = env->sink;
        driver->user = env->user;
        driver->definitions = env->definitions;
        driver->definition_path = env->definition_path;
        driver->host_name = strdup(env->host_name);
        driver->run_dir = strdup(env->run_dir);
        if (!env->state_dir || asprintf(&driver->dump_dir, "%s/dumps", env->state_dir) < 0)
            driver->dump_dir = NULL; /* then there are no dumps */
        driver->program = xvm_child_find("xvm-ha-domain", "XVM_HA_DOMAIN");
        r = driver->host_name && driver->run_dir && driver->program ? attach(driver) : -ENOMEM;
    }
    if (r < 0) {
        libxl_free(driver);
        *ret_error = (struct ha_error){.code = r};
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "libxl driver: the run directory %.200s cannot be used: %s", env->run_dir,
                 strerror(-r));
        return r;
    }
    *ret_driver = driver;
    return 0;
}

static void libxl_set_config(struct xvm_driver *driver, const struct ha_config *config)
{
    driver->config = config;
    if (learn(driver) < 0)
        driver->nknown = 0; /* tags are still known */
    xvm_libxl_define_all(driver);
    xvm_libxl_look_soon(driver);
}

static void libxl_inventory(struct xvm_driver *driver)
{
    xvm_libxl_look_soon(driver);
}

const struct xvm_driver_ops xvm_driver_libxl = {
    .name = "libxl",
    .open = libxl_open,
    .free = libxl_free,
    .set_config = libxl_set_config,
    .start = libxl_start,
    .cancel = libxl_cancel,
    .inventory = libxl_inventory,
    .check = xvm_libxl_check,
};
