/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes a poison pill into this host's own block and waits until it must have done its work.
 *
 * Two hosts that shoot each other must not both fall. So first a claim is written, then everything
 * is read: a claim or a pill of the victim about this host means to step back. Whoever of the two
 * writes later sees the other's claim, so at most one of them goes on to the pill; both may step
 * back, and try again when it is their turn. A claim of a host that is gone would stand for ever: a
 * victim whose slot has not changed for the whole of the waiting time, as watched from here, has no
 * lease any more (it is bound to the disk), and its claim is passed over.
 *
 * The pill stays on the disk: a host that could not read it and lived on, empty, must find it when
 * the disk is back, before anything grants it a lease. It is void once the facts admit the host
 * again. */
#include "disk_main.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

enum { LOCK_WAIT_MS = 5000, LOOK_MS = 250 };

struct shot {
    const struct xvm_disk_options *o;
    struct xvm_disk disk;
    struct ha_uuid identity;
    int mine, theirs; /* slots */
    uint64_t nonce;
    struct xvm_pill before; /* what this host had written about the victim earlier */
    int lock_fd;
};

static void pause_ms(ha_ms ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

    while (clock_nanosleep(CLOCK_BOOTTIME, 0, &ts, &ts) == EINTR)
        continue;
}

static int complain(const struct shot *s, int code, const char *why)
{
    fprintf(stderr, "pill for node %u: %s\n", s->o->target, why);
    return code;
}

/* Several pills may be on their way from here; their writes go one by one. */
static int lock(struct shot *s)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/disk-pill.lock", s->o->run_dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    for (int i = 0; s->lock_fd >= 0 && i < LOCK_WAIT_MS / 50; i++) {
        if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        pause_ms(50);
    }
    return -EBUSY;
}

static void unlock(struct shot *s)
{
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    s->lock_fd = -1;
}

/* Of the same disk as before. */
static int look(struct shot *s)
{
    int r = xvm_disk_read(&s->disk);

    if (r == 0 && memcmp(s->disk.view.header.disk.b, s->identity.b, sizeof(s->identity.b)) != 0) {
        snprintf(s->disk.why, sizeof(s->disk.why), "was made ready anew");
        r = -ESTALE;
    }
    return r;
}

/* A pill for the same life, from an earlier try: it stays a pill. */
static bool shot_before(const struct shot *s)
{
    return s->before.kind == XVM_PILL_DEATH && s->before.node == s->o->target &&
           memcmp(s->before.boot.b, s->o->target_boot.b, sizeof(s->before.boot.b)) == 0;
}

/* Replaces this host's entry about the victim; the others stay. NONE: as it was before. */
static int write_entry(struct shot *s, enum xvm_pill_kind kind)
{
    struct xvm_disk_pills pills;
    int r = lock(s);

    if (r < 0)
        snprintf(s->disk.why, sizeof(s->disk.why), "another pill holds the lock for too long");
    if (r == 0)
        r = look(s);
    if (r == 0) {
        pills = s->disk.view.pills[s->mine];
        pills.node = s->o->self;
        pills.boot = s->o->boot;
        if (kind == XVM_PILL_CLAIM)
            s->before = pills.pills[s->theirs];
        if (kind == XVM_PILL_CLAIM && shot_before(s))
            kind = XVM_PILL_DEATH;
        pills.pills[s->theirs] =
            kind == XVM_PILL_NONE
                ? s->before
                : (struct xvm_pill){kind, s->o->target, s->o->target_boot, s->o->loss, s->nonce};
        xvm_disk_put_pills(s->disk.block, &s->identity, &pills);
        r = xvm_disk_write(&s->disk, 1 + s->disk.view.header.nslots + (size_t)s->mine);
    }
    unlock(s);
    return r;
}

static bool shot_at(const struct shot *s, enum xvm_pill_kind kind, int from)
{
    return xvm_disk_pill_for(&s->disk.view, s->o->self, &s->o->boot, kind, from) != NULL;
}

