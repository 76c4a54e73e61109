# SPDX-License-Identifier: GPL-2.0-only
"""A shell on a terminal of its own, for tests of jobs: what is typed, and what is to be seen then."""
import fcntl
import os
import struct
import subprocess
import termios

from driver import check, wait_for


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
