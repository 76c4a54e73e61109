#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# Programs of other tests in a mount namespace of their own, with terminals, a /tmp and a /dev/shm of their own.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 300
import os
import subprocess

from case import Failed, wait_for
from driver import check, run_all, scenario, text

SETUP = """
    mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts; mount --bind /dev/pts/ptmx /dev/ptmx
    mount -t tmpfs shm /dev/shm; mkdir -p tmp; mount -t tmpfs -o mode=1777 tmp /tmp
"""


def victim(s, program):
    with open(s.path("victim.out"), "a") as out:
        s.proc = subprocess.Popen(["unshare", "-m", "sh", "-ec", HERE % s.dir + SETUP + BACK +
                                   "exec %s/%s" % (os.environ["TESTS"], program)],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=s.dir)
    s.pid = s.proc.pid
    check(wait_for(lambda: os.path.exists(s.path("ready")) or s.proc.poll() is not None), "%s is not ready" % program)
    check(s.proc.poll() is None, "%s: %s" % (program, text(s.path("victim.out"))))


# The test's directory is below /tmp most often.
HERE = "D=%s; exec 9<$D\n"
BACK = "mkdir -p $D; mount -c --bind /proc/self/fd/9 $D; cd $D; exec 9<&-\n"


def through(s, *programs):
    said = []
    top = s.dir
    for p in programs:
        s.dir = os.path.join(top, p)
        s.imgs = s.path("imgs")
        os.makedirs(s.imgs)
        try:
            victim(s, p)
            for _ in range(2):
                s.dump("--file-locks", "--link-remap")
                s.restore()
            s.verify()
        except Failed as e:
            said.append("%s: %s" % (p, e))
            if s.pid and os.path.exists("/proc/%d" % s.pid):
                s.kill()
    check(not said, " || ".join(said))


@scenario
def files(s):
    through(s, *os.environ.get("PROGRAMS", "reg_files ghost_file ghost_tmpfile file_memory map_files fifo locks_posix").split())


@scenario
def others(s):
    through(s, "chroot", "unix_named", "unix_places", "inotify", "dnotify", "proc_files", "proc_self", "chardevs")


@scenario
def terminals(s):
    through(s, "pty", "pty_states", "dev_tty")


if __name__ == "__main__":
    run_all()
