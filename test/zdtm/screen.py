#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# screen: a detached session with two windows, three rounds; then what is typed there is carried out, and a new window opens.
# zdtm: real
# zdtm: driver
# zdtm: needs screen
import os
import re
import subprocess

from driver import check, rounds_wanted, run_all, scenario, state_of, text, wait_for


def screen(s, *args, ok=True):
    p = subprocess.run(["screen", *args], cwd=s.dir, text=True, timeout=60, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       env=dict(os.environ, TERM="xterm", HOME=s.dir, SCREENDIR=s.path("dir"), SCREENRC="/dev/null"))
    check(p.returncode == 0 or not ok, "screen %s: %s" % (args, p.stdout))
    return p.stdout


def type_into(s, window, words):
    screen(s, "-S", "victim", "-p", str(window), "-X", "stuff", words.replace("$", "\\$") + "\n")


def has(s, name, words):
    check(wait_for(lambda: text(s.path(name)) == words), "%s has %r instead of %r" % (name, text(s.path(name)), words))


@scenario
def two_windows(s):
    os.mkdir(s.path("dir"), 0o700)
    screen(s, "-dmS", "victim", "bash", "--norc", "--noprofile")
    # Its socket exists before it listens there, and is listed as (Dead ???) until then.
    check(wait_for(lambda: re.search(r"\.victim\b.*\(Detached\)", screen(s, "-ls", ok=False))), "it does not start")
    screen(s, "-S", "victim", "-X", "screen", "bash", "--norc", "--noprofile")
    s.pid = int(re.search(r"(\d+)\.victim", screen(s, "-ls", ok=False)).group(1))
    for window in 0, 1:
        type_into(s, window, "var=%d; echo $var > out%d" % (window, window))
        has(s, "out%d" % window, "%d\n" % window)
    for i in range(rounds_wanted(3)):
        s.dump()
        s.restore()
        for window in 0, 1:
            type_into(s, window, "echo round %d $var > out%d" % (i, window))
            has(s, "out%d" % window, "round %d %d\n" % (i, window))
        s.clean_images()
    screen(s, "-S", "victim", "-X", "screen", "sh", "-c", "tty > new; sleep 100")
    check(wait_for(lambda: "/dev/pts/" in text(s.path("new"))), "a new window: %r" % text(s.path("new")))
    screen(s, "-S", "victim", "-X", "quit")
    check(wait_for(lambda: state_of(s.pid) in ("gone", "Z")), "it does not end")


run_all()
