#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# opts.orphan_pts_master: the terminal of a container, whose master is outside, gets a new one that the client is handed.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 300
import array
import ctypes
import fcntl
import os
import select
import socket
import struct
import termios

import rpc
from driver import check, run_all, scenario, text, wait_for

NEWNS, MS_PRIVATE, MS_REC, MS_BIND = 0x20000, 1 << 18, 1 << 14, 1 << 12
TIOCSPTLCK = 0x40045431
STAGES = ["pre-restore", "setup-namespaces", "post-setup-namespaces", "orphan-pts-master", "post-restore", "pre-resume", "post-resume"]


def mount(source, target, kind=None, flags=0, data=None):
    libc = ctypes.CDLL(None, use_errno=True)
    words = [w and w.encode() for w in (source, target, kind, data)]
    if libc.mount(words[0], words[1], words[2], flags, words[3]):
        raise OSError(ctypes.get_errno(), "mount on " + target)


def make_container(s, sock, console):
    """Before the exec of the victim: its own mounts, a devpts among them, and a session with a terminal of that."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", None, MS_PRIVATE | MS_REC)
    mount("devpts", s.path("pts"), "devpts", 0, "newinstance,ptmxmode=0666,mode=0620")
    for _ in range(console):  # the index is not 0 then
        os.dup(os.open(s.path("pts/ptmx"), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    master = os.open(s.path("pts/ptmx"), os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    index = struct.unpack("I", fcntl.ioctl(master, termios.TIOCGPTN if hasattr(termios, "TIOCGPTN") else 0x80045430, bytes(4)))[0]
    name = s.path("pts/%d" % index)
    if console:
        mount(name, s.path("console"), None, MS_BIND)
        name = s.path("console")
    slave = os.open(name, os.O_RDWR)  # the leader of a session without a terminal: this becomes its one
    for fd in range(3):
        os.dup2(slave, fd)
    sock.sendmsg([b"m"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [master]))])


def start(s, console=0):
    os.makedirs(s.path("pts"))
    open(s.path("console"), "w").close()
    ours, theirs = socket.socketpair()
    s.victim(preexec_fn=lambda: make_container(s, theirs, console), stdin=None, stdout=None, stderr=None)
    data, control, _, _ = ours.recvmsg(1, 100)
    master = array.array("i", control[0][2][:4])[0]
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    ours.close()
    theirs.close()
    return master


def dump(s, **more):
    p = rpc.Swrk()
    with rpc.Directory(s.imgs) as fd:
        p.send({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": s.pid, "log_level": 4, "log_file": "dump.log", **more}})
        r = p.receive()
        return r, p.ends()


def restore(s, answer=True, **more):
    """([stage...], the response, the descriptors that came, exit status)"""
    p = rpc.Swrk()
    got = []

    def take(n):
        got.extend(p.fds)
        return answer
    with rpc.Directory(s.imgs) as fd:
        opts = {"images_dir_fd": fd, "log_level": 4, "log_file": "restore.log", "notify_scripts": True, "rst_sibling": True,
                "orphan_pts_master": True, **more}
        seen, r = rpc.run(p, {"type": "RESTORE", "opts": opts}, {k: take for k in STAGES})
        return [n["script"] for n in seen], r, got, p.ends()


def works(s, master):
    """The victim's terminal is that of the master: its size, what is written, and its controlling terminal."""
    size = struct.unpack("HHHH", fcntl.ioctl(master, termios.TIOCGWINSZ, bytes(8)))
    check(size[:2] == (33, 77), "the size of the terminal: %r" % (size,))
    fd = os.open("/proc/%d/fd/1" % s.pid, os.O_RDWR | os.O_NOCTTY)
    os.write(fd, b"said\n")
    os.close(fd)
    check(select.select([master], [], [], 60)[0] and os.read(master, 100) == b"said\r\n", "what comes out of the master")
    stat = text("/proc/%d/stat" % s.pid).split()
    check(stat[6] != "0", "it has no controlling terminal")


def round_trip(s, console):
    master = start(s, console)
    r, rc = dump(s)
    check(not r["success"] and rc == 1, "without the option: %r" % r)
    r, rc = dump(s, orphan_pts_master=True)
    check(r["success"] and rc == 0, "%r: %s" % (r, s.errors("dump.log")))
    s.gone()
    os.close(master)
    s.proc = None
    stages, r, fds, rc = restore(s, False)
    check(r["success"] or stages[-1] == "pre-restore", "%r" % r)
    for _ in range(2):
        stages, r, fds, rc = restore(s)
        check(r["success"] and rc == 0, "%r: %s" % (r, s.errors("restore.log")))
        check(stages == STAGES, "%r" % stages)
        check(len(fds) == 1, "%d descriptors came" % len(fds))
        s.pid = r["restore"]["pid"]
        works(s, fds[0])
        if _ == 0:
            s.kill()
            os.close(fds[0])
    s.verify()
    os.close(fds[0])


@scenario
def container(s):
    round_trip(s, 0)


@scenario
def console(s):
    """A mount shows the slave, as /dev/console of a container: it has to exist before the mounts are made."""
    round_trip(s, 2)


@scenario
def refused(s):
    """The client does not take it: the restore fails, and can be done again."""
    master = start(s)
    check(dump(s, orphan_pts_master=True)[0]["success"], s.errors("dump.log"))
    s.gone()
    s.proc = None
    p = rpc.Swrk()
    with rpc.Directory(s.imgs) as fd:
        seen, r = rpc.run(p, {"type": "RESTORE", "opts": {"images_dir_fd": fd, "notify_scripts": True, "orphan_pts_master": True}},
                          {"orphan-pts-master": lambda n: False})
    check(not r["success"] and p.ends() == 1 and seen[-1]["script"] == "orphan-pts-master", "%r, %r" % (seen, r))
    for more in ({"orphan_pts_master": False}, {"notify_scripts": False}):
        stages, r, fds, rc = restore(s, **more)
        check(not r["success"] and rc == 1 and not fds, "%r: %r" % (more, r))
    check(wait_for(lambda: not os.path.exists("/proc/%d" % s.pid)), "a task is left")
    stages, r, fds, rc = restore(s)
    check(r["success"] and len(fds) == 1, "%r" % r)
    s.verify()
    os.close(master)


run_all()
