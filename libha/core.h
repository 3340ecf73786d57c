/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of the core, shared by its own files only: the state of one daemon. */
#ifndef HA_CORE_H
#define HA_CORE_H

#include "facts.h"
#include "ha.h"
#include "log.h"
#include "msg.h"

/* One host as this daemon sees it in the current view. Wiped at each new view, but for `present`,
 * `pid` and what is marked "kept". */
struct ha_member {
    ha_node node;
    bool present;      /* kept: its daemon is in the group */
    uint32_t pid;      /* kept */
    bool foreign_said; /* another version: said once a view */
    bool left;         /* its process left since the view began: never counted again (rule 2) */
    uint64_t instance; /* 0: has not reported */
    struct ha_uuid boot;
    bool reported;     /* completely */
    struct ha_msg_report report;
    struct ha_copy *copies;
    size_t ncopies, copies_size;
    bool counted; /* by the facts this epoch was opened on (rule 3) */
    bool acked;
    uint64_t ack_i;
    ha_ms acked_at;
    struct ha_cut_age cuts[HA_HOSTS_MAX];
    ha_ms cuts_at[HA_HOSTS_MAX]; /* our clock when that acknowledgement was delivered */
    size_t ncuts;
    bool leaving;
    bool going; /* it goes down soon, and is to be emptied */
    bool disk_told, disk_ok; /* it said whether it reads and writes the shared disk */
    struct ha_uuid disk_id;  /* and which one that is */
    uint32_t bound_gen;      /* it said that it needs the disk, by this decision; 0: not */
    ha_ms bound_ms;
    bool knows_told;         /* it said which guests its configuration has: */
    uint32_t nknows;
    uint8_t knows[HA_GUESTS_MAX / 8];
};

/* What this host knows and does about one guest; index = that of the facts. */
struct ha_local {
    bool have;
    struct ha_copy copy;
    bool unsure;  /* an operation ended UNKNOWN: wait for an inventory */
    uint64_t op;  /* operation under way, 0: none */
    enum ha_op op_what;
    uint64_t op_inc, op_mig;
    bool op_cancelled;
    uint64_t marked; /* highest incarnation ever created here in this boot */
    uint64_t burned; /* told stopped/failed: never created here (rule 10) */
    uint64_t mig_tried;  /* SEND or RECEIVE was started for this id */
    uint64_t mig_failed; /* and failed */
    ha_ms retry_at;
    ha_ms changed_at; /* an operation began or ended: older looks say nothing */
    ha_ms stop_began; /* phased stop under way since; 0: no */
    bool stop_asked;
    ha_ms stop_held;   /* waits for others to stop first, since; 0: no */
    struct ha_tell stop_told;
    bool stop_overdue_said;
    uint8_t release;        /* ha_release to tell for `release_inc` */
    uint64_t release_inc;
    struct ha_tell told; /* last tell in this epoch, not to repeat it */
    bool told_valid;
    struct ha_uuid def_said; /* definition that the shell was asked to have */
    bool in_report;   /* and that was so when this host reported for this epoch */
    bool in_look;     /* a look has ended since its guest is in the configuration (register.c) */
    bool told_copy;   /* the others know of a copy here that is not ours to keep */
    char error[HA_TEXT_MAX];
    struct ha_watch *watches; /* one for each of its probes; NULL: not watched */
    size_t nwatches;
    uint64_t watched_inc;
    ha_ms watched_since;
    struct ha_tell health; /* told last */
};

/* A probe of a guest that runs here. */
struct ha_watch {
    uint64_t id; /* under way; 0: not */
    ha_ms due;
    unsigned failed, bad; /* in a row: failed; failed or hung */
    bool good;            /* succeeded once since the guest was started */
    bool ill;             /* did not, when it ran last */
    bool mute;            /* says nothing, and that was said */
    char text[HA_TEXT_MAX];
};

/* A definition made on this host. */
struct ha_offer {
    struct ha_definition def;
    bool told; /* in this epoch */
};

