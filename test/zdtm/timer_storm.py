#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Timers of all kinds, and signals sent from outside all the time (timer_storm.c), through rounds of dump and restore: no
# timer stands still, none expires more often than it was armed, and what was sent is what was got. The sender
# stops in the post-dump script, the last instant of which the images have to know, and starts before the restore.
# ROUNDS=N.
# zdtm: driver
# zdtm: timeout 1800
import mmap
import os
import signal
import struct
import subprocess
import time

from driver import check, rounds_wanted, run_all, scenario, state_of, text, wait_for

STRESS = bool(os.environ.get("STRESS"))
SENT, GOT, WRONG, KINDS = 1, 5, 9, 10
SHUT = """[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0
cd %s; rm gate; until [ -e ack ]; do sleep 0.002; done"""


class Storm:
    def __init__(self, s):
        self.s = s
        self.program = os.path.join(os.environ["TESTS"], "timer_storm")
        out = open(s.path("victim.out"), "w")
        s.proc = subprocess.Popen([self.program, "tree"], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
        s.pid = s.proc.pid
        check(wait_for(lambda: os.path.exists(s.path("ready"))), "the timers do not start")
        self.names = [line.split(" ", 1)[1] for line in text(s.path("result")).splitlines()]
        os.unlink(s.path("result"))
        with open(s.path("counts"), "rb") as f:
            self.counts = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        self.sender = subprocess.Popen([self.program, "send", str(s.pid), str(self.word(0))], cwd=s.dir,
                                       stdin=subprocess.DEVNULL, start_new_session=True)
        self.script = s.script("shut", SHUT % s.dir)
        self.open()

    def word(self, i):
        return struct.unpack_from("Q", self.counts, 8 * i)[0]

    def open(self):
        if os.path.exists(self.s.path("ack")):
            os.unlink(self.s.path("ack"))
        open(self.s.path("gate"), "w").close()

    def shut(self):
        os.unlink(self.s.path("gate"))
        check(wait_for(lambda: os.path.exists(self.s.path("ack"))), "the sender does not answer")

    def right(self, when, slow=True):
        """Each timer expires, none too often, and all that was sent comes."""
        before = [self.word(KINDS + 2 * i) for i in range(len(self.names))]
        sent = [self.word(SENT + i) for i in range(4)]
        for i, name in enumerate(self.names):
            if name != "alarm" or slow:
                check(wait_for(lambda: self.word(KINDS + 2 * i) != before[i]), "%s: %s stands still" % (when, name))
            check(not self.word(KINDS + 2 * i + 1), "%s: %s expires too often" % (when, name))
        for i in range(4):
            check(wait_for(lambda: self.word(GOT + i) >= sent[i]),
                  "%s: kind %d of signals: %d sent, %d got" % (when, i, self.word(SENT + i), self.word(GOT + i)))
        check(not self.word(WRONG), "%s: %d signals came twice" % (when, self.word(WRONG)))

    def end(self):
        self.shut()
        self.right("at the end")
        time.sleep(0.05)
        for i in range(4):
            check(self.word(GOT + i) == self.word(SENT + i),
                  "kind %d of signals: %d sent, %d got" % (i, self.word(SENT + i), self.word(GOT + i)))
        open(self.s.path("quit"), "w").close()
        self.sender.wait(20)
        print("expired:", *("%s %d;" % (n, self.word(KINDS + 2 * i)) for i, n in enumerate(self.names)),
              "signals sent and got:", [self.word(SENT + i) for i in range(4)])
        self.s.verify()


@scenario
def killed(s):
    storm = Storm(s)
    for i in range(rounds_wanted(1000 if STRESS else 12)):
        s.dump("--action-script", storm.script)
        storm.open()
        s.restore()
        storm.right("round %d" % i, i % 10 == 0)
    storm.end()


@scenario
def left_running(s):
    storm = Storm(s)
    for i in range(rounds_wanted(1000 if STRESS else 10)):
        s.dump("-R")
        storm.right("round %d" % i, i % 10 == 0)
    storm.shut()
    s.dump()
    storm.open()
    s.restore()
    storm.end()


def at(s, action, sig):
    return "--action-script", s.script("at-" + action, '[ "$CRTOOLS_SCRIPT_ACTION" = %s ] || exit 0\nkill -%s %d' %
                                       (action, sig, s.pid))


@scenario
def stops(s):
    """SIGSTOP and SIGCONT that come meanwhile."""
    def stands(how, when):
        check(wait_for(lambda: state_of(s.pid) == how, 10), "%s: state %s" % (when, state_of(s.pid)))
    s.victim()
    s.dump(*at(s, "post-dump", "STOP"))
    s.restore()
    stands("T", "stopped during the dump")
    s.dump(*at(s, "post-dump", "CONT"))
    s.restore()
    stands("S", "continued during the dump")
    for stage in ("post-restore", "pre-resume"):
        s.dump()
        s.restore(*at(s, stage, "STOP"))
        stands("T", "stopped during the restore")
        os.kill(s.pid, signal.SIGCONT)
        stands("S", "continued")
    s.verify()


@scenario
def ended(s):
    """The post-dump script ends the tree by itself."""
    s.victim()
    s.dump(*at(s, "post-dump", "KILL"))
    s.restore()
    s.verify()


run_all()
