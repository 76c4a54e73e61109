#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# tmux and screen, each with shells and an editor inside: dumped and restored three times while nobody is attached. The
# shells know what they knew, the editor has what was typed and takes more, new windows open.
# zdtm: driver
# zdtm: timeout 180
import os
import shutil
import subprocess
import time

from driver import Failed, Skipped, check, run_all, scenario, state_of, text, tree, wait_for

ROUNDS = 3


class Multiplexer:
    def __init__(self, s):
        for n in (self.name, "vim.tiny", "bash"):
            if not shutil.which(n):
                raise Skipped("needs " + n)
        self.s = s
        self.env = dict(os.environ, TERM="screen", LC_ALL="C.UTF-8", SCREENDIR=s.path("screens"), PS1="$ ", HISTFILE="")
        for n in ("TMUX", "STY"):
            self.env.pop(n, None)

    def run(self, *args):
        r = subprocess.run([self.name, *args], env=self.env, cwd=self.s.dir, capture_output=True, text=True, timeout=20)
        check(r.returncode == 0, "%s %s: %s" % (self.name, " ".join(args), r.stdout + r.stderr))
        return r.stdout

    def expect(self, window, words):
        if not wait_for(lambda: words in self.screen(window), 10, 0.02):
            raise Failed("window %s does not show %r but %r" % (window, words, self.screen(window)))

    def settled(self):
        """Until all of them sleep, and nothing is on its way through the terminals."""
        check(wait_for(lambda: all(state_of(p) == "S" for p in tree(self.s.pid)), 10), "they do not rest")
        time.sleep(0.1)

    def rounds(self):
        s = self.s
        self.start()
        self.type("shell", "kept=$((600 + 66)); echo set-$kept\n")
        self.expect("shell", "set-666")
        self.type("editor", "ibefore")
        self.expect("editor", "before")
        for i in range(1, ROUNDS + 1):
            self.settled()
            n = len(tree(s.pid))
            s.clean_images()
            s.dump()
            s.restore()
            check(len(tree(s.pid)) == n, "%d tasks, not %d" % (len(tree(s.pid)), n))
            self.expect("shell", "set-666")
            self.type("shell", "echo round-%d-$kept\n" % i)
            self.expect("shell", "round-%d-666" % i)
            self.type("editor", ", round %d" % i)
            self.expect("editor", ", round %d" % i)
            self.window("new%d" % i)
            self.type("new%d" % i, "echo new-$((%d * 7))\n" % (i + 6))
            self.expect("new%d" % i, "new-%d" % ((i + 6) * 7))
        self.type("editor", "\033:wq\r")
        want = "before" + "".join(", round %d" % i for i in range(1, ROUNDS + 1)) + "\n"
        check(wait_for(lambda: text(s.path("text")) == want, 10), "the editor wrote %r" % text(s.path("text")))
        s.kill()


class Tmux(Multiplexer):
    name = "tmux"

    def tmux(self, *args):
        return self.run("-S", self.s.path("socket"), "-f", "/dev/null", *args)

    def start(self):
        self.tmux("new-session", "-d", "-x", "90", "-y", "30", "-n", "shell", "bash --norc --noprofile")
        self.tmux("new-window", "-n", "editor", "vim.tiny -u NONE -n text")
        self.s.pid = int(self.tmux("display-message", "-p", "#{pid}"))

    def window(self, name):
        self.tmux("new-window", "-n", name, "bash --norc --noprofile")

    def type(self, window, words):
        self.tmux("send-keys", "-t", ":" + window, "-l", words)

    def screen(self, window):
        return self.tmux("capture-pane", "-p", "-t", ":" + window)


class Screen(Multiplexer):
    name = "screen"

    def start(self):
        os.mkdir(self.s.path("screens"), 0o700)
        self.run("-dmS", "zdtm", "-c", "/dev/null", "-s", "/bin/bash", "-t", "shell", "bash", "--norc", "--noprofile")
        check(wait_for(lambda: os.listdir(self.s.path("screens")), 10), "no session")
        self.s.pid = int(os.listdir(self.s.path("screens"))[0].split(".")[0])
        self.run("-S", "zdtm", "-X", "screen", "-t", "editor", "vim.tiny", "-u", "NONE", "-n", self.s.path("text"))

    def window(self, name):
        self.run("-S", "zdtm", "-X", "screen", "-t", name, "bash", "--norc", "--noprofile")

    def type(self, window, words):
        # It puts in variables by itself.
        self.run("-S", "zdtm", "-p", window, "-X", "stuff", words.replace("$", "\\$"))

    def screen(self, window):
        path = self.s.path("hardcopy")
        if os.path.exists(path):
            os.unlink(path)
        self.run("-S", "zdtm", "-p", window, "-X", "hardcopy", path)
        wait_for(lambda: os.path.exists(path) and os.path.getsize(path), 0.5)
        return text(path)


@scenario
def tmux(s):
    Tmux(s).rounds()


@scenario
def screen(s):
    Screen(s).rounds()


run_all()