/* What the coordinator remembers about one guest in this epoch (tells), and softly beyond. */
struct ha_desk {
    struct ha_tell tell; /* latest RUNNING, STOPPED */
    ha_node tell_from;
    struct ha_tell mig_tell;
    ha_node mig_from; /* PREPARED */
    bool mig_bad;     /* a MIG_FAILED for mig_tell.mig */
    bool mig_runs; /* and the source runs on */
    uint64_t mig_bad_id;
    uint64_t copies;  /* members (bit = their place in ha->members) that reported a copy */
    ha_node copy_on;  /* the latest of them, and what it reported */
    uint64_t copy_inc;
    bool copy_running;
    struct ha_tell define; /* an offered definition, if `defined` */
    bool defined;
    ha_node vacated;  /* told that nothing of its old copy is left */
    struct ha_tell health; /* latest HEALTH */
    ha_ms not_before; /* back-off */
    ha_ms running_since;
    ha_ms held_since;     /* it could start, but waits for others; kept */
    uint64_t starting_inc, up_inc; /* seen starting, seen running; kept */
    ha_ms up_since;                /* 0: before we looked; kept */
    struct ha_tell stop;  /* latest STOP_PHASE */
    ha_ms stop_end;       /* of that phase */
    ha_ms mig_since;     /* the target's daemon is missing since then */
    uint64_t cancel_mig; /* an operator called this one off */
    bool ready;          /* it can be started now, while deciding */
    ha_ms move_after;    /* a move failed: the planner leaves it alone until then */
    unsigned move_fails;
};

/* What an operator is answered. */
struct ha_outcome {
    int code;
    char text[HA_TEXT_MAX];
};

struct ha_rank {
    int priority;
    uint32_t guest;
};

/* What the coordinator remembers about one host. */
struct ha_host_desk {
    bool seen;          /* kept: in the ring of an open view since this daemon started */
    ha_ms lost_at;      /* when we saw it lost (its levels' delays count from here) */
    ha_ms retry_at;     /* back-off after all levels failed */
    uint32_t launched_loss, launched_level;
    struct ha_uuid launched_boot;
    uint64_t fence_id;  /* under way here; 0: none */
    bool ours;          /* this level was decided on by us, in this epoch */
    bool cancelled, called_off; /* should it not have begun; even if it has */
    bool have_result;   /* of ours, to be told until the facts have moved on */
    enum ha_result result;
    struct ha_uuid result_boot;
    uint32_t result_loss, result_level;
    bool result_told;
    char fence_error[HA_TEXT_MAX]; /* of the last fence from here that failed */
    struct ha_uuid foreign_said;   /* kept: the other machine under its node id, told of last */
    bool under_way_told;
    bool announced; /* in this epoch, at announced_at: a fence that is about to be launched */
    ha_ms announced_at;
    bool tell_valid; /* a result (or how 0: under way) told in this epoch */
    struct ha_tell tell;
    ha_node tell_from;
    uint64_t live;            /* which others said in this epoch that theirs is under way */
    struct ha_uuid live_boot; /* of which life */
    uint32_t live_level;
    struct ha_uuid confirm_boot; /* operator's word, waiting to be proposed */
    bool confirm, replace;
    bool order, calm;   /* an operator wants it fenced; forgets its losses */
    bool held_said;
    enum ha_host_state calm_state; /* kept: since when it is as it is */
    uint32_t calm_loss;
    struct ha_uuid calm_boot;
    ha_ms calm_since;
    char who[HA_NAME_MAX];
};

struct ha_pending_ask {
    struct ha_ask ask;
    ha_node from;
    uint64_t instance;
    uint64_t index; /* answered once this is stable; 0: not proposed yet */
    char answer[HA_TEXT_MAX];
    ha_ms since;
};

/* A client of ours that waits for an answer. */
struct ha_waiting_client {
    uint64_t client;
    struct ha_ask ask;
    ha_ms since;
    bool sent; /* in this view */
};

enum { HA_ASKS_MAX = 64, HA_CLIENTS_MAX = 64, HA_LATE_MAX = 4096, HA_TRANSFERS_MAX = 64 };

/* What was heard of a guest's transfer last. serial 0: a free place. */
struct ha_heard_transfer {
    struct ha_transfer t;
    ha_ms heard;
    uint64_t serial;
};

struct ha {
    enum ha_mutant mutant;
    ha_ms now;
    const struct ha_config *config;
    ha_node self;
    struct ha_uuid boot, machine, fresh_cluster;
    uint64_t instance;
    uint32_t pid;
    bool started, halted;
    struct ha_actions *out;
    bool nomem;

    struct ha_log log; /* durable: facts, promise, identity */

