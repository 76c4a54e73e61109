#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Chains through page servers: each pre-dump, and the dump, sends what was written to since the one before, to a server whose directory is
# on top of what that one has sent. A program that writes in every way is compared page by page; directories of other chains, a server that
# has lost pages, and CRIU's at either end.
# zdtm: driver
# zdtm: timeout 2400
import os
import random
import shutil
import signal
import socket
import subprocess
import time

import rpc
from case import guardians
from certificates import authority, certificate, tls
from chain import link, memory, prev, same_memory
from driver import check, need, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for
from image_edit import fields, packed
from other_host import LazyDump, OtherHost
from page_wire import CLOSE, IN_PARENT, LAZY, PARENT, Checker, Server, entries, fault_points, nothing_hidden

FULL = "sent in full"


def on_top(n):
    return ["--prev-images-dir", "../dst%d" % (n - 1)] if n else []


def serve(s, n, *opts, **kw):
    return Server(s, *on_top(n), *opts, name="dst%d" % n, **kw)


def send(s, n, server, kind, *opts, ok=True, **kw):
    """Number n of the chain, whose images go into directory n."""
    link(s, n)
    track = [] if kind == "dump" else ["--track-mem"]
    s.tool("pre-dump" if kind == "pre-dump" else "dump", "-t", s.pid, "-D", s.imgs, "-v4", "-o", "dump.log", *track, *prev(n),
           "--page-server", *(["--port", server.port] if server.port else []), *opts, **kw)
    check(s.rc == 0 or not ok, "%s %d: %s" % (kind, n, s.errors("dump.log")))
    return said(s, n)


def step(s, n, kind="pre-dump", *opts, server=(), full=False):
    server = serve(s, n, *server)
    log = send(s, n, server, kind, *opts)
    server.ends(0)
    check((FULL in log or "stored in full" in log) == full, "%d is%s sent in full: %s" % (n, "" if full == (FULL in log) else " not", log[-2000:]))
    names = [f for f in os.listdir(s.imgs) if f.startswith("pag")]
    check(not names, "at the sender: %r" % names)
    return server


def said(s, n):
    return text(os.path.join(s.path(str(n)), "dump.log"))


def copy_images(s, n, to=None):
    """What the dump has written joins what its server has; from there it is restored."""
    to = to or s.path("dst%d" % n)
    for f in os.listdir(s.path(str(n))):
        if not f.endswith(".log") and f != "parent":
            shutil.copy(os.path.join(s.path(str(n)), f), to)
    s.imgs = to


def sizes(s, count):
    """Of the pages files, in pages."""
    out = []
    for n in range(count):
        d = s.path("dst%d" % n)
        out.append(sum(os.stat(os.path.join(d, f)).st_size for f in os.listdir(d) if f.startswith("pages-")) // 4096)
    return out


def clean(s):
    for n in os.listdir(s.dir):
        if n.isdigit() or n.startswith("dst"):
            shutil.rmtree(s.path(n))


def stands(s):
    """{pid: memory} of the tree when all of it has stopped; then it is ended."""
    pids = [p for p in tree(s.pid) if state_of(p) != "Z"]
    check(wait_for(lambda: all(state_of(p) == "T" for p in pids)), "not all are stopped")
    before = {p: memory(p) for p in pids}
    s.kill()
    return before


def restored_the_same(s, before, why):
    s.restore("-s")
    for p in before:
        same_memory(before[p], memory(p), "%s, pid %d" % (why, p))
    for p in sorted(before, reverse=True):
        os.kill(p, signal.SIGCONT)
    s.verify()


@scenario
def writer(s):
    for number in range(rounds_wanted(8)):
        clean(s)
        s.victim("pre_dump_writer", [str(number + 31)])
        for n in range(3):
            if (number + n) % 4 == 3:
                step(s, n, "snapshot", "-R")
            else:
                step(s, n, "pre-dump", "--pre-dump-mode", ("splice", "read")[(number + n) % 2])
        step(s, 3, "dump", "-s")
        before = stands(s)
        copy_images(s, 3)
        # Nothing of what the sender has is needed any more.
        for n in range(4):
            shutil.rmtree(s.path(str(n)))
        restored_the_same(s, before, "chain %d" % number)


@scenario
def little_written(s):
    """Hardly more than what was written to goes over the connection."""
    s.victim("pre_dump_large")
    for n in range(3):
        step(s, n)
        os.kill(s.pid, signal.SIGUSR1)  # writes to 1 %
        check(wait_for(lambda: os.path.exists(s.path("written"))), "nothing was written")
        os.unlink(s.path("written"))
    step(s, 3, "dump")
    s.gone()
    sent = sizes(s, 4)
    print("pages sent: %r" % sent)
    check(sent[0] > 65000 and max(sent[1:]) < 1500, "pages sent: %r" % sent)
    copy_images(s, 3)
    s.restore()
    s.verify()


@scenario
def executed(s):
    """Another program under the same number, at the same addresses perhaps: nothing of the old one's memory is taken for its."""
    s.victim("pre_dump_writer", ["50"])
    step(s, 0)
    for n in (1, 2):
        os.unlink(s.path("ready"))
        os.kill(s.pid, signal.SIGUSR1)
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "no execve")
        server = serve(s, n)
        send(s, n, server, "dump" if n == 2 else "pre-dump", *(["-s"] if n == 2 else []))
        server.ends(0)
    before = stands(s)
    copy_images(s, 2)
    restored_the_same(s, before, "after execve")


