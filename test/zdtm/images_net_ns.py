#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Sockets and tun devices say which network namespace they are in, as CRIU writes it. One that no task is in is refused by name
# before anything is started, and images without the number (older ones) restore.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 120
import os

from driver import check, children, run_all, scenario

OURS = 2  # criu's own objects are number 1, their number in the images is 2
# Program, what it is called, the tag of ns_id. The one that sees all packets is first: groups that the next one joins are
# reported on lo, some seconds later.
KINDS = (("packet", "packet sockets", b"\xa0\x01"), ("inet_udp", "IPv4 and IPv6 sockets", b"\x90\x01"),
         ("netlink", "netlink sockets", b"\x68"), ("unix_pairs", "unix socket", b"\x80\x01"))


@scenario
def numbers(s):
    for program, what, tag in KINDS:
        s.victim(program)
        s.dump()
        os.unlink(os.path.join(s.imgs, "checkpoint.sums"))
        path = os.path.join(s.imgs, "files.img")
        raw = open(path, "rb").read()
        here = tag + bytes([OURS])
        check(here in raw, "%s: no ns_id" % program)
        with open(path, "wb") as f:
            f.write(raw.replace(here, tag + b"\x07"))
        s.restore(ok=False)
        said = s.errors("restore.log")
        check(s.rc and "network namespace (number 7)" in said and what in said, "%s: %s" % (program, said))
        check(not children(os.getpid()), "%s: tasks were started" % program)
        # An unknown field of the same length instead: as images without it.
        with open(path, "wb") as f:
            f.write(raw.replace(here, (b"\x98\x03" if len(tag) == 2 else b"\x78") + b"\x07"))
        s.restore()
        s.verify()
        s.clean_images()


run_all()
