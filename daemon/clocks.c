/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every host says its time now and then. A message may be late, because somebody was busy: so
 * only what two of them in a row say counts. */
#include "clocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util.h"

enum {
    EVERY_MS = 20 * 1000,
    FIRST_MS = 2 * 1000,
    AGREE_MS = 300,
    OLD_MS = 3 * EVERY_MS,
};

struct known {
    ha_node node;
    bool once, twice; /* heard; heard the same twice */
    bool too_far;
    ha_ms raw, ms, heard;
};

struct xvm_clocks {
    struct xvm_talk *talk;
    ha_node self;
    xvm_clocks_news news;
    void *user;
    sd_event_source *timer;
    struct known known[HA_HOSTS_MAX];
    size_t n;
};

static ha_ms wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (ha_ms)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int on_timer(sd_event_source *source, uint64_t at, void *user)
{
    struct xvm_clocks *c = user;

    (void)at;
    xvm_talk_say(c->talk, "clock", json_pack("{s:I}", "ms", (json_int_t)wall_ms()));
    sd_event_source_set_time_relative(source, (uint64_t)EVERY_MS * 1000);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

static struct known *place(struct xvm_clocks *c, ha_node node)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->known[i].node == node)
            return &c->known[i];
    if (c->n == HA_HOSTS_MAX)
        return NULL;
    c->known[c->n] = (struct known){.node = node};
    return &c->known[c->n++];
}

static ha_ms size_of(ha_ms ms)
{
    return ms < 0 ? -ms : ms;
}

void xvm_clocks_heard(struct xvm_clocks *c, ha_node from, const char *kind, const json_t *body)
{
    const json_t *said = json_object_get(body, "ms");
    struct known *k;
    ha_ms raw;
    bool too_far;

    if (strcmp(kind, "clock") != 0 || from == c->self || !json_is_integer(said))
        return;
    k = place(c, from);
    if (k == NULL || size_of(json_integer_value(said)) > INT64_MAX / 4)
        return;
    raw = json_integer_value(said) - wall_ms();
    if (k->once && size_of(raw - k->raw) <= AGREE_MS) {
        k->twice = true;
        k->ms = size_of(raw) < size_of(k->raw) ? raw : k->raw;
        k->heard = xvm_now_ms();
    }
    k->once = true;
    k->raw = raw;
    too_far = k->twice && size_of(k->ms) > XVM_CLOCK_TOO_FAR_MS;
    if (too_far != k->too_far) {
        k->too_far = too_far;
        c->news(c->user, from, too_far, k->ms);
    }
}

bool xvm_clocks_of(const struct xvm_clocks *c, ha_node host, ha_ms *ret_ms)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct known *k = &c->known[i];

        if (k->node != host || !k->twice || xvm_now_ms() > k->heard + OLD_MS)
            continue;
        *ret_ms = k->ms;
        return true;
    }
    return false;
}

int xvm_clocks_new(sd_event *loop, struct xvm_talk *talk, ha_node self, xvm_clocks_news news,
                   void *user, struct xvm_clocks **ret_clocks)
{
    struct xvm_clocks *c = calloc(1, sizeof(*c));
    int r;

    if (c == NULL)
        return -ENOMEM;
    *c = (struct xvm_clocks){.talk = talk, .self = self, .news = news, .user = user};
    r = sd_event_add_time_relative(loop, &c->timer, CLOCK_BOOTTIME, (uint64_t)FIRST_MS * 1000, 0,
                                   on_timer, c);
    if (r < 0) {
        free(c);
        return r;
    }
    *ret_clocks = c;
    return 0;
}

struct xvm_clocks *xvm_clocks_free(struct xvm_clocks *c)
{
    if (c == NULL)
        return NULL;
    sd_event_source_disable_unref(c->timer);
    free(c);
    return NULL;
}
