/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process driver with real guests: two hosts (two run directories) on one shared storage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../daemon/driver.h"
#include "../../daemon/guest_files.h"

#define GUEST "web"
#include "driver_disk.h"

struct host {
    struct world *world;
    char name[16], run_dir[128];
    struct xvm_driver *driver;
    int stream; /* for the next transfer; -1: none */
    /* what the sink got */
    uint64_t done_op;
    enum ha_result result;
    char text[512];
    unsigned inventories;
    bool known;
    struct ha_copy copies[8];
    size_t ncopies;
    uint64_t memory_kib;
    unsigned exits;
    uint64_t exit_inc;
    enum ha_exit exit_how;
};

struct world {
    char dir[64], shared[128];
    sd_event *loop;
    struct ha_config config;
    struct host hosts[2];
    uint64_t op;
    enum ha_move_kind kind; /* of the next transfers */
};

static void on_done(void *user, uint64_t op, enum ha_result result, const char *text)
{
    struct host *h = user;
    h->done_op = op;
    h->result = result;
    snprintf(h->text, sizeof(h->text), "%s", text ? text : "");
}

static void on_inventory(void *user, bool known, const struct ha_copy *copies, size_t n,
                         uint64_t memory_kib, ha_ms looked)
{
    (void)looked;
    struct host *h = user;
    assert_true(n <= 8);
    h->inventories++;
    h->known = known;
    h->ncopies = n;
    h->memory_kib = memory_kib;
    if (n)
        memcpy(h->copies, copies, n * sizeof(*copies));
}

static void on_exited(void *user, const char *guest, uint64_t inc, enum ha_exit how)
{
    struct host *h = user;
    assert_string_equal(guest, GUEST);
    h->exits++;
    h->exit_inc = inc;
    h->exit_how = how;
}

static const struct xvm_driver_sink sink = {
    .done = on_done, .inventory = on_inventory, .exited = on_exited};

static void open_driver(struct host *h)
{
    struct ha_error error;
    const struct xvm_driver_env env = {.loop = h->world->loop,
                                       .config = &h->world->config,
                                       .self = 1,
                                       .host_name = h->name,
                                       .run_dir = h->run_dir,
                                       .sink = &sink,
                                       .user = h};
    h->inventories = 0;
    assert_int_equal(xvm_driver_process.open(&env, &h->driver, &error), 0);
}

static void close_driver(struct host *h)
{
    h->driver = xvm_driver_process.free(h->driver);
}

static void turn(struct world *w, ha_ms ms)
{
    ha_ms end = xvm_boot_ms() + ms, left;
    while ((left = end - xvm_boot_ms()) > 0)
        assert_true(sd_event_run(w->loop, (uint64_t)left * 1000) >= 0);
}

#define WAIT_UNTIL(w, condition)                                                                   \
    do {                                                                                           \
        ha_ms end_ = xvm_boot_ms() + 10000;                                                        \
        while (!(condition)) {                                                                     \
            if (xvm_boot_ms() > end_)                                                              \
                fail_msg("waited in vain for: %s", #condition);                                    \
            assert_true(sd_event_run((w)->loop, 20 * 1000) >= 0);                                  \
        }                                                                                          \
    } while (0)

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    strcpy(w->dir, "/tmp/xvm-driver-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->shared, sizeof(w->shared), "%s/shared", w->dir);
    assert_int_equal(mkdir(w->shared, 0700), 0);
    assert_true(sd_event_new(&w->loop) >= 0);
    w->config.shared_dir = w->shared;
    w->config.process_memory_kib = 4096;
    for (int i = 0; i < 2; i++) {
        struct host *h = &w->hosts[i];
        h->world = w;
        h->stream = -1;
        snprintf(h->name, sizeof(h->name), "host%d", i + 1);
        snprintf(h->run_dir, sizeof(h->run_dir), "%s/run%d", w->dir, i + 1);
        assert_int_equal(mkdir(h->run_dir, 0700), 0);
        open_driver(h);
        WAIT_UNTIL(w, h->inventories);
        assert_true(h->known);
        assert_int_equal(h->ncopies, 0);
        assert_int_equal(h->memory_kib, 4096);
    }
    *state = w;
    return 0;
}

/* The next transfers of both hosts talk to each other. */
static void connect_hosts(struct world *w)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    w->hosts[0].stream = fds[0];
    w->hosts[1].stream = fds[1];
}

