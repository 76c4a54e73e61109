#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Lazy pages: what a program reads while its memory is still missing is what it had (lazy_memory.c looks), whoever is killed meanwhile,
# the daemon, the process that goes on in its place, or the restore; peers that lie; pages that cannot be read; a dump in the middle.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 1200
import glob
import os
import random
import re
import signal
import socket
import struct
import subprocess
import time

import driver
from chain import link, pre_dump, prev, stored
from case import Failed, Skipped, alive
from driver import check, children, need, reap, rounds_wanted, run_all, scenario, state_of, text, wait_for

SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().getrandbits(32)
dice = random.Random(SEED)
FINISHED = 0x52535446
MIB = "160"
STRESS = bool(os.environ.get("STRESS"))
KILLED_MIB = MIB if STRESS else "64"  # where a round follows the other


def opened(pid):
    """The paths of its descriptors; it may be ending."""
    for f in glob.glob("/proc/%d/fd/*" % pid):
        try:
            yield os.readlink(f)
        except OSError:
            pass


class Daemon:
    def __init__(self, s, *opts):
        self.s = s
        self.status, ours = os.pipe()
        self.log = s.imgs + "/lazy.log"
        if os.path.exists(self.log):
            os.unlink(self.log)
        self.proc = subprocess.Popen([s.criu, "lazy-pages", "-D", s.imgs, "-v4", "-o", "lazy.log", "--status-fd", str(ours), *opts],
                                     cwd=s.dir, pass_fds=[ours], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(ours)
        check(os.read(self.status, 1) == b"\0", "the daemon does not listen: %s" % text(self.log))
        os.close(self.status)
        self.pid = self.proc.pid
        driver._live.append(self)  # its status is for ends()

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def ends(self, seconds=20):
        try:
            return self.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed("the daemon goes on: %s" % text(self.log)[-600:])

    def holders(self):
        """Those that have the descriptors: who serves, and who goes on if that one is killed."""
        return [p for p in [self.pid] + keepers()
                if self.log in opened(p)]

    def kill_one(self, pick):
        """One of two: whoever is left makes another one. Whether there were two."""
        if not wait_for(lambda: len(self.holders()) != 1, 10):
            raise Failed("nobody takes the place of who was killed: %s" % text(self.log)[-600:])
        found = self.holders()
        if len(found) < 2:
            return False  # all memory is there
        one = found[pick % len(found)]
        os.kill(one, signal.SIGKILL)
        # On a busy machine it may be a while until it has gone: the other one is not to be killed meanwhile.
        wait_for(lambda: (self.proc.poll(), one not in self.holders())[1], 20)
        return True


def keepers():
    return [int(p) for p in os.listdir("/proc") if p.isdigit() and text("/proc/%s/comm" % p).strip() == "lazy-keeper"]


def start(s, mib=MIB):
    if os.path.exists(s.path("second")):
        os.unlink(s.path("second"))
    s.victim("lazy_memory", [mib])


def dumped(s, mib=MIB):
    start(s, mib)
    s.dump()
    s.proc = None


def lazy(s, *opts, **kw):
    return s.restore("--lazy-pages", *opts, **kw)


def nobody_left(s):
    """No task, and no process of criu's."""
    check(wait_for(lambda: (reap(), state_of(s.pid) == "gone")[1]), "a task is left")
    check(wait_for(lambda: (reap(), not keepers())[1]), "a process that would go on is left")


def nothing_left(s):
    nobody_left(s)
    check(not os.path.exists(s.imgs + "/lazy-pages.socket"), "the socket is left")


def later(s):
    return sum(int(l.split(": ")[1].split()[0]) for l in text(s.imgs + "/restore.log").splitlines() if "pages come later" in l)


@scenario
def plain(s):
    dumped(s)
    d = Daemon(s)
    lazy(s)
    check(later(s) > 50000, "too little comes later: %d pages" % later(s))
    s.verify()
    check(d.ends() == 0, "the daemon says %s" % text(d.log)[-600:])
    nothing_left(s)
    # Once more, while nobody touches it; then nothing is watched any more.
    d = Daemon(s)
    lazy(s)
    check(d.ends() == 0, "the daemon says %s" % text(d.log)[-600:])
    flags = [l.split() for l in text("/proc/%d/smaps" % s.pid).splitlines() if l.startswith("VmFlags")]
    check(flags and not any("um" in f for f in flags), "memory is still watched")
    s.verify()
    # An eager restore of the same images does without.
    s.restore()
    s.verify()


@scenario
def out_of_a_chain(s):
    """Most of its pages are in the checkpoint before."""
    if s.tool("check", "--feature", "mem_dirty_track"):
        raise Skipped("memory is not tracked here")
    before_this = s.imgs
    start(s, "48")
    pre_dump(s, 0)
    link(s, 1)
    s.dump(*prev(1))
    s.proc = None
    check(stored(s, 1) < stored(s, 0) / 4, "%d bytes, and %d before" % (stored(s, 1), stored(s, 0)))
    d = Daemon(s)
    lazy(s)
    check(later(s) > 10000, "too little comes later: %d pages" % later(s))
    s.verify()
    check(d.ends() == 0, "the daemon says %s" % text(d.log)[-600:])
    nothing_left(s)
    s.imgs = before_this


@scenario
def background(s):
    dumped(s, "16")
    s.tool("lazy-pages", "--daemon", "--pidfile", "lazy.pid", "-D", s.imgs, "-o", "lazy.log", "-v4")
    check(s.rc == 0, "lazy-pages --daemon: %s" % s.out)
    pid = int(text(s.path("imgs/lazy.pid")))
    check(alive(pid), "no daemon has the pid of the pid file")
    lazy(s)
    s.verify()
    check(wait_for(lambda: (reap(), state_of(pid) == "gone")[1]), "the daemon goes on")
    nothing_left(s)


@scenario
def no_daemon(s):
    dumped(s, "16")
    lazy(s, ok=False)
    check(s.rc == 1 and "no lazy-pages daemon listens" in s.out and "start criu lazy-pages" in s.out, s.out)
    nothing_left(s)
    d = Daemon(s)
    d.kill()  # leaves its socket
    lazy(s, ok=False)
    check(s.rc == 1 and "no lazy-pages daemon listens" in s.out, s.out)
    d = Daemon(s)
    lazy(s)
    s.verify()
    d.ends()


@scenario
def daemon_killed(s):
    """In the middle, and who takes its place, and who takes that one's; the restored tree never notices."""
    dumped(s, KILLED_MIB)
    killed = 0
    for _ in range(rounds_wanted(12 if STRESS else 8)):
        d = Daemon(s)
        lazy(s)
        open(s.path("verify"), "w").close()
        for _ in range(dice.randint(1, 4)):
            time.sleep(dice.random() * 0.04)
            killed += d.kill_one(dice.randint(0, 1))
        s.verify()
        nothing_left(s)
    check(killed, "in no round anything was missing any more")


@scenario
def stopped_before_killed(s):
    """The daemon holds messages that it has not answered."""
    dumped(s, KILLED_MIB)
    took_over = 0
    for _ in range(rounds_wanted(6 if STRESS else 4)):
        d = Daemon(s)
        lazy(s)
        open(s.path("verify"), "w").close()
        time.sleep(dice.random() * 0.05)
        d.proc.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        d.kill()
        s.verify()
        took_over += "goes on in its place" in text(d.log)
        nothing_left(s)
    check(took_over, "in no round anything was missing any more")


@scenario
def any_instant(s):
    """The daemon or the restore is killed while the restore runs: nothing comes back, or all is right."""
    dumped(s, KILLED_MIB)
    restored = 0
    for i in range(rounds_wanted(20 if STRESS else 12)):
        d = Daemon(s)
        p = subprocess.Popen([s.criu, "restore", "-d", "-D", s.imgs, "--lazy-pages", "-o", "restore.log", "-v4"], cwd=s.dir,
                             stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.random() * 0.12)
        (d.proc if i % 2 else p).kill()
        rc = p.wait(60)
        left = not wait_for(lambda: (reap(), state_of(s.pid) == "gone")[1], 2)
        if rc == 0 or (rc == -signal.SIGKILL and left):
            restored += 1  # killed after the commit: the tree is restored
            s.verify()
        else:
            check(not left, "a restore that failed has left a task")
        if d.proc.poll() is None and os.path.exists(s.imgs + "/lazy-pages.socket"):
            d.kill()  # the restore never reached it: it would wait for the next one
        d.ends()
        nobody_left(s)
    print("any_instant: %d were restored" % restored, flush=True)
    d = Daemon(s)
    lazy(s)
    s.verify()
    check(d.ends() == 0, text(d.log)[-600:])


@scenario
def restore_killed(s):
    """At each fault point: nothing is left, the daemon ends by itself if it was reached, and the next restore is right."""
    dumped(s, "16")
    point, undone, committed = 1, 0, 0
    while True:
        d = Daemon(s)
        lazy(s, "--test-kill-at", point, ok=False)
        if s.rc == 0:
            break
        check(s.rc == -signal.SIGKILL, "point %d: %s" % (point, s.out))
        if wait_for(lambda: (reap(), state_of(s.pid) == "gone")[1], 2):
            undone += 1
        else:
            committed += 1
            s.verify()
        if d.proc.poll() is None and os.path.exists(s.imgs + "/lazy-pages.socket"):
            d.kill()  # not reached: it would wait for the next restore
        d.ends()
        nobody_left(s)
        point += 1
    check(undone > 10 and 1 <= committed <= 3, "%d points before the commit, %d after" % (undone, committed))
    s.proc = None
    s.verify()
    check(d.ends() == 0, text(d.log)[-600:])


def connect(s):
    c = socket.socket(socket.AF_UNIX)
    c.connect(s.path("imgs/lazy-pages.socket"))
    return c


@scenario
def bad_peers(s):
    dumped(s, "16")
    d = Daemon(s)
    stalled = [connect(s) for _ in range(20)]
    half = connect(s)
    half.send(b"\1\2")
    for words in (struct.pack("<i", s.pid) + b"x", struct.pack("<i", 0), os.urandom(4096), struct.pack("<i", 99999999) + b"y" * 100):
        c = connect(s)
        try:
            c.send(words)
            c.shutdown(socket.SHUT_WR)
            c.settimeout(5)
            while c.recv(100):
                pass
        except OSError:
            pass
        c.close()
    null = os.open("/dev/null", os.O_RDONLY)
    c = connect(s)
    c.send(struct.pack("<i", s.pid))
    socket.send_fds(c, [b"x"], [null, null])
    c.settimeout(5)
    check(c.recv(10) == b"", "a descriptor that is no userfaultfd is taken")
    check(d.proc.poll() is None, "the daemon has ended: %s" % text(d.log)[-600:])
    lazy(s)
    s.verify()
    check(d.ends() == 0, "the daemon says %s" % text(d.log)[-600:])
    for c in stalled + [half]:
        c.close()
    # One that never answers costs --timeout.
    l = socket.socket(socket.AF_UNIX)
    l.bind(s.path("imgs/lazy-pages.socket"))
    l.listen()
    began = time.monotonic()
    lazy(s, "--timeout", 1, ok=False)
    check(s.rc == 1 and time.monotonic() - began < 20 and "none came in time" in s.out, s.out)
    l.close()
    os.unlink(s.path("imgs/lazy-pages.socket"))
    nothing_left(s)


@scenario
def unreadable(s):
    """The pages file has lost its end: no byte of it is ever read as zero."""
    dumped(s)
    d = Daemon(s)
    lazy(s)
    d.proc.send_signal(signal.SIGSTOP)
    for n in glob.glob(s.path("imgs/pages-*.img")):
        os.truncate(n, 4096)
    d.proc.send_signal(signal.SIGCONT)
    open(s.path("verify"), "w").close()
    s.gone()
    said = text(s.path("result"))
    check("PASS" not in said and " is 0" not in said, said)
    rc = d.ends()
    check(rc == 1 and "cannot be read from the checkpoint" in text(d.log), "%d: %s" % (rc, text(d.log)[-600:]))
    for p in children(os.getpid()):
        if text("/proc/%d/comm" % p).strip() == "exe":
            os.kill(p, signal.SIGKILL)
    reap()
    os.unlink(s.path("verify"))


@scenario
def flipped(s):
    """One bit of a page is another than it was: no task gets that page."""
    for options in ([], ["--compress", "zstd"]):
        start(s)
        s.dump(*options)
        s.proc = None
        path = max(glob.glob(s.path("imgs/pages-*.img")), key=lambda n: os.stat(n).st_size)
        with open(path, "r+b") as f:
            f.seek(os.stat(path).st_size // 2)
            byte = f.read(1)[0]
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte ^ 16]))
        d = Daemon(s)
        lazy(s)
        open(s.path("verify"), "w").close()
        s.gone()
        said = text(s.path("result"))
        check("PASS" not in said, said)
        rc = d.ends()
        check(rc == 1 and re.search("pid %d: the .*page" % s.pid, text(d.log)), "%d: %s" % (rc, text(d.log)[-600:]))
        s.clean_images()
        nobody_left(s)


