# SPDX-License-Identifier: GPL-2.0-or-later
"""A live move's source loses its power when the image is complete: the guest goes on at the target."""
import threading
import time

GROUP = "long"
LIMIT = 900
GUEST = "g1"
STILL = 2.2  # seconds without a count, of which there is one a second


def stands_still(lab, source):
    """Suspended for its last pages: they are few, and what follows them takes the target seconds."""
    last, now = lab.consoles.last(GUEST), time.monotonic()
    if last.host != source.name or now - last.at < STILL:
        return False
    transfer = (lab.guest(GUEST) or {}).get("transfer") or {}
    return transfer.get("left_kib", 0) < 512


def run(lab):
    source = lab.where(GUEST)
    target, observer = [h for h in lab.hosts if h is not source]
    life = lab.consoles.last(GUEST).life
    mover = threading.Thread(
        target=lab.ctl, args=("move", GUEST, target.name, "--type", "live", "--wait"),
        kwargs={"host": observer, "check": False, "timeout": 800}, daemon=True)
    mover.start()
    lab.wait("the image is complete", lambda: stands_still(lab, source), poll=0.05)
    source.off()
    begin = time.monotonic()
    last = lab.consoles.last(GUEST)
    assert last.host == source.name, "too late: it runs at the target already"
    lab.say(f"{source.name} loses its power; the last count there was {last.count}")
    lab.wait(f"{GUEST} counts on {target.name}", lambda: lab.runs_on(GUEST, target), timeout=300)
    now = lab.consoles.of(GUEST, begin)[0]
    assert now.life == life and now.count == last.count + 1, f"{last} went on as {now}"
    lab.say(f"it goes on with count {now.count}, the same life, "
            f"{now.at - last.at:.1f} s later: no memory is lost")
    mover.join(timeout=800)
    lab.consoles.check(counters=[GUEST])
