#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Namespaces that are mounted at a path (ip netns add, mount --bind /proc/PID/ns/uts) in a mount namespace of the tree's own: those of
# its tasks, those that only the mount holds, criu's own, external ones; what cannot be is refused by name. Three rounds.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs unshare nsenter setsid ip mount
import os
import subprocess

from driver import check, rounds_wanted, run_all, scenario, text, tree, wait_for

ROUNDS = rounds_wanted(3)

# In a mount namespace of its own; /run is a file system that nobody else sees.
SETUP = r"""
set -e
mount --make-rprivate /
mount -t tmpfs run /run
touch /run/uts /run/task /run/crius /run/ipc /run/time /run/pid /run/user
unshare -u sh -ec 'hostname only-bound; mount --bind /proc/self/ns/uts /run/uts'
mount --bind /proc/self/ns/uts /run/crius
unshare -i sh -ec 'echo 77 >/proc/sys/kernel/msgmni; mount --bind /proc/self/ns/ipc /run/ipc'
unshare -T --monotonic=50000 --boottime=50000 sh -ec 'mount --bind /proc/self/ns/time /run/time'
ip netns add blue
ip -n blue addr add 10.7.7.7/32 dev lo
ip -n blue link set lo up
ip netns add green
touch /run/again
mount --bind /run/netns/blue /run/again
unshare -n sh -ec 'mount --bind /proc/self/ns/net /run/task; echo $$ >"$0/task.pid"; exec sleep 1000' "$1" &
unshare -pf --kill-child sleep 1001 &
pids=$!
unshare -U sleep 1002 &
user=$!
while [ ! -e "$1/task.pid" ]; do sleep 0.01; done
while [ "$(readlink /proc/$user/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
mount --bind /proc/$user/ns/user /run/user
while pid=$(cat /proc/$pids/task/$pids/children) && [ -z "$pid" ]; do sleep 0.01; done
while [ "$(cat /proc/${pid% }/comm)" != sleep ]; do sleep 0.01; done
mount --bind /proc/${pid% }/ns/pid /run/pid
[ -z "$2" ] || eval "$2"
echo ready >"$1/ready"
exec sleep 2000
"""


def start(s, more=""):
    for name in "ready", "task.pid":
        if os.path.exists(s.path(name)):
            os.unlink(s.path(name))
    with open(s.path("setup.sh"), "w") as f:
        f.write(SETUP)
    with open(s.path("victim.out"), "w") as out:
        s.proc = subprocess.Popen(["setsid", "unshare", "-m", "sh", s.path("setup.sh"), s.dir, more], cwd=s.dir, stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")) or s.proc.poll() is not None) and os.path.exists(s.path("ready")),
          "the victim is not ready: " + text(s.path("victim.out")))
    check(wait_for(lambda: text("/proc/%d/comm" % s.pid) == "sleep\n"), "no sleep")


def inside(s, *command):
    p = subprocess.run(["nsenter", "-m", "-t", str(s.pid), *command], capture_output=True, text=True)
    check(p.returncode == 0, "%s: %s" % (command, p.stderr))
    return p.stdout


def ino(s, path):
    return int(inside(s, "stat", "-c", "%i", path))


def of(pid, kind):
    return os.stat("/proc/%d/ns/%s" % (pid, kind)).st_ino


def one(s, arg):
    found = [p for p in tree(s.pid) if text("/proc/%d/cmdline" % p) == "sleep\0%s\0" % arg]
    check(len(found) == 1, "sleep %s is %s" % (arg, found))
    return found[0]


def mounts(s):
    return [(m[3], m[4], " ".join(m[5:])) for m in (line.split() for line in text("/proc/%d/mountinfo" % s.pid).splitlines())]


def same(s, when):
    check(ino(s, "/run/task") == of(one(s, 1000), "net"), when + ": another network namespace than the task's")
    check(ino(s, "/run/pid") == of(one(s, 1001), "pid"), when + ": another pid namespace than the task's")
    check(ino(s, "/run/user") == of(one(s, 1002), "user"), when + ": another user namespace than the task's")
    check(ino(s, "/run/crius") == os.stat("/proc/self/ns/uts").st_ino == of(s.pid, "uts"), when + ": another UTS namespace than criu's")
    check(inside(s, "nsenter", "--uts=/run/uts", "hostname") == "only-bound\n", when + ": another host name")
    check(inside(s, "nsenter", "--ipc=/run/ipc", "cat", "/proc/sys/kernel/msgmni") == "77\n", when + ": another setting")
    check("10.7.7.7/32" in inside(s, "ip", "-n", "blue", "addr"), when + ": no address")
    check(ino(s, "/run/again") == ino(s, "/run/netns/blue"), when + ": another namespace at the second place")
    up = float(inside(s, "nsenter", "-T/run/time", "cat", "/proc/uptime").split()[0]) - float(text("/proc/uptime").split()[0])
    check(49900 < up <= 50001, when + ": the clock is %f s ahead" % up)
    check(set(inside(s, "ip", "netns").split()) >= {"blue", "green"}, when + ": ip netns")
    inodes = [ino(s, "/run/" + n) for n in ("uts", "task", "crius", "ipc", "time", "pid", "user", "netns/blue", "netns/green")]
    check(len(set(inodes)) == len(inodes), when + ": two are one: %s" % inodes)


