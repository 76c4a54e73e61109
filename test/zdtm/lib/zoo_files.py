# SPDX-License-Identifier: GPL-2.0-only
"""The zoo: everything with a descriptor that is no socket."""
import ctypes
import fcntl
import mmap
import os
import select
import signal
import struct
import termios
import time

from zoo_base import Absent, Animal, animal, asked, call, child, drained, fdinfo, read_until, readable, same, syscall, true, value

SYS_SIGNALFD4, SYS_PIDFD_OPEN, SYS_PIDFD_SEND_SIGNAL, SYS_BPF = 289, 434, 424, 321
CLOCKS = (0, 1, 7, 8, 9)
HOUR = 3600


@animal
class Eventfd(Animal):
    def setup(self):
        self.count, self.sem = call("eventfd", 0, os.O_NONBLOCK), call("eventfd", 0, os.O_NONBLOCK | 1)

    def fill(self):
        os.write(self.count, struct.pack("Q", 1 << 40))
        os.write(self.sem, struct.pack("Q", 2))

    def check(self):
        same("count", os.read(self.count, 8), struct.pack("Q", 1 << 40))
        same("semaphore", [os.read(self.sem, 8) for _ in range(2)], [struct.pack("Q", 1)] * 2)
        true("more than there was", not readable(self.count) and not readable(self.sem))


@animal
class MessageQueue(Animal):
    """POSIX: one with a name, one whose name is gone."""

    def setup(self):
        self.named = call("mq_open", b"/zoo", os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o600, None)
        self.gone = call("mq_open", b"/zoo-gone", os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o600, None)
        call("mq_unlink", b"/zoo-gone")

    def fill(self):
        for i, q in enumerate((self.named, self.gone, self.named)):
            call("mq_send", q, b"message %d" % i, 9, i)

    def check(self):
        got, buf = [], ctypes.create_string_buffer(8192)
        for q in (self.named, self.named, self.gone):
            size = call("mq_receive", q, buf, ctypes.c_size_t(8192), None)
            got.append(buf.raw[:size])
        same("messages", got, [b"message 2", b"message 0", b"message 1"])
        true("more than there was", not readable(self.named) and not readable(self.gone))


@animal
class SystemV(Animal):
    """A semaphore that is held (SEM_UNDO), and a message queue."""

    def setup(self):
        self.sem, self.queue = call("semget", 0, 2, 0o1600), call("msgget", 0, 0o1600)

    def operate(self, op):
        call("semop", self.sem, struct.pack("Hhh", 1, op, 0x1000), ctypes.c_size_t(1))

    def fill(self):
        self.operate(5)
        call("msgsnd", self.queue, struct.pack("l4s", 7, b"text"), ctypes.c_size_t(4), 0)

    def check(self):
        buf = ctypes.create_string_buffer(100)
        same("semaphore", (call("semctl", self.sem, 1, 12), call("semctl", self.sem, 1, 11)), (5, os.getpid()))
        self.operate(-5)
        size = call("msgrcv", self.queue, buf, ctypes.c_size_t(92), ctypes.c_long(0), 0o4000)
        same("message", buf.raw[:8 + size], struct.pack("l4s", 7, b"text"))


@animal
class Signalfd(Animal):
    def setup(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGRTMIN])
        mask = ctypes.c_uint64(1 << (signal.SIGUSR1 - 1) | 1 << (signal.SIGRTMIN - 1))
        self.fd = syscall(SYS_SIGNALFD4, -1, ctypes.byref(mask), 8, os.O_NONBLOCK)

    def fill(self):
        os.kill(os.getpid(), signal.SIGUSR1)
        call("sigqueue", os.getpid(), int(signal.SIGRTMIN), ctypes.c_void_p(77))

    def check(self):
        got = [struct.unpack_from("I", os.read(self.fd, 128))[0] for _ in range(2)]
        same("signals", got, [signal.SIGUSR1, signal.SIGRTMIN])
        true("more than there were", not readable(self.fd))


def timerfd(clock, value, interval=0, flags=0):
    fd = call("timerfd_create", clock, os.O_NONBLOCK)
    settime(fd, value, interval, flags)
    return fd


