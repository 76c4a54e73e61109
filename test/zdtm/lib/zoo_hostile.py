# SPDX-License-Identifier: GPL-2.0-only
"""The zoo: what somebody would hold who wants a checkpoint to fail."""
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import termios
import threading
import time

from zoo_base import Absent, Animal, animal, call, child, command, drained, fdinfo, read_until, readable, same, \
    syscall, true, until, value
from zoo_mixed import ev


def thread(fn):
    """It takes no signal that another animal waits for."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    threading.Thread(target=fn, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_SETMASK, old)


@animal
class EpollSelfWaiters(Animal):
    """Threads blocked in epoll_wait, read of eventfd, signalfd, timerfd, pipe, flock, poll, recv, accept."""

    def setup(self):
        self.e = [ev(0, 0) for _ in range(3)]
        self.ep = select.epoll()
        self.ep.register(self.e[0], select.EPOLLIN)
        self.out = os.pipe()
        self.l = socket.socket(socket.AF_UNIX)
        self.l.bind("waiters.sock")
        self.l.listen(1)
        self.p = select.poll()
        self.p.register(self.e[1], select.POLLIN)
        self.a, self.b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        fd = os.open("waiters.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        self.lock = fd

        def t1():
            while True:
                self.ep.poll()
                os.read(self.e[0], 8)
                os.write(self.out[1], b"1")

        def t2():
            while True:
                self.p.poll()
                os.read(self.e[1], 8)
                os.write(self.out[1], b"2")

        def t3():
            while True:
                os.read(self.e[2], 8)
                os.write(self.out[1], b"3")

        def t4():
            while True:
                c, _ = self.l.accept()
                c.close()
                os.write(self.out[1], b"4")

        def t5():
            while True:
                self.b.recv(100)
                os.write(self.out[1], b"5")

        def t6():
            f = os.open("waiters.lock", os.O_RDWR)
            while True:
                fcntl.flock(f, fcntl.LOCK_EX)
                os.write(self.out[1], b"6")
                fcntl.flock(f, fcntl.LOCK_UN)
                time.sleep(0.1)
        for t in (t1, t2, t3, t4, t5, t6):
            thread(t)
        time.sleep(0.2)

    def check(self):
        for i in range(3):
            os.write(self.e[i], struct.pack("Q", 1))
        c = socket.socket(socket.AF_UNIX)
        c.connect("waiters.sock")
        c.close()
        self.a.send(b"x")
        fcntl.flock(self.lock, fcntl.LOCK_UN)
        got = b""
        for _ in range(600):
            if b"6" in got and len(set(got)) == 6:
                break
            if readable(self.out[0], 0.1):
                got += os.read(self.out[0], 100)
        same("waiters", bytes(sorted(set(got))), b"123456")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        time.sleep(0.15)
        drained(self.out[0])


@animal
class PidfdOfThread(Animal):
    def setup(self):
        self.tids = []
        thread(lambda: (self.tids.append(threading.get_native_id()), time.sleep(100000)))
        until("a thread", lambda: self.tids)
        try:
            self.fd = syscall(434, self.tids[0], os.O_EXCL)
        except OSError as e:
            raise Absent(str(e))
        self.own = syscall(434, os.getpid(), os.O_NONBLOCK)
        self.parent = syscall(434, os.getpid(), 0)

    def check(self):
        same("tid", value(self.fd, "Pid"), str(self.tids[0]))
        same("own", value(self.own, "Pid"), str(os.getpid()))


@animal
class ReusedPid(Animal):
    """A pidfd and a /proc directory of a dead process whose pid a living one has now."""

    def setup(self):
        gone = child(lambda: signal.pause())
        self.pf = syscall(434, gone, 0)
        self.pd = os.open("/proc/%d" % gone, os.O_RDONLY)
        self.st = os.open("/proc/%d/stat" % gone, os.O_RDONLY)
        os.kill(gone, 9)
        os.waitpid(gone, 0)
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w") as f:
                f.write(str(gone - 1))
        except OSError as e:
            raise Absent(str(e))
        kid = child(lambda: signal.pause())
        if kid != gone:
            os.kill(kid, 9)
            os.waitpid(kid, 0)
            raise Absent("pid not to be had")
        self.zoo.kids.append(kid)
        self.kid = kid
        self.live = syscall(434, kid, 0)

    def check(self):
        true("dead readable", readable(self.pf))
        true("living not", not readable(self.live))
        for fd, fn in ((self.st, lambda: os.pread(self.st, 10, 0)), (self.pd, lambda: os.listdir(self.pd) or [][1])):
            try:
                fn()
            except (ProcessLookupError, FileNotFoundError, IndexError):
                continue
            true("the dead answers", False)


@animal
class Epoll1000(Animal):
    def setup(self):
        self.ep = select.epoll(2000)
        self.e = []
        for i in range(1000):
            f = ev(1 if i % 3 == 0 else 0)
            self.ep.register(f, select.EPOLLIN | (select.EPOLLET if i % 2 else 0))
            self.e.append(f)
        d = {}
        for i in range(0, 1000, 7):  # moved
            d[i] = fcntl.fcntl(self.e[i], fcntl.F_DUPFD, 3000)
            os.close(self.e[i])
        self.moved = d
        for i in range(0, 1000, 7):  # others under the numbers
            os.dup2(self.e[1], self.e[i])
        self.n = 1000

    def check(self):
        for i in range(0, 1000):
            f = self.moved.get(i, self.e[i])
            try:
                os.read(f, 8)
            except BlockingIOError:
                pass
        same("none", [x for x in self.ep.poll(0, 2000)], [])
        for i in range(0, 1000):
            os.write(self.moved.get(i, self.e[i]), struct.pack("Q", 1))
        same("all", len(self.ep.poll(0, 2000)), 1000)
        for i in range(0, 1000):
            f = self.moved.get(i, self.e[i])
            if i % 3:
                os.read(f, 8)


@animal
class InotifyMany(Animal):
    def setup(self):
        self.fd = call("inotify_init1", os.O_NONBLOCK)
        self.wd = {}
        os.mkdir("im")
        for i in range(300):
            os.mkdir("im/%d" % i)
            self.wd[i] = call("inotify_add_watch", self.fd, b"im/%d" % i, 0x100)
        for i in range(0, 300, 3):
            call("inotify_rm_watch", self.fd, self.wd.pop(i))
        os.rename("im/1", "im/renamed")
        os.symlink("im", "im.link")
        self.l = call("inotify_add_watch", self.fd, b"im.link", 0x2000000 | 0x4)  # DONT_FOLLOW
        self.once = call("inotify_add_watch", self.fd, b"im/2", 0x20000000 | 0x100 | 0x80000000)  # MASK_ADD, ONESHOT

    def check(self):
        drained(self.fd)
        for i in self.wd:
            n = "im/renamed" if i == 1 else "im/%d" % i
            open(n + "/x", "w").close()
            os.unlink(n + "/x")
        got = []
        buf = drained(self.fd)
        at = 0
        while at < len(buf):
            wd, mask, _, n = struct.unpack_from("iIII", buf, at)
            if mask & 0x100:
                got.append(wd)
            at += 16 + n
        true("watches %d of %d" % (len(set(got)), len(self.wd)), set(self.wd.values()) - {self.wd[2]} <= set(got))


@animal
class LocksMore(Animal):
    """An inherited flock, OFD locks on a dup, POSIX ones in pieces, 200 ranges, one on a directory."""

    def setup(self):
        self.f = os.open("lm", os.O_RDWR | os.O_CREAT)
        for i in range(200):
            fcntl.lockf(self.f, fcntl.LOCK_EX if i % 2 else fcntl.LOCK_SH, 1, i * 2)
        self.o = os.open("lm2", os.O_RDWR | os.O_CREAT)
        fcntl.fcntl(self.o, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 5, 0, 0))
        fcntl.fcntl(self.o, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 1, 2, 0))
        self.d = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self.d, fcntl.LOCK_SH)
        self.fl = os.open("lm3", os.O_RDONLY | os.O_CREAT)
        fcntl.flock(self.fl, fcntl.LOCK_EX)
        self.zoo.kids.append(child(signal.pause))
        self.before = self.locks()

    def locks(self):
        return [sorted(" ".join(x.split()[2:]) for x in fdinfo(f).splitlines() if x.startswith("lock:")) for f in (self.f, self.o, self.d, self.fl)]

    def check(self):
        same("locks", [[x.split()[-2:] + x.split()[:3] for x in y] for y in self.locks()], [[x.split()[-2:] + x.split()[:3] for x in y] for y in self.before])


@animal
class SignalDriven(Animal):
    """F_SETOWN, F_SETSIG, O_ASYNC of pipe, socket, tty; F_SETOWN_EX to a thread."""

    def setup(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 3, signal.SIGIO])
        self.p = os.pipe()
        self.s = socket.socketpair()
        for fd in (self.p[0], self.s[0].fileno()):
            fcntl.fcntl(fd, 10, signal.SIGRTMIN + 3)
            fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        self.q = os.pipe()
        fcntl.fcntl(self.q[0], 15, struct.pack("ii", 0, threading.get_native_id()))

    def check(self):
        os.write(self.p[1], b"x")
        i = signal.sigtimedwait([signal.SIGRTMIN + 3], 1)
        true("sig pipe", i)
        self.s[1].send(b"x")
        true("sig sock", signal.sigtimedwait([signal.SIGRTMIN + 3], 1))
        os.read(self.p[0], 1)
        self.s[0].recv(1)
        while signal.sigtimedwait([signal.SIGRTMIN + 3], 0):
            pass
        same("own_ex", struct.unpack("ii", fcntl.fcntl(self.q[0], 16, b"\0" * 8)), (0, os.getpid()))


@animal
class MemfdShared(Animal):
    def setup(self):
        self.fd = os.memfd_create("shared", 0)
        os.ftruncate(self.fd, 1 << 16)
        self.m = mmap.mmap(self.fd, 1 << 16)
        self.ro = os.open("/proc/self/fd/%d" % self.fd, os.O_RDONLY)
        self.e1, self.e2 = ev(0, 0), ev(0, 0)

        def kid():
            os.close(self.fd)
            while True:
                os.read(self.e1, 8)
                self.m[10] = (self.m[10] + 1) % 256
                os.write(self.e2, struct.pack("Q", 1))
        self.zoo.kids.append(child(kid))
        self.n = 0

    def check(self):
        os.write(self.e1, struct.pack("Q", 1))
        os.read(self.e2, 8)
        self.n += 1
        same("m", self.m[10], self.n)
        same("ro", os.pread(self.ro, 1, 10)[0], self.n)


@animal
class UnixDatagramsMany(Animal):
    """Clients with autobound names, one server, a full queue."""

    def setup(self):
        self.srv = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.srv.bind("dg.sock")
        self.srv.setblocking(False)
        self.cl = []
        for i in range(20):
            c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            c.setblocking(False)
            if i % 3 == 0:
                c.bind("")
            elif i % 3 == 1:
                c.bind("dgc.%d" % i)
            c.connect("dg.sock")
            self.cl.append(c)

    def fill(self):
        self.sent = []
        try:
            while True:
                for i, c in enumerate(self.cl):
                    c.send(b"%d" % i)
                    self.sent.append((b"%d" % i, c.getsockname() or None))
        except BlockingIOError:
            pass

    def check(self):
        got = []
        while True:
            try:
                got.append(self.srv.recvfrom(100))
            except BlockingIOError:
                break
        same("got", got, self.sent)


@animal
class TtyJob(Animal):
    """A shell with job control on a pty: a stopped job and one in the background."""

    def setup(self):
        self.m, s = os.openpty()

        def sh():
            os.setsid()
            fcntl.ioctl(s, termios.TIOCSCTTY, 0)
            for i in range(3):
                os.dup2(s, i)
            os.closerange(3, 10000)
            os.execvp("bash", ["bash", "--norc", "-i"])
        bash = child(sh)
        self.zoo.kids.append(bash)
        os.close(s)
        os.write(self.m, b"PS1=; stty -echo; cat & sleep 1000 & sleep 2000\n")
        until("the job in front", lambda: command(os.tcgetpgrp(self.m)) == "sleep 2000")
        os.write(self.m, b"\x1a")
        until("the shell in front", lambda: os.tcgetpgrp(self.m) == bash)
        os.write(self.m, b"echo re''ady\n")
        read_until(self.m, b"ready\r\n")
        self.n = 0

    def check(self):
        self.n += 1
        os.write(self.m, b"jobs | grep -c -e Stopped -e Running; echo done %d\n" % self.n)
        out = read_until(self.m, b"done %d" % self.n)
        true(repr(out), b"3\r\n" in out or b"3\n" in out)
