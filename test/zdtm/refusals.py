#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Reasons against a dump that a program can give, each in a process of its own, and all refused by one dump: a line says whose, what,
# why, and what to do about it. The tree runs on as it was.
# zdtm: driver
# zdtm: needs-root
import ctypes
import os
import re
import struct
import subprocess
import sys

from driver import check, run_all, scenario, text, wait_for

# The name of the process; what it does (python; what it raises is a reason to pass it over); what is said of it.
FIRST = (
    ("null ldisc", """
        m, s = os.openpty()
        fcntl.ioctl(s, 0x5423, struct.pack("i", 27))  # TIOCSETD, N_NULL
     """, r"fd \d+: .*has line discipline 27, .* N_TTY"),
    ("nested sockets", """
        held = None
        for i in range(102):
            a, b = socket.socketpair()
            if held:
                socket.send_fds(a, [b"x"], [held.fileno()])
                held.close()
                a.close()
            else:
                first = a
            held = b
     """, r"more than 100 sockets lie in each other's queues; .*receive"),
    ("hidden file", """
        os.mkdir("over")
        file = open("over/file", "w")
        mount("tmpfs", "over")
     """, r"over/file: the mount at .*over hides it, and no other name of it is known; unmount that"),
    ("moved file", """
        file = open("was", "w")
        os.mkdir("out of")
        os.rename("was", "out of/reach")
        mount("tmpfs", "out of")
        open("out of/reach", "w").close()
     """, r"out of/reach: the mount at .*out of hides it"),
    ("vsock connects", """
        v = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        v.setblocking(False)
        libc.setsockopt(v.fileno(), 40, 6, struct.pack("ll", 60, 0), 16)  # SO_VM_SOCKETS_CONNECT_TIMEOUT
        # By way of the host (VMADDR_FLAG_TO_HOST), to a machine that does not answer.
        if libc.connect(v.fileno(), struct.pack("HHIIB3x", 40, 0, 1, 77, 1), 16) and ctypes.get_errno() != 115:
            raise OSError(ctypes.get_errno(), "connect")
     """, r"fd \d+: a vsock socket that is being connected; let that end"),
    ("chosen port", """
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        u.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        u.bind(("127.0.0.1", 0))
        code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
        u.setsockopt(socket.SOL_SOCKET, 51, struct.pack("HxxxxxxP", 1, ctypes.addressof(code)))  # SO_ATTACH_REUSEPORT_CBPF
        unchosen = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        unchosen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        unchosen.bind(("127.0.0.1", 0))
     """, r"fd 3: 127.0.0.1:\d+.*: a program chooses in its SO_REUSEPORT group .*; let the program take it off"),
    ("shared memory", """
        import mmap
        m = mmap.mmap(-1, 4096, mmap.MAP_SHARED)
        at = ctypes.addressof(ctypes.c_char.from_buffer(m))
        number = os.open("/proc/self/map_files/%x-%x" % (at, at + 4096), os.O_RDWR)
        libc.munmap(ctypes.c_void_p(at), 4096)
     """, r"fd \d+: shared memory .* that no task of the tree has mapped any more .*; close it before the dump"),
)

# What is looked at when nothing else is against the dump.
LATER = (
    ("unread terminal", """
        m, s = os.openpty()
        with open("slave.new", "w") as f: f.write(os.ttyname(s))
        os.rename("slave.new", "slave")
        while not os.path.exists("slave.open"): time.sleep(0.01)
        os.write(s, b"unread")
        os.close(s)
     """, r"terminal \d+ has bytes that were not read yet, and its slave is not open in the tree: .*; try again"),
)

