#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu dedup and --auto-dedup: room that is given back, chains that restore as before, older checkpoints that are refused rather than
# give zeros; what cannot be punched; kills at every fault point and at any instant.
# zdtm: driver
# zdtm: timeout 2400
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from case import guardians, runs
from chain import clean, dumped, link, memory, pre_dump, prev, same_memory, stored
from crit_tool import HOME, shown
from driver import check, reap, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for
from page_wire import Server, fault_points, together

MIB = 1 << 20
LOST = "were given back"


def room(s, *numbers):
    """MiB that the pages files of these checkpoints take."""
    return sum(os.stat(os.path.join(d, f)).st_blocks for n in numbers for d in [s.path(str(n))] for f in os.listdir(d)
               if f.startswith("pages-")) * 512 / MIB


def needed(s, last):
    """MiB of those before the last that no later one has in its place."""
    later, pages = {}, 0
    for d in [s.path(str(n)) for n in range(last, -1, -1)]:
        for f in os.listdir(d):
            entries = json.loads(shown(os.path.join(d, f)))["entries"][1:] if f.startswith("pagemap-") else []
            own = {page for e in entries if "PE_PRESENT" in e["flags"] for page in pages_of(e)}
            pages += len(own - later.get(f, set())) if d != s.path(str(last)) else 0
            later[f] = later.get(f, set()) | own
    return pages * 4096 / MIB


def pages_of(entry):
    at = int(entry["vaddr"], 16) // 4096
    return range(at, at + int(entry["nr_pages"]))


def dedup(s, n, *opts, ok=True):
    s.tool("dedup", "-D", s.path(str(n)), "-v4", "-o", "dedup.log", *opts)
    check(s.rc == 0 or not ok, "criu dedup -D %s: %d: %s" % (n, s.rc, s.errors("dedup.log", s.path(str(n)))))
    return text(os.path.join(s.path(str(n)), "dedup.log"))


def punched(s, n):
    return os.path.exists(os.path.join(s.path(str(n)), "punched.img"))


def write(s):
    os.kill(s.pid, signal.SIGUSR1)
    check(wait_for(lambda: os.path.exists(s.path("written"))), "nothing was written")
    os.unlink(s.path("written"))


def refused(s, n, *opts):
    s.imgs = s.path(str(n))
    pids = [int(f[5:-4]) for f in os.listdir(s.imgs) if f.startswith("core-")]
    s.restore(*opts, ok=False)
    check(s.rc == 1 and LOST in s.errors("restore.log"), "%s: %d: %s" % (n, s.rc, s.errors("restore.log")))
    check(wait_for(lambda: (reap(), not [p for p in pids if state_of(p) != "gone"])[1]), "a task is left")


def dump_last(s, n, *opts):
    """The last one of a chain: {pid: memory} of the tree, which stands still at both ends."""
    link(s, n)
    s.dump("-s", *prev(n), *opts)
    pids = [p for p in tree(s.pid) if state_of(p) != "Z"]
    check(wait_for(lambda: all(state_of(p) == "T" for p in pids)), "not all are stopped")
    before = {p: memory(p) for p in pids}
    s.kill()
    return before


def restore_last(s, n, before, why):
    s.imgs = s.path(str(n))
    s.restore("-s")
    for p in before:
        same_memory(before[p], memory(p), "%s, pid %d" % (why, p))
    for p in sorted(before, reverse=True):
        os.kill(p, signal.SIGCONT)


