# SPDX-License-Identifier: GPL-2.0-only
"""The zoo: kinds that hold each other."""
import array
import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import time

from zoo_base import Animal, animal, call, child, drained, fdinfo, read_until, readable, same, syscall, true, until, value


def send_fds(s, data, fds):
    s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def recv_fds(s, n):
    data, anc, _, _ = s.recvmsg(4096, socket.CMSG_LEN(4 * n))
    fds = array.array("i")
    for _, _, d in anc:
        fds.frombytes(d[:len(d) - len(d) % 4])
    return data, list(fds)


def ev(v=0, flags=os.O_NONBLOCK):
    return call("eventfd", v, flags)


@animal
class EpollInFlightWithTargets(Animal):
    """An epoll in a queue together with the sockets that it watches, one of which is in the queue only."""

    def setup(self):
        self.a, self.b = socket.socketpair()

    def fill(self):
        x, y = socket.socketpair()
        ep = select.epoll()
        ep.register(x.fileno(), select.EPOLLIN)
        ep.register(self.b.fileno(), select.EPOLLIN)
        self.num = {x.fileno(): "x", self.b.fileno(): "b"}
        y.send(b"hello")
        send_fds(self.a, b"E", [ep.fileno(), x.fileno(), y.fileno()])
        ep.close()
        x.close()
        y.close()

    def check(self):
        data, fds = recv_fds(self.b, 3)
        same("data", data, b"E")
        same("n", len(fds), 3)
        ep = select.epoll.fromfd(fds[0])
        got = sorted(self.num.get(n, n) for n, e in ep.poll(0))
        same("events", got, ["x"])
        same("hello", os.read(fds[1], 10), b"hello")
        self.a.send(b"q")
        got = sorted(self.num.get(n, n) for n, e in ep.poll(0))
        same("events of b", got, ["b"])
        self.b.recv(1)
        ep.close()
        for f in fds[1:]:
            os.close(f)


@animal
class PidfdInEpoll(Animal):
    def setup(self):
        self.ep = select.epoll()
        self.live = child(lambda: signal.pause())
        self.zoo.kids.append(self.live)
        self.pl = syscall(434, self.live, 0)
        self.ep.register(self.pl, select.EPOLLIN)
        z = child(lambda: os._exit(5))
        self.z = z
        self.pz = syscall(434, z, 0)
        self.zoo_dead = os.waitid(os.P_PID, z, os.WEXITED | os.WNOWAIT)
        self.ep.register(self.pz, select.EPOLLIN)

    def check(self):
        same("ep", [n for n, e in self.ep.poll(0)], [self.pz])
        r = os.waitid(os.P_PIDFD, self.pz, os.WEXITED | os.WNOWAIT)
        same("zombie", (r.si_pid, r.si_status), (self.z, 5))


@animal
class TimerInNestedEpoll(Animal):
    def setup(self):
        self.ep = [select.epoll() for _ in range(4)]
        self.t = call("timerfd_create", 1, os.O_NONBLOCK)
        self.ep[0].register(self.t, select.EPOLLIN | select.EPOLLET)
        for i in range(1, 4):
            self.ep[i].register(self.ep[i - 1].fileno(), select.EPOLLIN)

    def fill(self):
        call("timerfd_settime", self.t, 0, ctypes.create_string_buffer(struct.pack("qqqq", 0, 0, 0, 1)), None)
        true("expires", readable(self.t, 60))

    def check(self):
        true("top", self.ep[3].poll(1))
        same("ticks", os.read(self.t, 8), struct.pack("Q", 1))
        self.ep[0].poll(0)
        same("none", self.ep[3].poll(0), [])


