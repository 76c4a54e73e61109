#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Memory that stays where it was dumped until a restore on another host wants it (dump --lazy-pages, page-server --lazy-pages): the
# program reads what it had (lazy_memory.c looks); whoever is killed, lies or does nothing, the tree lives at one end, and reads no zeros.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 600
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import rpc

from case import Failed
from driver import check, reap, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for
from other_host import LazyDump, OtherHost
from page_wire import ADD_F, CLOSE, FORCE_CLOSE, GET, LAZY, OPEN2, PRESENT, PAGE, entries, request, take

SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().getrandbits(32)
dice = random.Random(SEED)


def start(s, mib="64"):
    if os.path.exists(s.path("second")):
        os.unlink(s.path("second"))
    s.victim("lazy_memory", [mib])


def stored(s):
    return sum(os.stat(os.path.join(s.imgs, n)).st_size for n in s.images() if n.startswith("pages-")) >> 20


def lazy_runs(s):
    """(pid, address, pages) of what is not in the checkpoint."""
    return [(int(n[8:-4]), at, pages) for n in s.images() if n.startswith("pagemap-") and n[8].isdigit()
            for at, pages, flags in entries(os.path.join(s.imgs, n))[0] if flags == LAZY]


def runs_here(s, why):
    """The tree is unharmed; and is asked in the end."""
    check(wait_for(lambda: state_of(s.pid) == "S", 10), "%s: the tree is %s" % (why, state_of(s.pid)))
    check(not s.images(), "%s: %r" % (why, s.images()))


@scenario
def plain(s):
    start(s, "160")
    dump = LazyDump(s, "--address", "127.0.0.1")
    check(stored(s) < 20 and sum(n for _, _, n in lazy_runs(s)) > 50000, "%d MiB are stored" % stored(s))
    check(state_of(s.pid) in "tT", "the tree does not stand still")
    there = OtherHost(s)
    there.copy()
    there.lazy_pages("--page-server", "--address", "127.0.0.1", "--port", dump.port)
    there.restore("--lazy-pages")
    there.verify()
    check(there.ends() == 0, "the daemon: %s" % there.said())
    dump.ends(0)
    s.gone()
    there.done()


@scenario
def inherited(s):
    """--ps-socket at both ends; and a tree that runs on."""
    start(s)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        dump = LazyDump(s, "--ps-socket", ours.fileno(), "--leave-running", pass_fds=[ours.fileno()])
        there = OtherHost(s)
        there.copy()
        there.lazy_pages("--page-server", "--ps-socket", theirs.fileno(), pass_fds=[theirs.fileno()])
        there.restore("--lazy-pages")
        check(there.ends() == 0, "the daemon: %s" % there.said())
        dump.ends(0)
    check(wait_for(lambda: state_of(s.pid) == "S", 10), "the tree is %s" % state_of(s.pid))
    s.kill()
    there.verify()
    there.done()


@scenario
def from_images(s):
    """page-server --lazy-pages: a checkpoint that is whole, of which the other host has the pages for the start alone."""
    start(s)
    s.dump()
    there = OtherHost(s)
    there.copy()
    server = LazyServer(s)
    there.lazy_pages("--page-server", "--port", server.port)
    there.restore("--lazy-pages")
    for n in os.listdir(there.imgs):
        if n.startswith("pages-"):
            os.truncate(os.path.join(there.imgs, n), 0)  # nothing is read here
    there.verify()
    check(there.ends() == 0, "the daemon: %s" % there.said())
    server.ends(0)
    check(int(text(s.path("imgs/ps.log")).split("has had ")[1].split()[0]) > 20000, text(s.path("imgs/ps.log")))
    there.done()


