#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of rule about places, times every reason for which guests leave a host.

  tests/scenario/places.py RUNNER [--log] [RULE/REASON...]
  tests/scenario/places.py --table

Writes each cell of the table as a scenario and has RUNNER run it, with all of the simulator's
invariants (memory and strong rules hold in every prefix of the facts). `--table` prints what is
expected as the table in doc/architecture.md.

The guests: `a`, and where a rule needs one its partner `b`. Others fill hosts up: `full…` is more
important than `a`, `low…` is less. For rules over racks host1 and host2 are rack a, the others rack b.
"""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
import cells  # noqa: E402

REASONS = ("failover", "evacuation", "preemption")

# The host of `a` is lost, and comes back after a while; or it is emptied; or it is lost and there
# is no room elsewhere but that of less important guests.
SCRIPTS = {
    "failover": "10s power-off host1 for 60s\n50s end\n",
    "evacuation": "10s cmd host3 evacuate host1\n60s end\n",
    "preemption": "10s power-off host1 for 60s\n45s end\n",
}


def guest(name, at=None, memory=1, priority=None, only=None, more=""):
    """`at`: it likes that host; `only`: it may run there and nowhere else."""
    priority = priority or {"a": 500, "b": 400, "f": 900, "l": 100}[name[0]]
    text = f"  - {{name: {name}, memory: {memory}, priority: {priority}"
    text += f", prefer: {{{at}: 9}}" if at else ""
    text += f", allowed: [{only}]" if only else ""
    return text + (", " + more if more else "") + "}\n"


def rule(kind, strength, over=None):
    return f"rules: [{{{kind}: [a, b], strength: {strength}{', over: ' + over if over else ''}}}]\n"


RACKS = ("hosts: 4\nlabels: {host1: [rack=a], host2: [rack=a], host3: [rack=b], host4: [rack=b]}\n")
ROOM = "room: 4\nfence: [device]\n"
NO_STOP = "never op shutdown\n"
ALIVE = "count 1 op create a * ok\n" + NO_STOP
CELLS = {}


def cell(row, reason, words, cluster, guests, expect, script=None, more=""):
    """One cell of the table: what is expected, in words, and how it is shown."""
    CELLS[row, reason] = (words, (cluster or "hosts: 3\n") + ROOM + more + "guests:\n" +
                          "".join(guests), script or SCRIPTS[reason], expect)


def stopped(*names):
    """These and nobody else give way, and come back when there is room."""
    return "".join(f"event guest-preempted * {n} is stopped\n" for n in names[:1]) + \
        "".join(f"count 1 host2 report guest-preempted * {n} is stopped\n" for n in names) + \
        f"count {len(names)} host2 report guest-preempted * is stopped\n"


def apart_and_together():
    """Rules over hosts."""
    # host2 has the partner and more room, host3 has neither.
    free = [guest("a", "host1"), guest("b", "host2"), guest("full3", only="host3", memory=3)]
    row = "apart, strong"
    cell(row, "failover", "where the other is not", rule("apart", "strong") + "hosts: 3\n", free,
         "map a host3\nnever host2 op create a\n")
    cell(row, "evacuation", "the same, alive", rule("apart", "strong") + "hosts: 3\n", free,
         "map a host3\n" + ALIVE)
    # the least important one is where a may not be, or should not be
    tight = [guest("a", "host1", 2), guest("b", only="host2", memory=2),
             guest("low2", only="host2", memory=2, priority=50),
             guest("low3", only="host3", memory=4)]
    cell(row, "preemption", "the least where the other is not",
         rule("apart", "strong") + "hosts: 3\n", tight,
         stopped("low3") + "map a host3\nmap low2 host2\n")
    row = "apart, weak"
    cell(row, "failover", "together rather than not at all", rule("apart", "weak") + "hosts: 3\n",
         [guest("a", "host1"), guest("b", "host2"), guest("full3", only="host3", memory=4)],
         "map a host2\n")
    cell(row, "evacuation", "where the other is not", rule("apart", "weak") + "hosts: 3\n", free,
         "map a host3\n" + ALIVE)
    cell(row, "preemption", "the least of all", rule("apart", "weak") + "hosts: 3\n", tight,
         stopped("low2") + "map a host2\nmap low3 host3\n")
    # host2 has room for one, host3 for both
    both = [guest("a", "host1", 2), guest("b", "host1", 2), guest("full2", only="host2", memory=2),
            guest("full4", only="host4", memory=4)]
    split = [guest("a", "host1", 2), guest("b", "host1", 2),
             guest("low2", only="host2", memory=2, priority=50),
             guest("full2", only="host2", memory=2),
             guest("low3", "host3", 2), guest("low4", "host3", 2)]
    for strength in ("strong", "delegate"):
        row = f"together, {strength}"
        rules = rule("together", strength) + "hosts: 4\n"
        cell(row, "failover", "both where both fit", rules, both,
             "map a host3\nmap b host3\nnever host2 op create a\nnever host2 op create b\n")
        cell(row, "evacuation", "one by stop and start, the other alive", rules, both,
             "map a host3\nmap b host3\nnever host2 op create a\nnever host2 op create b\n"
             "count 1 op shutdown ? * ok\ncount 1 op send ? * ok\n")
        cell(row, "preemption", "room for both, by stopping the least and moving",
             rule("together", strength) + "hosts: 3\n", split,
             stopped("low2", "low4") + "event report migrate * low3\ncount 1 op create low3 * ok\n"
             "map a host3\nmap b host3\nmap low3 host2\n")
    row = "together, weak"
    split = [guest("a", "host1", 2), guest("b", "host1", 2)]
    split += [guest(n, only=f"host{n[-1]}", memory=2) for n in ("full2", "full3", "low2", "low3")]
    cell(row, "failover", "apart rather than not at all", rule("together", "weak") + "hosts: 3\n",
         [guest("a", "host1", 2), guest("b", "host1", 2), guest("full2", only="host2", memory=2),
          guest("full3", only="host3", memory=2)],
         "event runs a inc\nmap a any\nmap b any\nnever guest-preempted\n")
    cell(row, "evacuation", "both where both fit, alive", rule("together", "weak") + "hosts: 4\n",
         both, "map a host3\nmap b host3\ncount 1 op create b * ok\n" + ALIVE)
    cell(row, "preemption", "the least of all", rule("together", "weak") + "hosts: 3\n",
         split, stopped("low2", "low3") + "map a any\nmap b any\n")


def over_racks():
    """Rules over racks."""
    # b is in the other rack, or in the same one; host3 has the most room
    for kind, at in (("apart", "host4"), ("together", "host2")):
        near = [guest("a", "host1"), guest("b", only=at, memory=2)]
        near += [guest("full2", only="host2", memory=2 if kind == "apart" else 1)]
        gone = [guest("a", "host1", 2), guest("b", only=at), guest("full2", only="host2", memory=3),
                guest("full4", only="host4", memory=3)]
        tight = [guest("a", "host1", 2), guest("b", only=at, memory=2),
                 guest("low2", only="host2", memory=2), guest("full3", only="host3", memory=2),
                 guest("low3", only="host3", memory=2, priority=50),
                 guest("full4", only="host4", memory=2)]
        tight += [guest("full5", only="host2" if kind == "apart" else "host4", memory=2)]
        for strength in ("strong", "weak"):
            row = f"{kind} over racks, {strength}"
            rules = rule(kind, strength, "rack") + RACKS
            strong = strength == "strong"
            if strong:
                cell(row, "failover", "same rack, the other host", rules, near,
                     "map a host2\nnever host3 op create a\nnever host4 op create a\n")
            else:
                cell(row, "failover", "other rack rather than not at all", rules, gone,
                     "map a host3\n")
            cell(row, "evacuation", "same rack, alive", rules, near, "map a host2\n" + ALIVE)
            if strong:
                cell(row, "preemption", "the least of the rack", rules, tight,
                     stopped("low2") + "map a host2\nmap low3 host3\n")
            else:
                cell(row, "preemption", "the least of all", rules, tight,
                     stopped("low3") + "map a host3\nmap low2 host2\n")
    row = "together over racks, delegate"
    rules = rule("together", "delegate", "rack") + RACKS
    moves = [guest("a", "host1", 2), guest("b", "host2"), guest("full2", only="host2", memory=3)]
    gone = "map full2 host2\nnever host2 op create a\ncount 0 host1 runs a inc 4\n"
    cell(row, "failover", "the partner comes along, alive", rules, moves,
         "event host2 op send b\nevent runs a\nmap a any\nmap b any\n"
         "count 1 op create b * ok\n" + gone)
    cell(row, "evacuation", "the partner comes along", rules, moves,
         "event report migrate b: b: goes along with a\nevent report migrate host? a\n"
         "map a any\nmap b any\nnever report guest-preempted\n" + gone)
    cell(row, "preemption", "both, where the least are", rules,
         moves + [guest("low3", "host3", 4), guest("low4", only="host4", memory=4, priority=200)],
         stopped("low3") + "map a host3\nmap b host3\nmap low4 host4\n")


def single_guests():
    """What one guest needs, may, or likes."""
    full = guest("full3", only="host3", memory=3)
    tight = [guest("full2", only="host2", memory=2),
             guest("low2", only="host2", memory=2, priority=50),
             guest("low3", only="host3", memory=4)]
    labels = "hosts: 3\nlabels: {host1: [san], host3: [san]}\n"
    for row, head, more in (("needs", labels, "needs: [san]"),
                            ("allowed hosts", "", "allowed: [host1, host3]")):
        a = guest("a", "host1", more=more)
        cell(row, "failover", "a host that has it" if head else "the other of them", head,
             [a, full], "map a host3\nnever host2 op create a\n")
        cell(row, "evacuation", "the same, alive", head, [a, full], "map a host3\n" + ALIVE)
        cell(row, "preemption", "the least there", head,
             [guest("a", "host1", 2, more=more)] + tight, stopped("low3") + "map a host3\nmap low2 host2\n")
    row = "prefer"
    likes = "  - {name: a, memory: %d, priority: 500, prefer: {host1: 9, host3: 5}}\n"
    cell(row, "failover", "the next best host", "", [likes % 1, full], "map a host3\n")
    cell(row, "evacuation", "the same, alive", "", [likes % 1, full], "map a host3\n" + ALIVE)
    cell(row, "preemption", "the least of all", "", [likes % 2] + tight,
         stopped("low2") + "map a host2\nmap low3 host3\n")


def freedom():
    """How much freedom there is."""
    row = "reserve: 1"
    half = [guest("a", "host1", 2), guest("low2", "host2", 2, 50), guest("low3", "host3", 2)]
    cell(row, "failover", "is used", "", half, "map a any\nnever guest-preempted\n",
         more="reserve: 1\n")
    cell(row, "evacuation", "refused, with what would help", "", half,
         "event reply * -16 the reserve of 1 would not be met*would help\nmap a host1\n",
         more="reserve: 1\n")
    cell(row, "preemption", "refused, with what would help", "",
         [guest("a", memory=4, more="enabled: no"), guest("low1", "host1"), guest("low2", "host2"),
          guest("low3", "host3")],
         "event reply * -16 the reserve of 1 would not be met*would help\nmap a none\n"
         "never guest-preempted\n",
         script="10s cmd host2 enable a\n30s end\n", more="reserve: 1\nrebalance: no\n")
    home = [guest("a", "host1", 2)]
    window = "10s cmd host2 maintenance-on host1\n40s cmd host3 maintenance-off host1\n90s end\n"
    lost = "10s power-off host1 for 20s\n90s end\n"
    # low has room again only on host1, or where a makes some
    few = [guest("a", "host1", 3), guest("full2", only="host2", memory=4),
           guest("low3", "host3", 2)]
    for failback in ("never", "maintenance-window", "auto"):
        row = f"failback: {failback}"
        more = f"failback: {failback}\n"
        back = failback == "auto"
        there = "map a host1\nevent migrate\n" if back else "map a any\nnever report migrate\n"
        cell(row, "failover", "comes home" if back else "stays away", "", home, there, lost, more)
        back = failback != "never"
        cell(row, "evacuation", "comes home after maintenance" if back else "stays away", "", home,
             "event report migrate\n" +
             ("event report migrate\nmap a host1\n" if back else
              "event host1 takes guests again\ncount 1 host2 report migrate\n"), window, more)
        back = failback == "auto"
        cell(row, "preemption", "comes home, and so does the other" if back else
             "stays, the other comes back", "", few,
             stopped("low3") + "event runs low3\n" + ("map a host1\nmap low3 any\n" if back else
                                                      "map a host3\nmap low3 host1\n"), lost, more)
    equal = [guest("a", "host1", 2), guest("b", "host1", 2, priority=500),
             guest("full2", only="host2", memory=4), guest("a3", "host3", 4)]
    lower = [guest("a", "host1", 2), guest("full2", only="host2", memory=4),
             guest("low3", only="host3", memory=4)]
    for preempt, guests, words, expect in (
            ("never", lower, "waits", "never guest-preempted\nmap a none\nmap low3 host3\n"
             "why a *no host can take it now*\n"),
            ("lower", equal, "waits for its equals",
             "never guest-preempted\nmap a none\nmap a3 host3\n"),
            ("more", equal, "two for one", stopped("a3") + "map a host3\nmap b host3\n")):
        cell(f"preempt: {preempt}", "preemption", words, "", guests, expect,
             more=f"preempt: {preempt}\n")


def run(runner, folder, name, log):
    row, reason = name
    path = f"{folder}/{row.replace(' ', '-').replace(',', '').replace(':', '')}-{reason}"
    os.mkdir(path)
    _, cluster, script, expect = CELLS[name]
    for file, text in (("cluster.yaml", cluster), ("script", script), ("expect", expect)):
        with open(f"{path}/{file}", "w", encoding="ascii") as out:
            out.write(text)
    argv = [runner] + (["--log"] if log else []) + [path]
    r = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    if r.returncode != 0 or log:
        print(r.stdout + r.stderr)
    return r.returncode == 0


def table():
    print("| rule | " + " | ".join(REASONS) + " |")
    print("|" + "---|" * (len(REASONS) + 1))
    for row in dict.fromkeys(r for r, _ in CELLS):
        ends = [CELLS.get((row, reason), ("",))[0] for reason in REASONS]
        print(f"| {row} | " + " | ".join(ends) + " |")


def main():
    for make in (apart_and_together, over_racks, single_guests, freedom):
        make()
    return cells.main(__doc__, "places", {"/".join(c): c for c in CELLS}, run,
                      lambda c: CELLS[c][0], table)


if __name__ == "__main__":
    sys.exit(main())
