# SPDX-License-Identifier: GPL-2.0-or-later
"""Anything dies at any moment, again and again; then all is healed: no guest twice, none lost."""
import os
import random
import signal
import time

from lib.cluster import Cluster
from lib.room import wait_until


class Chaos:
    """Random harm from a seed. Everything that it breaks is written down to be healed."""

    def __init__(self, cluster, rng):
        self.c, self.rng = cluster, rng
        self.stopped = []  # (node, service, boot) under SIGSTOP

    def harm(self):
        live = self.c.live()
        if not live:
            return
        node = self.rng.choice(live)
        kinds = [(self.kill, "xvm-had", 4), (self.kill, "keeper", 2), (self.kill, "corosync", 2),
                 (self.freeze, "xvm-had", 3), (self.freeze, "keeper", 1),
                 (self.freeze, "corosync", 1), (self.power, None, 4), (self.cut, None, 4),
                 (self.worker, None, 3), (self.fence_trouble, None, 2), (self.brief_cut, None, 2)]
        do, what, _ = self.rng.choices(kinds, [k[2] for k in kinds])[0]
        try:
            do(node, what)
        except OSError as e:
            self.c.room.note(f"chaos: {node.name} was gone before: {e}")

    def kill(self, node, what):
        self.c.room.note(f"chaos: kill {what} on {node.name}")
        self.signal(node, what, signal.SIGKILL)

    def signal(self, node, what, number):
        """Whether it reached the service: a node that has just come up may not have begun it yet."""
        service = node.services.get(what)
        return service is not None and service.kill(number)

    def freeze(self, node, what):
        self.c.room.note(f"chaos: freeze {what} on {node.name}")
        if self.signal(node, what, signal.SIGSTOP):
            self.stopped.append((node, what, node.boots))

    def power(self, node, _):
        node.power_cut("chaos: power cut")

    def cut(self, node, _):
        node.cut()

    def brief_cut(self, node, _):
        node.cut()
        time.sleep(self.rng.uniform(0.2, 4))
        node.join()

    def worker(self, node, _):
        """Any process of the node that is no service: a worker, a guest, a fence agent."""
        mine = {s.pid() for s in list(node.services.values())}
        rest = [p for p in node.processes() if p not in mine]
        if rest:
            pid = self.rng.choice(rest)
            self.c.room.note(f"chaos: kill process {node.processes().get(pid)} on {node.name}")
            os.kill(pid, signal.SIGKILL)

    def fence_trouble(self, node, _):
        how = self.rng.choice(["fail", "hang", "slow:3", "slow:8"])
        self.c.room.note(f"chaos: the switch of {node.name} will {how}")
        with open(node.dir + "/fence-behaviour", "w", encoding="ascii") as f:
            f.write(how + "\n")

    def heal_some(self):
        for item in list(self.stopped):
            if self.rng.random() < 0.5:
                self.unfreeze(item)
        for x in self.c.nodes:
            if x.cut_off and self.rng.random() < 0.5:
                x.join()
            if self.rng.random() < 0.5:
                self.mend_switch(x)
            self.revive(x)

    def unfreeze(self, item):
        self.stopped.remove(item)
        node, what, boot = item
        if node.powered and node.boots == boot:
            self.c.room.note(f"chaos: thaw {what} on {node.name}")
            self.signal(node, what, signal.SIGCONT)

    def mend_switch(self, node):
        try:
            os.unlink(node.dir + "/fence-behaviour")
        except FileNotFoundError:
            pass

    def revive(self, node):
        """corosync has no Restart=: an operator starts it again."""
        s = node.services.get("corosync")
        if node.powered and s and s.pid() is None:
            self.c.room.note(f"operator: start corosync on {node.name}")
            node.start_corosync(self.c.corosync_conf)

    def heal(self):
        self.c.room.note("heal")
        for item in list(self.stopped):
            self.unfreeze(item)
        for x in self.c.nodes:
            self.mend_switch(x)
            if x.cut_off:
                x.join()
            x.power_on_after = 1
            x.power_on()
            self.revive(x)


def chaos(room, seed_offset, n, **options):
    seed = int(os.environ.get("XVM_HA_SEED", "1")) + seed_offset
    rounds = int(os.environ.get("XVM_HA_ROUNDS", "12"))
    print(f"seed {seed - seed_offset}, {rounds} rounds")
    rng = random.Random(seed)
    c = Cluster(room, n=n, **options).start()
    for x in c.nodes:
        x.power_on_after = 2
    harm = Chaos(c, rng)
    for i in range(rounds):
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
            harm.harm()
            time.sleep(rng.uniform(0, 1.5))
        time.sleep(rng.uniform(0, 6))
        harm.heal_some()
        # Now and then the cluster gets the time to finish what it does.
        if i % 4 == 3:
            harm.heal()
            settle(c, harm, 150)
            c.check_disks()
    harm.heal()
    settle(c, harm, 150)
    c.check_disks()
    lives = sum(len(c.witness.history(g)) for g in c.guests)
    print(f"{rounds} rounds, {sum(x.boots for x in c.nodes)} boots, "
          f"{len(c.power.offs())} fence calls, {sum(x.watchdog.fired for x in c.nodes)} watchdog "
          f"resets, {lives} guest lives: no guest twice, none lost")


def settle(c, harm, timeout):
    """Every guest runs, and goes on running for a while."""
    def everything():
        for x in c.nodes:
            harm.revive(x)
        return all(c.witness.map(c.guests).values())
    try:
        wait_until("all guests to run after the healing", everything, timeout, 0.3)
        time.sleep(3)
        wait_until("all guests to go on running", everything, timeout, 0.3)
    except TimeoutError as e:
        missing = [g for g, h in c.witness.map(c.guests).items() if h is None]
        raise TimeoutError(f"{e}: lost {', '.join(missing)}\n{c.describe()}") from None


def case_chaos_device(room):
    """Three hosts with a power switch, then the watchdog, as fence levels."""
    chaos(room, 0, 3, levels=("power", "self"), timers={"fence_retry": "1s"},
          device={"timeout": "6s"}, defaults=PATIENT)


def case_chaos_no_watchdog(room):
    """Three hosts that have nothing but a power switch."""
    chaos(room, 1000, 3, levels=("power",), watchdog=False, timers={"fence_retry": "1s"},
          device={"timeout": "6s"}, defaults=PATIENT)


def case_chaos_five(room):
    """Five hosts."""
    chaos(room, 2000, 5, levels=("power", "self"), timers={"fence_retry": "1s"}, each=1,
          device={"timeout": "6s"}, defaults=PATIENT)


# Guests are killed on purpose and often: they must not count as failed for good.
PATIENT = {"restart": {"limit": 1000, "window": "10m", "delay": "200ms"}}

for _case in (case_chaos_device, case_chaos_no_watchdog, case_chaos_five):
    _case.limit = 900
