#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# plugins/cuda: programs on NVIDIA's GPUs, by stand-ins for cuda-checkpoint and for libcuda.so.1 that check the order of
# calls and what stands still; each way to fail, and criu killed in the middle.
# zdtm: driver
# zdtm: needs gcc
# zdtm: timeout 900
import os
import shutil
import signal
import subprocess

from cuda_mock import PLUGINS, Gpu as Mock
from driver import check, run_all, scenario, wait_for
from plugins import failed, log

# N processes, each with a thread that stands for the one of the driver; every second child is on no GPU.
WORKERS = """
n = int(%d)
mock = os.environ['MOCK']
def driver_thread():
    with open('%%s/state.%%d' %% (mock, os.getpid()), 'w') as f: f.write('running\\n')
    with open('%%s/new.%%d' %% (mock, os.getpid()), 'w') as f: f.write('%%d\\n' %% threading.get_native_id())
    os.rename('%%s/new.%%d' %% (mock, os.getpid()), '%%s/tid.%%d' %% (mock, os.getpid()))
    while True: time.sleep(0.01)
for i in range(n):
    if not os.fork():
        if i %% 2 == 0: threading.Thread(target=driver_thread, daemon=True).start()
        while True: time.sleep(1)
threading.Thread(target=driver_thread, daemon=True).start()
while len([x for x in os.listdir(mock) if x.startswith('tid')]) < 1 + (n + 1) // 2: time.sleep(0.01)
"""


def Gpu(s, n=3, **kw):
    return Mock(s, program=WORKERS % n, processes=n + 1, **kw)


def round_trip(g):
    n = len(g.pids)
    open(g.dir + "/frozen", "w").close()
    g.dump()
    check(g.all_are("checkpointed"), "%r" % g.states())
    g.restore()
    g.as_before("restored")
    for act in ("lock", "checkpoint", "restore", "unlock"):
        check(g.log().count("end " + act) == n, "%s: %r" % (act, g.log()))
    g.right()


@scenario
def one_round(s):
    g = Gpu(s)
    for i in range(3):
        round_trip(g)
        g.clean()
    s.verify()


@scenario
def leave_running(s):
    g = Gpu(s)
    for i in range(3):
        open(g.dir + "/frozen", "w").close()
        g.dump("-R")
        g.as_before("-R")
        g.right()
        g.clean()
    s.kill()
    g.checkpointed()
    g.restore()
    g.as_before("restored")
    s.verify()


@scenario
def by_the_driver(s):
    """libcuda.so.1 is asked where it has the functions; cuda-checkpoint need not be there."""
    g = Gpu(s, driver=True, binary=False)
    round_trip(g)
    check(g.log().count("driver") == 4 * len(g.pids), "%r" % g.log())
    s.verify()


@scenario
def all_at_once(s):
    """13 processes on GPUs, each step of which takes 3 s: none waits for another one."""
    g = Gpu(s, 23)
    g.do("checkpoint", "slow")
    g.dump("-R")
    g.as_before("-R")
    lines = g.log()
    first_end = min(i for i, x in enumerate(lines) if x == "end checkpoint")
    check(lines[:first_end].count("begin checkpoint") == len(g.pids) == 13, "one after the other: %r" % lines)
    s.verify()


@scenario
def was_not_running(s):
    """One that the user has checkpointed before stays so; after a restore it runs."""
    g = Gpu(s)
    p = g.pids[0]
    for state in ("checkpointed", "locked"):
        with open("%s/state.%d" % (g.dir, p), "w") as f:
            f.write(state + "\n")
        g.dump("-R")
        check(g.states() == [state] + ["running"] * (len(g.pids) - 1), "%s: %r" % (state, g.states()))
    g.dump()
    check(g.all_are("checkpointed"), "%r" % g.states())
    g.restore()
    g.as_before("restored")
    s.verify()


@scenario
def one_fails(s):
    """Of several processes one cannot: the dump fails, and all go on."""
    g = Gpu(s)
    for act in ("lock", "checkpoint"):
        g.do("%s.%d" % (act, g.pids[-1]), "fail")
        g.dump(ok=False)
        failed(s, ["pid %d" % g.pids[-1], "--action " + act, "mock failure"])
        check(not s.images(), "images are left")
        g.as_before(act)
        g.right()
        g.clean()
    g.dump()
    for act in ("restore", "unlock"):
        g.do("%s.%d" % (act, g.pids[-1]), "fail")
        g.restore(ok=False)
        failed(s, ["pid %d" % g.pids[-1], "--action " + act, "mock failure"], "restore.log")
        for p in g.tasks:
            s.gone(p)
        g.clean()
        g.checkpointed()
    g.restore()
    g.as_before("restored")
    s.verify()


