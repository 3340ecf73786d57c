# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test case of the lab works with, and how cases are found and run.

A case is a file in cases/: its docstring says what it shows, `run(lab)` does it, and these may be
set:
GROUP ("base": works without xvm-had; "ha": needs it deployed; "more": the same, when there is time;
"long": not for every day), LIMIT (seconds) and HOSTS (3).
"""
import importlib.util
import os
import re
import signal
import subprocess
import time
import traceback

from . import bmc, cluster, consoles, deploy, net, where
from .wait import wait_until

CASES = where.LAB + "/cases"
HOSTS = 3


class TimeUp(BaseException):
    """A case took longer than its limit. Not an Exception, so that no case handles it."""


class Lab:
    """A running lab, as a case sees it."""

    def __init__(self):
        self.hosts = cluster.hosts()
        self.by_name = {h.name: h for h in self.hosts}
        self.consoles = consoles.Consoles(self.hosts)
        self.begin = time.monotonic()

    def say(self, text):
        """A line of the test's story, with the time."""
        print(f"    {time.monotonic() - self.begin:6.1f} s  {text}", flush=True)

    def wait(self, what, condition, timeout=300, poll=0.5):
        """wait_until(), and says how long it took. Returns condition()'s value."""
        begin = time.monotonic()
        value = wait_until(what, condition, timeout, poll)
        self.say(f"{what} ({time.monotonic() - begin:.1f} s)")
        return value

    # ------------------------------------------------------------------ hosts

    def live(self):
        return [h for h in self.hosts if h.state() == "running" and net.connected(h.number)]

    def boot_id(self, host, timeout=20):
        """Names the host's present life, or None if it does not answer."""
        try:
            r = host.ssh("cat /proc/sys/kernel/random/boot_id", timeout=timeout, check=False)
            return r.stdout.strip() or None
        except subprocess.TimeoutExpired:
            host.forget_ssh()
            return None

    def members(self, host):
        """(quorate, numbers of corosync's members) as this host sees them, or None."""
        try:
            text = host.ssh("corosync-quorumtool -s", timeout=20, check=False).stdout
        except subprocess.TimeoutExpired:
            return None
        quorate = re.search(r"^Quorate:\s+(\w+)", text, re.M)
        ids = re.findall(r"^\s+(\d+)\s+\d+\s+host\d", text, re.M)
        return (quorate.group(1) == "Yes", {int(i) for i in ids}) if quorate else None

    def power(self, host, action):
        """Through the host's BMC, over IPMI."""
        return bmc.ipmitool(host.number, "chassis", "power", action)

    def domains(self, host):
        """{name: state} of the guests that Xen runs on this host, dom0 left out; None: unknown."""
        try:
            r = host.ssh("xl list", timeout=30, check=False)
        except subprocess.TimeoutExpired:
            return None
        if r.returncode != 0:
            return None
        rows = [line.split() for line in r.stdout.splitlines()[1:]]
        return {row[0]: row[4] for row in rows if row[0] != "Domain-0"}

    def lacks(self, host, guest):
        """Whether Xen on this host surely has no such guest."""
        domains = self.domains(host)
        return domains is not None and guest not in domains

    def heal(self, timeout=400):
        """Everything back to where tests begin: power, cables, no guest started by hand."""
        for h in self.hosts:
            net.join(h.number)
            net.bmc_join(h.number)
            net.storage_join(h.number)
            net.apart([h.number], False)
            if h.state() == "paused":
                h.resume()
            h.on()
        cluster.wait_ready(self.hosts, timeout)
        wait_until("one ring of all hosts", lambda: all(
            self.members(h) == (True, {x.number for x in self.hosts}) for h in self.hosts), 120, 1)

    def destroy_all(self):
        """Ends all guests on all hosts, for tests that run them by hand."""
        for h in self.hosts:
            h.ssh("xl list | awk 'NR > 2 {print $1}' | xargs -r -n 1 xl destroy", timeout=300)

    # ---------------------------------------------------------------- xvm-had

    def status(self, host=None):
        """What xvmhactl says, on this host or on any that has quorum; None if nobody answers."""
        for h in [host] if host else self.live():
            s = deploy.status(h)
            if s and (host or s.get("quorate")):
                return s
        return None

    def guest(self, name, host=None):
        """A guest in the status, or None."""
        s = self.status(host)
        return next((g for g in s["guests"] if g["name"] == name), None) if s else None

    def host_status(self, name):
        s = self.status()
        return next((h for h in s["hosts"] if h["name"] == name), None) if s else None

    def ctl(self, *words, host=None, check=True, timeout=300):
        """xvmhactl on a host (by default on one that is up)."""
        return (host or self.live()[0]).ssh("xvmhactl " + " ".join(words), check=check,
                                            timeout=timeout)

    def where(self, name):
        """The host on which the guest runs, by its own word: its console."""
        t = self.consoles.alive(name)
        return self.by_name[t.host] if t else None

    def runs_on(self, name, *hosts):
        """Whether the guest counts on one of these hosts."""
        h = self.where(name)
        return h if h in (hosts or self.hosts) else None

    def cluster_ready(self):
        """Every host in, every guest counting: where a case with xvm-had begins."""
        wait_until("all hosts to be in", lambda: deploy.all_in(self.status(), self.hosts), 300, 1)
        for h in self.status()["hosts"]:
            if h["losses"]:  # a host that many cases have taken away gets no guests
                self.ctl("host", "clear", h["name"])
        for g in deploy.GUESTS:
            wait_until(f"{g} to count", lambda g=g: self.where(g), 180, 1)

    def put(self, guest, host):
        """Brings a guest to a host, whatever way, to begin a test there."""
        wait_until(f"{guest} to count", lambda: self.where(guest), 180)
        if self.where(guest) is not host:
            self.ctl("move", guest, host.name, "--type", "normal", "--wait", timeout=400)
            wait_until(f"{guest} to count on {host.name}", lambda: self.runs_on(guest, host), 120)