/* The next transfer of a host talks to the test. */
static int connect_test(struct host *h)
{
    connect_hosts(h->world);
    struct host *other = h == &h->world->hosts[0] ? &h->world->hosts[1] : &h->world->hosts[0];
    int fd = other->stream;
    other->stream = -1;
    return fd;
}

/* Starts an operation without waiting for its end; returns its number. */
static uint64_t begin(struct host *h, enum ha_op what, uint64_t inc, uint64_t mig, ha_ms until,
                      ha_ms timeout)
{
    struct ha_action a = {.type = HA_ACT_GUEST};
    a.u.guest.op = ++h->world->op;
    a.u.guest.what = what;
    strcpy(a.u.guest.guest, GUEST);
    a.u.guest.inc = inc;
    a.u.guest.mig = mig;
    a.u.guest.until = until;
    a.u.guest.timeout_ms = timeout;
    a.u.guest.kind = h->world->kind;
    const struct xvm_channel channel = {.stream = h->stream, .progress = -1};
    xvm_driver_process.start(h->driver, &a, h->stream >= 0 ? &channel : NULL);
    if (h->stream >= 0)
        close(h->stream); /* borrowed for the call */
    h->stream = -1;
    assert_int_not_equal(h->done_op, a.u.guest.op); /* never from inside the call */
    return a.u.guest.op;
}

static enum ha_result finish(struct host *h, uint64_t op)
{
    WAIT_UNTIL(h->world, h->done_op == op);
    return h->result;
}

static enum ha_result run(struct host *h, enum ha_op what, uint64_t inc, uint64_t mig)
{
    return finish(h, begin(h, what, inc, mig, 0, 5000));
}

/* A fresh inventory's copy of the guest; NULL: none. */
static const struct ha_copy *look(struct host *h)
{
    unsigned before = h->inventories;
    xvm_driver_process.inventory(h->driver);
    WAIT_UNTIL(h->world, h->inventories > before);
    assert_true(h->known);
    assert_true(h->ncopies <= 1);
    return h->ncopies ? &h->copies[0] : NULL;
}

static void assert_copy(struct host *h, enum ha_copy_state state, uint64_t inc, uint64_t mig)
{
    const struct ha_copy *copy = look(h);
    assert_non_null(copy);
    assert_string_equal(copy->guest, GUEST);
    assert_int_equal(copy->state, state);
    assert_int_equal(copy->inc, inc);
    assert_int_equal(copy->mig, mig);
    assert_false(copy->worker);
}

static void assert_copy_worker(struct host *h, enum ha_copy_state state, uint64_t inc)
{
    const struct ha_copy *copy = look(h);
    assert_non_null(copy);
    assert_int_equal(copy->state, state);
    assert_int_equal(copy->inc, inc);
    assert_true(copy->worker);
}

static int teardown(void **state)
{
    struct world *w = *state;
    char command[128];
    for (int i = 0; i < 2; i++) {
        if (!w->hosts[i].driver)
            open_driver(&w->hosts[i]);
        (void)run(&w->hosts[i], HA_OP_DESTROY, 0, 0);
        close_driver(&w->hosts[i]);
    }
    sd_event_unref(w->loop);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}


static void start_guest(struct host *h, uint64_t inc)
{
    size_t before = disk_lines(h->world->shared);
    assert_int_equal(run(h, HA_OP_CREATE, inc, 0), HA_RESULT_OK);
    assert_int_equal(run(h, HA_OP_UNPAUSE, inc, 0), HA_RESULT_OK);
    WAIT_UNTIL(h->world, disk_lines(h->world->shared) > before + 1);
}

static pid_t guest_pid(const struct host *h)
{
    struct xvm_guest_state state;
    int guests = xvm_guests_open(h->run_dir), dir = xvm_guest_open(guests, GUEST);
    assert_true(dir >= 0);
    assert_int_equal(xvm_state_read(dir, &state), 0);
    close(dir);
    close(guests);
    return state.pid;
}

/* ------------------------------------------------------------------------------------- the tests
 */

