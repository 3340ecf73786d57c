/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The libxl driver without Xen: its worker program is a script that does what a test tells it,
 * among it everything that a worker can do wrong. The real program is tested on real hosts. */
#include "libxl_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>


/* ---------------------------------------------------------------------------------- the tests */

static void test_what_workers_say(void **state)
{
    struct world *w = *state;
    assert_int_equal(run(w, HA_OP_CREATE, 3), HA_RESULT_OK);
    assert_string_equal(w->text, "fake");
    assert_int_equal(calls(w, "create web --host host1 "), 1);
    put(w, "create", "echo '{\"result\": \"failed\", \"text\": \"no disk\"}'; exit 65");
    assert_int_equal(run(w, HA_OP_CREATE, 3), HA_RESULT_FAILED);
    assert_string_equal(w->text, "no disk");
    put(w, "create", "echo '{\"result\": \"unknown\", \"text\": \"half\"}'; exit 66");
    assert_int_equal(run(w, HA_OP_CREATE, 3), HA_RESULT_UNKNOWN);
    assert_string_equal(w->text, "half");
    put(w, "create", "echo 'libxl: out of memory' >&2; exit 1");
    assert_int_equal(run(w, HA_OP_CREATE, 3), HA_RESULT_UNKNOWN);
    assert_string_equal(w->text, "libxl: out of memory");
    /* Code 0 without a word is not OK: it is not our program. */
    put(w, "create", "exit 0");
    assert_int_equal(run(w, HA_OP_CREATE, 3), HA_RESULT_UNKNOWN);
    put(w, "create", "echo '{\"result\": '; echo '[[['; exit 65");
    assert_int_equal(run(w, HA_OP_CREATE, 3), HA_RESULT_UNKNOWN);
    put(w, "create", "kill -ABRT $$");
    assert_int_equal(run(w, HA_OP_CREATE, 3), HA_RESULT_UNKNOWN);
    assert_non_null(strstr(w->text, "signal 6"));
    /* It has said it, but died before it ended: who knows what it did after. */
    put(w, "create", "echo '{\"result\": \"failed\", \"text\": \"no\"}'; kill -KILL $$");
    assert_int_equal(run(w, HA_OP_CREATE, 3), HA_RESULT_UNKNOWN);
}

static void test_hung_worker_is_unknown(void **state)
{
    struct world *w = *state;
    put(w, "create", "sleep 1000");
    uint64_t op = begin(w, HA_OP_CREATE, 3, 300, NULL);
    WAIT_UNTIL(w, w->done_op == op);
    assert_int_equal(w->result, HA_RESULT_UNKNOWN);
    assert_non_null(strstr(w->text, "not done in time"));
}

static void test_destroy_ends_what_is_in_its_way(void **state)
{
    struct world *w = *state;
    put(w, "create", "sleep 1000");
    uint64_t create = begin(w, HA_OP_CREATE, 3, 0, NULL);
    WAIT_UNTIL(w, calls(w, "create") == 1);
    const struct ha_copy *copy = look(w);
    assert_non_null(copy); /* no domain yet, but somebody is at it */
    assert_int_equal(copy->state, HA_COPY_PAUSED);
    assert_int_equal(copy->inc, 3);
    assert_true(copy->worker);
    uint64_t destroy = begin(w, HA_OP_DESTROY, 3, 0, NULL);
    WAIT_UNTIL(w, w->results[create] && w->results[destroy]); /* in any order */
    assert_int_equal(w->results[create], HA_RESULT_UNKNOWN);
    assert_int_equal(w->results[destroy], HA_RESULT_OK);
    assert_null(look(w));
}

