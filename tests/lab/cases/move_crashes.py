# SPDX-License-Identifier: GPL-2.0-or-later
"""Live moves that break: at some moment the link is cut, the source or the target loses power.

Never two copies, and never none for good. XVM_LAB_SEED and XVM_LAB_ROUNDS choose.
"""
import os
import random
import threading
import time

from lib import net

GROUP = "long"
ROUNDS = int(os.environ.get("XVM_LAB_ROUNDS", "30"))
LIMIT = 900 * ROUNDS
GUEST = "g1"


def one_round(lab, rng):
    """One broken move. Returns what the guest's memory did: `kept` or `lost`."""
    source = lab.where(GUEST)
    target = rng.choice([h for h in lab.hosts if h is not source])
    what = rng.choice(["link", "source", "target"])
    life = lab.consoles.last(GUEST).life
    observer = next(h for h in lab.hosts if h not in (source, target))
    mover = threading.Thread(
        target=lab.ctl, args=("move", GUEST, target.name, "--type", "live", "--wait"),
        kwargs={"host": observer, "check": False, "timeout": 800}, daemon=True)
    begin = time.monotonic()
    mover.start()
    time.sleep(rng.uniform(0, lab.move_seconds * 1.1))
    lab.say(f"{GUEST} moves from {source.name} to {target.name}; after "
            f"{time.monotonic() - begin:.1f} s: {what} "
            f"{'is cut' if what == 'link' else 'loses its power'}")
    if what == "link":
        victim = rng.choice([source, target])
        net.cut(victim.number)
    else:
        victim = source if what == "source" else target
        victim.off()
    rest = [h for h in lab.hosts if h is not victim]
    lab.wait(f"{GUEST} counts", lambda: lab.runs_on(GUEST, *rest), timeout=400)
    mover.join(timeout=800)
    lab.consoles.check()
    return "kept" if lab.consoles.last(GUEST).life == life else "lost"


def run(lab):
    seed = int(os.environ.get("XVM_LAB_SEED", time.time()))
    rng = random.Random(seed)
    lab.say(f"seed {seed}, {ROUNDS} rounds")
    # How long a move takes here, undisturbed: the moments are drawn from that.
    target = next(h for h in lab.hosts if h is not lab.where(GUEST))
    begin = time.monotonic()
    lab.ctl("move", GUEST, target.name, "--type", "live", "--wait", timeout=800)
    lab.move_seconds = time.monotonic() - begin
    lab.say(f"a move takes {lab.move_seconds:.1f} s")
    results = []
    for _ in range(ROUNDS):
        results.append(one_round(lab, rng))
        lab.heal()
        lab.cluster_ready()
    lab.say(f"memory kept {results.count('kept')} times, lost {results.count('lost')} times")
