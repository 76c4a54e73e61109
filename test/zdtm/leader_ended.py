#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Processes whose first thread has ended, or does so in the middle of a dump; stopped ones; what the caller and CRIU see.
# zdtm: driver
# zdtm: timeout 600
import os
import random
import subprocess
import time

from driver import check, run_all, scenario, state_of, text, wait_for

VERSION_CRIU, VERSION_OURS = b"\x08\x02\x10", b"\x08\xe8\x07"
ROUNDS = 200 if os.environ.get("STRESS") else 15


def states(pid):
    return {t: text("/proc/%d/task/%s/stat" % (pid, t)).rpartition(")")[2].split()[0] for t in os.listdir("/proc/%d/task" % pid)}


def others_are(pid, state):
    return all(s == state for t, s in states(pid).items() if int(t) != pid) and states(pid)[str(pid)] == "Z"


def version(s):
    """img_version, as a varint: the first field behind the magic number and the size."""
    with open(os.path.join(s.imgs, "inventory.img"), "rb") as f:
        return f.read()[8:11]


@scenario
def stopped(s):
    """By a signal before the dump, and by --leave-stopped."""
    s.victim("leader_ended")
    os.kill(s.pid, 19)
    check(wait_for(lambda: others_are(s.pid, "T")), "before: %s" % states(s.pid))
    for n in range(2):
        s.dump()
        s.restore()
        check(others_are(s.pid, "T"), "restored: %s" % states(s.pid))
    s.dump()
    s.restore()
    os.kill(s.pid, 18)
    check(wait_for(lambda: others_are(s.pid, "S")), "continued: %s" % states(s.pid))
    s.dump()
    s.restore("--leave-stopped")
    check(others_are(s.pid, "T"), "left stopped: %s" % states(s.pid))
    os.kill(s.pid, 18)
    s.verify()


@scenario
def not_for_criu(s):
    """What CRIU would restore to something else has a version that it refuses."""
    for program, ours in (("sleeping", False), ("leader_ended", True)):
        s.victim(program)
        s.dump()
        check(version(s) == (VERSION_OURS if ours else VERSION_CRIU), "%s: the version is %s" % (program, version(s)))
        s.restore()
        s.verify()
        s.clean_images()


@scenario
def ends_meanwhile(s):
    """At any instant of a dump: it is an ordinary process then, or one whose leader has ended."""
    seen = {"Z": 0, "S": 0}
    for n in range(ROUNDS):
        for name in ("ready", "verify", "result"):
            if os.path.exists(s.path(name)):
                os.unlink(s.path(name))
        s.proc = subprocess.Popen([os.path.join(os.environ["TESTS"], "leader_ending"), str(random.randrange(0, 60000))],
                                  cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "it is not ready")
        s.dump()
        seen["Z" if version(s) == VERSION_OURS else "S"] += 1
        began = time.monotonic()
        p = subprocess.Popen([s.criu, "restore", "-D", s.imgs, "-o", "restore.log", "-v4", "--shell-job"], cwd=s.dir,
                             stdin=subprocess.DEVNULL)
        check(wait_for(lambda: p.poll() is not None or state_of(s.pid) in "ZS" and "restored" in text(s.path("imgs/restore.log"))),
              "%s" % s.errors("restore.log"))
        open(s.path("verify"), "w").close()
        check(p.wait(60) == 7, "round %d: criu ends with %s as the job does, after %.1f s: %s"
              % (n, p.returncode, time.monotonic() - began, s.errors("restore.log")))
        check("PASS" in text(s.path("result")), "round %d: it says %r" % (n, text(s.path("result"))))
        s.clean_images()
    print("rounds: %s" % seen)


run_all()