static void test_states(void **state)
{
    struct world *w = *state;
    put(w, "domains", DOMAIN("5", UUID, "web", QUIET TAG("7", "0")));
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    /* Paused by an operator: it has run, so it is none that waits for its first unpause. */
    put(w, "domains",
        DOMAIN("5", UUID, "web",
               "\"gone\": false, \"dying\": false, \"paused\": "
               "true, \"ran\": true, \"end\": \"none\", \"writers\": true, "
               "\"monitored\": false" TAG("7", "0")));
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    put(w, "domains",
        DOMAIN("6", UUID, "web--incoming-9",
               "\"gone\": false, \"dying\": false, "
               "\"paused\": true, \"ran\": false, \"end\": \"none\", \"writers\": "
               "true, \"monitored\": false" TAG("8", "9")));
    assert_copy(w, HA_COPY_PAUSED, 8, 9);
    put(w, "domains",
        DOMAIN("5", UUID, "web",
               "\"gone\": false, \"dying\": false, \"paused\": "
               "false, \"ran\": true, \"end\": \"suspend\", \"writers\": true, "
               "\"monitored\": false" TAG("7", "9")));
    assert_copy(w, HA_COPY_SUSPENDED, 7, 9);
    put(w, "domains",
        DOMAIN("5", UUID, "",
               "\"gone\": false, \"dying\": true, \"paused\": "
               "false, \"ran\": true, \"end\": \"none\", \"writers\": true, "
               "\"monitored\": false" TAG("7", "0")));
    assert_copy(w, HA_COPY_DYING, 7, 0);
    assert_true(w->copies[0].backends);
    put(w, "domains", "");
    assert_null(look(w));
}

static void test_whose_it_is(void **state)
{
    struct world *w = *state;
    /* Started by hand: known by its UUID, by the name in its file, by its own name. */
    put(w, "domains", DOMAIN("5", UUID, "anything", QUIET));
    assert_copy(w, HA_COPY_RUNNING, 0, 0);
    put(w, "domains", DOMAIN("5", OTHER_UUID, "web-in-file", QUIET));
    assert_copy(w, HA_COPY_RUNNING, 0, 0);
    put(w, "domains", DOMAIN("5", OTHER_UUID, "web", QUIET));
    assert_copy(w, HA_COPY_RUNNING, 0, 0);
    put(w, "domains", DOMAIN("5", OTHER_UUID, "somebody", QUIET));
    assert_null(look(w));
    /* A tag goes before everything else. */
    put(w, "domains", DOMAIN("5", OTHER_UUID, "somebody", QUIET TAG("7", "0")));
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    /* Two of them: what runs is told first. */
    put(w, "domains",
        DOMAIN("5", UUID, "web",
               "\"gone\": false, \"dying\": false, \"paused\": true, \"ran\": false, \"end\": "
               "\"none\", \"writers\": true, \"monitored\": false" TAG("8", "9"))
            DOMAIN("6", UUID, "web", QUIET TAG("7", "0")));
    look_again(w);
    assert_int_equal(w->ncopies, 2);
    assert_int_equal(w->copies[0].inc, 7);
    assert_int_equal(w->copies[1].inc, 8);
}

/* xenstore's part of a domain is gone before the domain is; its disks may outlive both. */
static void test_the_record_remembers(void **state)
{
    struct world *w = *state;
    struct xvm_domain_record record = {.domid = 5, .inc = 7};
    int guests = xvm_guests_open(w->run_dir), dir = xvm_guest_open(guests, GUEST);
    memcpy(record.uuid.b, "\0\0\0\1\x7a\xb0\x40\0\x80\0\0\0\0\0\0\1", 16);
    assert_int_equal(xvm_record_write(dir, &record), 0);
    put(w, "domains", DOMAIN("5", UUID, "", QUIET));
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    put(w, "destroy", "echo '{\"result\": \"unknown\", \"text\": \"stuck\"}'; exit 66");
    put(w, "domains",
        DOMAIN("5", "", "",
               "\"gone\": true, \"dying\": false, \"paused\": false, "
               "\"ran\": false, \"end\": \"none\", \"writers\": true, "
               "\"monitored\": false"));
    assert_copy(w, HA_COPY_DYING, 7, 0);
    assert_true(w->copies[0].backends);
    /* Half built: the same UUID, and nobody knows its number yet. */
    record.domid = 0;
    record.inc = 8;
    assert_int_equal(xvm_record_write(dir, &record), 0);
    put(w, "domains",
        DOMAIN("6", UUID, "",
               "\"gone\": false, \"dying\": false, \"paused\": true, "
               "\"ran\": false, \"end\": \"none\", \"writers\": false, "
               "\"monitored\": false"));
    assert_copy(w, HA_COPY_PAUSED, 8, 0);
    /* One that runs is none of it: it was started by hand. */
    put(w, "domains", DOMAIN("6", UUID, "web", QUIET));
    assert_copy(w, HA_COPY_RUNNING, 0, 0);
    /* A destroy has paused it and did not come to its end: none that an operator has paused. */
    record.domid = 6;
    record.ending = true;
    assert_int_equal(xvm_record_write(dir, &record), 0);
    put(w, "domains",
        DOMAIN("6", UUID, "web",
               "\"gone\": false, \"dying\": false, \"paused\": "
               "true, \"ran\": true, \"end\": \"none\", \"writers\": true, "
               "\"monitored\": false" TAG("8", "0")));
    assert_copy(w, HA_COPY_DYING, 8, 0);
    close(dir);
    close(guests);
}

