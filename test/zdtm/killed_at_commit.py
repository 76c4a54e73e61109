#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# The tool is killed right after the commit of a dump, and its guardian is slow: the victim does nothing any more since it
# was frozen, not even until it is killed too (commit_victim.c).
# zdtm: driver
import os
import re
import signal
import subprocess

from case import guardians, runs
from driver import check, run_all, scenario, state_of, text, tree, wait_for

WAIT = """[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0
cd %s; touch here; while [ ! -e go ]; do sleep 0.01; done; rm go"""


@scenario
def nothing_more(s):
    s.victim("commit_victim")
    s.dump("-R", "--test-kill-at", 100000)
    point = re.findall(r"fault point (\d+): committed", text(s.path("imgs/dump.log")))
    check(len(point) == 1, "where is the point?")
    for i in range(3):
        s.clean_images()
        p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log", "--test-kill-at",
                              point[0], "--action-script", s.script("wait", WAIT % s.dir)], cwd=s.dir, stdin=subprocess.DEVNULL)
        check(wait_for(lambda: os.path.exists(s.path("here"))), "no script was run")
        os.unlink(s.path("here"))
        guardian = [k for k in tree(p.pid) if text("/proc/%d/comm" % k) == "criu-guardian\n"][0]
        os.kill(guardian, signal.SIGSTOP)
        check(wait_for(lambda: state_of(guardian) == "T"), "the guardian does not stop")
        open(s.path("go"), "w").close()
        check(wait_for(lambda: "killed at fault point" in text(s.path("imgs/dump.log")) and state_of(p.pid) in "tZ"),
              "the tool lives on")
        check("checkpoint.sums" in s.images(), "it was not killed behind the commit")
        told = open(s.path("told"), "rb").read(8)
        check(not wait_for(lambda: open(s.path("told"), "rb").read(8) != told, 0.3), "round %d: it runs on" % i)
        os.kill(guardian, signal.SIGCONT)
        check(p.wait(60) == -signal.SIGKILL, "it was not killed")
        check(wait_for(lambda: not guardians()) and not runs(s.pid), "it lives on")
        s.gone()
        s.restore()
        open(s.path("ask"), "w").close()
        check(wait_for(lambda: not os.path.exists(s.path("ask"))), "no answer")
    s.verify()


run_all()
