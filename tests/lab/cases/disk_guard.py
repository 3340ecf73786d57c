# SPDX-License-Identifier: GPL-2.0-or-later
"""`disk_guard: scsi`: the storage refuses the writes of all hosts but the one that runs the guest.

The reservation follows a live move and a failover, and a host that comes back does not get it."""
import contextlib
import re
import subprocess

from lib import deploy, settings

GROUP = "more"
LIMIT = 2700
GUEST, DISK, FREE = "g1", "/dev/lab/disk1", "/dev/lab/disk5"
BLOCK = 8192  # of 512 bytes: 4 MiB, where no test guest writes


ATTENTION = 6  # exit code: the host is told that something happened; its next question is answered


def persist(host, *words, check=True):
    """What sg_persist prints."""
    for _ in range(6):
        r = host.ssh(f"sg_persist --no-inquiry {' '.join(words)} {DISK}", check=False)
        if r.returncode != ATTENTION:
            break
    assert r.returncode == 0 or not check, f"{host.name}: {words}: {r.stdout}{r.stderr}"
    return r.stdout


def keys(host):
    """The node ids of the hosts whose keys are registered."""
    found = re.findall(r"^\s+0x([0-9a-f]+)\s*$", persist(host, "--in --read-keys"), re.M)
    return sorted(int(k, 16) & 0xffffffff for k in found)


def holder(host):
    """The node id of the host that holds the reservation, or None."""
    text = persist(host, "--in --read-reservation")
    found = re.search(r"Key=0x([0-9a-f]+)", text)
    if not found:
        assert "NO reservation held" in text, text
        return None
    assert "Write Exclusive, registrants only" in text, text
    return int(found.group(1), 16) & 0xffffffff


def alone(host, by):
    """Whether that host, and no other, may write, as another one sees it."""
    try:
        return holder(by) == host.number and set(keys(by)) == {host.number}
    except subprocess.TimeoutExpired:
        return False


def writes(host, disk=DISK):
    r = host.ssh(f"dd if={disk} of=/tmp/guard.block bs=512 skip={BLOCK} count=1 iflag=direct "
                 f"2>&1 && dd if=/tmp/guard.block of={disk} bs=512 seek={BLOCK} count=1 "
                 "oflag=direct conv=notrunc,nocreat 2>&1", check=False)
    assert "1+0 records out" in r.stdout, f"{host.name} cannot even read {disk}: {r.stdout}"
    return r.returncode == 0


def refused(lab, *hosts):
    for h in hosts:
        assert writes(h, FREE), f"{h.name} cannot write to a disk that nobody guards"
        assert not writes(h), f"{h.name} could write to the disk of {GUEST}"
        said = h.ssh("dmesg | grep -i 'reservation conflict' | tail -1", check=False).stdout
        lab.say(f"{h.name} reads it and cannot write to it: {said.strip() or 'an I/O error'}")


def validated(lab):
    r = lab.ctl("validate", GUEST, check=False, timeout=600)
    assert r.returncode == 0, r.stdout + r.stderr


def guarded(lab):
    validated(lab)
    # The option is for copies that are made from now on.
    lab.ctl("stop", GUEST, "--wait", timeout=600)
    lab.wait(f"{GUEST} is gone", lambda: all(lab.lacks(h, GUEST) for h in lab.hosts))
    assert keys(lab.hosts[0]) == [] and holder(lab.hosts[0]) is None
    lab.ctl("start", GUEST)
    here = lab.wait(f"{GUEST} counts", lambda: lab.where(GUEST))
    others = [h for h in lab.hosts if h is not here]
    assert alone(here, others[0]), (keys(others[0]), holder(others[0]))
    lab.say(f"{here.name} holds the disk: "
            f"{' '.join(persist(others[0], '--in --read-reservation').split())}")
    refused(lab, *others)

    life = lab.consoles.last(GUEST).life
    target, third = others
    lab.ctl("move", GUEST, target.name, "--type", "live", "--wait", timeout=600)
    lab.wait(f"{GUEST} counts on {target.name}", lambda: lab.runs_on(GUEST, target))
    lab.wait("the reservation has followed", lambda: alone(target, third), timeout=60)
    assert lab.consoles.last(GUEST).life == life, "it was started anew"
    refused(lab, here, third)

    target.off()
    rest = [here, third]
    after = lab.wait(f"{GUEST} counts elsewhere", lambda: lab.runs_on(GUEST, *rest), timeout=400)
    by = next(h for h in rest if h is not after)
    lab.wait("the dead host's key is gone", lambda: alone(after, by), timeout=60)
    refused(lab, by)
    target.on()
    lab.wait("it is a member again", lambda: deploy.all_in(lab.status(), lab.hosts), timeout=600)
    refused(lab, target)
    assert alone(after, target)
    assert lab.runs_on(GUEST, after), f"{GUEST} does not count any more"
    lab.consoles.check()

    lab.ctl("stop", GUEST, "--wait", timeout=600)
    lab.wait("the disk is free", lambda: keys(by) == [] and holder(by) is None, timeout=60)
    assert writes(by) and writes(target)


def clear(host):
    """Whatever a case that failed has left: other cases need the disk."""
    persist(host, "--out --register-ignore --param-sark=1ab", check=False)
    persist(host, "--out --clear --param-rk=1ab", check=False)


def run(lab):
    with contextlib.ExitStack() as after:
        after.callback(lambda: (clear(lab.hosts[0]), lab.ctl("start", GUEST, check=False)))
        after.enter_context(settings.guest(lab, GUEST, "disk_guard: scsi"))
        after.callback(lab.heal)
        guarded(lab)
    lab.wait(f"{GUEST} counts, unguarded", lambda: lab.where(GUEST))
    lab.consoles.check()
