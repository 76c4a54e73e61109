#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A tool that is killed while it dumps or restores a tree with connections: no rule stays that should not, no socket stays
# in repair, no byte is lost on either side, and a checkpoint can be restored again.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs nft
# zdtm: timeout 1800
import contextlib
import difflib
import os
import random
import shutil
import signal
import subprocess
import time

from case import Skipped, guardians, runs
from driver import check, children, reap, run_all, scenario, state_of, text, tree, wait_for
from tcp_peers import Streams, connect, exchange, inside_flows, own_network, ruleset, shell, sockets_of, start, table_name, table_of_crius, tables

KEEP = "--tcp-established"
KILLS = 300 if os.environ.get("STRESS") else 20
KILLED = -signal.SIGKILL


class Victim:
    """Three connections inside, three to the outside, and what is known of them before any tool comes."""

    def __init__(self, s, method=None, more=0):
        self.s = s
        self.crius = False
        s.method = ["--network-lock", method] if method else []
        start(s, inside=3)
        self.streams = Streams(s, 3, most=4000, pause=0.001)
        self.more = [connect(s) for _ in range(more)]
        for c in self.more:
            exchange(c)
        self.flows("at first")
        self.sockets = {p: sockets_of(p) for p in tree(s.pid)}
        self.others = ruleset()
        check(sum(len(x) for x in self.sockets.values()) >= 9, "%s" % self.sockets)

    def flows(self, why):
        self.streams.flows(why)
        inside_flows(self.s, why)

    def alive(self):
        return state_of(self.s.pid) not in ("Z", "gone")

    def unharmed(self, why):
        """Nothing has happened to the tree: it runs, its sockets are as they were, no rule is there."""
        check(self.alive(), "%s: the victim is dead" % why)
        now, then = ruleset().splitlines(), self.others.splitlines()
        check(now == then, "%s: rules: %s" % (why, [line for line in difflib.ndiff(then, now) if line[0] in "+-"]))
        for p in tree(self.s.pid):
            check(sockets_of(p) == self.sockets[p], "%s: sockets (number, TCP_REPAIR, SO_REUSEADDR): %s instead of %s"
                  % (why, sockets_of(p), self.sockets[p]))
        self.flows(why)

    def locked(self, why):
        """Exactly the dump's table is there beside what was."""
        name = table_name(self.s)
        if self.s.method:  # at the commit the rules become those that CRIU makes
            chains = {w for line in ruleset().splitlines() for w in line.split() if w.startswith("CRIU")}
            rules = [line for line in ruleset().splitlines() if "0x0000c114" in line.lower() or "0xc114" in line.lower()]
            check(not chains and len(rules) >= 2 * len(self.more) and rules, "%s: chains %s, %d rules of CRIU's form: %s"
                  % (why, chains, len(rules), ruleset()[:1000]))
            return
        there = [t for t in tables() if t[1].startswith("CRIU")]
        check(there == [["inet", name]], "%s: %s is not alone: %s" % (why, name, there))

    def calm(self, why):
        wait_for(lambda: reap() or not guardians())
        check(not guardians(), "%s: the guardian does not end" % why)
        if self.s.proc:
            self.s.proc.poll()

    def edited(self):
        return ["--allow-edited-images"] if self.crius else []

    def end(self):
        self.streams.finish()
        self.s.kill()
        check(ruleset() == self.others, ruleset())


