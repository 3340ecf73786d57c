# SPDX-License-Identifier: GPL-2.0-or-later
"""xvm-had's side of the failover benchmark: guests of the process driver."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.abspath(HERE + "/../../cluster"))
from lib.cluster import Cluster, check_disks  # noqa: E402
from lib.room import wait_until  # noqa: E402

NAME = "xvm-had"
RUNNING = "\nstate 2\n"  # HA_COPY_RUNNING in the guest's state file


class Ours:
    def __init__(self, room, each, token, patience):
        self.each, self.patience = each, patience
        self.room = room
        self.c = Cluster(room, each=each, token_ms=token, watchdog=False)
        total = 3 * each
        self.c.guests = {f"g{i:04d}": {"memory": "1M", "priority": 100} for i in range(total)}
        # Guests that write ten times a second are the test's own load, not the work.
        tick = max(100, total)
        for g in self.c.guests:
            with open(f"{room.shared_dir}/{g}.behave", "w", encoding="ascii") as f:
                f.write(f"tick={tick}\n")
        self.c.witness.ALIVE = max(1.0, tick * 4 / 1000)
        self.c.witness.poll = max(0.03, total / 10000)
        self.nodes, self.power = self.c.nodes, self.c.power

    def start(self):
        self.c.start(timeout=self.patience)

    def coordinator(self):
        return self.c.coordinator()

    def on(self, node):
        return self.c.guests_on(node)

    def starts(self, node):
        """{guest: when it last began to run there}: when it wrote that it is no longer paused."""
        found = {}
        base = f"/proc/{node.init}/root/run/xvm-had/guests"
        for g in os.listdir(base):
            try:
                with open(f"{base}/{g}/state", encoding="ascii", errors="replace") as f:
                    if RUNNING in f.read():
                        found[g] = os.fstat(f.fileno()).st_mtime
            except OSError:
                pass
        return found

    def confirmed(self, since):
        """When the hosts first agreed that the victim is dead."""
        times = []
        for x in self.c.live():
            r = self.c.ctl(x, "events", "--json", "-n", "1000")
            times += [e["usec"] / 1e6 for e in json.loads(r.stdout)["events"]
                      if e["what"] == "host-confirmed" and e["usec"] / 1e6 >= since]
        return min(times, default=None)

    def back(self, node):
        """Power on; and the host that came back empty gets its share again, by stop and start."""
        node.power_on()
        wait_until("the host to be back", lambda: (self.c.status(node) or {}).get("synced"),
                   self.patience)
        mine = sorted(self.c.guests)[:self.each]
        for g in mine:
            self.c.ctl(node, "stop", g)
        wait_until("the guests to stop", lambda: not any(self.c.where(g) for g in mine),
                   self.patience)
        for g in mine:
            self.c.ctl(node, "start", g)
        self.c.wait_all_run(timeout=self.patience)

    def done(self):
        check_disks(self.room)
