# SPDX-License-Identifier: GPL-2.0-only
"""
Namespaces and cgroups of a test's own. What a container tool makes (containers, mounts, links, cgroups, state under /run) is
gone with them, whatever happens to the test or to the runner.
"""
import ctypes
import os
import re
import signal
import subprocess
import sys
import time

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
NOSUID, NODEV, NOEXEC, REC, PRIVATE, DETACH = 2, 4, 8, 0x4000, 0x40000, 2
SUBREAPER, PDEATHSIG = 36, 1
WORK = "/mnt"  # a tmpfs in the test's mount namespace
# Directories in which the tools keep what outlives a command.
STATE = ("/run", "/tmp", "/dev/shm", "/var/lib/lxc", "/var/lib/containers", "/var/cache/lxc", "/etc/criu", "/root/.config")
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result:
        raise OSError(ctypes.get_errno(), "%s: %s" % (what, os.strerror(ctypes.get_errno())))


def mount(kind, path, flags=0, data=None, source=None):
    _check(_libc.mount((source or kind or "none").encode(), path.encode(), kind and kind.encode(), ctypes.c_ulong(flags),
                       data and data.encode()), "mount %s" % path)


def prctl(what, value):
    _check(_libc.prctl(what, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def hierarchies():
    """Of this machine: (mount point, words of version 1 or None for version 2)."""
    found = {}
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, right = line.split(" - ")
            kind, options = right.split()[0], right.split()[2]
            if kind == "cgroup2":
                found.setdefault("", (left.split()[4], None))
            elif kind == "cgroup":
                words = [w for w in options.split(",") if w not in ("rw", "ro", "relatime", "xattr") and "=" not in w or w.startswith("name=")]
                found.setdefault(",".join(words), (left.split()[4], ",".join(words)))
    return list(found.values())


def _write(path, text):
    try:
        with open(path, "w") as f:
            f.write(text)
    except OSError:
        return False
    return True


def _groups_below(top):
    return [d for d, _, _ in os.walk(top, topdown=False)]


def cgroups_remove(prefix):
    """Ends all processes in cgroups whose names start so, and removes these. Returns the names of what is still there."""
    tops = [os.path.join(m, name) for m, _ in hierarchies() for name in (os.listdir(m) if os.path.isdir(m) else ()) if name.startswith(prefix)]
    for _ in range(600):
        left = [d for top in tops for d in _groups_below(top)]
        if not left:
            break
        for d in left:
            _write(d + "/freezer.state", "THAWED")
            _write(d + "/cgroup.freeze", "0")
            try:
                pids = [int(p) for p in open(d + "/cgroup.procs").read().split()]
            except OSError:
                continue
            for p in pids:
                try:
                    os.kill(p, signal.SIGKILL)
                except OSError:
                    pass
            try:
                os.rmdir(d)
            except OSError:
                pass
        time.sleep(0.05)
    return [d for top in tops for d in _groups_below(top)]


def start_janitor(prefix):
    """
    A process that outlives the runner, kill -9 included, and then removes its cgroups: nothing else of a test outlives it.
    Returns the descriptor whose closing starts the work: the runner's end of a pipe, which no child may keep.
    """
    r, w = os.pipe()
    if os.fork():
        os.close(r)
        return w
    os.close(w)
    os.setsid()
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR)
    for n in (0, 1, 2):
        os.dup2(null, n)
    os.read(r, 1)
    cgroups_remove(prefix)
    os._exit(0)


def _enter_cgroups(name):
    for top, _ in hierarchies():
        d = os.path.join(top, name)
        try:
            os.mkdir(d)
        except OSError:
            continue  # a hierarchy that this machine shows read-only
        if os.path.exists(d + "/cpuset.cpus"):
            for f in ("/cpuset.cpus", "/cpuset.mems"):
                if not open(d + f).read().strip():
                    _write(d + f, open(top + f).read())
            _write(d + "/cgroup.clone_children", "1")
        _write(d + "/cgroup.procs", str(os.getpid()))


def _mount_cgroups(where, view):
    """view: hybrid (as systemd calls it: version 1, and version 2 in unified), v1 or v2."""
    if view == "v2":
        mount("cgroup2", "/sys/fs/cgroup", NOSUID | NODEV | NOEXEC)
        os.mkdir("/sys/fs/cgroup/harness")
        # Runtimes kill or freeze what is in the group that a container's group is in.
        _write("/sys/fs/cgroup/harness/cgroup.procs", "0")
        return
    mount("tmpfs", "/sys/fs/cgroup", NOSUID | NODEV | NOEXEC, "mode=755")
    for top, words in where:
        if words is None and view == "v1":
            continue
        d = "/sys/fs/cgroup/" + os.path.basename(top)
        os.mkdir(d)
        if words is None:
            mount("cgroup2", d, NOSUID | NODEV | NOEXEC)
        else:
            mount("cgroup", d, NOSUID | NODEV | NOEXEC, ("none," if words.startswith("name=") else "") + words)


def _mounts(where, view, overlay):
    mount(None, "/", REC | PRIVATE)
    for d in ("/proc", "/sys", "/dev/pts"):
        _libc.umount2(d.encode(), DETACH)
    mount("proc", "/proc", NOSUID | NODEV | NOEXEC)
    mount("sysfs", "/sys", NOSUID | NODEV | NOEXEC)
    mount("devpts", "/dev/pts", NOSUID | NOEXEC, "newinstance,ptmxmode=666,mode=620,gid=5")
    mount("tmpfs", WORK)
    for d in STATE:
        if os.path.isdir(d):
            mount("tmpfs", d, NOSUID | NODEV, "mode=%s" % ("1777" if d in ("/tmp", "/dev/shm") else "755"))
    os.makedirs("/run/lock", exist_ok=True)
    for d, over in overlay:
        mount("overlay", d, NOSUID | NODEV, "lowerdir=%s:%s" % (over, d))
    _mount_cgroups(where, view)


def _first_process(where, view, overlay, function):
    """Pid 1 of the namespaces: reaps what containers leave, and ends as the test does."""
    prctl(PDEATHSIG, signal.SIGKILL)
    _mounts(where, view, overlay)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    pid = os.fork()
    if not pid:
        os._exit(function())
    while True:
        done, status = os.wait()
        if done == pid:
            os._exit(os.waitstatus_to_exitcode(status) & 255)


def _holder(name, view, overlay, function):
    prctl(PDEATHSIG, signal.SIGKILL)
    where = [h for h in hierarchies() if os.access(h[0], os.W_OK)]
    _enter_cgroups(name)
    _check(_libc.unshare(NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWPID | NEWNET), "unshare")
    pid = os.fork()
    if not pid:
        _first_process(where, view, overlay, function)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)


def run_inside(name, function, limit, view="hybrid", overlay=()):
    """
    Runs a function in namespaces and cgroups of its own. Returns its status, or -1 where it was still running after `limit` seconds.
    overlay: (directory, directory whose files take the place of those in it).
    """
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            _holder(name, view, overlay, function)
        except BaseException as e:
            print("no namespaces: %s" % e, flush=True)
        os._exit(98)
    end = time.monotonic() + limit
    status = -1
    while time.monotonic() < end:
        done, raw = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(raw)
            break
        time.sleep(0.02)
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    left = cgroups_remove(name)
    if left:
        print("cgroups that are still there: %s" % " ".join(left), flush=True)
        status = status or 97
    return status


def safe_name(text):
    return re.sub(r"[^a-z0-9]+", "-", text)
