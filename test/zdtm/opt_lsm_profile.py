#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Labels of security modules in an image, on a host where none is in force: refused by name before anything is started, unless
# --lsm-profile says that they are to have none. (Labels that a host does know: test/unit/lsm_label.c.)
# zdtm: driver
# zdtm: needs-root
import os

from driver import check, run_all, scenario, text
from image_edit import edit

THREAD_CORE, CREDS, PROFILE, SOCKCREATE = 5, 10, 15, 16
LSM_TYPE, APPARMOR, SELINUX = 6, 2, 1


def refused(s, words, *options):
    s.restore("--allow-edited-images", *options, ok=False)
    said = s.out + text(s.path("imgs/restore.log"))
    check(words in said, "'%s' is not in %s" % (words, said[-600:]))
    check(not os.path.exists("/proc/%d" % s.pid), "something was started")


@scenario
def labels(s):
    core = "core-%d.img"
    s.victim("eventfd")
    s.dump()
    s.proc = None
    if os.path.exists("/sys/fs/selinux/enforce") or text("/sys/module/apparmor/parameters/enabled").startswith("Y"):
        s.restore()
        return
    core %= s.pid
    edit(s, core, (THREAD_CORE, CREDS, PROFILE), b"docker-default")
    edit(s, "inventory.img", (LSM_TYPE,), APPARMOR)
    refused(s, "has the label docker-default of AppArmor, and no security module is in force here")
    refused(s, "has the label other of AppArmor", "--lsm-profile", "apparmor:other")
    refused(s, "has the label u:r:t:s0 of SELinux", "--lsm-profile", "selinux:u:r:t:s0")
    for wrong in ("docker-default", "apparmor:", "smack:x"):
        refused(s, "--lsm-profile %s: is not" % wrong, "--lsm-profile", wrong)
    edit(s, "inventory.img", (LSM_TYPE,), SELINUX)
    refused(s, "has the label docker-default of SELinux")
    edit(s, core, (THREAD_CORE, CREDS, SOCKCREATE), b"u:r:s:s0")
    refused(s, "has the label u:r:s:s0 for new sockets", "--lsm-profile", "apparmor:unconfined")
    edit(s, core, (THREAD_CORE, CREDS, SOCKCREATE), b"")
    s.restore("--allow-edited-images", "--lsm-profile", "apparmor:unconfined", "--lsm-mount-context", "u:r:m:s0")


run_all()
