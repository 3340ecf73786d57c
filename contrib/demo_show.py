#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The story that contrib/demo tells. Uses the cluster tests' harness; see tests/cluster/lib/room.py."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time

TREE = os.path.abspath(os.path.dirname(os.path.abspath(__file__)) + "/..")
sys.path.insert(0, TREE + "/tests/cluster")
from lib import room as rooms  # noqa: E402
from lib.cluster import Cluster, check_disks  # noqa: E402
from lib.room import wait_until  # noqa: E402

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def say(text=""):
    print(text, flush=True)


def say_text(text, indent=0, code=None):
    """A paragraph, wrapped between words to the terminal's width."""
    width = shutil.get_terminal_size((80, 24)).columns
    text = "\n".join(textwrap.wrap(text, width, subsequent_indent=" " * indent,
                                   break_long_words=False, break_on_hyphens=False))
    say(paint(code, text) if code else text)


def title(number, text):
    say()
    say(paint("1", f"[{number}/5] {text}"))


class Story:
    """Prints what happens, with the seconds since the power cut, sorted by time."""

    HOLD = 0.4  # lines are held back a little, so that two sources come out in order

    def __init__(self, cluster, victim, guests):
        self.c, self.victim, self.guests = cluster, victim, guests
        self.start = time.time()
        self.lines = []
        self.told = set()
        self.done = set()

    def add(self, when, key, text, code="0"):
        if key not in self.told and when >= self.start - 0.01:
            self.told.add(key)
            self.lines.append((when, text, code))

    def flush(self, everything=False):
        now = time.time()
        for line in sorted(self.lines):
            if everything or line[0] < now - self.HOLD:
                self.lines.remove(line)
                say_text(f"@@ {line[0] - self.start:+7.2f} s  {line[1]}".replace("@@", " "), 13,
                         line[2])

    def look(self, node):
        """Collects news: the daemons' events, the power switch, the disks."""
        for e in events(self.c, node):
            text = tell(e, self.victim.name)
            if text:
                self.add(e["usec"] / 1e6, (e["what"], e.get("host"), e.get("guest"), e["text"]), text)
        for call in self.c.power.offs():
            if call.end:
                self.add(call.end, call, f"power switch: {call.plug} has no power any more" if call.status == 0
                         else "power switch: it did not work")
        for g in self.guests:
            for r in self.c.runs_after(g, self.start):
                self.done.add(g)
                self.add(r.first, ("run", g, r.inc), f"{g} runs on {r.host}: it writes to its disk",
                         "32")


def tell(event, victim):
    """An event as a line of the story, or None if it is not part of it."""
    what, host, guest = event["what"], event.get("host"), event.get("guest")
    why = event["text"]
    if what == "view" and "silent" in why:
        return "nothing is heard from the coordinator: the others compare what they know"
    if what == "view" and why.endswith("in the ring"):
        return f"corosync: {why}, {victim} is not among them"
    if what == "open":
        return f"the others agree on what they know; {host} coordinates"
    if what == "host-lost" and host == victim:
        return f"{victim} is lost, but perhaps alive: its guests must wait"
    if what == "host-fencing" and host == victim:
        return "fencing: the power switch is told to turn it off, to be sure"
    if what == "host-confirmed" and host == victim:
        return f"{victim} is confirmed dead: now its guests may start, important ones first"
    if what == "guest-assigned" and guest:
        return f"{guest} goes to {host}"
    if what in ("host-fence-failed", "guest-blocked"):
        return f"{what}: {why}"
    return None


def events(cluster, node):
    """The daemon's events, oldest first: usec, what, host, guest, text."""
    try:
        r = cluster.ctl(node, "events", "--json", "-n", "1000", check=False, timeout=5)
        return json.loads(r.stdout)["events"] if r.returncode == 0 else []
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError):
        return []


def show(cluster, node, *args):
    say(paint("1", f"{node.name}# xvmhactl {' '.join(args)}"))
    say(cluster.ctl(node, *args).stdout.rstrip("\n"))


# ------------------------------------------------------------------------------ a second terminal

HOSTS = "/demo-hosts.json"


def tell_processes(room, cluster):
    """For --on: process 1 of each host, by the room's own numbers."""
    with open(room.folder + HOSTS, "w", encoding="ascii") as f:
        json.dump({x.name: x.init for x in cluster.nodes if x.powered}, f)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return f.read().split()


def on_host(host, args):
    """xvmhactl on a host of a demo that runs in another terminal."""
    base = tempfile.gettempdir()
    rooms.remove_stale()
    for name in sorted(os.listdir(base)):
        folder = os.path.join(base, name)
        if not name.startswith(rooms.PREFIX) or not os.path.exists(folder + HOSTS):
            continue
        with open(folder + HOSTS, encoding="ascii") as f:
            hosts = json.load(f)
        with open(folder + "/owner", encoding="ascii") as f:
            owner = f.read().split()[0]
        if host not in hosts:
            say(f"demo: no host {host} there, expected one of: {', '.join(hosts)}")
            return 2
        # Through the room's /proc to that of the host: its processes have other numbers here.
        room = children(children(owner)[0])[0]
        path = f"/proc/{room}/root/proc/{hosts[host]}/root/run/xvm-had/xvm-had.sock"
        return subprocess.call([os.environ["XVM_HA_BUILD"] + "/daemon/xvmhactl", "--socket", path,
                                *args])
    say("demo: none runs here (or it has no hosts yet): start contrib/demo in another terminal")
    return 2