def settime(fd, ns, interval=0, flags=0):
    spec = struct.pack("qqqq", interval, 0, ns // 10**9, ns % 10**9)
    call("timerfd_settime", fd, flags, ctypes.create_string_buffer(spec), None)


@animal
class Timerfd(Animal):
    def setup(self):
        self.far = {c: timerfd(c, HOUR * 10**9, 5) for c in CLOCKS}
        self.cancel = timerfd(0, (int(time.time()) + HOUR) * 10**9, 0, 3)
        self.over = call("timerfd_create", 1, os.O_NONBLOCK)

    def fill(self):
        settime(self.over, 1, HOUR)
        true("a timer of 1 ns does not expire", readable(self.over, 60))

    def check(self):
        for c, fd in self.far.items():
            same("clock", value(fd, "clockid"), str(c))
            same("interval of clock %d" % c, value(fd, "it_interval"), "(5, 0)")
            left = int(value(fd, "it_value").strip("()").split(",")[0])
            true("clock %d: %d s left" % (c, left), HOUR - 900 < left <= HOUR)
        same("flags", value(self.cancel, "settime flags"), "03")
        same("expirations", os.read(self.over, 8), struct.pack("Q", 1))


@animal
class Pidfd(Animal):
    def setup(self):
        self.kid = child(lambda: signal.pause())
        self.zoo.kids.append(self.kid)
        self.living = syscall(SYS_PIDFD_OPEN, self.kid, 0)
        gone = child(lambda: os._exit(3))
        self.dead = syscall(SYS_PIDFD_OPEN, gone, 0)
        os.waitpid(gone, 0)

    def check(self):
        same("pid", value(self.living, "Pid"), str(self.kid))
        true("the living is dead", not readable(self.living))
        syscall(SYS_PIDFD_SEND_SIGNAL, self.living, 0, 0, 0)
        true("the dead is alive", readable(self.dead))
        try:
            syscall(SYS_PIDFD_SEND_SIGNAL, self.dead, 0, 0, 0)
        except ProcessLookupError:
            return
        true("the dead takes signals", False)


@animal
class Pipes(Animal):
    def setup(self):
        self.packet, self.big = os.pipe2(os.O_DIRECT | os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
        fcntl.fcntl(self.big[1], fcntl.F_SETPIPE_SZ, 1 << 17)
        self.lonely = os.pipe()[1]
        os.mkfifo("fifo")
        self.fifo = os.open("fifo", os.O_RDWR | os.O_NONBLOCK)

    def fill(self):
        for p in (b"one", b"second"):
            os.write(self.packet[1], p)
        same("filling", os.write(self.big[1], b"x" * (1 << 18)), 1 << 17)
        os.write(self.fifo, b"in the fifo")

    def check(self):
        same("packets", [os.read(self.packet[0], 100) for _ in range(2)], [b"one", b"second"])
        same("size", fcntl.fcntl(self.big[0], fcntl.F_GETPIPE_SZ), 1 << 17)
        same("bytes", drained(self.big[0]), b"x" * (1 << 17))
        same("fifo", os.read(self.fifo, 100), b"in the fifo")


@animal
class Terminal(Animal):
    """Both ends of a pty in one process, with something on its way in both directions."""

    def setup(self):
        self.master, self.slave = os.openpty()
        attr = termios.tcgetattr(self.slave)
        attr[0] = attr[1] = attr[3] = 0
        attr[6][termios.VMIN] = 1
        termios.tcsetattr(self.slave, termios.TCSANOW, attr)
        self.attr = termios.tcgetattr(self.slave)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 5, 6))

    def fill(self):
        os.write(self.master, b"to the slave")
        os.write(self.slave, b"to the master")
        true("nothing on its way", readable(self.slave, 60) and readable(self.master, 60))

    def check(self):
        same("to the slave", os.read(self.slave, 100), b"to the slave")
        same("to the master", os.read(self.master, 100), b"to the master")
        same("termios", termios.tcgetattr(self.slave), self.attr)
        same("size", struct.unpack("HHHH", fcntl.ioctl(self.slave, termios.TIOCGWINSZ, b"\0" * 8)), (33, 77, 5, 6))


