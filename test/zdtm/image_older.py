#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Snapshots again and again into one directory: it holds a whole checkpoint at every instant, whatever becomes of a dump:
# refused, vetoed by a script, killed alone or with its guardian, or on a full disk. --stress: 1,000 random kills.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 600
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

from case import guardians
from driver import check, children, run_all, scenario, state_of, text, wait_for

STRESS = os.environ.get("STRESS") == "1"
HIDDEN = (".checkpoint.new", ".checkpoint.part", ".checkpoint.whole", ".checkpoint.undo")
WAIT = """[ "$CRTOOLS_SCRIPT_ACTION" = pre-dump ] || exit 0
cd %s; touch here; while [ ! -e go ]; do sleep 0.01; done; rm go here"""

# A count stands in memory, twice, and as the position of a file (which is in another image): all of one generation.
VICTIM = r"""
import ctypes, mmap, os, socket, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
a, b = mmap.mmap(-1, 1 << 16), mmap.mmap(-1, 1 << 20)
fd = os.open("counted", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
n, kept = 0, []
open("ready", "w").close()
while True:
    at = os.lseek(fd, 0, os.SEEK_CUR)
    if (int.from_bytes(a[:8], "little"), int.from_bytes(b[-8:], "little"), at) != (n, n, n):
        open("broken", "w").write("%r" % ((a[:8], b[-8:], at, n),))
        os._exit(1)
    n += 1
    a[:8] = n.to_bytes(8, "little")
    b[-8:] = n.to_bytes(8, "little")
    os.lseek(fd, n, os.SEEK_SET)
    if os.path.exists("ask"):
        os.rename("ask", "answered")
    if os.path.exists("tcp") and not kept:
        l = socket.create_server(("127.0.0.1", 0))
        kept = [l, socket.create_connection(l.getsockname()), l.accept()]
        os.rename("tcp", "tcp.done")
    time.sleep(0.0005)
"""


def start(s):
    if os.path.exists(s.path("ready")):
        os.unlink(s.path("ready"))
    s.proc = subprocess.Popen([sys.executable, "-c", VICTIM], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")), 20), "the victim is not ready")
    for n in ("descriptors.json", "config.dump", "parent"):
        with open(os.path.join(s.imgs, n), "w") as f:
            f.write(n)
    s.inode = os.stat(s.imgs).st_ino


def runs_on(s, why):
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("answered")) or os.path.exists(s.path("broken")), 20), why + ": no answer")
    os.unlink(s.path("answered"))
    check(not os.path.exists(s.path("broken")), "%s: it is a mixture: %s" % (why, text(s.path("broken"))))


