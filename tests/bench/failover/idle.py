#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a cluster costs while nothing happens, ours beside Pacemaker, on the same three nodes.

  tests/bench/run idle [-b BUILD] [--guests 1,20,100] [--runs 60] [--token MS]
                       [--only xvm-had|Pacemaker]

For each number K of guests a host, a cluster of each program is made, one after the other, and left
alone. Then, over --runs seconds, a host (the mean of three):

  cpu       processor time of the program's daemons and of what they run, in ms a second
  corosync  the same of corosync, which carries their messages
  memory    of the daemons (Pss: what is shared is counted once)

Guests are processes of the process driver, resources ocf:pacemaker:Dummy with the usual monitor. Their
own work does not count here; that of asking after them does.
"""
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import bench  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
GUEST = "xvm-ha-guest"  # the guests themselves


def cpu(pid):
    """Seconds of this process and of its children that have ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(x) for x in fields[11:15]) / TICK


def memory(pid):
    """KiB."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def split(node):
    """([pids of corosync], [pids of the program's daemons])."""
    carrier, daemons = [], []
    for pid, words in node.processes().items():
        name = os.path.basename(words.split()[0]) if words.split() else ""
        if name == "corosync":
            carrier.append(pid)
        elif name.startswith(("xvm-ha", "pacemaker")) and name != GUEST:
            daemons.append(pid)
    return carrier, daemons


def watch(side, args, _):
    side.start()
    time.sleep(20)  # what the start left to do
    parts = {x: split(x) for x in side.nodes}
    before = {x: [sum(map(cpu, pids)) for pids in parts[x]] for x in side.nodes}
    began = time.monotonic()
    time.sleep(args.runs)
    seconds = (time.monotonic() - began) * len(side.nodes)
    spent = [sum(sum(map(cpu, parts[x][i])) - before[x][i] for x in side.nodes) for i in (0, 1)]
    side.done()
    return {"corosync": spent[0] * 1000 / seconds, "cpu": spent[1] * 1000 / seconds,
            "memory": sum(memory(p) for x in side.nodes for p in parts[x][1]) / len(side.nodes) / 1024}


def main():
    args = bench.begin(bench.options(__doc__, "1,20,100", 60, "seconds of watching"), watch)
    print(f"{'guests':>6}  {'program':10}{'cpu ms/s':>10}{'corosync ms/s':>15}{'memory MiB':>12}")
    failed = 0
    for each in args.guests.split(","):
        for name in [args.only] if args.only else bench.SIDES:
            found = bench.one(name, each, args, HERE + "/idle.py")
            failed += found is None
            if found:
                print(f"{each:>6}  {name:10}{found['cpu']:>10.2f}{found['corosync']:>15.2f}"
                      f"{found['memory']:>12.1f}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
