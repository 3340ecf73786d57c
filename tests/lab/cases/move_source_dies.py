# SPDX-License-Identifier: GPL-2.0-or-later
"""A live move's source loses its power when the image is complete: the guest goes on at the target."""
import threading
import time

GROUP = "long"
LIMIT = 900
GUEST = "g1"


def arrived(target, mark):
    """Whether all of the image is there: libxl attaches the disk after it has read the last of it."""
    r = target.ssh(f"journalctl -q -o cat --after-cursor='{mark}' | grep -c 'scripts/block: add'",
                   check=False)
    return r.stdout.strip() not in ("", "0")


def run(lab):
    source = lab.where(GUEST)
    target, observer = [h for h in lab.hosts if h is not source]
    life = lab.consoles.last(GUEST).life
    mark = target.ssh("journalctl -q -n 0 --show-cursor").stdout.split("-- cursor: ")[1].strip()
    mover = threading.Thread(
        target=lab.ctl, args=("move", GUEST, target.name, "--type", "live", "--wait"),
        kwargs={"host": observer, "check": False, "timeout": 800}, daemon=True)
    mover.start()
    lab.wait("the image is complete", lambda: arrived(target, mark), poll=0.2)
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
