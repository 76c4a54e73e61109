#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# dump -R whose memory is read from copies on write while the tree runs on (--snapshot): all memory is of one moment, nobody in the
# tree sees a copy, copies and criu may be killed. snapshot_tree.c writes without a pause and waits for children in all ways.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 900
import ctypes
import os
import re
import signal
import struct
import subprocess
import tempfile
import time

from case import first_of_new_pids, guardians
from driver import Failed, check, children, need, passed_over, reap, run_all, scenario, state_of, text, tree, wait_for

MIB = 1 << 20
HEAD = struct.Struct("7Q")


def start(s, mib, kind="plain", init=False):
    for n in ("head.0", "head.1", "written.0", "written.1", "verify", "killed"):
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.inner = init
    with first_of_new_pids(init):
        s.victim("snapshot_tree", [str(mib), kind])


def read(f, at, fmt):
    f.seek(at)
    return struct.unpack(fmt, f.read(struct.calcsize(fmt)))


def writers(s):
    """Our number of each, and where its head is."""
    found = {}
    for n in (0, 1):
        inner, at = map(int, text(s.path("head.%d" % n)).split())
        for pid in tree(s.pid):
            line = re.search(r"^NSpid:(.*)$", text("/proc/%d/status" % pid), re.M)
            if line and int(line.group(1).split()[-1]) == inner:
                found[n] = (pid, at)
    check(len(found) == 2, "writers: %s" % found)
    return found


def moment(s):
    """Of a tree that stands: its memory, private and shared, of both kinds, is that of one instant."""
    for n, (pid, at) in writers(s).items():
        with open("/proc/%d/mem" % pid, "rb") as f:
            pages, made, _, steps, dont_fork, wiped, shared = read(f, at, HEAD.format)
            f.seek(steps)
            values = memoryview(f.read(pages * 4096)).cast("Q")[::512].tolist()
            shared, dont_fork, wiped = (read(f, a, "Q")[0] for a in (shared, dont_fork, wiped))
        newest = values[0]
        newer = next((i for i, v in enumerate(values) if v != newest), pages)
        check(all(v == newest - 1 for v in values[newer:]), "writer %d: pages of several moments: %s at %d of %d" % (n, newest, newer, pages))
        count = (newest - 1) * pages + newer
        rounds = [(newest - 1) * pages] + [newest * pages] * (newer == pages)
        check(count - 1 <= made <= count and made - 1 <= shared <= made, "writer %d: %d stores, %d said, %d in shared memory" % (n, count, made, shared))
        check(dont_fork in rounds and wiped in rounds and dont_fork <= wiped, "writer %d: %d and %d apart, not %s" % (n, dont_fork, wiped, rounds))


