# SPDX-License-Identifier: GPL-2.0-only
"""What CRaC's engine asks of criu, by a program that makes the same calls: the command line, --exec-cmd, the action script and its environment."""
import os
import signal
import stat
import subprocess
import time

from area import WORK
from case import case, check, pid_alive, run, stands, text, wait_for

# Stands for criuengine, which is the command of --exec-cmd and the action script: at post-resume it tells the restored program that it has been
# restored, by a signal; as `restorewait` it stays as the parent of the restored program and ends as that does.
ENGINE = """#!/usr/bin/python3
import os, signal, sys
if len(sys.argv) == 1:
    with open("%(work)s/actions", "a") as f:
        f.write("%%s %%s\\n" %% (os.environ["CRTOOLS_SCRIPT_ACTION"], os.environ.get("CRTOOLS_INIT_PID")))
    if os.environ["CRTOOLS_SCRIPT_ACTION"] == "post-resume":
        os.kill(int(os.environ["CRTOOLS_INIT_PID"]), signal.SIGUSR1)
elif sys.argv[1] == "restorewait":
    pid = int(os.environ["CRTOOLS_INIT_PID"])
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda n, _: os.kill(pid, n))
    open("%(work)s/waits", "w").close()
    status = os.waitpid(pid, 0)[1]
    sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


class Engine:
    def __init__(self):
        self.path, self.images = WORK + "/engine", WORK + "/cr"
        os.mkdir(self.images)
        with open(self.path, "w") as f:
            f.write(ENGINE % {"work": WORK})
        os.chmod(self.path, 0o755)

    def start(self):
        self.out = open(WORK + "/program.out", "w")
        # Its parent is no part of the tree, and does not have to wait for it.
        run("setsid", "-f", "sh", "-c", "echo $$ > %s/pid; exec %s" % (WORK, os.environ["INMATE"]), stdout=self.out, stdin=subprocess.DEVNULL, env={**os.environ, "WORD": "word", "DIR": WORK})
        wait_for(lambda: text(WORK + "/pid").strip() and "started" in text(WORK + "/program.out"), "the program does not start")
        return int(text(WORK + "/pid"))

    def dump(self, pid, *more):
        run("criu", "dump", "-t", pid, "-D", self.images, "--shell-job", "-v4", "-o", "dump4.log", *more)

    def restore(self, *more):
        return subprocess.Popen(["criu", "restore", "-W", ".", "--shell-job", "--action-script", self.path, "-D", self.images, "-v1", *more, "--exec-cmd", "--",
                                 self.path, "restorewait"], cwd=WORK, stdin=subprocess.DEVNULL, stdout=self.out)


@case
def crac():
    e = Engine()
    pid = e.start()
    e.dump(pid)
    wait_for(lambda: not pid_alive(pid), "the program goes on")
    for n in range(2):
        if os.path.exists(WORK + "/actions"):
            os.unlink(WORK + "/actions")
        p = e.restore()
        wait_for(lambda: "post-resume" in text(WORK + "/actions") or p.poll() is not None, "no post-resume")
        check(p.poll() is None, "criu ended with %s", p.returncode)
        actions = dict(line.split() for line in text(WORK + "/actions").splitlines())
        check(actions["post-resume"] == str(pid), "CRTOOLS_INIT_PID: %s", actions)
        wait_for(lambda: "usr1" in text(WORK + "/program.out"), "round %d: the program does not learn of its restore" % n)
        # The next restore of this checkpoint writes to the same place of the file.
        with open(WORK + "/program.out", "r+") as f:
            f.write(text(f.name).replace("usr1", "USR1"))
        parent = text("/proc/%d/stat" % pid).rpartition(")")[2].split()[1]
        check(parent == str(p.pid), "the parent of the restored program is %s, not %d", parent, p.pid)
        wait_for(lambda: os.path.exists(WORK + "/waits"), "criu has not become the engine")
        check(text("/proc/%d/cmdline" % p.pid).split("\0")[1:3] == [e.path, "restorewait"], "the engine is %s", text("/proc/%d/cmdline" % p.pid))
        os.unlink(WORK + "/waits")
        p.send_signal(signal.SIGTERM)
        check(p.wait(60) == 0, "the engine ended with %s", p.returncode)


@case
def crac_leave_running():
    e = Engine()
    pid = e.start()
    e.dump(pid, "-R")
    check(pid_alive(pid), "the program has ended")
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: "usr1" in text(WORK + "/program.out"), "the program stands")
    os.kill(pid, signal.SIGKILL)
