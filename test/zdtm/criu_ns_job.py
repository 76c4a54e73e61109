#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu-ns restore --shell-job: a job of the shell like any other, though it is in namespaces of its own: ^C, ^Z, fg, bg, kill, its
# exit status; several of one checkpoint, each on another terminal; dumped again from there.
# zdtm: driver
# zdtm: needs-root
import os

from driver import check, children, reap, run_all, scenario, state_of, status_of, text, wait_for
from shell import PROMPT, answer, prompting_shell

JOB = 'echo "$$" > jobpid; echo begun; while read -r l; do echo "got $l"; done; exit 7\n'


def criu_ns(s, words):
    return "%s --criu-binary %s %s" % (os.path.join(os.path.dirname(s.criu), "criu-ns"), s.criu, words)


def make_job(s):
    s.script("job", JOB)
    shell = prompting_shell(s)
    answer(shell, "./job\n", "begun")
    s.pid = int(text(s.path("jobpid")))
    s.dump("--shell-job", ok=False)
    check(s.rc == 0, "dump: " + s.errors("dump.log"))
    shell.end()


def pid_outside(s, name):
    check(wait_for(lambda: text(s.path("imgs/" + name)).isdigit()), "no pid file")
    return int(text(s.path("imgs/" + name)))


def front_of(pid):
    """criu-ns that was called: the parent of the keeper of the parent of this process, criu."""
    for _ in range(3):
        pid = int(status_of("/proc/%d/status" % pid)["PPid"])
    return pid


def stopped(pid):
    return wait_for(lambda: state_of(pid) == "T" and state_of(front_of(pid)) == "T")


@scenario
def as_the_shells_own(s):
    make_job(s)
    restore = criu_ns(s, "restore -D %s -o restore.log -j --pidfile p" % s.imgs)
    shell = prompting_shell(s)
    answer(shell, restore + "\none\n", "got one")
    pid = pid_outside(s, "p")
    check(os.getsid(pid) == shell.proc.pid, "its session is %d" % os.getsid(pid))
    answer(shell, "\x1a", "Stopped", PROMPT)
    check(stopped(pid), "^Z: it is %s, criu-ns %s" % (state_of(pid), state_of(front_of(pid))))
    answer(shell, "stty -a | grep -o '.icanon '\n", " icanon", PROMPT)
    answer(shell, "fg\ntwo\n", "got two")
    answer(shell, "\x04", PROMPT)
    answer(shell, "echo status $?-\n", "status 7-", PROMPT)

    os.unlink(s.path("imgs/p"))
    answer(shell, restore + " &\n", "[1]", PROMPT)
    pid = pid_outside(s, "p")
    check(stopped(pid), "it reads in the background")
    answer(shell, "jobs\n", "Stopped", PROMPT)
    answer(shell, "bg\n", "&", PROMPT)
    check(stopped(pid), "it reads in the background")
    answer(shell, "fg\nthree\n", "got three")
    answer(shell, "\x03", PROMPT)
    answer(shell, "echo status $?-\n", "status 130-", PROMPT)
    check(wait_for(lambda: state_of(pid) == "gone"), "^C does not end it")

    os.unlink(s.path("imgs/p"))
    answer(shell, restore + "\nfour\n", "got four")
    pid = pid_outside(s, "p")
    answer(shell, "\x1a", "Stopped", PROMPT)
    answer(shell, "kill %1\n", PROMPT)
    check(wait_for(lambda: state_of(pid) == "gone"), "kill %1 does not end it")
    answer(shell, "wait %1; echo status $?-\n", "status 143-")
    shell.end()
    check(wait_for(lambda: reap() or not children(os.getpid())), "there is %s" % children(os.getpid()))


@scenario
def on_two_terminals(s):
    make_job(s)
    shells = [prompting_shell(s) for _ in range(2)]
    for n, shell in enumerate(shells):
        answer(shell, criu_ns(s, "restore -D %s -jo r%d.log --pidfile p%d" % (s.imgs, n, n)) + "\none\n", "got one")
    pids = [pid_outside(s, "p%d" % n) for n in range(2)]
    check([os.getsid(p) for p in pids] == [shell.proc.pid for shell in shells], "sessions")
    # Another shell saves the first again, and goes on with it on its own terminal.
    third = prompting_shell(s)
    os.mkdir(s.path("again"))
    answer(third, criu_ns(s, "dump -t %d -D again -jo d.log" % pids[0]) + "; echo status $?-\n", "status 0-", PROMPT)
    answer(shells[0], "", PROMPT)
    answer(shells[0], "echo status $?-\n", "status 137-", PROMPT)
    answer(third, criu_ns(s, "restore -D again -j") + "\ntwo\n", "got two")
    answer(shells[1], "two\n", "got two")
    for shell in third, shells[1]:
        answer(shell, "\x04", PROMPT)
        answer(shell, "echo status $?-\n", "status 7-", PROMPT)
        shell.end()
    shells[0].end()
    check(wait_for(lambda: reap() or not children(os.getpid())), "there is %s" % children(os.getpid()))


@scenario
def interrupted_while_it_restores(s):
    """^C reaches criu, which takes all back."""
    make_job(s)
    script = s.script("slow", '[ "$CRTOOLS_SCRIPT_ACTION" != pre-restore ] || { touch there; exec sleep 60; }\n')
    shell = prompting_shell(s)
    answer(shell, criu_ns(s, "restore -D %s -j -W %s -o r.log --action-script %s" % (s.imgs, s.dir, script)) + "\n", "\n")
    check(wait_for(lambda: os.path.exists(s.path("there"))), "not begun: %r" % shell.seen)
    answer(shell, "\x03", PROMPT)
    answer(shell, "echo status $?-\n", "status 130-", PROMPT)
    check(wait_for(lambda: reap() or children(os.getpid()) == [shell.proc.pid]), "there is %s" % children(os.getpid()))
    shell.end()


run_all()
