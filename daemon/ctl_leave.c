/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `xvmhactl leave`: what a host does before it goes down. Returns when nothing of any guest is left
 * here, the others know that, and the watchdog is disarmed; or when its time is over. systemd waits
 * for it before it stops what guests and cluster need, so nothing may keep it longer: not a daemon
 * that is dead or stuck, not a cluster without quorum, not a console that nobody reads. */
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"

enum {
    POLL_MS = 250,
    LIMIT_S = 600,         /* until the daemon has told how long it may take */
    CALL_S = 5,            /* for one answer */
    AWAY_MS = 10 * 1000,   /* the daemon does not run: it may be just starting anew */
    STUCK_MS = 30 * 1000,  /* it does not answer */
    ALONE_MS = 10 * 1000,  /* no quorum, and nothing is here any more */
    GRACE_S = 20,          /* over the limit: then this process ends, wherever it hangs */
};

struct left {
    bool frozen, going, leaving, quorate, out, empty, armed;
    long long guests;         /* that the cluster has on this host */
    long long under_way;      /* of these, that move or stop already */
    long long left_ms;        /* of the daemon's time; 0: it has not begun */
    long long hosts, stay;    /* all of them; members that do not go down */
    char waits_for[64];       /* another host that goes down, too, and still has guests; "": none */
};

struct leaving {
    struct ctl *ctl;
    struct left left;
    long long begun, until;         /* ms */
    long long silent_since;         /* the daemon has not answered since; 0: it does */
    long long alone_since;          /* empty, and without quorum */
    char told[200];                 /* last line of progress */
};

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void look_at_host(const json_t *host, bool self, struct left *left)
{
    bool in = strcmp(ctl_string(host, "state"), "in") == 0;

    left->hosts++;
    left->stay += in && !self && ctl_bool(host, "daemon") && !ctl_bool(host, "goes_down");

    if (self) {
        left->out = strcmp(ctl_string(host, "state"), "out") == 0;
        left->guests = ctl_int(host, "guests");
        left->under_way = ctl_int(host, "guests_leaving");
    } else if (in && ctl_bool(host, "goes_down") && ctl_bool(host, "daemon") &&
               ctl_int(host, "guests") > 0) {
        snprintf(left->waits_for, sizeof(left->waits_for), "%s", ctl_string(host, "name"));
    }
}

static int look(const struct ctl *ctl, struct left *ret_left)
{
    json_t *status = NULL;
    const json_t *host;
    size_t i;
    int r = ctl_call(ctl, "org.xvmha.Status", NULL, &status);

    if (r != CTL_OK)
        return r;
    *ret_left = (struct left){.frozen = ctl_bool(status, "frozen"),
                              .going = ctl_bool(status, "going_down"),
                              .leaving = ctl_bool(status, "leaving"),
                              .quorate = ctl_bool(status, "quorate"),
                              .empty = ctl_bool(status, "empty"),
                              .armed = ctl_bool(status, "armed"),
                              .left_ms = ctl_int(status, "going_down_left_ms")};
    json_array_foreach(json_object_get(status, "hosts"), i, host)
        look_at_host(host, strcmp(ctl_string(host, "name"), ctl_string(status, "self")) == 0,
                     ret_left);
    /* A cluster that was never founded, or never had this host, misses nothing. */
    ret_left->out |= !ctl_bool(status, "founded");
    /* Those that stay have quorum without this host: nobody needs its vote. */
    if (2 * ret_left->stay > ret_left->hosts)
        ret_left->waits_for[0] = '\0';
    json_decref(status);
    return CTL_OK;
}

static void set_limit(struct leaving *l, long long until)
{
    l->until = until;
    alarm((unsigned)((until - now_ms()) / 1000 + GRACE_S));
}

static int ask(struct leaving *l)
{
    json_t *answer = NULL, *params = json_object();
    int r;

    if ((l->ctl->given & OPT_TIMEOUT) != 0)
        json_object_set_new(params, "timeout_ms", json_integer(l->until - now_ms()));
    r = ctl_call(l->ctl, "org.xvmha.Leave", params, &answer);
    json_decref(answer);
    return r;
}

static int too_late(const struct leaving *l)
{
    const struct left *left = &l->left;
    char text[400];

    snprintf(text, sizeof(text),
             "this host has not left after %lld s: %s%s. Going down now, it counts as lost: the "
             "others fence it, or wait for its watchdog, before they start what it ran",
             (now_ms() - l->begun) / 1000,
             !left->empty ? "guests are still here"
             : !left->out ? "the cluster has not taken its goodbye (has it quorum?)"
                          : "nothing is left here",
             left->armed ? ", its watchdog is armed" : "");
    ctl_put_error(l->ctl, text);
    return CTL_TIMEOUT;
}

/* Without the daemon nobody else would ask the guests to shut down, xendomains neither: better by
 * xl than pulled out. All domains are meant, for the host goes down under all of them. */