def offsets(s):
    """Of the time namespace that only a mount holds."""
    return inside(s, "nsenter", "-T/run/time", "cat", "/proc/self/timens_offsets").split()


@scenario
def bound(s):
    start(s)
    same(s, "before")
    own = text("/proc/self/mountinfo")
    places = [(place, options.replace("rw,", "", 1)) for _, place, options in mounts(s)]
    for n in range(ROUNDS):
        s.dump()
        s.restore()
        same(s, "round %d" % n)
        check(int(offsets(s)[1]) in range(49900, 50001), "round %d: offsets %s" % (n, offsets(s)))
        now = [(place, options.replace("rw,", "", 1)) for _, place, options in mounts(s)]
        order = [[p for p, _ in all if p.startswith("/run/") and "netns" not in p and p != "/run/again"] for all in (places, now)]
        check(order[0] == order[1], "round %d: in the order %s" % (n, order))
        check(sorted(p for p, _ in now) == sorted(p for p, _ in places), "round %d: mounts %s, not %s" % (n, now, places))
        shared = [[" shared:" in " " + o for p, o in all if p.startswith("/run")] for all in (sorted(places), sorted(now))]
        check(shared[0] == shared[1], "round %d: shared %s" % (n, shared))
        s.clean_images()
    check(text("/proc/self/mountinfo") == own, "mounts are left")
    s.kill()


@scenario
def killed(s):
    start(s)
    own = text("/proc/self/mountinfo")
    s.dump()
    s.proc = None
    for point in range(1, 400, 5):
        s.restore("--test-kill-at", str(point), ok=False)
        if s.rc >= 0:
            break
        if "restore committed" in text(os.path.join(s.imgs, "restore.log")):
            s.kill()
        s.gone()
        check(text("/proc/self/mountinfo") == own, "mounts are left")
    check(point > 10, "it ended at %d" % point)
    same(s, "after kills")
    s.kill()


def holder():
    p = subprocess.Popen(["unshare", "-n", "sleep", "3000"], stdin=subprocess.DEVNULL)
    check(wait_for(lambda: text("/proc/%d/comm" % p.pid) == "sleep\n"), "no holder")
    return p


@scenario
def outside(s):
    """A namespace of others: refused, or external."""
    first, second = holder(), holder()
    try:
        start(s, "touch /run/outer; mount --bind /proc/%d/ns/net /run/outer" % first.pid)
        s.dump(ok=False)
        why = "in which pid %d is, outside of the tree" % first.pid
        check(s.rc != 0 and why in s.errors("dump.log"), s.errors("dump.log"))
        same(s, "after a refusal")
        for n in range(ROUNDS):
            s.dump("--external", "net[%d]:outer" % of(first.pid, "net"))
            s.restore(ok=False)
            check(s.rc != 0 and "key outer): give another one by --inherit-fd" in s.errors("restore.log"), s.errors("restore.log"))
            other = second if n == 1 else first
            fd = os.open("/proc/%d/ns/net" % other.pid, os.O_RDONLY)
            s.restore("--inherit-fd", "fd[%d]:outer" % fd, pass_fds=[fd])
            os.close(fd)
            same(s, "round %d" % n)
            check(ino(s, "/run/outer") == of(other.pid, "net"), "round %d: another one is there" % n)
            s.clean_images()
            if n == 1:  # where it is now is the other one
                first, second = second, first
        s.kill()
    finally:
        for p in first, second:
            p.kill()
            p.wait()


@scenario
def refused(s):
    start(s, "mkdir /run/m; mount -t tmpfs m /run/m; mount --make-private /run/m; touch /run/m/mnt; n=0; "
             # Only a namespace with a greater number than one's own can be mounted, and each CPU has numbers of its own (Linux 6.18).
             "while unshare -m --propagation slave sleep 4000 & while [ $(cat /proc/$!/comm) != sleep ]; do :; done; "
             "! mount --bind /proc/$!/ns/mnt /run/m/mnt; do kill $!; n=$((n+1)); [ $n -lt 200 ] || break; done")
    s.dump(ok=False)
    check(s.rc != 0 and "a mount namespace; unmount it" in s.errors("dump.log"), s.errors("dump.log"))
    same(s, "after a refusal")
    s.kill()


run_all()
