# SPDX-License-Identifier: GPL-2.0-or-later
"""Where everything of the lab is, and the numbers that its parts agree on.

A lab has a name (XVM_LAB, by default "lab"); its namespace and its folder are called after it, so
that several labs can exist on one machine.
"""
import os
import re

LAB = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TREE = os.path.dirname(os.path.dirname(LAB))
CACHE = os.environ.get("XVM_LAB_CACHE", TREE + "/.cache/lab")
# Not under TMPDIR: the next `up` must find what a crashed one left. Short, for sockets' sake.
RUNS = "/var/tmp/xvm-lab"

GATEWAY = "10.77.0.1"  # the bridge: where ssh comes from
STORAGE = "10.77.0.2"  # the iSCSI target; an address of its own, so that it can be cut off alone
PREFIX = 24
MAX_HOSTS = 4
DISKS = 7  # iSCSI LUNs 1 to 7
GUEST_DISKS = 6  # the last is for the cluster itself: a shared-disk heartbeat
BMC_USER, BMC_PASSWORD = "fence", "lab-ipmi-secret"
ISCSI_TARGET = "iqn.2026-01.lab.xvm:disks"


class LabError(Exception):
    """Something that the caller can read and act on; no traceback is shown."""


def name():
    """The name of the lab that this process works on."""
    n = os.environ.get("XVM_LAB", "lab")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,19}", n):
        raise LabError(f"XVM_LAB={n}: a lab's name has 1 to 20 of a-z, 0-9 and -")
    return n


def namespace():
    return "xvmlab-" + name()


def run_dir():
    return f"{RUNS}/{name()}"


def host_dir(number):
    return f"{run_dir()}/h{number}"


def address(number):
    """A host's address on the lab's network."""
    return f"10.77.0.{10 + number}"


def bmc_address(number):
    return f"10.77.0.{100 + number}"


def host_number(text, hosts):
    """`2`, `host2` or `h2` as the number of one of the lab's hosts."""
    m = re.fullmatch(r"(?:host|h)?([1-9])", text)
    if not m or int(m.group(1)) > hosts:
        raise LabError(f"no host {text}: this lab has host1 to host{hosts}")
    return int(m.group(1))
