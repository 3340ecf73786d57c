# SPDX-License-Identifier: GPL-2.0-or-later
"""One host of the lab: a QEMU that runs Xen, and its power.

A host with power is a running QEMU; a power cut is SIGKILL. What the host wrote to its disk before
is kept, as on a real one, and so are its serial console and its guests' consoles, which are logged
outside.
"""
import contextlib
import fcntl
import os
import signal
import subprocess
import time

from . import net, qmp, where

MEMORY_MIB, DOM0_MIB = 1400, 800
# svm and npt are for PVH guests, aes and the like for ssh and corosync. Not `max` and not EPYC:
# dom0 crashes on their SMAP.
CPU = "qemu64,+svm,+npt,+aes,+pclmulqdq,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand"

BANNER = b"(XEN) Xen version"


class Host:
    def __init__(self, number, hosts):
        self.number, self.hosts = number, hosts
        self.name = f"host{number}"
        self.dir = where.host_dir(number)
        self.qmp = self.dir + "/qmp"

    @contextlib.contextmanager
    def _switch(self):
        """One hand at a time on the power switch: a test, or the BMC."""
        with open(self.dir + "/power.lock", "w", encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield

    def create(self):
        """An empty disk over the image; what the host needs before it is switched on."""
        os.makedirs(self.dir + "/console")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
                        os.path.realpath(where.run_dir() + "/image/root.img"), self.dir + "/disk"],
                       check=True)

    def _command(self):
        image = where.run_dir() + "/image"
        linux = ("root=/dev/vda console=hvc0 net.ifnames=0 quiet panic=5 "
                 # They cost time, and protect nothing here.
                 "mitigations=off apparmor=0 selinux=0 audit=0 "
                 # By itself it measures the emulated one at its start, and may be wrong by a factor of five.
                 "clocksource=xen tsc=unstable "
                 f"lab.host={self.number} lab.hosts={self.hosts}")
        return net.command([
            "qemu-system-x86_64", "-name", f"{where.namespace()}-{self.name}", "-daemonize",
            "-pidfile", self.dir + "/pid", "-D", self.dir + "/qemu.log",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35", "-cpu", CPU, "-accel", "tcg,thread=multi",
            "-smp", "1", "-m", MEMORY_MIB,
            "-kernel", image + "/xen",
            "-append", "console=com1 com1=115200 spec-ctrl=off "
                       f"dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M",
            "-initrd", f"{image}/vmlinuz {linux},{image}/initrd.gz",
            "-chardev", f"file,id=serial,append=on,path={self.dir}/serial.log",
            "-serial", "chardev:serial",
            # What the host flushed reaches this machine's memory, which outlives a power cut.
            "-drive", f"file={self.dir}/disk,if=none,id=disk,cache=unsafe",
            "-device", "virtio-blk-pci,drive=disk",
            "-netdev", f"tap,id=net,ifname=tap{self.number},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:77:00:{self.number:02x},romfile=",
            "-fsdev", f"local,id=console,path={self.dir}/console,security_model=none",
            "-device", "virtio-9p-pci,fsdev=console,mount_tag=console",
            "-device", "virtio-rng-pci",
            "-qmp", f"unix:{self.qmp},server=on,wait=off"])

    def pid(self):
        """The process of the running machine, or None without power."""
        try:
            with open(self.dir + "/pid", encoding="ascii") as f:
                pid = int(f.read())
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f"{where.namespace()}-{self.name}\0".encode() not in f.read():
                    return None
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                return None if f.read().rsplit(")", 1)[1].split()[0] in "ZX" else pid
        except (OSError, ValueError):
            return None

    def powered(self):
        return self.pid() is not None

    def on(self):
        """Gives power. Nothing happens if it has."""
        with self._switch():
            self._on()

    def off(self):
        """Takes power away: the machine is gone when this returns."""
        with self._switch():
            self._off()

    def reset(self):
        """Off and on again, as one act."""
        with self._switch():
            self._off()
            self._on()

    def booted(self):
        """Whether the host said, since power came, that all is started. Costs it nothing."""
        try:
            with open(self.dir + "/serial.log", "rb") as f:
                f.seek(self._serial_begin())
                # It may have reset itself meanwhile: its present life begins with the hypervisor's.
                return b"lab: ready" in f.read().rpartition(BANNER)[2]
        except OSError:
            return False

    def resets(self):
        """How often the hypervisor began again since power came: the machine reset itself."""
        try:
            with open(self.dir + "/serial.log", "rb") as f:
                f.seek(self._serial_begin())
                return max(0, f.read().count(BANNER) - 1)
        except OSError:
            return 0

    def restarted(self):
        return self.resets() > 0

    def _serial_begin(self):
        """Where in the log of the serial console the present life of the host begins."""
        try:
            with open(self.dir + "/serial.begin", encoding="ascii") as f:
                return int(f.read())
        except (OSError, ValueError):
            return 0

    def _on(self):
        if not self.powered():
            with contextlib.suppress(FileNotFoundError):
                size = os.path.getsize(self.dir + "/serial.log")
                with open(self.dir + "/serial.begin", "w", encoding="ascii") as f:
                    f.write(str(size))
            r = subprocess.run(self._command(), stdin=subprocess.DEVNULL, capture_output=True,
                               text=True, check=False)
            if r.returncode != 0:
                raise where.LabError(f"{self.name}: QEMU does not start: {r.stderr.strip()}")

    def _off(self):
        self.forget_ssh()
        while pid := self.pid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    def hang(self):
        """Stops the processor, as if dom0 hung; see resume()."""
        qmp.execute(self.qmp, "stop")

    def resume(self):
        qmp.execute(self.qmp, "cont")

    def state(self):
        """`off`, `running`, `paused` (it hangs), or whatever else QEMU says."""
        return qmp.execute(self.qmp, "query-status")["status"] if self.powered() else "off"

    def ssh_command(self, argv, options=()):
        return net.command(["ssh", "-F", where.run_dir() + "/ssh_config", *options, self.name,
                            *argv])

    def ssh(self, script, timeout=60, check=True, stdin=None):
        """Runs a shell command on the host; returns what subprocess.run returns.

        A host that does not answer in time is a TimeoutExpired; `check` makes failure a LabError.
        """
        if isinstance(stdin, str):
            stdin = stdin.encode()
        kwargs = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        r = subprocess.run(self.ssh_command(["--", script]), capture_output=True, timeout=timeout,
                           check=False, **kwargs)
        r.stdout, r.stderr = (x.decode(errors="replace") for x in (r.stdout, r.stderr))
        if check and r.returncode != 0:
            raise where.LabError(f"{self.name}: {script}: exit {r.returncode}: "
                                 f"{(r.stderr or r.stdout).strip()}")
        return r

    def forget_ssh(self):
        """Ends the shared connection, which nobody at the other end would."""
        if os.path.exists(self.dir + "/ssh"):
            subprocess.run(self.ssh_command([], ["-O", "exit"]), capture_output=True, check=False,
                           timeout=10)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.dir + "/ssh")

    def reachable(self, timeout=15):
        """Whether the host lets us log in."""
        try:
            return self.ssh("true", timeout=timeout, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False
