#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A poll() without a timeout (poll_again.c) goes on through checkpoints that leave it running, a restore of the last of them,
# a dump that is refused, and a stop in between.
# zdtm: driver
import os
import signal

from driver import check, run_all, scenario, state_of, tree, wait_for


def stopped_and_continued(s):
    for p in tree(s.pid):
        os.kill(p, signal.SIGSTOP)
        check(wait_for(lambda: state_of(p) == "T"), "%d does not stop" % p)
        os.kill(p, signal.SIGCONT)


@scenario
def snapshots(s):
    s.victim("poll_again")
    for _ in range(2):
        s.dump("-R")
        s.dump("-R")
        s.dump("--action-script", s.script("veto", "exit 1"), ok=False)
        check(s.rc != 0, "a veto is no veto")
        stopped_and_continued(s)
        s.dump("-R")
        s.kill()
        s.restore()
        s.dump("-R")
        s.dump()
        s.restore()
    s.verify()


run_all()
