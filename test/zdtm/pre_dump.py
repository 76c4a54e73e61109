#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Chains: pre-dump, dump --prev-images-dir, snapshots with --leave-running. A program that writes in every way, whose memory is
# compared page by page after the restore; chains that are broken, killed at every fault point, or mixed up; the service.
# zdtm: driver
# zdtm: timeout 2400
import os
import random
import shutil
import signal
import subprocess
import time

import rpc
from chain import clean, link, memory, pre_dump, prev, same_memory, stored
from driver import check, need, reap, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for
from driver import Failed, Skipped
from hugepool import Pages

STRESS = bool(os.environ.get("STRESS"))
MIB = 1 << 20


def trackers(pid):
    """Of a process: the memfd of each names it."""
    found = []
    for p in os.listdir("/proc"):
        try:
            if p.isdigit() and text("/proc/%s/comm" % p).strip() == "criu-tracker":
                with open("/proc/%s/fd/0" % p, "rb") as f:
                    raw = f.read()
                tasks = [int.from_bytes(raw[i:i + 4], "little") for i in range(56, len(raw), 16)]
                found += [int(p)] if pid in tasks else []
        except OSError:
            pass
    return found


def one_chain(s, number):
    clean(s)
    s.victim("pre_dump_writer", [str(number + 1)])
    for n in range(3):
        time.sleep(0.02 * (number % 4))
        if (number + n) % 5 == 4:
            link(s, n)
            s.dump("-R", "--track-mem", "--snapshot", ("never", "always")[number % 2], *prev(n))
        else:
            pre_dump(s, n, "--pre-dump-mode", ("splice", "read")[(number + n) % 2])
    link(s, 3)
    s.dump("-s", *prev(3))
    pids = [p for p in tree(s.pid) if state_of(p) != "Z"]
    before = {p: memory(p) for p in pids}
    check(not trackers(s.pid), "a tracker after the last dump of a chain")
    check(wait_for(lambda: all(state_of(p) == "T" for p in pids)), "not all are stopped")
    s.kill()
    s.restore("-s")
    for p in pids:
        same_memory(before[p], memory(p), "chain %d, pid %d" % (number, p))
    for p in reversed(pids):
        os.kill(p, signal.SIGCONT)
    s.verify()


@scenario
def writer(s):
    for number in range(rounds_wanted(1000 if STRESS else 20)):
        one_chain(s, number)


def drop(s, what):
    """Pages of checkpoint 0 that have the mark of one that was not written to, and other contents."""
    try:
        s.victim("pre_dump_dropped", [what])
    except Failed:
        if "SKIP" in text(s.path("result")):
            raise Skipped(text(s.path("result")).strip())
        raise
    pre_dump(s, 0)
    open(s.path("go"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("dropped")) or s.proc.poll() is not None), "nothing was dropped")
    check(s.proc.poll() is None, "the victim says %r" % text(s.path("result")))
    link(s, 1)
    s.dump(*prev(1))
    s.restore()
    s.verify()


@scenario
def dropped(s):
    drop(s, "file")


@scenario
def written_by_ring(s):
    drop(s, "ring")


@scenario
def own_marks(s):
    drop(s, "own")


@scenario
def own_idle(s):
    drop(s, "idle")


def watched(pid):
    """Mappings that a userfaultfd watches."""
    return sum("uw" in line.split() for line in text("/proc/%d/smaps" % pid).splitlines() if line.startswith("VmFlags:"))


