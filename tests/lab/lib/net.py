# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's network: a namespace with one bridge, a tap for each host, an address for each BMC.

Every process of a lab runs in its namespace, so the kernel knows them all: nothing that a crashed
script left behind is ever searched for by name.
"""
import os
import signal
import subprocess
import time

from . import where


def command(argv):
    """argv as it must be run to be inside of the lab's network."""
    return ["ip", "netns", "exec", where.namespace()] + [str(a) for a in argv]


def run(argv, check=True, **kwargs):
    """Runs argv inside of the lab's network; returns what subprocess.run returns."""
    r = subprocess.run(command(argv), stdin=kwargs.pop("stdin", subprocess.DEVNULL), text=True,
                       capture_output=True, check=False, **kwargs)
    if check and r.returncode != 0:
        raise where.LabError(f"{' '.join(map(str, argv))}: {(r.stderr or r.stdout).strip()}")
    return r


def exists():
    return os.path.exists(f"/run/netns/{where.namespace()}")


def processes():
    """Numbers of all processes inside of the lab's network."""
    r = subprocess.run(["ip", "netns", "pids", where.namespace()], capture_output=True, text=True,
                       check=False)
    return [int(p) for p in r.stdout.split() if int(p) != os.getpid()]


def remove():
    """Ends all that runs in the lab's network, then the network. Nothing there is not an error."""
    if not exists():
        return
    end = time.monotonic() + 20
    while pids := processes():
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > end:
            raise where.LabError(f"processes that do not end: {pids}")
        time.sleep(0.05)
    subprocess.run(["ip", "netns", "del", where.namespace()], check=True)


def create(hosts):
    """Namespace, bridge and taps for this number of hosts."""
    subprocess.run(["ip", "netns", "add", where.namespace()], check=True)
    lines = ["link set lo up", "link add br0 type bridge forward_delay 0 mcast_snooping 0",
             f"addr add {where.GATEWAY}/{where.PREFIX} dev br0",
             f"addr add {where.STORAGE}/{where.PREFIX} dev br0", "link set br0 up"]
    for h in range(1, hosts + 1):
        lines += [f"tuntap add tap{h} mode tap", f"link set tap{h} master br0",
                  f"link set tap{h} up",
                  f"addr add {where.bmc_address(h)}/{where.PREFIX} dev br0"]
    run(["ip", "-batch", "-"], stdin=None, input="\n".join(lines) + "\n")


def connected(host):
    r = run(["ip", "-o", "link", "show", f"tap{host}"])
    return " master br0 " in r.stdout


def cut(host):
    """Pulls the host's network cable."""
    run(["ip", "link", "set", f"tap{host}", "nomaster"])


def join(host):
    run(["ip", "link", "set", f"tap{host}", "master", "br0"])


def apart(hosts, yes):
    """These hosts do not see each other (any more), but everything else: BMCs, storage."""
    for h in hosts:
        run(["bridge", "link", "set", "dev", f"tap{h}", "isolated", "on" if yes else "off"])


def bmc_connected(host):
    r = run(["ip", "-o", "addr", "show", "dev", "br0"])
    return f" {where.bmc_address(host)}/" in r.stdout


def bmc_cut(host):
    """Pulls the network cable of the host's BMC."""
    if bmc_connected(host):
        run(["ip", "addr", "del", f"{where.bmc_address(host)}/{where.PREFIX}", "dev", "br0"])


def bmc_join(host):
    if not bmc_connected(host):
        run(["ip", "addr", "add", f"{where.bmc_address(host)}/{where.PREFIX}", "dev", "br0"])


def _storage_rule(host):
    return ["from", where.STORAGE, "to", where.address(host), "blackhole"]


def storage_connected(host):
    r = run(["ip", "rule", "list", *_storage_rule(host)[:4]])
    return "blackhole" not in r.stdout


def storage_cut(host):
    """Takes the storage away from the host: its target's answers are lost from now on."""
    if storage_connected(host):
        run(["ip", "rule", "add", *_storage_rule(host)])


def storage_join(host):
    if not storage_connected(host):
        run(["ip", "rule", "del", *_storage_rule(host)])