@scenario
def dumped_again(s):
    """While pages are missing a dump is refused by name; afterwards it is as any other."""
    dumped(s, "512")
    refused = 0
    os.mkdir(s.path("again"))
    for _ in range(4):
        d = Daemon(s)
        lazy(s)
        s.tool("dump", "-t", s.pid, "-D", s.path("again"), "-R", "-o", "dump.log", "-v4")
        if s.rc:
            refused += 1
            check("lazy-pages" in s.out, s.out)
        d.ends()
        if refused:
            break
        s.kill()
        s.proc = None
    check(refused, "every time all was there before the dump began")
    s.tool("dump", "-t", s.pid, "-D", s.path("again"), "-o", "dump.log", "-v4")
    check(s.rc == 0, s.out)
    s.gone()
    s.imgs = s.path("again")
    s.restore()
    s.verify()


@scenario
def options(s):
    dumped(s, "16")
    for args, words in ((("lazy-pages", "--page-server"), "--page-server"), (("dump", "-t", "1", "--lazy-pages", "--stream"), "--stream"),
                        (("restore", "--lazy-pages", "--stream"), "--stream")):
        s.tool(*args, "-D", s.imgs)
        check(s.rc == 1 and words in s.out, "%s: %s" % (args, s.out))
    s.tool("lazy-pages", "-D", s.dir)
    check(s.rc == 1 and "inventory.img is missing" in s.out, s.out)
    d = Daemon(s)
    s.tool("lazy-pages", "-D", s.imgs)
    check(s.rc == 1 and "another process listens there" in s.out, s.out)
    d.kill()
    for name in ("uffd", "uffd-noncoop"):
        s.tool("check", "--feature", name)
        check(s.rc == 0, "check --feature %s: %s" % (name, s.out))


