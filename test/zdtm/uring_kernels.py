#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Rings of io_uring where the kernel's memory cannot be read (a library between criu and the kernel): idle rings come back
# as plain ones, and what only the kernel knows is refused by name; the program does not notice.
# zdtm: driver
# zdtm: needs gcc
import os
import subprocess

from driver import HERE, check, run_all, scenario


def without(s, letters):
    lib = s.path("no_bpf.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O", "-o", lib, os.path.join(HERE, "lib/no_bpf.c")], check=True)
    return {"LD_PRELOAD": lib, "NO_BPF": letters}


def idle_rings(s, letters):
    s.victim("uring")
    s.dump(env=without(s, letters))
    s.restore()
    s.verify()


def refused(s, program, *words):
    s.victim(program)
    s.dump("--timeout", 1, "--tcp-established", ok=False, env=without(s, "b"))
    with open(os.path.join(s.imgs, "dump.log")) as f:
        log = f.read()
    check(s.rc != 0, "it was dumped")
    for w in words:
        check(w in log, "no error says %s" % w)
    s.verify()


@scenario
def no_bpf(s):
    idle_rings(s, "b")


@scenario
def no_btf(s):
    idle_rings(s, "t")


@scenario
def in_flight(s):
    refused(s, "uring_flight", "requests are in flight", "with a polling thread (IORING_SETUP_SQPOLL) is not supported where criu cannot")


@scenario
def registered(s):
    refused(s, "uring_registered", "with registered files or buffers is not supported where criu cannot",
            "was set up disabled (IORING_SETUP_R_DISABLED)")


@scenario
def in_flight_with_it(s):
    s.victim("uring_flight")
    s.dump("--tcp-established", env=without(s, ""))
    s.restore("--tcp-established")
    s.verify()


run_all()
