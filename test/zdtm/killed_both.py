#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# The tool and its guardian are killed at once while a dump comes to its end: all tasks of the tree (commit_tree.c) run on,
# or all are dead. At fault points, and at random instants by a cgroup (cgroup.kill: one call for both).
# zdtm: driver
# zdtm: needs-root
# zdtm: exclusive
import os
import random
import re
import signal
import subprocess
import time

from case import alive, guardians, rests, wait_for
from cgroups import Group
from driver import check, run_all, scenario, text, tree

ROUNDS = int(os.environ.get("KILLED_BOTH_ROUNDS", "16"))


def outcome(s, tasks):
    """all, none, or how many live; what is left is ended."""
    check(wait_for(lambda: not guardians()), "the guardian lives on")
    wait_for(lambda: all(not alive(p) or rests(p) for p in tasks))
    living = [p for p in tasks if alive(p)]
    for p in living:
        os.kill(p, signal.SIGKILL)
    s.gone()
    wait_for(lambda: not any(alive(p) for p in tasks))
    return "all" if len(living) == len(tasks) else "none" if not living else "%d of %d" % (len(living), len(tasks))


def fresh(s):
    s.clean_images()
    s.victim("commit_tree")
    check(wait_for(lambda: len(tree(s.pid)) == 40), "there are %d tasks" % len(tree(s.pid)))
    return tree(s.pid)


@scenario
def points(s):
    fresh(s)
    s.dump("--test-kill-at", 100000)
    found = re.findall(r"fault point (\d+): (.*)", text(s.path("imgs/dump.log")))
    names = [name for _, name in found]
    check("about to kill" in names and "killed in one call" in names, "the last points are %s" % names[-6:])
    for number, name in found[names.index("about to commit"):]:
        tasks = fresh(s)
        s.dump("--test-kill-at", number, "--test-kill-guardian", ok=False)
        check(s.rc == -signal.SIGKILL, "%s: it was not killed" % name)
        what = outcome(s, tasks)
        check(what == ("none" if name == "killed in one call" else "all"), "killed at %s: %s live" % (name, what))


@scenario
def at_random(s):
    counts, took = {}, []
    with Group(2, "killed-both") as g:
        if not os.path.exists(os.path.join(g.path, "cgroup.kill")):
            return
        for n in range(ROUNDS):
            tasks = fresh(s)
            began = time.monotonic()
            p = subprocess.Popen(["/bin/sh", "-c", 'echo $$ > %s/cgroup.procs; exec "$@"' % g.path, "sh", s.criu, "dump",
                                  "-t", str(s.pid), "-D", s.imgs, "-v4", "-o", "dump.log"], cwd=s.dir,
                                 stdin=subprocess.DEVNULL)
            if n < 5:
                wait_for(lambda: "committed" in text(s.path("imgs/dump.log")))
                took.append(time.monotonic() - began)
            else:
                time.sleep(max(0, sorted(took)[2] + random.uniform(-0.004, 0.004)))
            g.write("cgroup.kill", 1)
            p.wait(30)
            what = outcome(s, tasks)
            counts[what] = counts.get(what, 0) + 1
    print("of %d: %s" % (ROUNDS, counts))
    check(set(counts) <= {"all", "none"}, "some live and some are dead: %s" % counts)


run_all()