static void test_unknown_is_not_absent(void **state)
{
    struct world *w = *state;
    static const char *const wrongs[] = {
        "exit 66",
        "kill -KILL $$",
        "echo '{\"result\": \"ok\", \"text\": \"\"}'", /* no word about the host */
        "echo '{\"host\": {\"memory_kib\": 1, \"hap\": true, \"shadow\": true}}'; echo nonsense; "
        "echo '{\"result\": \"ok\", \"text\": \"\"}'",
        "echo '{\"domain\": {\"domid\": 5}}'; echo '{\"host\": {\"memory_kib\": 1, \"hap\": true, "
        "\"shadow\": true}}'; echo '{\"result\": \"ok\", \"text\": \"\"}'",
    };
    put(w, "domains", DOMAIN("5", UUID, "web", QUIET TAG("7", "0")));
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        unsigned known, before = w->unknowns;
        put(w, "list", wrongs[i]);
        xvm_driver_libxl.inventory(w->driver);
        WAIT_UNTIL(w, w->unknowns > before);
        known = w->inventories;
        assert_int_equal(w->exits, 0);
        drop(w, "list");
        WAIT_UNTIL(w, w->inventories > known); /* looks again by itself */
    }
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
}

static void test_ends_are_told_once_and_cleared_away(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *end;
        enum ha_exit exit;
    } ends[] = {{"poweroff", HA_EXIT_POWEROFF},
                {"reboot", HA_EXIT_REBOOT},
                {"crash", HA_EXIT_CRASH},
                {"watchdog", HA_EXIT_CRASH},
                {"soft-reset", HA_EXIT_REBOOT}};
    put(w, "destroy", "rm -f $XVM_FAKE_DIR/domains; echo '{\"result\":\"ok\",\"text\":\"gone\"}'");
    for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char text[1024];
        static const char *const format =
            DOMAIN("%u", UUID, "web",
                   "\"gone\": false, \"dying\": false, \"paused\": false, \"ran\": true, \"end\": "
                   "\"%s\", \"writers\": true, \"monitored\": false" TAG("%u", "0"));
        snprintf(text, sizeof(text), format, i + 1, "none", i + 1);
        put(w, "domains", text);
        assert_copy(w, HA_COPY_RUNNING, i + 1, 0);
        snprintf(text, sizeof(text), format, i + 1, ends[i].end, i + 1);
        put(w, "domains", text);
        xvm_driver_libxl.inventory(w->driver);
        WAIT_UNTIL(w, w->exits == i + 1);
        assert_int_equal(w->exit_how, ends[i].exit);
        assert_int_equal(w->exit_inc, i + 1);
        WAIT_UNTIL(w, calls(w, "destroy") == i + 1); /* nobody asked for it */
        WAIT_UNTIL(w, w->ncopies == 0);
        assert_int_equal(w->exits, i + 1);
    }
    assert_int_equal(w->done_op, 0); /* and nobody is told */
}

