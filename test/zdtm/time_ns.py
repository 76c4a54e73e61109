#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# A checkpoint meets another uptime: after a reboot the clocks that count from it begin anew. Here time namespaces stand for
# machines whose uptime is 900,000 s longer: the program, the tool, or both are in one. Three rounds each; after each restore
# the clocks of the program go on where they were, timers and sleeps too, and the tree is in one time namespace.
# zdtm: real
# zdtm: driver
# zdtm: needs-root
# zdtm: needs unshare nsenter
# zdtm: timeout 300
import ctypes
import os
import re
import shutil
import subprocess
import time

from driver import Skipped, check, rounds_wanted, run_all, scenario, text, tree, wait_for

NEWTIME, AHEAD, ROUNDS = 0x80, 900000, rounds_wanted(3)
JUMP = 300

# Each writes how many rounds of a few milliseconds it has made.
ASYNCIO = """
import asyncio, os, time
async def main():
    n, last = 0, time.monotonic()
    while True:
        await asyncio.sleep(0.005)
        n, now = n + 1, time.monotonic()
        if not last <= now < last + 300:
            os.write(2, b"the clock went from %f to %f" % (last, now))
            return
        last = now
        with open("count.new", "w") as f:
            f.write(str(n))
        os.rename("count.new", "count")
asyncio.run(main())
"""
NODE = """
const fs = require("fs");
let n = 0;
setInterval(() => { fs.writeFileSync("count.new", String(++n)); fs.renameSync("count.new", "count"); }, 5);
"""
JAVA = """
import java.nio.file.*;
import java.util.concurrent.*;
public class Ticks {
    static long n;
    public static void main(String[] args) {
        Executors.newScheduledThreadPool(2).scheduleAtFixedRate(() -> {
            try {
                Files.writeString(Path.of("count.new"), Long.toString(++n));
                Files.move(Path.of("count.new"), Path.of("count"), StandardCopyOption.ATOMIC_MOVE);
            } catch (Exception e) { e.printStackTrace(); }
        }, 0, 5, TimeUnit.MILLISECONDS);
    }
}
"""


def go_ahead():
    """Between fork and exec: what is executed lives AHEAD seconds later."""
    if ctypes.CDLL(None).unshare(NEWTIME) == 0:
        with open("/proc/self/timens_offsets", "w") as f:
            f.write("monotonic %d 0\nboottime %d 0\n" % (AHEAD, AHEAD))


def offset(pid):
    """Seconds that the process is ahead of the machine."""
    m = re.search(r"monotonic\s+(-?\d+)", text("/proc/%d/timens_offsets" % pid))
    return int(m.group(1))


def ahead(s):
    """The tool, on the machine that is ahead."""
    return s.script("ahead", 'exec unshare -T --monotonic=%d --boottime=%d "$CRIU" "$@"\n' % (AHEAD, AHEAD))


def one_namespace(s):
    names = {os.readlink("/proc/%d/ns/%s" % (p, n)) for p in tree(s.pid) for n in ("time", "time_for_children")}
    check(len(names) == 1, "the tree is in time namespaces %r" % names)


def need_time_ns():
    if not os.path.exists("/proc/self/ns/time"):
        raise Skipped("this kernel has no time namespaces")


def rounds(s, tools, victim=None):
    """The victim begins as it is told; each tool dumps or restores in turn, in rounds."""
    need_time_ns()
    s.victim("clocks", **(victim or {}))
    at = offset(s.pid)
    began = time.monotonic()
    tool = s.criu
    for n in range(ROUNDS):
        for what, how in zip(("dump", "restore"), tools(s)):
            s.criu = how or tool
            getattr(s, what)()
        one_namespace(s)
        was = at - JUMP <= offset(s.pid) <= at
        check(was, "round %d: the program was %d s ahead, and is %d s ahead" % (n, at, offset(s.pid)))
        s.clean_images()
    check(time.monotonic() - began < JUMP, "this machine is too slow")
    s.criu = tool
    s.verify()


@scenario
def uptime_shorter(s):
    """Dumped by a tool that is ahead as the program is, which was the only one that took it."""
    rounds(s, lambda s: (s.script("inside", 'exec nsenter -t %d -T "$CRIU" "$@"\n' % s.pid), None), {"preexec_fn": go_ahead})


@scenario
def uptime_longer(s):
    """The tool that restores is ahead: the program is set back to where it was."""
    rounds(s, lambda s: (None, ahead(s)))


@scenario
def uptime_there_and_back(s):
    """The tool that dumps is in another time namespace than the tree, as the one that restores."""
    rounds(s, lambda s: (ahead(s), None), {"preexec_fn": go_ahead})
    rounds(s, lambda s: (ahead(s), ahead(s)))