@scenario
def sender_alone(s):
    """What the sender has is no checkpoint: no pages, rather than zeros."""
    s.victim("pre_dump_writer", ["51"])
    step(s, 0)
    step(s, 1, "dump")
    s.gone()
    s.imgs = s.path("1")
    check(s.restore(ok=False) and "is missing" in s.errors("restore.log"), s.errors("restore.log"))
    # Nor with the pages of this one alone.
    copy_images(s, 1)
    os.rename(s.path("dst0"), s.path("dst9"))
    check(s.restore(ok=False) and "dst0" in s.errors("restore.log"), s.errors("restore.log"))
    os.rename(s.path("dst9"), s.path("dst0"))
    s.restore()
    s.verify()


# ---- which checkpoint the server's directory is on top of ----

@scenario
def other_chain(s):
    """A server on top of what another dump of the same tree has sent: nothing is taken for sent."""
    s.victim("pre_dump_writer", ["52"])
    step(s, 0)
    os.rename(s.path("dst0"), s.path("dst5"))
    shutil.rmtree(s.path("0"))
    step(s, 0)
    os.rename(s.path("dst0"), s.path("dst6"))
    os.rename(s.path("dst5"), s.path("dst0"))
    step(s, 1, full=True)
    # And one that was replaced since, which is noticed by the restore.
    step(s, 2, "dump")
    s.gone()
    copy_images(s, 2)
    os.rename(s.path("dst1"), s.path("dst7"))
    os.rename(s.path("dst6"), s.path("dst1"))
    check(s.restore(ok=False) and "another checkpoint" in s.errors("restore.log"), s.errors("restore.log"))
    os.rename(s.path("dst1"), s.path("dst6"))
    os.rename(s.path("dst7"), s.path("dst1"))
    s.restore()
    s.verify()


@scenario
def older_link(s):
    """The oldest of three is another one: the restore goes back to it, by way of directories without an inventory."""
    s.victim("pre_dump_writer", ["53"])
    step(s, 0)
    os.rename(s.path("dst0"), s.path("dst9"))
    shutil.rmtree(s.path("0"))
    step(s, 0)
    step(s, 1)
    step(s, 2, "dump")
    s.gone()
    copy_images(s, 2)
    os.rename(s.path("dst0"), s.path("dst8"))
    os.rename(s.path("dst9"), s.path("dst0"))
    check(s.restore(ok=False) and "another checkpoint" in s.errors("restore.log"), s.errors("restore.log"))
    os.rename(s.path("dst0"), s.path("dst9"))
    os.rename(s.path("dst8"), s.path("dst0"))
    # The images of this dump with what the server has of another.
    shutil.copytree(s.path("dst2"), s.path("copy"), symlinks=True)
    mark = [f for f in os.listdir(s.path("dst2")) if f.startswith("pagemap-shmem-") and len(f) > 30]
    check(len(mark) == 1, "marks: %r" % mark)
    os.unlink(s.path("copy/" + mark[0]))
    s.imgs = s.path("copy")
    check(s.restore(ok=False) and mark[0] in s.errors("restore.log"), s.errors("restore.log"))
    s.imgs = s.path("dst2")
    s.restore()
    s.verify()


