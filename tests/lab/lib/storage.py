# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests' disks: LUNs of one iSCSI target on the lab's network, seen by all hosts."""
import os
import subprocess
import time

from . import net, where

SIZE = 8 << 20


def _admin(*args):
    env = dict(os.environ, TGT_IPC_SOCKET=where.run_dir() + "/tgtd")
    return net.run(["tgtadm", "-C", "0", "--lld", "iscsi", *args], env=env)


def disk(number):
    """The file behind a LUN."""
    return f"{where.run_dir()}/disks/disk{number}"


def last_line(number):
    """What a test guest wrote last to its disk."""
    with open(disk(number), "rb") as f:
        return f.read(512).split(b"\0", 1)[0].decode(errors="replace")


def start():
    os.makedirs(where.run_dir() + "/disks")
    env = dict(os.environ, TGT_IPC_SOCKET=where.run_dir() + "/tgtd")
    with open(where.run_dir() + "/tgtd.log", "wb") as log:
        subprocess.Popen(net.command(["tgtd", "-f", "-C", "0", "--iscsi",
                                      f"portal={where.STORAGE}:3260"]),
                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                         env=env)
    end = time.monotonic() + 20
    while True:
        try:
            _admin("--mode", "target", "--op", "new", "--tid", "1", "-T", where.ISCSI_TARGET)
            break
        except where.LabError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    for number in range(1, where.DISKS + 1):
        with open(disk(number), "wb") as f:
            f.truncate(SIZE)
        _admin("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", str(number), "-b",
               disk(number))
    _admin("--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL")