def real_program(s, command):
    if not shutil.which(command[0]):
        raise Skipped("needs " + command[0])
    need_time_ns()

    def count():
        said = text(s.path("count"))
        return int(said) if said.isdigit() else 0

    def goes_on(when):
        had, began = count(), time.monotonic()
        check(wait_for(lambda: count() >= had + 20 or s.proc and s.proc.poll() is not None) and count() >= had + 20,
              "%s: it stands still at %d: %s" % (when, had, text(s.path("out"))[-300:]))
        took = time.monotonic() - began
        check(count() - had < 1000 + took * 1000, "%s: %d rounds in %.3f s" % (when, count() - had, took))

    for begin, dump, restore in ((go_ahead, s.script("inside", 'exec nsenter -t $(cat pid) -T "$CRIU" "$@"\n'), s.criu),
                                 (None, s.criu, ahead(s))):
        with open(s.path("out"), "w") as out:
            s.proc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=s.dir, preexec_fn=begin,
                                      start_new_session=True)
        s.pid = s.proc.pid
        with open(s.path("pid"), "w") as f:
            f.write(str(s.pid))
        goes_on("before")
        for n in range(ROUNDS):
            s.criu = dump
            s.dump()
            s.criu = restore
            s.restore()
            goes_on("round %d" % n)
            s.clean_images()
        s.kill()


@scenario
def asyncio_goes_on(s):
    real_program(s, ["python3", "-c", ASYNCIO])


@scenario
def node_goes_on(s):
    real_program(s, ["node", "-e", NODE])


@scenario
def java_goes_on(s):
    if not shutil.which("javac"):
        raise Skipped("needs javac")
    with open(s.path("Ticks.java"), "w") as f:
        f.write(JAVA)
    subprocess.run(["javac", "Ticks.java"], cwd=s.dir, check=True)
    real_program(s, ["java", "-cp", s.dir, "-Xmx64m", "-Xshare:auto", "Ticks"])


@scenario
def sibling(s):
    """--restore-sibling: the root has another parent, and a time namespace all the same."""
    need_time_ns()
    s.victim("clocks", preexec_fn=go_ahead)
    s.dump()
    s.restore("--restore-sibling")
    one_namespace(s)
    check(offset(s.pid) > AHEAD - JUMP, "it is %d s ahead" % offset(s.pid))
    s.verify()


@scenario
def may_not_make_one(s):
    """A time namespace may not be made: the user hears that programs will stand still, if the clock is behind."""
    need_time_ns()
    tool = s.criu
    limited = s.script("limited", '''exec unshare --user --map-root-user --pid --fork --mount-proc --kill-child sh -c '
        echo 0 > /proc/sys/user/max_time_namespaces && "$CRIU" "$@"' sh "$@"''')
    for begin, warned in ((None, False), (go_ahead, True)):
        s.victim(preexec_fn=begin)
        s.dump()
        s.criu = limited
        s.restore()
        check(("behind those of the dump" in s.out) == warned, "warned? %s: %r" % (warned, s.out))
        check("the tree has no time namespace (unshare" in text(s.imgs + "/restore.log"), "nothing in the log")
        s.criu = tool
        s.clean_images()


@scenario
def in_user_namespace(s):
    """Root of a user namespace may make one, and set it."""
    need_time_ns()
    s.victim(preexec_fn=go_ahead)
    s.dump()
    s.criu = s.script("there", '''exec unshare --user --map-root-user --pid --fork --mount-proc --kill-child sh -c '
        "$CRIU" "$@" && cat /proc/%d/timens_offsets' sh "$@"''' % s.pid)
    s.restore()
    m = re.search(r"boottime +(\d+)", s.out)
    check(m and AHEAD - JUMP <= int(m.group(1)) <= AHEAD, "the offsets are %r" % s.out)


def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


@scenario
def other_images(s):
    """Images without the clocks restore as they did; clocks that cannot be are refused, and the file is named."""
    need_time_ns()
    s.victim()
    s.dump()
    image = s.imgs + "/timens-0.img"
    with open(image, "rb") as f:
        magic = f.read(8)
    for sec, nsec in ((1 << 40, 5), (1 << 63, 5), (5, 1000000000)):
        clock = b"\x08" + varint(sec) + b"\x10" + varint(nsec)
        message = b"".join(bytes([key, len(clock)]) + clock for key in (0x0a, 0x12))
        with open(image, "wb") as f:
            f.write(magic + len(message).to_bytes(4, "little") + message)
        s.restore("--allow-edited-images", ok=False)
        check(s.rc and "timens-0.img" in s.out, "rc %d: %r" % (s.rc, s.out))
    os.unlink(image)
    s.restore("--allow-edited-images")
    check(os.readlink("/proc/%d/ns/time" % s.pid) == os.readlink("/proc/self/ns/time"), "it has a time namespace")
    s.verify()


run_all()