static void test_create_unpause_tick_destroy(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    struct line last;
    assert_int_equal(run(h, HA_OP_CREATE, 3, 0), HA_RESULT_OK);
    assert_copy(h, HA_COPY_PAUSED, 3, 0);
    turn(w, 300);
    assert_int_equal(disk_lines(w->shared), 0); /* paused: nothing written, no lock held */
    assert_int_equal(run(h, HA_OP_UNPAUSE, 3, 0), HA_RESULT_OK);
    WAIT_UNTIL(w, disk_lines(w->shared) >= 3);
    assert_copy(h, HA_COPY_RUNNING, 3, 0);
    assert_int_equal(run(h, HA_OP_UNPAUSE, 3, 0), HA_RESULT_OK); /* again: nothing to do */
    assert_int_equal(read_disk(w->shared, &last) > 0, 1);
    assert_string_equal(last.host, "host1");
    assert_int_equal(last.inc, 3);
    assert_int_equal(run(h, HA_OP_DESTROY, 3, 0), HA_RESULT_OK);
    size_t n = disk_lines(w->shared);
    assert_null(look(h));
    turn(w, 300);
    assert_int_equal(disk_lines(w->shared), n);
    assert_int_equal(h->exits, 0);                               /* our own doing is not an exit */
    assert_int_equal(run(h, HA_OP_DESTROY, 3, 0), HA_RESULT_OK); /* gone is gone */
    assert_disks_good(w->shared);
}

static void test_wrong_incarnation(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    assert_int_equal(run(h, HA_OP_UNPAUSE, 3, 0), HA_RESULT_FAILED);
    assert_int_equal(run(h, HA_OP_CREATE, 3, 0), HA_RESULT_OK);
    assert_int_equal(run(h, HA_OP_CREATE, 3, 0), HA_RESULT_FAILED);
    assert_int_equal(run(h, HA_OP_CREATE, 4, 0), HA_RESULT_FAILED);
    assert_int_equal(run(h, HA_OP_UNPAUSE, 4, 0), HA_RESULT_FAILED);
    assert_int_equal(run(h, HA_OP_RESUME, 3, 0), HA_RESULT_FAILED); /* it never ran */
    assert_int_equal(run(h, HA_OP_DESTROY, 4, 0), HA_RESULT_OK);    /* not here */
    assert_copy(h, HA_COPY_PAUSED, 3, 0);
}

static void test_until(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    ha_ms past = xvm_boot_ms() - 1;
    assert_int_equal(finish(h, begin(h, HA_OP_CREATE, 3, 0, past, 5000)), HA_RESULT_FAILED);
    assert_non_null(strstr(h->text, "lease"));
    assert_null(look(h));
    assert_int_equal(run(h, HA_OP_CREATE, 3, 0), HA_RESULT_OK);
    assert_int_equal(finish(h, begin(h, HA_OP_UNPAUSE, 3, 0, past, 5000)), HA_RESULT_FAILED);
    /* Still in time when asked, no more when it comes to it. */
    write_file(w->shared, GUEST ".behave", "unpause=slow:500\n");
    uint64_t op = begin(h, HA_OP_UNPAUSE, 3, 0, xvm_boot_ms() + 250, 5000);
    assert_int_equal(finish(h, op), HA_RESULT_FAILED);
    assert_copy(h, HA_COPY_PAUSED, 3, 0);
    assert_int_equal(disk_lines(w->shared), 0);
}

static void test_shutdown(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    start_guest(h, 3);
    assert_int_equal(run(h, HA_OP_SHUTDOWN, 3, 0), HA_RESULT_OK);
    WAIT_UNTIL(w, h->exits == 1);
    assert_int_equal(h->exit_how, HA_EXIT_POWEROFF);
    assert_int_equal(h->exit_inc, 3);
    assert_null(look(h));
    assert_int_equal(h->exits, 1);
}

static void test_shutdown_ignored(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    write_file(w->shared, GUEST ".behave", "shutdown=ignore\n");
    start_guest(h, 3);
    assert_int_equal(run(h, HA_OP_SHUTDOWN, 3, 0), HA_RESULT_OK);
    turn(w, 700);
    assert_copy(h, HA_COPY_RUNNING, 3, 0);
}