@scenario
def no_checkpoint_before(s):
    """A server without --prev-images-dir; one that has lost the images of a task; one whose older pages were given back."""
    s.victim("pre_dump_writer", ["54"])
    step(s, 0)
    server = Server(s, name="dst1")
    log = send(s, 1, server, "pre-dump")
    server.ends(0)
    check("not on top of" in log and FULL in log, log[-1000:])
    for f in os.listdir(s.path("dst1")):
        if f == "pagemap-%d.img" % s.pid:
            os.unlink(s.path("dst1/" + f))
    os.unlink(s.path("dst1/page-server.sums"))
    log = send(s, 2, serve(s, 2), "pre-dump")
    check("tasks is sent in full" in log, log[-1000:])
    step(s, 3, "dump")
    s.gone()
    shutil.rmtree(s.path("dst0"))
    copy_images(s, 3)
    s.restore()
    s.verify()


@scenario
def refused(s):
    s.victim("pre_dump_writer", ["55"])
    for opts, why in ((["--prev-images-dir", "../none"], "cannot be used"), (["--prev-images-dir", "."], "directory of its own")):
        s.tool("page-server", "-D", s.imgs, "--address", "127.0.0.1", *opts)
        check(s.rc == 1 and why in s.out, "%r: %d: %s" % (opts, s.rc, s.out))
        nothing_hidden(s.imgs)
    step(s, 0)
    os.makedirs(s.path("dst1"))
    os.symlink("../elsewhere", s.path("dst1/parent"))
    s.tool("page-server", "-D", s.path("dst1"), *on_top(1))
    check(s.rc == 1 and "leads to ../elsewhere" in s.out, s.out)
    os.unlink(s.path("dst1/parent"))
    # Files that are written here are not on top of what a page server alone has.
    link(s, 1)
    s.dump("-R", *prev(1), ok=False)
    check(s.rc == 1 and "no whole checkpoint" in s.errors("dump.log"), s.errors("dump.log"))
    shutil.rmtree(s.path("1"))
    step(s, 1)
    step(s, 2, "dump")
    s.gone()
    copy_images(s, 2)
    s.restore()
    s.verify()


# ---- CRIU's at the other end ----

@scenario
def server_like_criu(s):
    """Which has no integrity file, and knows of a checkpoint before by a pagemap's name alone."""
    s.victim("pre_dump_writer", ["56"])
    commands = []
    for n in range(3):
        os.makedirs(s.path("dst%d" % n))
        if n:
            os.symlink("../dst%d" % (n - 1), s.path("dst%d/parent" % n))
        server = Checker(s.path("dst%d" % n), prev=s.path("dst%d" % (n - 1)) if n else None)
        log = send(s, n, server, "dump" if n == 2 else "pre-dump", *(["-s"] if n == 2 else []))
        server.done()
        check(FULL not in log, log[-500:])
        commands.append(server.commands)
    check(PARENT not in commands[0] and all(c[0] == PARENT for c in commands[1:]) and all(c[-1] == CLOSE for c in commands), "%r" % commands)
    listed = entries(s.path("dst2/pagemap-%d.img" % s.pid))[0]
    check(any(f == IN_PARENT for _, _, f in listed), "nothing is in the parent")
    before = stands(s)
    copy_images(s, 2)
    restored_the_same(s, before, "by CRIU's server")


@scenario
def sender_like_criu(s):
    """Which says no marks: its pages are looked for, and found in directories without an inventory."""
    s.victim("pre_dump_writer", ["57"])
    step(s, 0)
    step(s, 1, "dump", "-s")
    before = stands(s)
    for n in (0, 1):
        d = s.path("dst%d" % n)
        for f in os.listdir(d):
            if f.startswith("pagemap-shmem-") and len(f) > 30 or f in ("page-sums.img", "page-server.sums"):
                os.unlink(os.path.join(d, f))
    copy_images(s, 1)
    os.unlink(os.path.join(s.imgs, "checkpoint.sums"))
    check(s.restore(ok=False) and "another checkpoint" in s.errors("restore.log"), s.errors("restore.log"))
    without_prev(os.path.join(s.imgs, "inventory.img"))
    restored_the_same(s, before, "without marks")


