/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal's file: what survives which accident; and the other files that a daemon leaves
 * behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../daemon/applying.h"
#include "../../daemon/journal_file.h"
#include "../../daemon/marks.h"
#include "../../daemon/ring_memory.h"

struct found {
    size_t n;
    char text[64][64];
};

static char dir[64];

static int on_record(void *user, const void *record, size_t len)
{
    struct found *found = user;

    assert_true(found->n < 64 && len < 64);
    memcpy(found->text[found->n], record, len);
    found->text[found->n++][len] = '\0';
    return 0;
}

static int refuse(void *user, const void *record, size_t len)
{
    (void)user;
    (void)record;
    (void)len;
    return -EBADMSG;
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/xvm-journal-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {"journal", "journal.new", "lock",
                                        "marks",   "ring",        "applying"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static size_t pack(unsigned char *buffer, const char *text)
{
    size_t len = strlen(text);

    memset(buffer, 0, 4);
    buffer[0] = (unsigned char)len;
    memcpy(buffer + 4, text, len);
    return len + 4;
}

static void append(struct xvm_journal_file *file, const char *first, const char *second)
{
    unsigned char buffer[256];
    size_t len = pack(buffer, first);

    if (second)
        len += pack(buffer + len, second);
    assert_int_equal(xvm_journal_file_append(file, buffer, len), 0);
}

static int open_journal(struct xvm_journal_file *file, struct found *found, struct ha_error *error)
{
    memset(found, 0, sizeof(*found));
    return xvm_journal_file_open(file, dir, on_record, found, error);
}

static void close_journal(struct xvm_journal_file *file)
{
    close(file->fd);
    close(file->lock_fd);
    close(file->dir_fd);
}

static off_t size_of(const char *name)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void change(off_t at, int how)
{
    char path[128];
    unsigned char c;
    int fd;

    snprintf(path, sizeof(path), "%s/journal", dir);
    fd = open(path, O_RDWR);
    if (how < 0) {
        assert_int_equal(ftruncate(fd, at), 0);
    } else {
        assert_int_equal(pread(fd, &c, 1, at), 1);
        c ^= (unsigned char)how;
        assert_int_equal(pwrite(fd, &c, 1, at), 1);
    }
    close(fd);
}

static void three_frames(void)
{
    struct xvm_journal_file file;
    struct ha_error error;
    struct found found;

    assert_int_equal(open_journal(&file, &found, &error), 0);
    assert_int_equal(found.n, 0);
    append(&file, "one", NULL);
    append(&file, "two", "three");
    append(&file, "four", NULL);
    close_journal(&file);
}

static void records_come_back(void **state)
{
    struct xvm_journal_file file, other;
    struct ha_error error;
    struct found found;

    (void)state;
    three_frames();
    assert_int_equal(open_journal(&file, &found, &error), 0);
    assert_int_equal(found.n, 4);
    assert_string_equal(found.text[2], "three");
    assert_int_equal(open_journal(&other, &found, &error), -EBUSY); /* one daemon at a time */
    close(other.lock_fd);
    close(other.dir_fd);
    append(&file, "five", NULL);
    close_journal(&file);
    assert_int_equal(open_journal(&file, &found, &error), 0);
    assert_int_equal(found.n, 5);
    close_journal(&file);
}

/* Wherever the power goes off during the last write, what was durable before is there. */
static void torn_end_is_cut_off(void **state)
{
    struct xvm_journal_file file;
    struct ha_error error;
    struct found found;
    off_t full;

    (void)state;
    three_frames();
    full = size_of("journal");
    for (off_t cut = full - 1; cut > full - 16 - 8; cut--) {
        change(cut, -1);
        assert_int_equal(open_journal(&file, &found, &error), 0);
        assert_int_equal(found.n, 3);
        append(&file, "four", NULL);
        close_journal(&file);
        assert_int_equal(size_of("journal"), full);
    }
    change(full - 1, 0xff); /* length there, data not */
    assert_int_equal(open_journal(&file, &found, &error), 0);
    assert_int_equal(found.n, 3);
    close_journal(&file);
}

static void damage_in_the_middle_is_refused(void **state)
{
    struct xvm_journal_file file;
    struct ha_error error;
    struct found found;
    off_t full;

    (void)state;
    three_frames();
    full = size_of("journal");
    for (off_t at = 16; at < full - 16 - 8; at++) {
        if (at % 4 == 3 && (at == 16 + 15 || at == 16 + 16 + 7 + 15))
            continue; /* reserved bytes of a frame's head */
        change(at, 0x10);
        if (open_journal(&file, &found, &error) == 0)
            assert_int_equal(found.n, 4); /* only reserved bytes may not matter */
        else
            assert_int_equal(error.code, -EUCLEAN);
        close_journal(&file);
        change(at, 0x10);
    }
    assert_int_equal(size_of("journal"), full); /* nothing was cut off */
    change(0, 0x10);
    assert_int_equal(open_journal(&file, &found, &error), -EUCLEAN);
    close_journal(&file);
}

static void replaced_all_or_nothing(void **state)
{
    struct xvm_journal_file file;
    unsigned char buffer[64];
    struct ha_error error;
    struct found found;
    char path[128];
    FILE *stale;

    (void)state;
    three_frames();
    snprintf(path, sizeof(path), "%s/journal.new", dir);
    stale = fopen(path, "w"); /* the power went off during a replacement */
    fputs("xvm-had jou", stale);
    fclose(stale);
    assert_int_equal(open_journal(&file, &found, &error), 0);
    assert_int_equal(found.n, 4);
    assert_int_equal(xvm_journal_file_replace(&file, buffer, pack(buffer, "snapshot")), 0);
    append(&file, "after", NULL);
    close_journal(&file);
    assert_int_equal(open_journal(&file, &found, &error), 0);
    assert_int_equal(found.n, 2);
    assert_string_equal(found.text[0], "snapshot");
    assert_string_equal(found.text[1], "after");
    close_journal(&file);
}

static void newer_records_are_refused(void **state)
{
    struct xvm_journal_file file;
    struct ha_error error;

    (void)state;
    three_frames();
    assert_int_equal(xvm_journal_file_open(&file, dir, refuse, NULL, &error), -EBADMSG);
    close_journal(&file);
}

/* The daemon keeps its marks as long as it lives. */
static void marks_done(struct xvm_marks *marks)
{
    close(marks->fd);
    free(marks->path);
    free(marks->boot);
    free(marks->v);
}

static void marks_are_of_one_boot(void **state)
{
    struct ha_uuid boot = {{1}}, other = {{2}};
    struct ha_mark mark = {"web", 7};
    struct xvm_marks marks;

    (void)state;
    assert_int_equal(xvm_marks_open(&marks, dir, &boot), 0);
    assert_int_equal(marks.n, 0);
    assert_int_equal(xvm_marks_set(&marks, &mark), 0);
    mark.inc = 5; /* never backwards */
    assert_int_equal(xvm_marks_set(&marks, &mark), 0);
    strcpy(mark.guest, "data base");
    assert_int_equal(xvm_marks_set(&marks, &mark), 0);
    assert_int_equal(write(marks.fd, "99 we", 5), 5); /* cut short by a crash */
    marks_done(&marks);
    assert_int_equal(xvm_marks_open(&marks, dir, &boot), 0);
    assert_int_equal(marks.n, 2);
    assert_int_equal(marks.v[0].inc, 7);
    assert_string_equal(marks.v[1].guest, "data base");
    for (int i = 0; i < 10000; i++) {
        mark.inc++;
        assert_int_equal(xvm_marks_set(&marks, &mark), 0);
    }
    assert_true(size_of("marks") < 100 * 1024);
    marks_done(&marks);
    assert_int_equal(xvm_marks_open(&marks, dir, &boot), 0);
    assert_int_equal(marks.v[1].inc, 10005);
    marks_done(&marks);
    assert_int_equal(xvm_marks_open(&marks, dir, &other), 0);
    assert_int_equal(marks.n, 0);
    marks_done(&marks);
}

static void ring_is_of_one_boot(void **state)
{
    struct xvm_corosync_facts facts = {.self = 3}, again;
    struct ha_uuid boot = {{0xab}}, other = {{2}};

    (void)state;
    facts.ring.token_ms = 3650;
    facts.ring.consensus_ms = 4380;
    facts.ring.wait_for_all = true;
    assert_int_equal(xvm_ring_load(dir, &boot, &again), -ENOENT);
    assert_int_equal(xvm_ring_save(dir, &boot, &facts), 0);
    assert_int_equal(xvm_ring_load(dir, &other, &again), -ENOENT);
    assert_int_equal(xvm_ring_load(dir, &boot, &again), 0);
    assert_int_equal(again.self, 3);
    assert_int_equal(again.ring.consensus_ms, 4380);
    assert_true(again.ring.wait_for_all && !again.ring.two_node);
}

/* Starts, and ends while it applies `what` (NULL: in peace). Whether it came up in safe mode. */
static bool life(ha_ms now, const char *what)
{
    struct xvm_applying *applying;
    bool safe_mode;

    assert_int_equal(xvm_applying_open(dir, now, &applying, &safe_mode), 0);
    if (what && !safe_mode)
        xvm_applying_begin(applying, what, strlen(what));
    return safe_mode;
}

static void second_crash_at_one_message_is_the_last(void **state)
{
    (void)state;
    assert_false(life(1000, "bad"));
    assert_false(life(2000, "bad"));
    assert_true(life(3000, "bad"));
    assert_false(life(4000, "good")); /* the operator restarted it */
    assert_false(life(5000, "a"));
    assert_false(life(6000, "b"));
    assert_true(life(7000, "c")); /* three in a row, whatever they were */
    assert_false(life(8000, "x"));
    assert_false(life(9000, NULL));
    assert_false(life(3600000, "y")); /* long ago is forgotten */
    assert_false(life(7200000, "z"));
    assert_false(life(9900000, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(torn_end_is_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_in_the_middle_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(replaced_all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(newer_records_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(marks_are_of_one_boot, setup, teardown),
        cmocka_unit_test_setup_teardown(ring_is_of_one_boot, setup, teardown),
        cmocka_unit_test_setup_teardown(second_crash_at_one_message_is_the_last, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
