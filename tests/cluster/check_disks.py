#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Proves from the guests' disks that no guest ever ran twice: check_disks.py DIR.

A guest of the process driver appends "host incarnation tick" to DIR/GUEST.disk, one write() a line,
while it holds the lock on the disk. So the order of the lines is the order of the writes, and two
copies that wrote at the same time show as runs that interleave. For each disk:

 - lines form contiguous runs of one (host, incarnation); no run is ever taken up again;
 - incarnations grow from run to run (0, a guest started by hand, may come at any time);
 - ticks grow by one within a run; a run starts at tick 1 (a fresh start) or goes on after the last
   tick of the run before (memory that moved, or a copy that was adopted), never anywhere else;
 - only the last line of a run may be torn, and must then be the beginning of the line that was due.

And DIR/violations, where guests note that they met another's lock, must not exist.
Exit code 0: proved. 1: not so, with the reasons. 2: cannot be checked.
"""

import os
import sys

SHOWN = 20  # problems shown of one disk


class Run:
    """Consecutive lines of one host and incarnation."""

    def __init__(self, host, inc, line, tick):
        self.host, self.inc = host, inc
        self.line, self.first, self.last = line, tick, tick

    def __str__(self):
        return f"{self.host} incarnation {self.inc}"


def parse(line):
    """(host, incarnation, tick), or None for anything else than a whole line."""
    words = line.split(" ")
    if len(words) != 3 or not words[0] or not (words[1].isdigit() and words[2].isdigit()):
        return None
    return words[0], int(words[1]), int(words[2])


def is_torn(line, run):
    """Whether this is the beginning of the line that was due in that run."""
    return run is not None and f"{run.host} {run.inc} {run.last + 1}".startswith(line)


def is_torn_start(line, hosts):
    """Whether this may be all of a run that was killed within its first line."""
    words = line.split(" ")
    if len(words) == 1:
        return any(h.startswith(line) for h in hosts)
    return words[0] in hosts and len(words) <= 3 and all(w.isdigit() for w in words[1:] if w)


def check_start(new, old, runs):
    """Problems of the beginning of a run."""
    found = []
    for r in runs:
        if (r.host, r.inc) == (new.host, new.inc):
            found.append(f"line {new.line}: {new} goes on although {old} began in between (line "
                         f"{old.line}): two copies wrote at the same time")
            return found
    newest = max((r.inc for r in runs), default=0)
    if new.inc and new.inc <= newest:
        found.append(f"line {new.line}: {new} begins after incarnation {newest}")
    if new.first != 1 and (old is None or new.first != old.last + 1):
        since = f"{old} ended at {old.last}" if old else "nothing ran before"
        found.append(f"line {new.line}: {new} begins at tick {new.first}, but {since}: memory was "
                     "lost or is older than the disk")
    return found


def check_lines(lines):
    """(runs, problems) of the lines of one disk."""
    runs, problems, run, torn = [], [], None, None
    hosts = {parsed[0] for parsed in map(parse, lines) if parsed}
    for number, line in enumerate(lines, 1):
        parsed = parse(line)
        same = run is not None and parsed is not None and parsed[:2] == (run.host, run.inc)
        if parsed and same and torn is None and parsed[2] == run.last + 1:
            run.last = parsed[2]
        elif torn is None and is_torn(line, run) and not (parsed and same and
                                                          parsed[2] > run.last):
            torn = number
        elif parsed is None:
            if torn is not None or not is_torn_start(line, hosts):
                problems.append(f"line {number}: not a line of a guest: {line[:80]!r}")
            torn = number
        elif same:
            if torn is not None:
                problems.append(f"line {number}: {run} goes on after its torn line {torn}: only "
                                "the last line of a run may be torn")
            else:
                problems.append(f"line {number}: {run}: tick {parsed[2]} after {run.last}")
            run.last, torn = parsed[2], None
        else:
            new = Run(*parsed[:2], number, parsed[2])
            problems += check_start(new, run, runs)
            runs.append(new)
            run, torn = new, None
    return runs, problems


def check_disk(path):
    """(runs, problems) of one disk."""
    with open(path, "rb") as f:
        lines = f.read().decode("utf-8", errors="replace").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return check_lines(lines)


def check_violations(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            found = [f"double start caught by the lock on the disk: {line.strip()}" for line in f]
        return found or ["the file 'violations' exists"]
    except FileNotFoundError:
        return []


def main(arguments):
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Usage: check_disks.py DIR", file=sys.stderr)
        return 2
    folder = arguments[0]
    bad = 0
    nruns = nticks = 0
    try:
        disks = sorted(n for n in os.listdir(folder) if n.endswith(".disk"))
        found = {"violations": check_violations(os.path.join(folder, "violations"))}
        for name in disks:
            runs, found[name] = check_disk(os.path.join(folder, name))
            nruns += len(runs)
            nticks += sum(r.last - r.first + 1 for r in runs)
    except OSError as e:
        print(f"check_disks: {e}", file=sys.stderr)
        return 2
    for name, problems in found.items():
        bad += len(problems)
        for text in problems[:SHOWN]:
            print(f"{name}: {text}")
        if len(problems) > SHOWN:
            print(f"{name}: and {len(problems) - SHOWN} more")
    if bad:
        print(f"check_disks: {bad} problems on {len(disks)} disks in {folder}")
        return 1
    print(f"check_disks: {len(disks)} disks, {nruns} runs, {nticks} ticks: no guest ever ran twice")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
