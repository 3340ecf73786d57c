/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The messages of the daemons' group, as bytes and as structs. Header: u16 magic, u8 major, u8 minor,
 * u8 kind, u64 instance, uuid boot. A different major is void; within a major fields and kinds are only
 * ever added at the end, and unknown ones are passed over. */
#ifndef HA_MSG_H
#define HA_MSG_H

#include "facts.h"
#include "ha.h"
#include "types.h"
#include "wire.h"

enum { HA_MSG_MAJOR = 1, HA_MSG_MINOR = 0, HA_CHUNK = 40 * 1024 };

enum ha_msg_kind {
    HA_MSG_REPORT = 1, /* each member, on every new view */
    HA_MSG_OPEN,       /* a candidate */
    HA_MSG_AGAIN,      /* any member: start a new exchange */
    HA_MSG_ACK,        /* after fsync, cumulative */
    HA_MSG_FACT,       /* the coordinator: a batch of facts */
    HA_MSG_TELL,       /* host to coordinator */
    HA_MSG_FETCH,      /* give me the log from my stable index on */
    HA_MSG_CHUNK,      /* a piece of the answer */
    HA_MSG_CHAIR,      /* the coordinator lives */
    HA_MSG_ASK,        /* an operator's command, to the coordinator */
    HA_MSG_ANSWER,     /* and back */
    HA_MSG_TRANSFER,   /* how a transfer goes: for people, not for decisions */
    HA_MSG_KNOWS,      /* the guests of the facts that a member's configuration has: epoch, u32 n,
                          a bit for each; its looks count for these only */
};

/* A view: one exchange within a ring. k is 0 for a new ring, else the nonce of the `again` that
 * started it. */
struct ha_view_id {
    struct ha_ring ring;
    uint64_t k;
};

struct ha_msg_head {
    enum ha_msg_kind kind;
    uint64_t instance;
    struct ha_uuid boot;
};

struct ha_msg_report {
    struct ha_view_id view;
    struct ha_uuid machine, journal, cluster;
    struct ha_epoch promised;
    struct ha_key key;
    uint64_t hash;
    uint32_t tbl;
    uint16_t fact_kinds; /* how many kinds of facts this version knows */
    bool inventory;      /* known */
    bool armed;
    bool keeper;
    bool no_journal;     /* it cannot be written: this member acknowledges nothing */
    bool synced_last;    /* was synced in the last open view of this corosync life (rule 26) */
    bool leaving;
    bool frozen;         /* acts on a freeze, its watchdog is disarmed */
    bool last;           /* last part of a report that needed several messages */
    uint64_t memory_kib;
    uint64_t config_hash;
    ha_ms lease_ms, watchdog_ms; /* the X and W it works by */
    uint32_t nguests;    /* guests its facts know: about these its copies are complete */
    uint64_t look;       /* its latest look began when the facts up to this index were stable there */
    uint32_t ncopies;    /* in this part; read with ha_msg_get_copy */
};

/* What a keeper knew of a cut life when its daemon acknowledged (rule 21). */
struct ha_cut_age {
    ha_node node;
    struct ha_uuid boot;
    bool seen; /* a beat of that life was ever seen */
    bool armed;
    ha_ms age_ms;
    uint32_t tbl;
    ha_ms lease_ms, watchdog_ms;
};

enum ha_tell_kind {
    HA_TELL_RUNNING = 1,
    HA_TELL_STOPPED,    /* domains, workers and backends of inc are gone; how: ha_release */
    HA_TELL_PREPARED,   /* mig */
    HA_TELL_MIG_FAILED, /* mig */
    HA_TELL_FENCE,      /* host, boot, loss, level, ok */
    HA_TELL_LEAVING,    /* this host is going down; how: HA_LEAVING_NOW or SOON */
    HA_TELL_COPY,       /* a copy this host does not own is here: inc on it; how: its state */
    HA_TELL_GONE,       /* and now it is not */
    HA_TELL_VACATED,    /* the source of a committed migration: nothing of it is left here */
    HA_TELL_HOST,       /* this host's own state: how: flags below; every copy of the first `guest`
                           guests was told; inc: memory in KiB; mig: hash of its configuration;
                           boot: identity of the shared disk that it reads and writes */
    HA_TELL_DEFINE,     /* a definition of the guest; boot: its hash, inc: its memory in KiB, how:
                           ha_def_flags, mig: 1 if an operator changed it */
    HA_TELL_BOUND, /* this host's lease needs the shared disk; loss: by which decision, inc: D */
    HA_TELL_HEALTH,     /* of incarnation inc; how: ha_health; BAD: loss: which probe, level: how
                           often in a row */
    HA_TELL_STOP_PHASE, /* of incarnation inc; how: ha_stop_phase; level: ms that it may take */
};

enum {
    HA_HOST_INVENTORY = 1,
    HA_HOST_KEEPER = 2,
    HA_HOST_ARMED = 4,
    HA_HOST_NO_JOURNAL = 8,
    HA_HOST_DISK = 16,
    HA_HOST_FROZEN = 32
};

enum {
    HA_LEAVING_NOW,  /* it gives up what it has (earlier versions know only that) */
    HA_LEAVING_SOON, /* it is to be emptied first */
};

struct ha_tell {
    enum ha_tell_kind kind;
    uint32_t guest;
    uint64_t inc, mig;
    uint8_t how;
    ha_node host;
    struct ha_uuid boot;
    uint32_t loss, level;
    uint64_t look; /* HOST: as in a report */
};

struct ha_ask {
    uint64_t id;
    uint8_t command;
    bool again; /* it was sent before, and what became of it is not known: it may be done already */
    char guest[HA_NAME_MAX], host[HA_NAME_MAX], text[HA_NAME_MAX], who[HA_NAME_MAX];
};

void ha_msg_put_head(struct ha_put *put, const struct ha_msg_head *head);
/* 0; -ENOTSUP other major; -ENOMSG a kind of a newer version; -EBADMSG garbage. */
int ha_msg_get_head(struct ha_get *get, struct ha_msg_head *ret_head);

void ha_msg_put_view(struct ha_put *put, const struct ha_view_id *view);
struct ha_view_id ha_msg_get_view(struct ha_get *get);
bool ha_view_eq(const struct ha_view_id *a, const struct ha_view_id *b);

void ha_msg_put_report(struct ha_put *put, const struct ha_msg_report *report);
void ha_msg_get_report(struct ha_get *get, struct ha_msg_report *ret_report);
void ha_msg_put_copy(struct ha_put *put, const struct ha_copy *copy);
void ha_msg_get_copy(struct ha_get *get, struct ha_copy *ret_copy);
void ha_msg_put_cut(struct ha_put *put, const struct ha_cut_age *cut);
void ha_msg_get_cut(struct ha_get *get, struct ha_cut_age *ret_cut);
void ha_msg_put_tell(struct ha_put *put, const struct ha_tell *tell);
void ha_msg_get_tell(struct ha_get *get, struct ha_tell *ret_tell);
void ha_msg_put_ask(struct ha_put *put, const struct ha_ask *ask);
void ha_msg_put_transfer(struct ha_put *put, const struct ha_transfer *transfer);
void ha_msg_get_transfer(struct ha_get *get, struct ha_transfer *ret_transfer);
void ha_msg_get_ask(struct ha_get *get, struct ha_ask *ret_ask);

#endif
