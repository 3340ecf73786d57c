/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cycles of the shared disk: writes this host's slot, reads all of it, tells the keeper. A
 * cycle that does not succeed is told to nobody: whoever waits for it knows nothing, and that is
 * the truth. */
#include "disk_main.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "keeper_proto.h"
#include "log.h"
#include "util.h"

enum { RETRY_MS = 1000 };

struct seen {
    struct ha_uuid boot;
    uint64_t seq;
    ha_ms changed_ms; /* 0: as it was when we began */
    bool known;
};

struct runner {
    const struct xvm_disk_options *o;
    struct xvm_disk disk;
    struct ha_uuid writer;
    uint64_t seq;
    int keeper_fd;
    struct xvm_disk_answer answer; /* the keeper's last */
    struct seen seen[XVM_DISK_SLOTS_MAX];
    struct ha_uuid identity; /* of the disk that `seen` is about */
    char said[HA_TEXT_MAX];  /* the trouble that was logged last; "": all is well */
    struct xvm_disk_word word;
    unsigned char packet[XVM_KEEPER_PACKET_MAX];
};

static struct runner self; /* static: locked, and nothing to allocate */
static volatile sig_atomic_t stopping;

static void on_stop(int sig)
{
    (void)sig;
    stopping = 1;
}

static void say(struct runner *r, const char *trouble)
{
    if (strcmp(r->said, trouble) == 0)
        return;
    snprintf(r->said, sizeof(r->said), "%.199s", trouble);
    if (*trouble)
        xvm_log(HA_SEV_ERROR, "%s: %s", r->o->path, trouble);
    else
        xvm_log(HA_SEV_NOTICE, "%s is read and written", r->o->path);
}

/* -------------------------------------------------------------------------------------- keeper */

static void connect_keeper(struct runner *r)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n =
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/keeper-disk.sock", r->o->run_dir);

    if (n < 0 || (size_t)n >= sizeof(address.sun_path))
        return;
    r->keeper_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->keeper_fd < 0)
        return;
    if (connect(r->keeper_fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(r->keeper_fd);
        r->keeper_fd = -1;
    }
}

static void hear_keeper(struct runner *r)
{
    ssize_t n;

    while (r->keeper_fd >= 0 &&
           (n = recv(r->keeper_fd, r->packet, sizeof(r->packet), MSG_DONTWAIT)) >= 0) {
        if (n == 0 || xvm_keeper_get_answer(r->packet, (size_t)n, &r->answer) < 0) {
            close(r->keeper_fd);
            r->keeper_fd = -1;
            r->answer = (struct xvm_disk_answer){0};
        }
    }
}

