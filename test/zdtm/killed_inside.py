#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A task of the tree is killed from outside while criu dumps the tree, which does not keep SIGKILL away: at instants
# spread over the dump, criu is stopped, the task killed, and criu goes on. Either the dump ends with an error that names
# the task, and all others run on; or the task was killed before it was frozen and is a zombie in the images; or its images
# were whole already, which the log says, or committed: then it comes back.
# zdtm: driver
import json
import os
import signal
import subprocess
import sys
import time

KIDS = 6
ROUNDS = int(os.environ.get("KILLED_ROUNDS", "0"))


def live():
    """Tells which of its children live, and for which signal the others have ended."""
    kids = []
    for _ in range(KIDS):
        pid = os.fork()
        if not pid:
            memory = bytearray(os.urandom(1 << 20))
            while memory:
                time.sleep(0.01)
        kids.append(pid)
    ended = {}
    with open("kids.tmp", "w") as f:
        json.dump(kids, f)
    os.rename("kids.tmp", "kids")
    open("ready", "w").close()
    while True:
        if os.path.exists("ask"):
            for pid in kids:
                got, status = os.waitpid(pid, os.WNOHANG) if pid not in ended else (0, 0)
                if got:
                    ended[pid] = os.WTERMSIG(status)
            with open("answer.tmp", "w") as f:
                json.dump(ended, f)
            os.unlink("ask")
            os.rename("answer.tmp", "answer")
        time.sleep(0.005)


if "ROLE" in os.environ:
    live()

from driver import check, run_all, scenario, state_of, text, wait_for  # noqa: E402


def ask(s):
    if os.path.exists(s.path("answer")):
        os.unlink(s.path("answer"))
    open(s.path("ask"), "w").close()
    check(wait_for(lambda: os.path.exists(s.path("answer"))), "the tree does not run on")
    return {int(k): v for k, v in json.loads(text(s.path("answer"))).items()}


def start(s):
    s.victim(os.path.abspath(__file__), env=dict(os.environ, ROLE="victim"))
    return json.loads(text(s.path("kids")))


def took(s):
    """Seconds of a dump, with the start of criu."""
    begin = time.monotonic()
    s.dump("-R")
    return time.monotonic() - begin


def kill_in_the_middle(s, victim, delay):
    """The exit status, and what had happened before the kill: whether the dump was committed, the tree frozen."""
    s.clean_images()
    p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log"], cwd=s.dir,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    p.send_signal(signal.SIGSTOP)
    check(wait_for(lambda: state_of(p.pid) in ("t", "T", "Z", "gone")), "criu does not stop: it is " + state_of(p.pid))
    log = text(s.path("imgs/dump.log")) if os.path.exists(s.path("imgs/dump.log")) else ""
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        pass  # by the dump
    p.send_signal(signal.SIGCONT)
    return p.wait(60), "committed" in log, "frozen: " in log


def killed_late(s):
    return "".join(n for n in text(s.path("imgs/dump.log")).splitlines() if "was killed during the dump" in n)


@scenario
def each_instant(s):
    kids = start(s)
    whole, failed = took(s), 0
    rounds = ROUNDS or (60 if os.environ.get("STRESS") == "1" else 12)
    for i in range(rounds):
        victim = kids[i % KIDS]
        rc, committed, frozen = kill_in_the_middle(s, victim, whole * (i + 0.5) / rounds)
        when = "round %d: " % i
        if rc:
            failed += 1
            check("pid %d (" % victim in text(s.path("imgs/dump.log")) and
                  "was killed from outside" in text(s.path("imgs/dump.log")),
                  when + "the log does not name the task: " + s.errors("dump.log"))
            check(ask(s) == {victim: signal.SIGKILL}, when + "others ended: %s" % ask(s))
            s.kill()
        else:
            whole_images = committed or "pid %d (" % victim in killed_late(s)
            check(whole_images or not frozen, when + "it was killed while it was frozen, and the dump knows nothing of it")
            s.gone()
            s.restore()
            check(ask(s) == ({} if whole_images else {victim: signal.SIGKILL}), when + "the task is not as it was")
            s.kill()
        kids = start(s)
    check(failed > 0, "no dump was met in the middle")
    s.kill()


run_all()
