#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every point of a move at which something can break, times everything that can break there.

  tests/scenario/moves.py RUNNER [--log] [PHASE-FAILURE...]
  tests/scenario/moves.py --table

Writes each cell of the table as a scenario and has RUNNER run it, with all of the simulator's
invariants. `--table` prints what is expected as the table in doc/architecture.md.
"""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
import cells  # noqa: E402

# When: a line of the log. The guest moves from host2 to host3; host1 coordinates.
PHASES = {
    "decided": ("the move is decided", "* report migrate * g1 *"),
    "begun": ("both ends are at it, the guest runs", "host3 op receive g1 * begin"),
    "suspended": ("suspended, the image on its way", "* suspended g1 for host3"),
    "complete": ("the image is complete, nobody knows", "host3 op receive g1 * ok"),
    "committed": ("committed, not yet running", "host1 report commit * g1*"),
    "arrived": ("it runs at the target", "host3 runs g1 *"),
}
# What: ops of the simulator's language, for a while.
FAILURES = {
    "source-dies": ("source dies", "power-off host2"),
    "target-dies": ("target dies", "power-off host3"),
    "coordinator-dies": ("coordinator dies", "power-off host1"),
    "source-cut": ("source cut off", "cut host2 for 30s"),
    "target-cut": ("target cut off", "cut host3 for 30s"),
    "source-daemon": ("source's daemon restarts", "daemon-kill host2 for 1s"),
    "target-daemon": ("target's daemon restarts", "daemon-kill host3 for 1s"),
    "coordinator-daemon": ("coordinator's daemon restarts", "daemon-kill host1 for 1s"),
    "cancel": ("cancelled", "cmd host4 move-cancel g1"),
}
# Where the guest is in the end: "source" or "target", with its memory, or "started" anew, anywhere.
EARLY = {"source-dies": "started", "source-cut": "started", "target-dies": "source",
         "target-cut": "source", "cancel": "source"}
LATE = {"target-dies": "started", "target-cut": "started"}
EXPECTED = {
    "decided": EARLY,
    "begun": EARLY,
    "suspended": EARLY,
    # The source is fenced first, then its image is committed: the memory survives its host.
    "complete": {"target-dies": "source", "target-cut": "source", "cancel": "source"},
    "committed": LATE,
    "arrived": LATE,
}
ENDS = {
    "source": "map g1 host2\nnever runs g1 inc 3\nnever runs g1 inc 4\n",
    "target": "event host3 runs g1 inc 3\nmap g1 host3\nnever runs g1 inc 4\n",
    "started": "event runs g1 inc 4\nmap g1 any\n",
}


def expected(phase, failure):
    return EXPECTED[phase].get(failure, "target")


def story(phase, failure):
    """(cluster.yaml, script) of one cell."""
    cluster = "hosts: 4\nguests: 1\nfence: [device, self]\n"
    script = ("8s cmd host4 move g1 host2 live\n"
              "20s cmd host4 move g1 host3 live\n"
              f"20s when \"{PHASES[phase][1]}\" {FAILURES[failure][1]}\n"
              "110s end\n")
    return cluster, script


def table():
    width = max(len(x[0]) for x in PHASES.values()) + 2
    heads = [x[0] for x in FAILURES.values()]
    print("| " + "when".ljust(width) + " | " + " | ".join(heads) + " |")
    print("|" + "---|" * (len(heads) + 1))
    for phase, (words, _) in PHASES.items():
        cells = [expected(phase, f).ljust(len(h)) for f, h in zip(FAILURES, heads)]
        print("| " + words.ljust(width) + " | " + " | ".join(cells) + " |")


def run(runner, folder, cell, log):
    phase, failure = cell
    name = f"{phase}-{failure}"
    os.mkdir(f"{folder}/{name}")
    cluster, script = story(phase, failure)
    for file, text in (("cluster.yaml", cluster), ("script", script),
                       ("expect", ENDS[expected(phase, failure)])):
        with open(f"{folder}/{name}/{file}", "w", encoding="ascii") as out:
            out.write(text)
    argv = [runner] + (["--log"] if log else []) + [f"{folder}/{name}"]
    r = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    text = r.stdout + r.stderr
    if r.returncode != 0 or log:
        print(text)
    return r.returncode == 0


def main():
    names = {f"{p}-{f}": (p, f) for p in PHASES for f in FAILURES}
    return cells.main(__doc__, "moves", names, run, lambda c: expected(*c), table)


if __name__ == "__main__":
    sys.exit(main())
