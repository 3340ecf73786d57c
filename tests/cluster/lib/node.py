# SPDX-License-Identifier: GPL-2.0-or-later
"""One node: power, network card, services, and the watchdog hardware around it.

Power, cable and watchdog are outside of the node, like the real things: nothing that happens inside
keeps them from working.
"""
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid

from . import corosync
from .room import ip, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


class Service:
    """A program on a node, kept alive as systemd would (Restart=always) while `wanted`."""

    def __init__(self, node, name, argv, env=None, restart=True):
        self.node, self.name, self.argv, self.env = node, name, argv, env
        self.restart = restart
        self.wanted = True
        self.starts = 0
        self.last_status = None
        self._changed = threading.Event()
        self._process = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self):
        boot = self.node.boots
        while self.wanted and self.node.boots == boot and self.node.powered:
            log = open(f"{self.node.dir}/log/{self.name}.log", "ab", buffering=0)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-E", HERE + "/enter.py", str(self.node.init), *self.argv],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
            except OSError as e:
                self.node.room.note(f"{self.node.name}: cannot start {self.name}: {e}")
                return
            finally:
                log.close()
            self.starts += 1
            self.last_status = self._process.wait()
            if not (self.wanted and self.node.powered and self.node.boots == boot):
                return
            self.node.room.note(f"{self.node.name}: {self.name} ended ({self.last_status})")
            if not self.restart:
                return
            self._changed.wait(0.1)

    def pid(self):
        """The program's pid as the room sees it, or None. enter.py stays in between."""
        p = self._process
        if p is None or p.poll() is not None:
            return None
        kids = children(p.pid)
        return kids[0] if kids else None

    def kill(self, number):
        pid = self.pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def stop(self, number=signal.SIGTERM, timeout=20):
        """Ends the program for good, as `systemctl stop` would (KillMode=process)."""
        self.wanted = False
        self._changed.set()
        self.kill(number)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.kill(signal.SIGKILL)
            self._thread.join(5)


class Watchdog:
    """The hardware watchdog of one node, behind a FIFO: "T<seconds>\\n" arms, any other byte pets,
    'V' disarms. When it expires, the node is reset."""

    def __init__(self, node):
        self.node = node
        self.path = node.dir + "/watchdog"
        if not os.path.exists(self.path):
            os.mkfifo(self.path)
        # Held open for reading and writing: there is never an end of file to handle.
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.timeout = None
        self.deadline = None
        self.fired = 0
        self.pets = 0
        threading.Thread(target=self._run, daemon=True).start()

    def reset(self):
        """Power comes or goes: what was written before is of no interest."""
        self.timeout = self.deadline = None
        try:
            os.read(self._fd, 65536)
        except BlockingIOError:
            pass

    def _feed(self, data):
        i = 0
        while i < len(data):
            c = data[i:i + 1]
            i += 1
            if c == b"T":
                end = data.find(b"\n", i)
                if end < 0:
                    end = len(data)
                self.timeout = float(data[i:end])
                i = end + 1
                self.node.room.note(f"{self.node.name}: watchdog armed, {self.timeout:g} s")
            elif c == b"V":
                if self.timeout is not None:
                    self.node.room.note(f"{self.node.name}: watchdog disarmed")
                self.timeout = self.deadline = None
                continue
            self.pets += 1
            if self.timeout is not None:
                self.deadline = time.monotonic() + self.timeout

    def _run(self):
        while True:
            try:
                data = os.read(self._fd, 65536)
                if self.node.powered:
                    self._feed(data)
            except BlockingIOError:
                pass
            if self.deadline is not None and time.monotonic() > self.deadline:
                self.fired += 1
                self.node.room.note(f"{self.node.name}: watchdog expired, reset")
                self.deadline = self.timeout = None
                self.node.power_cut("watchdog")
            time.sleep(0.02)