def tool(s, command, *opts, kill_after=None, together=False):
    """Runs it and perhaps kills it. Its status and how long it took."""
    began = time.monotonic()
    args = {"dump": ["-t", str(s.pid)], "restore": ["-d"]}[command]
    with open(s.path("tool.out"), "w") as out:
        p = subprocess.Popen([s.criu, command, *args, "-D", s.imgs, "-v4", "-o", command + ".log", KEEP,
                              *getattr(s, "method", []), *map(str, opts)],
                             cwd=s.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        try:
            p.wait(kill_after if kill_after is not None else 120)
        except subprocess.TimeoutExpired:
            for g in [c for c in children(p.pid) if together and text("/proc/%d/comm" % c).startswith("criu-guard")]:
                with contextlib.suppress(ProcessLookupError):  # the tool has ended it
                    os.kill(g, signal.SIGKILL)
            p.kill()
            p.wait()
            check(kill_after is not None, "criu %s hangs" % command)
    s.out = text(s.path("tool.out"))
    check(p.returncode in (0, KILLED), "criu %s ends with %d: %s" % (command, p.returncode, s.errors(command + ".log")))
    if command == "restore":
        s.proc = None
    return p.returncode, time.monotonic() - began


def restore(v, why):
    rc, _ = tool(v.s, "restore", *v.edited())
    check(rc == 0, "%s: the restore ends with %d" % (why, rc))
    v.calm(why)
    v.unharmed(why + ", restored")


def killed_dump(v, why, *opts, **kw):
    """Ends with a running victim. Whether the dump was killed."""
    v.s.clean_images()
    rc, _ = tool(v.s, "dump", *opts, **kw)
    v.calm(why)
    if "checkpoint.sums" in v.s.images() and "-R" not in opts:
        v.s.gone()
        v.locked(why + ", committed")
        restore(v, why)
    else:
        v.unharmed(why)
        check(not v.s.images() or "-R" in opts and "checkpoint.sums" in v.s.images(), "%s: left: %s" % (why, v.s.images()))
    return rc == KILLED


def killed_restore(v, why, *opts, **kw):
    """Ends with a checkpoint and a lock, and no victim. Whether the restore was killed."""
    images, there = v.s.images(), ruleset()
    rc, _ = tool(v.s, "restore", *opts, *v.edited(), **kw)
    v.calm(why)
    if rc == 0 or runs(v.s.pid):
        v.unharmed(why + ", committed")
        whole_dump(v)
    else:
        check(wait_for(lambda: reap() or all(state_of(p) == "gone" for p in v.sockets)), "%s: a half-made task is left" % why)
        v.locked(why)
        check(v.s.method or ruleset() == there, "%s: rules: %s" % (why, ruleset()))
        check(v.s.images() == images, "%s: the images are others" % why)
    return rc == KILLED


def whole_dump(v):
    v.s.clean_images()
    rc, seconds = tool(v.s, "dump")
    check(rc == 0, "a dump that nobody kills ends with %d" % rc)
    v.s.gone()
    v.locked("after a dump")
    if v.crius:
        table_of_crius(v.s)
    return seconds


@scenario
def points_of_a_dump(s):
    v = Victim(s)
    for opts in (["-R"], []):
        n = 1
        while killed_dump(v, "dump %s killed at point %d" % (opts, n), "--test-kill-at", n, *opts):
            n += 1
        check(n > 20, "%d points only" % n)
    v.end()


@scenario
def points_of_a_restore(s):
    v = Victim(s)
    whole_dump(v)
    n = 1
    while killed_restore(v, "restore killed at point %d" % n, "--test-kill-at", n):
        n += 1
    check(n > 15, "%d points only" % n)
    restore(v, "after all kills")
    v.end()


@scenario
def random_instants(s):
    at_random(Victim(s), KILLS)


@scenario
def random_instants_of_many(s):
    """So many connections that several threads read them."""
    at_random(Victim(s, more=100), KILLS // 2)


@scenario
def random_instants_over_a_table_of_crius(s):
    """What a restore has found stays as it was, or goes as a whole."""
    v = Victim(s)
    v.crius = True
    length = whole_dump(v) * 1.1
    for i in range(KILLS):
        when = length * i / KILLS
        killed_restore(v, "restore %d over a table of CRIU's killed after %.2f ms" % (i, when * 1000), kill_after=when)
    n = 1
    while killed_restore(v, "restore over a table of CRIU's killed at point %d" % n, "--test-kill-at", n):
        n += 1
    check(n > 15, "%d points only" % n)
    restore(v, "after all kills")
    v.end()


@scenario
def random_instants_with_iptables(s):
    if not shutil.which("iptables-nft-restore"):
        raise Skipped("needs iptables-nft")
    os.mkdir(s.path("bin"))
    for n in ("iptables", "ip6tables"):
        for what in ("-save", "-restore"):
            os.symlink(shutil.which(n + "-nft" + what), s.path("bin/" + n + what))
    os.environ["PATH"] = s.path("bin") + ":" + os.environ["PATH"]
    v = Victim(s, "iptables")
    tool(s, "dump")  # makes tables and chains, which stay, as do those of the restore
    v.calm("dumped")
    tool(s, "restore")
    v.calm("restored")
    v.others = ruleset()
    check("-j DROP" not in v.others and " drop" not in v.others, v.others)
    at_random(v, KILLS // 2)
    shell("nft flush ruleset")


def at_random(v, kills):
    rng = random.Random(7)
    length = whole_dump(v) * 1.1
    restore(v, "the first time")
    hits = 0
    for i in range(kills):
        when = rng.uniform(0, length)
        opts = ["-R"] if i % 2 else []
        hits += killed_dump(v, "dump %d %s killed after %.2f ms of %.2f" % (i, opts, when * 1000, length * 1000), *opts, kill_after=when)
    check(hits > kills // 3, "only %d dumps were killed" % hits)
    whole_dump(v)
    began = time.monotonic()
    restore(v, "not killed")
    whole_dump(v)
    rc, length = tool(v.s, "restore")
    v.unharmed("restored again")
    whole_dump(v)
    hits = 0
    for i in range(kills):
        when = rng.uniform(0, length * 1.1)
        hits += killed_restore(v, "restore %d killed after %.2f ms of %.2f" % (i, when * 1000, length * 1000), kill_after=when)
    check(hits > kills // 3, "only %d restores were killed in %.1f s" % (hits, time.monotonic() - began))
    restore(v, "after all kills")
    v.end()


@scenario
def takes_it_back(s):
    """Dumps that fail by themselves: a veto of the post-dump script, no room for the images."""
    v = Victim(s)
    no = s.script("no", '[ "$CRTOOLS_SCRIPT_ACTION" != post-dump ]')
    for opts in ([], ["-R"]):
        s.dump(KEEP, "--action-script", no, *opts, ok=False)
        check(s.rc != 0, "a veto is not heard")
        v.calm("veto")
        v.unharmed("after a veto")
        check(not s.images(), "%s" % s.images())
    os.mkdir(s.path("tiny"))
    for size in ("64k", "900k"):
        shell("mount -t tmpfs -o size=%s none %s" % (size, s.path("tiny")))
        try:
            s.tool("dump", "-t", s.pid, "-D", s.path("tiny"), KEEP)
            check(s.rc != 0 and "No space left" in s.out, "%d %s" % (s.rc, s.out))
            v.calm("full disk")
            v.unharmed("after a full disk")
            check(not os.listdir(s.path("tiny")), "%s" % os.listdir(s.path("tiny")))
        finally:
            shell("umount " + s.path("tiny"))
    s.dump(KEEP, "-R")
    v.unharmed("after -R")
    s.kill()
    v.streams.abandon()


def both_killed_dump(s, cs, why, *opts, **kw):
    """The tool and its guardian. Nobody puts back what only they knew, but commands can."""
    s.clean_images()
    tool(s, "dump", *opts, together=True, **kw)
    check(wait_for(lambda: reap() or not guardians()), "%s: the guardian is not gone" % why)
    if s.proc:
        s.proc.poll()
    check(wait_for(lambda: not any(t[1].startswith("CRIU-dump") for t in tables())), "%s: %s" % (why, ruleset()))
    if state_of(s.pid) in ("Z", "gone"):
        check("checkpoint.sums" in s.images(), "%s: dead without a checkpoint" % why)
        s.gone()
        tool(s, "restore")
    elif tables():
        check(s.tool("unlock", "-D", s.imgs) == 0, s.out)
    check(not tables(), "%s: %s" % (why, ruleset()))
    bad = [x for x in sockets_of(s.pid) if x[1]]
    # Between the commit and the death of the tasks all connections are silent: the checkpoint is whole.
    committed = "checkpoint.sums" in s.images() and "-R" not in opts
    check(len(bad) <= 1 or committed, "%s: in repair: %s" % (why, bad))
    if bad:
        s.clean_images()
        s.dump(KEEP, "-R")
        check(not [x for x in sockets_of(s.pid) if x[1]], "%s: still in repair" % why)
    for c in cs:
        exchange(c)


@scenario
def both_killed(s):
    start(s)
    cs = [connect(s) for _ in range(10)]
    for c in cs:
        exchange(c)
    rng = random.Random(3)
    _, length = tool(s, "dump", "-R")
    for i in range(KILLS):
        when = rng.uniform(0, length * 1.1)
        both_killed_dump(s, cs, "dump %d killed with its guardian after %.2f ms" % (i, when * 1000), *(["-R"] if i % 2 else []),
                         kill_after=when)
    s.clean_images()
    s.dump(KEEP)
    there = ruleset()
    for i in range(KILLS):
        when = rng.uniform(0, length * 2)
        why = "restore %d killed with its guardian after %.2f ms" % (i, when * 1000)
        tool(s, "restore", together=True, kill_after=when)
        wait_for(lambda: reap() or not guardians())
        if not runs(s.pid):
            s.gone()
            check(wait_for(lambda: ruleset() == there), "%s: %s" % (why, ruleset()))
            continue
        if tables():  # between the commit and the unlocking
            check(s.tool("unlock", "-D", s.imgs) == 0, s.out)
        check(not tables(), "%s: %s" % (why, ruleset()))
        for c in cs:
            exchange(c)
        s.clean_images()
        s.dump(KEEP)
        there = ruleset()
    s.restore(KEEP)
    for c in cs:
        exchange(c)
    s.kill()


own_network()
run_all()
