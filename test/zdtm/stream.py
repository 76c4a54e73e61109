#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --stream: a dump and restores through an image streamer. What it has is a whole checkpoint, the directory stays as it was, and a
# streamer that ends, lies or does nothing is an error that leaves the tree (or nothing) behind.
# zdtm: driver
# zdtm: timeout 400
import os
import signal
import subprocess

from driver import Snapshot, check, children, run_all, scenario, state_of, text, wait_for
from streamer import Streamer

IMAGE = ("inventory.img", "pstree.img", "checkpoint.sums", "files.img")


def captured(s, *opts, **kw):
    """Dumps through a streamer; the files that it has got."""
    streamer = Streamer(s.imgs, capture=True)
    s.dump("--stream", *opts, **kw)
    files = streamer.done()
    check(all(name in files for name in IMAGE), sorted(files))
    check(streamer.order[-1] == "checkpoint.sums", streamer.order)
    return files


def left_in(s):
    return sorted(n for n in os.listdir(s.imgs) if n not in ("dump.log", "restore.log", "stats-dump", "stats-restore"))


def restored(s, files, *opts, **kw):
    streamer = Streamer(s.imgs, capture=False, files=files)
    s.restore("--stream", *opts, **kw)
    streamer.done()
    check(len(streamer.served) == len(set(streamer.served)), "asked for again: %s" % streamer.served)


@scenario
def there_and_back(s):
    for program in ("anon_memory", "cow_children", "cow_once", "sharing", "memfd", "pipes"):
        s.victim(program)
        for _ in range(1 if program == "cow_children" else 2):  # which counts shared pages from its first round on
            files = captured(s)
            check(not left_in(s), left_in(s))
            restored(s, files)
        s.verify()


@scenario
def a_whole_checkpoint(s):
    """What a streamer has got is restored from files, and the other way round."""
    s.victim("sharing")
    files = captured(s)
    for name, data in files.items():
        with open(os.path.join(s.imgs, name), "wb") as f:
            f.write(data)
    s.restore()
    s.clean_images()
    s.dump()
    files = {}
    for name in s.images():
        with open(os.path.join(s.imgs, name), "rb") as f:
            files[name] = f.read()
    s.clean_images()
    restored(s, files)
    s.verify()


@scenario
def older_checkpoint_stays(s):
    s.victim()
    s.dump("-R")
    before = {n: open(os.path.join(s.imgs, n), "rb").read() for n in left_in(s)}
    files = captured(s)
    check({n: open(os.path.join(s.imgs, n), "rb").read() for n in left_in(s)} == before, left_in(s))
    restored(s, files)
    s.verify()


@scenario
def signals_that_come_late(s):
    """A core image that is written anew is sent again."""
    s.victim("sleeping")
    s.kill()
    s.proc = subprocess.Popen(["/bin/sh", "-c", "trap 'echo came >got' USR1; : >up; while :; do sleep 0.05; done"], cwd=s.dir,
                              start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("up"))), "not up")
    hook = s.script("hook", '[ $CRTOOLS_SCRIPT_ACTION != post-dump ] || kill -USR1 %d\n' % s.pid)
    streamer = Streamer(s.imgs, capture=True)
    s.dump("--stream", "--action-script", hook)
    files = streamer.done()
    check(streamer.order.count("core-%d.img" % s.pid) == 2 and streamer.order.count("checkpoint.sums") == 2, streamer.order)
    check(not os.path.exists(s.path("got")), "the signal came before the dump")
    restored(s, files)
    check(wait_for(lambda: os.path.exists(s.path("got"))), "the signal is lost")
    s.kill()


@scenario
def stages(s):
    """pre-stream is before all others, and may start the streamer."""
    s.victim()
    hook = s.script("hook", 'echo $CRTOOLS_SCRIPT_ACTION >>%s\n' % s.path("stages"))
    files = captured(s, "--action-script", hook)
    check(text(s.path("stages")).split()[:2] == ["pre-stream", "pre-dump"], text(s.path("stages")))
    os.unlink(s.path("stages"))
    restored(s, files, "--action-script", hook)
    check(text(s.path("stages")).split()[:2] == ["pre-stream", "pre-restore"], text(s.path("stages")))
    veto = s.script("veto", '[ $CRTOOLS_SCRIPT_ACTION != pre-stream ]\n')
    s.dump("--stream", "--action-script", veto, ok=False)
    check(s.rc == 1, "a veto at pre-stream")
    s.verify()


