/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xvm-ha-channel: one end of one migration's connection. Its command line, and which way the bytes
 * take: through the kernel's TLS, through the relay, or in the clear where an operator wrote so. */
#include "channel_internal.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char usage[] =
    "Usage: xvm-ha-channel send|receive --socket FD --stream FD --control FD --encryption tls|off\n"
    "       --cluster NAME --guest NAME --mig N --source NODE --target NODE [--key FILE]\n"
    "       [--rate BYTES] [--handshake MS] [--limit MS] [--relay]\n"
    "\n"
    "One end of the connection of a live migration; xvm-had starts it.\n";

enum {
    OPT_SOCKET = 256,
    OPT_STREAM,
    OPT_CONTROL,
    OPT_ENCRYPTION,
    OPT_CLUSTER,
    OPT_GUEST,
    OPT_MIG,
    OPT_SOURCE,
    OPT_TARGET,
    OPT_KEY,
    OPT_RATE,
    OPT_HANDSHAKE,
    OPT_LIMIT,
    OPT_RELAY,
};

static const struct option long_options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"stream", required_argument, NULL, OPT_STREAM},
    {"control", required_argument, NULL, OPT_CONTROL},
    {"encryption", required_argument, NULL, OPT_ENCRYPTION},
    {"cluster", required_argument, NULL, OPT_CLUSTER},
    {"guest", required_argument, NULL, OPT_GUEST},
    {"mig", required_argument, NULL, OPT_MIG},
    {"source", required_argument, NULL, OPT_SOURCE},
    {"target", required_argument, NULL, OPT_TARGET},
    {"key", required_argument, NULL, OPT_KEY},
    {"rate", required_argument, NULL, OPT_RATE},
    {"handshake", required_argument, NULL, OPT_HANDSHAKE},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"relay", no_argument, NULL, OPT_RELAY},
    {0},
};

static bool number(const char *text, uint64_t max, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || n > max)
        return false;
    *ret = n;
    return true;
}

static bool take_number(int c, uint64_t n, struct xvm_channel_options *o)
{
    if (c == OPT_SOCKET)
        o->socket = (int)n;
    else if (c == OPT_STREAM)
        o->stream = (int)n;
    else if (c == OPT_CONTROL)
        o->control = (int)n;
    else if (c == OPT_MIG)
        o->context.mig = n;
    else if (c == OPT_SOURCE)
        o->context.source = (ha_node)n;
    else if (c == OPT_TARGET)
        o->context.target = (ha_node)n;
    else if (c == OPT_RATE)
        o->rate = n;
    else if (c == OPT_HANDSHAKE)
        o->handshake_ms = (ha_ms)n;
    else if (c == OPT_LIMIT)
        o->limit_ms = (ha_ms)n;
    else
        return false;
    return true;
}

static bool take(int c, const char *text, struct xvm_channel_options *o)
{
    uint64_t max = c == OPT_MIG || c == OPT_RATE        ? UINT64_MAX
                   : c == OPT_SOURCE || c == OPT_TARGET ? UINT32_MAX
                                                        : INT32_MAX;
    uint64_t n;
    if (c == OPT_CLUSTER)
        o->context.cluster = text;
    else if (c == OPT_GUEST)
        o->context.guest = text;
    else if (c == OPT_KEY)
        o->authkey = text;
    else if (c == OPT_RELAY)
        o->kernel = false;
    else if (c == OPT_ENCRYPTION && (!strcmp(text, "tls") || !strcmp(text, "off")))
        o->tls = text[0] == 't';
    else
        return c != OPT_ENCRYPTION && c != '?' && number(text, max, &n) && take_number(c, n, o);
    return true;
}

static bool parse(int argc, char **argv, struct xvm_channel_options *o)
{
    bool ok = argc > 1 && (!strcmp(argv[1], "send") || !strcmp(argv[1], "receive"));
    int c;
    if (!ok)
        return false;
    o->send = argv[1][0] == 's';
    optind = 2;
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        ok = take(c, optarg, o) && ok;
    return ok && optind == argc && o->socket >= 0 && o->stream >= 0 && o->control >= 0 &&
           o->context.cluster && o->context.guest && o->context.mig && (!o->tls || o->authkey);
}

/* The worker has the socket itself. We only look on, and hold the socket no longer than the daemon
 * does: the end of a worker must be the end of the connection. */
static int look_on(const struct xvm_channel_options *o, struct xvm_control *control)
{
    close(o->stream);
    for (;;) {
        struct tcp_info info = {0};
        socklen_t len = sizeof(info);
        struct pollfd p = {.fd = control->fd};
        if (control->fd < 0)
            return XVM_CHANNEL_DONE;
        if (getsockopt(o->socket, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
            return XVM_CHANNEL_BROKEN;
        int wait = xvm_control_bytes(control, info.tcpi_bytes_acked, info.tcpi_bytes_received);
        if (control->fd >= 0 && poll(&p, 1, wait > 0 ? wait : 0) > 0)
            return XVM_CHANNEL_DONE;
    }
}

static int set_direct(const struct xvm_channel_options *o)
{
    uint64_t rate = o->rate;
    if (rate && setsockopt(o->socket, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate)) < 0) {
        uint32_t small = rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
        if (setsockopt(o->socket, SOL_SOCKET, SO_MAX_PACING_RATE, &small, sizeof(small)) < 0)
            return -errno;
    }
    return 0;
}

static int run_tls(const struct xvm_channel_options *o, struct xvm_control *control)
{
    struct xvm_tls tls = {0};
    char why[HA_TEXT_MAX] = "", words[64];
    bool broken = false;
    int code = xvm_tls_open(o, &tls, why);
    if (code != XVM_CHANNEL_DONE) {
        puts(why);
        fflush(stdout);
        xvm_tls_done(&tls);
        return code;
    }
    xvm_tls_words(&tls, words, sizeof(words));
    if (o->kernel && set_direct(o) == 0 && xvm_tls_to_kernel(&tls, o->socket, &broken)) {
        xvm_tls_done(&tls);
        if (broken) {
            puts("the kernel's TLS works in one direction only");
            return XVM_CHANNEL_FAILED;
        }
        xvm_control_say(control, "ready direct %s, in the kernel\n", words);
        return look_on(o, control);
    }
    xvm_control_say(control, "ready relay %s\n", words);
    code = xvm_relay(o, &tls, control);
    xvm_tls_done(&tls);
    return code;
}

static int run_clear(const struct xvm_channel_options *o, struct xvm_control *control)
{
    int r = set_direct(o);
    if (r < 0) {
        printf("the bandwidth cannot be limited: %s\n", strerror(-r));
        return XVM_CHANNEL_FAILED;
    }
    xvm_control_say(control, "ready direct not encrypted\n");
    return look_on(o, control);
}

int main(int argc, char **argv)
{
    struct xvm_channel_options o = {.tls = true,
                                    .kernel = true,
                                    .socket = -1,
                                    .stream = -1,
                                    .control = -1,
                                    .handshake_ms = 15000};
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return XVM_CHANNEL_USAGE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_DUMPABLE, 0); /* a core dump would hold the key */
    if (o.limit_ms > 0) {
        struct itimerval timer = {
            .it_value = {.tv_sec = o.limit_ms / 1000, .tv_usec = o.limit_ms % 1000 * 1000 + 1}};
        (void)setitimer(ITIMER_REAL, &timer, NULL);
    }
    struct xvm_control control = {.fd = o.control};
    return o.tls ? run_tls(&o, &control) : run_clear(&o, &control);
}
