#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --shell-job: a job of a shell, on the shell's terminal, restored on the terminal of another shell. Without the option it
# is refused, and the refusal names the option.
# zdtm: real again
# zdtm: driver
import os

from driver import check, children, reap, run_all, scenario, state_of, status_of, text, wait_for
from shell import PROMPT, Shell, answer, prompting_shell


def start_job(s):
    shell = Shell(s)
    s.shell = shell
    s.script("job", 'echo "$$" > jobpid; exec %s/sleeping\n' % os.environ["TESTS"])
    shell.say("./job")
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the job does not start: %r" % shell.seen)
    s.pid = int(text(s.path("jobpid")))
    return shell


@scenario
def refused_without(s):
    shell = start_job(s)
    s.dump(ok=False)
    said = s.errors("dump.log")
    check(s.rc != 0 and "--shell-job" in said, "the refusal (%d) says %s" % (s.rc, said))
    check(not s.images() and wait_for(lambda: state_of(s.pid) == "S"), "something is left")
    open(s.path("verify"), "w").close()
    check(wait_for(lambda: "PASS" in text(s.path("result"))), "the job says %r" % text(s.path("result")))
    shell.end()


@scenario
def to_another_terminal(s):
    first = start_job(s)
    sid = os.getsid(s.pid)
    check(sid == first.proc.pid and os.getpgid(s.pid) == s.pid, "it is no job of the shell")
    s.dump("--shell-job", ok=False)
    check(s.rc == 0, "dump: " + s.errors("dump.log"))
    check(wait_for(lambda: state_of(s.pid) == "gone"), "still there")
    first.end()
    second = Shell(s)
    second.say("%s restore -D %s -v4 -o restore.log --shell-job; echo status $?-" % (s.criu, s.imgs))
    output = "/proc/%d/fd/1" % s.pid
    check(wait_for(lambda: os.path.lexists(output) and status_of("/proc/%d/status" % s.pid).get("TracerPid") == "0"),
          "not restored: %s %r" % (s.errors("restore.log"), second.seen))
    check(os.getsid(s.pid) == second.proc.pid, "its session is %d, not the second shell's" % os.getsid(s.pid))
    stat = text("/proc/%d/stat" % s.pid).rpartition(")")[2].split()
    check(int(stat[4]) == os.fstat(second.master).st_rdev or int(stat[4]) != 0, "no controlling terminal")
    tty = os.readlink(output)
    check(tty == os.readlink("/proc/%d/fd/1" % second.proc.pid), "it writes to %s" % tty)
    open(s.path("verify"), "w").close()
    check(second.wait("status 0-"), "the shell says %r" % second.seen)
    check("PASS" in text(s.path("result")), "the job says %r" % text(s.path("result")))
    second.end()


def criu_of(shell):
    return children(shell.proc.pid)[0]


def criu_stopped(s):
    return state_of(s.pid) == "T" and state_of(int(status_of("/proc/%d/status" % s.pid)["PPid"])) == "T"


@scenario
def as_the_shells_own(s):
    """Stopped by a key, continued, in the background and back, killed, its exit status: all as of a job that the shell started."""
    s.script("job", 'echo "$$" > jobpid; echo begun; while read -r l; do echo "got $l"; done; exit 7\n')
    first = prompting_shell(s)
    answer(first, "./job\n", "begun")
    s.pid = int(text(s.path("jobpid")))
    s.dump("--shell-job", ok=False)
    check(s.rc == 0, "dump: " + s.errors("dump.log"))
    first.end()
    restore = "%s restore -D %s -o restore.log -j" % (s.criu, s.imgs)

    shell = prompting_shell(s)
    answer(shell, restore + "\none\n", "got one")
    answer(shell, "\x1a", "Stopped", PROMPT)
    check(wait_for(lambda: state_of(s.pid) == "T"), "it runs")
    answer(shell, "stty -a | grep -o '.icanon '\n", " icanon", PROMPT)
    answer(shell, "fg\ntwo\n", "got two")
    answer(shell, "\x04", PROMPT)
    answer(shell, "echo status $?-\n", "status 7-", PROMPT)

    answer(shell, restore + " &\n", "[1]", PROMPT)
    check(wait_for(lambda: criu_stopped(s)), "it reads in the background")
    answer(shell, "jobs\n", "Stopped", PROMPT)
    answer(shell, "bg\n", "&", PROMPT)
    check(wait_for(lambda: criu_stopped(s)), "it reads in the background")
    answer(shell, "fg\nthree\n", "got three")
    answer(shell, "\x03", PROMPT)
    answer(shell, "echo status $?-\n", "status 130-", PROMPT)
    check(state_of(s.pid) == "gone", "^C does not end it")

    answer(shell, restore + "\nfour\n", "got four")
    answer(shell, "\x1a", "Stopped", PROMPT)
    answer(shell, "kill %1\n", PROMPT)
    check(wait_for(lambda: state_of(s.pid) == "gone"), "kill %1 does not end it")
    answer(shell, "wait %1; echo status $?-\n", "status 143-")
    shell.end()


