# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole lab: up, down, what it is made of."""
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time

from . import bmc, build, host, net, storage, where

SSH = """Host *
    User root
    IdentityFile {run}/image/id_ed25519
    UserKnownHostsFile {run}/image/known_hosts
    StrictHostKeyChecking yes
    BatchMode yes
    LogLevel ERROR
    ConnectTimeout 30
    ServerAliveInterval 5
    ServerAliveCountMax 6
    ControlMaster auto
    ControlPersist 600
"""


def hosts():
    """The hosts of the lab that is up."""
    try:
        with open(where.run_dir() + "/state.json", encoding="utf-8") as f:
            count = json.load(f)["hosts"]
    except (OSError, ValueError, KeyError) as e:
        raise where.LabError(f"lab {where.name()} is not up (tests/lab/lab up 3)") from e
    return [host.Host(n, count) for n in range(1, count + 1)]


def find(text):
    """One host of the lab, by the name that an operator uses."""
    all_hosts = hosts()
    return all_hosts[where.host_number(text, len(all_hosts)) - 1]


@contextlib.contextmanager
def locked():
    """One `up` or `down` at a time for one lab."""
    os.makedirs(where.RUNS, exist_ok=True)
    with open(f"{where.RUNS}/{where.name()}.lock", "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def down():
    """Ends the lab and removes what it kept, in whatever state it is."""
    with locked():
        _down()


def _down():
    net.remove()
    shutil.rmtree(where.run_dir(), ignore_errors=True)


def _refuse_foreign():
    """Two trees do not take each other's lab away by accident."""
    try:
        with open(where.run_dir() + "/state.json", encoding="utf-8") as f:
            tree = json.load(f)["tree"]
    except (OSError, ValueError, KeyError):
        return
    if tree != where.TREE and net.exists() and net.processes():
        raise where.LabError(f"lab {where.name()} is up and belongs to {tree}; choose another name "
                             "with XVM_LAB=NAME, or end it there")


def up(count, wait=True):
    """A fresh lab with this number of hosts; an older one of this name is replaced."""
    if not 1 <= count <= where.MAX_HOSTS:
        raise where.LabError(f"up: 1 to {where.MAX_HOSTS} hosts, not {count}")
    with locked():
        _refuse_foreign()
        build.build()
        begin = time.monotonic()
        _down()
        _make(count)
        for h in hosts():
            h.on()
    if wait:
        wait_ready(hosts())
        print(f"lab {where.name()}: {count} hosts are up, {time.monotonic() - begin:.0f} s")


def _make(count):
    run = where.run_dir()
    os.makedirs(run)
    os.symlink(build.folder(), run + "/image")
    with open(run + "/ssh_config", "w", encoding="utf-8") as f:
        for n in range(1, count + 1):
            f.write(f"Host host{n}\n    HostName {where.address(n)}\n    HostKeyAlias host{n}\n"
                    f"    ControlPath {where.host_dir(n)}/ssh\n")
        f.write(SSH.format(run=run))
    net.create(count)
    storage.start()
    with open(run + "/state.json", "w", encoding="utf-8") as f:
        json.dump({"hosts": count, "tree": where.TREE}, f)
    for h in hosts():
        h.create()
        bmc.start(h.number)


READY = (f"test -b /dev/lab/disk{where.DISKS} && xl list >/dev/null && "
         "corosync-quorumtool -s | grep -q '^Quorate: *Yes'")


def wait_ready(which, timeout=300):
    """Waits until these hosts let us log in, have their disks, Xen's daemons and quorum."""
    end = time.monotonic() + timeout
    for h in which:
        while not (h.booted() and ready(h)):
            if not h.powered():
                raise where.LabError(f"{h.name} lost its power; {h.dir}/qemu.log may say why")
            if time.monotonic() > end:
                raise where.LabError(f"{h.name} is not up after {timeout} s; "
                                     f"see {h.dir}/serial.log")
            time.sleep(1)


def ready(h):
    """Whether a host is fully up."""
    try:
        # A host alone has no quorum in a cluster of several, so all must be on their way.
        return h.ssh(READY, timeout=30, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def status():
    """A table for people."""
    print(f"{'HOST':6} {'STATE':8} {'ADDRESS':12} {'NETWORK':8} {'BMC':12} {'BMC NETWORK'}")
    for h in hosts():
        print(f"{h.name:6} {h.state():8} {where.address(h.number):12} "
              f"{'joined' if net.connected(h.number) else 'cut':8} "
              f"{where.bmc_address(h.number):12} "
              f"{'joined' if net.bmc_connected(h.number) else 'cut'}")
