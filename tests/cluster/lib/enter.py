# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a program inside a node and waits for it: enter.py INIT_PID PROGRAM [ARGUMENT...].

Like nsenter, but it does not stop when its child is stopped (nsenter does): a frozen service whose
parent is frozen, too, could not be reaped after a power cut, and the node would never quite be off.
"""
import ctypes
import os
import sys


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    names = ("uts", "ipc", "net", "pid", "mnt")
    fds = [os.open(f"/proc/{sys.argv[1]}/ns/{n}", os.O_RDONLY | os.O_CLOEXEC) for n in names]
    for fd in fds:
        if libc.setns(fd, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    pid = os.fork()  # only a child is really in the pid namespace
    if pid == 0:
        os.chdir("/")
        try:
            os.execvp(sys.argv[2], sys.argv[2:])
        except OSError as e:
            os.write(2, f"{sys.argv[2]}: {e}\n".encode())
            os._exit(127)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
