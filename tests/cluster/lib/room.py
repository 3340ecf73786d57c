# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine room of one test: isolation, temporary folder, network switch, clean-up.

A test runs as process 1 of a pid, mount and network namespace of its own. Its network namespace holds
nothing but a bridge (the switch). Nodes are nested inside. So nothing of the real machine can be
touched, two tests can run side by side, and whatever happens to the test (kill -9 included), the
kernel ends all its processes, links and mounts. Only the temporary folder can be left behind; the
next run removes folders whose owner is gone.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PREFIX = "xvm-ha-test."
_INSIDE = "XVM_HA_TEST_ROOM"


def _start_time(pid):
    """Start time of a process in clock ticks: with the pid it names one process for ever."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def _die_with_parent():
    """The child gets SIGKILL when the thread that starts it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)


def remove_stale():
    """Removes the folders of runs whose process is gone."""
    base = tempfile.gettempdir()
    for name in os.listdir(base):
        path = os.path.join(base, name)
        if not name.startswith(PREFIX) or os.path.islink(path) or not os.path.isdir(path):
            continue
        try:
            if os.stat(path).st_uid != os.getuid() or os.path.exists(path + "/kept"):
                continue
            with open(path + "/owner", encoding="ascii") as f:
                pid, started = f.read().split()
        except FileNotFoundError:
            # A folder that is being made has no owner yet; an old one lost it.
            if time.time() - os.stat(path).st_mtime < 60:
                continue
            pid, started = "0", "never"
        except (OSError, ValueError):
            continue
        if _start_time(pid) != started:
            shutil.rmtree(path, ignore_errors=True)


def new_folder():
    """A folder for one run, owned by this process (which must live as long as the run)."""
    path = tempfile.mkdtemp(prefix=PREFIX)
    os.chmod(path, 0o755)
    with open(path + "/owner", "w", encoding="ascii") as f:
        f.write(f"{os.getpid()} {_start_time(os.getpid())}\n")
    return path


def command(argv):
    """argv as process 1 of a fresh room. Ends with the thread that starts it (see popen)."""
    return ["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child",
            "--mount-proc", "--propagation", "private"] + argv


def popen(argv, **kwargs):
    """Starts argv in a fresh room; everything in it dies when the calling thread does."""
    env = dict(kwargs.pop("env", os.environ), **{_INSIDE: "1"})
    return subprocess.Popen(command(argv), env=env, preexec_fn=_die_with_parent,
                            stdin=kwargs.pop("stdin", subprocess.DEVNULL), **kwargs)


def inside():
    return os.environ.get(_INSIDE) == "1" and os.getpid() == 1


def ip(script):
    """Runs lines of iproute2 commands in the room's network namespace."""
    subprocess.run(["ip", "-batch", "-"], input=script, text=True, check=True, capture_output=True)


class Room:
    """The inside of a room: the switch, and the folder for everything that nodes keep."""

    def __init__(self, folder):
        if not inside():
            raise RuntimeError("a Room exists only inside of its namespaces; see room.popen")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
        self.folder = folder
        self.events = []
        self.nodes_dir = folder + "/nodes"
        self.shared_dir = folder + "/shared"
        for d in (self.nodes_dir, self.shared_dir):
            os.makedirs(d, exist_ok=True)
        self._log = open(folder + "/room.log", "a", buffering=1, encoding="utf-8")
        ip("link set lo up\nlink add switch type bridge\nlink set switch up\n")

    def note(self, text):
        """Writes down what the test did to the cluster, with the time."""
        now = time.time()
        self.events.append((now, text))
        self._log.write(f"{now:.3f} {text}\n")
        if os.environ.get("XVM_HA_TEST_VERBOSE"):
            print(f"  {time.strftime('%H:%M:%S', time.localtime(now))}"
                  f".{int(now * 1000) % 1000:03d} {text}", flush=True)


def wait_until(what, condition, timeout, poll=0.05):
    """Waits for condition() to be true and returns its value; TimeoutError names `what`."""
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() - begin > timeout:
            raise TimeoutError(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(poll)