static void test_vanished_and_destroyed(void **state)
{
    struct world *w = *state;
    put(w, "domains", DOMAIN("5", UUID, "web", QUIET TAG("7", "0")));
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    drop(w, "domains");
    assert_null(look(w));
    assert_int_equal(w->exits, 1);
    assert_int_equal(w->exit_how, HA_EXIT_KILLED);
    put(w, "domains", DOMAIN("6", UUID, "web", QUIET TAG("8", "0")));
    assert_copy(w, HA_COPY_RUNNING, 8, 0);
    put(w, "destroy", "rm -f $XVM_FAKE_DIR/domains; echo '{\"result\":\"ok\",\"text\":\"gone\"}'");
    assert_int_equal(run(w, HA_OP_DESTROY, 8), HA_RESULT_OK);
    assert_null(look(w));
    assert_int_equal(w->exits, 1); /* our own doing is not an exit */
}

static void test_suspended_is_no_end(void **state)
{
    struct world *w = *state;
    put(w, "domains",
        DOMAIN("5", UUID, "web",
               "\"gone\": false, \"dying\": false, \"paused\": "
               "false, \"ran\": true, \"end\": \"suspend\", \"writers\": true, "
               "\"monitored\": false" TAG("7", "9")));
    assert_copy(w, HA_COPY_SUSPENDED, 7, 9);
    event(w, "{\"event\": \"ended\", \"domid\": 5, \"reason\": \"suspend\"}");
    assert_copy(w, HA_COPY_SUSPENDED, 7, 9);
    assert_int_equal(w->exits, 0);
    assert_int_equal(calls(w, "destroy"), 0);
    /* Resumed, and then it ends: that is told. */
    put(w, "domains", DOMAIN("5", UUID, "web", QUIET TAG("7", "9")));
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    event(w, "{\"event\": \"ended\", \"domid\": 5, \"reason\": \"crash\"}");
    WAIT_UNTIL(w, w->exits == 1);
    assert_int_equal(w->exit_how, HA_EXIT_CRASH);
}

static void test_watch_is_heard_at_once_and_replaced(void **state)
{
    struct world *w = *state;
    put(w, "domains", DOMAIN("5", UUID, "web", QUIET TAG("7", "0")));
    event(w, "{\"event\": \"changed\", \"domid\": 5}");
    WAIT_UNTIL(w, w->ncopies == 1); /* nobody asked */
    assert_copy(w, HA_COPY_RUNNING, 7, 0);
    put(w, "list", "sleep 1000"); /* no look helps now */
    event(w, "{\"event\": \"ended\", \"domid\": 5, \"reason\": \"reboot\"}");
    WAIT_UNTIL(w, w->exits == 1);
    assert_int_equal(w->exit_how, HA_EXIT_REBOOT);
    drop(w, "list");
    unsigned before = calls(w, "watch");
    assert_int_equal(system("kill -KILL $(cat $XVM_FAKE_DIR/watch.pid)"), 0);
    WAIT_UNTIL(w, calls(w, "watch") > before);
    assert_non_null(strstr(w->said, "watch for ended guests has ended"));
}

static void test_foreign_end_is_its_xls(void **state)
{
    struct world *w = *state;
    put(w, "domains",
        DOMAIN("5", UUID, "web",
               "\"gone\": false, \"dying\": false, \"paused\": "
               "false, \"ran\": true, \"end\": \"reboot\", \"writers\": true, "
               "\"monitored\": true"));
    assert_copy(w, HA_COPY_DYING, 0, 0);
    assert_int_equal(w->exits, 0);
    assert_int_equal(calls(w, "destroy"), 0);
}

