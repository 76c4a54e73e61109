#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --shell-job: a job of a shell, on the shell's terminal, restored on the terminal of another shell. Without the option it
# is refused, and the refusal names the option.
# zdtm: real again
# zdtm: driver
import fcntl
import os
import struct
import subprocess
import termios

from driver import check, run_all, scenario, state_of, status_of, text, wait_for


class Shell:
    """A session leader with a terminal of its own, that runs commands as a shell does: a group each, in the foreground."""

    def __init__(self, s):
        self.s = s
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.proc = subprocess.Popen(["/bin/bash", "--norc", "--noprofile", "-i"], stdin=slave, stdout=slave, stderr=slave,
                                     start_new_session=True, cwd=s.dir, env=dict(os.environ, PS1="", TERM="dumb"),
                                     preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        os.set_blocking(self.master, False)
        self.seen = ""

    def say(self, line):
        os.write(self.master, line.encode() + b"\n")

    def wait(self, words):
        def there():
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                pass
            return words in self.seen
        return wait_for(there)

    def end(self):
        self.proc.kill()
        self.proc.wait()
        os.close(self.master)


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


def answer(shell, line, *words):
    """Keys or a line, and what is to be seen then, one after the other."""
    shell.seen = ""
    os.write(shell.master, line.encode())
    for w in words:
        check(shell.wait(w), "%r: no %r, but %r" % (line, w, shell.seen))
        shell.seen = shell.seen.partition(w)[2]


PROMPT = "ready> "


def prompting_shell(s):
    shell = Shell(s)
    answer(shell, "PS1='ready''> '\n", PROMPT)
    return shell


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
