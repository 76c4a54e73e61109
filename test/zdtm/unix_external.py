#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Unix sockets with an end outside of the tree: datagrams with --ext-unix-sk and --external, a stream with --external and
# --inherit-fd; names that somebody else has taken by the time of the restore.
# zdtm: driver
import os
import socket
import stat
import subprocess
import sys

from driver import check, run_all, scenario, state_of, text, wait_for

PROGRAM = """
import os, socket, sys, time
exec(sys.argv[1])
open('ready', 'w').close()
n = 0
while True:
    time.sleep(0.02)
    n += 1
    loop(n)
"""


def start(s, setup, **kw):
    s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM, setup], cwd=s.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "w"), start_new_session=True, **kw)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "not ready: " + text(s.path("err")))


def said(s):
    return s.out + text(os.path.join(s.imgs, "restore.log"))


def drain(sock):
    sock.setblocking(False)
    try:
        while sock.recv(100):
            pass
    except BlockingIOError:
        pass
    sock.settimeout(60)


DGRAM = """
d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d.bind('mine'); d.connect(%r)
def loop(n):
    try: d.send(b'%%d' %% n, socket.MSG_DONTWAIT)
    except OSError: pass
"""


def outside(s, name):
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    out.bind(name)
    out.settimeout(60)
    return out


@scenario
def datagrams_to_outside(s):
    for name in (s.path("out"), "\\0out of %d" % os.getpid()):
        name = name.replace("\\0", "\0")
        out = outside(s, name)
        start(s, DGRAM % name)
        out.recv(100)
        s.dump(ok=False)
        check(s.rc != 0 and "--ext-unix-sk" in s.out + text(os.path.join(s.imgs, "dump.log")), "not refused")
        check(state_of(s.pid) != "gone", "the refused one is gone")
        ino = os.fstat(out.fileno()).st_ino
        s.dump("--external", "unix[%d]" % ino, "--leave-running")
        s.dump("-x")
        drain(out)
        s.restore("-x")
        _, sender = out.recvfrom(100)
        check(sender == "mine", "from %r" % sender)
        s.kill()
        out.close()
        s.restore(ok=False)
        check(s.rc != 0 and "cannot be connected to" in said(s), "its peer is gone: " + said(s))
        check(state_of(s.pid) == "gone", "something was started")
        for f in ("mine", "out", "ready"):
            if os.path.exists(s.path(f)):
                os.unlink(s.path(f))


@scenario
def a_stream_by_the_name_unix(s):
    """--external unix[INO], of its own end or of ours."""
    for own in (True, False):
        a, b = socket.socketpair()
        a.settimeout(60)
        start(s, "k = socket.socket(fileno=%d)\ndef loop(n): k.send(b'%%d ' %% n)" % b.fileno(), pass_fds=[b.fileno()])
        ours, theirs = os.fstat(a.fileno()).st_ino, os.fstat(b.fileno()).st_ino
        b.close()
        check(a.recv(100), "nothing comes")
        s.dump("--external", "unix[%d]" % (theirs if own else ours))
        s.restore(ok=False)
        check(s.rc != 0 and "--inherit-fd" in said(s), "what is missing is not said: " + said(s))
        c, d = socket.socketpair()
        c.settimeout(60)
        s.restore("--inherit-fd", "fd[%d]:socket:[%d]" % (d.fileno(), theirs), pass_fds=[d.fileno()])
        d.close()
        check(c.recv(100), "nothing comes after the restore")
        s.kill()
        os.unlink(s.path("ready"))
        s.clean_images()


@scenario
def a_stream_handed_in(s):
    a, b = socket.socketpair()
    a.settimeout(60)
    start(s, "k = socket.socket(fileno=%d)\ndef loop(n): k.send(b'%%d ' %% n)" % b.fileno(), pass_fds=[b.fileno()])
    ino = os.fstat(b.fileno()).st_ino
    b.close()
    check(a.recv(100), "nothing comes")
    s.dump(ok=False)
    check(s.rc != 0 and "pid %d" % os.getpid() in s.out + text(os.path.join(s.imgs, "dump.log")), "we are not named")
    s.dump("--external", "socket:[%d]" % ino)
    s.restore(ok=False)
    check(s.rc != 0 and "--inherit-fd" in said(s), "what is missing is not said: " + said(s))
    c, d = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for wrong in (d.fileno(), os.open("/dev/null", os.O_RDWR)):
        s.restore("--inherit-fd", "fd[%d]:socket:[%d]" % (wrong, ino), pass_fds=[wrong], ok=False)
        check(s.rc != 0 and "not a unix socket of the same type" in said(s), "anything is taken: " + said(s))
        check(state_of(s.pid) == "gone", "something was started")
    c, d = socket.socketpair()
    c.settimeout(60)
    s.restore("--inherit-fd", "fd[%d]:socket:[%d]" % (d.fileno(), ino), pass_fds=[d.fileno()])
    d.close()
    check(c.recv(100), "nothing comes after the restore")
    s.kill()
    check(wait_for(lambda: c.recv(4096) == b""), "somebody else has the other end")


LISTEN = """
l = socket.socket(socket.AF_UNIX); l.bind(%r); l.listen(5)
def loop(n): pass
"""


def served(name):
    c = socket.socket(socket.AF_UNIX)
    try:
        c.connect(name)
        return True
    except OSError:
        return False
    finally:
        c.close()


@scenario
def a_name_that_is_taken(s):
    for name in (s.path("sock"), "\0taken %d" % os.getpid()):
        start(s, LISTEN % name)
        s.dump()
        if name[0] != "\0":
            os.unlink(name)
        other = socket.socket(socket.AF_UNIX)
        other.bind(name)
        s.restore(ok=False)
        check(s.rc != 0 and "has this" in said(s) and "fd 3" in said(s), "taken, and bound: " + said(s))
        check(state_of(s.pid) == "gone", "something was started")
        other.listen(1)
        check(served(name), "the other one lost its name")
        other.close()
        s.restore()
        check(served(name), "the restored one does not listen")
        s.kill()
        if name[0] != "\0":
            os.unlink(name)
            s.restore()
            check(served(name), "without the old file")
            s.kill()
            os.unlink(name)
            open(name, "w").close()
            s.restore(ok=False)
            check(s.rc != 0 and "not a socket" in said(s) and stat.S_ISREG(os.stat(name).st_mode), "a file: " + said(s))
        os.unlink(s.path("ready"))
        left = [f for f in os.listdir(s.dir) if f.startswith(".criu")]
        check(not left, "left behind: %r" % left)


run_all()