def play(room, auto, each):
    def pause(text):
        if not auto:
            say()
            input(paint("7", f" Enter: {text} "))

    title(1, "Three hosts are powered on")
    say_text("Each has its own network card, processes and /run, and runs corosync, xvm-ha-keeper and "
             "xvm-had. Guests are processes that lock and write a disk on storage all hosts share.")
    c = Cluster(room, each=each, name="demo")
    begin = time.time()
    c.power_on()
    wait_until("the ring", lambda: c.ring(c.nodes), 60)
    say(f"corosync has formed a ring of three after {time.time() - begin:.1f} s.")

    title(2, "xvmhactl init founds the cluster; it starts the guests")
    begin = time.time()
    c.found()
    c.wait_all_run()
    say_text(f"All {len(c.guests)} guests run {time.time() - begin:.1f} s later, "
             "the most important were started first.")
    # The coordinator is the worst to lose; but only a host with guests has something to show.
    victim = max(c.nodes, key=lambda x: (bool(c.guests_on(x)), x is c.coordinator()))
    rest = [x for x in c.nodes if x is not victim]
    show(c, rest[0], "status")

    guests = sorted(c.guests_on(victim), key=lambda g: -c.guests[g]["priority"])
    if not auto:
        tell_processes(room, c)
        say()
        say("Look around, and try things, in a second terminal:")
        say(f"  contrib/demo --on {rest[0].name} status")
        say(f"  contrib/demo --on {rest[0].name} events")
        say(f"  contrib/demo --on {rest[0].name} move {guests[0]} --wait")
    pause(f"cut the power of {victim.name}")
    title(3, f"{victim.name}{', the coordinator,' if victim is c.coordinator() else ''} loses its "
          f"power; it ran {', '.join(guests)}")
    story = Story(c, victim, guests)
    story.start = victim.power_cut()
    story.add(story.start, "cut", f"power cut: {victim.name} is gone", "31")
    deadline = time.time() + 60
    while story.done != set(guests) and time.time() < deadline:
        story.look(rest[0])
        story.flush()
        time.sleep(0.1)
    time.sleep(0.5)
    story.look(rest[0])
    story.flush(everything=True)
    ok = story.done == set(guests)

    title(4, "Afterwards")
    show(c, rest[0], "status")
    pause(f"power {victim.name} on again")
    say()
    say(f"{victim.name} is powered on again. It joins, and nothing moves without need.")
    before = time.time()
    victim.power_on()
    wait_until("it to be back", lambda: (c.status(victim) or {}).get("synced"), 60)
    tell_processes(room, c)
    time.sleep(1)
    moved = [g for g in c.guests if c.runs_after(g, before)]
    ok = ok and not moved
    show(c, rest[0], "events", "-n", "16")

    title(5, "The proof is on the disks")
    say(check_disks(room))
    running = c.witness.map(c.guests)
    ok = ok and all(running.values())
    if ok:
        say_text(f"Seen: {len(guests)} guests of {victim.name} ran elsewhere "
                 f"{max(c.runs_after(g, story.start)[0].first for g in guests) - story.start:.1f} s "
                 "after the power cut, none of them twice, none lost.", code="32")
    else:
        say(paint("31", "The failover was not seen as it should be: "
                  f"{[g for g, h in running.items() if not h]} do not run, moved: {moved}"))
    return ok


def inside(args):
    room = rooms.Room(args.inside)
    try:
        status = 0 if play(room, args.auto, args.guests) else 1
    except (TimeoutError, RuntimeError, AssertionError, OSError) as e:
        say(paint("31", f"demo: {e}"))
        status = 1
    sys.stdout.flush()
    os._exit(status)


def main():
    if sys.argv[1:2] == ["--on"]:
        return on_host(sys.argv[2], sys.argv[3:])
    p = argparse.ArgumentParser()
    p.add_argument("--auto", action="store_true")
    p.add_argument("--guests", type=int, default=3)
    p.add_argument("--inside")
    args = p.parse_args()
    if args.inside:
        inside(args)
    rooms.remove_stale()
    folder = rooms.new_folder()
    process = rooms.popen([sys.executable, __file__, "--inside", folder] + sys.argv[1:],
                          stdin=None)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.kill()
        process.wait()
        status = 130
    if status in (0, 130):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        open(folder + "/kept", "w", encoding="ascii").close()
        say(f"logs are in {folder}")
    return status


if __name__ == "__main__":
    sys.exit(main())
