# SPDX-License-Identifier: GPL-2.0-or-later
"""Live moves that break: at some moment the link is cut, the source or the target loses power.

Never two copies, and never none for good. XVM_LAB_SEED and XVM_LAB_ROUNDS choose.
"""
import os
import random
import subprocess
import threading
import time

from lib import net

GROUP = "long"
ROUNDS = int(os.environ.get("XVM_LAB_ROUNDS", "15"))
LIMIT = 900 * ROUNDS
GUESTS = ["g1", "g3"]  # both at once: each is a try of its own
BUSY = "has not cleaned up after its last move"


class Try:
    """One guest's move."""

    def __init__(self, lab, guest, rng):
        self.guest = guest
        self.source = lab.where(guest)
        self.target = rng.choice([h for h in lab.hosts if h is not self.source])
        self.life = lab.consoles.last(guest).life
        self.words = []

    def begin(self, lab):
        """In a thread of its own, asked for on a host that is neither end."""
        observer = next(h for h in lab.hosts if h not in (self.source, self.target))

        def move():
            try:
                while not self.words or BUSY in self.words[0]:
                    r = lab.ctl("move", self.guest, self.target.name, "--type", "live", "--wait",
                                host=observer, check=False, timeout=800)
                    self.words = (r.stdout + r.stderr).strip().splitlines()[-1:]
            except subprocess.TimeoutExpired:
                self.words = ["no answer"]

        self.mover = threading.Thread(target=move, daemon=True)
        self.mover.start()

    def end(self, lab, rest):
        """Waits until the guest counts on one of these hosts; what became of its memory."""
        lab.wait(f"{self.guest} counts", lambda: lab.runs_on(self.guest, *rest), timeout=400)
        self.mover.join(timeout=800)
        lab.say(f"{self.guest}: {' '.join(self.words)}")
        return "kept" if lab.consoles.last(self.guest).life == self.life else "lost"


def one_round(lab, rng):
    """Moves that break by one event. [kept or lost, for each guest whose move it was]."""
    tries = [Try(lab, g, rng) for g in GUESTS]
    first = rng.choice(tries)
    what = rng.choice(["link", "source", "target"])
    victim = {"source": first.source, "target": first.target,
              "link": rng.choice([first.source, first.target])}[what]
    begin = time.monotonic()
    for t in tries:
        t.begin(lab)
    time.sleep(rng.uniform(0, lab.move_seconds * 1.1))
    lab.say("; ".join(f"{t.guest} moves from {t.source.name} to {t.target.name}" for t in tries) +
            f"; after {time.monotonic() - begin:.1f} s {victim.name} "
            f"{'is cut off' if what == 'link' else 'loses its power'}")
    if what == "link":
        net.cut(victim.number)
    else:
        victim.off()
    rest = [h for h in lab.hosts if h is not victim]
    # Given power, or a cable, before that, it would be switched off when it is about to be well again.
    lab.wait(f"{victim.name} is dead", lambda: lab.host_status(victim.name)["state"] == "dead", 240)
    results = [t.end(lab, rest) for t in tries]
    lab.consoles.check()
    return [r for t, r in zip(tries, results) if victim in (t.source, t.target)]


def move_all(lab):
    """How long moves take here, undisturbed: the moments are drawn from that."""
    begin = time.monotonic()
    tries = [Try(lab, g, random) for g in GUESTS]
    for t in tries:
        t.begin(lab)
    for t in tries:
        t.end(lab, [t.target])
    return time.monotonic() - begin


def run(lab):
    seed = int(os.environ.get("XVM_LAB_SEED", time.time()))
    rng = random.Random(seed)
    lab.say(f"seed {seed}, {ROUNDS} rounds")
    lab.move_seconds = move_all(lab)
    lab.say(f"the moves take {lab.move_seconds:.1f} s")
    results = []
    for i in range(ROUNDS):
        results += one_round(lab, rng)
        lab.say(f"round {i + 1}: {len(results)} broken moves so far")
        lab.heal()
        lab.cluster_ready()
    lab.say(f"{len(results)} broken moves: memory kept {results.count('kept')} times, lost "
            f"{results.count('lost')} times; never two copies, never none for good")