def reads_whole(s, why, imgs=None, wrap=()):
    """A restore reads and checks all, and is refused because the tree runs. True; False if it was restored: it was dead."""
    log = s.path("read.log")
    p = subprocess.run([*wrap, s.criu, "restore", "-d", "-D", imgs or s.imgs, "-W", s.dir, "-v4", "-o", log], cwd=s.dir,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    if p.returncode == 0:
        s.proc = None
        return False
    said = " | ".join(x for x in text(log).splitlines() if "Error" in x) or p.stdout.decode(errors="replace")
    check("is taken" in said, "%s: no whole checkpoint: %s; there is %s" % (why, said, everything(s)))
    return True


def everything(s):
    return sorted(os.path.relpath(os.path.join(d, f), s.imgs) for d, _, fs in os.walk(s.imgs) for f in fs)


def sums(s):
    return dict(x.rsplit(" ", 2)[::2] for x in text(s.imgs + "/checkpoint.sums").splitlines()[1:-1])


def in_order(s, why):
    """Nothing but the checkpoint and what is not ours lies there."""
    left = [n for n in HIDDEN if os.path.exists(os.path.join(s.imgs, n))]
    check(not left, "%s: left: %s" % (why, left))
    images = {n for n in os.listdir(s.imgs) if n.endswith(".img")}
    check(images == set(sums(s)), "%s: images %s, listed %s" % (why, sorted(images), sorted(sums(s))))
    for n in ("descriptors.json", "config.dump", "parent"):
        check(text(os.path.join(s.imgs, n)) == n, "%s: %s is gone" % (why, n))
    check(os.stat(s.imgs).st_ino == s.inode, "%s: another directory" % why)


def as_it_lies(s, why):
    """Read by a restore that may not put anything in order."""
    fd = os.open(s.imgs, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # the guardian is at work
    try:
        return reads_whole(s, why + ", as it lies")
    finally:
        os.close(fd)


def fails(s, why, *opts, words=None):
    before = sums(s)
    s.dump("-R", *opts, ok=False)
    check(s.rc, "%s: the dump succeeds" % why)
    if words:
        check(words in s.errors("dump.log"), "%s: does not say %r: %s" % (why, words, s.errors("dump.log")))
    check(sums(s) == before, "%s: another checkpoint" % why)
    check(reads_whole(s, why), why + ": was dead")
    in_order(s, why)
    runs_on(s, why)


def restored(s, why):
    """The victim is killed, and comes back from what lies there."""
    s.kill()
    s.restore()
    runs_on(s, why)


@scenario
def refused_and_vetoed(s):
    start(s)
    s.dump("-R")
    in_order(s, "the first")
    first = sums(s)
    s.dump("-R")
    in_order(s, "the second")
    check(sums(s) != first, "the second one is the first")
    for when in ("pre-dump", "network-lock", "post-dump"):
        script = s.script("veto", '[ "$CRTOOLS_SCRIPT_ACTION" != %s ]' % when)
        if when != "network-lock":
            fails(s, "a veto at " + when, "--action-script", script)
    seen = s.script("look", '[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0; cp -r "$CRTOOLS_IMAGE_DIR" %s' % s.path("copy"))
    s.dump("-R", "--action-script", seen)
    check(set(os.listdir(s.path("copy"))) >= set(sums(s)) | {"checkpoint.sums"}, "the script does not see the new images")
    check(text(s.path("copy/checkpoint.sums")) == text(s.imgs + "/checkpoint.sums"), "the script sees other ones")
    restored(s, "after a veto")
    s.dump("-R")
    open(s.path("tcp"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("tcp.done"))), "no connection")
    fails(s, "refused", words="--tcp-established")
    restored(s, "after a refusal")


@scenario
def of_criu(s):
    """The older one has no integrity file."""
    start(s)
    s.dump("-R")
    os.unlink(s.imgs + "/checkpoint.sums")
    script = s.script("veto", '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]')
    s.dump("-R", "--action-script", script, ok=False)
    check(s.rc and not os.path.exists(s.imgs + "/checkpoint.sums"), "not taken back")
    restored(s, "CRIU's, after a veto")
    s.dump("-R")
    in_order(s, "after CRIU's")


@scenario
def another_tree(s):
    """Nothing of the older tree is left."""
    start(s)
    s.dump()
    older = s.pid
    start(s)
    s.dump("-R")
    in_order(s, "another tree")
    check("core-%d.img" % s.pid in sums(s) and not os.path.exists("%s/core-%d.img" % (s.imgs, older)), "the older one is there")


@scenario
def two_dumps(s):
    start(s)
    wait = s.script("wait", WAIT % s.dir)
    p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-o", "first.log", "-R", "--action-script", wait],
                         cwd=s.dir, stdin=subprocess.DEVNULL)
    check(wait_for(lambda: os.path.exists(s.path("here"))), "no script was run")
    s.dump("-R", ok=False)
    check(s.rc and "another dump is writing into this image directory" in s.errors("dump.log"), s.errors("dump.log"))
    open(s.path("go"), "w").close()
    check(p.wait(60) == 0, "the first one fails")
    in_order(s, "two dumps")
    restored(s, "two dumps")


