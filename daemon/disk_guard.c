/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent reservations, by programs whose words are read back.
 *
 * Every operation is a loop: look at what the storage holds, make the one change that is missing,
 * look again. A change that failed is no reason to stop (another host's may have come first), and
 * one that was accepted is none to believe it. What is late harms nobody: the storage refuses to
 * preempt for a host that has been preempted itself. */
#include "disk_guard.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "guest_files.h"
#include "pidfd.h"

#define WERO "--prout-type=5" /* the type on the command line, and its name in what is printed */
#define WERO_NAME "Write Exclusive, registrants only"

enum {
    OUT_MAX = 8192,
    WORDS_MAX = 90,
    KEYS_MAX = 128,
    ROUNDS = KEYS_MAX + 32,
    FAILURES = 3,      /* changes in a row that changed nothing */
    ATTENTIONS = 6,    /* unit attentions in a row: one may wait for each thing that happened */
    ATTENTION_MS = 50,
    REAP_MS = 200,     /* after a kill; a process that the kernel holds is left behind */
    CODE_ATTENTION = 6, /* exit code of both programs */
    CODE_CONFLICT = 24, /* of sg_persist */
    CODE_CONFLICT_MPATH = 11,
};

struct disk {
    const struct xvm_guard *guard;
    const char *path, *program;
    bool multipath, no_abort;
    char words[WORDS_MAX]; /* the program's, of its latest failure */
};

struct state {
    uint64_t keys[KEYS_MAX];
    size_t nkeys;
    bool reserved, wero;
    uint64_t holder;
    char type[64];
};

static int fail(const struct disk *d, char why[static HA_TEXT_MAX], int r, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int fail(const struct disk *d, char why[static HA_TEXT_MAX], int r, const char *format, ...)
{
    char text[HA_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(why, HA_TEXT_MAX, "%.60s: %.*s", d->path, HA_TEXT_MAX - 64, text);
    return r;
}

static const char *name_of(const struct disk *d)
{
    const char *slash = strrchr(d->program, '/');
    return slash ? slash + 1 : d->program;
}

/* ------------------------------------------------------------------------------------- running */

static void become(const char *program, char *const *argv, pid_t parent, int out, int err)
{
    int null = open("/dev/null", O_RDONLY);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    /* It must not change anything after its worker has ended: that may have been for a lease. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(127);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(127);
    (void)close_range(3, ~0U, 0); /* a migration's channel, locks */
    execvp(program, argv);
    dprintf(2, "cannot run %s: %s\n", program, strerror(errno));
    _exit(127);
}

/* Waits for its end. 0 and *ret_status, or -ETIMEDOUT: it was killed. */
static int wait_for(pid_t pid, ha_ms limit_ms, int *ret_status)
{
    int fd = xvm_pidfd_open(pid);
    ha_ms end = xvm_boot_ms() + limit_ms, left;
    bool late = false;
    if (fd < 0)
        late = true;
    while (!late && (left = end - xvm_boot_ms()) > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)left) > 0)
            break;
    }
    late = late || waitpid(pid, ret_status, WNOHANG) != pid;
    if (late) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)kill(pid, SIGKILL);
        (void)poll(&p, fd < 0 ? 0 : 1, REAP_MS);
        (void)waitpid(pid, NULL, WNOHANG);
    }
    if (fd >= 0)
        close(fd);
    return late ? -ETIMEDOUT : 0;
}

static void text_of(int fd, char *to, size_t size)
{
    ssize_t n = pread(fd, to, size - 1, 0);
    to[n > 0 ? n : 0] = '\0';
    for (ssize_t i = 0; i < n; i++)
        if (!to[i])
            to[i] = ' ';
}