@animal
class MemfdInFlightMappedLocked(Animal):
    def setup(self):
        self.a, self.b = socket.socketpair()
        self.fd = os.memfd_create("m", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(self.fd, 1 << 20)
        self.map = mmap.mmap(self.fd, 1 << 20)
        self.map[5000:5005] = b"hello"
        os.lseek(self.fd, 123, 0)
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 10, 20)
        fcntl.flock(self.fd, fcntl.LOCK_SH)

    def fill(self):
        send_fds(self.a, b"M", [self.fd])

    def check(self):
        d, (fd,) = recv_fds(self.b, 1)
        same("pos", os.lseek(fd, 0, 1), 123)
        self.map[6000:6003] = b"new"
        same("shared", os.pread(fd, 3, 6000), b"new")
        same("old", os.pread(fd, 5, 5000), b"hello")
        with open("/proc/self/fdinfo/%d" % fd) as f:
            locks = [" ".join(x.split()[2:]) for x in f.read().splitlines() if x.startswith("lock:")]
        same("locks", len(locks), 2)
        # not closing drops POSIX locks: set again
        os.close(fd)
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 10, 20)


@animal
class SharedSignalfd(Animal):
    def setup(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        mask = ctypes.c_uint64(1 << (signal.SIGUSR2 - 1))
        self.fd = syscall(289, -1, ctypes.byref(mask), 8, 0)
        self.r, self.w = os.pipe()
        self.ep = select.epoll()
        self.ep.register(self.fd, select.EPOLLIN)

        def kid():
            while True:
                os.write(self.w, os.read(self.fd, 128)[:4])
        self.kid = child(kid)
        self.zoo.kids.append(self.kid)

    def check(self):
        os.kill(self.kid, signal.SIGUSR2)
        same("child's", os.read(self.r, 4), struct.pack("I", signal.SIGUSR2))
        os.kill(os.getpid(), signal.SIGUSR2)
        same("ep", len(self.ep.poll(1)), 1)
        same("ours", os.read(self.fd, 128)[:4], struct.pack("I", signal.SIGUSR2))


@animal
class PtyOverSocket(Animal):
    def setup(self):
        self.a, self.b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def fill(self):
        m, s = os.openpty()
        os.write(s, b"out")
        os.write(m, b"line\npart")
        time.sleep(0.05)
        send_fds(self.a, b"P", [m])
        send_fds(self.a, b"Q", [s])
        os.close(m)
        os.close(s)

    def check(self):
        _, (m,) = recv_fds(self.b, 1)
        _, (s,) = recv_fds(self.b, 1)
        same("line", os.read(s, 100), b"line\n")
        os.write(m, b"ly\n")
        time.sleep(0.05)
        same("line2", os.read(s, 100), b"partly\n")
        same("out", read_until(m, b"ly\r\n"), b"outline\r\npartly\r\n")
        os.close(m)
        os.close(s)


@animal
class PtyMasterInFlight(Animal):
    def setup(self):
        self.a, self.b = socket.socketpair()
        self.slave = None

    def fill(self):
        m, self.slave = os.openpty()
        os.write(self.slave, b"out")
        send_fds(self.a, b"P", [m])
        os.close(m)

    def check(self):
        _, (m,) = recv_fds(self.b, 1)
        same("out", read_until(m, b"out"), b"out")
        os.write(m, b"in\n")
        same("in", os.read(self.slave, 10), b"in\n")
        os.close(m)
        os.close(self.slave)


@animal
class InotifyOnCwd(Animal):
    def setup(self):
        self.fd = call("inotify_init1", os.O_NONBLOCK)
        self.wd = call("inotify_add_watch", self.fd, b".", 0x100)
        self.ep = select.epoll()
        self.ep.register(self.fd, select.EPOLLIN)

    def check(self):
        drained(self.fd)
        open("cwd.new", "w").close()
        os.unlink("cwd.new")
        true("ep", self.ep.poll(0))
        true("ev", b"cwd.new" in drained(self.fd))


@animal
class SharedEventfd(Animal):
    def setup(self):
        self.e, self.back = ev(0, 0), ev(0, 0)

        def kid():
            own = os.dup(self.e)
            os.close(self.e)
            while True:
                v = os.read(own, 8)
                os.write(self.back, v)
        self.zoo.kids.append(child(kid))

    def check(self):
        os.write(self.e, struct.pack("Q", 7))
        same("answer", os.read(self.back, 8), struct.pack("Q", 7))


@animal
class DgramToItself(Animal):
    def setup(self):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind("self.sock")
        self.s.connect("self.sock")
        self.t = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.t.bind("\0self-%d" % os.getpid())
        self.t.connect("\0self-%d" % os.getpid())

    def fill(self):
        for s in (self.s, self.t):
            s.send(b"one")
            s.send(b"")
            s.send(b"two")

    def check(self):
        for s in (self.s, self.t):
            same("q", [s.recvfrom(10) for _ in range(3)], [(b"one", s.getsockname()), (b"", s.getsockname()), (b"two", s.getsockname())])


@animal
class PeercredOfSetuid(Animal):
    def setup(self):
        l = socket.socket(socket.AF_UNIX)
        l.bind("uid.sock")
        os.chmod("uid.sock", 0o777)
        os.chmod(".", 0o777)
        path = os.path.abspath("uid.sock")

        def server():
            os.setgroups([7, 8])
            os.setgid(1234)
            os.setuid(1234)
            l.listen(5)
            while True:
                c, _ = l.accept()
                while True:
                    d = c.recv(100)
                    if not d:
                        break
                    c.send(struct.pack("3i", *struct.unpack("3i", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))))
                c.close()
        self.kid = child(server)
        self.zoo.kids.append(self.kid)
        self.c = socket.socket(socket.AF_UNIX)
        until("the server listens", lambda: self.c.connect_ex(path) == 0)
        self.c2 = socket.socket(socket.AF_UNIX)
        self.c2.connect(path)

    def check(self):
        want = (self.kid, 1234, 1234)
        same("peer", struct.unpack("3i", self.c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)), want)
        same("peer2", struct.unpack("3i", self.c2.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)), want)
        same("groups", struct.unpack("2i", self.c.getsockopt(socket.SOL_SOCKET, 59, 8)), (7, 8))
        self.c.send(b"?")
        same("its peer", struct.unpack("3i", self.c.recv(100)), (os.getpid(), 0, 0))