VICTIM = """
import ctypes, fcntl, os, socket, struct, sys, textwrap, time
libc = ctypes.CDLL(None, use_errno=True)
cases = eval(open("cases").read())
def mount(kind, where):
    if libc.mount(b"none", where.encode(), kind.encode(), 0, None): raise OSError("mount")
    mounts.append(where)
mounts = []
os.mkdir("said")
for i, (name, code) in enumerate(cases):
    if os.fork(): continue
    libc.prctl(15, name[:15].encode(), 0, 0, 0)
    own = dict(globals())
    try:
        exec(textwrap.dedent(code), own)
        said = "ready %d" % os.getpid()
    except Exception as e:
        said = "skipped: %s" % e
    with open("said/%d.new" % i, "w") as f: f.write(said)
    os.rename("said/%d.new" % i, "said/%d" % i)
    while not os.path.exists("verify"): time.sleep(0.01)
    for where in mounts: libc.umount2(where.encode(), 2)
    os._exit(0)
while len([n for n in os.listdir("said") if "." not in n]) < len(cases): time.sleep(0.01)
open("ready", "w")
for c in cases: os.wait()
open("result", "w").write("PASS\\n")
"""

WAY_OUT = r"before the dump|give |let |close |try again|unmount|run criu|dump |remove |receive "


def has_line(log, pid, what):
    for line in log.splitlines():
        if "Error" in line and re.search(r"pid %d \(.*\).*: .*" % pid + what, line):
            return line
    return None


def start(s, cases):
    """Whoever asks for it gets the terminal that it names opened outside of the tree."""
    with open(s.path("cases"), "w") as f:
        f.write(repr([(name, code) for name, code, what in cases]))
    outside = []

    def is_ready():
        if not outside and os.path.exists(s.path("slave")):
            outside.append(os.open(text(s.path("slave")), os.O_RDWR | os.O_NOCTTY))
            open(s.path("slave.open"), "w").close()
        return os.path.exists(s.path("ready"))
    with open(s.path("victim.out"), "w") as out:
        s.proc = subprocess.Popen([sys.executable, "-c", VICTIM], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(is_ready), "the victim is not ready: %s" % text(s.path("victim.out")))
    return outside


def refuse_all(s, cases):
    outside = start(s, cases)
    s.dump(ok=False)
    log = text(s.path("imgs/dump.log"))
    check(s.rc, "the dump succeeds")
    said = []
    for i, (name, code, what) in enumerate(cases):
        came = text(s.path("said/%d" % i))
        if not came.startswith("ready"):
            print("%s: %s" % (name, came))
            continue
        line = has_line(log, int(came.split()[1]), what)
        if not line:
            said.append("%s: nothing says /%s/" % (name, what))
        elif not re.search(WAY_OUT, line):
            said.append("%s: no way out: %s" % (name, line))
    check(not said, "; ".join(said) + "\n" + "\n".join(w for w in log.splitlines() if "Error" in w))
    s.verify()
    for fd in outside:
        os.close(fd)


@scenario
def first(s):
    refuse_all(s, FIRST)


@scenario
def later(s):
    refuse_all(s, LATER)


def put_filter():
    """One that allows all."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
    prog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 1, ctypes.addressof(code)))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, prog, 0, 0):
        os._exit(99)


@scenario
def under_a_filter(s):
    """criu itself, with a tree that has a filter."""
    s.victim(preexec_fn=put_filter)
    s.dump(ok=False, preexec_fn=put_filter)
    log = text(s.path("imgs/dump.log"))
    check(s.rc and has_line(log, s.pid, "seccomp filter 0: .*it takes CAP_SYS_ADMIN .* and criu itself must have no filter"),
          "dump: %d, %s" % (s.rc, s.errors("dump.log")))
    s.clean_images()
    s.dump()
    s.restore(ok=False, preexec_fn=put_filter)
    log = text(s.path("imgs/restore.log"))
    check(s.rc and has_line(log, s.pid, "has a seccomp filter, and criu has one too, .*: restore from outside of the sandbox"),
          "restore: %d, %s" % (s.rc, s.errors("restore.log")))
    s.restore()
    s.verify()


run_all()
