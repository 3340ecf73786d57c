# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the image of a lab host: hypervisor, kernel, initramfs, root file system, test guests.

The result is a folder in the cache, named after a hash of all that goes into it from this tree;
it appears there complete or not at all.
"""
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

from . import rootfs, where

IMAGE = where.LAB + "/image"
FILES = ["xen", "vmlinuz", "initrd.gz", "root.img", "id_ed25519"]


def key():
    """Names the image that this tree would build."""
    h = hashlib.sha256()
    paths = [where.LAB + "/lib/build.py", where.LAB + "/lib/rootfs.py"]
    for folder, _, names in os.walk(IMAGE):
        paths += [os.path.join(folder, n) for n in names]
    for path in sorted(paths):
        with open(path, "rb") as f:
            h.update(os.path.relpath(path, where.LAB).encode() + b"\0" + f.read() + b"\0")
    return h.hexdigest()[:16]


def folder():
    return f"{where.CACHE}/{key()}"


def ready():
    return os.path.isdir(folder())


class Steps:
    """Says how long each part took, and keeps the commands' output in a log."""

    def __init__(self, log):
        self.log = log
        self.begin = self.last = time.monotonic()

    def sh(self, *argv, **kwargs):
        """Runs a command; its output goes to the log and, if it fails, to the reader."""
        kwargs.setdefault("check", True)
        with open(self.log, "ab") as log:
            log.write(f"+ {' '.join(map(str, argv))}\n".encode())
            log.flush()
            kwargs.setdefault("stdout", log)
            kwargs.setdefault("stdin", subprocess.DEVNULL)
            try:
                return subprocess.run([str(a) for a in argv], stderr=log, **kwargs)
            except subprocess.CalledProcessError as e:
                with open(self.log, encoding="utf-8", errors="replace") as f:
                    tail = "".join("  | " + line for line in f.readlines()[-25:])
                raise where.LabError(f"build: {argv[0]} failed ({e.returncode}):\n{tail}") from e

    def done(self, what):
        now = time.monotonic()
        print(f"  {what:34} {now - self.last:6.1f} s", flush=True)
        self.last = now


def build():
    """Makes the image unless it exists. A crash leaves none; two builds at once do not meet."""
    if ready():
        return
    os.makedirs(where.CACHE, exist_ok=True)
    with open(where.CACHE + "/lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another build may be on its way to the same
        if ready():
            return
        _remove_old()
        # A mount namespace of its own: whatever happens, no mount is left behind.
        status = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
             sys.executable, where.LAB + "/lab", "build-inside"], check=False).returncode
    if status != 0 or not ready():
        raise where.LabError("build: the image was not made")


def build_inside():
    """The build itself, in a mount namespace that ends with it."""
    print(f"lab: building the image {key()} (once; kept in {where.CACHE})", flush=True)
    out = tempfile.mkdtemp(prefix="new.", dir=where.CACHE)
    root = out + "/work"
    os.mkdir(root)
    if _memory_mib() > 6000:  # nothing needs to reach a disk
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4G,mode=755", "lab", root], check=True)
    steps = Steps(where.CACHE + "/build.log")
    open(steps.log, "w", encoding="ascii").close()
    try:
        rootfs.make(steps, root, out)
    except BaseException:
        subprocess.run(["umount", "-R", "-q", root], check=False)
        shutil.rmtree(out, ignore_errors=True)
        raise
    subprocess.run(["umount", "-R", "-q", root], check=False)
    shutil.rmtree(root, ignore_errors=True)
    missing = [f for f in FILES if not os.path.exists(f"{out}/{f}")]
    if missing:
        raise where.LabError(f"build: not made: {', '.join(missing)}")
    os.chmod(out, 0o755)
    os.rename(out, folder())
    print(f"lab: image built in {time.monotonic() - steps.begin:.0f} s", flush=True)


def _memory_mib():
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return 0


def _remove_old():
    """Removes what crashed builds left, and images a day old that no lab uses."""
    used = set()
    if os.path.isdir(where.RUNS):
        for n in os.listdir(where.RUNS):
            used.add(os.path.realpath(f"{where.RUNS}/{n}/image"))
    for n in os.listdir(where.CACHE):
        path = f"{where.CACHE}/{n}"
        if not os.path.isdir(path) or os.path.realpath(path) in used:
            continue
        if n.startswith("new.") or time.time() - os.stat(path).st_mtime > 86400:
            shutil.rmtree(path, ignore_errors=True)