@scenario
def command(s):
    """A chain of pre-dumps and snapshots; the second time nothing is left to do."""
    for number in range(rounds_wanted(1)):
        clean(s)
        s.victim("pre_dump_writer", [str(number + 1)])
        pre_dump(s, 0)
        dumped(s, 1)
        pre_dump(s, 2)
        dumped(s, 3)
        before = dump_last(s, 4)
        was = room(s, 0, 1, 2, 3)
        dedup(s, 4)
        now = room(s, 0, 1, 2, 3)
        check(now < was - 1 and abs(now - needed(s, 4)) < 0.1, "%.2f MiB of %.2f are left, %.2f are needed" % (now, was, needed(s, 4)))
        check([punched(s, n) for n in range(5)] == [True] * 4 + [False], "punched: %r" % [punched(s, n) for n in range(5)])
        restore_last(s, 4, before, "after dedup")
        s.kill()
        refused(s, 1)
        refused(s, 3, "--allow-edited-images")
        p = subprocess.run([sys.executable, os.path.join(HOME, "criu-coredump"), "-i", s.path("1"), "-o", s.dir], capture_output=True, text=True)
        check(p.returncode == 1 and LOST in p.stderr, "criu-coredump: %d: %s" % (p.returncode, p.stderr))
        dedup(s, 4)
        check(room(s, 0, 1, 2, 3) == now, "another room the second time")
        restore_last(s, 4, before, "after the second")
        s.verify()


@scenario
def automatic(s):
    """The whole chain takes hardly more room than its memory, which is 256 MiB."""
    s.victim("pre_dump_large")
    pre_dump(s, 0)
    for n in range(1, 4):
        write(s)
        if n == 2:
            dumped(s, n, "--auto-dedup")
        else:
            pre_dump(s, n, "--auto-dedup")
    write(s)
    link(s, 4)
    s.dump(*prev(4), "--auto-dedup")
    sizes, rooms = [stored(s, n) / MIB for n in range(5)], [room(s, n) for n in range(5)]
    print("MiB stored: %s; that they take: %s" % (" ".join("%.1f" % x for x in sizes), " ".join("%.1f" % x for x in rooms)))
    check(sum(rooms) < 256 + 4 and sum(sizes) > 256 + 8, "room: %r of %r" % (rooms, sizes))
    refused(s, 2)
    s.imgs = s.path("4")
    s.restore()
    s.verify()


@scenario
def nothing_before(s):
    """Without a chain the option does nothing, and says so."""
    s.victim()
    s.dump("--auto-dedup")
    check("no checkpoint before this one" in text(s.path("imgs/dump.log")), "nothing is said")
    dedup(s, "imgs")
    s.restore()
    s.kill()
    os.unlink(s.path("imgs/inventory.img"))
    dedup(s, "imgs", ok=False)
    check(s.rc == 1, "dedup of no checkpoint")


@scenario
def restored(s):
    """A restore gives back all that it has restored, when it has succeeded and not before."""
    s.victim("page_kinds")
    s.dump()
    s.restore("-s")
    s.restore("-s", "--auto-dedup", ok=False)
    check(s.rc == 1 and not punched(s, "imgs"), "a restore that fails (%d) has punched" % s.rc)
    os.kill(s.pid, signal.SIGCONT)
    s.kill()
    was = room(s, "imgs")
    s.restore("--auto-dedup")
    check(room(s, "imgs") < was / 20, "%.2f MiB of %.2f are left" % (room(s, "imgs"), was))
    s.verify()
    refused(s, "imgs")
    refused(s, "imgs", "--allow-edited-images")
    for n in ("checkpoint.sums", "page-sums.img"):
        os.unlink(s.path("imgs/" + n))
    refused(s, "imgs")


@scenario
def restored_chain(s):
    s.victim("pre_dump_writer", ["21"])
    pre_dump(s, 0)
    before = dump_last(s, 1)
    s.imgs = s.path("1")
    s.restore("-s", "--auto-dedup")
    for p in before:
        same_memory(before[p], memory(p), "restored, pid %d" % p)
        os.kill(p, signal.SIGCONT)
    check(punched(s, 0) and punched(s, 1), "not punched")
    s.verify()
    refused(s, 1)


@scenario
def compressed(s):
    """Of compressed pages files the whole goes or nothing, which is said."""
    s.victim("pre_dump_large")
    dumped(s, 0, "--compress", "lz4")
    write(s)
    dumped(s, 1, "--compress", "lz4")
    check("compressed pages file" in dedup(s, 1) + s.out, "nothing is said")
    s.kill()
    for n in (0, 1):
        s.imgs = s.path(str(n))
        s.restore("--auto-dedup" if n else "-d")
        s.kill()
    check(room(s, 1) < 0.1, "%.1f MiB are left" % room(s, 1))
    refused(s, 1)