def refused(s, what, words):
    log = text(os.path.join(s.imgs, "%s.log" % what))
    check(s.rc == 1 and words in log, "%s: status %s, %r is not in: %s" % (what, s.rc, words, s.errors("%s.log" % what)))


@scenario
def dumps_that_fail(s):
    s.victim("sharing")
    before = Snapshot(s.pid)
    s.dump("--stream", ok=False)
    refused(s, "dump", "streamer-capture.sock: connect; with --stream an image streamer has to listen there")
    whole = captured(s, "-R")
    faults = [(lambda name, n: "die" if n == 1 else None, "the image streamer has closed its end"),
              (lambda name, n: "die" if n == len(whole) else None, "the image streamer has closed its end"),
              (lambda name, n: "close" if name == "inventory.img" else None, "the image streamer has closed its end"),
              (lambda name, n: "close" if name == "checkpoint.sums" else None, "the image streamer has closed its end"),
              (lambda name, n: "close" if name.startswith("pages-") else None, "the image streamer has closed its end"),
              (lambda name, n: "stall" if name.startswith("pages-") else None, "the image streamer has done nothing for 2 seconds"),
              (lambda name, n: "stall" if name == "pstree.img" else None, "the image streamer has done nothing for 2 seconds")]
    for fault, words in faults:
        streamer = Streamer(s.imgs, capture=True, fault=fault)
        s.dump("--stream", "--timeout", 2, ok=False)
        streamer.done()
        refused(s, "dump", words)
        check(not left_in(s), left_in(s))
        s.same(before, "after a dump that failed: %s" % words)
    restored(s, captured(s))
    s.verify()


@scenario
def restores_that_fail(s):
    s.victim("sharing")
    files = captured(s)
    pages = max((len(data), name) for name, data in files.items() if name.startswith("pages-"))[1]
    s.restore("--stream", ok=False)
    refused(s, "restore", "streamer-serve.sock: connect")
    gone = "the image streamer has closed its end"
    faults = [("pstree.img", "missing", "the image streamer has no such file, but checkpoint.sums has"),
              (pages, "missing", "the image streamer has no such file"),
              ("pstree.img", "cut", "pstree.img has"), ("files.img", "changed", "files.img is damaged or was changed"),
              ("checkpoint.sums", "cut", "checkpoint.sums was cut short or changed"), ("checkpoint.sums", "die", gone),
              (pages, "cut", "tells of"), (pages, "more", "the image streamer sends more than"), (pages, "die", gone),
              (pages, "half", "has done nothing for 2 seconds"), ("inventory.img", "stall", "has done nothing for 2 seconds"),
              ("inventory.img", "garbage", "image streamer")]
    for wrong, what, words in faults:
        streamer = Streamer(s.imgs, capture=False, files=files, fault=lambda name, n: what if name == wrong else None)
        s.restore("--stream", "--timeout", 2, ok=False)
        refused(s, "restore", words)
        streamer.done()
        check(state_of(s.pid) == "gone" and not children(os.getpid()), "%s %s: something is left" % (wrong, what))
    restored(s, files)
    s.verify()


@scenario
def killed(s):
    """criu is killed while it sends: the tree goes on, and nothing counts as a checkpoint."""
    s.victim("sharing")
    before = Snapshot(s.pid)
    for at in ("pages-1.img", "inventory.img"):
        streamer = Streamer(s.imgs, capture=True, fault=lambda name, n: os.kill(tool[0], signal.SIGKILL) if name == at else None)
        tool = []
        p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-o", "dump.log", "--stream", "--timeout", "60"],
                             stdin=subprocess.DEVNULL)
        tool.append(p.pid)
        check(p.wait(100) == -signal.SIGKILL, "criu ended by itself")
        check("checkpoint.sums" not in streamer.done(), "a whole checkpoint")
        check(wait_for(lambda: state_of(s.pid) == "S"), "the tree does not go on")
        s.same(before, "after criu was killed")
    s.verify()


run_all()