    /* membership and view (view.c) */
    struct ha_ring ring, verdict_ring;
    ha_node ring_members[HA_HOSTS_MAX];
    size_t nring;
    bool connected, verdict, had_quorum;
    ha_ms quorum_gained; /* fences are held until some time after this */
    enum ha_phase phase;
    struct ha_view_id view;
    ha_ms view_since, phase_since;
    bool established;   /* accepted an open in this ring: not every `again` is for us */
    bool silent;        /* the coordinator, since its time was over the last time */
    bool opened;        /* an open was delivered in this view: the only one (rule 5) */
    bool open_sent, report_due, closed;
    uint64_t report_journal; /* sent once this is durable */
    struct ha_member members[HA_HOSTS_MAX];
    size_t nmembers;
    struct ha_epoch e;
    ha_node coord;
    uint64_t coord_instance;
    ha_ms coord_heard, last_chair;
    bool half;           /* fence-only: this view is half of the voters (rule 26) */
    bool synced_last, synced_now;
    char forced[HA_NAME_MAX]; /* lineage force: who vouches that the absent voters are off; void
                                 with the ring it was said in, and soon anyway */
    ha_ms forced_until;
    bool founding;       /* an operator asked for it (init), or this open founds */
    uint64_t init_client;
    ha_ms again_at, again_wait; /* earliest next `again` of ours, and its back-off */
    bool admit_due, register_due;
    uint64_t again_counter;

    /* fetching a base (fetch.c) */
    bool fetching;
    bool behind;     /* facts went by that we could not take: ask for a new exchange */
    bool unreadable; /* a fact of a newer version: out of step in this epoch */
    struct ha_key base;
    uint64_t base_hash;
    size_t base_voters; /* of the facts at base */
    struct ha_put fetched;
    uint32_t fetch_total;
    uint64_t fetch_from;
    struct ha_late {
        uint64_t i;
        uint8_t *data;
        size_t len;
    } *late; /* facts delivered while fetching */
    size_t nlate, late_size;

    /* acks */
    bool ack_due;
    uint64_t ack_i, ack_journal;

    /* stable */
    struct ha_facts stable; /* log.head is the newest */
    uint64_t stable_i;
    uint64_t quiet_i;  /* up to here facts are history: not reported when they become stable */
    uint64_t look_index; /* the latest complete look began when this much was stable here */
    uint64_t look_asked; /* and one that is under way; 0: none */
    ha_ms look_asked_at;
    bool stable_known; /* became stable in an open epoch since this daemon started */

    /* keeper */
    struct ha_keeper_orders orders;
    bool keeper, armed, orders_again;
    uint64_t keeper_applied, nonempty_seq, cut_seq;
    ha_ms lease_until, lapse_at, lapse_noticed;
    struct ha_peer_beat peers[HA_HOSTS_MAX];
    size_t npeers;
    bool lease_said;
    ha_ms disk_t;           /* start of the keeper's last good cycle of the disk; -1: none */
    struct ha_uuid disk_id; /* which disk that was */
    bool pilled, disk_late_said, disk_said, disk_odd_said;
    uint64_t disk_seq;   /* orders that first carried this disk_gen */
    ha_ms bound_at;      /* earlier leases are over then; INT64_MAX: not applied yet */
    uint32_t bound_told; /* in this view */
    ha_ms disk_some_since, disk_none_since; /* coordinator: some host, none, has the disk; 0: no */
    bool frozen;           /* this host reacts to nothing */
    bool keeper_frozen;    /* the keeper said so before this daemon gave it orders */
    uint64_t thaw_seq;     /* first orders after the latest thaw */
    bool handover;         /* another host is to coordinate: once that is stable */
    ha_ms chair_given;     /* when this host last gave the chair away unasked; 0: never */

    /* this host's guests (acts.c) */
    bool inventory;
    ha_ms looked; /* when the driver began the look that `strays` is from */
    ha_ms asked_inventory;
    uint64_t memory_kib;
    struct ha_local *locals;
    size_t nlocals;
    struct ha_offer *offers;
    size_t noffers;
    struct ha_mark *marks; /* from start, until the guests are known */
    size_t nmarks;
    struct ha_copy *strays; /* last inventory, as it came: re-read when guests are registered */
    size_t nstrays, strays_size, unknown_copies;
    bool busy;              /* something is about to be created: not empty */
    uint64_t next_op;
    uint64_t next_probe;
    bool acts_due;
    bool going, leaving;    /* leave.c: the host goes down; and gives up what is still here */
    ha_ms going_since, leave_since;
    ha_ms evacuate_by, moves_by, leave_by; /* ends of: going, transfers while leaving, all of it */
    ha_ms no_quorum_since;  /* while going; 0: there is */
    ha_ms still_since;      /* while going: nothing has been on its way since */
    unsigned still_here;    /* guests that were here then */
    bool leaving_told;
    struct ha_tell host_told; /* what the others know of this host */

