#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Ten checkpoints that CRIU 4.2 made: each restores, and the program in it finds what it held; then the restored tree is
# dumped and restored by us.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs cc
# zdtm: timeout 240
import os
import shutil

import held
from case import Skipped
from driver import check, run_all, scenario
from tcp_peers import ruleset


def theirs(s, mode):
    if not held.is_the_one():
        raise Skipped("this compiler or C library makes another program than was dumped")
    home = held.place(mode)
    shutil.rmtree(s.imgs)
    shutil.copytree(os.path.join(held.DATA, mode), s.imgs)
    dump, restore = held.OPTIONS[mode]
    pstree = held.show(s.imgs)["pstree.img"]
    s.pid = pstree[0]["pid"]
    for again in range(3):
        s.restore(*restore)
        check("CRIU" not in ruleset(), "rules are left: %s" % ruleset())
        for _ in range(2):
            said = held.ask(s.pid, mode)
            check(said == "fine", "%s, round %d: the program says %r" % (mode, again, said))
        links = [n for n in os.listdir(home) if n.startswith(("link_remap.", ".criu."))]
        check(not links, "left: %s" % links)
        if again < 2:
            s.clean_images()
            s.dump(*dump)
    s.kill()


def one(mode):
    def run(s):
        theirs(s, mode)
    run.__name__ = mode
    scenario(run)


held.build()
for m in held.OPTIONS:
    one(m)
run_all()
held.done()