@animal
class PacketPipeFull(Animal):
    def setup(self):
        self.p = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)

    def fill(self):
        self.sizes = []
        i = 0
        try:
            while True:
                n = (i * 977) % 4097
                n = n or 1
                if n > 4096:
                    n = 4096
                w = os.write(self.p[1], bytes([i % 251]) * n)
                self.sizes.append((i % 251, w))
                i += 1
        except BlockingIOError:
            pass

    def check(self):
        got = []
        for _ in self.sizes:
            d = os.read(self.p[0], 5000)
            got.append((d[0], len(d)))
        same("packets", got, self.sizes)
        true("more", not readable(self.p[0]))


@animal
class PipeOnceDirect(Animal):
    """Packets written with O_DIRECT, then bytes without, then packets again."""

    def setup(self):
        self.p = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)

    def fill(self):
        w = self.p[1]
        fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
        os.write(w, b"packet")
        os.write(w, b"packet2")
        fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK)
        os.write(w, b"by")
        os.write(w, b"tes")
        fcntl.fcntl(w, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
        os.write(w, b"again")

    def check(self):
        got = [os.read(self.p[0], 3)]
        for _ in range(5):
            try:
                got.append(os.read(self.p[0], 100))
            except BlockingIOError:
                break
        same("reads", got, [b"pac", b"packet2", b"bytesagain"])


@animal
class PipesSplice(Animal):
    """Pages that are a file's, put in by splice, vmsplice and tee; both ends' sizes."""

    def setup(self):
        self.p, self.q = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
        with open("spliced", "wb") as f:
            f.write(bytes(range(256)) * 64)
        self.f = os.open("spliced", os.O_RDONLY)

    def fill(self):
        os.splice(self.f, self.p[1], 5000, offset_src=100)
        os.write(self.p[1], b"tail")
        call("tee", self.p[0], self.q[1], 3000, 0)

    def check(self):
        data = (bytes(range(256)) * 64)[100:5100] + b"tail"
        same("p", drained(self.p[0]), data)
        same("q", drained(self.q[0]), data[:3000])


@animal
class PipeEdges(Animal):
    def setup(self):
        r, w = os.pipe()
        os.close(w)
        self.eof = r
        r, w = os.pipe()
        os.write(w, b"left")
        os.close(w)
        self.left = r
        r, w = os.pipe()
        os.close(r)
        self.broken = w
        r, w = os.pipe2(os.O_NONBLOCK)
        self.reopened = os.open("/proc/self/fd/%d" % r, os.O_RDWR)
        self.again = os.open("/proc/self/fd/%d" % w, os.O_WRONLY | os.O_NONBLOCK)
        self.r = r
        os.close(w)
        fcntl.fcntl(self.r, fcntl.F_SETOWN, os.getpid())

    def check(self):
        same("eof", os.read(self.eof, 10), b"")
        try:
            os.write(self.broken, b"x")
            true("no EPIPE", False)
        except BrokenPipeError:
            pass
        os.write(self.again, b"via again")
        same("reopened", os.read(self.reopened, 100), b"via again")
        same("left", os.stat("/proc/self/fd/%d" % self.left).st_mode & 0o170000, 0o010000)


@animal
class Fifos(Animal):
    def setup(self):
        os.mkfifo("ff")
        self.r = os.open("ff", os.O_RDONLY | os.O_NONBLOCK)
        self.w = os.open("ff", os.O_WRONLY)
        os.mkfifo("ffronly")
        self.ro = os.open("ffronly", os.O_RDONLY | os.O_NONBLOCK)
        os.mkfifo("ffp")
        self.path = os.open("ffp", os.O_PATH)

    def fill(self):
        os.write(self.w, b"in ff")

    def check(self):
        same("ff", os.read(self.r, 100), b"in ff")
        same("ro", os.read(self.ro, 100), b"")


@animal
class OPathAll(Animal):
    def setup(self):
        s = socket.socket(socket.AF_UNIX)
        s.bind("p.sock")
        self.s = s
        open("pfile", "w").close()
        os.mkdir("pdir")
        os.symlink("nowhere", "plink")
        open("pgone", "w").close()
        self.fds = {}
        for n, f in (("p.sock", 0), ("pfile", 0), ("pdir", os.O_DIRECTORY), ("plink", os.O_NOFOLLOW), ("/dev/null", 0), ("/dev/tty", 0),
                     ("/proc/self/status", 0), ("/proc/self", os.O_NOFOLLOW), ("/proc/self/ns/net", 0), ("/sys", 0), ("/dev/ptmx", 0), ("/proc/self/exe", os.O_NOFOLLOW)):
            self.fds[n] = os.open(n, os.O_PATH | f)
        self.gone = os.open("pgone", os.O_PATH)
        os.unlink("pgone")

    def check(self):
        for n, fd in self.fds.items():
            true(n, "0" in value(fd, "flags"))
            same(n, bool(int(value(fd, "flags"), 8) & os.O_PATH), True)
        same("link", os.readlink("", dir_fd=self.fds["plink"]), "nowhere")
        same("mode", os.fstat(self.fds["p.sock"]).st_mode & 0o170000, 0o140000)


@animal
class DirPosition(Animal):
    def setup(self):
        os.mkdir("many")
        for i in range(300):
            open("many/%d" % i, "w").close()
        self.d = os.open("many", os.O_RDONLY | os.O_DIRECTORY)
        buf = ctypes.create_string_buffer(1024)
        n = syscall(217, self.d, buf, 1024)
        self.pos = os.lseek(self.d, 0, 1)

    def check(self):
        same("pos", os.lseek(self.d, 0, 1), self.pos)


@animal
class VforkedFds(Animal):
    """Descriptors shared by a thread group and by CLONE_FILES tasks is others' test; here: an inherited one closed in one."""

    def setup(self):
        self.r, self.w = os.pipe()
        self.kid = os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, self.r, 0), (os.POSIX_SPAWN_OPEN, 1, "cat.out", os.O_CREAT | os.O_WRONLY, 0o644), (os.POSIX_SPAWN_CLOSE, self.w)])
        self.zoo.kids.append(self.kid)
        os.close(self.r)
        self.n = 0

    def check(self):
        os.write(self.w, b"hi\n")
        self.n += 3
        for _ in range(6000):
            if os.stat("cat.out").st_size == self.n:
                return
            time.sleep(0.01)
        same("size", os.stat("cat.out").st_size, self.n)