static void test_waits_out_an_old_worker(void **state)
{
    struct world *w = *state;
    struct xvm_guest_holder holder = {.pid = 1, .op = HA_OP_CREATE, .inc = 4};
    w->driver = xvm_driver_libxl.free(w->driver);
    int guests = xvm_guests_open(w->run_dir), dir = xvm_guest_open(guests, GUEST);
    int lock = xvm_lock_open(dir, "lock");
    assert_int_equal(xvm_lock_try(lock), 0);
    assert_int_equal(xvm_holder_write(lock, &holder), 0);
    open_driver(w);
    unsigned lists = calls(w, "list");
    uint64_t op = begin(w, HA_OP_UNPAUSE, 4, 0, NULL);
    for (int i = 0; i < 20; i++)
        assert_true(sd_event_run(w->loop, 20 * 1000) >= 0);
    assert_int_equal(w->inventories, 0); /* not a word, and no worker of ours */
    assert_int_equal(calls(w, "list"), lists);
    assert_int_equal(calls(w, "unpause"), 0);
    close(lock);
    WAIT_UNTIL(w, w->inventories && w->done_op == op);
    assert_int_equal(w->result, HA_RESULT_OK);
    close(dir);
    close(guests);
}

static void test_transfer_has_its_channel(void **state)
{
    struct world *w = *state;
    int pair[2];
    char byte = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    const struct xvm_channel channel = {.stream = pair[0], .progress = -1};
    put(w, "send",
        "printf R >&3; read answer <&3; echo "
        "\"{\\\"result\\\": \\\"ok\\\", \\\"text\\\": \\\"$answer\\\"}\"");
    uint64_t op = begin(w, HA_OP_SEND, 7, 0, &channel);
    close(pair[0]);
    assert_int_equal(read(pair[1], &byte, 1), 1);
    assert_int_equal(byte, 'R');
    assert_int_equal(write(pair[1], "thanks\n", 7), 7);
    WAIT_UNTIL(w, w->done_op == op);
    assert_int_equal(w->result, HA_RESULT_OK);
    assert_string_equal(w->text, "thanks");
    assert_int_equal(read(pair[1], &byte, 1), 0); /* nobody holds the other end open */
    close(pair[1]);
    assert_int_equal(run(w, HA_OP_SEND, 7), HA_RESULT_FAILED); /* without one */
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    put(w, "create",
        "trap 'echo \"{\\\"result\\\": \\\"failed\\\", \\\"text\\\": "
        "\\\"cancelled\\\"}\"; exit 65' TERM; touch $XVM_FAKE_DIR/ready; "
        "while :; do sleep 0.05; done");
    uint64_t op = begin(w, HA_OP_CREATE, 7, 0, NULL);
    char path[192];
    snprintf(path, sizeof(path), "%s/ready", w->fake);
    WAIT_UNTIL(w, access(path, F_OK) == 0);
    xvm_driver_libxl.cancel(w->driver, op, GUEST);
    WAIT_UNTIL(w, w->done_op == op);
    assert_int_equal(w->result, HA_RESULT_FAILED);
    assert_string_equal(w->text, "cancelled");
}

static void leave_file(struct world *w, const char *name)
{
    char command[256];
    snprintf(command, sizeof(command), "cd '%s/guests' && mkdir -p " GUEST " && touch " GUEST "/%s",
             w->run_dir, name);
    assert_int_equal(system(command), 0);
}

static bool called_with(struct world *w, const char *op, const char *part)
{
    char path[192], line[1024];
    bool found = false;
    snprintf(path, sizeof(path), "%s/calls", w->fake);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        found |= !strncmp(line, op, strlen(op)) && strstr(line, part);
    if (f)
        fclose(f);
    return found;
}

/* Workers get this host's key if the guest's disks are to be guarded; what is to be done afterwards
 * is a process of its own, which nobody waits for. */