def disk_full_at(s, size):
    with open(s.imgs + "/filler", "wb") as f:
        fs = os.statvfs(s.imgs)
        free = fs.f_bavail * fs.f_frsize - size
        while free > 0:
            f.write(b"x" * min(free, 1 << 16))
            free -= 1 << 16
    try:
        before = sums(s)
        s.tool("dump", "-t", s.pid, "-D", s.imgs, "-W", s.dir, "-v4", "-o", "dump.log", "-R")
        if s.rc:
            check("No space left" in text(s.path("dump.log")), "%d bytes: %s" % (size, s.out))
            check(sums(s) == before, "%d bytes: another checkpoint" % size)
        check(reads_whole(s, "%d bytes" % size), "%d bytes: it died" % size)
        in_order(s, "%d bytes" % size)
        runs_on(s, "%d bytes" % size)
        return s.rc == 0
    finally:
        os.unlink(s.imgs + "/filler")


@scenario
def full_disk(s):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", s.imgs], check=True)
    try:
        start(s)
        s.tool("dump", "-t", s.pid, "-D", s.imgs, "-W", s.dir, "-v4", "-o", "dump.log", "-R")
        check(s.rc == 0, s.out)
        need = sum(os.path.getsize(os.path.join(s.imgs, n)) for n in os.listdir(s.imgs)) + (200 << 10)
        sizes = [k * 4096 for k in range(0, need // 4096 + 1, 1 if STRESS else max(1, need // 4096 // 24))]
        done = [disk_full_at(s, k) for k in sizes]
        check(not done[0] and disk_full_at(s, need * 2), "it is full at no point, or always")
        print("%d of %d full disks" % (done.count(False), len(done)))
        s.kill()
        s.tool("restore", "-d", "-D", s.imgs, "-W", s.dir, "-v4", "-o", "restore.log")
        check(s.rc == 0, "restore: " + s.out)
        s.proc = None
        runs_on(s, "after full disks")
        s.kill()
    finally:
        subprocess.run(["umount", s.imgs], check=True)


def kill_both(p):
    """At once, as far as that can be: the guardian has no moment to act."""
    kids = [k for k in children(p.pid) if text("/proc/%d/comm" % k) == "criu-guardian\n"]
    for k in kids:
        os.kill(k, signal.SIGKILL)
    p.kill()


def is_at_point(s, p, guardian):
    if p.poll() is not None:
        return True
    killed = "killed at fault point" in text(s.imgs + "/dump.log")
    if state_of(p.pid) == "t" and not killed:  # a signal (its script has ended) waits for its tracer
        os.kill(guardian, signal.SIGCONT)
        time.sleep(0.001)
        if state_of(guardian) not in ("Z", "gone"):
            os.kill(guardian, signal.SIGSTOP)
    return killed and state_of(p.pid) in "tZ"


def points_of_exchange(s):
    s.dump("-R")
    s.dump("-R", "--test-kill-at", 100000)
    points = [int(n) for n in re.findall(r"fault point (\d+): (?:images written|an older|the older|the new|an image|sealed|about"
                                         "|committed|exitkill)", text(s.imgs + "/dump.log"))]
    check(len(points) >= 8, "the points: %s" % points)
    return points


@scenario
def guardian_puts_back(s):
    """criu alone dies, holding its locks of the checkpoint: the guardian leaves nothing for a later command to put in order."""
    start(s)
    for n in points_of_exchange(s):
        p = subprocess.run([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log", "-R", "--test-kill-at", str(n)],
                           cwd=s.dir, stdin=subprocess.DEVNULL, timeout=60)
        check(p.returncode in (0, -signal.SIGKILL), "point %d: it ends with %d" % (n, p.returncode))
        check(wait_for(lambda: not guardians(), 20), "point %d: the guardian stays" % n)
        in_order(s, "point %d" % n)
        check(reads_whole(s, "point %d" % n), "point %d: it died" % n)
        runs_on(s, "point %d" % n)


@scenario
def killed_at_points(s):
    """criu and its guardian die together at each fault point of the exchange. Read as it lies, from a read-only mount too."""
    start(s)
    points = points_of_exchange(s)
    script = s.script("wait", WAIT % s.dir)
    for n in points:
        p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log", "-R", "--test-kill-at",
                              str(n), "--action-script", script], cwd=s.dir, stdin=subprocess.DEVNULL)
        check(wait_for(lambda: os.path.exists(s.path("here"))), "no script was run")
        guardian = next(k for k in children(p.pid) if text("/proc/%d/comm" % k) == "criu-guardian\n")
        os.kill(guardian, signal.SIGSTOP)
        open(s.path("go"), "w").close()
        check(wait_for(lambda: is_at_point(s, p, guardian), 30),
              "point %d: not killed: %s, %s" % (n, state_of(p.pid), text(s.imgs + "/dump.log").splitlines()[-3:]))
        if state_of(guardian) not in ("Z", "gone"):
            os.kill(guardian, signal.SIGKILL)
        check(p.wait(60) in (0, -signal.SIGKILL), "point %d: it ends with %d" % (n, p.returncode))  # 0: fewer points this time
        ro = ("unshare", "-m", "--propagation", "private", "sh", "-c",
              'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"', s.imgs)
        before = everything(s)
        check(reads_whole(s, "point %d, read-only" % n, wrap=ro), "point %d: it died" % n)
        as_it_lies(s, "point %d" % n)
        check(everything(s) == before, "point %d: something was moved" % n)
        if n % 3 == 0:
            restored(s, "point %d" % n)
        elif n % 3 == 1:
            reads_whole(s, "point %d, put in order" % n)
        else:
            s.dump("-R")
        in_order(s, "point %d" % n)
        runs_on(s, "point %d" % n)


@scenario
def killed_at_random(s):
    rounds = 1000 if STRESS else 40
    rng = random.Random(10)
    start(s)
    began = time.monotonic()
    s.dump("-R")
    length = (time.monotonic() - began) * 1.2
    died = killed = unsettled = 0
    for i in range(rounds):
        how = rng.choice(("criu", "both", "both", "criu", "none"))
        when = rng.uniform(0, length)
        why = "round %d (%s killed after %.1f ms)" % (i, how, when * 1000)
        p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log", "-R"], cwd=s.dir,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if how != "none":
            time.sleep(when)
            if how == "both":
                kill_both(p)
            else:
                p.kill()
            # While the guardian works, too.
            if not as_it_lies(s, why):
                died += 1
        killed += p.wait(60) == -signal.SIGKILL
        unsettled += any(os.path.exists(os.path.join(s.imgs, n)) for n in HIDDEN)
        if how != "both":
            check(wait_for(lambda: not guardians()), why + ": the guardian stays")
        if not reads_whole(s, why):
            died += 1
        in_order(s, why)
        runs_on(s, why)
        if i % 20 == 19:
            restored(s, why)
    print("%d of %d killed, %d left something to be put in order, %d victims died" % (killed, rounds, unsettled, died))


@scenario
def read_meanwhile(s):
    """Restores of the older one, again and again, while new ones are made."""
    start(s)
    s.dump("-R")
    stop, wrong, count = [], [], [0]

    def reader():
        while not stop:
            try:
                check(reads_whole(s, "meanwhile"), "it was dead")
                count[0] += 1
            except Exception as e:
                wrong.append(str(e))
                return
    t = threading.Thread(target=reader)
    t.start()
    try:
        for i in range(300 if STRESS else 30):
            s.dump("-R")
            in_order(s, "round %d" % i)
    finally:
        stop.append(1)
        t.join()
    check(not wrong, wrong and wrong[0])
    check(count[0] > 5, "%d were read" % count[0])
    runs_on(s, "read meanwhile")


@scenario
def many_files(s):
    """What lies there beside it may be much."""
    start(s)
    for i in range(500):
        open("%s/other-%d.txt" % (s.imgs, i), "w").close()
    s.dump("-R")
    s.dump("-R")
    in_order(s, "many files")
    check(len([n for n in os.listdir(s.imgs) if n.startswith("other-")]) == 500, "others are gone")
    shutil.rmtree(s.imgs)


run_all()
