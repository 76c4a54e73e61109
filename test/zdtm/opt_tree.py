#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# What happens to the tree at the end of a dump or a restore: left running or stopped, detached or waited for, as whose
# child; pids that are taken; several restores of the same images.
# zdtm: driver
# zdtm: timeout 300
import os
import resource
import signal
import subprocess
import sys
import time

from driver import Failed, Skipped, Snapshot, check, children, reap, run_all, scenario, state_of, status_of, text, wait_for


@scenario
def leave_running(s):
    s.victim()
    before = Snapshot(s.pid)
    s.dump("-R")
    check("checkpoint.sums" in s.images(), "no checkpoint: %r" % s.images())
    s.same(before, "after dump -R")
    s.verify()


@scenario
def leave_stopped(s):
    s.victim()
    s.dump("--leave-stopped")
    # It enters its stop by itself, as soon as it gets a processor.
    check(wait_for(lambda: state_of(s.pid) == "T"), "the victim is in state %s" % state_of(s.pid))
    check(status_of("/proc/%d/status" % s.pid)["TracerPid"] == "0", "it is traced")
    os.kill(s.pid, signal.SIGCONT)
    check(wait_for(lambda: state_of(s.pid) == "S"), "SIGCONT does not continue it")
    s.verify()


@scenario
def restore_stopped(s):
    s.victim()
    s.dump()
    s.restore("-s")
    check(wait_for(lambda: state_of(s.pid) == "T"), "the restored victim is in state %s" % state_of(s.pid))
    os.kill(s.pid, signal.SIGCONT)
    s.verify()


@scenario
def dumped_stopped_stays(s):
    """A root that was stopped already: left stopped or running, it stays as it was."""
    s.victim()
    os.kill(s.pid, signal.SIGSTOP)
    check(wait_for(lambda: state_of(s.pid) == "T"), "SIGSTOP")
    s.dump("-R")
    check(wait_for(lambda: state_of(s.pid) == "T"), "after dump -R it is in state %s" % state_of(s.pid))
    s.clean_images()
    s.dump()
    s.restore()
    # When it is let go it enters its stop by itself, as soon as it gets a processor.
    check(wait_for(lambda: state_of(s.pid) == "T"), "after the restore it is in state %s" % state_of(s.pid))
    os.kill(s.pid, signal.SIGCONT)
    s.verify()


@scenario
def attached(s):
    """Without -d the tool stays until the root task ends, and exits 0 if the restore succeeded."""
    s.victim()
    s.dump()
    p = subprocess.Popen([s.criu, "restore", "-D", s.imgs, "-v4", "-o", "restore.log"], stdin=subprocess.DEVNULL)
    s.proc = None
    check(wait_for(lambda: state_of(s.pid) == "S"), "not restored: " + s.errors("restore.log"))
    check(status_of("/proc/%d/status" % s.pid)["PPid"] == str(p.pid), "the root is not the tool's child")
    check(p.poll() is None, "the tool did not wait")
    open(s.path("verify"), "w").close()
    try:
        rc = p.wait(60)
    except subprocess.TimeoutExpired:
        p.kill()
        raise Failed("the tool does not end after the root task did")
    check(rc == 0, "the tool ends with %d" % rc)
    check("PASS" in text(s.path("result")), "the victim says %r" % text(s.path("result")))


@scenario
def sibling(s):
    """-S: the root becomes a child of whoever called the tool; only with -d."""
    s.victim()
    s.dump()
    s.restore("--restore-sibling")
    check(status_of("/proc/%d/status" % s.pid)["PPid"] == str(os.getpid()), "the parent is not ours")
    s.verify()


@scenario
def pidfile(s):
    s.victim()
    s.dump()
    s.restore("--pidfile", s.path("pid"))
    check(text(s.path("pid")) == str(s.pid), "the pidfile says %r" % text(s.path("pid")))
    s.kill()
    s.restore("--pidfile", "relative.pid", "-W", s.dir, ok=False)
    check(s.rc == 0 and os.path.exists(s.path("relative.pid")), "a relative pidfile is not in the work directory")
    s.kill()
    with open(s.path("pid"), "w") as f:
        f.write("an older, longer one")
    s.restore("--pidfile", s.path("pid"))
    check(text(s.path("pid")) == str(s.pid), "an older pidfile is not overwritten")
    s.verify()


@scenario
def many_restores(s):
    s.victim()
    before = Snapshot(s.pid)
    s.dump()
    for i in range(5):
        s.restore()
        s.same(before, "restore %d" % (i + 1))
        s.kill()
    s.restore()
    s.verify()


@scenario
def second_round(s):
    """A restored process can be dumped, again and again."""
    s.victim()
    before = Snapshot(s.pid)
    for i in range(4):
        s.clean_images()
        s.dump()
        s.restore()
        s.same(before, "round %d" % (i + 1))
    s.verify()


