# SPDX-License-Identifier: GPL-2.0-only
"""Namespaces of a test's own: what others do on the machine, other tests among them, changes nothing that it looks at."""
import ctypes
import fcntl
import os
import signal
import socket
import struct

NEWNS, NEWIPC, NEWPID, NEWNET = 0x00020000, 0x08000000, 0x20000000, 0x40000000
BIND, REC, PRIVATE, DETACH = 0x1000, 0x4000, 0x40000, 2
NOSUID, NODEV, NOEXEC = 2, 4, 8
RT_SIGACTION = 13
IFF_UP, SIOCGIFFLAGS, SIOCSIFFLAGS = 1, 0x8913, 0x8914

_libc = ctypes.CDLL(None, use_errno=True)


def _mount(kind, path, flags, data=None, source="none"):
    if _libc.mount(source.encode(), path.encode(), kind and kind.encode(), ctypes.c_ulong(flags), data and data.encode()):
        raise OSError(ctypes.get_errno(), "mount %s: %s" % (path, os.strerror(ctypes.get_errno())))


def _our_devices():
    """What sysfs says of network devices is of the namespace that it was mounted in."""
    _mount("sysfs", "/dev/shm", NOSUID | NODEV | NOEXEC)
    for d in ("/class/net", "/devices/virtual/net"):
        _mount(None, "/sys" + d, BIND, source="/dev/shm" + d)
    _libc.umount2(b"/dev/shm", DETACH)


def _no_configuration():
    """What the machine's owner wants of criu is nothing to a test."""
    for d in ("/etc/criu", os.path.expanduser("~/.criu")):
        if os.path.isdir(d):
            _mount("tmpfs", d, NOSUID | NODEV)
    os.environ.pop("CRIU_CONFIG_FILE", None)


def _loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(s, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def _wait_for(pid):
    """Ends as the process does."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


def _usual_signals_and_umask():
    """What a caller ignores (nohup, a job of a shell without job control) is nothing to a test. Python's own two stay."""
    for n in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(n) == signal.SIG_IGN:
            signal.signal(n, signal.SIG_DFL)
    for n in (32, 33):  # the libc's own: what posix_spawn(3) starts, as make does, ignores them
        _libc.syscall(RT_SIGACTION, n, (ctypes.c_ulong * 4)(), None, 8)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)


def go():
    """
    The caller goes on as the first process of new namespaces, or where it is if they are not to be had; who called stays
    outside and ends as it does. Its own are: pids (nobody takes one between dump and restore: a busy machine wraps around
    in seconds), ports and firewall rules, segments, mounts, terminals, what lies in /dev/shm, and no configuration of criu.
    """
    _usual_signals_and_umask()
    if os.geteuid() or _libc.unshare(NEWNS | NEWIPC | NEWPID | NEWNET):
        return False
    outside = os.getpid()
    pid = os.fork()
    if pid:
        _wait_for(pid)
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    _mount(None, "/", REC | PRIVATE)
    _mount("proc", "/proc", NOSUID | NODEV | NOEXEC)
    _our_devices()
    _mount("tmpfs", "/dev/shm", NOSUID | NODEV, "mode=1777")
    _mount("devpts", "/dev/pts", NOSUID | NOEXEC, "ptmxmode=666,mode=620")
    _no_configuration()
    _loopback()
    # Names with a pid in them, of what no namespace keeps apart, stay different.
    with open("/proc/sys/kernel/ns_last_pid", "w") as f:
        f.write(str(outside))
    return True