    /* the register (register.c) */
    ha_ms config_since;    /* this configuration is in use since */
    bool config_looked;    /* and the driver has looked with it */
    bool knows_due;        /* the others are to hear which guests are in it */
    bool knows_told;       /* they have heard something in this epoch */
    bool knows_said;       /* or in an earlier one */
    uint64_t config_said;  /* change of the file that the shell was asked for; 0: none */
    uint64_t config_taken; /* and the latest that it is done with */

    /* coordinator (decide.c, hosts.c, guests.c) */
    struct ha_facts prop; /* newest log plus what was proposed */
    uint64_t prop_i;
    struct ha_put batch;
    uint32_t batch_n;
    uint64_t batch_first;
    bool outstanding, decide_due;
    struct ha_desk *desks;
    size_t ndesks;
    struct ha_host_desk host_desks[HA_HOSTS_MAX];
    struct ha_pending_ask asks[HA_ASKS_MAX];
    size_t nasks;
    struct ha_waiting_client clients[HA_CLIENTS_MAX];
    size_t nclients;
    uint64_t next_ask;
    struct ha_heard_transfer transfers[HA_TRANSFERS_MAX];
    uint64_t transfer_serial;
    int *config_guest; /* guest index -> config index or -1 */
    uint32_t *guest_of; /* and back; UINT32_MAX: not registered */
    size_t nguest_of;
    uint32_t *names;   /* hash table over the names of the newest facts' guests: index + 1 */
    size_t names_size, names_for; /* slots; guests it was built for, SIZE_MAX: anew */
    struct ha_starting {
        unsigned all, on[HA_HOSTS_MAX];
    } starting; /* as used_kib */
    uint64_t used_kib[HA_HOSTS_MAX]; /* by the facts in `prop`, while deciding */
    struct ha_placing *placing;      /* placing.c */
    ha_ms deadline;
};

/* actions.c */
void ha_actions_clear(struct ha_actions *actions);
struct ha_action *ha_act(struct ha *ha, enum ha_action_type type);
/* Moves the buffer into the action list; returns its bytes. */
const void *ha_act_own(struct ha *ha, struct ha_put *put, size_t *ret_len);
void ha_report(struct ha *ha, enum ha_report what, enum ha_severity severity, ha_node node,
               const char *guest, const char *format, ...) __attribute__((format(printf, 6, 7)));
