#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Live moves by xvm-had beside `xl migrate` over ssh: the same two Xen hosts, the same kind of guest, in turns.

  tests/bench/run migration [--rounds N] [--fresh]

Uses the lab (tests/lab) that is up, or makes one. Two PVH guests with 96 MiB each count on their consoles
every 100 ms. One is managed by xvm-had, the other is xl's. Printed are the seconds that the command took,
and the longest silence of the guest meanwhile, as seen outside of the hosts.
"""
import argparse
import os
import statistics
import sys
import time

TREE = os.path.abspath(os.path.dirname(os.path.abspath(__file__)) + "/../../..")
sys.path.insert(0, TREE + "/tests/lab")
from lib import cluster, deploy, harness, where  # noqa: E402

OURS, THEIRS = "g1", "g4"


def prepare(fresh):
    """A lab whose two guests count on the first host."""
    try:
        hosts = [] if fresh else cluster.hosts()
    except where.LabError:
        hosts = []
    if not hosts:
        cluster.up(3)
        hosts = cluster.hosts()
    for h in hosts:
        h.ssh(f"sed -i 's/tick=[0-9]*/tick=100/' /etc/xen/{OURS}.cfg /etc/xen/{THEIRS}.cfg; "
              f"xl destroy {THEIRS} 2>/dev/null; true", timeout=60)
    deploy.deploy(TREE, guests={OURS: {}})
    lab = harness.Lab()
    lab.wait(f"{OURS} counts", lambda: lab.where(OURS), 300)
    lab.hosts[0].ssh(f"xl create -q /etc/xen/{THEIRS}.cfg", timeout=300)
    lab.wait(f"{THEIRS} counts", lambda: lab.where(THEIRS), 120)
    lab.put(OURS, lab.hosts[0])
    return lab


def timed(lab, guest, source, target, command):
    """(seconds that the command took, longest silence)."""
    begin = time.monotonic()
    source.ssh(command, timeout=900)
    seconds = time.monotonic() - begin
    lab.wait(f"{guest} counts on {target.name}", lambda: lab.runs_on(guest, target), 120)
    time.sleep(2)
    return seconds, lab.consoles.gap(guest, begin)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--rounds", type=int, default=3, help="moves there and back")
    p.add_argument("--fresh", action="store_true", help="a new lab, though one is up")
    args = p.parse_args()
    lab = prepare(args.fresh)
    one, two = lab.hosts[:2]
    rows = {OURS: [], THEIRS: []}
    for _ in range(args.rounds):
        for source, target in ((one, two), (two, one)):
            for guest, command in (
                    (THEIRS, f"xl migrate {THEIRS} {target.name}"),
                    (OURS, f"xvmhactl move {OURS} {target.name} --type live --wait")):
                rows[guest].append(timed(lab, guest, source, target, command))
    lab.consoles.check(counters=[OURS, THEIRS])
    lab.consoles.close()
    print(f"{'':22} {'seconds':>18}   {'silence (s)':>18}")
    for guest, name in ((THEIRS, "xl migrate over ssh"), (OURS, "xvmhactl move --wait")):
        cells = [f"{statistics.median(x):7.1f} [{max(x):6.1f}]" for x in zip(*rows[guest])]
        print(f"{name:22} {cells[0]:>18}   {cells[1]:>18}")
    print(f"median [worst] of {2 * args.rounds} moves each; processors are emulated, so compare the two only")
    return 0


if __name__ == "__main__":
    sys.exit(main())