@scenario
def keys_while_a_script_runs(s):
    """Up to the commit keys reach criu and its script, and the restore is taken back; then the job, and when that has ended the script."""
    s.script("job", 'echo "$$" > jobpid; stty -echo; echo begun; while read -r l; do echo "got $l"; done; exit 7\n')
    shell = prompting_shell(s)
    answer(shell, "./job\n", "begun")
    s.pid = int(text(s.path("jobpid")))
    s.dump("--shell-job", ok=False)
    check(s.rc == 0, "dump: " + s.errors("dump.log"))
    answer(shell, "stty sane\n", PROMPT)
    here = s.path("here")
    images = sorted(os.listdir(s.imgs))

    def restore(stage):
        s.script("hook", '[ "$CRTOOLS_SCRIPT_ACTION" != %s ] || { touch here; sleep 1000; }\n' % stage)
        if os.path.exists(here):
            os.unlink(here)
        shell.say("%s restore -D %s -W %s -o restore.log -j --action-script ./hook" % (s.criu, s.imgs, s.dir))
        check(wait_for(lambda: os.path.exists(here)), "%s: no script: %r" % (stage, shell.seen))

    for stage in ("pre-restore", "post-restore", "pre-resume"):
        for key, status in (("\x03", 130), ("\x1c", 131)):
            restore(stage)
            answer(shell, key, PROMPT)
            answer(shell, "echo status $?-\n", "status %d-" % status, PROMPT)
            check(wait_for(lambda: reap() or state_of(s.pid) == "gone"), "%s: the job lives" % stage)
            check(sorted(os.listdir(s.imgs)) == images, "%s: images: %s" % (stage, os.listdir(s.imgs)))
            answer(shell, "stty -a | grep -o '.icanon .*[^-]echo '\n", " icanon", "echo ", PROMPT)
    restore("post-resume")
    answer(shell, "one\n", "got one")
    os.write(shell.master, b"\x03")
    check(wait_for(lambda: state_of(s.pid) in ("Z", "gone")), "^C does not end the job")
    check(wait_for(lambda: os.tcgetpgrp(shell.master) == os.getpgid(criu_of(shell))), "the terminal stays with nobody")
    answer(shell, "\x03", PROMPT)
    answer(shell, "echo status $?-\n", "status 130-", PROMPT)
    shell.end()


@scenario
def with_criu_s_own_number(s):
    """criu has the very number of the job: its process becomes the job, and the shell has it as a child of its own."""
    s.script("job", 'echo "$$" > jobpid; echo begun; while read -r l; do echo "got $l"; done; exit 7\n')
    first = prompting_shell(s)
    answer(first, "./job\n", "begun")
    s.pid = int(text(s.path("jobpid")))
    s.dump("--shell-job", ok=False)
    check(s.rc == 0, "dump: " + s.errors("dump.log"))
    first.end()
    shell = prompting_shell(s)

    def restore(line, word):
        with open("/proc/sys/kernel/ns_last_pid", "w") as f:
            f.write(str(s.pid - 1))
        answer(shell, "%s restore -D %s -o restore.log -j\n%s\n" % (s.criu, s.imgs, line), word)
        check(status_of("/proc/%d/status" % s.pid)["PPid"] == str(shell.proc.pid), "it is not the shell's child")

    restore("one", "got one")
    answer(shell, "\x1a", "Stopped", PROMPT)
    check(state_of(s.pid) == "T", "it runs")
    answer(shell, "fg\ntwo\n", "got two")
    answer(shell, "\x04", PROMPT)
    answer(shell, "echo status $?-\n", "status 7-", PROMPT)
    restore("three", "got three")
    answer(shell, "\x03", PROMPT)
    answer(shell, "echo status $?-\n", "status 130-", PROMPT)
    answer(shell, "stty -a | grep -o '.icanon '\n", " icanon", PROMPT)
    shell.end()


run_all()