static void test_guard_follows(void **state)
{
    struct world *w = *state;
    assert_int_equal(run(w, HA_OP_CREATE, 6), HA_RESULT_OK);
    assert_true(called_with(w, "create", "--guard \n"));
    w->guest.disk_guard = HA_GUARD_SCSI;
    assert_int_equal(run(w, HA_OP_CREATE, 7), HA_RESULT_OK);
    assert_true(called_with(w, "create", "--guard afd071e500000001"));
    assert_int_equal(run(w, HA_OP_UNPAUSE, 7), HA_RESULT_OK);
    assert_int_equal(run(w, HA_OP_DESTROY, 7), HA_RESULT_OK);
    assert_int_equal(calls(w, "guard"), 0); /* these workers have left nothing to do */
    leave_file(w, "guard");
    put(w, "guard", "sleep 1000");
    assert_int_equal(run(w, HA_OP_UNPAUSE, 7), HA_RESULT_OK);
    WAIT_UNTIL(w, called_with(w, "guard", "--inc 7 "));
    unsigned before = calls(w, "guard");
    assert_int_equal(run(w, HA_OP_DESTROY, 7), HA_RESULT_OK);
    assert_int_equal(calls(w, "guard"), before);
    leave_file(w, "guard.left");
    put(w, "guard",
        "echo '{\"result\": \"failed\", \"text\": \"sg_persist hangs\"}'; exit 65");
    assert_int_equal(run(w, HA_OP_DESTROY, 7), HA_RESULT_OK);
    WAIT_UNTIL(w, strstr(w->said, "web: guard of its disks: sg_persist hangs"));
    assert_true(called_with(w, "guard", "--inc 0 "));
    unsigned left = calls(w, "guard");
    xvm_driver_libxl.free(w->driver); /* the next daemon takes it up */
    open_driver(w);
    WAIT_UNTIL(w, calls(w, "guard") > left);
    /* What a worker warns of is said. */
    put(w, "tag",
        "echo '{\"warning\": \"unguarded\"}'; echo '{\"result\": \"ok\", \"text\": \"\"}'");
    assert_int_equal(run(w, HA_OP_TAG, 8), HA_RESULT_OK);
    assert_non_null(strstr(w->said, "web: unguarded"));
}

static void on_checked(void *user, const char *guest, bool fit, const char *text)
{
    struct world *w = user;
    assert_string_equal(guest, GUEST);
    w->checks++;
    w->fit = fit;
    snprintf(w->text, sizeof(w->text), "%s", text);
}

static void test_check(void **state)
{
    struct world *w = *state;
    assert_int_equal(xvm_driver_libxl.check(w->driver, GUEST, on_checked, w), 0);
    WAIT_UNTIL(w, w->checks == 1);
    assert_true(w->fit);
    put(w, "check",
        "echo '{\"problem\": \"no bridge br0\"}'; echo '{\"problem\": \"no disk\"}'; "
        "echo '{\"result\": \"failed\", \"text\": \"\"}'; exit 65");
    assert_int_equal(xvm_driver_libxl.check(w->driver, GUEST, on_checked, w), 0);
    WAIT_UNTIL(w, w->checks == 2);
    assert_false(w->fit);
    assert_string_equal(w->text, "no bridge br0; no disk");
    put(w, "check",
        "echo '{\"warning\": \"xvdb is not guarded\"}'; "
        "echo '{\"result\": \"ok\", \"text\": \"\"}'");
    assert_int_equal(xvm_driver_libxl.check(w->driver, GUEST, on_checked, w), 0);
    WAIT_UNTIL(w, w->checks == 3);
    assert_true(w->fit);
    assert_string_equal(w->text, "xvdb is not guarded");
    put(w, "check", "exit 1");
    assert_int_equal(xvm_driver_libxl.check(w->driver, GUEST, on_checked, w), 0);
    WAIT_UNTIL(w, w->checks == 4);
    assert_false(w->fit);
    /* Freed with one under way: it is simply forgotten. */
    put(w, "check", "sleep 1000");
    assert_int_equal(xvm_driver_libxl.check(w->driver, GUEST, on_checked, w), 0);
}

