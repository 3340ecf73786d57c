#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The planner beside others, on the same instances in the same run (called by tests/bench/run
planner).

  tests/bench/run planner [-b BUILD] [--quick] [--full] [--small N] [--runs N] [PART...]

Parts: speed, growth, tight, optimum, properties (random instances against every rule and brute
force, by tests/plan). --quick: small sizes only; --full: Pacemaker at 64 x 4000,
too (two minutes and 4 GB). What is compared is installed by contrib/setup bench; without it,
ours runs alone.

All are told: one host has failed and is fenced, its guests are to run elsewhere. `net` is the
sum of the priorities of lost guests that run again, less that of running guests that were
stopped, as a share of what was lost. Times: user CPU seconds of the whole program, reading and
writing included; planning alone is what `elapsed_us` (clock) and `cpu_us` say. Ours is the best
of several runs."""
import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.abspath(HERE + "/../../..")
sys.path.insert(0, HERE)
import instances  # noqa: E402
import optimum  # noqa: E402
import peers  # noqa: E402

SIZES = [(8, 100, 5), (16, 500, 5), (32, 1000, 3), (32, 2000, 3), (64, 4000, 2)]


def ours(x, ctl, runs=1):
    """(usage, placement, answer); the least of the runs."""
    best = None
    with tempfile.TemporaryDirectory(prefix="planner.") as folder:
        with open(folder + "/x.json", "w", encoding="ascii") as f:
            json.dump(x, f)
        for _ in range(runs):
            used = peers.measured([ctl, "plan", "--json", "--file", folder + "/x.json"],
                                  folder + "/out", 120)
            with open(folder + "/out", encoding="ascii") as f:
                answer = json.load(f)
            used["plan"] = answer["elapsed_us"] / 1e6
            used["cpu"] = answer["cpu_us"] / 1e6
            if best:
                used = {k: min(used[k], best[k]) for k in used}
            best = used
    return best, answer["placement"], answer


def judge(x, place):
    """What a placement is worth, and what it breaks."""
    before = peers.survivors(x)
    guests = {g["name"]: g for g in x["guests"]}
    memory = {h["name"]: h["memory_mib"] for h in x["hosts"]}
    up = {h["name"] for h in x["hosts"] if h["state"] == "up"}
    load = collections.Counter()
    for g, h in place.items():
        if h:
            load[h] += guests[g]["memory_mib"]
    broken = sum(load[h] > memory[h] for h in load) + sum(h not in up for h in place.values() if h)
    for g, h in place.items():
        broken += bool(h and guests[g]["allowed"] is not None and h not in guests[g]["allowed"])
    for r in x["rules"]:
        on = [place[g] for g in r["guests"] if place[g]]
        if r["strength"] != "weak":
            broken += len(on) - len(set(on)) if r["kind"] == "apart" else max(len(set(on)) - 1, 0)
    lost = [g for g in guests if not before[g]]
    stopped = [g for g in guests if before[g] and not place[g]]
    return {"lost": sum(guests[g]["priority"] for g in lost),
            "net": sum(guests[g]["priority"] for g in lost if place[g]) -
            sum(guests[g]["priority"] for g in stopped), "stopped": len(stopped),
            "moved": sum(bool(before[g] and place[g] and place[g] != before[g]) for g in guests),
            "broken": broken}


def counts(x, place):
    """How many guests of each priority run."""
    return dict(collections.Counter(g["priority"] for g in x["guests"] if place[g["name"]]))


def first_fit(x):
    """First-fit decreasing: lost guests by priority, then size, on the first host with room."""
    place = peers.survivors(x)
    guests = {g["name"]: g for g in x["guests"]}
    room = {h["name"]: h["memory_mib"] for h in x["hosts"] if h["state"] == "up"}
    for g, h in place.items():
        if h:
            room[h] -= guests[g]["memory_mib"]

    def fits(g, h):
        if room[h] < guests[g]["memory_mib"] or \
                (guests[g]["allowed"] is not None and h not in guests[g]["allowed"]):
            return False
        for r in x["rules"]:
            if r["strength"] == "weak" or g not in r["guests"]:
                continue
            others = {place[m] for m in r["guests"] if m != g and place[m]}
            if h in others if r["kind"] == "apart" else others - {h}:
                return False
        return True

    for g in sorted((g for g in place if not place[g]),
                    key=lambda g: (-guests[g]["priority"], -guests[g]["memory_mib"])):
        for h in room:
            if fits(g, h):
                place[g] = h
                room[h] -= guests[g]["memory_mib"]
                break
    return place


def better(a, b):
    """Do the counts a beat b, highest priority first?"""
    for p in sorted(set(a) | set(b), reverse=True):
        if a.get(p, 0) != b.get(p, 0):
            return a.get(p, 0) > b.get(p, 0)
    return False


def speed(args):
    print("\nSpeed: one host of a cluster that is 85 % full is lost. user CPU s / resident MB\n")
    print(f"{'':10}{'plan ms':>9}{'cpu ms':>8}{'xvmhactl plan':>18}{'crm_simulate':>18}"
          f"{'crm lean':>18}{'hail':>18}{'hbal':>18}   crm / ours")
    for nhosts, nguests, _ in SIZES[:2] if args.quick else SIZES:
        x = instances.tight(nhosts, nguests, "u85", 1)
        used, _, _ = ours(x, args.ctl, 7)
        cells, ratio = [], ""
        for name, run in (("crm", peers.pacemaker),
                          ("lean", lambda x: peers.pacemaker(x, lean=True)),
                          ("hail", peers.hail), ("hbal", peers.hbal)):
            big = name in ("crm", "lean") and nguests > 2000 and not args.full
            if args.alone or big:
                cells.append("-")
                continue
            other = run(x)[0]
            cells.append("%.3f / %.0f" % (other["user"], other["mb"]))
            if name == "crm":
                ratio = "%.0f" % (other["user"] / max(used["user"], .001))
        mine = "%.3f / %.0f" % (used["user"], used["mb"])
        print(f"{nhosts:3} x {nguests:4}{used['plan'] * 1000:9.2f}"
              f"{used['cpu'] * 1000:8.2f}{mine:>18}" +
              "".join(f"{c:>18}" for c in cells) + f"   {ratio}", flush=True)


def growth(args):
    print("\nGrowth: 64 hosts, one lost; planning alone, CPU ms (and µs a guest)\n")
    print(f"{'guests':>8}{'60 % full':>20}{'85 % full':>20}{'tight':>20}{'memory KiB':>12}")
    for nguests in (500, 1000, 2000) if args.quick else (500, 1000, 2000, 4000, 8000):
        cells, memory = [], 0
        for mode in ("u60", "u85", "x70"):
            used, _, answer = ours(instances.tight(64, nguests, mode, 1), args.ctl, 5)
            memory = max(memory, answer["memory_bytes"])
            cells.append("%.2f (%.2f)" % (used["cpu"] * 1e3, used["cpu"] * 1e6 / nguests))
        print(f"{nguests:8}" + "".join(f"{c:>20}" for c in cells) + f"{memory // 1024:12}",
              flush=True)


def tight(args):
    print("\nTight memory: free is 70 % of what the lost host's guests need "
          "(sums over the instances)\n")
    print(f"{'':10}{'n':>3}  {'':14}{'net':>8}{'moved':>8}{'stopped':>9}{'broken':>8}{'user s':>9}")
    planners = [("ours", lambda x: ours(x, args.ctl, 3)[:2]), ("Pacemaker", peers.pacemaker),
                ("hail", peers.hail), ("hbal", peers.hbal)]
    for nhosts, nguests, n in SIZES[:2] if args.quick else SIZES:
        for name, run in planners[:1] if args.alone else planners:
            if name == "Pacemaker" and nguests > 2000 and not args.full:
                continue
            total = collections.Counter()
            for seed in range(1, n + 1):
                x = instances.tight(nhosts, nguests, "x70", seed)
                used, place = run(x)
                total.update(judge(x, place))
                total["user"] += used["user"]
            net = 100 * total["net"] / total["lost"]
            print(f"{nhosts:3} x {nguests:4}{n:3}  {name:14}{net:7.1f}%"
                  f"{total['moved']:8}{total['stopped']:9}{total['broken']:8}{total['user']:9.3f}",
                  flush=True)


def exact(args):
    n = min(args.small, 100) if args.quick else args.small
    print(f"\nOptimum: {n} small tight instances (4 to 8 hosts, up to 60 guests), by cbc\n")
    same = worse = undecided = broken = ffd = short = 0
    for seed in range(1, n + 1):
        x = instances.small(seed)
        _, place, _ = ours(x, args.ctl)
        mine = counts(x, place)
        broken += judge(x, place)["broken"]
        ffd += better(counts(x, first_fit(x)), mine)
        short += len([1 for h in place.values() if not h]) > 0
        if args.alone:
            continue
        try:
            found = optimum.better_than(x, mine)
        except optimum.Undecided:
            undecided += 1
            continue
        same += found is None
        worse += found is not None
        if found:
            print(f"  seed {seed}: {found[1]} of priority {found[0]} could run, "
                  f"ours {mine.get(found[0], 0)}", flush=True)
    print(f"equal to the optimum {same}, worse {worse}, undecided {undecided} "
          f"({100 * same / max(same + worse, 1):.1f} %); not all could run in {short}; "
          f"first-fit decreasing better: {ffd}; hard rules broken: {broken}")
    # of a few hundred, chance may have two or three
    return bool(ffd or broken or worse > max(.01 * (same + worse), 3 if n < 300 else 0))


def properties(args):
    """Hard rules in every place and after every step, also when steps fail; `tolerates`."""
    runs = args.runs or (20000 if args.quick else 1000000)
    jobs = os.cpu_count() or 1
    print(f"\nProperties: {runs} random instances of up to 8 hosts and 40 guests: hard rules, each "
          "step failing,\nfirst-fit decreasing, `tolerates` against brute force\n", flush=True)
    command = [os.path.abspath(args.build) + "/tests/plan/plan_prop", "--seed", "1000000", "--runs",
               str(runs), "--jobs", str(jobs)]
    return subprocess.run(command, check=False).returncode


PARTS = {"speed": speed, "growth": growth, "tight": tight, "optimum": exact,
         "properties": properties}


def main():
    p = argparse.ArgumentParser(description=__doc__, prog="tests/bench/run planner",
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-b", "--build", default=TREE + "/build")
    p.add_argument("--quick", action="store_true")
    p.add_argument("--full", action="store_true")
    p.add_argument("--small", type=int, default=1000, metavar="N", help="instances for `optimum`")
    p.add_argument("--runs", type=int, default=0, metavar="N", help="instances for `properties`")
    p.add_argument("parts", nargs="*", metavar="PART", choices=[[]] + list(PARTS))
    args = p.parse_args()
    args.ctl = os.path.abspath(args.build) + "/daemon/xvmhactl"
    lacking = peers.missing()
    args.alone = bool(lacking)
    if lacking:
        print("Alone: not installed (contrib/setup bench): " + ", ".join(lacking))
    with open("/proc/cpuinfo", encoding="ascii") as f:
        names = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    model = names[0] if names else "?"
    date = time.strftime("%F %R")
    print(f"{model}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {date}")
    failed = 0
    for part in args.parts or PARTS:
        failed |= bool(PARTS[part](args))
    return failed


if __name__ == "__main__":
    sys.exit(main())