static void test_exits(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    write_file(w->shared, GUEST ".behave", "crash_after=200\n");
    start_guest(h, 3);
    WAIT_UNTIL(w, h->exits == 1);
    assert_int_equal(h->exit_how, HA_EXIT_CRASH);
    write_file(w->shared, GUEST ".behave", "reboot_after=200\n");
    start_guest(h, 4);
    WAIT_UNTIL(w, h->exits == 2);
    assert_int_equal(h->exit_how, HA_EXIT_REBOOT);
    write_file(w->shared, GUEST ".behave", "");
    start_guest(h, 5);
    assert_int_equal(kill(guest_pid(h), SIGKILL), 0);
    WAIT_UNTIL(w, h->exits == 3);
    assert_int_equal(h->exit_how, HA_EXIT_KILLED);
    assert_int_equal(h->exit_inc, 5);
    assert_null(look(h));
    assert_disks_good(w->shared);
}

static char read_byte(int fd)
{
    char c = 0;
    assert_int_equal(read(fd, &c, 1), 1);
    return c;
}

/* The target dies once it has the whole image: nobody knows, and the guest can go on. */
static void test_suspend_and_resume(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    char waste[512];
    start_guest(h, 3);
    int fd = connect_test(h);
    uint64_t op = begin(h, HA_OP_SEND, 3, 9, 0, 5000);
    turn(w, 200);
    assert_copy_worker(h, HA_COPY_RUNNING, 3); /* nothing happens to it before the target is ready */
    assert_int_equal(write(fd, "R", 1), 1);
    WAIT_UNTIL(w, h->ncopies == 1 && h->copies[0].state == HA_COPY_SUSPENDED);
    turn(w, 100);
    assert_true(read(fd, waste, sizeof(waste)) > 0);
    close(fd);
    assert_int_equal(finish(h, op), HA_RESULT_UNKNOWN);
    assert_copy(h, HA_COPY_SUSPENDED, 3, 9);
    size_t n = disk_lines(w->shared);
    turn(w, 300);
    assert_int_equal(disk_lines(w->shared), n);
    assert_int_equal(run(h, HA_OP_UNPAUSE, 3, 0), HA_RESULT_FAILED); /* only a resume will do */
    assert_int_equal(run(h, HA_OP_RESUME, 3, 9), HA_RESULT_OK);
    WAIT_UNTIL(w, disk_lines(w->shared) > n);
    assert_copy(h, HA_COPY_RUNNING, 3, 0);
    assert_disks_good(w->shared);
}

static void move_there(struct world *w, uint64_t inc, uint64_t new_inc, uint64_t mig)
{
    struct host *a = &w->hosts[0], *b = &w->hosts[1];
    connect_hosts(w);
    uint64_t receive = begin(b, HA_OP_RECEIVE, new_inc, mig, 0, 5000);
    turn(w, 200);
    const struct ha_copy *copy = look(b);
    assert_non_null(copy);
    assert_true(copy->worker);
    assert_int_equal(copy->mig, mig);
    assert_int_equal(run(a, HA_OP_SEND, inc, mig), HA_RESULT_OK);
    assert_int_equal(finish(b, receive), HA_RESULT_OK);
    assert_copy(a, HA_COPY_SUSPENDED, inc, mig);
    assert_copy(b, HA_COPY_PAUSED, new_inc, mig);
}

static void test_migration(void **state)
{
    struct world *w = *state;
    struct host *a = &w->hosts[0], *b = &w->hosts[1];
    struct line last;
    start_guest(a, 3);
    move_there(w, 3, 7, 9);
    read_disk(w->shared, &last);
    uint64_t tick = last.tick;
    assert_int_equal(run(b, HA_OP_UNPAUSE, 7, 9), HA_RESULT_OK);
    assert_copy(b, HA_COPY_RUNNING, 7, 0);
    assert_int_equal(run(a, HA_OP_DESTROY, 3, 0), HA_RESULT_OK);
    WAIT_UNTIL(w, read_disk(w->shared, &last) && last.tick > tick + 1);
    assert_string_equal(last.host, "host2");
    assert_int_equal(last.inc, 7);
    assert_disks_good(w->shared);
}

/* Megabytes, in rounds while the guest runs; and the same with the guest suspended throughout. */
static void test_migration_of_much(void **state)
{
    struct world *w = *state;
    write_file(w->shared, GUEST ".behave", "image=20000\n");
    start_guest(&w->hosts[0], 3);
    w->kind = HA_MOVE_LIVE;
    move_there(w, 3, 7, 9);
    assert_int_equal(run(&w->hosts[1], HA_OP_DESTROY, 7, 0), HA_RESULT_OK);
    assert_int_equal(run(&w->hosts[0], HA_OP_RESUME, 3, 9), HA_RESULT_OK);
    w->kind = HA_MOVE_MIGRATE;
    move_there(w, 3, 8, 10);
}

