#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Timers that expire at times of a clock (timerfd_times.c), while criu has to share one processor with what is always busy:
# they do not move, in any number of rounds.
# zdtm: driver
import os
import signal

from driver import rounds_wanted, run_all, scenario

BUSY = 3


def on_one_processor():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def busy_loops():
    pids = []
    for _ in range(BUSY):
        pid = os.fork()
        if pid == 0:
            on_one_processor()
            while True:
                pass
        pids.append(pid)
    return pids


@scenario
def busy(s):
    s.victim("timerfd_times")
    pids = busy_loops()
    try:
        for _ in range(rounds_wanted(2)):
            s.dump(preexec_fn=on_one_processor)
            s.restore()
            s.clean_images()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    s.verify()


run_all()
