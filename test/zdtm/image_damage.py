#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Images without an integrity file, as CRIU's are: each image of several programs is cut short, made longer, and has bits
# flipped. Nothing crashes or hangs, and each refusal names the file. --stress: many more flips, of more programs; those
# that DAMAGE_PROGRAMS has, where that is set.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 7200
import os
import random
import signal
import subprocess
import time

from driver import check, children, run_all, scenario, state_of, text, tree, wait_for

STRESS = os.environ.get("STRESS") == "1"
PROGRAMS = ("timers", "locks_posix", "timerfd", "pipes", "unix_pairs", "pty", "threads", "inotify", "signalfd", "memfd",
            "inet_udp", "groups_sessions", "eventfd", "file_memory", "ghost_file", "pending", "netlink", "epoll_targets",
            "sysv_shm", "sysv_sem", "sysv_msg", "mqueue", "aio", "guard_pages", "leader_ended")
CHOSEN = os.environ.get("DAMAGE_PROGRAMS", "").split()


def damages(b, rng):
    """(what was done, the bytes)"""
    for n in sorted({0, 3, 4, 8, 11, len(b) // 2, len(b) - 1}):
        if n < len(b):
            yield "cut to %d bytes" % n, b[:n]
    for more in (b"\x01", b"\x00\x00\x00\x00", b"\xff" * 9):
        yield "with %r behind it" % more, b + more
    for at in rng.sample(range(len(b)), min(len(b), 200 if STRESS else 5)):
        bit = rng.randrange(8)
        yield "with bit %d of byte %d flipped" % (bit, at), b[:at] + bytes([b[at] ^ 1 << bit]) + b[at + 1:]


def protect_system(on):
    """A flipped bit may have a library opened for writing, and while it is nothing can be executed anywhere (ETXTBSY)."""
    for top in {os.path.realpath(d) for d in ("/usr", "/bin", "/lib", "/lib64", "/etc") if os.path.exists(d)}:
        if top.startswith("/usr/"):
            continue
        for command in (["--bind", top, top], ["-o", "remount,bind,ro", top]) if on else ():
            subprocess.run(["mount", *command], check=True)
        if not on:
            subprocess.run(["umount", "-l", top], check=True)


def remove_segments():
    for line in text("/proc/sysvipc/shm").splitlines()[1:]:
        subprocess.run(["ipcrm", "-m", line.split()[1]], check=True)


def clean(s):
    """Whatever a restore with odd images left running."""
    for p in [q for c in children(os.getpid()) for q in tree(c)]:
        try:
            os.kill(p, signal.SIGKILL)
        except OSError:
            pass

    def none():
        for p in children(os.getpid()):
            if state_of(p) == "Z":
                os.waitpid(p, os.WNOHANG)
        return not children(os.getpid())
    check(wait_for(none), "left: %s" % children(os.getpid()))


def one(s, name, what, count):
    s.tool("restore", "-d", "-D", s.imgs, "-W", s.dir, "-v2", "-o", s.path("restore.log"), timeout=60)
    said = text(s.path("restore.log")) + s.out
    if s.rc == 0:
        count["taken"] += 1
        clean(s)
        return
    check(s.rc == 1, "%s %s: it ends with %d" % (name, what, s.rc))
    count["refused"] += 1
    errors = [x for x in said.splitlines() if "Error" in x]
    if name not in " ".join(errors):
        count["unnamed"].append("%s %s: %s" % (name, what, " | ".join(e.split(": ", 1)[-1] for e in errors)[:400] or said))
    if children(os.getpid()):
        clean(s)


def damage_all(s, program, count):
    s.victim(program)
    s.clean_images()
    s.dump("-l", "--link-remap", "--skip-in-flight")
    s.proc = None
    os.unlink(s.imgs + "/checkpoint.sums")
    rng = random.Random(program)
    for name in s.images():
        path = os.path.join(s.imgs, name)
        whole = open(path, "rb").read()
        for what, b in damages(whole, rng) if not name.startswith("pages-") else [("one page short", whole[:-4096])]:
            with open(path, "wb") as f:
                f.write(b)
            one(s, name, what, count)
        with open(path, "wb") as f:
            f.write(whole)
    s.restore()
    clean(s)


def campaign(program):
    def run(s):
        count = {"taken": 0, "refused": 0, "unnamed": []}
        began = time.monotonic()
        damage_all(s, program, count)
        print("%s: %d taken, %d refused, %d of them without the file's name, %.1f s" % (
            program, count["taken"], count["refused"], len(count["unnamed"]), time.monotonic() - began), flush=True)
        check(not count["unnamed"], "%d refusals do not name the file: %s" % (len(count["unnamed"]), count["unnamed"][:5]))
    run.__name__ = program
    return run


for p in CHOSEN or (PROGRAMS if STRESS else PROGRAMS[:3]):
    scenario(campaign(p))
protect_system(True)
run_all()
protect_system(False)
remove_segments()
