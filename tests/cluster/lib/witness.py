# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches the guests' disks and writes down who ran where and when, independent of any daemon.

A guest of the process driver appends `host incarnation tick` to its disk again and again. What is
seen here is what a user of the guest would see.
"""
import os
import threading
import time


class Run:
    """One guest's life on one host in one incarnation."""

    def __init__(self, guest, host, inc, now):
        self.guest, self.host, self.inc = guest, host, inc
        self.first = self.last = now
        self.ticks = 0

    def __repr__(self):
        return f"{self.guest}@{self.host}#{self.inc}[{self.first:.2f}..{self.last:.2f}]"


class Witness:
    # A guest that wrote nothing for this long does not run.
    ALIVE = 1.0

    def __init__(self, shared_dir, poll=0.03):
        self.shared_dir, self.poll = shared_dir, poll
        self.runs = []
        self.current = {}  # guest: its latest Run
        self._offsets = {}
        self._rest = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            try:
                names = [n for n in os.listdir(self.shared_dir) if n.endswith(".disk")]
            except FileNotFoundError:
                names = []
            for name in names:
                self._read(name)
            time.sleep(self.poll)

    def _read(self, name):
        path = f"{self.shared_dir}/{name}"
        offset = self._offsets.get(name, 0)
        try:
            if os.stat(path).st_size <= offset:
                return
            with open(path, "rb") as f:
                f.seek(offset)
                data = f.read()
        except OSError:
            return
        now = time.time()
        self._offsets[name] = offset + len(data)
        lines = (self._rest.pop(name, b"") + data).split(b"\n")
        if lines[-1]:
            self._rest[name] = lines[-1]
        guest = name[:-len(".disk")]
        with self._lock:
            for line in lines[:-1]:
                words = line.decode(errors="replace").split()
                if len(words) < 3 or not words[1].isdigit():
                    continue
                run = self.current.get(guest)
                if run is None or (run.host, run.inc) != (words[0], int(words[1])):
                    run = Run(guest, words[0], int(words[1]), now)
                    self.runs.append(run)
                    self.current[guest] = run
                run.last = now
                run.ticks += 1

    def where(self, guest, alive=None):
        """Name of the host on which the guest runs at this moment, or None."""
        with self._lock:
            run = self.current.get(guest)
            if run is None or time.time() - run.last > (alive or self.ALIVE):
                return None
            return run.host

    def map(self, guests):
        return {g: self.where(g) for g in guests}

    def history(self, guest):
        with self._lock:
            return [r for r in self.runs if r.guest == guest]