@animal
class ControllingTerminal(Animal):
    """A session with a terminal of its own, whose leader has opened /dev/tty and echoes."""

    def setup(self):
        self.master, slave = os.openpty()

        def leader():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            tty = os.open("/dev/tty", os.O_RDWR)
            os.close(slave)
            os.close(self.master)
            while True:
                line = os.read(tty, 1000)
                os.write(tty, b"heard " + line)
        self.zoo.kids.append(child(leader))
        os.close(slave)
        self.check()

    def check(self):
        os.write(self.master, b"hello\n")
        same("echo", read_until(self.master, b"heard hello\r\n"), b"hello\r\nheard hello\r\n")


@animal
class Devices(Animal):
    def setup(self):
        self.fds = {n: os.open("/dev/" + n, os.O_RDWR) for n in ("null", "zero", "full", "random", "urandom")}

    def check(self):
        same("null", (os.read(self.fds["null"], 9), os.write(self.fds["null"], b"away")), (b"", 4))
        same("zero", os.read(self.fds["zero"], 5), b"\0" * 5)
        same("random", [len(os.read(self.fds[n], 9)) for n in ("random", "urandom")], [9, 9])
        try:
            os.write(self.fds["full"], b"x")
        except OSError:
            return
        true("full is not", False)


@animal
class Files(Animal):
    def setup(self):
        with open("file", "wb") as f:
            f.write(b"0123456789" * 100)
        self.fd = os.open("file", os.O_RDWR | os.O_APPEND)
        os.lseek(self.fd, 105, os.SEEK_SET)
        self.dir = os.open(".", os.O_DIRECTORY)
        self.path = os.open("file", os.O_PATH)
        os.mkdir("sub")
        os.symlink("file", "link")
        self.link = os.open("link", os.O_PATH | os.O_NOFOLLOW)

    def check(self):
        same("file", os.pread(self.fd, 5, 100), b"01234")
        same("position", os.lseek(self.fd, 0, os.SEEK_CUR), 105)
        true("directory", "file" in os.listdir(self.dir))
        same("by path", os.fstat(self.path).st_size, 1000)
        same("link", os.readlink("", dir_fd=self.link), "file")


@animal
class Tmpfile(Animal):
    """Files without a name: never had one, or had it taken."""

    def setup(self):
        self.fds = [os.open(".", os.O_RDWR | os.O_TMPFILE, 0o640), os.open("deleted", os.O_RDWR | os.O_CREAT, 0o640)]
        os.unlink("deleted")
        for fd in self.fds:
            os.write(fd, b"without a name" * 1000)
        self.again = os.dup(self.fds[1])

    def check(self):
        for fd in self.fds:
            same("contents", os.pread(fd, 20000, 0), b"without a name" * 1000)
            same("mode, links", (os.fstat(fd).st_mode, os.fstat(fd).st_nlink), (0o100640, 0))
            same("position", os.lseek(fd, 0, os.SEEK_CUR), 14000)
        same("not in the directory", [n for n in os.listdir(".") if "deleted" in n or "criu" in n], [])


@animal
class Memfd(Animal):
    def setup(self):
        self.fd = os.memfd_create("a name", os.MFD_ALLOW_SEALING)
        os.write(self.fd, b"memory" * 1000)
        self.map = mmap.mmap(self.fd, 6000)
        call("fcntl", self.fd, 1033, 2 | 4)  # F_ADD_SEALS: no shrinking, no growing

    def check(self):
        same("contents", os.pread(self.fd, 6000, 0), b"memory" * 1000)
        same("name", os.readlink("/proc/self/fd/%d" % self.fd), "/memfd:a name (deleted)")
        same("seals", call("fcntl", self.fd, 1034), 2 | 4)
        self.map[0:6] = b"MEMORY"
        same("mapping", os.pread(self.fd, 6, 0), b"MEMORY")
        os.pwrite(self.fd, b"memory", 0)
        same("mapping, the other way", self.map[0:6], b"memory")


