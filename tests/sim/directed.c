/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Named schedules, each aimed at one guard: clean with it, a violation without it. Some come from
 * the executable model that shaped the protocol, the others from reading what each guard is there
 * for. */
#include <string.h>

#include "make.h"

/* clang-format off */
const struct sim_directed sim_directed[] = {
    {"assign-tentative", "STABLE_ASSIGN", 3, 1, false, "ds", true,
     /* the assignment is delivered everywhere and durable nowhere for two seconds */
     "10s journal-slow host1 2s\n10s journal-slow host2 2s\n10s journal-slow host3 2s\n"
     "11s guest-crash g1\n40s end\n"},
    {"commit-tentative", "STABLE_COMMIT", 3, 1, false, "ds", true,
     "10s cmd host1 move g1 @not-g1 live\n"
     "10s when \"* op receive g1 * ok\" journal-slow host1 2s for 20s\n"
     "10s when \"* op receive g1 * ok\" journal-slow host2 2s for 20s\n"
     "10s when \"* op receive g1 * ok\" journal-slow host3 2s for 20s\n40s end\n"},
    {"abort-tentative", "STABLE_ABORT", 3, 1, false, "ds", true,
     /* the image is on its way when the target is cut off; the source hears of the abort at once, and
      * of its being stable two seconds later */
     "10s cmd host1 move g1 @not-g1 live\n"
     "10s when \"* suspended g1 for host1\" cut host1 for 15s\n"
     "10s when \"* suspended g1 for host2\" cut host2 for 15s\n"
     "10s when \"* suspended g1 for host3\" cut host3 for 15s\n"
     "10s when \"* suspended g1 for *\" journal-slow host1 2s for 30s\n"
     "10s when \"* suspended g1 for *\" journal-slow host2 2s for 30s\n"
     "10s when \"* suspended g1 for *\" journal-slow host3 2s for 30s\n60s end\n"},
    {"act-tentative", "ACT_TENTATIVE", 3, 1, false, "ds", true,
     "10s journal-slow host1 2s for 20s\n10s journal-slow host2 2s for 20s\n"
     "10s journal-slow host3 2s for 20s\n11s cmd host1 move g1 @not-g1 live\n50s end\n"},
    {"no-lease", "LEASE_UNPAUSE", 3, 1, false, "d", true,
     /* it hears that it was given the guest, and that this is stable, when its lease is over */
     "6s cmd @chair chair host3\n7s cmd host1 move g1 host1 live\n9s fence host1 fail for 60s\n"
     "10s guest-crash g1\n"
     "10s when \"* report guest-assigned host1 g1*\" daemon-stuck host1 for 12s\n"
     "10s when \"* report guest-assigned host1 g1*\" +100ms cut host1 for 30s\n60s end\n"},
    {"own-delivery", "ECHO", 3, 1, false, "s", true, "10s cut @g1 for 40s\n60s end\n"},
    {"late-echoes", "SEND_TIME", 3, 1, false, "s", true,
     /* echoes that took seconds arrive right before the cut; the daemon is dead: the watchdog is all */
     "10s slow-net host1 4000ms\n10s slow-net host2 4000ms\n10s slow-net host3 4000ms\n"
     "24s daemon-kill @g1\n24s cut @g1 for 30s\n60s end\n"},
    {"two-opens", "EPOCH", 5, 1, false, "ds", true,
     /* host1's daemon begins in the middle of an exchange that waits for host4: it hears the
      * reports of host3 and host5, and of host2 only the open, so it opens an epoch of its own.
      * What the others acknowledge is host2's. (host1 begins twice: the first time is why host2
      * does not ask for another exchange as soon as it is open) */
     "6s cmd @chair chair host2\n14500ms daemon-kill host1 for 100ms\n"
     "14850ms daemon-stuck host4 for 8s\n14900ms daemon-kill host1 for 100ms\n"
     "14950ms reform host2\n14990ms hold-rx host2 for 1110ms\n40s end\n"},
    {"old-verdict", "VERDICT_RING", 3, 1, false, "ds", true,
     "10s verdict-late host1 3s\n10s verdict-late host2 3s\n10s verdict-late host3 3s\n"
     "12s cut host1 for 15s\n50s end\n"},
    {"same-group", "RING_CLOSE", 3, 1, false, "ds", true, "10s reform host1\n30s end\n"},
    {"chair-leaves", "COORD_CLOSE", 3, 1, false, "ds", true,
     "10s daemon-kill @chair for 5s\n30s end\n"},
    {"own-log", "LINEAGE", 3, 2, false, "ds", true,
     "10s cut host1 for 10s\n13s guest-crash g1\n13s cmd host2 stop g2\n"
     "25s cut host1 for 10s\n28s cmd host3 start g2\n50s end\n"},
    {"left-and-back", "LEFT_NEW", 3, 2, false, "ds", false,
     /* processes leave and return inside one view, before it is closed */
     "10s daemon-kill host2 for 60ms\n10500ms reform host1\n10520ms daemon-kill host2 for 50ms\n"
     "10700ms daemon-kill host3 for 50ms\n10720ms reform host2\n10725ms daemon-kill host1 for 60ms\n"
     "14s reform host1\n14s daemon-kill host2 for 100ms\n14100ms daemon-kill host3 for 100ms\n"
     "18s journal-slow host2 900ms for 5s\n18100ms reform host2\n18200ms daemon-kill host2 for 50ms\n"
     "40s end\n"},
    {"late-result", "LOSS_NUMBER", 3, 2, false, "ds", true,
     /* what the device said of the first loss must not count for the second one */
     "10s power-off @not-chair for 11s\n40s fence host1 slow 5s\n40s fence host2 slow 5s\n"
     "40s fence host3 slow 5s\n41s power-off @not-chair for 11s\n70s end\n"},
    {"bound-of-four", "BOUND_TWO_NODE", 4, 1, true, "ds", true,
     "9s fence @g1 fail\n10s cut @g1 for 40s\n70s end\n"},
    {"two-hosts-split", "-", 2, 1, true, "ds", true,
     "9s fence host1 fail\n9s fence host2 fail\n10s cut host1 for 40s\n70s end\n"},
    {"old-facts", "FENCE_ANNOUNCED", 5, 2, false, "d", true,
     /* the coordinator is stopped when it is about to fence, and wakes when others have done it */
     "10s power-off host5 for 30s\n"
     "10s journal-slow host2 900ms for 4s\n10s journal-slow host3 900ms for 4s\n"
     "10s journal-slow host4 900ms for 4s\n"
     "10s when \"host1 report open*\" +300ms daemon-stuck host1 for 12s\n50s end\n"},
    {"let-go", "LET_GO", 3, 1, false, "ds", false,
     "10s cmd host2 disable g1\n20s hand-start host1 g1\n22s daemon-kill host1 for 30s\n"
     "30s cmd host2 enable g1\n60s end\n"},
    {"duel", "DUEL_TURN", 2, 1, true, "d", true, "10s cut host1 for 60s\n110s end\n"},
    {"turn-halfway", "DUEL_STEP", 2, 2, true, "d", true,
     /* the more important guest ends; only the coordinator hears that the turns change */
     "8s fence host1 slow 2s\n8s fence host2 slow 2s\n9s cmd host1 move g2 @not-chair live\n"
     "20s cmd host1 stop g2\n20s when \"* ends g2 *\" hold-rx @not-chair for 900ms\n"
     "20s when \"* ends g2 *\" +500ms cut @not-chair for 60s\n120s end\n"},
    {"back-in-the-ring", "FENCE_MEMBER", 3, 1, false, "d", true,
     /* the first try fails; before the next one it is back, only its daemon says nothing yet */
     "9s fence host1 fail for 5s\n9s fence host2 fail for 5s\n9s fence host3 fail for 5s\n"
     "10s daemon-stuck @not-chair for 10s\n10s cut @not-chair for 3s\n60s end\n"},
    {"outlived", "FENCE_LIVE", 3, 1, false, "ds", true,
     /* confirmed by the bound, it is back before the device that was told to switch it off does so */
     "9s fence host1 slow 60s\n9s fence host2 slow 60s\n9s fence host3 slow 60s\n"
     "10s power-off @not-chair for 45s\n100s end\n"},
    {"over", "FENCE_OVER", 3, 1, false, "d", true,
     "9s fence host3 fail for 30s\n10s power-off host3 for 40s\n"
     "10s when \"* fence host3 level 0 launched\" +50ms confirm host1 host3\n60s end\n"},
    {"budget", "FENCE_BUDGET", 5, 1, false, "d", true,
     "10s power-off host1 for 5s\n20s power-off host2 for 5s\n30s power-off host3 for 5s\n"
     "80s end\n"},
    {"flaps", "QUARANTINE", 3, 2, false, "d", true,
     "10s cut host3 for 6s\n26s cut host3 for 6s\n42s power-off host2 for 60s\n70s end\n"},
    {"fence-fails", "FENCE_FAILED", 3, 1, false, "d", true,
     "10s fence @g1 fail for 20s\n10s cut @g1 for 20s\n50s end\n"},
    {"worker-alone", "WORKERS_EMPTY", 3, 1, false, "ds", true,
     "5s driver host1 create hang x3 for 60s\n5s driver host2 create hang x3 for 60s\n"
     "5s driver host3 create hang x3 for 60s\n10s guest-crash g1\n"
     "10s when \"host1 op create g1 * begin\" +500ms cut host1\n"
     "10s when \"host2 op create g1 * begin\" +500ms cut host2\n"
     "10s when \"host3 op create g1 * begin\" +500ms cut host3\n"
     "10s fence host1 fail\n10s fence host2 fail\n10s fence host3 fail\n60s end\n"},
    {"backends-open", "BACKENDS_STOPPED", 3, 1, false, "ds", true,
     "9s backends-slow @g1 9s\n10s guest-crash g1\n40s end\n"},
    {"never-seen-pair", "STARTUP_FENCE", 3, 2, false, "d", true,
     "9s fence host1 fail\n10s split host1 | host2 host3\n10s reset host2\n10s reset host3\n60s end\n"},
    {"found-running", "ADOPT", 3, 2, false, "ds", true,
     "3s hand-start host2 g1\n3s hand-start host3 g2\n30s end\n"},
    {"prepared", "PREPARED", 3, 1, false, "ds", true, "10s cmd host1 move g1 @not-g1 live\n30s end\n"},
    {"goodbye", "DISARM_EMPTY", 3, 3, false, "ds", false,
     /* it owns nothing any more, but the worker of a move that was called off is still at it */
     "6s cmd host1 move g3 host1 live\n9s driver host2 receive hang x9 for 60s\n"
     "10s cmd host1 move g1 host2 live\n10s cmd host1 move g2 host2 live\n"
     "10s cmd host1 move g3 host2 live\n"
     "11s cmd host1 move-cancel g1\n11s cmd host1 move-cancel g2\n11s cmd host1 move-cancel g3\n"
     "11s shutdown host2 for 40s\n70s end\n"},
    {"quorum-gained", "HOLD_OFF", 3, 2, false, "ds", true,
     /* rings merge one by one: the third is only late */
     "10s split host1 | host2 | host3\n20s split host1 host2 | host3\n22s heal\n50s end\n"},
    {"hollow-open", "OPEN_IS_FACT", 3, 1, false, "ds", true,
     /* an open that only one has delivered must not outrank the others' facts; of two epochs with
      * one number the one of the higher node is the higher one */
     "6s cmd @chair chair host3\n9s fence host3 fail for 40s\n"
     "10s hold-rx host1 for 900ms\n10s hold-rx host2 for 900ms\n10100ms reform host3\n"
     "10200ms cut host3 for 10s\n14s cmd host1 stop g1\n60s end\n"},
    {"dead-count", "DEAD_LEAVE", 5, 1, false, "d", true,
     /* two are fenced; a fact reaches two of the other three; the third forgets it and founds a majority
      * with those that come back */
     "10s split host1 host2 host3 | host4 host5\n"
     "10s when \"host1 report host-confirmed host5*\" journal-slow host3 20s for 1400ms\n"
     "10s when \"host1 report host-confirmed host5*\" +100ms guest-crash g1\n"
     "10s when \"host1 report host-confirmed host5*\" +1500ms split host1 host2 | host3 host4 host5\n"
     "10s when \"host1 report host-confirmed host5*\" +1600ms daemon-kill host3 for 300ms\n"
     "80s heal\n100s end\n"},
    {"echo-of-the-dead", "CUT", 3, 1, false, "s", true,
     /* an idle host's lease must not come back before its daemon, which is stuck, knows that it was
      * confirmed dead */
     "9s daemon-stuck host2 for 50s\n9s daemon-stuck host3 for 500ms\n10s cut host2 for 25s\n"
     "80s end\n"},
    {"never-admitted", "CUT_BEGIN", 3, 1, false, "s", true,
     /* host3, empty, is confirmed dead and comes back. That it is admitted is in host1's journal
      * and nowhere else when host1's daemon begins anew, and is silent: its keeper must not echo
      * host3's beats to it. (host3 acknowledges the epoch, and has no time to acknowledge its
      * admission) */
     "6s cmd @chair chair host1\n7s cmd host1 move g1 host1 live\n10s cut host3 for 50s\n"
     "59s journal-slow host3 400ms for 4s\n"
     "59s when \"host1 report open host1*\" journal-slow host2 20s for 4s\n"
     "59s when \"host1 report open host1*\" +950ms split host1 | host2 | host3\n"
     "59s when \"host1 report open host1*\" +1s daemon-kill host1 for 300ms\n"
     "59s when \"host1 report open host1*\" +1s daemon-kill host2 for 300ms\n"
     "59s when \"host1 report open host1*\" +1s daemon-kill host3 for 300ms\n"
     "59s when \"host1 report open host1*\" +2s daemon-stuck host1 for 15s\n"
     "59s when \"host1 report open host1*\" +3s heal\n100s end\n"},
    {"wiped-voter", "EMPTY_JOURNAL", 3, 2, false, "ds", true,
     /* facts known to host1 and host2 only; host2 forgets them while host1 is off */
     "10s cut host3\n12s guest-crash g1\n13s guest-crash g2\n16s power-off host1 for 40s\n"
     "16s wipe host2 for 500ms\n17s heal\n40s cmd host2 stop g1\n70s end\n"},
    {"old-look", "FRESH_LOOK", 3, 1, false, "ds", true,
     /* started by hand after that host has looked round, before anybody wants it */
     "3990ms hand-start host3 g1\n30s end\n"},
    {"create-fails", "INC_ONCE", 3, 1, false, "ds", true,
     "3s driver host1 create fail x1\n3s driver host2 create fail x1\n"
     "3s driver host3 create fail x1\n30s end\n"},
    {"short-bound", "BOUND_SHORT", 3, 1, false, "s", true, "10s cut @g1 for 40s\n60s end\n"},
    {"one-is-stuck", "EXCHANGE_ALL", 5, 2, false, "ds", true,
     "10s daemon-stuck host5\n12s power-off host2 for 90s\n110s end\n"},
    {"slow-disks", "AGAIN_LIMIT", 3, 1, false, "ds", true,
     /* an exchange takes longer than the patience of those who wait for it */
     "10s journal-slow host1 3500ms\n10s journal-slow host2 3500ms\n10s journal-slow host3 3500ms\n"
     "12s reform host1\n180s end\n"},
    {"stale-majority", "RAFT_RULE", 3, 1, false, "ds", true,
     "11s journal-slow host1 300ms for 10s\n11s journal-slow host2 300ms for 10s\n"
     "11s journal-slow host3 300ms for 10s\n12s guest-crash g1\n12100ms reform host2\n40s end\n"},
    {"old-promise", "PROMISE", 3, 2, false, "ds", true,
     /* host3, the senior, is the only one to hear its own open; then it is silent in an exchange, and
      * the others open a lower epoch of the same number */
     "6s reset host1\n30s reset host2\n"
     "60s hold-rx host1 for 400ms\n60s hold-rx host2 for 400ms\n60010ms reform host1\n"
     "60200ms verdict-late host1 10s for 3s\n60200ms verdict-late host2 10s for 3s\n"
     "60300ms split host1 host2 | host3\n63s heal\n63400ms hold-tx host3 for 3s\n100s end\n"},
    {"forgets-what-it-acked", "FSYNC_ACK", 3, 2, false, "ds", true,
     "10s journal-slow host1 5s for 20s\n10s journal-slow host2 5s for 20s\n"
     "10s journal-slow host3 5s for 20s\n11s guest-crash g1\n12s cmd host1 stop g2\n"
     "13s all-off for 1s\n40s cmd host2 stop g1\n70s end\n"},
    {"source-lost", "FENCE_FIRST", 3, 1, false, "d", true,
     /* prepared at the target, which says so when the source is lost: the source, cut off, may not
      * know; the coordinator is neither of them */
     "6s cmd @chair chair host3\n7s cmd host1 move g1 host1 live\n9s fence host1 fail for 30s\n"
     "9s driver host1 send late\n9s cmd host1 move g1 host2 live\n"
     "9s when \"host1 suspended g1 *\" +49ms hold-tx host1 for 4s\n"
     "9s when \"host1 suspended g1 *\" +60ms cut host1 for 30s\n70s end\n"},
    {"freeze-tentative", "FREEZE_STABLE", 3, 1, false, "s", true,
     /* only the coordinator, who runs g1, hears that it froze the cluster; the others go on without */
     "10s hold-rx host2 for 900ms\n10s hold-rx host3 for 900ms\n10100ms cmd host1 freeze\n"
     "10200ms cut host1 for 60s\n90s end\n"},
    {"thawed-unbound", "FREEZE_BOUND", 2, 2, true, "p", true,
     /* bound when it was frozen; thawed, the storage is gone, so nobody needs it. Then it is back
      * for one of the two, who see each other no more */
     "40s cmd @chair freeze\n45s disk-all-lost for 100s\n60s cmd @chair thaw\n"
     "79900ms disk-back @g2\n80s cut @g1 for 60s\n150s end\n"},
    {"bound-while-frozen", "FREEZE_DISK", 2, 2, true, "p", true,
     /* frozen, nothing ends a host that loses the disk, so it must not count as bound */
     "40s cmd @chair freeze\n50s disk-lost @g1 for 50s\n110s cmd @chair thaw\n150s end\n"},
    {"thaw-unheard", "THAW_ARMED", 3, 1, false, "s", true,
     /* nobody hears that it has disarmed its watchdog, and it does not hear of the thaw */
     "10s cmd host2 freeze\n10s when \"host1 report freeze host1*\" hold-tx host1 for 90s\n"
     "10s when \"host1 report freeze host1*\" +50ms cut host1 for 90s\n20s cmd host2 thaw\n130s end\n"},
    {"thaw-by-hand", "THAW_LOOK", 3, 1, false, "ds", true,
     "10s cmd host1 freeze\n13s guest-killed g1\n14s daemon-kill host3 for 40s\n"
     "15s hand-start host3 g1\n20s cmd host1 thaw\n90s end\n"},
    {"unknown-by-hand", "KNOWN_GUEST", 3, 1, false, "ds", true,
     "0s config-without host2 g1\n3s hand-start host2 g1\n40s config-with host2 g1\n90s end\n"},
    {"hand-remains", "HAND_REMAINS", 3, 1, false, "ds", true,
     /* a daemon that begins reports before it has looked */
     "10s cmd host1 disable g1\n20s hand-start host2 g1\n29s backends-slow host2 9s for 20s\n"
     "30s guest-killed g1\n30100ms daemon-kill host2 for 200ms\n31s cmd host1 enable g1\n80s end\n"},
    {"hand-no-lease", "HAND_LAPSED", 3, 1, true, "p", true,
     /* its host has lost the disk, and with it the lease: it has looked all the same */
     "10s cmd host1 disable g1\n40s disk-lost host2 for 60s\n62s hand-start host2 g1\n"
     "70s cmd host1 enable g1\n130s end\n"},
    {"no-quorum", "QUORUM", 3, 2, false, "ds", true,
     "10s quorum-flip @chair for 20s\n12s guest-crash g1\n13s cmd host1 stop g2\n50s end\n"},
    {"diskless", "DISK_LEASE DISK_WAIT", 2, 1, true, "p", true,
     /* its lease by the network would go on for ever: two hosts need no echoes */
     "40s disk-lost @g1 for 60s\n40s cut @g1 for 60s\n110s end\n"},
    {"slow-cycle", "DISK_START", 2, 2, true, "p", true,
     /* the cycle that is under way when the pill is written ends much later, and is the last one;
      * the daemon is dead: the watchdog is all. Who has the more important g2 is first to fence */
     "39500ms cut @not-g2 for 90s\n41s disk-slow @not-g2 9s for 90s\n"
     "45s daemon-kill @not-g2 for 90s\n"
     "40s when \"* pill for * written\" +9600ms disk-lost @not-g2 for 60s\n140s end\n"},
    {"bitter-pill", "DISK_PILL", 2, 1, true, "p", true, "40s cut @g1 for 60s\n110s end\n"},
    {"not-bound", "DISK_BOUND", 2, 2, true, "p", true,
     /* storage is gone and nobody needs it; then it is back for one of the two, who see each other
      * no more */
     "40s disk-all-lost for 90s\n59900ms disk-back @g2\n60s cut @g1 for 60s\n130s end\n"},
    {"freed-too-soon", "DISK_STABLE", 2, 2, true, "p", true,
     /* only one of the two hears that nobody needs the disk */
     "40s disk-all-lost for 90s\n"
     "40s when \"host1 report shared-disk host1*answered*\" +900ms hold-rx host2 for 900ms\n"
     "40s when \"host1 report shared-disk host1*answered*\" +1400ms cut host1 for 60s\n"
     "40s when \"host1 report shared-disk host1*answered*\" +1600ms disk-back host2\n130s end\n"},
    {"heard-when-lost", "DISK_LOST_KEEPS", 2, 2, true, "p", true,
     /* back in the ring while the pill has its time, it hears that nobody needs the disk. host1 has
      * the more important guest, is first to fence, and cannot */
     "8s cmd @chair move g2 host1 live\n39s fence host2 fail for 20s\n40s cut host1 for 14s\n"
     "50s disk-lost host1 for 60s\n"
     "45s when \"host2 pill for host1 written\" disk-lost host2 for 15s\n110s end\n"},
    {"old-word", "DISK_GEN", 2, 2, true, "p", true,
     "40s disk-all-lost for 12s\n51900ms hold-rx @g2 for 2s\n53300ms disk-lost @g2 for 60s\n"
     "53400ms cut @g2 for 60s\n120s end\n"},
    {"floor", "DISK_FLOOR", 2, 2, true, "p", true,
     "40s disk-all-lost for 12s\n54s disk-lost @g1 for 60s\n54s cut @g1 for 60s\n150s end\n"},
    {"blind-duel", "DISK_DUEL", 2, 2, true, "p", true,
     /* host1, which has the more important guest, is first; its pill is not read, for host2 has
      * lost the disk; in its turn host2 would have host1 switched off, and reads the pill right
      * after */
     "8s cmd @chair move g2 host1 live\n30s fence host1 slow 1700ms\n"
     "40s disk-lost host2 for 11800ms\n40s cut host1 for 60s\n110s end\n"},
    {"apart", "STRONG_RULES", 3, 2, false, "ds", true,
     /* both would like the same host, and must be apart */
     "12s guest-crash g1\n20s power-off host1 for 20s\n60s end\n"},
    {"apart-under-way", "BOTH_ENDS", 3, 2, false, "ds", true,
     /* one is on its way to another host when the other one wants its place */
     "10s cmd host1 move g1 host2 live\n10100ms cmd host3 enable g2\n40s end\n"},
};
/* clang-format on */
const size_t sim_ndirected = sizeof(sim_directed) / sizeof(*sim_directed);

const struct sim_directed *sim_directed_find(const char *name)
{
    for (size_t i = 0; i < sim_ndirected; i++)
        if (strcmp(sim_directed[i].name, name) == 0)
            return &sim_directed[i];
    return NULL;
}