def back(s, stopped=True):
    pidfile = s.path("pid")
    if os.path.exists(pidfile):
        os.unlink(pidfile)
    s.restore("--pidfile", pidfile, *["-s"] * stopped)
    s.pid = int(text(pidfile))
    if not stopped:
        return
    moment(s)
    for pid in tree(s.pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:  # it was a zombie, and its parent runs
            pass


def end(s):
    """The root sees nothing of how the others end, and nobody makes a process meanwhile that is not killed."""
    pids = None
    while pids != tree(s.pid):
        pids = tree(s.pid)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass
        wait_for(lambda: all(state_of(p) in ("T", "Z", "gone") for p in pids))
    s.kill()


def go_on(s):
    """The tree lives, and makes progress."""
    def made():
        found = []
        for pid, at in writers(s).values():
            with open("/proc/%d/mem" % pid, "rb") as f:
                found.append(read(f, at, HEAD.format)[1])
        return found
    before = made()
    check(wait_for(lambda: all(b > a for a, b in zip(before, made()))), "a writer stands: %s" % before)


def copies(s):
    """Processes whose parent is a writer: it makes none itself."""
    return [c for pid, _ in writers(s).values() for c in children(pid)]


def frozen(s):
    return int(re.search(r"Frozen time: (\d+) us", s.out).group(1))


def ran_early(s):
    return "the tree runs on; its memory is written from copies" in text(os.path.join(s.imgs, "dump.log"))


def snapshot(s, *opts):
    s.dump("-R", "--display-stats", *opts)
    check(ran_early(s), "no copies were made: " + s.errors("dump.log"))
    check(not copies(s), "copies are left: %s" % copies(s))


def rounds(s, n, kill_every=1):
    for i in range(n):
        snapshot(s)
        go_on(s)
        if i % kill_every == kill_every - 1:
            end(s)
            back(s)
            go_on(s)
    s.verify()


@scenario
def same_pages(s):
    """Of a task that stands, each page is what it is without copies: nothing of the agent's way in is in them."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usual)})  # on which CPU a thread runs is in its memory (rseq)
    s.victim()
    os.sched_setaffinity(0, usual)
    os.kill(s.pid, signal.SIGSTOP)
    check(wait_for(lambda: state_of(s.pid) == "T"), "it does not stop")
    stored = []
    for how in ("never", "always", "always"):
        s.dump("-R", "--snapshot", how)
        check(ran_early(s) == (how == "always"), how)
        stored.append(sorted(open(os.path.join(s.imgs, n), "rb").read() for n in os.listdir(s.imgs) if re.match("pages-|pagemap-", n)))
    for other in stored[1:]:
        check(other == stored[0], "pages differ: %s" % [sum(a != b for a, b in zip(x, y)) for x, y in zip(stored[0], other)])
    s.kill()


@scenario
def one_moment(s):
    """20 times into one directory, by itself (auto)."""
    start(s, 48)
    rounds(s, 20, 4)


@scenario
def large(s):
    """A moment of 2 x 256 MiB; and the time that the tree stands."""
    start(s, 256)
    s.dump("-R", "--snapshot", "never", "--display-stats")
    check(not ran_early(s), "copies were made")
    whole = frozen(s)
    snapshot(s)
    check(frozen(s) < whole / 2, "frozen for %d us, and %d us without copies" % (frozen(s), whole))
    end(s)
    back(s)
    s.verify()


@scenario
def compressed(s):
    """Pages of copies are compressed, and have their checksums as all others: a changed byte is found."""
    start(s, 40)
    for how in ("lz4", "zstd"):
        snapshot(s, "--compress", how)
        stored = sum(os.stat(os.path.join(s.imgs, n)).st_size for n in s.images() if n.startswith("pages-"))
        check(stored < 20 * MIB, "%s: %d bytes of pages" % (how, stored))
        end(s)
        back(s)
        go_on(s)
    snapshot(s)
    end(s)
    largest = max((os.path.join(s.imgs, n) for n in s.images() if n.startswith("pages-")), key=lambda n: os.stat(n).st_size)
    with open(largest, "r+b") as f:
        f.seek(20 * MIB + 5)
        old = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([old[0] ^ 1]))
    pids = [int(n[5:-4]) for n in s.images() if re.match("core-", n)]
    check(s.restore(ok=False) == 1 and "damaged" in s.errors("restore.log"), "a changed byte: " + s.errors("restore.log"))
    check(wait_for(lambda: (reap(), not [p for p in pids if state_of(p) != "gone"])[1]), "a task is left")
    with open(largest, "r+b") as f:
        f.seek(20 * MIB + 5)
        f.write(old)
    back(s)
    s.verify()


def kept_as(s, name):
    """The checkpoint goes into a directory of that name, beside the images'."""
    subprocess.run(["rm", "-rf", s.path(name)], check=True)
    os.mkdir(s.path(name))
    for n in os.listdir(s.imgs):
        os.rename(os.path.join(s.imgs, n), os.path.join(s.path(name), n))


@scenario
def chains(s):
    """Copies in a chain; where little was written since the dump before, there are none."""
    start(s, 80)
    s.dump("-R", "--track-mem")
    check(ran_early(s), "the first of a chain")
    kept_as(s, "one")
    stopped = [pid for pid, _ in writers(s).values()]  # while the copies were read they have written to any part of it
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    s.dump("-R", "--track-mem", "--prev-images-dir", "../one")
    kept_as(s, "two")
    s.dump("-R", "--track-mem", "--prev-images-dir", "../two")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    check(not ran_early(s) and "little of it was written to" in text(s.path("imgs/dump.log")), "nothing was written to")
    kept_as(s, "three")
    for n, prev in (("four", "three"), ("five", "four")):
        s.dump("-R", "--track-mem", "--snapshot", "always", "--prev-images-dir", "../" + prev)
        check(ran_early(s), n)
        check(os.stat(s.path("imgs/pages-1.img")).st_size < 40 * MIB, "%s: all is stored" % n)
        kept_as(s, n)
    s.dump("-R", "--snapshot", "always", "--prev-images-dir", "../five")
    end(s)
    back(s)
    s.verify()


@scenario
def subreaper(s):
    start(s, 48, "subreaper")
    rounds(s, 4)


@scenario
def init_of_pids(s):
    start(s, 48, "init", True)
    rounds(s, 4)


def begin(s, *opts):
    """A dump that stands (SIGSTOP) when the tree runs on, or is done already: None."""
    log = s.path("imgs/dump.log")
    if os.path.exists(log):
        os.unlink(log)
    p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log", "-R", *opts], cwd=s.dir,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while p.poll() is None and "the tree runs on; its" not in text(log):
        pass
    if p.poll() is not None:
        return None, []
    os.kill(p.pid, signal.SIGSTOP)
    time.sleep(0.02)
    found = copies(s)
    if len(found) == 2 and "pages written of" not in text(log):
        return p, found
    os.kill(p.pid, signal.SIGCONT)
    p.wait(60)
    return None, found


def begin_until(s, *opts):
    for _ in range(20):
        p, found = begin(s, *opts)
        if p:
            return p, found
    raise Failed("it was never caught while it wrote memory")


def unharmed(s, when=""):
    check(wait_for(lambda: not copies(s)), when + "copies are left: %s" % [(c, state_of(c)) for c in copies(s)])
    go_on(s)


@scenario
def copy_killed(s):
    """As by the kernel for want of memory: it is the first to go; the dump fails, the tree runs, the older checkpoint is whole."""
    start(s, 96)
    snapshot(s)
    kept = s.images()
    p, found = begin_until(s)
    for c in found:
        check(text("/proc/%d/oom_score_adj" % c).strip() == "1000", "oom_score_adj of a copy")
        check(os.listdir("/proc/%d/fd" % c) == [], "a copy holds descriptors")
    os.kill(found[0], signal.SIGKILL)
    os.kill(p.pid, signal.SIGCONT)
    check(p.wait(60) == 1, "a dump whose copy was killed")
    check("was killed" in s.errors("dump.log") or "is gone" in s.errors("dump.log"), s.errors("dump.log"))
    unharmed(s)
    check(s.images() == kept, "the older checkpoint is not what it was")
    end(s)
    back(s)
    s.verify()


@scenario
def task_killed(s):
    """A task that ends meanwhile is in the checkpoint, as of its moment."""
    start(s, 96, "subreaper")
    p, found = begin_until(s)
    open(s.path("killed"), "w").close()
    victim = writers(s)[0][0]
    os.kill(victim, signal.SIGKILL)
    os.kill(p.pid, signal.SIGCONT)
    check(p.wait(60) == 0, s.errors("dump.log"))
    check(wait_for(lambda: all(state_of(c) == "gone" for c in found)), "a copy is left: %s" % [state_of(c) for c in found])
    end(s)
    back(s)
    s.verify()


@scenario
def criu_killed(s):
    """By SIGKILL and by SIGTERM. A task that waits with __WALL just then may get its copy."""
    start(s, 96)
    open(s.path("killed"), "w").close()
    snapshot(s)
    for sig in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        kept = s.images()
        p, _ = begin_until(s)
        os.kill(p.pid, sig)
        os.kill(p.pid, signal.SIGCONT)
        check(p.wait(60) == -sig, "criu lives on")
        check(wait_for(lambda: not guardians()), "the guardian stays")
        unharmed(s)
        check(s.images() == kept, "the older checkpoint is not what it was")
    end(s)
    back(s)
    s.verify()


@scenario
def kill_points(s):
    """criu is killed at each point from the first copy on."""
    start(s, 34)
    open(s.path("killed"), "w").close()
    s.dump("-R", "--test-kill-at", 100000)
    points = [(int(n), name) for n, name in re.findall(r"fault point (\d+): (.*)", text(s.path("imgs/dump.log")))]
    first = next(n for n, name in points if name == "a copy is made")
    points = [(n, name) for n, name in points if n >= first]
    check({"a copy stands", "the tree runs", "memory is written", "committed"} <= {name for _, name in points}, points)
    seen = set()
    for n, name in points:
        if name in seen and n % 5:
            continue
        seen.add(name)
        s.dump("-R", "--test-kill-at", n, ok=False)
        check(wait_for(lambda: not guardians()), "the guardian stays")
        check("checkpoint.sums" in s.images(), "%d (%s): no checkpoint is left" % (n, name))
        unharmed(s, "killed at %d (%s): " % (n, name))
        if name in ("a copy stands", "the tree runs", "committed"):
            end(s)
            back(s)
    s.verify()


@scenario
def refused(s):
    """What cannot be, is said: with `always` before anything; with `auto` the memory is read while the tree stands."""
    start(s, 40)
    for opts, why in ((["--snapshot", "always"], "only with --leave-running"), (["-R", "--snapshot", "always", "--stream"], "exclude each other"),
                      (["-R", "--snapshot", "always", "--page-server", "--port", 1], "exclude each other"), (["-R", "--snapshot", "soon"], "soon"),
                      (["-R", "--snapshot", "always", "--lazy-pages", "--port", 1], "--lazy-pages exclude")):
        check(s.dump(*opts, ok=False) == 1 and why in s.out, "%s: %s" % (opts, s.out))
    s.dump("-R", "--action-script", "true")
    check(not ran_early(s) and "hears of the stage post-dump" in text(s.path("imgs/dump.log")), "an action script")
    s.dump("-R", "--snapshot", "always", "--action-script", "test $CRTOOLS_SCRIPT_ACTION != post-dump || test -e $CRTOOLS_IMAGE_DIR/checkpoint.sums")
    check(ran_early(s), "always")
    check(s.dump("-R", "--snapshot", "always", "--action-script", "test $CRTOOLS_SCRIPT_ACTION != post-dump", ok=False) == 1, "a script that fails")
    unharmed(s)
    back_again = s.images()
    check("checkpoint.sums" in back_again, "the older checkpoint")
    end(s)
    back(s)
    s.verify()


def group(controller):
    for line in text("/proc/self/mountinfo").splitlines():
        words = line.split()
        if " - cgroup " in line and controller in words[-1].split(","):
            return tempfile.mkdtemp(prefix="criu-snapshot-", dir=words[4])
    return None


def limited(s, controller, name, value, why):
    where = group(controller)
    if not where:
        passed_over(controller, "no such hierarchy of version 1")
        return
    inner = os.path.join(where, "below")
    os.mkdir(inner)
    try:
        start(s, 40)
        for pid in [s.pid, *(pid for pid, _ in writers(s).values())]:
            with open(inner + "/cgroup.procs", "w") as f:
                f.write(str(pid))
        with open(os.path.join(where, name), "w") as f:
            f.write(str(value))
        check(text(inner + "/cgroup.procs"), "no task is in the group")
        s.dump("-R", "--manage-cgroups=ignore")
        check(not ran_early(s) and why in text(s.path("imgs/dump.log")), "%s: %s" % (name, s.errors("dump.log")))
        check(s.dump("-R", "--manage-cgroups=ignore", "--snapshot", "always", ok=False) == 1 and why in text(s.path("imgs/dump.log")), "always")
        go_on(s)
    finally:
        if s.proc:
            end(s)
        for d in (inner, where):
            wait_for(lambda: not text(d + "/cgroup.procs"))
            os.rmdir(d)


@scenario
def no_room(s):
    """Limits of the group above."""
    limited(s, "memory", "memory.limit_in_bytes", 100 * MIB, "memory.limit_in_bytes of")
    limited(s, "pids", "pids.max", 12, "pids.max of")


@scenario
def no_process(s):
    """RLIMIT_NPROC of the user leaves none."""
    need("setpriv")
    prog = ("import os,resource,mmap,time\nm=mmap.mmap(-1,80<<20,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS)\n"
            "for i in range(0,80<<20,4096): m[i]=7\nopen('ready','w').close()\nwhile True: time.sleep(1)\n")
    if os.path.exists(s.path("ready")):
        os.unlink(s.path("ready"))
    s.proc = subprocess.Popen(["setpriv", "--reuid", "61234", "--regid", "61234", "--clear-groups", "prlimit", "--nproc=1", "python3", "-c", prog],
                              cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "not ready")
    s.dump("-R")
    check(not ran_early(s) and "RLIMIT_NPROC" in text(s.path("imgs/dump.log")), "no process may be made, and a copy was")
    check(s.dump("-R", "--snapshot", "always", ok=False) == 1, "always")
    check(state_of(s.pid) == "S" and not children(s.pid), "the task: %s" % state_of(s.pid))
    end(s)


@scenario
def processes_for_some(s):
    """Of eight tasks, whose agents work side by side, some get a copy before RLIMIT_NPROC says no: those go, too."""
    need("setpriv")
    prog = ("import os,mmap,time\nfor k in range(8):\n if k and os.fork(): continue\n m=mmap.mmap(-1,20<<20,flags=mmap.MAP_PRIVATE|mmap.MAP_ANONYMOUS)\n"
            " for i in range(0,20<<20,4096): m[i]=k+1\n if not k: continue\n open('ready.%d'%k,'w').close()\n"
            " while not os.path.exists('verify'): time.sleep(.05)\n"
            " os._exit(any(m[i]!=k+1 for i in range(0,20<<20,4096)))\n"
            "bad=sum(os.wait()[1]!=0 for _ in range(7))\nbad+=any(m[i]!=1 for i in range(0,20<<20,4096))\n"
            "open('result','w').write('%d bad' % bad)\n")
    os.chmod(s.dir, 0o777)
    for n in ["verify", "result"] + ["ready.%d" % k for k in range(1, 8)]:
        if os.path.exists(s.path(n)):
            os.unlink(s.path(n))
    s.proc = subprocess.Popen(["setpriv", "--reuid", "61234", "--regid", "61234", "--clear-groups", "prlimit", "--nproc=11", "python3", "-c", prog],
                              cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: all(os.path.exists(s.path("ready.%d" % k)) for k in range(1, 8))), "not ready")
    for i in range(5):
        s.dump("-R")
        log = text(s.path("imgs/dump.log"))
        check(not ran_early(s) and "RLIMIT_NPROC" in log, "copies of all, and too few processes")
        check(wait_for(lambda: len(tree(s.pid)) == 8), "a copy is left: %s" % tree(s.pid))
        check(s.dump("-R", "--snapshot", "always", ok=False) == 1 and "RLIMIT_NPROC" in s.errors("dump.log"), "always: " + s.errors("dump.log"))
        check(wait_for(lambda: len(tree(s.pid)) == 8), "always: a copy is left: %s" % tree(s.pid))
        if i % 2:
            end(s)
            s.restore("--pidfile", s.path("pid.%d" % i))
            s.pid = int(text(s.path("pid.%d" % i)))
    open(s.path("verify"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("result")) and text(s.path("result"))), "no result")
    check(text(s.path("result")) == "0 bad", text(s.path("result")))


run_all()
