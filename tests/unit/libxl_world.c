/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "libxl_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_done(void *user, uint64_t op, enum ha_result result, const char *text)
{
    struct world *w = user;
    w->done_op = op;
    w->result = w->results[op] = result;
    snprintf(w->text, sizeof(w->text), "%s", text ? text : "");
}

static void on_inventory(void *user, bool known, const struct ha_copy *copies, size_t n,
                         uint64_t memory_kib, ha_ms looked)
{
    struct world *w = user;
    assert_true(n <= 8);
    w->inventories += known;
    w->unknowns += !known;
    w->ncopies = n;
    w->memory_kib = memory_kib;
    w->looked = looked;
    if (n)
        memcpy(w->copies, copies, n * sizeof(*copies));
}

static void on_exited(void *user, const char *guest, uint64_t inc, enum ha_exit how)
{
    struct world *w = user;
    assert_string_equal(guest, GUEST);
    w->exits++;
    w->exit_inc = inc;
    w->exit_how = how;
}

static void on_say(void *user, enum ha_severity severity, const char *guest, const char *text)
{
    struct world *w = user;
    size_t n = strlen(w->said);
    (void)severity;
    snprintf(w->said + n, sizeof(w->said) - n, "%s: %s\n", guest ? guest : "", text);
}

static void on_made(void *user, const char *guest, const void *bytes, size_t len, uint64_t need_kib,
                    uint8_t flags)
{
    struct world *w = user;
    assert_string_equal(guest, GUEST);
    assert_non_null(bytes);
    assert_true(len > 0);
    w->mades++;
    w->made_kib = need_kib;
    w->made_flags = flags;
}

/* The bytes of the definition that the cluster has decided on. */
static char *definition_path(void *user, const struct ha_uuid *hash)
{
    struct world *w = user;
    char *path = NULL;
    assert_int_equal(hash->b[0], 0xdf);
    return asprintf(&path, "%s/decided", w->dir) < 0 ? NULL : path;
}

static const struct xvm_driver_sink sink = {.done = on_done,
                                            .inventory = on_inventory,
                                            .exited = on_exited,
                                            .made = on_made,
                                            .say = on_say};

/* ---------------------------------------------------------------------------- the fake's files */

/* What an operation does, or what there is: replaced in one go. */
void put(struct world *w, const char *name, const char *text)
{
    char path[192], tmp[192];
    snprintf(path, sizeof(path), "%s/%s", w->fake, name);
    snprintf(tmp, sizeof(tmp), "%s/.new", w->fake);
    FILE *f = fopen(tmp, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(tmp, path), 0);
}

void drop(struct world *w, const char *name)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/%s", w->fake, name);
    (void)unlink(path);
}

void event(struct world *w, const char *line)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/events", w->fake);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fprintf(f, "%s\n", line);
    assert_int_equal(fclose(f), 0);
}

/* Number of calls that begin like that. */
unsigned calls(struct world *w, const char *begin)
{
    char path[192], line[1024];
    unsigned n = 0;
    snprintf(path, sizeof(path), "%s/calls", w->fake);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        n += !strncmp(line, begin, strlen(begin));
    if (f)
        fclose(f);
    return n;
}

void open_driver(struct world *w)
{
    struct ha_error error;
    const struct xvm_driver_env env = {.loop = w->loop,
                                       .config = &w->config,
                                       .self = 1,
                                       .host_name = "host1",
                                       .run_dir = w->run_dir,
                                       .definitions = w->definitions,
                                       .definition_path = definition_path,
                                       .sink = &sink,
                                       .user = w};
    w->inventories = 0;
    assert_int_equal(xvm_driver_libxl.open(&env, &w->driver, &error), 0);
}

static void put_definition(struct world *w, const char *uuid)
{
    char text[512];
    struct ha_error error = {0};
    snprintf(text, sizeof(text),
             "{\"xvm-ha-definition\": 1, \"guest\": \"" GUEST "\", \"uuid\": \"%s\", \"name\": "
             "\"web-in-file\", \"type\": \"pvh\", \"memory_kib\": 102400, \"vcpus\": 1, "
             "\"hardware\": false, \"config\": {}}",
             uuid);
    assert_int_equal(xvm_definitions_put(w->definitions, GUEST, text, strlen(text), false, &error),
                     0);
}

int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    strcpy(w->dir, "/tmp/xvm-libxl-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->fake, sizeof(w->fake), "%s/fake", w->dir);
    snprintf(w->run_dir, sizeof(w->run_dir), "%s/run", w->dir);
    assert_int_equal(mkdir(w->fake, 0700), 0);
    assert_int_equal(mkdir(w->run_dir, 0700), 0);
    assert_int_equal(setenv("XVM_FAKE_DIR", w->fake, 1), 0);
    assert_true(sd_event_new(&w->loop) >= 0);
    assert_int_equal(xvm_definitions_new(w->dir, &w->definitions), 0);
    strcpy(w->config.cluster_name, "test");
    strcpy(w->guest.name, GUEST);
    w->guest.memory_kib = 100;
    w->config.guests = &w->guest;
    w->config.nguests = 1;
    event(w, "");
    put_definition(w, UUID);
    open_driver(w);
    WAIT_UNTIL(w, w->inventories && calls(w, "watch"));
    assert_int_equal(w->memory_kib, 4096);
    assert_true(w->looked > 0);
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    xvm_driver_libxl.free(w->driver);
    xvm_definitions_free(w->definitions);
    sd_event_unref(w->loop);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

uint64_t begin(struct world *w, enum ha_op what, uint64_t inc, ha_ms timeout,
               const struct xvm_channel *channel)
{
    struct ha_action a = {.type = HA_ACT_GUEST};
    a.u.guest.op = ++w->op;
    a.u.guest.what = what;
    strcpy(a.u.guest.guest, GUEST);
    a.u.guest.inc = inc;
    a.u.guest.mig = channel ? 9 : 0;
    a.u.guest.kind = HA_MOVE_LIVE;
    a.u.guest.timeout_ms = timeout;
    xvm_driver_libxl.start(w->driver, &a, channel);
    assert_int_not_equal(w->done_op, a.u.guest.op); /* never from inside the call */
    return a.u.guest.op;
}

enum ha_result run(struct world *w, enum ha_op what, uint64_t inc)
{
    uint64_t op = begin(w, what, inc, 10000, NULL);
    WAIT_UNTIL(w, w->done_op == op);
    return w->result;
}

/* A fresh inventory: one that was under way already does not count. */
void look_again(struct world *w)
{
    for (int i = 0; i < 2; i++) {
        unsigned before = w->inventories;
        xvm_driver_libxl.inventory(w->driver);
        WAIT_UNTIL(w, w->inventories > before);
    }
}

/* A fresh inventory's only copy; NULL: none. */
const struct ha_copy *look(struct world *w)
{
    look_again(w);
    assert_true(w->ncopies <= 1);
    return w->ncopies ? &w->copies[0] : NULL;
}

void assert_copy(struct world *w, enum ha_copy_state state, uint64_t inc, uint64_t mig)
{
    const struct ha_copy *copy = look(w);
    assert_non_null(copy);
    assert_string_equal(copy->guest, GUEST);
    assert_int_equal(copy->state, state);
    assert_int_equal(copy->inc, inc);
    assert_int_equal(copy->mig, mig);
}
