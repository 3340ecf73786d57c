#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The fence agent for process-tree nodes, against real pid namespaces: what it says is what is so."""

import os
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ET

SOURCE = os.environ.get("XVM_SOURCE_DIR",
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
AGENT = os.path.join(SOURCE, "fence", "fence_xvm_node")


def start_time(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        return f.read().rsplit(")", 1)[1].split()[19]


class Machine:
    """A pid namespace, as a node's supervisor makes it."""

    def __init__(self):
        # Process 1 has a child of its own that has to die with it.
        self.outer = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 1000 & wait"])
        self.pid = None
        end = time.monotonic() + 5
        while self.pid is None and self.outer.poll() is None and time.monotonic() < end:
            with open(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children",
                      encoding="ascii") as f:
                kids = f.read().split()
            self.pid = int(kids[0]) if kids else None
            time.sleep(0.01)

    def is_on(self):
        return self.outer.poll() is None

    def close(self):
        if self.is_on():
            self.outer.kill()  # --kill-child takes the rest along
        self.outer.wait(5)


def can_unshare():
    return subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True,
                          check=False).returncode == 0


@unittest.skipUnless(can_unshare(), "needs the right to make pid namespaces")
class FenceXvmNode(unittest.TestCase):
    def setUp(self):
        # The umbrella, not a with: cleaned up by addCleanup below.
        self.folder = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
        self.addCleanup(self.folder.cleanup)
        self.nodes = self.folder.name
        os.mkdir(self.path())
        self.machine = Machine()
        self.addCleanup(self.machine.close)
        self.assertIsNotNone(self.machine.pid)
        self.write("init.pid", f"{self.machine.pid}\n")

    def path(self, *parts):
        return os.path.join(self.nodes, "host1", *parts)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(text)

    def call(self, action, timeout=20, **params):
        params = {"plug": "host1", "nodes_dir": self.nodes, **params}
        text = f"action={action}\n" + "".join(f"{k}={v}\n" for k, v in params.items() if v)
        r = subprocess.run([sys.executable, AGENT], input=text, capture_output=True, text=True,
                           timeout=timeout, check=False)
        self.assertNotIn("Traceback", r.stderr)
        return r

    def assert_off(self):
        self.assertFalse(os.path.exists(f"/proc/{self.machine.pid}/fd/"))
        self.machine.outer.wait(5)

    def test_off_is_off(self):
        self.assertEqual(self.call("status").returncode, 0)
        r = self.call("off")
        self.assertEqual((r.returncode, r.stdout), (0, "Success: Powered OFF\n"), r)
        self.assert_off()
        r = self.call("status")
        self.assertEqual((r.returncode, r.stdout), (2, "Status: OFF\n"))
        self.assertEqual(self.call("off").stdout, "Success: Already OFF\n")

    def test_long_options(self):
        r = subprocess.run([sys.executable, AGENT, "--action=off", "--plug", "host1",
                            f"--nodes-dir={self.nodes}"], capture_output=True, text=True,
                           check=False)
        self.assertEqual(r.returncode, 0, r)
        self.assert_off()

    def test_start_time_guards_against_reuse(self):
        self.write("init.pid", f"{self.machine.pid} {int(start_time(self.machine.pid)) + 1}\n")
        self.assertEqual(self.call("off").stdout, "Success: Already OFF\n")
        self.assertTrue(self.machine.is_on())
        self.write("init.pid", f"{self.machine.pid} {start_time(self.machine.pid)}\n")
        self.assertEqual(self.call("off").stdout, "Success: Powered OFF\n")
        self.assert_off()

    def test_old_file_names_nobody(self):
        os.utime(self.path("init.pid"), (1, 1))
        self.assertEqual(self.call("status").returncode, 2)
        self.assertEqual(self.call("off").returncode, 0)
        self.assertTrue(self.machine.is_on())

    def test_never_kills_anything_but_a_namespaces_init(self):
        self.write("init.pid", f"{self.machine.outer.pid}\n")
        self.assertEqual(self.call("off").returncode, 0)
        self.assertTrue(self.machine.is_on())

    def test_other_namespace_is_an_error(self):
        self.write("init.pid", f"{self.machine.pid} - pid:[1]\n")
        for action in ("off", "status"):
            r = self.call(action)
            self.assertEqual(r.returncode, 8, r)
            self.assertIn("another pid namespace", r.stderr)
        self.write("init.pid", f"{self.machine.pid} - {os.readlink('/proc/self/ns/pid')}\n")
        self.assertEqual(self.call("status").returncode, 0)

    def test_bad_file_is_an_error(self):
        self.write("init.pid", "no number\n")
        for action in ("off", "status"):
            self.assertEqual(self.call(action).returncode, 8)

    def test_on_asks_the_supervisor(self):
        self.call("off")
        r = self.call("on", power_timeout="0.3")
        self.assertEqual(r.returncode, 6, r)
        self.assertTrue(os.path.exists(self.path("power-on")))
        self.call("off")
        self.assertFalse(os.path.exists(self.path("power-on")))

    def test_reboot_counts_once_it_is_off(self):
        r = self.call("reboot", power_timeout="0.3")
        self.assertEqual(r.returncode, 0, r)
        self.assert_off()
        self.assertTrue(os.path.exists(self.path("power-on")))

    def test_behaviours(self):
        for how, code in (("fail", 1), ("unreachable", 4)):
            self.write("fence-behaviour", how + "\n")
            for action in ("off", "status", "on", "monitor"):
                self.assertEqual(self.call(action).returncode, code, (how, action))
            self.assertTrue(self.machine.is_on())
        self.write("fence-behaviour", "hang\n")
        with self.assertRaises(subprocess.TimeoutExpired):
            self.call("off", timeout=0.7)
        self.assertTrue(self.machine.is_on())
        self.write("fence-behaviour", "lie\n")
        self.assertEqual(self.call("off").returncode, 0)
        self.assertTrue(self.machine.is_on())
        self.assertEqual(self.call("status").returncode, 0)
        self.write("fence-behaviour", "lie-status\n")
        self.assertEqual(self.call("status").returncode, 2)
        self.write("fence-behaviour", "slow:0.5\n")
        begin = time.monotonic()
        self.assertEqual(self.call("off").returncode, 0)
        self.assertGreater(time.monotonic() - begin, 0.5)
        self.assert_off()

    def test_cut_command(self):
        command = os.path.join(self.nodes, "cut")
        with open(command, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\necho "$1" >{self.nodes}/was-cut\n')
        os.chmod(command, 0o755)
        self.assertEqual(self.call("off", cut_command=command).returncode, 0)
        with open(self.nodes + "/was-cut", encoding="ascii") as f:
            self.assertEqual(f.read(), "host1\n")

    def test_bad_arguments_never_look_like_off(self):
        for params in ({"plug": None}, {"plug": "nobody"}, {"plug": "../x"}, {"nodes_dir": None},
                       {"delay": "soon"}, {"cut_command": "/nonexistent"}):
            r = self.call("status", **params)
            self.assertNotIn(r.returncode, (0, 2), (params, r))
        self.assertEqual(self.call("explode").returncode, 1)

    def test_lists(self):
        self.assertEqual(self.call("list").stdout, "host1,\n")
        self.assertEqual(self.call("list-status").stdout, "host1,,ON\n")
        self.assertEqual(self.call("monitor").returncode, 0)
        self.assertEqual(self.call("monitor", plug=None).returncode, 0)
        self.assertEqual(self.call("validate-all").returncode, 0)

    def test_metadata(self):
        r = self.call("metadata", plug=None, nodes_dir=None)
        root = ET.fromstring(r.stdout)
        self.assertEqual(root.tag, "resource-agent")
        names = {p.get("name") for p in root.iter("parameter")}
        self.assertLessEqual({"action", "plug", "nodes_dir"}, names)
        actions = {a.get("name") for a in root.iter("action")}
        self.assertLessEqual({"on", "off", "reboot", "status", "monitor", "list", "metadata",
                              "validate-all"}, actions)


if __name__ == "__main__":
    unittest.main()
