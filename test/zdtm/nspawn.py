#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A container of systemd-nspawn, its init alone: with the deleted files that it mounts over /proc/kmsg and boot_id, with a user namespace
# (a root whose owners are mapped, locked mounts) and a veth, a child in a mount namespace of its own, and files of its own /proc that are open.
# Three rounds: mounts, contents, network and host name are equal, init counts on.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs systemd-nspawn busybox nsenter ip
# zdtm: timeout 120
import json
import os
import re
import shutil
import signal
import stat
import subprocess

from driver import check, run_all, scenario, text, tree, wait_for
from mounts import contents, difference, mounts

INIT = 'exec 7</proc/1/mountinfo 8</proc/sys/kernel/hostname; busybox unshare -m sleep 100000 & n=0; echo x > /run/file; mkfifo /tmp/p; while :; do n=$((n+1)); echo $n > /run/new; mv /run/new /run/count; sleep 0.02; done'


def make_root(top):
    for n in "bin usr etc dev proc sys tmp run root var sbin".split():
        os.makedirs(os.path.join(top, n))
    shutil.copy(shutil.which("busybox"), top + "/bin/busybox")
    for n in "sh sleep mv mkfifo cat".split():
        os.symlink("busybox", top + "/bin/" + n)
    open(top + "/etc/os-release", "w").write("ID=test\n")


def init_of(s):
    return next((p for p in tree(s.proc.pid) if re.search(r"^NSpid:\s\d+\s1$", text("/proc/%d/status" % p), re.M)), 0)


def look(s):
    root = "/proc/%d/root" % s.pid
    links = json.loads(subprocess.run(["nsenter", "-t", str(s.pid), "-n", "ip", "-j", "-d", "addr"], capture_output=True, check=True).stdout)
    for one in links:
        for key in ("link_index", "link_netnsid", "stats64", "num_tx_queues", "num_rx_queues"):
            one.pop(key, None)
    held = contents(root + "/run", but=("count", "new"))
    del held["."]
    return {
        "mounts": mounts(s.pid), "run": held, "dev": contents(root + "/dev"), "tmp": contents(root + "/tmp"),
        "boot_id": text(root + "/proc/sys/kernel/random/boot_id"), "kmsg": oct(os.stat(root + "/proc/kmsg").st_mode),
        "root": [(n, os.stat(root + n).st_uid - os.stat(root).st_uid) for n in ("/", "/bin", "/etc/os-release")],
        "links": [(x["ifname"], x.get("address"), x["mtu"], x["flags"]) for x in links],
        "maps": text("/proc/%d/uid_map" % s.pid), "name": [text("/proc/%d/%s" % (s.pid, n)) for n in ("cgroup", "comm")],
    }


def count_of(s):
    return int(text("/proc/%d/root/run/count" % s.pid) or 0)


def through(s, *more, restore=()):
    name = "criu-%d" % os.getpid()
    make_root(s.path("root"))
    open(s.path("init"), "w").write(INIT)
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["systemd-nspawn", "-q", "-D", s.path("root"), "-M", name, "--register=no", "--keep-unit", "--console=pipe",
                                   *more, "/bin/sh", "-c", INIT], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    check(wait_for(lambda: init_of(s) and os.path.exists("/proc/%d/root/run/count" % init_of(s)) or s.proc.poll() is not None), "no container")
    check(s.proc.poll() is None, "systemd-nspawn: %s" % text(s.path("victim.out")))
    nspawn, s.pid = s.proc, init_of(s)
    propagate = "/run/systemd/nspawn/propagate/" + name
    before = look(s)
    check(stat.S_ISFIFO(int(before["kmsg"], 8)) and len(before["boot_id"]) > 30 and str(before["mounts"]).count("//deleted") == 3, before)
    try:
        for n in range(3):
            s.proc = None
            s.dump("-j")
            nspawn.wait()  # it removes what is its own: a directory that is mounted in the container, the veth
            os.makedirs(propagate, exist_ok=True)
            s.restore("-j", "--pidfile", s.path("pid%d" % n), *[w.replace('%s', name) for w in restore])
            s.pid = int(text(s.path("pid%d" % n)))
            now = look(s)
            for k, v in before.items():
                check(now[k] == v, "round %d: %s: %s" % (n, k, difference(v, now[k]) if isinstance(v, (list, dict)) else (v, now[k])))
            counted = count_of(s)
            check(wait_for(lambda: count_of(s) > counted + 2), "round %d: init counts no more" % n)
            s.clean_images()
    finally:
        if s.pid and os.path.exists("/proc/%d" % s.pid):
            os.kill(s.pid, signal.SIGKILL)
        nspawn.wait()
        shutil.rmtree(propagate, ignore_errors=True)


@scenario
def plain(s):
    through(s)


@scenario
def user_namespace(s):
    through(s, "--private-users=pick")


@scenario
def veth(s):
    through(s, "--network-veth", restore=["--external", "veth[host0]:ve-%s"])


if __name__ == "__main__":
    run_all()