def without_prev(path):
    """The inventory is CRIU's: nothing of ours says what was before."""
    with open(path, "rb") as f:
        raw = f.read()
    body = b"".join(packed(n, kind, v) for n, kind, v in fields(raw[8:]) if n != 1004)
    with open(path, "wb") as f:
        f.write(raw[:4] + len(body).to_bytes(4, "little") + body)


# ---- ways to go ----

@scenario
def same_directory(s):
    """As CRIU's own tests have it: the dump and the server write into one directory each time."""
    s.victim("pre_dump_writer", ["58"])
    for n in range(3):
        link(s, n)
        server = Server(s, *prev(n), name=str(n))
        kind = ["dump", "-s"] if n == 2 else ["pre-dump", "--track-mem"]
        s.tool(*kind, "-t", s.pid, "-D", s.imgs, "-v4", "-o", "dump.log", *prev(n), "--page-server", "--port", server.port)
        check(s.rc == 0 and FULL not in said(s, n) and "stored in full" not in said(s, n), "%d: %s" % (n, s.errors("dump.log")))
        server.ends(0)
        nothing_hidden(s.imgs)
    restored_the_same(s, stands(s), "in one directory")


@scenario
def mixed(s):
    """Files that were copied, then a page server, then files again that are on top of what it has."""
    s.victim("pre_dump_writer", ["59"])
    link(s, 0)
    s.tool("pre-dump", "-t", s.pid, "-D", s.imgs, "--track-mem")
    check(s.rc == 0, s.out)
    shutil.copytree(s.path("0"), s.path("dst0"))
    step(s, 1)
    shutil.rmtree(s.path("0"))
    copy_images(s, 1, s.path("dst1"))
    link(s, "dst2")
    s.dump("-s", "--prev-images-dir", "../dst1")
    check("stored in full" not in text(s.path("dst2/dump.log")), "all is stored")
    restored_the_same(s, stands(s), "mixed")


@scenario
def inherited(s):
    """As p.haul: one connection for all of it, and PRE_DUMP after PRE_DUMP."""
    s.victim("pre_dump_writer", ["60"])
    ours, theirs = socket.socketpair()
    here = rpc.Swrk(pass_fds=(ours.fileno(),))
    for n in range(4):
        link(s, n)
        os.makedirs(s.path("dst%d" % n))
        on = {"parent_img": "../dst%d" % (n - 1)} if n else {}
        with rpc.Directory(s.path("dst%d" % n)) as dst, rpc.Directory(s.imgs) as src:
            there = rpc.Swrk(pass_fds=(theirs.fileno(),))
            there.send({"type": "PAGE_SERVER_CHLD", "keep_open": True,
                        "opts": {"images_dir_fd": dst, "log_file": "ps.log", "log_level": 4, "ps": {"fd": theirs.fileno()}, **on,
                                 "auto_dedup": n == 2}})
            r = there.receive()
            check(r["success"], "%r" % r)
            opts = {"images_dir_fd": src, "pid": s.pid, "log_file": "dump.log", "log_level": 4, "track_mem": n < 3, "auto_dedup": n > 0,
                    "ps": {"fd": ours.fileno()}}
            here.send({"type": "DUMP" if n == 3 else "PRE_DUMP", "opts": {**opts, **({"parent_img": "../%d" % (n - 1)} if n else {})}})
            d = here.receive()
            check(d and d["success"], "%d: %r: %s" % (n, d, s.errors("dump.log")))
            there.send({"type": "WAIT_PID", "pid": r["ps"]["pid"]})
            w = there.receive()
            check(w and w["success"] and w["status"] == 0 and there.ends() == 0, "%d: the server: %r %s" % (n, w, text(s.path("dst%d/ps.log" % n))[-500:]))
        check(FULL not in said(s, n) and "stored in full" not in said(s, n), said(s, n)[-500:])
    check(here.ends() == 0, "the end of criu swrk")
    ours.close(), theirs.close()
    s.gone()
    copy_images(s, 3)
    s.restore()
    s.verify()