static void shut_down_alone(const struct leaving *l)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000L * 1000};
    const char *xl = getenv("XVM_HA_XL");
    static char name[] = "xl", verb[] = "shutdown", all[] = "-a", wait[] = "-w", acpi[] = "-F";
    char *argv[] = {name, verb, all, wait, acpi, NULL};
    pid_t pid;

    if (xl == NULL && access("/dev/xen/privcmd", F_OK) == 0)
        xl = "xl";
    if (xl == NULL || posix_spawnp(&pid, xl, NULL, NULL, argv, environ) != 0)
        return;
    fprintf(stderr, "xvm-had does not answer: `xl shutdown -a -w -F`; at most %lld s more\n",
            (l->until - now_ms()) / 1000);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        nanosleep(&pause, NULL);
        if (now_ms() < l->until)
            continue;
        kill(pid, SIGKILL);
        return; /* it may be unkillable just now: nobody waits for it */
    }
}

/* The daemon is not there, or is stuck. CTL_OK: it is waited for. */
static int silent(struct leaving *l, int why)
{
    long long now = now_ms();
    char text[400];

    if (why != CTL_NO_DAEMON && why != CTL_TIMEOUT)
        return why; /* what went wrong is said already */
    if (l->silent_since == 0)
        l->silent_since = now;
    if (now - l->silent_since < (why == CTL_NO_DAEMON ? AWAY_MS : STUCK_MS) && now < l->until)
        return CTL_OK;
    if ((l->ctl->given & OPT_FORCE) != 0)
        shut_down_alone(l);
    snprintf(text, sizeof(text),
             "xvm-had %s: this host goes down as it is. Its guests end with it, and it counts as "
             "lost: the others fence it, or wait for its watchdog, before they start them",
             why == CTL_NO_DAEMON ? "does not run here" : "does not answer, it is stuck");
    ctl_put_error(l->ctl, text);
    return why;
}

static void tell(struct leaving *l)
{
    const struct left *left = &l->left;
    char text[200];

    if (left->waits_for[0] != '\0' && left->out)
        snprintf(text, sizeof(text), "this host has left; %s goes down, too, and needs its vote",
                 left->waits_for);
    else if (!left->quorate && left->empty)
        snprintf(text, sizeof(text), "nothing is here any more; without quorum nobody hears that");
    else
        snprintf(text, sizeof(text), "%s: %lld guests are here, %lld of them under way",
                 left->leaving ? "leaving, what is here is shut down" : "guests move away",
                 left->guests, left->under_way);
    if (strcmp(text, l->told) == 0)
        return;
    fprintf(stderr, "%s; at most %lld s more\n", text, (l->until - now_ms()) / 1000);
    snprintf(l->told, sizeof(l->told), "%s", text);
}

/* One look. True: it is over, *ret_exit says how. */
static bool step(struct leaving *l, int *ret_exit)
{
    const struct left *left = &l->left;
    long long now;

    *ret_exit = look(l->ctl, &l->left);
    now = now_ms();
    if (*ret_exit == CTL_OK && left->frozen && !left->armed) { /* nobody may touch its guests */
        ctl_put_wrapped(l->ctl, STYLE_PLAIN,
                        "the cluster is frozen: this host goes down as it is; what becomes of its "
                        "guests is seen to after `xvmhactl thaw`",
                        0, 0);
        return true;
    }
    if (*ret_exit == CTL_OK && !left->going) /* the first time, or another daemon */
        *ret_exit = ask(l);
    if (*ret_exit != CTL_OK)
        return (*ret_exit = silent(l, *ret_exit)) != CTL_OK;
    l->silent_since = 0;
    if (left->left_ms > 0 && (l->ctl->given & OPT_TIMEOUT) == 0)
        set_limit(l, now + left->left_ms);
    if (!left->going)
        return false;
    tell(l);
    if (left->out && left->empty && !left->armed && left->waits_for[0] == '\0') {
        ctl_put_wrapped(l->ctl, STYLE_PLAIN, "this host has left: it may go down", 0, 0);
        return true;
    }
    if (left->quorate || !left->empty || left->out)
        l->alone_since = now;
    if (now < l->until && now - l->alone_since < ALONE_MS)
        return false;
    if (left->out && left->empty && !left->armed)
        return true; /* the others had their time */
    *ret_exit = too_late(l);
    return true;
}

int ctl_leave(struct ctl *ctl, const struct ctl_command *command, char **args, int nargs)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000L * 1000};
    struct leaving l = {.ctl = ctl, .begun = now_ms(), .alone_since = now_ms()};
    int limit_s = (ctl->given & OPT_TIMEOUT) != 0 ? ctl->timeout_s : LIMIT_S, r;

    (void)command;
    (void)args;
    (void)nargs;
    ctl->quiet = true;
    ctl->patience_s = limit_s < CALL_S ? limit_s : CALL_S;
    set_limit(&l, l.begun + limit_s * 1000LL);
    while (!step(&l, &r))
        nanosleep(&pause, NULL);
    alarm(0);
    return r;
}