@animal
class Locks(Animal):
    def setup(self):
        self.fds = {}
        for n in ("flock", "posix", "ofd", "lease"):
            self.fds[n] = os.open("lock." + n, os.O_RDWR | os.O_CREAT)
        os.close(self.fds["lease"])
        self.fds["lease"] = os.open("lock.lease", os.O_RDONLY)
        fcntl.flock(self.fds["flock"], fcntl.LOCK_EX)
        fcntl.lockf(self.fds["posix"], fcntl.LOCK_EX, 10, 20)
        self.flock = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 5, 7, 0)
        fcntl.fcntl(self.fds["ofd"], 37, self.flock)  # F_OFD_SETLK
        fcntl.fcntl(self.fds["lease"], fcntl.F_SETLEASE, fcntl.F_RDLCK)

    def locks(self):
        """What another process finds in its way."""
        out = []
        for n in ("posix", "ofd"):
            fd = os.open("lock." + n, os.O_RDWR)
            r = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            out.append(struct.unpack("hhqqi4x", r))
            os.close(fd)
        fd = os.open("lock.flock", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            out.append("free")
        except BlockingIOError:
            out.append("locked")
        return out

    def check(self):
        want = [(fcntl.F_WRLCK, 0, 20, 10, os.getpid()), (fcntl.F_WRLCK, 0, 5, 7, -1), "locked"]
        same("locks", asked(self.locks), str(want))
        same("lease", fcntl.fcntl(self.fds["lease"], fcntl.F_GETLEASE), fcntl.F_RDLCK)


@animal
class Tun(Animal):
    def setup(self):
        self.bare = os.open("/dev/net/tun", os.O_RDWR)
        self.fd = os.open("/dev/net/tun", os.O_RDWR)
        try:
            fcntl.ioctl(self.fd, 0x400454ca, struct.pack("16sH22x", b"ztap", 0x1002))
        except OSError as e:
            raise Absent(str(e))

    def check(self):
        got = fcntl.ioctl(self.fd, 0x800454d2, b"\0" * 40)
        same("device", struct.unpack("16sH22x", got), (b"ztap".ljust(16, b"\0"), 0x1002))


@animal
class BpfMap(Animal):
    def setup(self):
        attr = struct.pack("IIIII", 2, 4, 8, 3, 0).ljust(120, b"\0")
        try:
            self.fd = syscall(SYS_BPF, 0, ctypes.create_string_buffer(attr), 120)
        except OSError as e:
            raise Absent(str(e))
        self.at(2, 2, b"elephant")

    def at(self, cmd, key, v=b""):
        k, buf = ctypes.c_uint32(key), ctypes.create_string_buffer(v.ljust(8, b"\0"), 8)
        attr = struct.pack("IxxxxQQQ", self.fd, ctypes.addressof(k), ctypes.addressof(buf), 0).ljust(120, b"\0")
        syscall(SYS_BPF, cmd, ctypes.create_string_buffer(attr), 120)
        return buf.raw

    def check(self):
        same("elements", [self.at(1, i) for i in range(3)], [b"\0" * 8, b"\0" * 8, b"elephant"])


@animal
class Epoll(Animal):
    """Level, edge and one-shot, an instance inside another, a target whose number is another file's now."""

    def setup(self):
        self.ready, self.not_ready, self.shot = (call("eventfd", v, os.O_NONBLOCK) for v in (1, 0, 1))
        self.ep, self.inner = select.epoll(), select.epoll()
        moved = call("eventfd", 1, os.O_NONBLOCK)
        self.ep.register(self.ready, select.EPOLLIN)
        self.ep.register(self.not_ready, select.EPOLLIN | select.EPOLLET)
        self.ep.register(self.shot, select.EPOLLIN | select.EPOLLONESHOT)
        self.ep.register(moved, select.EPOLLIN)
        self.inner.register(self.ready, select.EPOLLIN)
        self.ep.register(self.inner.fileno(), select.EPOLLIN)
        self.gone = moved
        self.kept = os.dup(moved)
        os.close(moved)
        os.dup2(os.open("/dev/null", os.O_RDWR), moved)
        same("events at first", self.events(), self.want(True))
        self.targets = self.tfds()

    def want(self, first):
        fds = [self.ready, self.gone, self.inner.fileno()] + ([self.shot] if first else [])
        return sorted((fd, select.EPOLLIN) for fd in fds)

    def events(self):
        return sorted(self.ep.poll(0))

    def tfds(self):
        return sorted(" ".join(s.split()[:6]) for s in fdinfo(self.ep.fileno()).splitlines() if s.startswith("tfd"))

    def check(self):
        same("events", self.events(), self.want(False))
        same("targets", self.tfds(), self.targets)
        os.write(self.not_ready, struct.pack("Q", 1))
        same("edge", [e for e in self.events() if e[0] == self.not_ready], [(self.not_ready, select.EPOLLIN)])
        same("the same edge", [e for e in self.events() if e[0] == self.not_ready], [])
        os.read(self.not_ready, 8)


@animal
class Inotify(Animal):
    def setup(self):
        self.fd = call("inotify_init1", os.O_NONBLOCK)
        os.mkdir("watched")
        open("watched.file", "w").close()
        self.wd = [call("inotify_add_watch", self.fd, n, 0x102) for n in (b"watched", b"watched.file")]

    def check(self):
        open("watched/new", "w").close()
        os.unlink("watched/new")
        with open("watched.file", "w") as f:
            f.write("x")
        got, at, buf = [], 0, drained(self.fd)
        while at < len(buf):
            wd, mask, _, n = struct.unpack_from("iIII", buf, at)
            got.append((wd, mask, buf[at + 16:at + 16 + n].rstrip(b"\0")))
            at += 16 + n
        same("events", sorted(set(got)), [(self.wd[0], 0x100, b"new"), (self.wd[1], 2, b"")])


@animal
class Fanotify(Animal):
    def setup(self):
        try:
            self.fd = call("fanotify_init", 2, os.O_RDONLY)
        except OSError as e:
            raise Absent(str(e))
        os.mkdir("fan")
        open("fan/file", "w").close()
        call("fanotify_mark", self.fd, 1, ctypes.c_uint64(0x20 | 0x08000000), -100, b"fan")

    def check(self):
        os.close(os.open("fan/file", os.O_RDONLY))
        true("no event", readable(self.fd))
        fds = [struct.unpack_from("IBBHQii", e)[5] for e in [os.read(self.fd, 24)]]
        same("file", [os.path.basename(os.readlink("/proc/self/fd/%d" % fd)) for fd in fds], ["file"])
        for fd in fds:
            os.close(fd)


@animal
class ProcFiles(Animal):
    def setup(self):
        self.own = os.open("/proc/self/comm", os.O_RDWR)
        self.maps = os.open("/proc/%d/task" % os.getpid(), os.O_RDONLY)
        gone = child(lambda: signal.pause())
        self.dead = os.open("/proc/%d/status" % gone, os.O_RDONLY)
        self.general = os.open("/proc/sys/kernel/hostname", os.O_RDONLY)
        os.kill(gone, signal.SIGKILL)
        os.waitpid(gone, 0)

    def check(self):
        os.write(self.own, b"renamed")
        with open("/proc/self/comm") as f:
            same("comm", f.read(), "renamed\n")
        true("threads", str(os.getpid()) in os.listdir(self.maps))
        true("the host's name", os.pread(self.general, 100, 0))
        try:
            os.pread(self.dead, 100, 0)
        except ProcessLookupError:
            return
        true("the dead answers", False)


@animal
class NamespaceFile(Animal):
    def setup(self):
        self.names = {n: os.readlink("/proc/self/ns/" + n) for n in ("uts", "ipc", "mnt", "user")}
        self.fds = {n: os.open("/proc/self/ns/" + n, os.O_RDONLY) for n in self.names}

    def check(self):
        for n, fd in self.fds.items():
            same(n, os.readlink("/proc/self/fd/%d" % fd), self.names[n])
            same(n, os.fstat(fd).st_ino, os.stat("/proc/self/ns/" + n).st_ino)


@animal
class CgroupFile(Animal):
    def setup(self):
        tops = [p for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids")
                if os.path.exists(p + "/cgroup.procs")]
        if not tops:
            raise Absent("no cgroup file system at /sys/fs/cgroup")
        self.fd, self.dir = os.open(tops[0] + "/cgroup.procs", os.O_RDONLY), os.open(tops[0], os.O_DIRECTORY)

    def check(self):
        true("no processes", isinstance(os.pread(self.fd, 1000, 0), bytes))
        true("files", "cgroup.procs" in os.listdir(self.dir))
