#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --external-lost close: connected unix sockets and pipes whose other end is outside of the tree come back with that end
# closed, what waited can still be read, and the log names who had it, at dump and at restore.
# zdtm: driver
import os
import socket
import subprocess
import sys

from driver import check, run_all, scenario, text, wait_for

PROGRAM = """
import os, socket, sys, time
a = socket.socket(fileno=int(sys.argv[1]))
b = socket.socket(fileno=int(sys.argv[2]))
w, r = int(sys.argv[3]), int(sys.argv[4])
def said(text):
    with open('result', 'a') as f: f.write(text + '\\n')
open('ready', 'w').close()
while not os.path.exists('verify'):
    time.sleep(0.01)
def broken(fn):
    try: fn()
    except BrokenPipeError: return True
    return False
for what, ok in (
        ('stream: what waited', a.recv(100) == b'before'), ('stream: its end', a.recv(100) == b''),
        ('stream: sending', broken(lambda: a.send(b'x'))),
        ('seqpacket: what waited', b.recv(100) == b'one' and b.recv(100) == b'two'),
        ('seqpacket: its end', b.recv(100) == b''), ('seqpacket: sending', broken(lambda: b.send(b'x'))),
        ('pipe: writing', broken(lambda: os.write(w, b'x'))), ('pipe: what waited', os.read(r, 100) == b'in the pipe'),
        ('pipe: its end', os.read(r, 100) == b'')):
    if not ok: said('FAIL ' + what)
said('PASS')
"""


class Ends:
    def __init__(self, s):
        self.a, a = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.b, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.r, w = os.pipe()
        r, self.w = os.pipe()
        fds = (a.fileno(), b.fileno(), w, r)
        s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM, *map(str, fds)], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=open(s.path("err"), "a"), start_new_session=True,
                                  pass_fds=fds)
        s.pid = s.proc.pid
        a.close()
        b.close()
        os.close(w)
        os.close(r)
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "not ready: " + text(s.path("err")))
        self.a.send(b"before")
        self.b.send(b"one")
        self.b.send(b"two")
        os.write(self.w, b"in the pipe")
        self.fds = fds


def warned(s, log, *words):
    lines = [x for x in text(os.path.join(s.imgs, log)).splitlines() if "Warn" in x and "outside of the tree" in x]
    me = "pid %d (%s)" % (os.getpid(), text("/proc/self/comm").strip())
    for w in words:
        check(any(w in x and me in x for x in lines), "%s: no warning says %r and %s: %r" % (log, w, me, lines))
    check(len(lines) == len(words), "%s: %r, not just %r" % (log, lines, words))


@scenario
def closed(s):
    e = Ends(s)
    s.dump(ok=False)
    check(s.rc, "it was dumped without the option")
    log = text(s.path("imgs/dump.log"))
    for fd in e.fds[:2]:
        check("fd %d: a unix socket connected to" % fd in log and "--external-lost close" in log, log[-900:])
    check(s.tool("dump", "-t", s.pid, "--external-lost", "open") and "--external-lost: 'open' is not valid (only 'close')" in s.out, s.out)
    s.dump("--external-lost", "close")
    warned(s, "dump.log", *["fd %d: a unix socket connected to" % fd for fd in e.fds[:2]],
           "fd %d: the reading end of this pipe" % e.fds[2], "fd %d: the writing end of this pipe" % e.fds[3])
    for fd in (e.r, e.w):
        os.close(fd)
    e.a.close()
    e.b.close()
    for i in range(3):
        s.restore()
        warned(s, "restore.log", "its peer was held by", "its peer was held by", "its reading end was held",
               "its writing end was held")
        if i < 2:
            s.kill()
    s.verify()


@scenario
def handed_in(s):
    """What was lost can still be handed in."""
    e = Ends(s)
    inodes = [os.readlink("/proc/%d/fd/%d" % (s.pid, fd)) for fd in e.fds]
    s.dump("--external-lost", "close")
    a, a2 = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    r, w = os.pipe()
    s.restore("--inherit-fd", "fd[%d]:%s" % (a2.fileno(), inodes[0]), "--inherit-fd", "fd[%d]:%s" % (r, inodes[3]),
              pass_fds=(a2.fileno(), r))
    a2.close()
    os.close(r)
    warned(s, "restore.log", "its peer was held by", "its reading end was held")
    check(os.path.samestat(os.stat("/proc/%d/fd/%d" % (s.pid, e.fds[3])), os.fstat(w)), "the pipe is another")
    check(os.readlink("/proc/%d/fd/%d" % (s.pid, e.fds[0])) != inodes[0], "the socket")
    a.send(b"x")
    s.kill()
    a.setblocking(False)
    try:
        check(a.recv(10) == b"", "the new peer")
    except ConnectionResetError:
        pass


@scenario
def in_another(s):
    """Ends that no ancestor of the program has, but some other process; and ends that nobody has."""
    e = Ends(s)
    keeper = subprocess.Popen(["sleep", "1000"], pass_fds=(e.r,), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    os.close(e.r)
    os.close(e.w)
    s.dump("--external-lost", "close")
    said = [x for x in text(s.path("imgs/dump.log")).splitlines() if "end of this pipe" in x]
    check(len(said) == 1 and "reading end of this pipe is held by pid %d (sleep)" % keeper.pid in said[0], repr(said))
    keeper.kill()
    keeper.wait()
    e.a.close()
    e.b.close()
    s.restore()
    s.verify()


run_all()