@animal
class SocketsInSocketsInSockets(Animal):
    """A chain and a cycle in flight (the garbage collector's food)."""

    def setup(self):
        self.a, self.b = socket.socketpair()

    def fill(self):
        prev = ev(42)
        for i in range(3):
            x, y = socket.socketpair(socket.AF_UNIX, (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)[i])
            send_fds(x, b"lvl%d" % i, [prev, x.fileno()])
            os.close(prev)
            prev = os.dup(y.fileno())
            x.close()
            y.close()
        send_fds(self.a, b"top", [prev])
        os.close(prev)

    def check(self):
        _, (fd,) = recv_fds(self.b, 1)
        for i in (2, 1, 0):
            s = socket.socket(fileno=fd)
            d, (fd, own) = recv_fds(s, 2)
            same("level", d, b"lvl%d" % i)
            t = socket.socket(fileno=own)
            t.send(b"ping")
            same("ping", s.recv(10), b"ping")
            s.close()
            t.close()
        same("heart", os.read(fd, 8), struct.pack("Q", 42))
        os.close(fd)


@animal
class EpollManyStates(Animal):
    def setup(self):
        self.ep = select.epoll()
        self.a, self.b = socket.socketpair()
        self.ep.register(self.a.fileno(), select.EPOLLIN | (1 << 28))  # EPOLLEXCLUSIVE is 1<<28
        self.shot = ev(0)
        self.ep.register(self.shot, select.EPOLLIN | select.EPOLLONESHOT | select.EPOLLET)
        self.dups = [os.dup(self.a.fileno()) for _ in range(3)]
        for d in self.dups:
            self.ep.register(d, select.EPOLLOUT | select.EPOLLET)
        os.close(self.dups.pop())
        self.inot = call("inotify_init1", os.O_NONBLOCK)
        self.ep.register(self.inot, select.EPOLLIN)
        self.before = sorted(x.split("pos")[0] for x in fdinfo(self.ep.fileno()).splitlines() if x.startswith("tfd"))
        self.wake = self.ep.poll(0)

    def check(self):
        same("tfds", sorted(x.split("pos")[0] for x in fdinfo(self.ep.fileno()).splitlines() if x.startswith("tfd")), self.before)


