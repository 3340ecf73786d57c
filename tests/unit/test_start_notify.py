#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What xvm-had tells systemd while it cannot go on: its watchdog must not end a service that waits for a
better configuration file, nor one whose fence agents answer slowly.

  test_start_notify.py XVM_HAD
"""
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else "xvm-had"
# Two daemons of one network namespace do not go together.
ALONE = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
CONFIG = """cluster: {name: test}
watchdog: {device: xen, timeout: 10s}
fence_devices:
  ipmi: {agent: fence_slow, options: {ip: 192.0.2.1}}
hosts:
  host1: {id: 1, fence: [ipmi, self]}
"""


class Start(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.dir.name + "/notify")
        self.socket.settimeout(0.2)
        self.words = []
        self.log = open(self.dir.name + "/log", "w+", encoding="utf-8")

    def tearDown(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.socket.close()
        self.log.close()
        self.dir.cleanup()

    def begin(self, config, agent=""):
        with open(self.dir.name + "/config", "w", encoding="utf-8") as f:
            f.write(config)
        os.mkdir(self.dir.name + "/agents")
        with open(self.dir.name + "/agents/fence_slow", "w", encoding="ascii") as f:
            f.write("#!/bin/sh\n" + agent + "\n")
        os.chmod(self.dir.name + "/agents/fence_slow", 0o755)
        env = dict(os.environ, NOTIFY_SOCKET=self.dir.name + "/notify", WATCHDOG_USEC="20000000")
        env.pop("WATCHDOG_PID", None)
        self.process = subprocess.Popen(
            ALONE + [PROGRAM, "--config", self.dir.name + "/config",
                     "--run-dir", self.dir.name + "/run", "--state-dir", self.dir.name + "/state",
                     "--agent-dir", self.dir.name + "/agents", "--log-target", "console",
                     "--boot-id", "11111111-2222-4333-8444-555555555555",
                     "--machine-id", "0123456789abcdef0123456789abcdef"],
            env=env, stdout=subprocess.DEVNULL, stderr=self.log)

    def until(self, condition, what, limit=60):
        end = time.monotonic() + limit
        while not condition():
            self.assertLess(time.monotonic(), end, f"waited in vain for {what}: {self.words}")
            if self.process.poll() is not None:
                self.log.seek(0)
                self.fail(f"xvm-had ended: {self.words}, {self.log.read()}")
            try:
                self.words += self.socket.recv(4096).decode().split("\n")
            except TimeoutError:
                pass

    def test_mistakes(self):
        self.begin("cluster: [\n")
        self.until(lambda: self.words.count("WATCHDOG=1") >= 4, "signs of life")
        self.assertTrue(any("has mistakes" in w for w in self.words), self.words)

    def test_slow_agent(self):
        flag = self.dir.name + "/asked"
        self.begin(CONFIG, f"touch {flag}\nsleep 1000")
        self.until(lambda: os.path.exists(flag), "the agent to be asked")
        self.until(lambda: any(w.startswith("WATCHDOG_USEC=") for w in self.words), "more patience")
        first = [w for w in self.words if w.startswith("WATCHDOG_USEC=")][0]
        self.assertGreater(int(first.split("=")[1]), 120 * 1000000)
        self.until(lambda: "WATCHDOG_USEC=20000000" in self.words, "the unit's own limit again", 90)


if __name__ == "__main__":
    unittest.main()
