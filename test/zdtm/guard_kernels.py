#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Guard pages as older kernels show them (a library between criu and the kernel): not in PAGEMAP_SCAN, not in pagemap, only by
# a read that fails; and a restore on a kernel without guard pages, which is refused before anything is started.
# zdtm: driver
# zdtm: needs gcc
import os
import subprocess

from driver import HERE, check, run_all, scenario, text


def older(s, letters):
    lib = s.path("older.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O", "-o", lib, os.path.join(HERE, "lib/older_guards.c")], check=True)
    return {"LD_PRELOAD": lib, "OLDER_GUARDS": letters}


def dumped_as(s, letters):
    s.victim("guard_pages")
    s.dump(env=older(s, letters))
    log = text(os.path.join(s.imgs, "dump.log"))
    guesses = "is taken for a guard page" in log
    check(guesses == ("f" in letters), "guard pages %s guessed" % ("were" if guesses else "were not"))
    s.restore()
    s.verify()


@scenario
def kernel_6_15(s):
    dumped_as(s, "sv")


@scenario
def kernel_6_14(s):
    dumped_as(s, "spv")


@scenario
def kernel_6_14_without_frames(s):
    dumped_as(s, "spvf")


@scenario
def no_pagemap_scan(s):
    dumped_as(s, "n")


@scenario
def no_guards_at_restore(s):
    s.victim("guard_pages")
    s.dump()
    s.restore(ok=False, env=older(s, "i"))
    errors = s.errors("restore.log")
    check(s.rc and "cannot make there" in errors and "MADV_GUARD_INSTALL" in errors, "not refused: %s" % errors)
    check(not os.path.exists("/proc/%d" % s.pid), "something was started")
    s.restore()
    s.verify()


run_all()
