#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A session or process group whose number a process outside of the tree keeps: a restore on this machine cannot have that number, so
# the dump refuses, or warns of it where the tree lives on. What a restore can do is dumped, and comes back.
# zdtm: driver
import os
import re
import signal
import subprocess
import sys

from driver import check, reap, run_all, scenario, text, wait_for

PROGRAM = """
import ctypes, os, signal, sys, time
HOME = os.getcwd()
def fork(fn, name=None):
    pid = os.fork()
    if not pid:
        fn()
        if name:
            with open(HOME + '/' + name + '.new', 'w') as f: f.write(str(os.getpid()))
            os.rename(HOME + '/' + name + '.new', HOME + '/' + name)
        stay()
    return pid
def wait(name):
    while not os.path.exists(HOME + '/' + name): time.sleep(0.005)
    return int(open(HOME + '/' + name).read())
def stay():
    while True: time.sleep(100)
def nothing(): pass
exec(sys.argv[1])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
stay()
"""


def start(s, code):
    """The program is the leader of a session, outside of the tree, and reaps; `root` has the pid of the tree's root."""
    s.proc = subprocess.Popen([sys.executable, "-c", PROGRAM, code], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=open(s.path("err"), "w"), start_new_session=True)
    check(wait_for(lambda: os.path.exists(s.path("root")) or s.proc.poll() is not None) and s.proc.poll() is None, text(s.path("err")))
    s.outer, s.pid = s.proc.pid, int(text(s.path("root")))


def alive(s):
    return os.path.exists("/proc/%d" % s.pid)


def gone(*pids):
    """Reaped too, by this test where their parents are gone."""
    check(wait_for(lambda: reap() or not any(os.path.exists("/proc/%d" % p) for p in pids)), "not gone: %r" % (pids,))


def refused(s, words, *opts):
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-v2", *opts)
    check(s.rc and re.search("Error.*" + words, s.out) and "nothing was changed" in s.out and alive(s), "dump: %d %s" % (s.rc, s.out))
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-v2", "--leave-running", *opts)
    check(s.rc == 0 and re.search("Warn.*" + words, s.out) and "Error" not in s.out and alive(s), "-R: %d %s" % (s.rc, s.out))
    pids = children_of(s.pid) + [s.pid]
    for p in pids:
        os.kill(p, signal.SIGKILL)
    gone(*pids)
    s.tool("restore", "-d", "-D", s.imgs, "-v2", *opts)
    check(s.rc and "is taken" in s.out, "a restore goes well: " + s.out)
    os.kill(s.outer, signal.SIGKILL)
    s.proc.wait()
    s.tool("restore", "-d", "-D", s.imgs, "-v2", *opts)  # the number is free now
    check(s.rc == 0, "with the number free: " + s.out)


def children_of(pid):
    kids = [int(p) for p in text("/proc/%d/task/%d/children" % (pid, pid)).split()]
    return [q for k in kids for q in children_of(k) + [k]]


def comes_back(s, *opts):
    before = [(open("/proc/%d/stat" % p).read().rsplit(")", 1)[1].split()[2:4]) for p in [s.pid] + children_of(s.pid)]
    pids = children_of(s.pid) + [s.pid]
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-v2", *opts)
    check(s.rc == 0, "dump: " + s.out)
    gone(*pids)
    s.tool("restore", "-d", "-D", s.imgs, "-v2", *opts)
    check(s.rc == 0, "restore: " + s.out)
    after = [(open("/proc/%d/stat" % p).read().rsplit(")", 1)[1].split()[2:4]) for p in [s.pid] + children_of(s.pid)]
    return before, after


CHILD_BEFORE = """
def root():
    fork(nothing, 'child'); wait('child'); os.setsid()
fork(root, 'root'); wait('root')
"""
GROUP = """
group = fork(lambda: os.setpgid(0, 0), 'group'); wait('group')
def root():
    os.setpgid(0, 0); fork(lambda: os.setpgid(0, group), 'child'); wait('child')
fork(root, 'root'); wait('root')
"""
HELD = """
def daemon():
    os.setsid(); wait('in_tree')
    os._exit(0)
# The leader of a session has gone; of its two other members one is in the tree.
def leader():
    os.setsid()
    fork(nothing, 'outside'); wait('outside')
    def root(): os.setsid()
    def member():
        fork(lambda: None, 'kept'); os.setsid()
    fork(member, 'root'); wait('root')
    os._exit(0)
pid = os.fork()
if not pid: leader()
os.waitpid(pid, 0)
"""
DAEMON = """
def root():
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    os.setsid()
    pid = os.fork()
    if not pid:
        os.setsid(); fork(nothing, 'child'); wait('child'); os._exit(0)
    os.waitpid(pid, 0)
fork(root, 'root'); wait('root')
"""
JOB = "fork(lambda: fork(nothing, 'child') and wait('child'), 'root'); wait('root')"


@scenario
def leader_outside(s):
    start(s, CHILD_BEFORE)
    refused(s, r"the leader of its session, pid %d .*-t %d\)" % (s.outer, s.outer))


@scenario
def leader_outside_of_a_job(s):
    """-j gives the root's own session to the caller's, and no other."""
    start(s, CHILD_BEFORE)
    refused(s, "the leader of its session, pid %d" % s.outer, "-j")


@scenario
def group_outside(s):
    start(s, GROUP)
    group = int(text(s.path("group")))
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-v2", "-j")
    check(s.rc and "the leader of its process group, pid %d" % group in s.out and alive(s), s.out)


@scenario
def member_outside(s):
    """The leader is gone, and another process in that session keeps its number."""
    start(s, HELD)
    outside = int(text(s.path("outside")))
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-v2")
    check(s.rc and re.search(r"in its session \d+, whose leader is gone, is pid %d" % outside, s.out) and alive(s), s.out)
    os.kill(outside, signal.SIGKILL)
    gone(outside)
    comes_back(s)


@scenario
def daemon(s):
    """A leader that is gone, and no member outside."""
    start(s, DAEMON)
    before, after = comes_back(s)
    check(before == after, "sessions and groups: %r, were %r" % (after, before))


@scenario
def job(s):
    """Session and group are the caller's."""
    start(s, JOB)
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-v2")
    check(s.rc and "shell's job" in s.out and alive(s), s.out)
    comes_back(s, "-j")


@scenario
def from_the_leader_on(s):
    """The way out that the refusal names."""
    start(s, CHILD_BEFORE)
    s.pid = s.outer
    pids = children_of(s.pid)
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-v2")
    check(s.rc == 0, s.out)
    s.proc.wait()
    gone(*pids)
    s.tool("restore", "-d", "-D", s.imgs, "-v2")
    check(s.rc == 0, s.out)


run_all()
