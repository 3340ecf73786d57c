# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in the image of a lab host: one function for each part."""
import glob
import gzip
import lzma
import os
import re
import shutil
import subprocess

from . import where

IMAGE = where.LAB + "/image"
MIRROR = os.environ.get("XVM_LAB_MIRROR", "http://deb.debian.org")
# Loaded by the initramfs; everything else is loaded by dom0 itself.
EARLY = ["virtio_pci", "virtio_blk", "virtio_net", "ext4", "9p", "9pnet_virtio", "bridge",
         "iscsi_tcp", "sd_mod", "crc32c_generic"]
# Nothing in a lab host needs these, and each costs seconds on an emulated processor.
MASKED = """apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
e2scrub_reap.service fstrim.timer logrotate.timer systemd-tmpfiles-clean.timer getty@tty1.service
getty-static.service console-getty.service serial-getty@hvc0.service systemd-random-seed.service
systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-logind.service
systemd-user-sessions.service systemd-pstore.service systemd-binfmt.service
systemd-hwdb-update.service systemd-journal-catalog-update.service systemd-update-done.service
systemd-machine-id-commit.service systemd-firstboot.service systemd-sysusers.service
systemd-network-generator.service systemd-boot-system-token.service networking.service
kmod-static-nodes.service modprobe@drm.service modprobe@efi_pstore.service xendomains.service
dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount dev-mqueue.mount
systemd-repart.service systemd-growfs-root.service systemd-remount-fs.service
corosync-notifyd.service remote-fs.target systemd-ask-password-wall.path
systemd-ask-password-console.path systemd-udev-settle.service keyboard-setup.service
console-setup.service sys-fs-fuse-connections.mount modprobe@fuse.service systemd-sysctl.service
systemd-tmpfiles-setup-dev.service sys-kernel-config.mount modprobe@configfs.service""".split()
# udev costs most of all; what is left makes /dev/lab/ and tells systemd of devices.
UDEV_RULES = """50-udev-default 55-dm 60-block 60-persistent-storage-dm 80-drivers 95-dm-notify
99-systemd""".split()


def words(name):
    """The words of a list in the image's folder, without comments."""
    with open(f"{IMAGE}/{name}", encoding="utf-8") as f:
        return [w for line in f for w in line.partition("#")[0].split()]


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w" if isinstance(text, str) else "wb") as f:
        f.write(text)
    os.chmod(path, mode)


def chroot(steps, root, script, *args):
    """Runs a script inside of the new root, with nothing of the caller's environment."""
    steps.sh("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "chroot", root,
             "/bin/bash", script, *args)


def make(steps, work, out):
    """Builds everything: scratch files in `work`, results in `out`."""
    root = work + "/root"
    _bootstrap(steps, root)
    boot = work + "/boot"
    shutil.move(root + "/boot-packages", boot)
    release = os.listdir(boot + "/lib/modules")[0]
    _kernel(boot, release, out)
    _modules(steps, boot, root, release)
    steps.done("kernel and modules")
    _initrd(steps, work, boot, root, release, out)
    _guest(steps, work, boot, root, release)
    steps.done("dom0's initramfs, test guest")
    _configure(steps, root, out)
    steps.sh("mkfs.ext4", "-q", "-F", "-d", root, "-O", "^metadata_csum,^has_journal", "-E",
             "lazy_itable_init=1,root_owner=0:0", "-L", "dom0", out + "/root.img", "2G")
    steps.sh("tune2fs", "-j", "-J", "size=16", out + "/root.img")
    steps.done("file system image")


def _bootstrap(steps, root):
    steps.sh("debootstrap", "--variant=minbase", "bookworm", root, MIRROR + "/debian")
    steps.done("debootstrap")
    write(root + "/etc/apt/sources.list",
          f"deb {MIRROR}/debian bookworm main\ndeb {MIRROR}/debian bookworm-updates main\n"
          f"deb {MIRROR}/debian-security bookworm-security main\n")
    shutil.copy("/etc/resolv.conf", root + "/etc/resolv.conf")
    shutil.copy(IMAGE + "/in-chroot", root + "/in-chroot")
    for fs in ("proc", "sysfs"):
        steps.sh("mount", "-t", fs, fs, f"{root}/{'sys' if fs == 'sysfs' else fs}")
    steps.sh("mount", "--bind", "/dev", root + "/dev")
    chroot(steps, root, "/in-chroot", *words("packages"))
    for d in ("dev", "sys", "proc"):
        steps.sh("umount", f"{root}/{d}")
    os.unlink(root + "/in-chroot")
    steps.done("packages")


def _kernel(boot, release, out):
    """Hypervisor and kernel, both unpacked: unpacking is slow on an emulated processor."""
    with gzip.open(glob.glob(boot + "/boot/xen-4.17-amd64.gz")[0]) as f:
        write(out + "/xen", f.read())
    with open(f"{boot}/boot/vmlinuz-{release}", "rb") as f:
        packed = f.read()
    write(out + "/vmlinuz", unpack_kernel(packed))


def unpack_kernel(packed):
    """The ELF file inside of a bzImage."""
    start = packed.find(b"\xfd7zXZ\x00")
    if start < 0:
        return packed  # packed in some other way: works too, but slower
    return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed[start:])


