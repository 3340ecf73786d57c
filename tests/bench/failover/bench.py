#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Failover times, ours beside Pacemaker's, on real clusters of three hosts in namespaces.

  tests/bench/run failover [-b BUILD] [--guests 1,20,100,1000] [--runs 5] [--token MS]
                           [--only xvm-had|Pacemaker] [--json FILE]

For each number K of guests a host, a cluster of each program is made, one after the other, on the same
nodes, corosync, token and fence agent. An ordinary host and the coordinator lose their power in turns:

  detect       power cut -> corosync's new membership: corosync's share, the same work for both
  ring->fence  new membership -> the fence agent is called
  fence        the agent's own time, the same for both
  off->first   the agent says off -> the first of the K guests is started. Ours also asks for the
               power's status in between, because it does not take the agent's word for it
  off->last    ... the last of them
  ring->first, ring->last: all of it, but corosync's share

Started: a guest of ours is a process that has locked its disk and begun to write it (the file that says
so is dated); a resource of Pacemaker's is ocf:pacemaker:Dummy, which touches a file. In milliseconds;
the median of the runs, and the worst in brackets. Run it on a machine that does nothing else.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.abspath(HERE + "/../../..")
sys.path.insert(0, HERE)
sys.path.insert(0, TREE + "/tests/cluster")
import ours  # noqa: E402
import pacemaker  # noqa: E402
from lib import room as rooms  # noqa: E402
from lib.room import wait_until  # noqa: E402

COLUMNS = ["detect", "ring->fence", "fence", "off->first", "off->last", "ring->first", "ring->last"]
SIDES = {ours.NAME: ours.Ours, pacemaker.NAME: pacemaker.Pacemaker}


def corosync_time(node, since):
    """When corosync on a node said that there is a new membership, first time after `since`."""
    path = node.dir + "/var/log/corosync/corosync.log"
    year = time.localtime(since).tm_year
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            m = re.match(r"(\w{3} +\d+ [\d:]{8})\.(\d+) .*A new membership", line)
            if m:
                t = time.mktime(time.strptime(f"{year} {m.group(1)}", "%Y %b %d %H:%M:%S"))
                t += float("0." + m.group(2))
                if t >= since - 0.001:  # the log has milliseconds, cut off
                    return t
    return None


def measure(side, victim, patience):
    """One failover of `victim`: {column: milliseconds}."""
    rest = [x for x in side.nodes if x is not victim]
    guests = set(side.on(victim))
    if not guests:
        raise RuntimeError(f"{victim.name} has no guests to lose")
    before = {x.name: side.starts(x) for x in rest}
    cut = victim.power_cut()

    def started():
        found = {}
        for x in rest:
            found.update({g: t for g, t in side.starts(x).items()
                          if g in guests and g not in before[x.name]})
        return found if set(found) == guests else None
    starts = wait_until("all guests to run again", started, patience, 0.1)
    ring = min(t for t in (corosync_time(x, cut) for x in rest) if t)
    off = min((k for k in side.power.offs(victim.name) if k.begin >= cut), key=lambda k: k.begin)
    first, last = min(starts.values()), max(starts.values())
    row = {"detect": ring - cut, "ring->fence": off.begin - ring, "fence": off.end - off.begin,
           "off->first": first - off.end, "off->last": last - off.end, "ring->first": first - ring,
           "ring->last": last - ring}
    confirmed = side.confirmed(cut)
    if confirmed:
        row["confirmed->first"] = first - confirmed
    return {k: v * 1000 for k, v in row.items()}


def series(side, args, patience):
    """Failovers of an ordinary host and of the coordinator in turns: {who: [row]}."""
    side.start()
    found = {"ordinary": [], "coordinator": []}
    for i in range(2 * args.runs):
        time.sleep(3)
        chair = side.coordinator()
        who = "coordinator" if i % 2 else "ordinary"
        victim = chair if i % 2 else [x for x in side.nodes if x is not chair][i // 2 % 2]
        found[who].append(measure(side, victim, patience))
        side.back(victim)
    side.done()
    return found


def inside(folder, args, work):
    """Process 1 of a room: prints what work(side, args, patience) found."""
    room = rooms.Room(folder)
    each = int(args.guests)
    patience = 180 + each  # thousands of resources take Pacemaker minutes
    status = 1
    try:
        found = work(SIDES[args.only](room, each, args.token, patience), args, patience)
        print("RESULT " + json.dumps(found), flush=True)
        status = 0
    except Exception:  # the room ends here: say what happened
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)


def figure(rows, column):
    values = [r[column] for r in rows if column in r]
    return f"{statistics.median(values):.0f} ({max(values):.0f})" if values else "-"


def one(name, each, args, script=HERE + "/bench.py"):
    """A cluster of one program in a room of its own; what `inside` found there, or None: the room's
    folder is kept."""
    folder = rooms.new_folder()
    argv = [sys.executable, script, "--inside", folder, "-b", args.build, "--guests", each, "--runs",
            str(args.runs), "--token", str(args.token), "--only", name]
    process = rooms.popen(argv, stdout=subprocess.PIPE, text=True)
    out = process.communicate()[0]
    m = re.search(r"^RESULT (.*)$", out, re.M)
    if process.returncode != 0 or not m:
        print(f"{each:>6}  {name:10}failed; logs are in {folder}", flush=True)
        with open(folder + "/kept", "w", encoding="ascii"):
            pass
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return json.loads(m.group(1))


def options(text, guests, runs, what_runs):
    """The command line that the benchmarks on these clusters share, before it is read."""
    p = argparse.ArgumentParser(description=text, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("-b", "--build", default=TREE + "/build")
    p.add_argument("--guests", default=guests, help="guests a host")
    p.add_argument("--runs", type=int, default=runs, help=what_runs)
    p.add_argument("--token", type=int, default=1000, help="corosync's token in ms; 0: its default")
    p.add_argument("--only", choices=sorted(SIDES), help="one of the programs")
    p.add_argument("--inside", help=argparse.SUPPRESS)
    return p


def begin(p, work):
    """Reads the command line; in a room it works there and does not return."""
    args = p.parse_args()
    os.environ["XVM_HA_BUILD"] = os.path.abspath(args.build)
    if args.inside:
        inside(args.inside, args, work)
    lack = pacemaker.missing() if args.only != ours.NAME else None
    if lack:
        sys.exit(f"bench: missing: {lack}; --only {ours.NAME} goes without")
    rooms.remove_stale()
    args.load = os.getloadavg()[0]
    print(f"{pacemaker.version()}; load of this machine before: {args.load:.1f}\n")
    return args


def main():
    p = options(__doc__, "1,20,100,1000", 5, "failovers of each kind")
    p.add_argument("--json", metavar="FILE", help="all rows, for programs")
    args = begin(p, series)
    print(f"{'guests':>6}  {'program':10}{'victim':12}" + "".join(f"{c:>15}" for c in COLUMNS))
    results, failed = [], 0
    for each in args.guests.split(","):
        for name in [args.only] if args.only else SIDES:
            found = one(name, each, args)
            failed += found is None
            for who, rows in (found or {}).items():
                results.append({"guests": int(each), "program": name, "victim": who, "rows": rows})
                print(f"{each:>6}  {name:10}{who:12}" +
                      "".join(f"{figure(rows, c):>15}" for c in COLUMNS), flush=True)
    if args.json:
        with open(args.json, "w", encoding="ascii") as f:
            json.dump({"pacemaker": pacemaker.version(), "token_ms": args.token, "load": args.load,
                       "results": results}, f, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
