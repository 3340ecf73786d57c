# SPDX-License-Identifier: GPL-2.0-or-later
"""Management controllers of nodes: OpenIPMI's ipmi_sim, whose chassis control really switches a node.

Each node gets a BMC of its own on a UDP port of the room, which plays the management network. Debian's
fence_ipmilan and ipmitool talk to it as they would to hardware.
"""
import os
import shutil
import signal
import subprocess

from .room import wait_until

PORT = 9000
USER, PASSWORD = "fence", "s3cret-of-the-bmc"

LAN = """name "{name}"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abc{number:03x}
  endlan
  chassis_control "{dir}/chassis"
  user 1 true "" "" user 10 none md2 md5 straight
  user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""

EMULATION = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""

# `behaviour`: stuck (takes the order, the power stays on), slow:SECONDS (each change).
CHASSIS = """#!/bin/bash
say() {{ printf 'action=%s\\nplug={name}\\nnodes_dir={nodes}\\n' "$1" | {agent} >/dev/null 2>&1; }}
how=$(cat {dir}/behaviour 2>/dev/null)
if [ "$1" = get ]; then
    shift
    for what in "$@"; do
        [ "$what" = power ] || continue
        say status
        case $? in 0) echo power:1 ;; 2) echo power:0 ;; *) exit 1 ;; esac
    done
    exit 0
fi
while shift && [ $# -ge 2 ]; do
    [ "$1" = power ] || continue
    case $how in
    stuck) exit 0 ;;
    slow:*) sleep "${{how#slow:}}" ;;
    esac
    if [ "$2" = 0 ]; then say off; else say on; fi
done
exit 0
"""


def have():
    return all(shutil.which(p) for p in ("ipmi_sim", "ipmitool", "fence_ipmilan"))


class Bmc:
    def __init__(self, room, node, agent):
        """agent: what switches nodes (fence_xvm_node)."""
        self.node, self.port = node, PORT + node.number
        self.dir = f"{room.folder}/bmc-{node.name}"
        os.makedirs(self.dir + "/state")
        values = {"name": node.name, "port": self.port, "number": node.number, "dir": self.dir,
                  "user": USER, "password": PASSWORD, "nodes": room.nodes_dir, "agent": agent}
        for name, text in (("lan.conf", LAN), ("emu", EMULATION), ("chassis", CHASSIS)):
            with open(f"{self.dir}/{name}", "w", encoding="ascii") as f:
                f.write(text.format(**values))
        os.chmod(self.dir + "/chassis", 0o755)
        self.secret = self.dir + "/password"
        self.set_password(PASSWORD)
        self.process = None
        self.start()

    def set_password(self, text):
        """What the cluster believes the password to be."""
        with open(os.open(self.secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="ascii") as f:
            f.write(text + "\n")

    def behave(self, how):
        with open(self.dir + "/behaviour", "w", encoding="ascii") as f:
            f.write(how + "\n")

    def start(self):
        with open(self.dir + "/log", "ab") as log:
            self.process = subprocess.Popen(
                ["ipmi_sim", "-c", self.dir + "/lan.conf", "-f", self.dir + "/emu", "-s",
                 self.dir + "/state", "-n"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(f"the BMC of {self.node.name}", self.answers, 20, 0.1)

    def answers(self):
        return subprocess.run(
            ["ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "1", "-H", "127.0.0.1", "-p",
             str(self.port), "-U", USER, "-P", PASSWORD, "mc", "guid"], capture_output=True,
            check=False).returncode == 0

    def kill(self):
        """It lost its power, too."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def options(self):
        return {"ip": "127.0.0.1", "ipport": self.port, "username": USER, "lanplus": 1, "cipher": 3}
