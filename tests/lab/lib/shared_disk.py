# SPDX-License-Identifier: GPL-2.0-or-later
"""The shared disk of xvm-had on the lab's iSCSI target: the LUN that no guest has."""
import contextlib
import os
import re

from . import where

PATH = f"/dev/lab/disk{where.DISKS}"
TIMEOUT_S = 33  # what SCSI's command timeout (30 s) leaves room for, at least
CONFIG = "/etc/xvm-ha.yaml"
# open-iscsi waits for 120 s by default; the shared disk's timeout must not be shorter than that.
KEEP = "iscsiadm -m node -o update -n node.session.timeo.replacement_timeout -v"
FASTER = (f"{KEEP} 15; "  # for the next boot
          "for f in /sys/class/iscsi_session/session*/recovery_tmo; do echo 15 >$f; done; "
          f"echo 30 >/sys/block/$(basename $(readlink -f {PATH}))/device/timeout")


def _write(lab, text):
    for h in lab.hosts:
        h.ssh(f"cat >{CONFIG}", stdin=text)
    for h in lab.hosts:
        lab.ctl("reload", host=h)


@contextlib.contextmanager
def used(lab):
    """The cluster with a shared disk and no other way to fence; afterwards as it was."""
    before = lab.hosts[0].ssh(f"cat {CONFIG}").stdout
    after = re.sub(r"fence: \[[^]]*\]", "fence: [disk]", before)
    after += f"shared_disk: {{path: {PATH}, timeout: {TIMEOUT_S}s}}\n"
    for h in lab.hosts:
        h.ssh(FASTER)
        h.ssh(f"cat >{CONFIG}", stdin=after)
    lab.hosts[0].ssh(f"xvmhactl disk init {PATH} --yes", timeout=120)
    try:
        _write(lab, after)
        yield
    finally:
        lab.heal()
        _write(lab, before)
        for h in lab.hosts:
            h.ssh(f"{KEEP} 120")
        lab.hosts[0].ssh(f"sleep 5; dd if=/dev/zero of={PATH} bs=4096 count=64 oflag=direct",
                         timeout=120)


def wait_bound(lab):
    lab.wait("every host depends on the disk", lambda: all(
        (lab.host_status(h.name) or {}).get("disk_bound") for h in lab.hosts), timeout=400)


def stop(host):
    """Its disk hangs: what reads and writes it is stopped."""
    host.ssh("kill -STOP $(pgrep -f '[x]vm-ha-disk run')")


def offline(host, yes):
    """The kernel gives errors for that LUN, on that host only."""
    host.ssh(f"echo {'offline' if yes else 'running'} "
             f">/sys/block/$(basename $(readlink -f {PATH}))/device/state")


def target_pid():
    """The process of the iSCSI target, outside of the hosts."""
    mine = f"portal={where.STORAGE}:3260".encode()
    socket = f"TGT_IPC_SOCKET={where.run_dir()}/tgtd".encode()
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{p}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
            with open(f"/proc/{p}/environ", "rb") as f:
                env = f.read().split(b"\0")
        except OSError:
            continue
        if words[:1] and words[0].endswith(b"tgtd") and mine in words and socket in env:
            return int(p)
    raise where.LabError("the iSCSI target does not run")