@animal
class NetlinkQueued(Animal):
    def setup(self):
        self.s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.s.bind((0, 1))

    def fill(self):
        self.s.send(struct.pack("IHHII", 20, 18, 0x301, 1, 0))

    def check(self):
        while readable(self.s.fileno()):
            try:
                self.s.recv(65536)
            except OSError:
                pass


@animal
class UnixStates(Animal):
    def setup(self):
        self.raw = [socket.socket(socket.AF_UNIX, t) for t in (1, 2, 5)]
        self.l = socket.socket(socket.AF_UNIX)
        self.l.bind("")  # autobind
        self.l.listen(2)
        self.c = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for c in self.c:
            c.connect(self.l.getsockname())
        self.seq = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.seq.bind("x" * 107)
        self.seq.listen(0)
        self.cs = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.cs.connect("x" * 107)
        self.name = self.l.getsockname()

    def check(self):
        same("name", self.l.getsockname(), self.name)
        same("seq", self.cs.getpeername(), "x" * 107)
        same("peer", self.c[2].getpeername(), self.name)


@animal
class OobAndPeekOff(Animal):
    def setup(self):
        self.a, self.b = socket.socketpair()
        self.b.setsockopt(socket.SOL_SOCKET, 42, 3)  # SO_PEEK_OFF
        self.c, self.d = socket.socketpair()

    def fill(self):
        self.a.send(b"0123456789")
        self.c.send(b"abc")
        self.c.send(b"X", socket.MSG_OOB)
        self.c.send(b"def")
        self.b.setsockopt(socket.SOL_SOCKET, 42, 3)

    def check(self):
        same("peek", self.b.recv(2, socket.MSG_PEEK), b"34")
        same("peek off", self.b.getsockopt(socket.SOL_SOCKET, 42), 5)
        same("all", self.b.recv(100), b"0123456789")
        same("oob", self.d.recv(1, socket.MSG_OOB), b"X")
        same("rest", self.d.recv(10) + self.d.recv(10), b"abcdef")