class LazyServer:
    def __init__(self, s):
        self.s = s
        self.proc = subprocess.Popen([s.criu, "page-server", "--lazy-pages", "-D", s.imgs, "-v4", "-o", "ps.log", "--address", "127.0.0.1"],
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
        self.port = int(self.proc.stdout.readline().split()[1])

    def ends(self, status):
        rc = self.proc.wait(60)
        self.proc.stdout.close()
        check(rc == status, "the page server ends with %d: %s" % (rc, text(self.s.path("imgs/ps.log"))[-600:]))


@scenario
def refused(s):
    start(s, "16")
    for opts, why in ((["--page-server", "--port", 1], "exclude each other"), (["--stream"], "exclude each other"),
                      (["--cow-pages", "once"], "use copy or auto"), (["--address", "192.0.2.1"], "Cannot assign")):
        s.dump("--lazy-pages", *opts, ok=False)
        check(s.rc == 1 and why in s.errors("dump.log") + s.out, "%r: %d: %s" % (opts, s.rc, s.out))
        runs_here(s, why)
    s.tool("lazy-pages", "--page-server", "-D", s.imgs)
    check(s.rc == 1 and "needs --port" in s.out, s.out)
    dump = LazyDump(s)
    there = OtherHost(s)
    there.copy()
    check(there.restore(ok=False) == 1 and "restore with --lazy-pages" in s.errors("restore.log", there.imgs), there.out)
    there.lazy_pages()  # which has nobody to ask
    check(there.restore("--lazy-pages", ok=False) == 1 and "criu lazy-pages --page-server" in there.said(), there.said())
    there.kill_daemon()
    dump.proc.send_signal(signal.SIGINT)
    dump.ends(-signal.SIGINT)
    runs_here(s, "interrupted")
    there.lazy_pages("--page-server", "--port", dump.port, ok=False)
    check("connect to the page server" in there.said(), there.said())
    check(not there.tasks(), "%r" % there.tasks())
    s.verify()
    there.done()


def get(who, at, n):
    return request(GET, n, at, who)


@scenario
def bad_askers(s):
    """What a dump does with a peer that is no daemon: it ends with an error, and the tree runs on."""
    start(s, "16")

    def good(c, run):
        who, at, n = run
        c.sendall(get(who, at, 3))
        head = struct.unpack("<IIQQQ", take(c, 32))
        check(head == (ADD_F | PRESENT << 16, 0, 3, at, who), "%r" % (head,))
        check(len(take(c, 3 * PAGE)) == 3 * PAGE, "no pages")

    def after_good(c, run):
        good(c, run)
        c.close()

    def too_many(c, run):
        """Fewer are given, up to the end of the run."""
        who, at, n = run
        c.sendall(get(who, at, n + 100000))
        check(struct.unpack("<IIQQQ", take(c, 32))[2] == n, "another number of pages")
        take(c, n * PAGE)
        c.close()

    def takes_nothing(c, run):
        good(c, run)
        c.sendall(get(*run) * 20)

    def none(c, run):
        check(struct.unpack("<IIQQQ", take(c, 32))[2] == 0, "pages come")

    cases = (("ends at once", lambda c, r: c.close(), "has ended the connection"),
             ("ends after some", after_good, "has ended the connection"),
             ("too many", too_many, "has ended the connection"),
             ("half a request", lambda c, r: (c.sendall(b"x" * 17), c.shutdown(socket.SHUT_WR)), "has ended the connection"),
             ("other bytes", lambda c, r: c.sendall(b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n"), "which no lazy-pages daemon has"),
             ("a page server's", lambda c, r: c.sendall(request(OPEN2, who=r[0] << 8 | 1)), "which no lazy-pages daemon has"),
             ("another task", lambda c, r: (c.sendall(get(1, r[1], 1)), none(c, r)), "which are not here"),
             ("another address", lambda c, r: (c.sendall(get(r[0], 0x1000, 1)), none(c, r)), "which are not here"),
             ("within a page", lambda c, r: (c.sendall(get(r[0], r[1] + 8, 1)), none(c, r)), "which are not here"),
             ("no pages", lambda c, r: (c.sendall(get(r[0], r[1], 0)), none(c, r)), "which are not here"),
             ("half a request and nothing", lambda c, r: c.sendall(b"x" * 17), "does nothing"),
             ("takes nothing", takes_nothing, "does nothing"))
    for why, behave, words in cases:
        dump = LazyDump(s, "--timeout", 1)
        run = max(lazy_runs(s), key=lambda r: r[2])
        with socket.create_connection(("127.0.0.1", dump.port)) as c:
            c.settimeout(20)
            behave(c, run)
            dump.ends(1, words)
        runs_here(s, why)
    # One that has had pages and asks for no more, for longer than six times the limit.
    dump = LazyDump(s, "--timeout", 1)
    with socket.create_connection(("127.0.0.1", dump.port)) as c:
        good(c, max(lazy_runs(s), key=lambda r: r[2]))
        dump.ends(1, "does nothing")
    runs_here(s, "asks for no more")
    # As CRIU's daemon at its end: FORCE_CLOSE or CLOSE, and an answer when the tree has gone.
    for word in (CLOSE, FORCE_CLOSE):
        dump = LazyDump(s, *(["-R"] if word == CLOSE else []))
        with socket.create_connection(("127.0.0.1", dump.port)) as c:
            good(c, max(lazy_runs(s), key=lambda r: r[2]))
            c.sendall(request(word))
            check(take(c, 4) == bytes(4), "another answer")
            dump.ends(0)
    s.gone()
    s.kill() if state_of(s.pid) != "gone" else None


@scenario
def victim_killed(s):
    """What is dumped is killed while it waits: an error, and what is left runs on."""
    start(s, "16")
    dump = LazyDump(s)
    run = [r for r in lazy_runs(s) if r[0] == s.pid][0]
    with socket.create_connection(("127.0.0.1", dump.port)) as c:
        os.kill(s.pid, signal.SIGKILL)
        check(wait_for(lambda: state_of(s.pid) in ("Z", "gone")), "it lives on")
        c.settimeout(20)
        c.sendall(get(*run))
        dump.ends(1, "killed from outside")


class Liar(threading.Thread):
    """Who has the pages, and answers the n-th request otherwise."""

    def __init__(self, n, answer):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.n, self.answer = self.listener.getsockname()[1], n, answer
        self.start()

    def run(self):
        c = self.listener.accept()[0]
        with c:
            try:
                for i in range(1, 1 << 30):
                    word, _, n, at, who = struct.unpack("<IIQQQ", take(c, 32))
                    if i == self.n:
                        self.answer(c, n, at, who)
                        return
                    c.sendall(request(ADD_F, n, at, who, PRESENT) + b"\1" * n * PAGE)
            except (EOFError, OSError):
                pass


LIES = (("none", lambda c, n, at, who: c.sendall(request(ADD_F, 0, at, who, PRESENT)), "it has none of them"),
        ("more", lambda c, n, at, who: c.sendall(request(ADD_F, n + 1, at, who, PRESENT)), "the other end answers"),
        ("elsewhere", lambda c, n, at, who: c.sendall(request(ADD_F, n, at + PAGE, who, PRESENT)), "the other end answers"),
        ("absent", lambda c, n, at, who: c.sendall(request(ADD_F, n, at, who, LAZY)), "the other end answers"),
        ("ends", lambda c, n, at, who: c.close(), "has ended the connection"),
        ("ends in pages", lambda c, n, at, who: c.sendall(request(ADD_F, n, at, who, PRESENT) + b"x" * 5000), "has ended the connection"),
        ("nothing", lambda c, n, at, who: time.sleep(8), "timed out"))


def sees_no_zeros(s, there, why, all_there=False):
    """Who touches what is missing gets a signal; no byte of it is ever read as zero. all_there: nothing need be missing. It is done()."""
    open(s.path("verify"), "w").close()
    check(wait_for(lambda: not [p for p in there.tasks() if p == s.pid], 30), "%s: it lives on there" % why)
    said = text(s.path("result"))
    check(" is 0" not in said, "%s: %s" % (why, said))
    check(all_there or "FAIL" in said or not os.path.exists(s.path("result")), "%s: nothing was missing: %s" % (why, said))
    there.done()  # its children may live longer, and have something to say
    os.unlink(s.path("verify"))
    if os.path.exists(s.path("result")):
        os.unlink(s.path("result"))


@scenario
def lies(s):
    """Who has the pages lies, ends or does nothing: the daemon says so, and the tasks end rather than read zeros."""
    start(s, "16")
    dump = LazyDump(s)
    for why, answer, words in LIES:
        there = OtherHost(s)
        there.copy()
        there.lazy_pages("--page-server", "--port", Liar(3, answer).port, "--timeout", 1)
        there.restore("--lazy-pages")
        check(there.ends() == 1 and words in text(there.log), "%s: %s" % (why, there.said()))
        sees_no_zeros(s, there, why)
    dump.proc.terminate()
    dump.ends(-signal.SIGTERM)
    runs_here(s, "terminated")
    s.verify()


@scenario
def killed(s):
    """The dump, the daemon or the restore, at any instant: the tree goes on at one end at the least, and nobody reads zeros."""
    start(s, "64")
    moved = 0
    for i in range(rounds_wanted(12)):
        dump = LazyDump(s)
        there = OtherHost(s)
        there.copy()
        there.lazy_pages("--page-server", "--port", dump.port)
        restore = subprocess.Popen(there.enter + [s.criu, "restore", "-d", "-D", there.imgs, "--lazy-pages", "-o", "restore.log", "-v4"],
                                   cwd=s.dir, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        victim = (dump.proc, there.daemon, restore)[i % 3]
        time.sleep(dice.random() * (0.15 if victim is restore else 0.3))
        if victim is dump.proc:
            victim.kill()
        elif victim is restore:  # not nsenter, but what it has started
            for p in tree(victim.pid)[1:2]:
                try:
                    os.kill(p, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it has ended meanwhile
        else:
            there.kill_daemon()
        restored = restore.wait(60) == 0
        if there.daemon.poll() is None and os.path.exists(there.imgs + "/lazy-pages.socket"):
            there.kill_daemon()  # the restore never reached it: it would wait for the next one
        ended = there.ends()
        rc = dump.proc.wait(60)
        dump.proc.stdout.close()
        check(wait_for(lambda: (reap(), s.proc.poll(), state_of(s.pid) in ("S", "gone"))[2]), "round %d: it stands still: %s" % (i, state_of(s.pid)))
        if state_of(s.pid) != "gone":
            check(rc != 0, "round %d: the dump says that it is done, and the tree runs on" % i)
            here = tree(s.pid)
            for p in here:  # who is asked is the other one
                os.kill(p, signal.SIGSTOP)
            check(wait_for(lambda: all(state_of(p) == "T" for p in here)), "round %d: the tree does not stop" % i)
            if restored and ended:
                sees_no_zeros(s, there, "round %d" % i, all_there=True)
            else:
                there.done()
            for p in here:
                os.kill(p, signal.SIGCONT)
        else:
            moved += 1
            try:
                there.verify()
            except Failed as e:
                raise Failed("round %d (dump %d, restored %s, daemon %s): %s; %s; %s" %
                             (i, rc, restored, ended, e, text(there.log)[-1500:], text(s.path("imgs/dump.log"))[-700:]))
            there.done()
            s.clean_images()
            start(s, "64")
    print("killed: %d were moved" % moved, flush=True)
    s.verify()


@scenario
def fault_points(s):
    """The dump is killed at each of them from where it is ready on."""
    start(s, "16")
    before = after = 0
    first = int(max(re.findall(r"fault point (\d+): about to wait for a lazy", probe(s)), key=int))
    step = 1 if os.environ.get("STRESS") else 2
    for point in range(first + dice.randrange(step), first + 40, step):
        dump = LazyDump(s, "--test-kill-at", point, ready=None)
        there = OtherHost(s)
        if dump.is_ready:
            there.copy()
            there.lazy_pages("--page-server", "--port", dump.port)
            there.restore("--lazy-pages")
            there.ends()
        rc = dump.proc.wait(60)
        dump.proc.stdout.close()
        if rc == 0:
            check(after, "no point after the commit")
            there.verify()
            there.done()
            break
        check(wait_for(lambda: (reap(), s.proc.poll(), state_of(s.pid) in ("S", "gone"))[2]), "point %d: %s" % (point, state_of(s.pid)))
        if state_of(s.pid) != "gone":
            before += 1
            check(there.daemon is None or there.daemon.returncode == 1, "point %d: the daemon is content" % point)
            runs_here(s, "point %d" % point)
            there.done()
        else:
            after += 1
            there.verify()
            there.done()
            s.clean_images()
            start(s, "16")
    check(before * step > 5, "%d points before the commit, %d after" % (before, after))


def probe(s):
    dump = LazyDump(s, "--test-kill-at", 1000000)
    said = text(s.path("imgs/dump.log"))
    dump.proc.kill()
    dump.proc.wait()
    dump.proc.stdout.close()
    check(wait_for(lambda: state_of(s.pid) == "S"), "the tree stands still")
    return said


@scenario
def restore_fails(s):
    """When the daemon has all tasks: they are dead there, whatever it has brought, and run on here."""
    start(s, "16")
    dump = LazyDump(s)
    there = OtherHost(s)
    there.copy()
    there.lazy_pages("--page-server", "--port", dump.port)
    script = s.script("no", "[ $CRTOOLS_SCRIPT_ACTION != pre-resume ]")
    rc = there.restore("--lazy-pages", "--action-script", script, ok=False)
    check(rc == 1, "the restore succeeds")
    check(there.ends() == 1, "the daemon: %s" % there.said())
    dump.ends(1)
    runs_here(s, "the restore has failed")
    check(not there.tasks(), "%r" % there.tasks())
    there.done()
    s.verify()


def fault_point(there, words):
    return int(re.findall(r"fault point (\d+): %s" % words, text(there.imgs + "/restore.log"))[-1])


@scenario
def restore_killed(s):
    """At each of its points from where the daemon has all tasks on: the tree lives at one end, never at both, and both say so."""
    start(s, "16")
    ends, point, last = [], 1000000, 0
    while not last or point <= last:
        dump = LazyDump(s)
        there = OtherHost(s)
        there.copy()
        there.lazy_pages("--page-server", "--port", dump.port)
        rc = there.restore("--lazy-pages", "--test-kill-at", point, ok=False)
        if not last:
            point, last = fault_point(there, "the lazy-pages daemon has the tasks") - 1, fault_point(there, "restore committed")
        ended, dumped = there.ends(), dump.proc.wait(60)
        dump.proc.stdout.close()
        ends.append((rc, ended, dumped))
        check((ended == 0) == (dumped == 0), "%r" % ends)
        if dumped:
            check(rc, "%r: the restore is done, and the tree runs on here" % ends)
            check(wait_for(lambda: not there.tasks()), "%r: %r lives there" % (ends, there.tasks()))
            runs_here(s, "%r" % ends)
            there.done()
        else:
            there.verify()
            there.done()
            s.gone()
            s.clean_images()
            start(s, "16")
        point += 1
    check(len(ends) > 3 and not ends[0][0] and ends[1][2] and ends[-1][0] and not ends[-1][2], "%r" % ends)
    print("restore_killed: %r" % ends, flush=True)
    s.verify()


@scenario
def daemon_killed(s):
    """When it is about to say that it has all tasks: the restore fails, since who goes on cannot fetch what is missing."""
    start(s, "16")
    dump = LazyDump(s)
    there = OtherHost(s)
    there.copy()
    there.lazy_pages("--page-server", "--port", dump.port, "--test-kill-at", 1)
    rc = there.restore("--lazy-pages", ok=False)
    check(rc == 1 and "cannot be fetched" in s.errors("restore.log", there.imgs), "%d: %s" % (rc, s.errors("restore.log", there.imgs)))
    check(there.ends() == -signal.SIGKILL, "the daemon: %s" % there.said())
    dump.ends(1)
    check(wait_for(lambda: not there.tasks()), "%r lives there" % there.tasks())
    runs_here(s, "the daemon is killed")
    there.done()
    s.verify()


@scenario
def service(s):
    """The fields of a request: lazy_pages with a port, and PAGE_SERVER with lazy_pages."""
    start(s, "16")
    with socket.create_server(("127.0.0.1", 0)) as l:
        port = l.getsockname()[1]
    status = os.pipe()
    with rpc.Directory(s.imgs) as here:
        p = rpc.Swrk()
        p.send({"type": "DUMP", "opts": {"images_dir_fd": here, "pid": s.pid, "log_file": "dump.log", "log_level": 4, "lazy_pages": True,
                                         "status_fd": status[1], "ps": {"address": "127.0.0.1", "port": port}}})
        check(os.read(status[0], 1) == b"\0", "the dump is not ready: %s" % s.errors("dump.log"))
        there = OtherHost(s)
        there.copy()
        there.lazy_pages("--page-server", "--port", port)
        there.restore("--lazy-pages")
        check(there.ends() == 0, "the daemon: %s" % there.said())
        r = p.receive()
        check(r and r["success"], "%r: %s" % (r, s.errors("dump.log")))
    s.gone()
    there.verify()
    there.done()
    s.clean_images()
    start(s, "16")
    s.dump()
    with rpc.Directory(s.imgs) as here:
        p = rpc.Swrk()
        p.send({"type": "PAGE_SERVER", "opts": {"images_dir_fd": here, "log_file": "ps.log", "log_level": 4, "lazy_pages": True,
                                                "ps": {"address": "127.0.0.1"}}})
        r = p.receive()
        check(r and r["success"], "%r: %s" % (r, s.errors("ps.log")))
    there = OtherHost(s)
    there.copy()
    there.lazy_pages("--page-server", "--port", r["ps"]["port"])
    there.restore("--lazy-pages")
    there.verify()
    check(there.ends() == 0, "the daemon: %s" % there.said())
    there.done()


run_all()