void ha_halt(struct ha *ha, const char *text);
void ha_reply(struct ha *ha, uint64_t client, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void ha_send(struct ha *ha, struct ha_put *put);
struct ha_put ha_msg_new(const struct ha *ha, enum ha_msg_kind kind);
const char *ha_host_name(const struct ha *ha, ha_node node);
const struct ha_host_config *ha_host_config(const struct ha *ha, ha_node node);
const struct ha_guest_config *ha_guest_config(const struct ha *ha, uint32_t guest);
void ha_wake(struct ha *ha, ha_ms at);

/* view.c */
struct ha_member *ha_member(struct ha *ha, ha_node node, bool make);
bool ha_in_ring(const struct ha *ha, ha_node node);
bool ha_quorate(const struct ha *ha);
bool ha_is_coordinator(const struct ha *ha);
void ha_view_start(struct ha *ha, struct ha_view_id view);
void ha_view_event_group(struct ha *ha, const struct ha_event *event);
void ha_view_event_ring(struct ha *ha, const struct ha_event *event);
void ha_view_event_quorum(struct ha *ha, const struct ha_event *event);
void ha_view_disconnected(struct ha *ha);
void ha_view_report(struct ha *ha, struct ha_member *m, const struct ha_msg_head *head,
                    struct ha_get *get);
void ha_view_again(struct ha *ha, const struct ha_msg_head *head, struct ha_get *get);
void ha_view_tick(struct ha *ha);
void ha_view_outside(struct ha *ha);
void ha_again(struct ha *ha, const char *why);
size_t ha_votes_needed(const struct ha *ha); /* more than half */
bool ha_forced(const struct ha *ha);
bool ha_counts_by(const struct ha *ha, const struct ha_facts *facts, const struct ha_member *m);
bool ha_member_counts(const struct ha *ha, const struct ha_member *m);

/* open.c */
void ha_open_try(struct ha *ha);
void ha_open_deliver(struct ha *ha, struct ha_member *m, const struct ha_msg_head *head,
                     struct ha_get *get);
void ha_open_based(struct ha *ha);
void ha_ack_deliver(struct ha *ha, struct ha_member *m, struct ha_get *get);
void ha_fact_deliver(struct ha *ha, ha_node from, const struct ha_msg_head *head,
                     struct ha_get *get);
void ha_fact_append(struct ha *ha, uint64_t i, const void *data, size_t len);
void ha_ack_flush(struct ha *ha);
bool ha_stamp(const struct ha *ha, struct ha_epoch e);

/* fetch.c */
void ha_fetch_start(struct ha *ha);
void ha_fetch_stop(struct ha *ha);
void ha_fetch_deliver(struct ha *ha, const struct ha_msg_head *head, struct ha_get *get);
void ha_chunk_deliver(struct ha *ha, ha_node from, const struct ha_msg_head *head,
                      struct ha_get *get);
void ha_late_add(struct ha *ha, uint64_t i, const void *data, size_t len);

/* decide.c: the coordinator */
void ha_decide(struct ha *ha);
bool ha_propose(struct ha *ha, const struct ha_fact *fact);
void ha_tell_deliver(struct ha *ha, struct ha_member *m, struct ha_get *get);
void ha_desk_reset(struct ha *ha); /* a new view: tells are void */
int ha_desk_room(struct ha *ha);
void ha_index_config(struct ha *ha);
/* Index of a guest of the newest facts, or UINT32_MAX. */
uint32_t ha_guest_index(struct ha *ha, const char *name);
/* The same for a guest of the configuration, by its place there. */
uint32_t ha_guest_of(const struct ha *ha, uint32_t config_guest);
/* leave.c: this host, or another one, goes down */
void ha_leave_event(struct ha *ha, const struct ha_event *event);
void ha_leave_tick(struct ha *ha);
/* A transfer from here that is still under way is to be called off. */
bool ha_leave_moves_over(struct ha *ha);
/* How much of `all` a stop that began at `since` may take. */
ha_ms ha_leave_limit(const struct ha *ha, ha_ms since, ha_ms all);
/* Stops a guest without the cluster, when it does not answer. True: done, nothing else is to be. */
bool ha_leave_alone(struct ha *ha, uint32_t i, const struct ha_guest_fact *g);
void ha_decide_leave(struct ha *ha, const struct ha_member *m);

/* hosts.c */
void ha_decide_hosts(struct ha *ha);
void ha_fence_launch(struct ha *ha);
/* What a host tells of its fence, NULL: it tells nothing more. */
void ha_fence_told(const struct ha *ha, struct ha_host_desk *desk, ha_node from,
                   const struct ha_tell *tell);
void ha_fence_event(struct ha *ha, const struct ha_event *event);
ha_ms ha_bound_at(const struct ha *ha, const struct ha_host_fact *h, const char **ret_why);
void ha_mark_seen(struct ha *ha);
bool ha_wanted(const struct ha_guest_fact *guest);
/* disk.c: the shared disk */
bool ha_disk_ok(const struct ha *ha);
void ha_disk_orders(struct ha *ha, struct ha_keeper_orders *orders);
void ha_disk_keeper(struct ha *ha, const struct ha_event *event);
void ha_disk_tell(struct ha *ha);
void ha_decide_disk(struct ha *ha);
/* Confirmed dead in a way that a host with nothing of ours survives. */
bool ha_may_live(const struct ha_host_fact *h);
/* When h's present life wrote to the disk last, as this host saw it; 0: never. */
ha_ms ha_disk_seen(const struct ha *ha, const struct ha_host_fact *h);
const char *ha_disk_unfit(const struct ha *ha, const struct ha_member *m);
/* What has to pass between a pill and the certainty that host h is dead or empty; -1 with a reason:
 * a pill proves nothing about it. */
ha_ms ha_pill_wait(const struct ha *ha, const struct ha_host_fact *h, const char **ret_why);
/* restraint.c: indices are those of the facts' hosts */
ha_ms ha_turn_at(const struct ha *ha, size_t i);
bool ha_turn_looked(const struct ha *ha, size_t i);
void ha_decide_turns(struct ha *ha);
ha_node ha_survivor(const struct ha *ha, char *ret_why, size_t size);
bool ha_quarantined(const struct ha *ha, const struct ha_host_fact *h);
const char *ha_fence_held(const struct ha *ha, const struct ha_facts *f,
                          const struct ha_host_fact *h);
void ha_decide_calm(struct ha *ha, size_t i);
/* guests.c */
void ha_decide_guests(struct ha *ha);
/* The owner of a free guest is decided: that host of `prop`. */
void ha_assign(struct ha *ha, uint32_t guest, size_t host);
/* A move is decided. `planned`: nobody asked for it. False: it cannot be moved now. */
bool ha_propose_move(struct ha *ha, uint32_t guest, ha_node to, enum ha_move_kind kind,
                     bool planned);
void ha_guest_reported(struct ha *ha, const struct ha_member *m, const struct ha_copy *copy);
/* restart.c: what follows when a guest ends */
/* Whether the guest is to start again on the host where it failed, or rather not there. */
bool ha_restart_here(const struct ha *ha, uint32_t guest, const struct ha_guest_fact *g,
                     ha_node node);
bool ha_restart_elsewhere(const struct ha *ha, uint32_t guest, const struct ha_guest_fact *g,
                          ha_node node);
/* The owner gave it back: limits, back-off, what its configuration says about this end. */
void ha_decide_release(struct ha *ha, uint32_t guest, uint8_t how);
/* Its memory is to be kept in a file before it is ended for that reason. */
bool ha_dump_first(const struct ha *ha, uint32_t guest, uint8_t how);
/* Why it is down for good, and the way out; false: it is not. */
bool ha_ended_why(const struct ha *ha, uint32_t guest, const struct ha_guest_fact *g, char *ret_why,
                  size_t size);
/* order.c */
void ha_order_note(struct ha *ha, uint32_t guest);
/* It waits for other guests. */
bool ha_order_holds(struct ha *ha, uint32_t guest);
/* No more guests may start on that host now. */
bool ha_order_full(const struct ha *ha, ha_node node);
/* Counts who is starting by `prop`; and one more. */
void ha_order_count(struct ha *ha);
void ha_order_add(struct ha *ha, ha_node node);
/* By which guests are ranked; one for each of `prop`. */
void ha_order_priorities(const struct ha *ha, const struct ha_facts *facts, int *ret_priority);
/* A guest that has to be stopped before this one; NULL: none. */
const char *ha_order_stops_first(const struct ha *ha, const char *name);
bool ha_order_why(const struct ha *ha, const struct ha_facts *facts, uint32_t guest, ha_ms now,
                  char *ret_why, size_t size);
/* stop.c */
void ha_stop(struct ha *ha, uint32_t guest, const struct ha_guest_fact *g);
void ha_stop_over(struct ha *ha, uint32_t guest);
void ha_stops_reset(struct ha *ha);
void ha_stop_status(const struct ha *ha, uint32_t guest, const struct ha_guest_fact *g, ha_ms now,
                    struct ha_guest_status *r);
/* acts.c, for stop.c */
void ha_act_destroy(struct ha *ha, uint32_t guest, const struct ha_guest_fact *g, uint8_t release);
/* limit: who has not even been asked by then is not asked any more */
void ha_act_shutdown(struct ha *ha, uint32_t guest, const struct ha_guest_fact *g, ha_ms limit);
bool ha_may_tell(const struct ha *ha);
/* place.c */
/* The host for guest g by the facts `prop` and used_kib, or 0 with a reason. */
ha_node ha_place(const struct ha *ha, uint32_t guest, ha_node except, char *ret_why, size_t size);
/* True, with the reason and what would help: the host (index of `prop`) must not be given the
 * guest, by the facts `prop` and used_kib. */
bool ha_place_refused(const struct ha *ha, uint32_t guest, size_t host, char *ret_why, size_t size);
void ha_used_count(const struct ha *ha, const struct ha_facts *facts, uint64_t *ret_used_kib);
/* NULL if the host may take guests now, else why not. h is of `prop`. */
const char *ha_host_unfit(const struct ha *ha, const struct ha_host_fact *h);
/* NULL if it answers and works, whether it may take guests or not. */
const char *ha_host_away(const struct ha *ha, const struct ha_host_fact *h);
uint64_t ha_host_capacity_kib(const struct ha *ha, ha_node node); /* 0: not known */
enum ha_move_kind ha_guest_move(const struct ha_guest_fact *g, const struct ha_guest_config *c,
                                bool must);
bool ha_guest_settled(const struct ha *ha, const struct ha_facts *facts, uint32_t i);
uint64_t ha_host_free_kib(const struct ha *ha, const struct ha_host_fact *h);
bool ha_guest_allows(const struct ha_guest_config *guest, ha_node node);
/* instance.c */
/* The failure domain of each host of the facts. */
void ha_domains(const struct ha *ha, const struct ha_facts *facts, const struct ha_rule *rule,
                uint8_t ret_domain[HA_HOSTS_MAX]);
/* placing.c */
struct ha_placing *ha_placing_new(void);
void ha_placing_free(struct ha_placing *placing);
void ha_placing_forget(struct ha *ha);
void ha_decide_places(struct ha *ha, size_t nready);
void ha_move_failed(struct ha *ha, uint32_t guest);
ha_node ha_place_elsewhere(struct ha *ha, uint32_t guest, char *ret_why, size_t size);
/* freeze.c */
void ha_freeze_update(struct ha *ha);
bool ha_armed(const struct ha *ha);
bool ha_still_looking(const struct ha *ha);
void ha_decide_looked(struct ha *ha);
/* FREEZE, THAW, CHAIR at the coordinator. 0 or a negative errno, with a sentence. */
int ha_ask_cluster(struct ha *ha, const struct ha_ask *ask, char *ret_text, size_t size);
/* register.c */
void ha_knows_before(struct ha *ha); /* the configuration is about to be another one */
void ha_knows_config(struct ha *ha); /* and now it is */
void ha_knows_looked(struct ha *ha); /* a look has ended */
/* It is ours by adoption, not tagged yet, and would not be seen here. i < ha->nlocals. */
bool ha_knows_unseen(const struct ha *ha, uint32_t guest, const struct ha_guest_fact *g);
void ha_knows_reported(struct ha *ha); /* this host's report is made now */
void ha_knows_tell(struct ha *ha);
void ha_knows_deliver(struct ha *ha, struct ha_member *m, struct ha_get *get);
/* It has yet to say which guests it knows. */
bool ha_knows_awaited(const struct ha_member *m);
/* Its configuration has the guest, and it has looked with it. */
bool ha_knows(const struct ha_member *m, uint32_t guest);
/* It said that its configuration has no such guest. */
bool ha_knows_not(const struct ha *ha, ha_node node, uint32_t guest);
/* A host that is here, but does not know it (yet); 0: none. */
ha_node ha_knows_missing(const struct ha *ha, uint32_t guest);
/* A member that says it knows the guest; 0: none. */
ha_node ha_knows_where(const struct ha *ha, uint32_t guest);
/* The coordinator: gives the chair to who knows a guest that waits for a decision and that it does
 * not know itself. */
void ha_decide_chair(struct ha *ha);
void ha_config_act(struct ha *ha);
void ha_config_taken(struct ha *ha, uint64_t at);
/* CONFIG and RESTART at the coordinator. 0 or a negative errno, with a sentence. */
int ha_ask_config(struct ha *ha, const struct ha_ask *ask, char *ret_text, size_t size);
int ha_ask_restart(struct ha *ha, const struct ha_ask *ask, uint32_t guest, char *ret_text,
                   size_t size);
/* transfer.c */
void ha_transfer_event(struct ha *ha, const struct ha_transfer *transfer);
void ha_transfer_deliver(struct ha *ha, ha_node from, struct ha_get *get);
/* What was heard of a guest's move that is under way, or failed lately; NULL: nothing. */
const struct ha_transfer *ha_transfer_of(const struct ha *ha, const struct ha_guest_fact *guest,
                                         ha_ms now);
/* asks.c: operators */
void ha_client_event(struct ha *ha, const struct ha_request *request);
void ha_ask_deliver(struct ha *ha, ha_node from, const struct ha_msg_head *head,
                    struct ha_get *get);
void ha_answer_deliver(struct ha *ha, struct ha_get *get);
void ha_decide_asks(struct ha *ha);
void ha_asks_answer_stable(struct ha *ha);
/* The coordinator is gone: what may be repeated is sent to the next one. */
void ha_clients_interrupt(struct ha *ha, const char *why);
void ha_clients_send(struct ha *ha);
void ha_client_give_up(struct ha *ha, size_t i);
/* asks_places.c. True: the guest must not start, the outcome says why. */
bool ha_start_refused(struct ha *ha, const struct ha_ask *ask, uint32_t guest,
                      struct ha_outcome *o);
/* The same for a move of the guest to that host of the facts. */
bool ha_move_refused(struct ha *ha, const struct ha_ask *ask, uint32_t guest, ha_node to,
                     struct ha_outcome *o);
/* evacuate, maintenance on and off. h is of `prop`. */
void ha_ask_maintenance(struct ha *ha, const struct ha_ask *ask, const struct ha_host_fact *h,
                        struct ha_outcome *o);
/* acts.c: this host's guests */
void ha_acts(struct ha *ha);
void ha_acts_inventory(struct ha *ha, const struct ha_event *event);
void ha_acts_done(struct ha *ha, const struct ha_event *event);
void ha_acts_exit(struct ha *ha, const struct ha_event *event);
int ha_local_room(struct ha *ha);
void ha_guests_dropped(struct ha *ha);
void ha_tells_reset(struct ha *ha);
bool ha_empty(const struct ha *ha);
/* Whether that is this life of this host. */
bool ha_is_me(const struct ha *ha, ha_node node, const struct ha_uuid *boot);
/* Whether the copy of guest i that is here is to end with the lease. */
bool ha_ends_with_lease(const struct ha *ha, uint32_t i);
uint8_t ha_host_flags(const struct ha *ha);
void ha_ask_inventory(struct ha *ha);
bool ha_copy_at(struct ha *ha, size_t i, struct ha_copy *ret_copy);
/* Whether the stable facts have reached what this epoch was opened on: before that they may be from long
 * ago, and nothing may be done on their word. */
bool ha_settled(const struct ha *ha);
/* defs.c. -1: out of memory. */
int ha_defs_offer(struct ha *ha, const struct ha_definition *def);
void ha_defs_tell(struct ha *ha);
void ha_defs_tells_reset(struct ha *ha);
void ha_defs_fetch(struct ha *ha);
void ha_defs_decide(struct ha *ha, uint32_t guest);
/* Memory that the guest takes: the configuration's word, else its definition's. */
uint64_t ha_guest_need_kib(const struct ha *ha, const struct ha_facts *facts, uint32_t guest);
/* It needs a definition and no host has offered one. */
bool ha_guest_undefined(const struct ha *ha, uint32_t guest);
void ha_tell_send(struct ha *ha, const struct ha_tell *tell);
/* How the fence of that life goes; how: ha_result, or 0: about to be launched, or under way. */
void ha_tell_fence(struct ha *ha, ha_node node, const struct ha_uuid *boot, uint32_t loss,
                   uint32_t level, uint8_t how);
/* probe.c: programs that say whether this host's guests do their work */
void ha_probes(struct ha *ha);
void ha_probe_event(struct ha *ha, const struct ha_event *event);
void ha_probes_forget(struct ha *ha, size_t from); /* of the guests from that index on */
void ha_probes_reset(struct ha *ha);               /* a new epoch: told again */
/* It has failed too often: the guest counts as crashed. */
bool ha_probes_gave_up(const struct ha *ha, uint32_t guest);
void ha_probe_status(const struct ha *ha, uint32_t guest, const struct ha_guest_fact *g,
                     struct ha_guest_status *r);
/* local.c: copies, keeper orders */
void ha_keeper_event(struct ha *ha, const struct ha_event *event);
void ha_keeper_orders(struct ha *ha);
bool ha_is_cut(const struct ha *ha, const struct ha_host_fact *h);
/* status.c: the facts that people are shown */
const struct ha_facts *ha_shown(const struct ha *ha);
/* tell.c: reports on stable facts */
const char *ha_released_words(uint8_t how); /* ha_release, after "the guest " */
void ha_say_stable(struct ha *ha, const struct ha_facts *before, const struct ha_fact *fact);

#endif