@scenario
def marks_stay(s):
    """The marks are kept from dump to dump, and go with the last one, or with one that fails."""
    s.victim("pre_dump_large")
    for n in range(3):
        link(s, n)
        s.dump("-R", "--track-mem", *prev(n))
        log = text(s.imgs + "/dump.log")
        check(("marks of the dump before" in log) == (n > 0), "dump %d: %s" % (n, log[-1000:]))
        check(watched(s.pid) > 2, "dump %d: %d mappings are watched" % (n, watched(s.pid)))
    s.script("fails", '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]\n')
    link(s, 3)
    s.dump("-R", "--track-mem", "--action-script", s.path("fails"), *prev(3), ok=False)
    check(s.rc and not watched(s.pid), "after a failure: rc %d, %d mappings are watched" % (s.rc, watched(s.pid)))
    shutil.rmtree(s.imgs)
    for n in (3, 4):
        link(s, n)
        s.dump("-R", *(["--track-mem"] if n == 3 else []), *prev(n))
    check(not watched(s.pid), "after the last dump %d mappings are watched" % watched(s.pid))
    s.kill()
    s.restore()
    check(not watched(s.pid), "after the restore %d mappings are watched" % watched(s.pid))
    s.verify()


@scenario
def dropped_huge(s):
    with Pages(s, 2):
        drop(s, "huge")


@scenario
def snapshots(s):
    n = 20
    s.victim("pre_dump_writer", ["99"])
    for i in range(n):
        link(s, i)
        s.dump("-R", "--track-mem", "--snapshot", ("never", "always")[i % 3 != 1], *prev(i))
    check(len(trackers(s.pid)) == 1, "trackers: %r" % trackers(s.pid))
    s.kill()
    check(wait_for(lambda: not trackers(s.pid)), "the tracker outlives its tasks")
    for i in range(n):
        s.imgs = s.path(str(i))
        s.restore()
        s.verify()


@scenario
def little_written(s):
    """The second of two is small and quick where little was written."""
    s.victim("pre_dump_large")
    took = []
    for n in range(3):
        began = time.monotonic()
        pre_dump(s, n)
        took.append(time.monotonic() - began)
        os.kill(s.pid, signal.SIGUSR1)  # writes to 1 %
        check(wait_for(lambda: os.path.exists(s.path("written"))), "nothing was written")
        os.unlink(s.path("written"))
    sizes = [stored(s, n) / MIB for n in range(3)]
    print("stored: %s MiB; %s s" % (" ".join("%.1f" % x for x in sizes), " ".join("%.2f" % x for x in took)))
    check(sizes[0] > 255 and sizes[1] < 6 and sizes[2] < 6, "MiB stored: %r" % sizes)
    link(s, 3)
    s.dump(*prev(3))
    s.restore()
    s.verify()


@scenario
def redis(s):
    need("redis-server", "redis-cli")
    sock = s.path("redis.sock")

    def cli(*args, **kw):
        return subprocess.run(["redis-cli", "-s", sock, *args], stdout=subprocess.PIPE, text=True, timeout=60, **kw).stdout.strip()

    def write(n):
        lines = "".join("SET key:%d:%d %s\r\n" % (n, i, "value-%d-%d-" % (n, i) * 20) for i in range(20000))
        cli("--pipe", input=lines)

    s.proc = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", sock, "--save", "", "--dir", s.dir], cwd=s.dir,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(sock)), "redis does not start")
    for n in range(5):
        write(n)
        pre_dump(s, n, "--pre-dump-mode", ("splice", "read")[n % 2])
    write(5)
    link(s, 5)
    s.dump(*prev(5))
    print("MiB stored: %s" % " ".join("%.1f" % (stored(s, n) / MIB) for n in range(6)))
    check(stored(s, 5) < sum(stored(s, n) for n in range(5)), "the last dump stores all")
    s.restore()
    check(cli("DBSIZE") == str(6 * 20000), "keys: %s" % cli("DBSIZE"))
    for n in range(6):
        check(cli("GET", "key:%d:%d" % (n, 19999)) == "value-%d-%d-" % (n, 19999) * 20, "a key of round %d is wrong" % n)
    s.kill()


@scenario
def executed(s):
    """Another program under the same number, at the same addresses perhaps: nothing of the old one's memory is taken for its."""
    s.victim("pre_dump_writer", ["4"])
    pre_dump(s, 0)
    for n in (1, 2):
        os.unlink(s.path("ready"))
        os.kill(s.pid, signal.SIGUSR1)
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "no execve")
        if n == 1:
            pre_dump(s, 1)
    link(s, 2)
    s.dump(*prev(2))
    s.restore()
    s.verify()