@scenario
def encrypted(s):
    need("openssl")
    authority(s, "ca")
    certificate(s, "one", "ca", "IP:127.0.0.1,DNS:localhost")
    s.victim("pre_dump_writer", ["61"])
    step(s, 0, "pre-dump", "--address", "127.0.0.1", *tls(s), server=tls(s))
    step(s, 1, "dump", "-s", "--address", "127.0.0.1", *tls(s), server=tls(s))
    before = stands(s)
    copy_images(s, 1)
    restored_the_same(s, before, "encrypted")


@scenario
def dedup(s):
    """The server gives back what it has anew, of all those before, when the dump has committed."""
    s.victim("pre_dump_writer", ["62"])
    for n in range(4):
        opts = ["--auto-dedup"] if n else []
        step(s, n, "dump" if n == 3 else "pre-dump", *(["-s"] if n == 3 else []), *opts, server=opts)
    before = stands(s)
    punched = [os.path.exists(s.path("dst%d/punched.img" % n)) for n in range(4)]
    check(punched == [True, True, True, False], "punched: %r: %s" % (punched, text(s.path("dst3/ps.log"))[-500:]))
    copy_images(s, 3)
    restored_the_same(s, before, "punched")


def write(s):
    os.kill(s.pid, signal.SIGUSR1)  # to 1 %
    check(wait_for(lambda: os.path.exists(s.path("written"))), "nothing was written")
    os.unlink(s.path("written"))


def lazy_to(s, number, prev_dir):
    """The last one stays here but for what is written since; the other host has all else. Whether that restores there."""
    link(s, number)
    dump = LazyDump(s, "--address", "127.0.0.1", "--prev-images-dir", "../%d" % (number - 1))
    check("stored in full" not in text(s.imgs + "/dump.log"), "all stays")
    there = OtherHost(s)
    there.copy_chain(prev_dir)
    there.lazy_pages("--page-server", "--address", "127.0.0.1", "--port", dump.port)
    return dump, there


@scenario
def lazy(s):
    """Pre-dumps go to page servers; what is written after them stays with the dump until it is wanted."""
    s.victim("pre_dump_large")
    step(s, 0)
    write(s)
    step(s, 1)
    write(s)
    dump, there = lazy_to(s, 2, "../dst1")
    later = sum(n for _, n, f in entries(s.path("2/pagemap-%d.img" % s.pid))[0] if f == LAZY)
    before = sum(n for _, n, f in entries(s.path("2/pagemap-%d.img" % s.pid))[0] if f == IN_PARENT)
    check(500 < later < 1500 and before > 60000, "%d pages stay, %d are there" % (later, before))
    there.restore("--lazy-pages")
    check(there.ends() == 0, "the daemon: %s" % there.said())
    dump.ends(0)
    s.gone()
    there.verify()
    there.done()


@scenario
def lazy_other_chain(s):
    """On the other host there is another checkpoint before it: nothing is restored, and the tree runs on here."""
    s.victim("pre_dump_large")
    step(s, 0)
    os.rename(s.path("dst0"), s.path("dst9"))
    shutil.rmtree(s.path("0"))
    step(s, 0)
    write(s)
    dump, there = lazy_to(s, 1, "../dst9")
    check(there.restore("--lazy-pages", ok=False) == 1 and "another checkpoint" in s.errors("restore.log", there.imgs), there.out)
    there.kill_daemon()
    there.done()
    dump.proc.send_signal(signal.SIGTERM)
    dump.proc.wait(60)
    dump.proc.stdout.close()
    check(wait_for(lambda: state_of(s.pid) in "SR"), "the tree is %s" % state_of(s.pid))
    s.verify()


# ---- kills ----

def quiet(server=None):
    """Nothing of a killed dump is left: its guardian. The tracker of the one before may be."""
    left = [p for p in guardians() if (not server or p != server.proc.pid) and text("/proc/%d/comm" % p).strip() != "criu-tracker"]
    return not left


def pre_dump_on(s, last, n, server, *opts):
    link(s, n)
    return s.tool("pre-dump", "-t", s.pid, "-D", s.imgs, "-v4", "-o", "dump.log", "--track-mem", "--prev-images-dir", "../%d" % last,
                  "--page-server", "--port", server.port, "--pre-dump-mode", ("splice", "read")[n % 2], *opts)