@scenario
def without_sums(s):
    """As CRIU's checkpoints are: nothing but punched.img says that pages are gone."""
    s.victim("pre_dump_writer", ["22"])
    dumped(s, 0)
    before = dump_last(s, 1)
    for n in ("0/checkpoint.sums", "1/checkpoint.sums", "0/page-sums.img", "1/page-sums.img"):
        os.unlink(s.path(n))
    dedup(s, 1)
    refused(s, 0)
    restore_last(s, 1, before, "without sums")
    s.verify()


@scenario
def left_alone(s):
    """What is read by somebody, what is not the checkpoint that was built on, and a later one that is damaged."""
    s.victim("pre_dump_writer", ["23"])
    dumped(s, 0)
    dumped(s, 1)
    with open(s.path("0/inventory.img"), "rb") as f:
        fcntl.flock(f, fcntl.LOCK_SH)
        check("is reading this checkpoint" in dedup(s, 1, ok=False) and s.rc == 1, "%d: %s" % (s.rc, s.out))
        link(s, 2)
        s.dump("-R", "--track-mem", *prev(2), "--auto-dedup")
        check("could not be given back" in text(s.path("2/dump.log")), "no warning")
    check(not punched(s, 0), "0 is punched")
    s.kill()
    name = [f for f in os.listdir(s.path("2")) if f.startswith("pagemap-")][0]
    with open(s.path("2/" + name), "r+b") as f:
        f.seek(9)
        raw = f.read(1)
        f.seek(9)
        f.write(bytes([raw[0] ^ 1]))
        f.flush()
        check("is damaged" in dedup(s, 2, ok=False) and s.rc == 1, s.out)
        f.seek(9)
        f.write(raw)
    os.rename(s.path("0"), s.path("9"))
    shutil.copytree(s.path("2"), s.path("0"), symlinks=True)
    dedup(s, 1, ok=False)
    check(s.rc == 1, "punched out of another checkpoint")
    shutil.rmtree(s.path("0"))
    os.rename(s.path("9"), s.path("0"))
    s.imgs = s.path("0")
    s.restore()
    s.kill()
    dedup(s, 2)
    refused(s, 0)
    s.imgs = s.path("2")
    s.restore()
    s.verify()


@scenario
def replaced(s):
    """A new dump into the directory takes the note away with what it was about; one on top of what is left stores all."""
    s.victim("pre_dump_writer", ["24"])
    dumped(s, 0)
    dumped(s, 1, "--auto-dedup")
    check(punched(s, 0), "0 is not punched")
    link(s, 2)
    s.dump("-R", "--track-mem", "--prev-images-dir", "../0")
    s.imgs = s.path("0")
    s.dump("-R")
    check(not punched(s, 0), "the note is left")
    s.kill()
    s.restore()
    s.kill()
    s.imgs = s.path("2")
    s.restore()
    s.verify()


@scenario
def page_server(s):
    """The server punches what it has received before, once the dump says that it has committed."""
    s.victim("pre_dump_writer", ["25"])
    server = Server(s, name="0")
    s.dump("-R", "--page-server", "--port", server.port)
    server.ends(0)
    for told in (False, True):
        link(s, "1")
        os.symlink("../0", s.path("1/parent"))
        server = Server(s, "--auto-dedup", name="1")
        s.imgs = s.path("dumped")
        os.makedirs(s.imgs)
        opts = ["--auto-dedup"] if told else []
        s.dump("-d" if told else "-R", "--page-server", "--port", server.port, *opts)
        server.ends(0)
        check(punched(s, "0") == told, "told: %s, punched: %s: %s" % (told, punched(s, "0"), server.said()[-300:]))
        if not told:
            shutil.rmtree(s.path("1"))
            shutil.rmtree(s.imgs)
    together(s, s.path("1"))
    s.restore()
    s.verify()


# ---- kills ----