static void tell_keeper(struct runner *r)
{
    size_t len = xvm_keeper_put_word(r->packet, &r->word);

    if (r->keeper_fd < 0)
        connect_keeper(r);
    if (r->keeper_fd < 0)
        return;
    if (send(r->keeper_fd, r->packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
        close(r->keeper_fd);
        r->keeper_fd = -1;
    }
}

/* --------------------------------------------------------------------------------------- cycle */

/* The disk must still be the one whose pills this process has seen; another one is another's word.
 */
static int find_slot(struct runner *r)
{
    const struct xvm_disk_header *h = &r->disk.view.header;

    if (r->o->cluster && strcmp(h->cluster, r->o->cluster) != 0) {
        snprintf(r->disk.why, sizeof(r->disk.why), "belongs to the cluster %s, not to %s",
                 h->cluster, r->o->cluster);
        return -ESTALE;
    }
    if (xvm_disk_slot_of(h, r->o->self) < 0) {
        snprintf(r->disk.why, sizeof(r->disk.why), "node %u has no slot: `xvmhactl disk add`",
                 r->o->self);
        return -ENOENT;
    }
    return xvm_disk_slot_of(h, r->o->self);
}

static int write_slot(struct runner *r, int slot)
{
    struct xvm_disk_slot mine = {
        .node = r->o->self,
        .boot = r->o->boot,
        .writer = r->writer,
        .seq = ++r->seq,
        .wall_s = (uint64_t)time(NULL),
        .bound = r->answer.bound,
        .armed = r->answer.armed,
        .timeout_ms = r->answer.timeout_ms,
        .watchdog_ms = r->answer.watchdog_ms,
    };

    xvm_disk_put_slot(r->disk.block, &r->identity, &mine);
    return xvm_disk_write(&r->disk, 1 + (size_t)slot);
}

/* What was written must come back: else somebody else writes there, or the disk only pretends. */
static int check_own(struct runner *r, int slot)
{
    const struct xvm_disk_slot *mine = &r->disk.view.slots[slot];

    if (memcmp(r->disk.view.header.disk.b, r->identity.b, sizeof(r->identity.b)) != 0 ||
        find_slot(r) != slot) {
        snprintf(r->disk.why, sizeof(r->disk.why), "was made ready anew under our feet");
        return -ESTALE;
    }
    if (mine->seq == r->seq && memcmp(mine->writer.b, r->writer.b, sizeof(r->writer.b)) == 0)
        return 0;
    snprintf(r->disk.why, sizeof(r->disk.why),
             "the slot of node %u is written by somebody else, too: two hosts with one id?",
             r->o->self);
    return -ESTALE;
}

static void note_others(struct runner *r, ha_ms now)
{
    r->word.nseen = 0;
    for (size_t i = 0; i < r->disk.view.header.nslots; i++) {
        const struct xvm_disk_slot *s = &r->disk.view.slots[i];
        struct seen *seen = &r->seen[i];
        bool same = memcmp(seen->boot.b, s->boot.b, sizeof(s->boot.b)) == 0;

        if (seen->known && (!same || seen->seq != s->seq))
            seen->changed_ms = now;
        seen->known = true;
        seen->boot = s->boot;
        seen->seq = s->seq;
        if (s->node != 0 && s->node != r->o->self)
            r->word.seen[r->word.nseen++] =
                (struct ha_disk_seen){s->node, s->boot, seen->changed_ms};
    }
}

static int cycle(struct runner *r)
{
    ha_ms begun = xvm_now_ms();
    const struct xvm_pill *pill;
    int slot, e;

    if (r->disk.fd < 0) {
        e = xvm_disk_open(&r->disk, r->o->path, false);
        if (e == 0)
            e = xvm_disk_read(&r->disk);
        if (e < 0)
            return e;
        r->identity = r->disk.view.header.disk;
        memset(r->seen, 0, sizeof(r->seen));
    }
    slot = find_slot(r);
    if (slot < 0)
        return slot;
    hear_keeper(r);
    e = write_slot(r, slot);
    if (e == 0)
        e = xvm_disk_read(&r->disk);
    if (e == 0)
        e = check_own(r, slot);
    if (e < 0)
        return e;
    pill = xvm_disk_pill_for(&r->disk.view, r->o->self, &r->o->boot, XVM_PILL_DEATH, -1);
    r->word.self = r->o->self;
    r->word.boot = r->o->boot;
    r->word.disk = r->identity;
    r->word.t = begun; /* what was written to the disk before this moment has been seen */
    r->word.pill = pill != NULL;
    r->word.loss = pill ? pill->loss : 0;
    note_others(r, begun);
    tell_keeper(r);
    return 0;
}

/* ---------------------------------------------------------------------------------------- life */

/* One process a host: the lock says who, and its text with what options. */
static int take_lock(const struct xvm_disk_options *o)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[4096], text[4200];
    static int fd; /* held as long as we live */
    int n;

    snprintf(path, sizeof(path), "%s/disk.lock", o->run_dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (fcntl(fd, F_SETLK, &lock) < 0)
        return -EBUSY;
    n = snprintf(text, sizeof(text), "%s %u %lld\n", o->path, o->self, (long long)o->interval_ms);
    if (ftruncate(fd, 0) < 0 || write(fd, text, (size_t)n) != n)
        return -EIO;
    return 0;
}

static void sleep_until(ha_ms at)
{
    struct timespec ts = {at / 1000, at % 1000 * 1000000L};

    while (!stopping && clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &ts, NULL) == EINTR)
        continue;
}

int xvm_disk_run(const struct xvm_disk_options *o)
{
    struct sigaction stop = {.sa_handler = on_stop};
    struct runner *r = &self;
    int e;

    if (o->self == 0)
        return XVM_DISK_USAGE;
    if (o->detach && xvm_detach() < 0)
        return XVM_DISK_FAILED;
    e = take_lock(o);
    if (e < 0) {
        xvm_log(HA_SEV_ERROR, "%s/disk.lock: %s", o->run_dir,
                e == -EBUSY ? "another one runs" : strerror(-e));
        return XVM_DISK_FAILED;
    }
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    r->o = o;
    r->keeper_fd = -1;
    r->disk.fd = -1;
    xvm_uuid_random(&r->writer);
    mallopt(M_ARENA_MAX, 1);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
        xvm_log(HA_SEV_WARNING, "memory is not locked: %s", strerror(errno));
    snprintf(r->said, sizeof(r->said), "?");
    while (!stopping) {
        ha_ms begun = xvm_now_ms(), now;

        e = cycle(r);
        say(r, e < 0 ? r->disk.why : "");
        if (e < 0)
            xvm_disk_close(&r->disk); /* a device that went away comes back as another one */
        now = xvm_now_ms();
        sleep_until(e < 0 && now + RETRY_MS > begun + o->interval_ms ? now + RETRY_MS
                                                                     : begun + o->interval_ms);
    }
    return XVM_DISK_OK;
}
