#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Chains through page servers: each pre-dump, and the dump, sends what was written to since the one before, to a server whose directory is
# on top of what that one has sent. A program that writes in every way is compared page by page; directories of other chains, a server that
# has lost pages, and CRIU's at either end.
# zdtm: driver
# zdtm: timeout 1200
import os
import shutil
import signal
import socket

import rpc
from certificates import authority, certificate, tls
from chain import link, memory, prev, same_memory
from driver import check, need, rounds_wanted, run_all, scenario, state_of, text, tree, wait_for
from page_wire import (CLOSE, IN_PARENT, OPEN2, PARENT, Checker, Server, entries, nothing_hidden, pages, request, take, task)

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


run_all()
