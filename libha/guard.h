/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guards that keep a guest from running twice, each with a name, so that a build for tests can
 * switch one off and the simulator must notice. In a release build every guard is the constant 1.
 *
 *   -DHA_MUTABLE          guards are chosen at run time, by the mutant a core was created with
 *   -DHA_MUTANT=NAME      this build has guard NAME switched off
 */
#ifndef HA_GUARD_H
#define HA_GUARD_H

/* clang-format off */
#define HA_MUTANTS(X)                                                                              \
    X(STABLE_ASSIGN,    "create acts on the tentative tail")                                       \
    X(STABLE_COMMIT,    "unpause after commit acts on the tentative tail")                         \
    X(STABLE_ABORT,     "resume after abort acts on the tentative tail")                           \
    X(LEASE_UNPAUSE,    "no lease check at create and unpause")                                    \
    X(ECHO,             "own delivery grants the lease, no echoes needed")                         \
    X(SEND_TIME,        "lease counts from the receipt of an echo, not from the beat's send time") \
    X(EPOCH,            "messages of another epoch are accepted")                                  \
    X(VERDICT_RING,     "a quorum verdict counts for whatever ring is current")                    \
    X(RING_CLOSE,       "a ring change with an unchanged group does not close the view")           \
    X(COORD_CLOSE,      "the coordinator's process leaving inside a ring does not close the view") \
    X(LINEAGE,          "the candidate opens with its own log, not with the highest")              \
    X(LEFT_NEW,         "a process that left and came back counts as the same member")             \
    X(LOSS_NUMBER,      "a fence result counts for any life of the host")                          \
    X(BOUND_TWO_NODE,   "the bound is used in fence-only mode")                                    \
    X(FENCE_FAILED,     "a failed fence confirms")                                                 \
    X(WORKERS_EMPTY,    "a host with workers under way counts as empty")                           \
    X(BACKENDS_STOPPED, "a guest whose backends are not closed counts as stopped")                 \
    X(STARTUP_FENCE,    "owners not seen at start-up are taken for dead")                          \
    X(ADOPT,            "a copy whose owner is none is destroyed instead of adopted")              \
    X(PREPARED,         "a prepared incoming copy is taken for stale")                             \
    X(DISARM_EMPTY,     "disarm without being empty")                                              \
    X(HOLD_OFF,         "no hold-off of fences after quorum was gained")                           \
    X(OPEN_IS_FACT,     "an open counts as a fact: the promise outranks facts")                    \
    X(DEAD_LEAVE,       "confirmed-dead hosts leave the count of acknowledgements")                \
    X(CUT,              "keepers echo a lost host's beats")                                        \
    X(CUT_BEGIN,        "a daemon that begins takes an admission in its journal for stable")       \
    X(EMPTY_JOURNAL,    "an empty journal counts as a voter")                                      \
    X(INC_ONCE,         "an incarnation may be created twice")                                     \
    X(BOUND_SHORT,      "the bound is shorter than the lease")                                     \
    X(ACT_TENTATIVE,    "suspend and prepare act on the tentative tail")                           \
    X(EXCHANGE_ALL,     "an exchange waits for every member")                                      \
    X(AGAIN_LIMIT,      "no rate limit on again")                                                  \
    X(RAFT_RULE,        "facts of older epochs become stable by counting acks")                    \
    X(PROMISE,          "an open below the promise is accepted")                                   \
    X(FSYNC_ACK,        "acks are sent before the journal is durable")                             \
    X(FENCE_FIRST,      "commit while the source is lost but not confirmed")                       \
    X(FRESH_LOOK,       "who looked before a guest was wanted is believed that it is not there")   \
    X(LET_GO,           "a guest that was disabled or stopped cannot have been started by hand")   \
    X(FENCE_ANNOUNCED,  "a fence is launched on facts that may be old")                            \
    X(QUORUM,           "facts change without quorum")                                             \
    X(DUEL_TURN,        "two hosts fence each other without waiting for their turn")               \
    X(DUEL_STEP,        "both hosts' turns change at once")                                        \
    X(FENCE_LIVE,       "a host is admitted while a fence of its last life is live")               \
    X(FENCE_OVER,       "a fence goes on when its target is confirmed dead by other means")        \
    X(FENCE_MEMBER,     "a host that is back in the ring is fenced unasked")                       \
    X(FENCE_BUDGET,     "the budget of fences is not looked at")                                   \
    X(QUARANTINE,       "a host that flaps gets guests again at once")                             \
    X(DISK_LEASE,       "a host that is bound to the disk has a lease without it")                 \
    X(DISK_START,       "a cycle of the disk counts from its end, not from its start")             \
    X(DISK_PILL,        "a poison pill is read and the host goes on")                              \
    X(DISK_BOUND,       "a pill counts against a host that does not need the disk")                \
    X(DISK_WAIT,        "a pill counts as soon as it is written")                                  \
    X(DISK_STABLE,      "a host stops needing the disk on the tentative tail")                     \
    X(DISK_LOST_KEEPS,  "a host that is lost stops needing the disk by a decision it hears of")    \
    X(DISK_GEN,         "what a host said of the disk under an earlier decision counts")           \
    X(DISK_FLOOR,       "a host says that it needs the disk before its earlier lease is over")     \
    X(DISK_DUEL,        "two hosts fence each other without having looked at the disk")            \
    X(STRONG_RULES,     "guests are placed against strong rules")                                  \
    X(BOTH_ENDS,        "a guest under way counts at its target only")                            \
    X(FREEZE_STABLE,    "a host freezes on a fact that may be dropped")                            \
    X(FREEZE_BOUND,     "what a host said of the disk before a freeze counts after it")            \
    X(FREEZE_DISK,      "it is decided while frozen that the disk is needed")                      \
    X(THAW_ARMED,       "a host that was frozen counts as armed although it did not say so")       \
    X(THAW_LOOK,        "guests are started after a thaw before everybody looked round")           \
    X(KNOWN_GUEST,      "a host is believed about a guest that its configuration does not know")  \
    X(HAND_REMAINS,     "what is left of a copy that was started by hand is kept quiet")          \
    X(HAND_LAPSED,      "a host without a lease keeps to itself what was started there by hand")
/* clang-format on */

enum ha_mutant {
    HA_MUTANT_NONE = 0,
#define X(name, text) HA_MUTANT_##name,
    HA_MUTANTS(X)
#undef X
        HA_MUTANT_COUNT
};

#define HA_CAT_(a, b) a##b
#define HA_CAT(a, b) HA_CAT_(a, b)

/* HA_GUARD(owner, NAME): true unless the guard NAME is switched off. `owner` points to a struct with
 * a field `enum ha_mutant mutant` (struct ha, struct ha_keeper, struct ha_facts_rules). */
#if defined(HA_MUTABLE)
#define HA_GUARD(owner, name) ((owner)->mutant != HA_MUTANT_##name)
#elif defined(HA_MUTANT)
#define HA_GUARD(owner, name) ((void)(owner), HA_CAT(HA_MUTANT_, HA_MUTANT) != HA_MUTANT_##name)
#else
#define HA_GUARD(owner, name) ((void)(owner), 1)
#endif

#endif
