/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A control socket with a fake core behind it, for test_ctl.sh: ctl_server SOCKET
 * [good|bad|alone|unheard|new]. Commands work on the fake: a started guest runs a second later, a stopped
 * one is gone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../daemon/ipc.h"
#include "fake_core.h"

struct server {
    sd_event *loop;
    struct xvm_ipc *ipc;
    struct ha core;
    bool no_core;
    struct ha_guest_status *busy;
    ha_node arrives_at;
};

static const struct ha *get_core(void *user)
{
    struct server *s = user;

    return s->no_core ? NULL : &s->core;
}

static ha_ms get_now(void *user)
{
    (void)user;
    return 1000;
}

static void on_leave(void *user, ha_ms limit_ms)
{
    (void)user;
    (void)limit_ms;
}

static const struct ha_config *get_config(void *user)
{
    (void)user;
    return fake_config();
}

static int on_reload(void *user, uint64_t client, char **ret_text)
{
    (void)client;
    struct server *s = user;

    if (s->core.status.quorate) {
        *ret_text = strdup("configuration reloaded: 3 hosts, 5 guests");
        return 0;
    }
    *ret_text = strdup("/etc/xvm-ha.yaml:3:1: unknown key `hsots` in the file, expected `hosts`?\n"
                       "/etc/xvm-ha.yaml:9:4: `id` is `x`, expected a whole number");
    return -EINVAL;
}

static int on_arrival(sd_event_source *source, uint64_t usec, void *user)
{
    struct server *s = user;

    (void)source;
    (void)usec;
    s->busy->owner = s->arrives_at;
    s->busy->state = s->arrives_at != 0 ? HA_GUEST_RUNNING : HA_GUEST_FREE;
    s->busy->target = 0;
    return 0;
}

static void begin(struct server *s, struct ha_guest_status *guest, ha_node arrives_at)
{
    uint64_t now;

    s->busy = guest;
    s->arrives_at = arrives_at;
    sd_event_now(s->loop, CLOCK_MONOTONIC, &now);
    sd_event_add_time(s->loop, NULL, CLOCK_MONOTONIC, now + 1200000, 0, on_arrival, s);
}

static void act(struct server *s, const struct ha_request *r, struct ha_guest_status *guest,
                char *text, size_t size)
{
    if (r->command == HA_CMD_START) {
        guest->enabled = guest->want_run = true;
        guest->failed = false;
        guest->state = HA_GUEST_STARTING;
        guest->owner = 2;
        begin(s, guest, 2);
        snprintf(text, size, "%s will be started", guest->name);
    } else if (r->command == HA_CMD_STOP) {
        guest->want_run = false;
        begin(s, guest, 0);
        snprintf(text, size, "%s will be shut down", guest->name);
    } else if (r->command == HA_CMD_DISABLE) {
        guest->enabled = false;
        begin(s, guest, 0);
        snprintf(text, size, "%s is disabled", guest->name);
    } else if (r->command == HA_CMD_MOVE) {
        guest->state = HA_GUEST_MIGRATING;
        guest->target = 3;
        begin(s, guest, 3);
        snprintf(text, size, "%s moves to host3 (%s)", guest->name, r->text[0] ? r->text : "live");
    } else {
        snprintf(text, size, "noted: %s", guest->name);
    }
}

static void on_command(void *user, const struct ha_request *r)
{
    struct server *s = user;
    char text[HA_TEXT_MAX];

    if (!s->core.status.quorate) {
        xvm_ipc_reply(s->ipc, r->client, -EAGAIN, "no quorum: 1 of 3 hosts is here");
        return;
    }
    if (strcmp(r->guest, "build") == 0 && r->command == HA_CMD_CLEAR) {
        xvm_ipc_reply(s->ipc, r->client, -ETIMEDOUT, "no answer from the coordinator");
        return;
    }
    if (strcmp(r->guest, "build") == 0 && r->command == HA_CMD_ENABLE)
        _exit(0); /* dies with the command in its hands */
    if (strcmp(r->guest, "new-one") == 0) {
        xvm_ipc_reply(s->ipc, r->client, -EBUSY, "new-one is already moving");
        return;
    }
    snprintf(text, sizeof(text), "noted, %s: %s", r->who, r->host);
    for (size_t i = 0; i < s->core.status.nguests; i++) {
        if (strcmp(s->core.guests[i].name, r->guest) == 0)
            act(s, r, &s->core.guests[i], text, sizeof(text));
    }
    xvm_ipc_reply(s->ipc, r->client, 0, text);
}

static void alone(struct ha *core)
{
    core->status.quorate = core->status.synced = false;
    core->status.waiting = true;
    core->status.phase = HA_PHASE_EXCHANGE;
    core->status.coordinator = 0;
    core->hosts[0].coordinator = false;
    strcpy(core->status.sentence,
           "waiting for quorum: only host2 is here, host1 and host3 are missing; its guests were "
           "stopped when the lease ran out");
    for (size_t i = 0; i < 3; i += 2)
        core->hosts[i].member = core->hosts[i].daemon = core->hosts[i].synced = false;
    core->hosts[1].synced = false;
}

/* Corosync stands still; the lease is over, and the guest that was here with it. */
static void unheard(struct ha *core)
{
    core->status.unheard = core->status.lapsed = true;
    core->status.lease_until = 0;
    strcpy(core->status.sentence, "cut off: nothing is heard from the other hosts");
    core->guests[3].ended = true;
}

int main(int argc, char **argv)
{
    struct server s = {0};
    const char *day = argc > 2 ? argv[2] : "good";
    struct ha_error error;

    if (argc < 2 || sd_event_new(&s.loop) < 0)
        return 2;
    fake_core_init(&s.core);
    if (strcmp(day, "bad") == 0)
        fake_core_bad_day(&s.core);
    else if (strcmp(day, "alone") == 0)
        alone(&s.core);
    else if (strcmp(day, "unheard") == 0)
        unheard(&s.core);
    s.no_core = strcmp(day, "new") == 0;
    if (xvm_ipc_new(&(struct xvm_ipc_env){.loop = s.loop,
                                          .socket_path = argv[1],
                                          .user = &s,
                                          .core = get_core,
                                          .now = get_now,
                                          .command = on_command,
                                          .reload = on_reload, .leave = on_leave,
                                          .config = get_config},
                    &s.ipc, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    xvm_ipc_report(s.ipc, HA_REPORT_OPEN, HA_SEV_INFO, "host1", NULL,
                   "host1 is coordinator of epoch 7");
    xvm_ipc_report(s.ipc, HA_REPORT_HOST_LOST, HA_SEV_WARNING, "host3", NULL,
                   "host3 is lost: its keeper left the ring");
    xvm_ipc_report(s.ipc, HA_REPORT_GUEST_FAILED, HA_SEV_ALERT, "host2", "web2",
                   "three restarts within 10 minutes, the last one ended with a crash of the guest "
                   "kernel: it stays down until `xvmhactl clear web2`");
    puts("ready");
    fflush(stdout);
    return sd_event_loop(s.loop) < 0;
}