@scenario
def killed_anywhere(s):
    """At some moment of a pre-dump, by SIGKILL: the tree runs on, and the chain goes on right."""
    s.victim("pre_dump_writer", ["11"])
    pre_dump(s, 0)
    n = 0
    for i in range(1, 1000 if STRESS else 30):
        link(s, i)
        p = subprocess.Popen([s.criu, "pre-dump", "-t", str(s.pid), "-D", s.imgs, "--track-mem", "--prev-images-dir", "../%d" % n,
                              "--pre-dump-mode", ("splice", "read")[i % 2]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random() * 0.08)
        p.kill()
        check(wait_for(lambda: p.poll() is not None), "criu does not end")
        check(wait_for(lambda: state_of(s.pid) in "SRD"), "kill %d: the victim is %s" % (i, state_of(s.pid)))
        if os.path.exists(s.imgs + "/checkpoint.sums"):
            n = i
    link(s, 1000)
    s.dump("--prev-images-dir", "../%d" % n)
    s.restore()
    s.verify()


def in_full(s, n):
    return "stored in full" in text(os.path.join(s.path(str(n)), "dump.log"))


@scenario
def tracker_killed(s):
    s.victim("pre_dump_writer", ["5"])
    pre_dump(s, 0)
    for p in trackers(s.pid):
        os.kill(p, signal.SIGKILL)
    check(wait_for(lambda: not trackers(s.pid)), "the tracker does not end")
    link(s, 1)
    s.dump(*prev(1))
    check(in_full(s, 1), "nothing says that all is stored")
    shutil.rmtree(s.path("0"))  # nothing of it is needed
    s.restore()
    s.verify()


@scenario
def other_chain(s):
    """What was noted for one chain says nothing to another, which has come in between."""
    s.victim("pre_dump_writer", ["6"])
    pre_dump(s, 0)
    pre_dump(s, 1)
    link(s, 2)
    s.dump("-R", "--track-mem", "--prev-images-dir", "../0")
    check(in_full(s, 2), "what was noted since another dump is taken for this one's")
    link(s, 3)
    s.dump("--prev-images-dir", "../2")
    check(not in_full(s, 3), "the chain goes on from its last dump")
    s.restore()
    s.verify()


@scenario
def without_tracking(s):
    """A dump outside of the chain ends the tracking; what it stores has nothing of it."""
    s.victim("pre_dump_writer", ["7"])
    pre_dump(s, 0)
    link(s, 1)
    s.dump("-R")
    check(not trackers(s.pid), "a tracker is left")
    check("uw" not in sum((l.split() for l in text("/proc/%d/smaps" % s.pid).splitlines() if l.startswith("VmFlags")), []),
          "memory is watched still")
    s.kill()
    s.restore()
    s.verify()


@scenario
def refused(s):
    s.victim("pre_dump_writer", ["8"])
    pre_dump(s, 0)
    check(s.restore(ok=False) and "pre-dump" in s.errors("restore.log"), "a pre-dump is restored: %s" % s.errors("restore.log"))
    s.tool("pre-dump", "-t", s.pid, "-D", s.imgs, "--prev-images-dir", ".", "--track-mem")
    check(s.rc and "directory of its own" in s.out, "on top of itself: %s" % s.out)
    s.tool("pre-dump", "-t", s.pid, "-D", s.imgs, "--prev-images-dir", "../none", "--track-mem")
    check(s.rc and "../none" in s.out, "on top of nothing: %s" % s.out)
    link(s, 1)
    s.dump(*prev(1))
    os.rename(s.path("0"), s.path("9"))
    check(s.restore(ok=False) and "/../0" in s.errors("restore.log"), "without its parent: %s" % s.errors("restore.log"))
    s.imgs = s.path("1")
    os.unlink(s.imgs + "/parent")
    os.symlink(".", s.imgs + "/parent")
    check(s.restore(ok=False) and "leads back" in s.errors("restore.log"), "its own parent: %s" % s.errors("restore.log"))
    os.unlink(s.imgs + "/parent")
    os.rename(s.path("9"), s.path("0"))
    os.symlink("../0", s.imgs + "/parent")
    s.restore()
    link(s, 5)
    s.tool("dump", "-R", "-t", s.pid, "-D", s.path("5"))
    check(not s.rc, s.out)
    s.kill()
    shutil.rmtree(s.path("0"))
    os.rename(s.path("5"), s.path("0"))
    s.imgs = s.path("1")
    check(s.restore(ok=False) and "another checkpoint" in s.errors("restore.log"), "another parent: %s" % s.errors("restore.log"))


@scenario
def killed(s):
    """At each fault point, with and without the guardian: the tree is as before, and the chain goes on right."""
    s.victim("pre_dump_writer", ["9"])
    pre_dump(s, 0)
    n, at = 0, 0
    while True:
        at += 1
        link(s, 100 + at)
        more = ["--test-kill-guardian"] if at % 2 and STRESS else []
        s.tool("pre-dump", "-t", s.pid, "-D", s.imgs, "--track-mem", "--prev-images-dir", "../%d" % n, "--test-kill-at", at, *more,
               "--pre-dump-mode", ("splice", "read")[at % 2])
        check(wait_for(lambda: state_of(s.pid) in "SRD"), "kill %d: the victim is %s" % (at, state_of(s.pid)))
        check(not any("userfaultfd" in os.readlink("/proc/%d/fd/%s" % (s.pid, f)) for f in os.listdir("/proc/%d/fd" % s.pid)),
              "kill %d: a userfaultfd is left in the victim" % at)
        if s.rc == 0:
            break
        whole = os.path.exists(s.imgs + "/inventory.img")
        if whole:
            n = 100 + at
        else:
            check(not [f for f in os.listdir(s.imgs) if f.endswith(".img") or f == "parent"] or more,
                  "kill %d: left behind: %r" % (at, os.listdir(s.imgs)))
    check(at > 8, "only %d fault points" % at)
    link(s, 999)
    s.dump("--prev-images-dir", "../%d" % (100 + at))
    s.restore()
    s.verify()


@scenario
def service(s):
    s.victim("pre_dump_writer", ["10"])
    got, rc = rpc.ask({"type": "FEATURE_CHECK", "features": {"mem_track": True}})
    check(got["features"]["mem_track"] is True and rc == 0, "%r" % (got,))
    fds = []
    for n in range(4):
        link(s, n)
        fds.append(os.open(s.imgs, os.O_RDONLY))
    opts = [{"images_dir_fd": fds[n], "log_level": 4, "log_file": "dump.log", "pid": s.pid, "track_mem": True} for n in range(4)]
    for n in range(1, 4):
        opts[n]["parent_img"] = "../%d" % (n - 1)
    got, rc = rpc.ask({"type": "SINGLE_PRE_DUMP", "opts": opts[0]})
    check(got["type"] == "SINGLE_PRE_DUMP" and got["success"] and rc == 0, "%r %d" % (got, rc))
    opts[1]["pre_dump_mode"] = "VM_READ"
    del opts[3]["track_mem"]
    swrk, answers = rpc.Swrk(), []
    for n, kind in ((1, "PRE_DUMP"), (2, "PRE_DUMP"), (3, "DUMP")):
        swrk.send({"type": kind, "opts": opts[n]})
        answers.append(swrk.receive())
    rc = swrk.ends()
    check([a["type"] for a in answers] == ["PRE_DUMP", "PRE_DUMP", "DUMP"] and all(a["success"] for a in answers) and rc == 0,
          "%r %d" % (answers, rc))
    s.gone()
    check(not any(in_full(s, n) for n in (1, 2, 3)), "the chain is broken")
    s.restore()
    s.verify()
    for fd in fds:
        os.close(fd)
    reap()


run_all()