LEFT = """
import ctypes, os, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
a = os.fork()
if not a:
    os.setsid()
    if os.fork(): os._exit(0)
    while True: time.sleep(1)
os.waitpid(a, 0)
open('ready', 'w').close()
while True: time.sleep(1)
"""


def occupy(pid):
    """A process with this pid."""
    for _ in range(100):
        with open("/proc/sys/kernel/ns_last_pid", "w") as f:
            f.write(str(pid - 1))
        child = os.fork()
        if not child:
            while True:
                time.sleep(1)
        if child == pid:
            with open("/proc/sys/kernel/ns_last_pid", "w") as f:
                f.write(str(pid + 2000))  # not that the tool itself gets the next one
            return
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    raise Skipped("others are faster: pid %d" % pid)


@scenario
def taken_session(s):
    """The number of a session whose leader is gone is needed too: named before anything is started."""
    s.proc = subprocess.Popen([sys.executable, "-c", LEFT], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")), 20), "not ready")
    kid = children(s.pid)[0]
    leader = os.getsid(kid)
    s.dump()
    s.gone(kid)
    occupy(leader)
    s.restore(ok=False)
    words = "pid %d, which the session of pid %d (python3) needs, is taken" % (leader, kid)
    check(s.rc and words in s.out and "nothing was started" in s.out, "it does not say %r: %s" % (words, s.out))
    check(children(os.getpid()) == [leader], "something was started")
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    s.restore()
    check(os.getsid(kid) == leader, "another session")
    s.kill()


@scenario
def taken_pid(s):
    """A pid that lives is named before anything is started, and by whom."""
    s.victim()
    s.dump("--leave-running")
    held = s.proc
    s.restore(ok=False)
    check(s.rc != 0, "restored although the pid is taken")
    said = s.errors("restore.log")
    check(str(s.pid) in said and "sleeping" in said, "does not say which pid and who has it: " + said)
    check(not [c for c in children(os.getpid()) if c != held.pid], "something was started")
    s.proc = held
    s.verify()


@scenario
def taken_pids_all(s):
    """Each of the pids that are taken is named, not the first."""
    s.victim("cow_children")
    pids = [s.pid] + children(s.pid)[:3]
    s.dump("--leave-running")
    held = s.proc
    s.restore(ok=False)
    said = "\n".join(x for x in text(s.imgs + "/restore.log").splitlines() if "Error" in x)
    missing = [p for p in pids if str(p) not in said]
    check(s.rc != 0 and not missing, "pids %r are not named in: %s" % (missing, said[:500]))
    s.proc = held
    s.verify()


@scenario
def no_such_pid(s):
    s.pid = 1 << 22
    s.dump(ok=False)
    check(s.rc != 0 and not s.images(), "dump of a pid that is not there: %d, %r" % (s.rc, s.images()))


@scenario
def no_images(s):
    s.restore(ok=False)
    check(s.rc != 0 and "inventory.img" in s.errors("restore.log"), "of an empty directory: " + s.errors("restore.log"))


GROUP_WITHOUT_LEADER = r"""
import ctypes, os, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
if not os.fork():
    os.setpgid(0, 0)
    if not os.fork():
        open("ready", "w").close()
        time.sleep(1000)
    os._exit(0)
os.wait()
time.sleep(1000)
"""


@scenario
def zombies_nobody_reaps(s):
    """A number that only a zombie of its group keeps is waited for, without a look at all processes each time (it took a minute)."""
    s.proc = subprocess.Popen([sys.executable, "-c", GROUP_WITHOUT_LEADER], cwd=s.dir, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready"))), "the victim is not ready")
    check(wait_for(lambda: len(children(s.pid)) == 1), "its children: %s" % children(s.pid))
    member = children(s.pid)[0]
    others = [subprocess.Popen(["sleep", "1000"]) for _ in range(200)]
    s.tool("dump", "-t", s.pid, "-D", s.imgs, "-v4", "-o", "dump.log")
    check(s.rc == 0, s.errors("dump.log"))
    check(wait_for(lambda: state_of(member) == "Z"), "the member of the group is %s" % state_of(member))
    s.proc.wait()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    s.restore(ok=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    for p in others:
        p.kill()
        p.wait()
    check(s.rc and "is taken" in s.errors("restore.log"), "a zombie's number is taken: %d, %s" % (s.rc, s.errors("restore.log")))
    print("zombies_nobody_reaps: %.2f s of a processor" % took)
    check(took < 3, "the wait took %.2f s of a processor" % took)
    check(wait_for(lambda: reap() or state_of(member) == "gone"), "the zombie stays")
    s.restore()
    s.kill()


run_all()
