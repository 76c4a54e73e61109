#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# tmux: a server with two panes, a shell in one and an editor with an unsaved change in the other, three rounds; then the
# shell, the editor and the server go on.
# zdtm: real
# zdtm: driver
# zdtm: needs tmux vi
import os
import subprocess

from driver import check, rounds_wanted, run_all, scenario, state_of, text, wait_for


def tmux(s, *args):
    p = subprocess.run(["tmux", "-S", s.path("sock"), "-f", "/dev/null", *args], cwd=s.dir, text=True, timeout=60,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       env=dict(os.environ, TERM="xterm", HOME=s.dir, ENV=""))
    check(p.returncode == 0, "tmux %s: %s" % (args, p.stdout))
    return p.stdout


def shows(s, pane, words):
    if not wait_for(lambda: words in tmux(s, "capture-pane", "-p", "-t", pane)):
        check(False, "pane %s does not show %r but %r" % (pane, words, tmux(s, "capture-pane", "-p", "-t", pane)))


@scenario
def two_panes(s):
    with open(s.path("file.txt"), "w") as f:
        f.write("first line\nlast line\n")
    tmux(s, "new-session", "-d", "-x", "100", "-y", "40", "bash --norc --noprofile")
    tmux(s, "split-window", "-d", "vi file.txt")
    shows(s, "0.1", "last line")
    tmux(s, "send-keys", "-t", "0.1", "oadded before the dump", "Escape")
    shows(s, "0.1", "added before the dump")
    tmux(s, "send-keys", "-t", "0.0", "var=kept; echo re''ady", "Enter")
    shows(s, "0.0", "\nready")
    s.pid = int(tmux(s, "display", "-p", "#{pid}"))
    for i in range(rounds_wanted(3)):
        s.dump()
        s.restore()
        tmux(s, "send-keys", "-t", "0.0", "echo round-%d-$var-$((6 * 7))" % i, "Enter")
        shows(s, "0.0", "\nround-%d-kept-42" % i)
        s.clean_images()
    tmux(s, "send-keys", "-t", "0.1", "oadded after it", "Escape", ":wq", "Enter")
    check(wait_for(lambda: "after it" in text(s.path("file.txt"))), "the file has %r" % text(s.path("file.txt")))
    check(text(s.path("file.txt")) == "first line\nadded before the dump\nadded after it\nlast line\n",
          "the file has %r" % text(s.path("file.txt")))
    check(wait_for(lambda: tmux(s, "list-panes").count("\n") == 1), "the editor's pane does not end")
    tmux(s, "split-window", "-d", "echo a new pane; sleep 100")
    shows(s, "0.1", "a new pane")
    tmux(s, "resize-window", "-x", "90", "-y", "30")
    tmux(s, "send-keys", "-t", "0.0", "until stty size | grep ' 90'; do sleep 0.1; done", "Enter")
    shows(s, "0.0", " 90\n")
    tmux(s, "kill-server")
    check(wait_for(lambda: state_of(s.pid) in ("gone", "Z")), "the server does not end")


run_all()