static void test_definitions_are_made(void **state)
{
    struct world *w = *state;
    struct xvm_definition facts;
    char path[192];
    snprintf(path, sizeof(path), "%s/web.cfg", w->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    w->guest.config_path = path;
    put(w, "define",
        "echo '{\"result\": \"failed\", \"text\": \"xl does not take it: line 3\"}'; "
        "exit 65");
    xvm_driver_libxl.set_config(w->driver, &w->config);
    WAIT_UNTIL(w, strstr(w->said, "web: it cannot be defined by"));
    assert_non_null(strstr(w->said, "xl does not take it: line 3"));
    put(w, "define",
        "cat <<'X'\n{\"definition\": \"{\\\"xvm-ha-definition\\\": 1, \\\"guest\\\": "
        "\\\"web\\\", \\\"uuid\\\": \\\"" OTHER_UUID "\\\", \\\"name\\\": \\\"web\\\", "
        "\\\"type\\\": \\\"pv\\\", \\\"memory_kib\\\": 102400, \\\"vcpus\\\": 2, "
        "\\\"hardware\\\": false, \\\"config\\\": {}}\"}\n{\"result\": \"ok\", \"text\": "
        "\"\"}\nX\n");
    xvm_driver_libxl.set_config(w->driver, &w->config);
    WAIT_UNTIL(w, strstr(w->said, "web: defined by"));
    WAIT_UNTIL(w, strstr(w->said, "web: it needs 100 MiB, and `memory` says 0 MiB"));
    assert_int_equal(xvm_definitions_facts(w->definitions, GUEST, &facts), 0);
    assert_int_equal(facts.type, XVM_TYPE_PV);
    assert_int_equal(w->mades, 1);
    assert_int_equal(w->made_kib, 102400);
    assert_int_equal(w->made_flags, HA_DEF_NO_LIVE); /* PV, and the host has no shadow paging */
    assert_int_equal(facts.vcpus, 2);
    /* Known by its new UUID from now on. */
    put(w, "domains", DOMAIN("5", OTHER_UUID, "", QUIET));
    assert_copy(w, HA_COPY_RUNNING, 0, 0);
    /* A file that has not changed is not read again. */
    unsigned before = calls(w, "define");
    xvm_driver_libxl.set_config(w->driver, &w->config);
    WAIT_UNTIL(w, w->mades == 2); /* but told again */
    assert_int_equal(calls(w, "define"), before);
    assert_int_equal(truncate(path, 1), 0);
    xvm_driver_libxl.set_config(w->driver, &w->config);
    WAIT_UNTIL(w, calls(w, "define") > before);
}

/* What the cluster has decided on goes before this host's own; and a host without a file remembers
 * by it which UUID is its guest's. */
static void test_builds_from_what_was_decided(void **state)
{
    struct world *w = *state;
    struct xvm_definition facts;
    struct ha_action a = {.type = HA_ACT_GUEST};
    char path[128], command[512];
    snprintf(command, sizeof(command), "mv '%s/guests/web.json' '%s/decided'", w->dir, w->dir);
    assert_int_equal(system(command), 0);
    a.u.guest.op = ++w->op;
    a.u.guest.what = HA_OP_CREATE;
    strcpy(a.u.guest.guest, GUEST);
    a.u.guest.inc = 3;
    a.u.guest.def.b[0] = 0xdf;
    xvm_driver_libxl.start(w->driver, &a, NULL);
    WAIT_UNTIL(w, w->done_op == a.u.guest.op);
    assert_int_equal(w->result, HA_RESULT_OK);
    snprintf(path, sizeof(path), "--definition %s/decided --until", w->dir);
    snprintf(command, sizeof(command), "grep -q -e '%s' '%s/calls'", path, w->fake);
    assert_int_equal(system(command), 0);
    assert_int_equal(xvm_definitions_facts(w->definitions, GUEST, &facts), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_workers_say),
        TEST(test_hung_worker_is_unknown),
        TEST(test_destroy_ends_what_is_in_its_way),
        TEST(test_states),
        TEST(test_whose_it_is),
        TEST(test_the_record_remembers),
        TEST(test_unknown_is_not_absent),
        TEST(test_ends_are_told_once_and_cleared_away),
        TEST(test_vanished_and_destroyed),
        TEST(test_suspended_is_no_end),
        TEST(test_watch_is_heard_at_once_and_replaced),
        TEST(test_foreign_end_is_its_xls),
        TEST(test_waits_out_an_old_worker),
        TEST(test_transfer_has_its_channel),
        TEST(test_cancel),
        TEST(test_check),
        TEST(test_guard_follows),
        TEST(test_definitions_are_made),
        TEST(test_builds_from_what_was_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
