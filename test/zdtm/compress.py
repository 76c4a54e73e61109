#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --compress: memory of many kinds (page_kinds.c looks) and what it takes as an image, shared pages stored once, through a streamer, as
# lazy pages, with crit and criu-coredump; damaged files and heads; what is refused.
# zdtm: driver
# zdtm: timeout 400
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time

from case import guardians, runs
from crit_tool import HOME, crit, not_the_same, shown
from driver import check, passed_over, reap, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for
from image_edit import changed, fields, packed
from page_wire import fault_points
from streamer import Streamer

DICE = random.Random(7)
HOWS = ("lz4", "zstd", "zstd:7")
CRIUS, OURS = 2, 1000


def size(s):
    return sum(os.stat(os.path.join(s.imgs, n)).st_size for n in os.listdir(s.imgs) if n.startswith("pages-"))


def version(s):
    """img_version: the first field behind the magic number and the size."""
    with open(os.path.join(s.imgs, "inventory.img"), "rb") as f:
        raw = f.read()
    n = raw[9] & 127
    return n | raw[10] << 7 if raw[9] & 128 else n


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def refused(s, why, *words, options=()):
    pids = [int(n[5:-4]) for n in os.listdir(s.imgs) if n.startswith("core-")]
    s.restore(*options, ok=False)
    said = s.errors("restore.log")
    check(s.rc == 1 and all(w in said for w in words), "%s: %d, not %s: %s" % (why, s.rc, words, said))
    check(wait_for(lambda: (reap(), not [p for p in pids if state_of(p) != "gone"])[1]), "%s: a task is left" % why)


@scenario
def kinds(s):
    """Three rounds each, the images of one restored twice; noise takes what it takes, all else less."""
    s.victim("page_kinds", ["12"])
    s.dump("-R", "--cow-pages", "copy")
    whole = size(s)
    check(version(s) == CRIUS, "version %d" % version(s))
    for how in HOWS:
        for again in range(3):
            s.clean_images()
            s.dump("--compress", how, "--cow-pages", "copy")
            check(size(s) < whole * 0.75, "%s: %d bytes of %d" % (how, size(s), whole))
            check(version(s) == OURS, "%s: version %d" % (how, version(s)))
            s.restore()
            if not again:
                s.kill()
                s.restore()
    s.verify()


@scenario
def much(s):
    """256 MiB, and dumped once more without."""
    s.victim("page_kinds", ["112"])
    s.dump("--compress", "lz4")
    check(size(s) < 150 << 20, "%d bytes" % size(s))
    s.restore()
    s.dump()
    check(size(s) > 224 << 20, "%d bytes" % size(s))
    s.restore()
    s.verify()


@scenario
def once(s):
    """Pages that forks share, stored with the parent process's alone."""
    for how in ("lz4", "zstd"):
        s.victim("page_kinds", ["8"])
        s.dump("-R", "--cow-pages", "once")
        whole = size(s)
        check(whole < 48 << 20, "%d bytes" % whole)
        for _ in range(3):
            s.dump("--compress", how, "--cow-pages", "once")
            check(size(s) < whole * 0.75, "%s: %d bytes of %d" % (how, size(s), whole))
            s.restore()
        s.verify()


@scenario
def programs(s):
    for program in ("cow_children", "memfd", "shmem_parts", "sysv_shm", "huge_pages", "guard_pages", "anon_memory", "file_memory"):
        s.victim(program)
        s.dump("--compress", "zstd")
        s.restore()
        s.verify()


@scenario
def streamed(s):
    s.victim("page_kinds", ["12"])
    for how in ("lz4", "zstd"):
        s.clean_images()
        streamer = Streamer(s.imgs, capture=True)
        s.dump("--stream", "--compress", how)
        files = streamer.done()
        streamer = Streamer(s.imgs, capture=False, files=files)
        s.restore("--stream")
        streamer.done()
    # What a streamer has got is restored from files.
    s.dump("--compress", "lz4")
    s.clean_images()
    for name, data in files.items():
        write(s.path("imgs/" + name), data)
    s.restore()
    s.verify()


