#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# criu killed at each of its fault points, with a tree in a network namespace that a veth joins with the caller's: after a dump
# its connections go on, and no rule is left in there; after a restore no device and no process is left, and the images
# restore.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs ip unshare nsenter nft
# zdtm: timeout 300
import os
import subprocess

from net_host import check, echo, ip, start_echo, text, wait_for

from driver import children, reap, run_all, scenario

MOST = 400
VETH = ("--external", "veth[eth0]:hv0@br9")


def no_rules(s, when):
    def none():
        return not subprocess.run(["nsenter", "-t", str(s.pid), "-n", "nft", "list", "tables"], capture_output=True).stdout
    check(wait_for(none), "%s: a lock is left" % when)
    check(not subprocess.run(["nft", "list", "tables"], capture_output=True).stdout, "%s: a lock is left here" % when)


def no_link(when):
    check(wait_for(lambda: "hv0" not in ip("link")), "%s: a device is left: %s" % (when, ip("link")))


@scenario
def each_point(s):
    ip("link add br9 type bridge")
    ip("addr add 10.77.0.1/24 dev br9")
    ip("link set br9 up")
    client = start_echo(s, True)
    for n in range(1, MOST):
        s.dump("-R", "--tcp-established", "--test-kill-at", n, ok=False)
        if not s.rc:
            break
        check(s.rc == -9, "dump, point %d: %d: %s" % (n, s.rc, s.errors("dump.log")))
        no_rules(s, "dump, point %d" % n)
        echo(client, b"dump %d" % n)
        s.clean_images()
    print("%d points of a dump" % (n - 1), flush=True)
    check(5 < n < MOST, "%d points of a dump" % n)
    s.clean_images()
    s.dump("--tcp-established")
    s.proc = None  # whatever has its pid now is another
    no_link("the tree is dumped")
    for n in range(1, MOST):
        s.restore("--tcp-established", *VETH, "--test-kill-at", n, ok=False)
        if not s.rc:
            break
        check(s.rc == -9, "restore, point %d: %d: %s" % (n, s.rc, s.errors("restore.log")))
        if "restore committed" in text(s.path("imgs/restore.log")):
            break
        check(wait_for(lambda: reap() or not children(os.getpid())), "restore, point %d: processes are left" % n)
        no_link("restore, point %d" % n)
    print("%d points of a restore" % (n - 1), flush=True)
    check(10 < n < MOST, "%d points of a restore" % n)
    echo(client, b"at last")
    no_rules(s, "at last")
    s.kill()


run_all()
