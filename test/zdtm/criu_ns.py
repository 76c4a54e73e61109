#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu-ns: the same checkpoint restored several times at once, each in a pid namespace of its own; dumped again from there by
# the pid outside; pid files, exit statuses, signals; what fails or is killed leaves nothing.
# zdtm: driver
# zdtm: needs-root
import os
import shutil
import signal
import subprocess

from driver import check, children, reap, run_all, scenario, state_of, status_of, text, wait_for


def command(s, *args):
    return [os.path.join(os.path.dirname(s.criu), "criu-ns"), "--criu-binary", s.criu, *map(str, args)]


def criu_ns(s, *args, rc=0, log=None, **kw):
    kw.setdefault("cwd", s.dir)
    p = subprocess.run(command(s, *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors="replace", timeout=120, **kw)
    s.out = p.stdout
    check(p.returncode == rc, "criu-ns %s: %d, not %d: %s" % (" ".join(map(str, args)), p.returncode, rc,
                                                              s.errors(log) if log else s.out))
    return p.stdout


def pids_of(pid):
    """In the namespaces from outside to inside."""
    return [int(n) for n in status_of("/proc/%d/status" % pid)["NSpid"].split()]


def told(s, name):
    """The pid in a pid file, when it is there."""
    check(wait_for(lambda: text(s.path(name)).isdigit()), "%s: %s" % (name, text(s.path(name))))
    return int(text(s.path(name)))


def restored(s, name, imgs=None, *opts):
    """Outer pid."""
    imgs = imgs or s.imgs
    criu_ns(s, "restore", "-d", "-D", imgs, "-v4", "-o", name + ".log", "--pidfile", name, *opts, log=name + ".log")
    return int(text(os.path.join(imgs, name)))


def parent(pid):
    return int(status_of("/proc/%d/status" % pid)["PPid"])


def alive(pid):
    return state_of(pid) in ("S", "R", "D")


def keepers():
    return [p for p in children(os.getpid()) if text("/proc/%d/comm" % p).strip() == "criu-ns"]


def held(pid):
    """Files and the current directory of a process."""
    return {os.readlink("/proc/%d/%s" % (pid, n)) for n in ["cwd"] + ["fd/" + f for f in os.listdir("/proc/%d/fd" % pid)]}


def all_gone():
    return wait_for(lambda: reap() or not keepers())


def passed(s, times):
    """The victims in this directory say PASS, so many of them, and end."""
    open(s.path("verify"), "w").close()
    check(all_gone(), "there is still %s" % keepers())
    said = text(s.path("result")).split()
    check(said == ["PASS"] * times, "the victims say %s" % said)


@scenario
def several_at_once(s):
    s.victim()
    s.dump()
    s.proc = None
    pids = [restored(s, "copy%d" % n) for n in range(3)]
    spaces = {os.readlink("/proc/%d/ns/%s" % (p, kind)) for p in (*pids, os.getpid()) for kind in ("pid", "mnt")}
    check(len(spaces) == 8, "namespaces %s" % spaces)
    check(all(pids_of(p)[-1] == s.pid and pids_of(p)[-2] == p for p in pids), "pids %s" % [pids_of(p) for p in pids])
    check(all(status_of("/proc/%d/root/proc/%d/status" % (p, s.pid))["NSpid"] == str(s.pid) for p in pids), "/proc is another's")
    for k in keepers():
        check(wait_for(lambda: held(k) == {"/dev/null", "/"}), "the keeper holds %s" % held(k))
    passed(s, 3)


@scenario
def dumped_by_the_pid_outside(s):
    s.victim()
    s.dump()
    s.proc = None
    inner, one, other = s.pid, restored(s, "one"), restored(s, "other")
    again = s.path("again")
    os.mkdir(again)
    # Relative names are the caller's, though criu is elsewhere.
    criu_ns(s, "dump", "-t%d" % one, "--images-dir", "again", "--work-dir=.", "-v4", "-o", "again.log", "--pidfile=again.pid")
    check(text(s.path("again.pid")) == str(one), "the pid file has %r" % text(s.path("again.pid")))
    check(os.path.exists(s.path("again.log")) and os.path.exists(s.path("again/core-%d.img" % inner)), "no images of pid %d" % inner)
    check(wait_for(lambda: reap() or len(keepers()) == 1) and alive(other), "keepers %s, the other is %s" % (keepers(), state_of(other)))
    # What was dumped so is as any other checkpoint: its pid is free out here.
    s.tool("restore", "-d", "-D", again, "-o", "restore.log")
    check(s.rc == 0, s.out)
    check(alive(inner) and len(pids_of(inner)) == len(pids_of(os.getpid())), "it is in %s" % pids_of(inner))
    third = restored(s, "third", again)
    check(pids_of(third)[-1] == inner, "pids %s" % pids_of(third))
    open(s.path("verify"), "w").close()
    s.gone(inner)
    check(all_gone(), "there is still %s" % keepers())
    check(text(s.path("result")).split() == ["PASS"] * 3, "the victims say %r" % text(s.path("result")))


@scenario
def left_running(s):
    s.victim()
    s.dump()
    s.proc = None
    pid = restored(s, "one")
    again = s.path("again")
    os.mkdir(again)
    criu_ns(s, "dump", "-Rt", pid, "-D", again)
    check(alive(pid), "it has not been left running")
    # One without namespaces of its own: nothing is entered but its own.
    s.clean_images()
    s.victim()
    criu_ns(s, "dump", "-D", s.imgs, "-R", "-t", s.pid)
    check(os.path.exists(s.path("imgs/core-%d.img" % s.pid)) and alive(s.pid), "not dumped")
    open(s.path("verify"), "w").close()
    s.gone()
    check(all_gone(), "there is still %s" % keepers())


@scenario
def born_inside(s):
    """Numbers in a new namespace begin with 2: criu's own process takes none that the tree has."""
    s.script("forks", 'cd "$(dirname "$0")"; while :; do while [ ! -e fork ]; do sleep 0.05; done; rm fork; sleep 9999 & echo $! >> born; done\n')
    s.proc = subprocess.Popen([s.path("forks")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    s.pid = s.proc.pid
    s.dump()
    s.proc = None
    imgs = s.imgs
    for n in range(1, 4):
        pid = restored(s, "one", imgs)
        open(s.path("fork"), "w").close()
        check(wait_for(lambda: len(text(s.path("born")).split()) == n), "no child is born")
        imgs = s.path("imgs%d" % n)
        os.mkdir(imgs)
        criu_ns(s, "dump", "-t", pid, "-D", imgs, "-o", "dump.log", "-v4")
        check(all_gone(), "there is still %s" % keepers())
    born = [int(p) for p in text(s.path("born")).split()]
    check(min(born) < 300 and all(os.path.exists("%s/core-%d.img" % (imgs, p)) for p in born), "born were %s" % born)
    pids = [restored(s, "copy%d" % n, imgs) for n in range(2)]
    check(all(len(children(p)) >= 3 for p in pids), "children %s" % [children(p) for p in pids])


@scenario
def directories_of_the_caller(s):
    """The file system of the images is not mounted in the namespaces of the process."""
    s.victim()
    s.dump()
    s.proc = None
    pid = restored(s, "one")
    far = s.path("far")
    os.mkdir(far)
    subprocess.run(["mount", "--make-private", "-t", "tmpfs", "far", far], check=True)
    try:
        check(not os.path.ismount("/proc/%d/root%s" % (pid, far)), "it is mounted there, too: nothing to test")
        os.mkdir(far + "/work")
        criu_ns(s, "dump", "-t", pid, "-D", far, "-W", far + "/work", "-o", "dump.log", "-v4")
        check(os.path.exists(far + "/inventory.img") and os.path.exists(far + "/work/dump.log"), os.listdir(far))
        restored(s, "again", far)
        passed(s, 1)
    finally:
        subprocess.run(["umount", far], check=True)


@scenario
def exit_statuses(s):
    criu_ns(s, "--help")
    check("restore" in criu_ns(s, rc=1), "no usage")
    check("'swrk'" in criu_ns(s, "swrk", "3", rc=1), s.out)
    check("-t PID" in criu_ns(s, "dump", rc=1), s.out)
    check("'4x'" in criu_ns(s, "dump", "-t", "4x", rc=1), s.out)
    check("pidfd_open" in criu_ns(s, "dump", "-t", 4000000, "-D", s.imgs, rc=1), s.out)
    for sibling in ("--restore-sibling", "-dS", "--restore-sib"):
        check("--restore-sibling" in criu_ns(s, "restore", sibling, rc=1), s.out)
    check("inventory.img" in criu_ns(s, "restore", "-D", s.imgs, "--pidfile", "p", rc=1), s.out)
    check(not os.path.exists(s.path("imgs/p")), "a pid file of nothing")
    check("tree" in criu_ns(s, "dump", "-t", os.getpid(), "-D", s.imgs, rc=1) or "itself" in s.out, s.out)
    check("pid file" in criu_ns(s, "restore", "-D", s.imgs, "--pidfile", "/nowhere/p", rc=1), s.out)
    none = subprocess.run([command(s)[0], "--criu-binary", "/nowhere/criu", "check"], capture_output=True, text=True)
    check(none.returncode == 127 and "/nowhere/criu" in none.stderr, none)
    plain = subprocess.run([s.criu, "check"], capture_output=True)
    criu_ns(s, "check", rc=plain.returncode)
    check("Looks good" in s.out or "Does not look good" in s.out, s.out)
    criu_ns(s, "check", "--feature", "no_such", rc=1)
    check(all_gone(), "there is %s" % keepers())


@scenario
def waits_for_the_root(s):
    s.victim()
    s.dump()
    s.proc = None
    with open(s.path("out"), "w") as out:
        front = subprocess.Popen(command(s, "restore", "-D", s.imgs, "--pidfile", "p"), cwd=s.dir, stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=out)
    pid = told(s, "imgs/p")
    check(wait_for(lambda: alive(pid)) and front.poll() is None, "criu-ns does not wait")
    check(pids_of(pid)[-1] == s.pid, "pids %s" % pids_of(pid))
    open(s.path("verify"), "w").close()
    check(front.wait(60) == 0, "criu-ns ends with %d" % front.returncode)
    check(text(s.path("result")).split() == ["PASS"] and wait_for(lambda: reap() or not children(os.getpid())),
          "left: %s, %s" % (text(s.path("result")), children(os.getpid())))


@scenario
def signals(s):
    """What ends criu ends criu-ns, in the same way; the tree stays, as without criu-ns."""
    s.victim()
    s.dump()
    s.proc = None
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        front = subprocess.Popen(command(s, "restore", "-D", s.imgs, "--pidfile", sig.name), cwd=s.dir, stdin=subprocess.DEVNULL)
        pid = told(s, "imgs/" + sig.name)
        criu = parent(pid)
        keeper = parent(criu)
        # Right after the commit criu takes a signal for one that came too late.
        check(wait_for(lambda: int(status_of("/proc/%d/status" % criu)["SigBlk"], 16) == 0), "criu does not wait for the root")
        front.send_signal(sig)
        check(front.wait(60) == -sig, "%s: criu-ns ends with %d" % (sig.name, front.returncode))
        check(wait_for(lambda: parent(pid) == keeper), "criu is still there")
        check(alive(pid), "%s: the tree is %s" % (sig.name, state_of(pid)))
    passed(s, 3)


def at_stage(s, stage):
    """An action script that stays at a stage until there is the file `go`."""
    return s.script(stage, '[ "$CRTOOLS_SCRIPT_ACTION" != %s ] || { touch %s; while [ ! -e %s ]; do sleep 0.05; done; }\n'
                    % (stage, s.path("there"), s.path("go")))


def stopped_at(s, stage, *args):
    front = subprocess.Popen(command(s, *args, "--action-script", at_stage(s, stage)), cwd=s.dir, stdin=subprocess.DEVNULL)
    check(wait_for(lambda: os.path.exists(s.path("there")) or front.poll() is not None) and front.poll() is None, "it has ended")
    os.unlink(s.path("there"))
    return front


@scenario
def restore_fails_or_is_killed(s):
    s.victim()
    s.dump()
    s.proc = None
    criu_ns(s, "restore", "-d", "-D", s.imgs, "--pidfile", "p", "--action-script", "exit 1", rc=1)
    check(not os.path.exists(s.path("imgs/p")) and wait_for(lambda: reap() or not children(os.getpid())), "something is left")
    for sig in (signal.SIGTERM, signal.SIGKILL):
        front = stopped_at(s, "post-restore", "restore", "-d", "-D", s.imgs, "-o", "restore.log")
        front.send_signal(sig)
        check(front.wait(60) in (-sig, 1), "criu-ns ends with %d" % front.returncode)
        check(wait_for(lambda: reap() or not children(os.getpid())), "%s: there is %s" % (sig.name, children(os.getpid())))
    # The keeper is killed: with it all in the namespaces.
    front = stopped_at(s, "post-restore", "restore", "-d", "-D", s.imgs, "-o", "restore.log")
    os.kill(children(front.pid)[0], signal.SIGKILL)
    check(front.wait(60) == 1 and wait_for(lambda: reap() or not children(os.getpid())), "the keeper's death: %s" % front.returncode)
    restored(s, "one")
    passed(s, 1)


@scenario
def dump_fails_or_is_killed(s):
    s.victim()
    s.dump()
    s.proc = None
    pid = restored(s, "one")
    again = s.path("again")
    os.mkdir(again)
    criu_ns(s, "dump", "-t", pid, "-D", again, "--pidfile", "p", "--action-script", "exit 1", rc=1)
    for sig in (signal.SIGTERM, signal.SIGKILL):
        front = stopped_at(s, "post-dump", "dump", "-t", pid, "-D", again, "-o", "dump.log")
        check(state_of(pid) != "gone", "the tree is gone at post-dump")
        front.send_signal(sig)
        check(front.wait(60) in (-sig, 1), "criu-ns ends with %d" % front.returncode)
        check(wait_for(lambda: alive(pid) and status_of("/proc/%d/status" % pid)["TracerPid"] == "0"),
              "%s: the tree is %s" % (sig.name, state_of(pid)))
        left = [n for n in os.listdir(again) if n.endswith(".img")]
        check(wait_for(lambda: not [n for n in os.listdir(again) if n.endswith(".img")]), "there is still %s" % left)
    check(not os.path.exists(again + "/p"), "a pid file of nothing")
    criu_ns(s, "dump", "-t", pid, "-D", again)
    shutil.rmtree(s.imgs)
    os.rename(again, s.imgs)
    restored(s, "one")
    passed(s, 1)


run_all()