def copies(s, n):
    """The chain up to n, for one try."""
    for i in range(n + 1):
        shutil.rmtree(s.path("try%d" % i), ignore_errors=True)
        subprocess.run(["cp", "-a", s.path(str(i)), s.path("try%d" % i)], check=True)
        if i:
            os.unlink(s.path("try%d/parent" % i))
            os.symlink("../try%d" % (i - 1), s.path("try%d/parent" % i))


def whole_or_refused(s, n, why):
    """The last one restores; the one before it too, or it is refused; and dedup can be done again."""
    s.imgs = s.path("try%d" % n)
    s.restore()
    s.kill()
    s.imgs = s.path("try%d" % (n - 1))
    s.restore(ok=False)
    check(not s.rc or LOST in s.errors("restore.log"), "%s: %s" % (why, s.errors("restore.log")))
    if not s.rc:
        s.kill()
    dedup(s, "try%d" % n)
    refused(s, "try%d" % (n - 1))


@scenario
def command_killed(s):
    s.victim("pre_dump_writer", ["26"])
    for n in range(3):
        dumped(s, n)
    s.kill()
    at = 0
    while True:
        at += 1
        copies(s, 2)
        dedup(s, "try2", "--test-kill-at", at, ok=False)
        killed = s.rc == -signal.SIGKILL
        whole_or_refused(s, 2, "point %d" % at)
        if not killed:
            break
    check(at > 5, "%d fault points" % at)
    for i in range(rounds_wanted(6)):
        copies(s, 2)
        p = subprocess.Popen([s.criu, "dedup", "-D", s.path("try2")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random() * 0.04)
        p.kill()
        p.wait()
        whole_or_refused(s, 2, "at random, %d" % i)


@scenario
def dump_killed(s):
    """What is older is whole as long as what is new is not."""
    s.victim("pre_dump_writer", ["27"])
    dumped(s, 0)
    dumped(s, 1, "--auto-dedup", "--test-kill-at", 100000)
    most = fault_points(text(s.path("1/dump.log")))
    check(most > 20, "only %d fault points" % most)
    n = 1
    for at in range(most - 20, most + 10):  # those before are pre_dump.py's; each checkpoint more has more of them
        link(s, 1000 + at)
        s.tool("dump", "-R", "-t", s.pid, "-D", s.imgs, "--track-mem", "--auto-dedup", "--prev-images-dir", "../%d" % n, "--test-kill-at", at)
        check(wait_for(lambda: state_of(s.pid) in "SRD"), "kill %d: the victim is %s" % (at, state_of(s.pid)))
        check(s.rc in (0, -signal.SIGKILL), "kill %d: %d: %s" % (at, s.rc, s.out))
        new = wait_for(lambda: not [f for f in os.listdir(s.imgs) if f.startswith(".")]) and os.path.exists(s.imgs + "/checkpoint.sums")
        check(new or not punched(s, n), "kill %d: the older one was punched, and there is no new one" % at)
        if new:
            n = 1000 + at
    check(n > 1, "none has committed")
    s.kill()
    s.imgs = s.path(str(n))
    s.restore()
    s.verify()


@scenario
def restore_killed(s):
    """At each point it stands, or can be restored again."""
    s.victim("pre_dump_writer", ["28"])
    pre_dump(s, 0)
    dumped(s, 1)
    s.kill()
    at = 0
    while True:
        at += 1
        copies(s, 1)
        s.imgs = s.path("try1")
        s.restore("--auto-dedup", "--test-kill-at", at, ok=False)
        done = s.rc == 0
        check(s.rc in (0, -signal.SIGKILL), "kill %d: %d: %s" % (at, s.rc, s.out))
        check(wait_for(lambda: not guardians()), "kill %d: a guardian lives on" % at)
        if not runs(s.pid):
            check(wait_for(lambda: (reap(), state_of(s.pid) == "gone")[1]), "kill %d: the victim is %s" % (at, state_of(s.pid)))
            check(not punched(s, "try1") and not punched(s, "try0"), "kill %d: nothing stands, and the images are punched" % at)
            s.restore()
        s.kill()
        if done:
            break
    check(at > 5, "only %d fault points" % at)


run_all()
