#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The story that contrib/demo --xen tells: real Xen hosts, in the lab of tests/lab."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time

os.environ.setdefault("XVM_LAB", "demo")
TREE = os.path.abspath(os.path.dirname(os.path.abspath(__file__)) + "/..")
sys.path.insert(0, TREE + "/tests/lab")
from lib import build, cluster, deploy, harness, where  # noqa: E402

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
STEPS = 6


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def say(text="", code=None):
    """A paragraph, wrapped to the terminal's width."""
    width = shutil.get_terminal_size((80, 24)).columns
    text = "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))
    print(paint(code, text) if code else text, flush=True)


def title(number, text):
    print(flush=True)
    say(f"[{number}/{STEPS}] {text}", "1")


def show(lab, host, *words):
    """A command of an operator's, and what it prints."""
    say(f"{host.name}# {' '.join(words)}", "1")
    print(host.ssh(" ".join(words), timeout=300).stdout.rstrip("\n"), flush=True)


class Story:
    """Says what the cluster reports, as it happens, with the seconds since something began."""

    KINDS = ("view", "host-lost", "host-fencing", "host-confirmed", "guest-assigned", "guest-running",
             "host-fence-failed", "guest-blocked", "host-in")

    def __init__(self, lab, host):
        self.lab, self.host, self.told = lab, host, set()
        self.look(silent=True)
        self.begin = time.monotonic()

    def look(self, silent=False):
        r = self.host.ssh("xvmhactl events --json -n 100", timeout=60, check=False)
        for e in json.loads(r.stdout)["events"] if r.returncode == 0 else ():
            key = (e["usec"], e["text"])
            if key not in self.told and not silent and e["what"] in self.KINDS:
                say(f"  {time.monotonic() - self.begin:+7.1f} s  {e['text']}")
            self.told.add(key)

    def until(self, condition, timeout):
        """Tells until the condition is true. Whether it came true."""
        end = time.monotonic() + timeout
        while not (done := condition()) and time.monotonic() < end:
            self.look()
            time.sleep(1)
        self.look()
        return done


def power_cut(lab, pause):
    """A host's power is cut. Whether its guests came back elsewhere."""
    victim = lab.where("g1")
    rest = [h for h in lab.hosts if h is not victim]
    guests = [g for g in deploy.GUESTS if lab.where(g) is victim]
    pause(f"cut the power of {victim.name}")
    title(4, f"{victim.name} loses its power; it ran {', '.join(guests)}")
    story = Story(lab, rest[0])
    victim.off()
    say(f"  {0:+7.1f} s  power cut: the machine is gone", "31")
    done = story.until(lambda: all(lab.runs_on(g, *rest) for g in guests), 300)
    if done:
        first = max(next(t.at for t in lab.consoles.of(g, story.begin)
                         if t.host != victim.name) for g in guests)
        say(f"  {first - story.begin:+7.1f} s  their consoles say so: all of them count elsewhere", "32")
    show(lab, rest[0], "xvmhactl", "status")
    return done


def live_move(lab, pause):
    """A guest moves live. Whether its memory went with it."""
    source = lab.where("g1")
    target = next(h for h in lab.live() if h is not source)
    pause(f"move g1 live from {source.name} to {target.name}")
    title(5, f"g1 moves live from {source.name} to {target.name}")
    say("Its memory travels from dom0 to dom0, encrypted; the guest goes on meanwhile. It may only "
        "run on once source and target agree, through the cluster's log, that it runs once.")
    life, begin = lab.consoles.last("g1"), time.monotonic()
    show(lab, source, "xvmhactl", "move", "g1", target.name, "--type", "live", "--wait")
    lab.wait("g1 to count there", lambda: lab.runs_on("g1", target), 120)
    now = lab.consoles.last("g1")
    say(f"Before: boot {life.life}, count {life.count} on {source.name}. Now: boot {now.life}, count "
        f"{now.count} on {target.name}. Longest silence: {lab.consoles.gap('g1', begin):.1f} s.")
    return now.life == life.life


def play(auto):
    def pause(text):
        if not auto:
            print()
            input(paint("7", f" Enter: {text} "))

    title(1, "The image: Debian with the Xen hypervisor")
    say("Only the processor is emulated (QEMU), so all takes several times as long as on real "
        "machines. The image is built once, in one to two minutes.")
    build.build()

    title(2, "Three hosts are powered on")
    say("Each boots Xen and a Debian dom0 with systemd and corosync. Each has a BMC that speaks IPMI "
        "and holds the power switch, and sees the guests' disks by iSCSI.")
    cluster.up(3)
    print(f"Look around in a second terminal: XVM_LAB={where.name()} tests/lab/lab ssh 1", flush=True)

    title(3, "xvm-had is installed and started; the cluster is founded; it starts the guests")
    deploy.deploy(TREE)
    lab = harness.Lab()
    for g in deploy.GUESTS:
        lab.wait(f"{g} counts on its console", lambda g=g: lab.where(g), 300)
    show(lab, lab.hosts[0], "xl", "list")
    show(lab, lab.hosts[0], "xvmhactl", "status")

    came = power_cut(lab, pause)
    moved = came and live_move(lab, pause)
    title(6, "The proof is on the consoles and disks of the guests")
    lab.consoles.check()
    say("Each guest counts aloud and writes to its disk each second, after a look that nobody else "
        "wrote there. No count was seen twice, no disk had two writers.")
    ok = came and moved
    say("Seen: a failover and a live move on real Xen, no guest lost, none twice." if ok else
        "It was not seen as it should be.", "32" if ok else "31")
    lab.consoles.close()
    return ok


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--auto", action="store_true")
    args = p.parse_args()
    status = 1
    try:
        status = 0 if play(args.auto) else 1
    except (where.LabError, TimeoutError, AssertionError, OSError,
            subprocess.SubprocessError) as e:
        say(f"demo: {e}", "31")
    except KeyboardInterrupt:
        status = 130
    if status == 1:
        print(f"The hosts' consoles are in {where.run_dir()}; they run until the next demo, or "
              f"XVM_LAB={where.name()} tests/lab/lab down", flush=True)
    else:
        cluster.down()
    return status


if __name__ == "__main__":
    sys.exit(main())