def cases():
    """{name: module} of all cases, in the order of their names."""
    found = {}
    for file in sorted(os.listdir(CASES)):
        if file.endswith(".py"):
            name = file[:-3].replace("_", "-")
            spec = importlib.util.spec_from_file_location("case_" + file[:-3], f"{CASES}/{file}")
            found[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(found[name])
            found[name].GROUP = getattr(found[name], "GROUP", "ha")
            found[name].HOSTS = getattr(found[name], "HOSTS", HOSTS)
    return found


def choose(words):
    """The cases that these words mean: names or groups; all but the long ones if there are none."""
    known = cases()
    groups = {m.GROUP for m in known.values()}
    chosen = []
    for w in words or sorted(groups - {"long"}):
        if w in groups:
            chosen += [n for n, m in known.items() if m.GROUP == w]
        elif w in known:
            chosen.append(w)
        else:
            raise where.LabError(f"no case or group {w} (tests/lab/lab run --list)")
    return {n: known[n] for n in chosen}


def _time_up(*_):
    raise TimeUp


def run_case(name, module):
    """Runs one case on the lab that is up. True if it passed."""
    print(f"--- {name}: {(module.__doc__ or '').strip().splitlines()[0]}", flush=True)
    begin = time.monotonic()
    lab = Lab()
    signal.signal(signal.SIGALRM, _time_up)
    signal.alarm(getattr(module, "LIMIT", 1800))
    try:
        if module.HOSTS != len(lab.hosts):
            raise where.LabError(f"it is for {module.HOSTS} hosts, the lab has {len(lab.hosts)}")
        lab.heal()
        if module.GROUP == "base":
            lab.destroy_all()
            lab.consoles.clear()
        else:
            lab.consoles.clear()
            lab.cluster_ready()
        lab.begin = time.monotonic()
        module.run(lab)
        if not getattr(module, "TWO_COPIES_ON_PURPOSE", False):
            lab.consoles.check()
        ok = True
    except (Exception, TimeUp):  # whatever happened: it is reported, and the next case runs
        traceback.print_exc()
        ok = False
    finally:
        signal.alarm(0)
        lab.consoles.close()
    print(f"{'PASS' if ok else 'FAIL'} {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    return ok


def run_cases(names):
    """Runs cases one after the other; whether each passed."""
    known = cases()
    return [run_case(n, known[n]) for n in names]


def count(results):
    """Prints the line that counts them. True if all passed."""
    print(f"lab: {results.count(True)} passed, {results.count(False)} failed", flush=True)
    return bool(results) and all(results)


def run(words):
    """Runs cases on the lab that is up; the last line counts them. True if all passed."""
    return count(run_cases(choose(words)))
