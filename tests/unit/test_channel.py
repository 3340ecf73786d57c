#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""xvm-ha-channel, two of them over a real TCP connection: what goes in comes out, only between ends
that agree, and every end is passed on."""
import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else "xvm-ha-channel"
FAILED, CLOSED, REFUSED, BROKEN = 65, 66, 67, 68


def socket_pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    return client, server


class End:
    """One end: the program, and the test as its worker and its daemon."""

    def __init__(self, role, connection, key, guest="web", mig=7, source=1, target=2, cluster="c",
                 encryption="tls", extra=()):
        self.stream, stream = socket.socketpair()
        self.control, control = socket.socketpair()
        fds = [connection.fileno(), stream.fileno(), control.fileno()]
        self.process = subprocess.Popen(
            [PROGRAM, role, "--socket", str(fds[0]), "--stream", str(fds[1]), "--control",
             str(fds[2]), "--encryption", encryption, "--cluster", cluster, "--guest", guest,
             "--mig", str(mig), "--source", str(source), "--target", str(target), "--key", key,
             "--relay", *extra], pass_fds=fds, stdout=subprocess.PIPE, text=True)
        stream.close()
        control.close()
        for s in (self.stream, self.control):
            s.settimeout(30)

    def ready(self):
        line = b""
        while not line.endswith(b"\n"):
            c = self.control.recv(1)
            if not c:
                return ""
            line += c
        return line.decode().strip()

    def end(self):
        """(exit code, what it said)."""
        out, _ = self.process.communicate(timeout=30)
        self.stream.close()
        self.control.close()
        return self.process.returncode, out


def receive_all(s):
    digest, n = hashlib.sha256(), 0
    while True:
        data = s.recv(1 << 20)
        if not data:
            return n, digest.hexdigest()
        digest.update(data)
        n += len(data)


class Channel(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.key = self.make_key("authkey")

    def tearDown(self):
        self.folder.cleanup()

    def make_key(self, name, data=None, mode=0o400):
        path = os.path.join(self.folder.name, name)
        with open(path, "wb") as f:
            f.write(data if data is not None else os.urandom(256))
        os.chmod(path, mode)
        return path

    def pair(self, send=None, receive=None):
        a, b = socket_pair()
        ends = (End("send", a, **{"key": self.key, **(send or {})}),
                End("receive", b, **{"key": self.key, **(receive or {})}))
        a.close()
        b.close()
        return ends

    def test_both_ways_and_half_closed(self):
        a, b = self.pair()
        self.assertIn("TLS 1.3", a.ready())
        self.assertIn("TLS 1.3", b.ready())
        data = os.urandom(5 << 20)
        sent = hashlib.sha256(data).hexdigest()

        def send():
            a.stream.sendall(data)
            a.stream.shutdown(socket.SHUT_WR)
        thread = threading.Thread(target=send)
        thread.start()
        self.assertEqual(receive_all(b.stream), (len(data), sent))
        thread.join()
        # The other direction is still open.
        b.stream.sendall(b"C")
        b.stream.close()
        self.assertEqual(a.stream.recv(10), b"C")
        self.assertEqual(a.stream.recv(10), b"")
        a.stream.close()
        self.assertEqual(a.end()[0], 0)
        self.assertEqual(b.end()[0], 0)

    def test_last_words_arrive(self):
        """The answer of a worker that ends at once is not lost, whatever still comes its way."""
        for _ in range(20):
            a, b = self.pair()
            a.ready()
            b.ready()
            a.stream.sendall(b"x" * 300000)
            b.stream.sendall(b"C")
            b.stream.close()
            self.assertEqual(a.stream.recv(1), b"C")
            a.stream.close()
            a.end()
            b.end()

    def test_back_pressure(self):
        """Who does not read stops who writes: nothing is piled up in between."""
        a, b = self.pair()
        a.ready()
        b.ready()
        a.stream.setblocking(False)
        n = 0
        with self.assertRaises(BlockingIOError):
            for _ in range(10000):
                n += a.stream.send(b"y" * 65536)
                if n > 256 << 20:
                    break
        a.stream.settimeout(30)
        thread = threading.Thread(target=lambda: a.stream.shutdown(socket.SHUT_WR))
        thread.start()
        self.assertEqual(receive_all(b.stream)[0], n)
        thread.join()
        b.stream.close()
        a.stream.close()
        self.assertEqual((a.end()[0], b.end()[0]), (0, 0))

    def test_must_agree(self):
        """Another key, another decision: no connection, and the reason is said."""
        other = self.make_key("other")
        for change in ({"key": other}, {"mig": 8}, {"guest": "db"}, {"source": 3}, {"target": 3},
                       {"cluster": "d"}):
            a, b = self.pair(receive=change)
            (ca, wa), (cb, wb) = a.end(), b.end()
            self.assertEqual((ca, cb), (REFUSED, REFUSED), change)
            self.assertIn("authkey", wa)
            self.assertIn("authkey", wb)

    def test_keys(self):
        for path, words in ((self.folder.name + "/none", "corosync-keygen"),
                            (self.make_key("short", b"abc"), "not a key"),
                            (self.make_key("open", mode=0o644), "chmod 400")):
            a, b = self.pair(send={"key": path})
            code, said = a.end()
            self.assertEqual(code, FAILED)
            self.assertIn(words, said)
            self.assertEqual(b.end()[0], CLOSED)

    def test_strangers(self):
        """Rubbish, a hang-up, or silence instead of a handshake."""
        for data, code in ((b"GET / HTTP/1.1\r\n\r\n" * 10, REFUSED), (b"\xff" * 500, REFUSED),
                           (b"", CLOSED), (None, CLOSED)):
            client, server = socket_pair()
            end = End("receive", server, self.key, extra=("--handshake", "300"))
            server.close()
            if data is None:
                self.assertEqual(end.end()[0], code)
                client.close()
                continue
            client.sendall(data)
            try:
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has hung up already
            self.assertEqual(end.end()[0], code, data)
            client.close()

    def test_a_cut_is_no_end(self):
        """Bytes that are changed or cut off on the way never come out."""
        left, right = socket_pair()
        c, d = socket_pair()
        a = End("send", left, self.key)
        b = End("receive", d, self.key)
        left.close()
        d.close()
        # The test is the wire.
        spoil = threading.Event()

        def forward(src, dst, spoils):
            try:
                while True:
                    data = bytearray(src.recv(65536))
                    if not data:
                        break
                    if spoils and spoil.is_set():
                        data[len(data) // 2] ^= 1
                    dst.sendall(data)
                dst.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        threads = [threading.Thread(target=forward, args=x, daemon=True)
                   for x in ((right, c, True), (c, right, False))]
        for t in threads:
            t.start()
        a.ready()
        b.ready()
        a.stream.sendall(b"good")
        self.assertEqual(b.stream.recv(100), b"good")
        spoil.set()
        a.stream.sendall(b"bad")
        self.assertEqual(b.stream.recv(100), b"")
        self.assertEqual(b.end()[0], BROKEN)
        # Closed only, the connection would live on while a thread is inside recv().
        for s in (right, c):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for t in threads:
            t.join()
        right.close()
        c.close()
        a.end()

    def test_daemon_gone(self):
        """Before a worker has it the program ends with its daemon; later it goes on without."""
        client, server = socket_pair()
        end = End("receive", server, self.key)
        server.close()
        end.control.close()
        self.assertEqual(end.process.wait(30), FAILED)
        client.close()
        a, b = self.pair()
        a.ready()
        b.ready()
        for e in (a, b):
            e.control.close()
        a.stream.sendall(b"hello")
        self.assertEqual(b.stream.recv(5), b"hello")
        a.stream.close()
        b.stream.close()
        self.assertEqual((a.end()[0], b.end()[0]), (0, 0))

    def test_other_end_dies(self):
        a, b = self.pair()
        a.ready()
        b.ready()
        a.stream.sendall(b"hello")
        self.assertEqual(b.stream.recv(5), b"hello")
        a.process.send_signal(signal.SIGKILL)
        self.assertEqual(a.stream.recv(1), b"")
        self.assertEqual(b.stream.recv(1), b"")
        self.assertEqual(b.end()[0], BROKEN)
        a.end()

    def test_in_the_clear(self):
        """Not encrypted: the worker has the socket itself, the program only counts."""
        left, right = socket_pair()
        a = End("send", left, "/none", encryption="off")
        self.assertEqual(a.ready(), "ready direct not encrypted")
        left.sendall(b"x" * 1000)
        self.assertEqual(len(right.recv(1000, socket.MSG_WAITALL)), 1000)
        for _ in range(20):
            words = a.ready().split()
            if int(words[1]) >= 1000:
                break
        self.assertGreaterEqual(int(words[1]), 1000)
        a.control.close()
        self.assertEqual(a.process.wait(30), 0)
        left.close()
        self.assertEqual(right.recv(1), b"")
        right.close()
        a.end()

    def test_usage(self):
        for args in ((), ("send",), ("push", "--socket", "3"), ("send", "--socket", "x")):
            r = subprocess.run([PROGRAM, *args], capture_output=True, check=False)
            self.assertEqual(r.returncode, 2)


if __name__ == "__main__":
    unittest.main()