/* The source dies early, and late; a copy that is not whole is none. */
static void test_source_dies(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[1];
    for (int late = 0; late < 2; late++) {
        int fd = connect_test(h);
        uint64_t op = begin(h, HA_OP_RECEIVE, 7, 9, 0, 5000);
        turn(w, 100);
        if (late) {
            assert_int_equal(read_byte(fd), 'R');
            assert_int_equal(write(fd, "\1\0\0\0\x1c\0\0\0xvm-image 2\nname web\nmig 9\n", 36), 36);
        }
        close(fd);
        assert_int_equal(finish(h, op), HA_RESULT_FAILED);
        assert_non_null(strstr(h->text, "broke off"));
        assert_null(look(h));
    }
}

static void test_damaged_image(void **state)
{
    static const char *const images[] = {"xvm-image 2\nname web\nmig 9\n",
                                         "\x09\0\0\0\1\0\0\0x", /* no such frame */
                                         "\1\0\0\0\0\0\0\1",   /* too long */
                                         "\1\0\0\0\x1c\0\0\0xvm-image 2\nname web\nmig 8\n",
                                         "\4\0\0\0\x8\0\0\0abcdefgh"};
    static const size_t sizes[] = {27, 9, 8, 36, 16};
    struct world *w = *state;
    struct host *h = &w->hosts[1];
    for (size_t i = 0; i < 5; i++) {
        int fd = connect_test(h);
        uint64_t op = begin(h, HA_OP_RECEIVE, 7, 9, 0, 5000);
        assert_int_equal(write(fd, images[i], sizes[i]), sizes[i]);
        assert_int_equal(finish(h, op), HA_RESULT_FAILED);
        assert_non_null(strstr(h->text, "damaged"));
        assert_null(look(h));
        close(fd);
    }
}

static void test_receive_without_image(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[1];
    int fd = connect_test(h);
    assert_int_equal(finish(h, begin(h, HA_OP_RECEIVE, 7, 9, 0, 3000)), HA_RESULT_FAILED);
    assert_null(look(h));
    close(fd);
    assert_int_equal(run(h, HA_OP_RECEIVE, 7, 9), HA_RESULT_FAILED); /* no channel at all */
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[1];
    int fd = connect_test(h);
    uint64_t op = begin(h, HA_OP_RECEIVE, 7, 9, 0, 60000);
    turn(w, 200);
    xvm_driver_process.cancel(h->driver, op, "");
    assert_int_equal(finish(h, op), HA_RESULT_FAILED);
    assert_non_null(strstr(h->text, "cancelled"));
    assert_null(look(h));
    assert_int_equal(read_byte(fd), 'R');
    assert_int_equal(read(fd, &(char){0}, 1), 0); /* the other end hears of it */
    close(fd);
}

static void test_double_start_is_caught(void **state)
{
    struct world *w = *state;
    start_guest(&w->hosts[0], 3);
    assert_int_equal(run(&w->hosts[1], HA_OP_CREATE, 4, 0), HA_RESULT_OK);
    assert_false(file_exists(w->shared, "violations"));
    assert_int_equal(run(&w->hosts[1], HA_OP_UNPAUSE, 4, 0), HA_RESULT_FAILED);
    assert_non_null(strstr(w->hosts[1].text, "DOUBLE START"));
    assert_true(file_exists(w->shared, "violations"));
    assert_copy(&w->hosts[1], HA_COPY_PAUSED, 4, 0);
    assert_copy(&w->hosts[0], HA_COPY_RUNNING, 3, 0);
}

static int start_by_hand(const struct host *h)
{
    char command[512];
    snprintf(command, sizeof(command),
             "\"$XVM_HA_GUEST\" --disk '%s/" GUEST ".disk' --run '%s' --host %s 2>/dev/null",
             h->world->shared, h->run_dir, h->name);
    return system(command);
}