class Node:
    def __init__(self, room, number, name):
        self.room, self.number, self.name = room, number, name
        self.dir = f"{room.nodes_dir}/{name}"
        for d in ("etc/corosync", "var/lib/corosync", "var/log/corosync", "var/lib/xvm-had", "log"):
            os.makedirs(f"{self.dir}/{d}", exist_ok=True)
        self.machine_id = uuid.uuid4().hex
        self.boot_id = None
        self.boots = 0
        self.powered = False
        self.cut_off = False
        self.power_on_after = None  # seconds; None: stays off until power_on
        self.on_boot = None         # called with the node after each power on
        self.init = None
        self.services = {}
        self._link = None
        self._unshare = None
        self._lock = threading.RLock()
        self.watchdog = Watchdog(self)

    # ---------------------------------------------------------------- power

    def power_on(self):
        """Power button: a new boot with a new boot id; calls on_boot."""
        with self._lock:
            if self.powered:
                return
            self.boots += 1
            self.boot_id = str(uuid.uuid4())
            self.services = {}
            with open(self.dir + "/boot_id", "w", encoding="ascii") as f:
                f.write(self.boot_id + "\n")
            self.watchdog.reset()
            with open(self.dir + "/log/init.log", "ab") as log:
                self._unshare = subprocess.Popen(
                    ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork",
                     "--kill-child", "--propagation", "private", HERE + "/node-init.sh", self.dir,
                     self.name, os.readlink("/proc/self/ns/pid")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.init = int(wait_until(f"{self.name} to come up", self._read_init, 20, 0.01))
            self._plug_in()
            self.powered = True
            threading.Thread(target=self._watch_power, args=(self._unshare, self.boots),
                             daemon=True).start()
        self.room.note(f"{self.name}: power on (boot {self.boots})")
        if self.on_boot:
            self.on_boot(self)

    def _read_init(self):
        if self._unshare.poll() is not None:
            raise RuntimeError(f"{self.name} did not come up, see {self.dir}/log/init.log")
        try:
            with open(self.dir + "/init.pid", encoding="ascii") as f:
                return f.read().split()[0]
        except FileNotFoundError:
            return None

    def _watch_power(self, process, boot):
        """Whoever ended process 1 (us, a fence agent, the watchdog): the node is off from now on."""
        process.wait()
        with self._lock:
            if self.boots != boot:
                return
            self.powered = False
            self.init = None
            self.watchdog.reset()
            try:
                os.unlink(self.dir + "/init.pid")
            except FileNotFoundError:
                pass
            self._unplug()
        self.room.note(f"{self.name}: power is off")
        since = time.monotonic()
        request = self.dir + "/power-on"  # written by the fence agent's `on`
        while self.boots == boot:
            delay = self.power_on_after
            asked = os.path.exists(request)
            if asked or (delay is not None and time.monotonic() - since > delay):
                if asked:
                    os.unlink(request)
                self.power_on()
                return
            time.sleep(0.05)

    def power_cut(self, why="power cut"):
        """As if the cable were pulled. Returns the time of the cut, once nothing runs any more."""
        with self._lock:
            process, init = self._unshare, self.init
            if not self.powered or init is None:
                return time.time()
            self.room.note(f"{self.name}: {why}")
            now = time.time()
            os.kill(init, signal.SIGKILL)
            self._unplug()
        process.wait()
        wait_until(f"{self.name} to be off", lambda: not self.powered or self._unshare is not process,
                   10, 0.01)
        return now

    # -------------------------------------------------------------- network

    def _plug_in(self):
        # A new name for each boot: the kernel removes the old pair only some time after the node's end.
        self._link = f"p{self.number}b{self.boots}"
        master = "" if self.cut_off else f"link set {self._link} master switch\n"
        ip(f"link add {self._link} type veth peer name eth0 netns {self.init}\n"
           f"link set {self._link} up\n{master}")
        subprocess.run(["nsenter", f"--net=/proc/{self.init}/ns/net", "ip", "-batch", "-"], text=True,
                       check=True, capture_output=True,
                       input=f"link set lo up\naddr add {corosync.address(self.number)}/24 dev eth0\n"
                             "link set eth0 up\n")

    def _unplug(self):
        if self._link:
            subprocess.run(["ip", "link", "del", self._link], capture_output=True, check=False)
            self._link = None

    def cut(self):
        """Takes the node's cable off the switch: silent loss in both directions, carrier stays."""
        with self._lock:
            self.cut_off = True
            if self._link:
                ip(f"link set {self._link} nomaster\n")
        self.room.note(f"{self.name}: cut off the network")

    def join(self):
        with self._lock:
            self.cut_off = False
            if self._link:
                ip(f"link set {self._link} master switch\n")
        self.room.note(f"{self.name}: back on the network")

    # ------------------------------------------------------------- programs

    def enter(self, argv):
        """argv that runs inside the node."""
        if self.init is None:
            raise OSError(f"{self.name} is off")
        return ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-n", "-p", "--"] + argv

    def run(self, *argv, timeout=30, check=False, env=None):
        return subprocess.run(self.enter(list(argv)), text=True, capture_output=True, timeout=timeout,
                              check=check, env=env, stdin=subprocess.DEVNULL)

    def serve(self, name, argv, env=None, restart=True):
        self.services[name] = Service(self, name, argv, env, restart)
        return self.services[name]

    def processes(self):
        """{pid as seen from the room: command line} of everything on the node but its process 1."""
        found = {}
        if self.init is None:
            return found
        try:
            mine = os.readlink(f"/proc/{self.init}/ns/pid")
        except OSError:
            return found
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                if int(p) != self.init and os.readlink(f"/proc/{p}/ns/pid") == mine:
                    with open(f"/proc/{p}/cmdline", "rb") as f:
                        found[int(p)] = f.read().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                pass
        return found

    def log(self, name):
        try:
            with open(f"{self.dir}/log/{name}.log", encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    # ------------------------------------------------------------- corosync

    def start_corosync(self, text):
        with open(self.dir + "/etc/corosync/corosync.conf", "w", encoding="ascii") as f:
            f.write(text)
        # Debian's unit has no Restart=: who kills corosync starts it again.
        return self.serve("corosync", ["corosync", "-f"], restart=False)

    def membership(self):
        """(quorate, members) as this node's corosync says, or None."""
        if not self.powered:
            return None
        try:
            r = self.run("corosync-quorumtool", "-s", timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return corosync.parse_quorum(r.stdout)

    def wipe(self):
        """A new disk: nothing of the node's state survives."""
        for d in ("var/lib/corosync", "var/lib/xvm-had"):
            shutil.rmtree(f"{self.dir}/{d}")
            os.makedirs(f"{self.dir}/{d}")