@scenario
def lazy(s):
    for how in ("lz4", "zstd"):
        s.victim("lazy_memory", ["64"])
        s.dump("--compress", how)
        daemon = subprocess.Popen([s.criu, "lazy-pages", "-D", s.imgs, "-v4", "-o", "lazy.log"], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(wait_for(lambda: os.path.exists(s.path("imgs/lazy-pages.socket"))), "the daemon does not listen")
        s.restore("--lazy-pages")
        s.verify()
        check(daemon.wait(60) == 0, "the daemon says %s" % text(s.path("imgs/lazy.log"))[-600:])
        s.clean_images()
        os.unlink(s.path("second")) if os.path.exists(s.path("second")) else None


@scenario
def other_readers(s):
    """crit shows them and makes them again; a core file is the same with and without."""
    s.victim("page_kinds")
    for p in tree(s.pid):  # which would not be as they were, otherwise; the number of the CPU is in memory too (rseq)
        for t in os.listdir("/proc/%d/task" % p):
            os.sched_setaffinity(int(t), {min(os.sched_getaffinity(0))})
        os.kill(p, signal.SIGSTOP)
    check(wait_for(lambda: all(state_of(p) == "T" for p in tree(s.pid))), "not all are stopped")
    cores = []
    for how in (None, "lz4", "zstd"):
        s.clean_images()
        s.dump("-R", *["--compress", how] if how else [])
        for name in s.images():
            if name.startswith("pagemap-") or name == "page-sums.img":
                check(not not_the_same(s.path("imgs/" + name)), "%s: crit makes another image" % name)
        said = shown(s.path("imgs/pagemap-%d.img" % s.pid))
        check(('"compression": "%s"' % how.upper() if how else "compression") in said or not how, said[:300])
        check(crit("x", s.imgs, "mems").returncode == 0, "crit x mems")
        out = s.path("cores-%s" % how)
        os.mkdir(out)
        p = subprocess.run([sys.executable, os.path.join(HOME, "criu-coredump"), "-i", s.imgs, "-o", out], capture_output=True, text=True)
        check(p.returncode == 0, p.stderr)
        cores.append(read(os.path.join(out, "core.%d" % s.pid)))
    check(len(cores[0]) > 8 << 20 and cores[1] == cores[0] == cores[2], "the cores differ: %s" % [len(c) for c in cores])
    for p in tree(s.pid):
        os.kill(p, signal.SIGCONT)
    s.verify()


def pages_of_root(s):
    head = next(messages(s.path("imgs/pagemap-%d.img" % s.pid)))[1]
    return s.path("imgs/pages-%d.img" % {n: v for n, _, v in fields(head)}[1])


def messages(path):
    raw = read(path)
    at = 8
    while at < len(raw):
        n = struct.unpack("<I", raw[at:at + 4])[0]
        yield at, raw[at + 4:at + 4 + n]
        at += 4 + n


@scenario
def damaged_pages(s):
    """A bit, anywhere: who and where, by the checksums where it is still a compressed file. Without checksums nothing crashes."""
    for how in ("lz4", "zstd"):
        s.victim("page_kinds", ["6"])
        s.dump("--compress", how)
        path = pages_of_root(s)
        whole = read(path)
        for _ in range(8):
            at = DICE.randrange(len(whole))
            write(path, whole[:at] + bytes([whole[at] ^ 1 << DICE.randrange(8)]) + whole[at + 1:])
            refused(s, how, "pid %d: the page" % s.pid, os.path.basename(path))
        write(path, whole[:-1])
        refused(s, "one byte short", os.path.basename(path))
        sums = read(s.path("imgs/checkpoint.sums"))
        os.unlink(s.path("imgs/checkpoint.sums"))
        refused(s, "one byte short, no list", os.path.basename(path), "bytes")
        for _ in range(6):
            at = DICE.randrange(len(whole) - 4000)
            write(path, whole[:at] + DICE.randbytes(4000) + whole[at + 4000:])
            s.restore(ok=False)
            check(s.rc in (0, 1), "%s: it ends with %d" % (how, s.rc))
            if s.rc == 0:
                s.kill()
            reap()
        write(path, whole)
        write(s.path("imgs/checkpoint.sums"), sums)
        s.restore()
        s.verify()
        s.clean_images()


@scenario
def damaged_heads(s):
    s.victim("page_kinds")
    s.dump("--compress", "lz4")
    os.unlink(s.path("imgs/checkpoint.sums"))
    path = s.path("imgs/pagemap-%d.img" % s.pid)
    whole, (at, head) = read(path), next(messages(path))

    def with_head(new):
        write(path, whole[:at] + struct.pack("<I", len(new)) + new + whole[at + 4 + len(head):])
    parts = [(n, v) for n, _, v in fields(head)]

    def make(listed):
        return b"".join(packed(n, 0, v) for n, v in listed)
    check(make(parts) == head, "the head is made another way")
    first_pages, first_bytes = (next(i for i, (n, _) in enumerate(parts) if n == k) for k in (1001, 1002))
    bad = {
        "no method": [p for p in parts if p[0] != 1000],
        "an unknown method": [(n, 9 if n == 1000 else v) for n, v in parts],
        "the other method": [(n, 2 if n == 1000 else v) for n, v in parts],
        "no regions": [p for p in parts if p[0] < 1001],
        "no sizes": [p for p in parts if p[0] != 1002],
        "a region less": parts[:first_pages] + parts[first_pages + 1:],
        "a region of no pages": [(n, 0 if i == first_pages else v) for i, (n, v) in enumerate(parts)],
        "a huge region": [(n, 100000 if i == first_pages else v) for i, (n, v) in enumerate(parts)],
        "one page more": [(n, v + (i == first_pages)) for i, (n, v) in enumerate(parts)],
        "one page less": [(n, v - (i == first_pages)) for i, (n, v) in enumerate(parts)],
        "no bytes": [(n, 0 if i == first_bytes else v) for i, (n, v) in enumerate(parts)],
        "one byte more": [(n, v + (i == first_bytes)) for i, (n, v) in enumerate(parts)],
    }
    for why, listed in bad.items():
        with_head(make(listed))
        refused(s, why)
        check(re.search("pages-|pagemap-", s.errors("restore.log")), "%s: %s" % (why, s.errors("restore.log")))
    write(path, whole)
    s.restore()
    s.verify()


def command(s, what, *opts):
    return subprocess.Popen([s.criu, what, "-D", s.imgs, "-v4", "-o", what + ".log", *map(str, opts)], cwd=s.dir, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def after_kill(s, pids, why):
    """The tree, unharmed, or its checkpoint, whole; never both, never neither."""
    check(wait_for(lambda: not guardians()), "%s: a guardian lives on" % why)
    if s.proc:
        s.proc.poll()
    if runs(s.pid):
        open(s.path("ask"), "w").close()
        check(wait_for(lambda: not os.path.exists(s.path("ask"))), "%s: no answer" % why)
        check("FAIL" not in text(s.path("result")), "%s: %s" % (why, text(s.path("result"))))
        return
    check(wait_for(lambda: reap() or all(state_of(p) == "gone" for p in pids)), "%s: not all of the tree has ended" % why)
    s.restore()


@scenario
def killed(s):
    """criu, at fault points and at any instant of a dump and of a restore."""
    s.victim("page_kinds", ["24"])
    began = time.monotonic()
    s.dump("--compress", "zstd", "--test-kill-at", 100000)
    lasts = time.monotonic() - began
    points = fault_points(text(s.path("imgs/dump.log")))
    s.restore("--test-kill-at", 100000)
    again = fault_points(text(s.path("imgs/restore.log")))
    check(points > 5 and again > 5, "%d and %d fault points" % (points, again))
    for at in DICE.sample(range(1, points + 1), 6) + [None] * rounds_wanted(5):
        pids, why = tree(s.pid), "dump, point %s" % at
        s.clean_images()
        p = command(s, "dump", "-t", s.pid, "--compress", "zstd", *["--test-kill-at", at] if at else [])
        if not at:
            time.sleep(DICE.random() * lasts)
            p.kill()
        p.wait(60)
        after_kill(s, pids, why)
    s.clean_images()
    s.dump("--compress", "lz4")
    pids = [int(n[5:-4]) for n in os.listdir(s.imgs) if n.startswith("core-")]
    for at in DICE.sample(range(1, again), 6):
        p = command(s, "restore", "-d", "--test-kill-at", at)
        p.wait(60)
        check(wait_for(lambda: not guardians()), "a guardian lives on")
        if runs(s.pid):  # that was behind the commit
            s.kill()
        check(wait_for(lambda: (reap(), not [p for p in pids if state_of(p) != "gone"])[1]), "point %d: a task is left" % at)
    s.restore()
    s.verify()


@scenario
def refusals(s):
    s.victim()
    for word in ("gzip", "zstd:0", "zstd:23", "zstd:", "zstd:3x", "zstd:-1", "lz4:1", ""):
        s.dump("--compress", word, ok=False)
        check(s.rc == 1 and "--compress" in s.out + s.errors("dump.log"), "%s: %d: %s" % (word, s.rc, s.out))
    s.dump("--compress", "lz4", "--page-server", "--address", "127.0.0.1", "--port", "9", ok=False)
    check(s.rc == 1 and "page server" in s.out + s.errors("dump.log"), s.out)
    # A library that cannot be loaded: nothing is frozen; at restore nothing is started.
    empty = s.path("empty")
    write(empty, b"")
    names = subprocess.run(["sh", "-c", "ls /lib/*/libzstd.so.1 /usr/lib/*/libzstd.so.1 /usr/lib64/libzstd.so.1 2>/dev/null"],
                           capture_output=True, text=True).stdout.split()
    real = sorted({os.path.realpath(n) for n in names})
    hide = ["unshare", "-m", "sh", "-c", "".join("mount --bind %s %s && " % (empty, n) for n in real) + 'exec "$@"', "sh"]
    if not real or subprocess.run([*hide, "true"], capture_output=True).returncode:
        passed_over("a library that is missing", "no mount namespace of our own")
    else:
        p = subprocess.run([*hide, s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "--compress", "zstd"], capture_output=True, text=True)
        check(p.returncode == 1 and "libzstd.so.1" in p.stderr, p.stderr)
        s.dump("--compress", "zstd")
        p = subprocess.run([*hide, s.criu, "restore", "-d", "-D", s.imgs], capture_output=True, text=True)
        check(p.returncode == 1 and "libzstd.so.1" in p.stderr, p.stderr)
        s.restore()
    s.verify()


run_all()