def ask_redis(path, *words):
    """One command, its answer as bytes."""
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(60)
    c.connect(path)
    c.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (w.encode() for w in words)))
    said = c.recv(1 << 16)
    c.close()
    return said


def answers_in(path, restore):
    """Seconds until the restored server answers, from the beginning of the restore."""
    began = time.monotonic()
    p = restore()
    while True:
        try:
            if ask_redis(path, "GET", "key:77777").startswith(b"$"):
                break
        except OSError:
            check(p.poll() in (None, 0), "the restore fails")
            time.sleep(0.001)
    first = time.monotonic() - began
    check(p.wait(60) == 0, "the restore fails")
    return first


@scenario
def redis(s):
    """300 MB of keys: the first answer long before all of it is there, and every key is right."""
    need("redis-server")
    path = s.path("redis.sock")
    with open(s.path("redis.out"), "w") as out:
        s.proc = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--enable-debug-command", "yes"],
                                  cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(path)), "redis does not start")
    check(ask_redis(path, "DEBUG", "POPULATE", "250000", "key", "1000") == b"+OK\r\n", "DEBUG POPULATE")
    digest = ask_redis(path, "DEBUG", "DIGEST")
    s.dump()
    s.proc = None

    def begin(*opts):
        return subprocess.Popen([s.criu, "restore", "-d", "-D", s.imgs, "-o", "restore.log", "-v4", *opts], cwd=s.dir,
                                stdin=subprocess.DEVNULL)
    eager = answers_in(path, begin)
    check(ask_redis(path, "DEBUG", "DIGEST") == digest, "keys differ after an eager restore")
    s.kill()
    for served in (False, True):
        d = Daemon(s)
        began = time.monotonic()
        first = answers_in(path, lambda: begin("--lazy-pages"))
        if served:
            check(ask_redis(path, "DEBUG", "DIGEST") == digest, "keys differ while memory comes")
        check(d.ends() == 0, text(d.log)[-600:])
        drained = time.monotonic() - began
        check(ask_redis(path, "DEBUG", "DIGEST") == digest, "keys differ")
        print("redis, first answer: eager %.0f ms, lazy %.0f ms; all there after %.0f ms%s" %
              (eager * 1000, first * 1000, drained * 1000, ", with every key asked for" if served else ""), flush=True)
        check(later(s) > 60000, "too little comes later: %d pages" % later(s))
        s.kill()


print("seed %d" % SEED, flush=True)
run_all()
