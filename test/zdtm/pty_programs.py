#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Programs that give others a pseudo terminal: script(1), Python's pty module, socat; three rounds each with a shell in it.
# zdtm: real
# zdtm: driver
# zdtm: needs script socat
import os
import subprocess
import sys

from driver import check, rounds_wanted, run_all, scenario, text, wait_for

SHELL = "bash --norc --noprofile -i"


def with_shell(s, *cmd):
    """cmd copies its standard input, a FIFO that stays open, to a shell on a terminal."""
    os.mkfifo(s.path("in"))
    rd = os.open(s.path("in"), os.O_RDWR)
    with open(s.path("out"), "w") as out:
        s.proc = subprocess.Popen(cmd, cwd=s.dir, start_new_session=True, stdin=rd, stdout=out, stderr=out,
                                  env=dict(os.environ, TERM="dumb", PS1="", SHELL="/bin/bash"))
    s.pid = s.proc.pid

    def ask(words, answer):
        os.write(rd, words.encode() + b"\n")
        check(wait_for(lambda: answer in text(s.path("out"))), "%r gives %r" % (words, text(s.path("out"))[-500:]))
    ask("var=kept; test -t 0 && echo on''-a-terminal", "on-a-terminal")
    for i in range(rounds_wanted(3)):
        s.dump()
        s.restore()
        ask("echo $var-$((%d + 100))-$(tty)" % i, "kept-%d-/dev/pts/" % (i + 100))
        s.clean_images()
    os.write(rd, b"exit\n")
    os.close(rd)
    s.kill()


@scenario
def script(s):
    with_shell(s, "script", "-q", "-c", SHELL, "typescript")


@scenario
def python(s):
    with_shell(s, sys.executable, "-c", "import pty; pty.spawn(%r)" % SHELL.split())


@scenario
def socat(s):
    with_shell(s, "socat", "-", "EXEC:%s,pty,setsid,ctty,stderr" % SHELL)


run_all()
