# SPDX-License-Identifier: GPL-2.0-or-later
"""A live move's source loses its power when the image is complete: the guest goes on at the target."""
import threading
import time

GROUP = "long"
LIMIT = 900
GUEST = "g1"


def disks(host):
    """How many disks of guests are attached on the host."""
    r = host.ssh("xenstore-ls -f /local/domain/0/backend/vbd | grep -c '/physical-device ='",
                 check=False)
    return int(r.stdout.strip() or 0)


def run(lab):
    source = lab.where(GUEST)
    target, observer = [h for h in lab.hosts if h is not source]
    life = lab.consoles.last(GUEST).life
    before = disks(target)
    mover = threading.Thread(
        target=lab.ctl, args=("move", GUEST, target.name, "--type", "live", "--wait"),
        kwargs={"host": observer, "check": False, "timeout": 800}, daemon=True)
    mover.start()
    # libxl attaches them after it has read the last of the image
    lab.wait("the image is complete", lambda: disks(target) > before, poll=0.2)
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