def points_of(s, of_server):
    """Which to be killed at: those of the pages are many, and alike."""
    server = Server(s, "--prev-images-dir", "../dst0", "--test-kill-at", 100000, name="dst1")
    pre_dump_on(s, 0, 1, server, "--test-kill-at", 100000)
    server.ends(0)
    n = fault_points(server.said() if of_server else said(s, 1))
    check(n >= 6, "%d fault points" % n)
    return [*range(1, min(n, 20)), *range(20, n - 8, max(1, (n - 28) // 4)), *range(max(20, n - 8), n + 6), 100000]


def killed(s, of_server, seed):
    """kill -9 at each fault point of a pre-dump, or of its server: the tree runs on, and the chain goes on from its last whole checkpoint."""
    s.victim("pre_dump_writer", [seed])
    step(s, 0)
    points, last, hits, wholes = points_of(s, of_server), 1, 0, 0
    for n, at in enumerate(points, 100):
        why, kill = "point %d" % at, ["--test-kill-at", at]
        server = Server(s, "--prev-images-dir", "../dst%d" % last, *(kill if of_server else []), name="dst%d" % n)
        pre_dump_on(s, last, n, server, *([] if of_server else kill))
        check(wait_for(lambda: state_of(s.pid) in "SRD"), "%s: the victim is %s" % (why, state_of(s.pid)))
        check(wait_for(lambda: quiet(server)), "%s: a guardian lives on" % why)
        if s.rc and not of_server and not connected(server):
            server.connect().close()
        server.proc.wait(60)
        server.proc.stdout.close()
        whole = os.path.exists(s.imgs + "/inventory.img")
        check(whole or s.rc, "%s: %d, and no checkpoint" % (why, s.rc))
        check(not whole or "page-server.sums" in server.images(), "%s: committed, and the server has nothing: %r" % (why, server.images()))
        hits += s.rc != 0
        wholes += whole
        last = n if whole else last
    check(hits >= (5 if of_server else 12) and wholes >= 1, "%d points, %d checkpoints" % (hits, wholes))
    link(s, 999)
    server = Server(s, "--prev-images-dir", "../dst%d" % last, name="dst999")
    s.dump("-s", "--prev-images-dir", "../%d" % last, "--page-server", "--port", server.port)
    server.ends(0)
    check("stored in full" not in said(s, 999) and FULL not in said(s, 999), "the chain does not go on")
    before = stands(s)
    copy_images(s, 999)
    restored_the_same(s, before, "after %d kills" % hits)


def connected(server):
    return not any(line.split()[1].endswith(":%04X" % server.port) and line.split()[3] == "0A"
                   for line in text("/proc/net/tcp").splitlines()[1:])


@scenario
def sender_killed(s):
    killed(s, False, "63")


@scenario
def server_killed(s):
    killed(s, True, "64")


@scenario
def killed_anywhere(s):
    """Either of them, at some instant."""
    s.victim("pre_dump_writer", ["65"])
    step(s, 0)
    last = 0
    for i in range(1, rounds_wanted(24)):
        link(s, i)
        server = Server(s, "--prev-images-dir", "../dst%d" % last, name="dst%d" % i)
        p = subprocess.Popen([s.criu, "pre-dump", "-t", str(s.pid), "-D", s.imgs, "-o", "dump.log", "-v4", "--track-mem", "--prev-images-dir",
                              "../%d" % last, "--page-server", "--port", str(server.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random() * 0.1)
        (p, server.proc)[i % 2].kill()
        check(wait_for(lambda: p.poll() is not None), "criu does not end")
        check(wait_for(lambda: state_of(s.pid) in "SRD"), "kill %d: the victim is %s" % (i, state_of(s.pid)))
        check(wait_for(lambda: quiet(server)), "kill %d: a guardian lives on" % i)
        if not i % 2 and not connected(server):
            server.connect().close()
        server.proc.wait(60)
        server.proc.stdout.close()
        if os.path.exists(s.imgs + "/checkpoint.sums"):
            check("page-server.sums" in server.images(), "kill %d: committed, and the server has nothing" % i)
            last = i
    link(s, 1000)
    server = Server(s, "--prev-images-dir", "../dst%d" % last, name="dst1000")
    s.dump("-s", "--prev-images-dir", "../%d" % last, "--page-server", "--port", server.port)
    server.ends(0)
    before = stands(s)
    copy_images(s, 1000)
    restored_the_same(s, before, "after kills")


run_all()
