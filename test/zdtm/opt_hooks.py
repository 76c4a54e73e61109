#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Action scripts: all their stages in order with what they are told, their veto; --exec-cmd.
# zdtm: driver
# zdtm: timeout 300
import os
import resource

from driver import Snapshot, check, children, run_all, scenario, state_of, text

NOTE = 'echo "$CRTOOLS_SCRIPT_ACTION $CRTOOLS_IMAGE_DIR ${CRTOOLS_INIT_PID:-none}" >> %s\n'


def stages(s):
    return [x.split()[0] for x in text(s.path("stages")).splitlines() if x[0] != "("]


@scenario
def in_order(s):
    s.victim()
    hook = s.script("hook", NOTE % s.path("stages"))
    s.dump("--action-script", hook)
    got = stages(s)
    check(got[:1] == ["pre-dump"] and got[-1:] == ["post-dump"] or "post-dump" in got, "stages of a dump: %r" % got)
    told = text(s.path("stages")).splitlines()[0].split()
    check(os.path.realpath(told[1]) == os.path.realpath(s.imgs), "CRTOOLS_IMAGE_DIR is %s" % told[1])
    os.unlink(s.path("stages"))
    s.restore("--action-script", hook)
    got = stages(s)
    want = ["pre-restore", "post-restore", "pre-resume", "post-resume"]
    check([g for g in got if g in want] == want, "stages of a restore: %r" % got)
    pids = {x.split()[0]: x.split()[2] for x in text(s.path("stages")).splitlines()}
    check(pids["post-restore"] == str(s.pid), "CRTOOLS_INIT_PID: %r" % pids)
    s.verify()


@scenario
def limit_of_open_files(s):
    """What the tool executes has the limit that it was started with, though it raises its own."""
    s.victim()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    low = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))}
    note = "echo `ulimit -Sn` `ulimit -Hn` >> %s" % s.path("limits")
    s.dump("--action-script", note, **low)
    s.restore("--action-script", note, "--exec-cmd", "--", "/bin/sh", "-c", note, **low)
    got = set(text(s.path("limits")).splitlines())
    check(got == {"100 %s" % (hard if hard != resource.RLIM_INFINITY else "unlimited")}, "limits: %r" % got)
    s.verify()


@scenario
def two_scripts(s):
    s.victim()
    a, b = s.script("a", "echo a >> %s\n" % s.path("order")), s.script("b", "echo b >> %s\n" % s.path("order"))
    s.dump("--action-script", a, "--action-script", b)
    got = text(s.path("order")).split()
    check(got and got.count("a") == got.count("b"), "both should be called each time: %r" % got)
    s.restore()
    s.verify()


def veto(s, stage, command):
    hook = s.script("hook", 'test "$CRTOOLS_SCRIPT_ACTION" != %s || exit 3\n' % stage)
    return command("--action-script", hook, ok=False)


@scenario
def veto_post_dump(s):
    """The tree runs on, and no checkpoint is left."""
    s.victim()
    before = Snapshot(s.pid)
    check(veto(s, "post-dump", s.dump) != 0, "the dump succeeded")
    check(not s.images(), "images are left: %r" % s.images())
    s.same(before, "after the veto")
    s.verify()


@scenario
def veto_pre_dump(s):
    s.victim()
    before = Snapshot(s.pid)
    check(veto(s, "pre-dump", s.dump) != 0 and not s.images(), "the dump went on")
    s.same(before, "after the veto")
    s.verify()


@scenario
def veto_restore(s):
    """Nothing is left, and the images can be restored afterwards."""
    s.victim()
    s.dump()
    s.proc = None
    for stage in ("pre-restore", "post-restore", "pre-resume"):
        check(veto(s, stage, s.restore) != 0, "the restore succeeded against %s" % stage)
        s.gone()
        check(not children(os.getpid()), "%s: tasks are left" % stage)
    s.restore()
    s.verify()


@scenario
def exec_cmd(s):
    """The tool becomes the command once the tree is restored."""
    s.victim()
    s.dump()
    out = s.path("cmd.out")
    s.restore("--exec-cmd", "--", "/bin/sh", "-c", 'echo "ran $0 $1" > %s; exit 7' % out, "with", "words", ok=False)
    s.proc = None
    check(s.rc == 7, "exit status %d, not the command's: %s" % (s.rc, s.errors("restore.log")))
    check(text(out) == "ran with words\n", "the command said %r" % text(out))
    check(state_of(s.pid) in "SR", "the victim is %s" % state_of(s.pid))
    s.verify()


@scenario
def exec_cmd_not_detached(s):
    """Without -d the root is the command's child."""
    s.victim()
    s.dump()
    s.tool("restore", "-D", s.imgs, "-v4", "-o", "restore.log", "--exec-cmd", "--", "/bin/sh", "-c",
           "cat /proc/$$/task/$$/children > "
           + s.path("children"))
    s.proc = None
    check(str(s.pid) in text(s.path("children")).split(), "children of the command: %r" % text(s.path("children")))
    s.verify()


run_all()