def needed(steps, boot, release, names):
    """Module files of these modules and of what they need, in an order in which they load."""
    found = []
    for name in names:
        r = steps.sh("modprobe", "-d", boot, "-S", release, "--show-depends", name,
                     stdout=subprocess.PIPE, text=True)
        for line in r.stdout.splitlines():
            m = re.match(r"insmod (\S+)", line)
            if m and m.group(1) not in found:
                found.append(m.group(1))
    return found


def _modules(steps, boot, root, release):
    steps.sh("depmod", "-b", boot, release)
    for path in needed(steps, boot, release, words("modules")):
        target = root + os.path.relpath(path, boot).join(["/", ""])
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(path, target)
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copy(f"{boot}/lib/modules/{release}/{name}", f"{root}/lib/modules/{release}/{name}")
    steps.sh("depmod", "-b", root, release)


def cpio(steps, folder, target):
    """An initramfs of a folder."""
    with open(target, "wb") as f:
        steps.sh("sh", "-c", "find . | cpio --quiet -o -H newc -R 0:0 | gzip -1", cwd=folder,
                 stdout=f)


def _initrd(steps, work, boot, root, release, out):
    top = work + "/initrd"
    for d in ("bin", "dev", "proc", "sys", "modules", "root"):
        os.makedirs(f"{top}/{d}")
    shutil.copy(boot + "/bin/busybox", top + "/bin/busybox")
    for applet in subprocess.run([boot + "/bin/busybox", "--list"], capture_output=True, text=True,
                                 check=True).stdout.split():
        if applet != "busybox":
            os.symlink("busybox", f"{top}/bin/{applet}")
    order = needed(steps, boot, release, EARLY)
    for path in order:
        shutil.copy(path, top + "/modules/")
    write(top + "/modules/order", "".join(os.path.basename(p) + "\n" for p in order))
    shutil.copy(IMAGE + "/initrd-init", top + "/init")
    os.chmod(top + "/init", 0o755)
    cpio(steps, top, out + "/initrd.gz")


def _guest(steps, work, boot, root, release):
    """The test guests' kernel and initramfs, and configurations for xl: g1..g5 PVH, pv1 PV."""
    top, lib = work + "/guest", root + "/usr/lib/xvm-lab"
    os.makedirs(top + "/sbin")
    steps.sh("gcc", "-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
             "-Wno-unused-result", "-o", top + "/init", IMAGE + "/guest.c")
    for name in ("poweroff", "reboot"):
        os.symlink("/init", f"{top}/sbin/{name}")
    for path in needed(steps, boot, release, ["xen-blkfront", "button", "evdev"]):
        shutil.copy(path, top + "/")
    os.makedirs(lib, exist_ok=True)
    cpio(steps, top, lib + "/guest-initrd.gz")
    packed = f"{boot}/boot/vmlinuz-{release}"
    shutil.copy(packed, lib + "/guest-bzimage")  # a device model wants it packed
    with open(packed, "rb") as f:
        write(lib + "/guest-kernel", unpack_kernel(f.read()))
    shutil.copy(IMAGE + "/corosync.conf", lib + "/corosync.conf")
    with open(IMAGE + "/guest.cfg", encoding="utf-8") as f:
        template = f.read()
    for number in range(1, where.GUEST_DISKS + 1):
        pv = number == where.GUEST_DISKS
        name = "pv1" if pv else f"g{number}"
        text = template.replace("@NAME@", name).replace("@NUMBER@", str(number))
        write(f"{root}/etc/xen/{name}.cfg", text.replace("@TYPE@", "pv" if pv else "pvh"))


def _configure(steps, root, out):
    shutil.copytree(IMAGE + "/dom0", root, dirs_exist_ok=True)
    write(root + "/etc/fstab", "")
    write(root + "/etc/resolv.conf", "")
    units = root + "/etc/systemd/system"
    for unit in MASKED:
        path = f"{units}/{unit}"
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink("/dev/null", path)
    for path in glob.glob(root + "/usr/lib/udev/rules.d/*.rules"):
        name = os.path.basename(path)
        if name.removesuffix(".rules") not in UDEV_RULES:
            os.symlink("/dev/null", f"{root}/etc/udev/rules.d/{name}")
    steps.sh("systemctl", "--root", root, "set-default", "multi-user.target")
    steps.sh("systemctl", "--root", root, "enable", "ssh", "corosync", "open-iscsi", "iscsid",
             "lab-ready")
    chroot(steps, root, "/usr/lib/xvm-lab/iscsi", where.ISCSI_TARGET, where.STORAGE)
    # One key for every host and for whoever logs in: nothing here is a secret or leaves the lab.
    for name in glob.glob(root + "/etc/ssh/ssh_host_*"):
        os.unlink(name)
    host_key = root + "/etc/ssh/ssh_host_ed25519_key"
    steps.sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", host_key)
    steps.sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", out + "/id_ed25519")
    ssh = root + "/root/.ssh"
    os.makedirs(ssh, mode=0o700, exist_ok=True)
    shutil.copy(out + "/id_ed25519.pub", ssh + "/authorized_keys")
    shutil.copy(out + "/id_ed25519", ssh + "/id_ed25519")  # for xl migrate
    with open(host_key + ".pub", encoding="ascii") as f:
        public = " ".join(f.read().split()[:2])
    hosts = ",".join(f"host{i},{where.address(i)}" for i in range(1, where.MAX_HOSTS + 1))
    write(ssh + "/known_hosts", f"{hosts} {public}\n")
    shutil.copy(ssh + "/known_hosts", out + "/known_hosts")
    write(root + "/etc/corosync/authkey", os.urandom(256), 0o400)
    steps.done("configuration")