/* 0: go on. 1: the victim's claim stands, and it lives. Or a negative errno. */
static int yield(struct shot *s)
{
    struct xvm_disk_slot before = s->disk.view.slots[s->theirs];
    ha_ms end = xvm_now_ms() + s->o->wait_ms;
    int r = look(s);

    while (r == 0 && shot_at(s, XVM_PILL_CLAIM, s->theirs)) {
        if (s->disk.view.slots[s->theirs].seq != before.seq || shot_at(s, XVM_PILL_DEATH, -1))
            return 1;
        if (xvm_now_ms() >= end)
            return 0;
        pause_ms(LOOK_MS);
        r = look(s);
    }
    return r < 0 ? r : shot_at(s, XVM_PILL_DEATH, -1);
}

static int aim(struct shot *s)
{
    const struct xvm_disk_view *v = &s->disk.view;
    int r = xvm_disk_open(&s->disk, s->o->path, false);

    if (r == 0)
        r = xvm_disk_read(&s->disk);
    if (r < 0)
        return r;
    s->identity = v->header.disk;
    s->mine = xvm_disk_slot_of(&v->header, s->o->self);
    s->theirs = xvm_disk_slot_of(&v->header, s->o->target);
    r = -EINVAL;
    if (s->o->disk_given && memcmp(s->identity.b, s->o->disk.b, sizeof(s->identity.b)) != 0)
        snprintf(s->disk.why, sizeof(s->disk.why), "it is not the disk that node %u depends on",
                 s->o->target);
    else if (s->mine < 0 || s->theirs < 0)
        snprintf(s->disk.why, sizeof(s->disk.why), "no slot on the disk for node %u",
                 s->mine < 0 ? s->o->self : s->o->target);
    else if (memcmp(v->slots[s->theirs].boot.b, s->o->target_boot.b, sizeof(s->identity.b)) != 0)
        snprintf(s->disk.why, sizeof(s->disk.why), "its slot was written by another life of it");
    else if (shot_at(s, XVM_PILL_DEATH, -1))
        snprintf(s->disk.why, sizeof(s->disk.why), "this host has been given one itself");
    else
        r = 0;
    return r;
}

static bool pill_there(const struct shot *s)
{
    const struct xvm_pill *p = &s->disk.view.pills[s->mine].pills[s->theirs];

    return p->kind == XVM_PILL_DEATH && p->nonce == s->nonce;
}

static int shoot(struct shot *s)
{
    int r = aim(s);

    if (r < 0)
        return complain(s, XVM_DISK_FAILED, s->disk.why);
    r = write_entry(s, XVM_PILL_CLAIM);
    if (r < 0)
        return complain(s, XVM_DISK_FAILED, s->disk.why);
    r = yield(s);
    if (r != 0) {
        bool claimed = r > 0;

        if (write_entry(s, XVM_PILL_NONE) < 0)
            return complain(s, XVM_DISK_UNKNOWN, s->disk.why);
        return complain(s, XVM_DISK_FAILED,
                        claimed ? "it is about to give one to this host: stepped back"
                                : s->disk.why);
    }
    r = write_entry(s, XVM_PILL_DEATH);
    if (r == 0)
        r = look(s);
    if (r < 0 || !pill_there(s))
        return complain(s, XVM_DISK_UNKNOWN, r < 0 ? s->disk.why : "it is not on the disk");
    fprintf(stderr, "pill for node %u written; dead or empty in %lld ms\n", s->o->target,
            (long long)s->o->wait_ms);
    pause_ms(s->o->wait_ms + 1);
    r = look(s);
    if (r < 0 || !pill_there(s))
        return complain(s, XVM_DISK_UNKNOWN, r < 0 ? s->disk.why : "it was overwritten");
    return XVM_DISK_OK;
}

int xvm_disk_pill(const struct xvm_disk_options *o)
{
    struct shot s = {.o = o, .lock_fd = -1, .disk = {.fd = -1}};
    struct ha_uuid random;
    int code;

    if (o->self == 0 || o->target == 0 || o->self == o->target || o->wait_ms <= 0)
        return XVM_DISK_USAGE;
    xvm_uuid_random(&random);
    memcpy(&s.nonce, random.b, sizeof(s.nonce));
    code = shoot(&s);
    xvm_disk_close(&s.disk);
    return code;
}