static void test_started_by_hand_and_adopted(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    struct line last;
    unsigned before = h->inventories;
    assert_int_equal(start_by_hand(h), 0);
    WAIT_UNTIL(w, h->inventories > before && h->ncopies && h->copies[0].state == HA_COPY_RUNNING);
    assert_copy(h, HA_COPY_RUNNING, 0, 0);
    WAIT_UNTIL(w, disk_lines(w->shared) > 2);
    assert_int_not_equal(start_by_hand(h), 0);            /* it is here already */
    assert_int_not_equal(start_by_hand(&w->hosts[1]), 0); /* its disk is taken */
    assert_false(file_exists(w->shared, "violations"));
    assert_null(look(&w->hosts[1]));
    assert_int_equal(run(h, HA_OP_TAG, 5, 0), HA_RESULT_OK);
    assert_copy(h, HA_COPY_RUNNING, 5, 0);
    WAIT_UNTIL(w, read_disk(w->shared, &last) && last.inc == 5);
    assert_true(last.tick > 2); /* it was not restarted */
    assert_int_equal(h->exits, 0);
    assert_disks_good(w->shared);
}

static void test_daemon_restart(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    start_guest(h, 3);
    close_driver(h);
    size_t n = disk_lines(w->shared);
    usleep(300 * 1000);
    assert_true(disk_lines(w->shared) > n);
    open_driver(h);
    WAIT_UNTIL(w, h->inventories);
    assert_copy(h, HA_COPY_RUNNING, 3, 0);
    assert_int_equal(h->exits, 0);
    /* Not a child of this daemon, seen all the same. */
    assert_int_equal(run(h, HA_OP_SHUTDOWN, 3, 0), HA_RESULT_OK);
    WAIT_UNTIL(w, h->exits == 1);
    assert_int_equal(h->exit_how, HA_EXIT_POWEROFF);
}

static void test_exit_while_the_daemon_was_away(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    write_file(w->shared, GUEST ".behave", "poweroff_after=300\n");
    start_guest(h, 3);
    close_driver(h);
    usleep(600 * 1000);
    open_driver(h);
    WAIT_UNTIL(w, h->inventories);
    assert_int_equal(h->ncopies, 0);
    assert_int_equal(h->exits, 1);
    assert_int_equal(h->exit_how, HA_EXIT_POWEROFF);
    close_driver(h);
    open_driver(h);
    WAIT_UNTIL(w, h->inventories);
    assert_int_equal(h->exits, 1); /* told once */
}

static void test_restart_waits_for_old_workers(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    write_file(w->shared, GUEST ".behave", "create=slow:700\n");
    ha_ms began = xvm_boot_ms();
    begin(h, HA_OP_CREATE, 3, 0, 0, 5000);
    turn(w, 200);
    close_driver(h);
    open_driver(h);
    uint64_t op = begin(h, HA_OP_UNPAUSE, 3, 0, 0, 5000); /* waits, too */
    WAIT_UNTIL(w, h->inventories);
    assert_true(xvm_boot_ms() - began >= 650);
    assert_int_equal(h->ncopies, 1);
    assert_int_equal(h->copies[0].inc, 3);
    assert_int_equal(finish(h, op), HA_RESULT_OK);
    assert_copy(h, HA_COPY_RUNNING, 3, 0);
}

static void test_hanging_worker_is_unknown(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    write_file(w->shared, GUEST ".behave", "create=hang\n");
    uint64_t op = begin(h, HA_OP_CREATE, 3, 0, 0, 500);
    turn(w, 200);
    const struct ha_copy *copy = look(h);
    assert_non_null(copy); /* a worker counts: the host is not empty */
    assert_true(copy->worker);
    assert_int_equal(copy->inc, 3);
    assert_int_equal(finish(h, op), HA_RESULT_UNKNOWN);
    assert_non_null(strstr(h->text, "not done in time"));
    assert_null(look(h));
}

static void test_create_fails(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    write_file(w->shared, GUEST ".behave", "create=fail\n");
    assert_int_equal(run(h, HA_OP_CREATE, 3, 0), HA_RESULT_FAILED);
    assert_null(look(h));
    write_file(w->shared, GUEST ".behave", "unpause=fail\n");
    assert_int_equal(run(h, HA_OP_CREATE, 3, 0), HA_RESULT_OK);
    assert_int_equal(run(h, HA_OP_UNPAUSE, 3, 0), HA_RESULT_FAILED);
    assert_copy(h, HA_COPY_PAUSED, 3, 0);
}

