#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The probes that ship with xvm-had, as it runs them: what their exit codes and words say.

What they ask (ssh, xl, xenstore) is played by small programs; tcp asks this machine."""

import os
import socket
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("XVM_SOURCE_DIR",
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PROBES = os.path.join(SOURCE, "contrib", "probes")
HEALTHY, UNHEALTHY, CANNOT_TELL = 0, 1, 2


class Probes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = folder.name
        self.bin = self.dir + "/bin"
        os.mkdir(self.bin)

    def play(self, name, script):
        path = f"{self.bin}/{name}"
        with open(path, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + script + "\n")
        os.chmod(path, 0o755)

    def file(self, name):
        path = f"{self.dir}/{name}"
        with open(path, "w", encoding="utf-8") as f:
            f.write("x\n")
        return path

    def probe(self, name, *args, inc=1, timeout=3):
        env = {"PATH": self.bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
               "XVM_PROBE_GUEST": "localhost", "XVM_PROBE_HOST": "host1", "XVM_PROBE_NAME": name,
               "XVM_PROBE_INCARNATION": str(inc), "XVM_PROBE_TIMEOUT": str(timeout),
               "XVM_PROBE_STATE": self.dir + "/state"}
        r = subprocess.run([f"{PROBES}/{name}", *map(str, args)], env=env, text=True, timeout=20,
                           stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return r.returncode, r.stdout

    def ssh(self, script, *args):
        self.play("ssh", script)
        return self.probe("ssh", "-i", self.file("key"), "-k", self.file("known"), *args)

    def test_ping(self):
        self.play("ping", "exit 0")
        self.assertEqual(self.probe("ping")[0], HEALTHY)
        self.play("ping", "exit 1")
        code, said = self.probe("ping", "192.0.2.1")
        self.assertEqual(code, UNHEALTHY)
        self.assertIn("192.0.2.1 does not answer", said)
        self.play("ping", "echo unknown host >&2; exit 2")
        code, said = self.probe("ping", "nowhere")
        self.assertEqual(code, CANNOT_TELL)
        self.assertIn("unknown host", said)

    def test_tcp(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            self.assertEqual(self.probe("tcp", "127.0.0.1", port)[0], HEALTHY)
            self.assertEqual(self.probe("tcp", port)[0], HEALTHY)
        code, said = self.probe("tcp", "127.0.0.1", port)
        self.assertEqual(code, UNHEALTHY)
        self.assertIn("refused", said)
        self.assertEqual(self.probe("tcp", "127.0.0.1", "http")[0], CANNOT_TELL)
        self.assertEqual(self.probe("tcp", "no.such.host.invalid", 80)[0], CANNOT_TELL)

    def test_tcp_no_answer(self):
        with socket.socket() as s: # a full backlog: a connection neither stands nor is refused
            s.bind(("127.0.0.1", 0))
            s.listen(0)
            port = s.getsockname()[1]
            full = [socket.socket() for _ in range(4)]
            for x in full:
                x.setblocking(False)
                x.connect_ex(("127.0.0.1", port))
            code, said = self.probe("tcp", "127.0.0.1", port, timeout=2)
            for x in full:
                x.close()
        self.assertEqual(code, UNHEALTHY)
        self.assertIn("no answer within 1 s", said)

    def test_ssh_systemd(self):
        self.assertEqual(self.ssh("echo active", "systemd", "multi-user.target")[0], HEALTHY)
        self.assertEqual(self.ssh("echo active")[0], HEALTHY)
        code, said = self.ssh("echo inactive; exit 3", "systemd", "web.service")
        self.assertEqual(code, UNHEALTHY)
        self.assertIn("web.service is inactive", said)

    def test_ssh_runlevel(self):
        for words in ("N 3", "         run-level 3  2026-01-01 10:00"):
            self.assertEqual(self.ssh(f"echo '{words}'", "runlevel", "3,5")[0], HEALTHY, words)
        code, said = self.ssh("echo 'N 1'", "runlevel", "3,5")
        self.assertEqual(code, UNHEALTHY)
        self.assertIn("run level 1, expected 3,5", said)
        self.assertEqual(self.ssh("echo hello", "runlevel", "3")[0], CANNOT_TELL)

    def test_ssh_smf(self):
        name = "svc:/milestone/multi-user:default"
        self.assertEqual(self.ssh("echo online", "smf", name)[0], HEALTHY)
        self.assertEqual(self.ssh("echo maintenance", "smf", name)[0], UNHEALTHY)

    def test_ssh_command(self):
        self.assertEqual(self.ssh("exit 0", "run", "/bin/true")[0], HEALTHY)
        self.assertEqual(self.ssh("exit 7", "run", "/bin/check")[0], UNHEALTHY)
        self.assertEqual(self.ssh("exit 127", "run", "/bin/none")[0], CANNOT_TELL)

    def test_ssh_no_login(self):
        """A guest that does not answer is ill; one that cannot be asked is nobody's fault."""
        self.assertEqual(self.ssh("echo 'Connection refused' >&2; exit 255")[0], UNHEALTHY)
        self.assertEqual(self.ssh("sleep 20")[0], UNHEALTHY)
        for words in ("Host key verification failed.", "root@x: Permission denied (publickey).",
                      "ssh: Could not resolve hostname x: Name or service not known"):
            self.assertEqual(self.ssh(f"echo '{words}' >&2; exit 255")[0], CANNOT_TELL, words)
        self.assertEqual(self.probe("ssh", "-i", self.dir + "/none")[0], CANNOT_TELL)

    def test_heartbeat(self):
        self.play("xl", "echo 7")
        self.play("xenstore-read",
                  f'[ "$1" = /local/domain/7/data/heartbeat ] && cat {self.dir}/beat')
        self.assertEqual(self.probe("heartbeat", 0)[0], UNHEALTHY) # never written
        for beat in ("1", "2"):
            with open(self.dir + "/beat", "w", encoding="utf-8") as f:
                f.write(beat + "\n")
            self.assertEqual(self.probe("heartbeat", 0)[0], HEALTHY)
        self.assertEqual(self.probe("heartbeat", 600)[0], HEALTHY)
        state = self.dir + "/state/localhost.heartbeat"
        with open(state, "w", encoding="utf-8") as f:
            f.write("1 0\n2\n") # seen when the machine started
        code, said = self.probe("heartbeat", 1)
        self.assertEqual(code, UNHEALTHY)
        self.assertIn("has not changed data/heartbeat", said)
        self.assertEqual(self.probe("heartbeat", 1, inc=2)[0], HEALTHY) # another life
        self.play("xl", "exit 1")
        self.assertEqual(self.probe("heartbeat", 0)[0], CANNOT_TELL)


if __name__ == "__main__":
    unittest.main()