@scenario
def one_hangs(s):
    g = Gpu(s)
    for act in ("lock", "checkpoint"):
        g.do("%s.%d" % (act, g.pids[-1]), "hang")
        g.dump("--timeout", 1, ok=False)
        failed(s, ["pid %d" % g.pids[-1], "no answer within"])
        g.clean()
        g.as_before(act)
    s.verify()


@scenario
def killed(s):
    """kill -9 in the middle of each step, and at each fault point: the guardian has the GPUs back at work."""
    g = Gpu(s, 1)
    for act in ("lock", "checkpoint"):
        g.do("%s.%d" % (act, g.pids[-1]), "slow")
        for sig in (signal.SIGKILL, signal.SIGTERM):
            p = subprocess.Popen([s.criu, "dump", "-t", str(s.pid), "-D", s.imgs, "-L", PLUGINS, "-o", "dump.log", "-v4"],
                                 env=dict(os.environ, **g.env), stderr=subprocess.DEVNULL)
            check(wait_for(lambda: "end " + act in g.log()), "%s: %r" % (act, g.log()))
            p.send_signal(sig)
            check(p.wait(60), "status 0")
            g.as_before("%s, signal %d" % (act, sig))
            os.unlink(g.dir + "/log")
        g.clean()
    for point in [*range(1, 12), 15, 20, 30, 40]:
        g.dump("-R", "--test-kill-at", point, ok=False)
        if s.rc == 0:
            break
        g.as_before("point %d" % point)
    check(point > 10, "%d points" % point)
    s.verify()


@scenario
def killed_at_restore(s):
    g = Gpu(s)
    g.dump()
    s.proc = None  # what has the pid from here on is not that process
    for act in ("restore", "unlock"):
        g.do("%s.%d" % (act, g.pids[-1]), "slow")
        p = subprocess.Popen([s.criu, "restore", "-d", "-D", s.imgs, "-L", PLUGINS, "-o", "restore.log", "-v4"],
                             env=dict(os.environ, **g.env), stderr=subprocess.DEVNULL)
        check(wait_for(lambda: "end " + act in g.log()), "%s: %r" % (act, g.log()))
        p.kill()
        p.wait()
        for pid in g.tasks:
            s.gone(pid)
        g.clean()
        g.checkpointed()
    g.restore()
    g.as_before("restored")
    s.verify()


@scenario
def absent(s):
    """Without both, a dump goes on without the plugin; a checkpoint that needs it is refused before anything is made."""
    g = Gpu(s)
    there = dict(g.env)
    shutil.rmtree(s.path("bin"))
    g.dump("-R")
    check("not used" in log(s, "dump.log") and g.log() == [], "used: %s" % s.errors("dump.log"))
    os.mkdir(s.path("bin"))
    with open(s.path("bin/cuda-checkpoint"), "w") as f:
        f.write("#!/bin/sh\necho 'usage: cuda-checkpoint --toggle --pid PID'\n")
    os.chmod(s.path("bin/cuda-checkpoint"), 0o755)
    g.dump("-R")
    check("too old" in log(s, "dump.log"), "no word of its age")
    os.unlink(s.path("bin/cuda-checkpoint"))
    os.symlink(g.script, s.path("bin/cuda-checkpoint"))
    g.dump()
    os.unlink(s.path("bin/cuda-checkpoint"))
    g.restore(ok=False)
    failed(s, ["cuda-checkpoint"], "restore.log")
    s.restore(ok=False, env=there)
    failed(s, ["needs the plugin cuda_plugin"], "restore.log")
    os.symlink(g.script, s.path("bin/cuda-checkpoint"))
    g.restore()
    g.as_before("restored")
    s.verify()


@scenario
def no_gpu(s):
    """A tree that is on none costs some questions, and its checkpoint needs no plugin."""
    g = Gpu(s)
    for n in os.listdir(g.dir):
        os.unlink(os.path.join(g.dir, n))
    g.dump()
    check(g.log() == [], "%r" % g.log())
    s.restore()
    s.verify()


run_all()