/* When the lease has ended, a destroy waits for no other worker. */
static void test_destroy_goes_first(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    write_file(w->shared, GUEST ".behave", "unpause=slow:30000\n");
    assert_int_equal(run(h, HA_OP_CREATE, 3, 0), HA_RESULT_OK);
    begin(h, HA_OP_UNPAUSE, 3, 0, 0, 60000);
    turn(w, 200);
    ha_ms began = xvm_boot_ms();
    assert_int_equal(run(h, HA_OP_DESTROY, 0, 0), HA_RESULT_OK);
    assert_true(xvm_boot_ms() - began < 2000);
    assert_null(look(h));
    assert_int_equal(disk_lines(w->shared), 0);
    /* The same with a worker of an earlier daemon. */
    write_file(w->shared, GUEST ".behave", "create=hang\n");
    begin(h, HA_OP_CREATE, 4, 0, 0, 30000);
    turn(w, 200);
    close_driver(h);
    open_driver(h);
    assert_int_equal(run(h, HA_OP_DESTROY, 0, 0), HA_RESULT_OK);
    assert_null(look(h));
}

static void test_damaged_state(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    char path[256];
    start_guest(h, 3);
    snprintf(path, sizeof(path), "%s/guests/" GUEST "/state", h->run_dir);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "pid 1\nsta", 9), 9);
    close(fd);
    xvm_driver_process.inventory(h->driver);
    WAIT_UNTIL(w, !h->known); /* not "no guests" */
    assert_int_equal(h->exits, 0);
    /* It can be got rid of all the same. */
    assert_int_equal(run(h, HA_OP_DESTROY, 0, 0), HA_RESULT_OK);
    WAIT_UNTIL(w, h->known);
    assert_null(look(h));
}

/* A dead process's number may be another's by now: that one is never touched. */
static void test_reused_pid(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    pid_t bystander = fork();
    if (bystander == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also if this test fails */
        for (;;)
            pause();
    }
    int guests = xvm_guests_open(h->run_dir), dir = xvm_guest_open(guests, GUEST);
    const struct xvm_guest_state s = {
        .pid = bystander, .start = 1, .nonce = 42, .inc = 3, .state = HA_COPY_RUNNING};
    assert_int_equal(xvm_state_write(dir, &s), 0);
    close(dir);
    close(guests);
    assert_int_equal(run(h, HA_OP_DESTROY, 0, 0), HA_RESULT_OK);
    assert_null(look(h));
    /* Even when something holds the lock of the living: not that process, so "unknown". */
    guests = xvm_guests_open(h->run_dir);
    dir = xvm_guest_open(guests, GUEST);
    int alive = xvm_lock_open(dir, "alive");
    assert_int_equal(xvm_lock_try(alive), 0);
    assert_int_equal(xvm_state_write(dir, &s), 0);
    assert_int_equal(finish(h, begin(h, HA_OP_DESTROY, 0, 0, 0, 500)), HA_RESULT_UNKNOWN);
    close(alive);
    close(dir);
    close(guests);
    assert_int_equal(waitpid(bystander, NULL, WNOHANG), 0); /* lives */
    assert_int_equal(kill(bystander, SIGKILL), 0);
    assert_int_equal(waitpid(bystander, NULL, 0), bystander);
}

static void test_bad_requests(void **state)
{
    struct world *w = *state;
    struct host *h = &w->hosts[0];
    struct ha_action a = {.type = HA_ACT_GUEST};
    a.u.guest.op = 1000;
    a.u.guest.what = HA_OP_CREATE;
    strcpy(a.u.guest.guest, "../x");
    xvm_driver_process.start(h->driver, &a, NULL);
    assert_int_equal(finish(h, 1000), HA_RESULT_FAILED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(create_unpause_tick_destroy),
        T(wrong_incarnation),
        T(until),
        T(shutdown),
        T(shutdown_ignored),
        T(exits),
        T(suspend_and_resume),
        T(migration),
        T(migration_of_much),
        T(source_dies),
        T(damaged_image),
        T(receive_without_image),
        T(cancel),
        T(double_start_is_caught),
        T(started_by_hand_and_adopted),
        T(daemon_restart),
        T(exit_while_the_daemon_was_away),
        T(restart_waits_for_old_workers),
        T(hanging_worker_is_unknown),
        T(create_fails),
        T(destroy_goes_first),
        T(damaged_state),
        T(reused_pid),
        T(bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