static int run(struct disk *d, char *const *argv, int out, int err)
{
    const struct xvm_guard *g = d->guard;
    ha_ms limit = g->call_ms > 0 ? g->call_ms : XVM_GUARD_CALL_MS;
    ha_ms left = g->deadline - xvm_boot_ms();
    int status = 0;
    if (left <= 0) {
        snprintf(d->words, sizeof(d->words), "there was no time left for it");
        return -ETIMEDOUT;
    }
    limit = left < limit ? left : limit;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(d->program, argv, parent, out, err);
    int r = pid < 0 ? -errno : wait_for(pid, limit, &status);
    if (r == -ETIMEDOUT)
        snprintf(d->words, sizeof(d->words),
                 "it did not answer within %" PRId64 ".%" PRId64 " s and was killed", limit / 1000,
                 limit % 1000 / 100);
    else if (r < 0)
        snprintf(d->words, sizeof(d->words), "%s", strerror(-r));
    if (r < 0)
        return r;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Runs the program on the disk. Its exit code, with what it printed; or a negative errno. */
static int call(struct disk *d, const char *const *args, size_t nargs, char out[static OUT_MAX])
{
    const char *argv[12] = {d->program};
    char said[1024] = "";
    size_t n = 1;
    int fds[2] = {memfd_create("out", MFD_CLOEXEC), memfd_create("err", MFD_CLOEXEC)};
    for (size_t i = 0; i < nargs; i++)
        argv[n++] = args[i];
    if (!d->multipath)
        argv[n++] = "--no-inquiry";
    argv[n++] = d->path;
    argv[n] = NULL;
    out[0] = '\0';
    d->words[0] = '\0';
    int r = fds[0] < 0 || fds[1] < 0 ? -ENOMEM : run(d, (char *const *)argv, fds[0], fds[1]);
    if (r >= 0) {
        text_of(fds[0], out, OUT_MAX);
        text_of(fds[1], said, sizeof(said));
        xvm_child_sanitise(said[0] ? said : out, d->words, sizeof(d->words));
    }
    for (size_t i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return r;
}

/* The same, passing over unit attentions: they tell of something else that happened. */
static int call_again(struct disk *d, const char *const *args, size_t nargs,
                      char out[static OUT_MAX])
{
    const struct timespec nap = {.tv_nsec = ATTENTION_MS * 1000000};
    int r = call(d, args, nargs, out);
    for (int i = 1; r == CODE_ATTENTION && i < ATTENTIONS; i++) {
        nanosleep(&nap, NULL);
        r = call(d, args, nargs, out);
    }
    return r;
}

/* ------------------------------------------------------------------------------------- reading */

/* "    0x1234" alone on its line. */
static bool key_line(const char *line, size_t len, uint64_t *ret)
{
    char text[32], *end = NULL;
    while (len && isspace((unsigned char)*line)) {
        line++;
        len--;
    }
    while (len && isspace((unsigned char)line[len - 1]))
        len--;
    if (len < 3 || len > 18 || line[0] != '0' || line[1] != 'x')
        return false;
    memcpy(text, line, len);
    text[len] = '\0';
    *ret = strtoull(text + 2, &end, 16);
    return !*end && isxdigit((unsigned char)text[2]);
}

/* How many keys it says there are; -EBADMSG: it does not say. */
static long count_of(const char *out)
{
    const char *generation = strstr(out, "PR generation=0x"), *key;
    if (!generation || !(key = strstr(generation, "registered reservation key")))
        return -EBADMSG;
    if (strstr(generation, "there are NO registered"))
        return 0;
    const char *digit = key;
    while (digit > generation && digit[-1] == ' ')
        digit--;
    const char *end = digit;
    while (digit > generation && isdigit((unsigned char)digit[-1]))
        digit--;
    return digit == end ? -EBADMSG : strtol(digit, NULL, 10);
}

static int parse_keys(const char *out, struct state *state)
{
    long count = count_of(out);
    state->nkeys = 0;
    for (const char *line = out; *line;) {
        size_t len = strcspn(line, "\n");
        uint64_t key;
        if (key_line(line, len, &key)) {
            if (state->nkeys == KEYS_MAX)
                return -EBADMSG;
            state->keys[state->nkeys++] = key;
        }
        line += len + (line[len] == '\n');
    }
    return count >= 0 && (size_t)count == state->nkeys ? 0 : -EBADMSG;
}

/* What follows `name` and a colon or an equals sign, up to the end of the line; NULL: not there. */
static const char *value_of(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    if (!at)
        return NULL;
    at += strlen(name);
    at += strspn(at, " ");
    if (*at != ':' && *at != '=')
        return NULL;
    at++;
    return at + strspn(at, " ");
}

static int parse_reservation(const char *out, struct state *state)
{
    const char *generation = strstr(out, "PR generation=0x"), *key, *type;
    char *end = NULL;
    if (!generation)
        return -EBADMSG;
    state->reserved = !strstr(generation, "there is NO reservation held");
    if (!state->reserved)
        return 0;
    if (!strstr(generation, "Reservation follows") || !(key = value_of(generation, "Key")) ||
        strncmp(key, "0x", 2) != 0 || !(type = value_of(key, "type")))
        return -EBADMSG;
    state->holder = strtoull(key + 2, &end, 16);
    if (end == key + 2)
        return -EBADMSG;
    size_t len = strcspn(type, "\n");
    while (len && isspace((unsigned char)type[len - 1]))
        len--;
    snprintf(state->type, sizeof(state->type), "%.*s", (int)len, type);
    state->wero = strcasecmp(state->type, WERO_NAME) == 0 && strstr(key, "LU_SCOPE");
    return 0;
}

static int ask(struct disk *d, const char *what, struct state *state,
               int (*parse)(const char *out, struct state *state), char why[static HA_TEXT_MAX])
{
    char out[OUT_MAX];
    const char *const args[] = {"--in", what};
    int r = call_again(d, args, 2, out);
    if (r < 0)
        return fail(d, why, r, "%s: %s", name_of(d), d->words);
    if (r > 0)
        return fail(d, why, -EIO,
                    "it does not answer to persistent reservations: %s says: %s (exit %d)",
                    name_of(d), d->words, r);
    if (parse(out, state) < 0) {
        xvm_child_sanitise(out, d->words, 60);
        return fail(d, why, -EBADMSG, "what %s says of it makes no sense: `%.60s`", name_of(d),
                    d->words);
    }
    return 0;
}

static int look(struct disk *d, struct state *state, char why[static HA_TEXT_MAX])
{
    *state = (struct state){0};
    int r = ask(d, "--read-keys", state, parse_keys, why);
    return r < 0 ? r : ask(d, "--read-reservation", state, parse_reservation, why);
}

static bool same(const struct state *a, const struct state *b)
{
    return a->nkeys == b->nkeys && !memcmp(a->keys, b->keys, a->nkeys * sizeof(a->keys[0])) &&
           a->reserved == b->reserved && a->holder == b->holder;
}

static size_t times(const struct state *state, uint64_t key)
{
    size_t n = 0;
    for (size_t i = 0; i < state->nkeys; i++)
        n += state->keys[i] == key;
    return n;
}

/* A key that is not this host's: first the one that holds the reservation, which then changes hands
 * without a gap. */
static const uint64_t *foreign(const struct state *state, uint64_t own)
{
    const uint64_t *found = NULL;
    for (size_t i = 0; i < state->nkeys; i++)
        if (state->keys[i] != own &&
            (!found || (state->reserved && state->keys[i] == state->holder)))
            found = &state->keys[i];
    return found;
}

/* ------------------------------------------------------------------------------------ changing */

/* 0: it was done; 1: the storage did not do it, look what is now; or a negative errno. */
static int change(struct disk *d, const char *what, uint64_t rk, uint64_t sark,
                  char why[static HA_TEXT_MAX])
{
    const struct xvm_guard *g = d->guard;
    char out[OUT_MAX], rk_text[40], sark_text[40];
    const char *stop = g->refuse ? g->refuse(g->user) : NULL;
    const char *const args[] = {"--out", what, rk_text, sark_text, WERO};
    snprintf(rk_text, sizeof(rk_text), "--param-rk=%" PRIx64, rk);
    snprintf(sark_text, sizeof(sark_text), "--param-sark=%" PRIx64, sark);
    if (stop)
        return fail(d, why, -ECANCELED, "%s", stop);
    bool typed = strcmp(what, "--register-ignore") != 0;
    int r = call_again(d, args, typed ? 5 : 4, out);
    if (r == 0)
        return 0;
    if (r == 127)
        r = -ENOENT;
    (void)fail(d, why, r, "%s %s: %s", name_of(d), what, d->words);
    return r < 0 ? r : r == CODE_CONFLICT || r == CODE_CONFLICT_MPATH ? 1 : 2;
}

static int register_here(struct disk *d, char why[static HA_TEXT_MAX])
{
    return change(d, "--register-ignore", 0, d->guard->key, why);
}

static int unregister(struct disk *d, char why[static HA_TEXT_MAX])
{
    return change(d, "--register-ignore", d->guard->key, 0, why);
}

/* With what that key has under way, if the storage knows how to: a write of a host that hung must
 * not come after those of the one that follows it. */
static int preempt(struct disk *d, uint64_t other, char why[static HA_TEXT_MAX])
{
    int r = d->no_abort ? 2 : change(d, "--preempt-abort", d->guard->key, other, why);
    if (r == 2) {
        d->no_abort = true;
        r = change(d, "--preempt", d->guard->key, other, why);
    }
    return r;
}

static int reserve(struct disk *d, char why[static HA_TEXT_MAX])
{
    return change(d, "--reserve", d->guard->key, 0, why);
}

static int other_type(const struct disk *d, const struct state *state, char why[static HA_TEXT_MAX])
{
    return fail(d, why, -EBUSY,
                "it is reserved in another way (`%.40s`, key 0x%" PRIx64
                "): free it with `%s --out --clear`",
                state->type, state->holder, name_of(d));
}

static bool open_disk(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                      struct disk *ret_disk, char why[static HA_TEXT_MAX])
{
    *ret_disk = (struct disk){.guard = guard, .path = path};
    ret_disk->multipath = kind == XVM_GUARD_MULTIPATH;
    if (ret_disk->multipath)
        ret_disk->program = guard->mpathpersist ? guard->mpathpersist : "mpathpersist";
    else
        ret_disk->program = guard->sg_persist ? guard->sg_persist : "sg_persist";
    if (kind == XVM_GUARD_NONE)
        (void)fail(ret_disk, why, -ENODEV, "no reservation can be held on it");
    return kind != XVM_GUARD_NONE;
}

/* The same, and what the storage holds, which must not be reserved in another way. */
static int open_look(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                     struct disk *ret_disk, struct state *ret_state, char why[static HA_TEXT_MAX])
{
    if (!open_disk(guard, path, kind, ret_disk, why))
        return -ENODEV;
    int r = look(ret_disk, ret_state, why);
    if (!r && ret_state->reserved && !ret_state->wero)
        r = other_type(ret_disk, ret_state, why);
    return r;
}

/* --------------------------------------------------------------------------------- operations */

int xvm_guard_probe(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                    char why[static HA_TEXT_MAX])
{
    struct disk d;
    struct state state;
    return open_disk(guard, path, kind, &d, why) ? look(&d, &state, why) : -ENODEV;
}

/* The next change on the way to holding it alone. 0: none is missing; 1: it was tried; or a
 * negative errno. `ghosts`: whether to remove this host's key where it is registered for an earlier
 * connection of it. */
static int hold_step(struct disk *d, const struct state *state, bool *ghosts, bool *ret_failed,
                     char why[static HA_TEXT_MAX])
{
    uint64_t own = d->guard->key;
    const uint64_t *other = foreign(state, own);
    int r;
    if (state->reserved && !state->wero)
        return other_type(d, state, why);
    if (!times(state, own)) {
        r = register_here(d, why);
    } else if (other) {
        r = preempt(d, *other, why);
    } else if (times(state, own) > 1 && !d->multipath && *ghosts) {
        *ghosts = false; /* once: if the storage leaves them, they are this host's all the same */
        r = preempt(d, own, why);
        r = r > 0 ? 0 : r;
    } else if (!state->reserved) {
        r = reserve(d, why);
    } else if (state->holder == own) {
        return 0;
    } else {
        return fail(d, why, -EBADMSG, "key 0x%" PRIx64 " holds it and is not registered",
                    state->holder);
    }
    *ret_failed = r > 0;
    return r < 0 ? r : 1;
}

int xvm_guard_hold(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                   char why[static HA_TEXT_MAX])
{
    struct disk d;
    struct state state, before = {.nkeys = KEYS_MAX};
    bool ghosts = true;
    int idle = 0;
    if (!open_disk(guard, path, kind, &d, why))
        return -ENODEV;
    /* Even if the key is there: it may be there for an earlier connection of this host. */
    int r = register_here(&d, why);
    if (r)
        return r < 0 ? r : -EIO;
    for (int i = 0; i < ROUNDS && idle < FAILURES; i++) {
        char failure[HA_TEXT_MAX];
        bool failed = false;
        r = look(&d, &state, why);
        if (r < 0)
            return r;
        idle = same(&state, &before) ? idle + 1 : 0;
        before = state;
        r = hold_step(&d, &state, &ghosts, &failed, failure);
        if (r <= 0) {
            if (r < 0)
                memcpy(why, failure, HA_TEXT_MAX);
            return r;
        }
        if (failed)
            memcpy(why, failure, HA_TEXT_MAX);
        else
            (void)fail(&d, why, 0, "the storage does not do what it says it did");
    }
    return -EIO;
}

int xvm_guard_join(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                   char why[static HA_TEXT_MAX])
{
    struct disk d;
    struct state state;
    int r = open_look(guard, path, kind, &d, &state, why);
    if (r < 0)
        return r;
    r = register_here(&d, why);
    if (r)
        return r < 0 ? r : -EIO;
    r = look(&d, &state, why);
    if (r < 0)
        return r;
    if (!times(&state, guard->key))
        return fail(&d, why, -EIO, "key 0x%" PRIx64 " was registered and is not there", guard->key);
    return state.reserved && !state.wero ? other_type(&d, &state, why) : 0;
}

int xvm_guard_adopt(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                    char why[static HA_TEXT_MAX])
{
    struct disk d;
    struct state state;
    int r = open_look(guard, path, kind, &d, &state, why);
    if (r < 0)
        return r;
    if (state.reserved && state.holder != guard->key)
        return fail(&d, why, -EBUSY, "key 0x%" PRIx64 " holds it, and is left alone", state.holder);
    r = register_here(&d, why);
    if (!r && !state.reserved)
        r = reserve(&d, why);
    if (r)
        return r < 0 ? r : -EIO;
    r = look(&d, &state, why);
    if (r < 0)
        return r;
    const uint64_t *other = foreign(&state, guard->key);
    if (!times(&state, guard->key) || !state.wero || state.holder != guard->key)
        return fail(&d, why, -EBUSY, "it could not be reserved");
    if (!other)
        return 0;
    return fail(&d, why, -EBUSY, "key 0x%" PRIx64 " may write to it, too, and is left alone",
                *other);
}

int xvm_guard_leave(const struct xvm_guard *guard, const char *path, enum xvm_guard_kind kind,
                    char why[static HA_TEXT_MAX])
{
    struct disk d;
    struct state state;
    bool ghosts = true;
    if (!open_disk(guard, path, kind, &d, why))
        return -ENODEV;
    for (int i = 0; i < FAILURES; i++) {
        int r = look(&d, &state, why);
        if (r < 0)
            return r;
        size_t mine = times(&state, guard->key);
        if (!mine)
            return 0;
        if (foreign(&state, guard->key) && state.reserved && state.holder == guard->key)
            return 0;
        if (mine > 1 && !d.multipath && ghosts) {
            ghosts = false;
            /* Only who is registered may preempt, be it his own key. */
            r = register_here(&d, why);
            if (!r)
                r = preempt(&d, guard->key, why);
        }
        if (r >= 0)
            r = unregister(&d, why);
        if (r < 0)
            return r;
        if (!r)
            (void)fail(&d, why, 0, "key 0x%" PRIx64 " stays registered", guard->key);
    }
    return -EIO;
}

/* ------------------------------------------------------------------------------------- devices */

uint64_t xvm_guard_key(const char *cluster, ha_node node)
{
    uint32_t hash = 2166136261u;
    for (const char *c = cluster; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return (uint64_t)hash << 32 | node;
}

static bool has(const char *sysfs, unsigned major, unsigned minor, const char *what, char *text,
                size_t size)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/dev/block/%u:%u/%s", sysfs, major, minor, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return true;
}

enum xvm_guard_kind xvm_guard_kind_of(const struct xvm_guard *guard, unsigned major, unsigned minor,
                                      char why[static HA_TEXT_MAX])
{
    const char *sysfs = guard->sysfs ? guard->sysfs : "/sys";
    char text[128];
    if (has(sysfs, major, minor, "partition", text, sizeof(text))) {
        snprintf(why, HA_TEXT_MAX, "it is a partition, and a reservation is for the whole disk");
        return XVM_GUARD_NONE;
    }
    if (has(sysfs, major, minor, "dm/uuid", text, sizeof(text))) {
        if (!strncmp(text, "mpath-", 6))
            return XVM_GUARD_MULTIPATH;
        snprintf(why, HA_TEXT_MAX, "it is made by the device mapper (%.20s) of other disks", text);
        return XVM_GUARD_NONE;
    }
    if (has(sysfs, major, minor, "device/scsi_level", text, sizeof(text)))
        return XVM_GUARD_SCSI;
    snprintf(why, HA_TEXT_MAX, "it is no SCSI disk");
    return XVM_GUARD_NONE;
}

enum xvm_guard_kind xvm_guard_kind(const struct xvm_guard *guard, const char *path,
                                   char why[static HA_TEXT_MAX])
{
    struct stat st;
    if (stat(path, &st) < 0) {
        snprintf(why, HA_TEXT_MAX, "%s", strerror(errno));
        return XVM_GUARD_NONE;
    }
    if (!S_ISBLK(st.st_mode)) {
        snprintf(why, HA_TEXT_MAX, "it is not a block device");
        return XVM_GUARD_NONE;
    }
    return xvm_guard_kind_of(guard, major(st.st_rdev), minor(st.st_rdev), why);
}

/* --------------------------------------------------------------------------------- the record */

int xvm_guard_add(struct xvm_guard_record *record, const char *path)
{
    if (strlen(path) >= XVM_GUARD_PATH_MAX)
        return -ENAMETOOLONG;
    if (path[0] != '/' || strchr(path, '\n'))
        return -EINVAL;
    if (record->n == XVM_GUARD_DISKS_MAX)
        return -ENOSPC;
    strcpy(record->disks[record->n++], path);
    return 0;
}

int xvm_guard_write(int dir, const struct xvm_guard_record *record)
{
    char text[XVM_GUARD_DISKS_MAX * (XVM_GUARD_PATH_MAX + 1) + 128];
    int n = snprintf(text, sizeof(text), "guard 1 %" PRIx64 " %" PRIu64 " %s\n", record->key,
                     record->inc, record->adopted ? "adopted" : "held");
    for (size_t i = 0; i < record->n; i++)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s\n", record->disks[i]);
    snprintf(text + n, sizeof(text) - (size_t)n, "end\n");
    return xvm_text_replace(dir, XVM_GUARD_FILE, text);
}

int xvm_guard_read(int dir, const char *file, struct xvm_guard_record *ret_record)
{
    char text[XVM_GUARD_DISKS_MAX * (XVM_GUARD_PATH_MAX + 1) + 128], how[16];
    struct xvm_guard_record record = {0};
    int end = 0, r = xvm_text_read(dir, file, text, sizeof(text));
    if (r < 0)
        return r;
    if (sscanf(text, "guard 1 %" SCNx64 " %" SCNu64 " %15s\n%n", &record.key, &record.inc, how,
               &end) != 3 ||
        !end || (strcmp(how, "adopted") != 0 && strcmp(how, "held") != 0) || !record.key)
        return -EBADMSG;
    record.adopted = !strcmp(how, "adopted");
    char *line = text + end;
    while (strcmp(line, "end\n") != 0) {
        size_t len = strcspn(line, "\n");
        if (line[len] != '\n')
            return -EBADMSG;
        line[len] = '\0';
        if (xvm_guard_add(&record, line) < 0)
            return -EBADMSG;
        line += len + 1;
    }
    *ret_record = record;
    return 0;
}
