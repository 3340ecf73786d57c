# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the consoles of all guests on all hosts while a test runs, and proves things from them.

Each host's xenconsoled writes them to a folder outside of the host. A test guest says
`tick LIFE COUNT MS` each second: the same LIFE and COUNT twice means that one memory ran twice.
"""
import os
import re
import threading
import time
from dataclasses import dataclass

TICK = re.compile(r"tick ([0-9a-f]+) (\d+) (\d+)")
FILE = re.compile(r"guest-([a-z]+\d+)([^0-9a-z].*)?\.log")
# A host that has little processor time writes lines late. Copies of one guest are seconds apart at
# the least, unless they run at once.
LATE = 3.0


@dataclass(frozen=True)
class Tick:
    """One line of a guest that counts. at: when it was seen here, monotonic seconds."""
    at: float
    host: str
    guest: str
    life: str
    count: int
    guest_ms: int


class Consoles:
    def __init__(self, hosts):
        self.hosts = hosts
        self.ticks = {}  # guest: [Tick], in the order in which they were seen
        self.lines = []  # (at, host, guest, text): everything else
        self._lock = threading.Lock()
        self._read = {}  # path: (offset, rest of a line)
        self._stop = threading.Event()
        self._look(keep=False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join()

    def clear(self):
        """Forgets what was seen until now."""
        with self._lock:
            self.ticks.clear()
            self.lines.clear()

    def _run(self):
        while not self._stop.wait(0.02):
            self._look()

    def _look(self, keep=True):
        """Reads what is new. What was there before this test is passed over."""
        for h in self.hosts:
            folder = h.dir + "/console"
            for name in os.listdir(folder):
                m = FILE.fullmatch(name)
                if m:
                    self._file(f"{folder}/{name}", h.name, m.group(1), keep)

    def _file(self, path, host, guest, keep):
        offset, rest = self._read.get(path, (0, ""))
        size = os.path.getsize(path)
        if size == offset:
            return
        if size < offset:
            offset, rest = 0, ""
        with open(path, "rb") as f:
            f.seek(offset)
            data = f.read()
        at = time.monotonic()
        self._read[path] = (offset + len(data), "")
        if not keep:
            return
        *lines, rest = (rest + data.decode(errors="replace")).replace("\r", "").split("\n")
        self._read[path] = (offset + len(data), rest)
        with self._lock:
            for text in lines:
                m = TICK.fullmatch(text.strip())
                if m:
                    self.ticks.setdefault(guest, []).append(
                        Tick(at, host, guest, m.group(1), int(m.group(2)), int(m.group(3))))
                elif text.strip():
                    self.lines.append((at, host, guest, text.strip()))

    def of(self, guest, since=0.0):
        """The guest's ticks since a time."""
        with self._lock:
            return [t for t in self.ticks.get(guest, []) if t.at >= since]

    def last(self, guest):
        with self._lock:
            return self.ticks.get(guest, [None])[-1]

    def alive(self, guest, within=4.0):
        """The guest's last tick, if it is not older than this."""
        t = self.last(guest)
        return t if t and time.monotonic() - t.at <= within else None

    def gap(self, guest, since=0.0):
        """The longest silence of the guest since a time, in seconds."""
        times = [t.at for t in self.of(guest, since)]
        return max((b - a for a, b in zip(times, times[1:])), default=float("inf"))

    def check(self, counters=()):
        """Raises AssertionError if any guest ran twice at once, or, for those in `counters`, if a
        count is missing."""
        with self._lock:
            for at, host, guest, text in self.lines:
                assert "TWO COPIES" not in text, f"{guest} on {host} at {at:.1f}: {text}"
            for guest, ticks in self.ticks.items():
                check_once(guest, ticks)
                if guest in counters:
                    check_gapless(guest, ticks)


def check_once(guest, ticks):
    """No count of a life twice, no two lives at once."""
    seen = {}
    lives = {}
    for t in ticks:
        other = seen.setdefault((t.life, t.count), t)
        assert other is t, (f"{guest}: life {t.life} counted {t.count} twice: on {other.host}, and "
                            f"{t.at - other.at:.1f} s later on {t.host}")
        first, _ = lives.get(t.life, (t, t))
        lives[t.life] = (first, t)
    order = sorted(lives.values(), key=lambda x: x[0].at)
    for (_, end), (begin, _) in zip(order, order[1:]):
        assert end.at <= begin.at + LATE, (
            f"{guest}: life {end.life} on {end.host} went on for {end.at - begin.at:.1f} s after "
            f"life {begin.life} had begun on {begin.host}")


def check_gapless(guest, ticks):
    """Within each life every count follows the one before: nothing of its memory was lost."""
    last = {}
    for t in sorted(ticks, key=lambda t: (t.life, t.count)):
        if t.life in last:
            assert t.count == last[t.life] + 1, (
                f"{guest}: life {t.life} went from {last[t.life]} to {t.count} on {t.host}")
        last[t.life] = t.count
