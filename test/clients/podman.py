# SPDX-License-Identifier: GPL-2.0-only
"""podman over runc, without a daemon, a registry or plugins for networks."""
import json
import os
import re
import shutil

import net
from area import WORK
from case import Talk, case, check, count_of, counts, facts_of, make_rootfs, pid_alive, run, same, text, wait_for

ROOT, RUN = WORK + "/storage", "/run/ctp"


class Podman:
    def __init__(self, runtime="RUNC"):
        self.words = ["podman", "--root", ROOT, "--runroot", RUN, "--tmpdir", "/run/libpod", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
                      "--events-backend", "none", "--runtime", os.environ[runtime]]
        make_rootfs(WORK + "/image")
        os.makedirs(WORK + "/image/bin", exist_ok=True)
        run("tar", "-C", WORK + "/image", "-cf", WORK + "/image.tar", ".")
        self("import", "-q", WORK + "/image.tar", "base")

    def __call__(self, *words, **more):
        return run(*self.words, *words, **more)

    def start(self, name, *words, args=(), network="none"):
        self("run", "-d", "--name", name, "--network", network, "--env", "WORD=word", *words, "base", "/bin/inmate", *args)
        counts(self.root(name))

    def about(self, name, what):
        return self("inspect", "--format", "{{%s}}" % what, name, quiet=True)[1].strip()

    def pid(self, name):
        return int(self.about(name, ".State.Pid"))

    def root(self, name):
        return "/proc/%d/root" % self.pid(name)

    def running(self, name):
        return self.about(name, ".State.Status") == "running"

    def checkpoint(self, name, *words, **more):
        return self("container", "checkpoint", name, *words, **more)

    def restore(self, *words, name=None, **more):
        result = self("container", "restore", *words, *([name] if name else []), **more)
        return result


@case(needs="podman")
def checkpoint_and_restore():
    p = Podman()
    p.start("box")
    before = facts_of(p.pid("box"))
    for n in range(2):
        pid, counted = p.pid("box"), counts(p.root("box"))
        p.checkpoint("box")
        check(not pid_alive(pid) and not p.running("box"), "the container is %s", p.about("box", ".State.Status"))
        p.restore(name="box")
        check(p.running("box"), "the container is %s", p.about("box", ".State.Status"))
        check(counts(p.root("box")) > counted, "the count went back")
        same(before, facts_of(p.pid("box")), "round %d" % n, but=("environ",))
    p("kill", "-s", "USR1", "box")
    wait_for(lambda: "usr1" in p("logs", "box", quiet=True)[1], "the restored container writes nothing to its log")
    p("stop", "-t", "20", "box")
    check(p.about("box", ".State.ExitCode") == "0", "exit code %s", p.about("box", ".State.ExitCode"))
    p("rm", "box")


@case(needs="podman")
def print_stats():
    p = Podman()
    p.start("box")
    out = json.loads(p.checkpoint("box", "--print-stats", "--leave-running")[1])
    check(p.running("box"), "the container has ended")
    stats = out["container_statistics"][0]["criu_statistics"]
    for key in ("freezing_time", "frozen_time", "memdump_time", "memwrite_time", "pages_scanned", "pages_written"):
        check(stats[key] > 0, "%s: %s", key, stats)
    p.checkpoint("box")
    out = json.loads(p.restore("--print-stats", name="box")[1])
    stats = out["container_statistics"][0]["criu_statistics"]
    for key in ("restore_time", "forking_time", "pages_restored"):
        check(stats[key] > 0, "%s: %s", key, stats)
    counts(p.root("box"))
    p("rm", "-f", "-t", "0", "box")


@case(needs="podman")
def export_and_import():
    """A checkpoint that goes to another machine: as another container, with the files that it has changed, and again."""
    p = Podman()
    os.makedirs(WORK + "/data")
    p.start("box", "-v", WORK + "/data:/data")
    p("exec", "box", "/bin/sh", "-c", "echo changed > /etc/motd; echo v > /data/file")
    counted = counts(p.root("box"))
    p.checkpoint("box", "--export", WORK + "/box.tar.gz", "--compress", "gzip")
    p("rm", "box")
    for name in ("one", "two"):
        p.restore("--import", WORK + "/box.tar.gz", "--name", name)
        check(counts(p.root(name)) > counted, "the count of %s went back", name)
        check(text(p.root(name) + "/etc/motd") == "changed\n" and text(p.root(name) + "/data/file") == "v\n", "files of %s", name)
        check(p.running(name), "%s is %s", name, p.about(name, ".State.Status"))
    check(p.about("one", ".Id") != p.about("two", ".Id"), "one container instead of two")
    p("rm", "-f", "-t", "0", "one", "two")
    p.restore("--import", WORK + "/box.tar.gz")
    counts(p.root("box"))
    p("rm", "-f", "-t", "0", "box")


@case(needs="podman")
def tcp_established():
    net.namespace("box", "10.92.0")
    server = net.NumberServer("10.92.0.1", 7100)
    p = Podman()
    p.start("box", network="ns:/run/netns/box", args=("-e", 7000, "-c", "10.92.0.1", 7100))
    talk = Talk("10.92.0.2", 7000)
    talk.echo()
    p.checkpoint("box", ok=False)
    check(p.running("box"), "a dump that was refused has ended the container")
    talk.echo()
    for n in range(2):
        p.checkpoint("box", "--tcp-established")
        talk.send()
        numbers = server.count
        p.restore("--tcp-established", name="box")
        talk.receive()
        talk.echo(200000)
        wait_for(lambda: server.count > numbers + 3, "the connection out of the container stands")
        check(not server.wrong, "%s", server.wrong)
        counts(p.root("box"))
    talk.close()
    p("rm", "-f", "-t", "0", "box")


@case(needs="podman")
def ignore_rootfs():
    p = Podman()
    p.start("box")
    p("exec", "box", "/bin/sh", "-c", "echo changed > /etc/motd")
    counted = counts(p.root("box"))
    p.checkpoint("box", "--export", WORK + "/box.tar", "--compress", "none", "--ignore-rootfs")
    check("rootfs-diff" not in run("tar", "-tf", WORK + "/box.tar")[1], "the export has the root file system")
    p.restore("--import", WORK + "/box.tar", "--name", "copy", "--ignore-rootfs", ok=None)
    if not p.running("copy"):  # /count, which the program has open, is one of the files that are not in the export
        p("rm", "-f", "-t", "0", "copy")
        p.restore("--import", WORK + "/box.tar", "--name", "copy", ok=None)
    shutil.rmtree(WORK + "/none", ignore_errors=True)


@case(needs="podman")
def file_locks():
    p = Podman()
    os.makedirs(WORK + "/data")
    p.start("box", "-v", WORK + "/data:/data", args=("-l", "/data/lock"))
    p.checkpoint("box", ok=False)
    check(p.running("box"), "a dump that was refused has ended the container")
    p.checkpoint("box", "--file-locks")
    p.restore("--file-locks", name="box")
    counts(p.root("box"))
    check(run("flock", "-n", WORK + "/data/lock", "true", ok=None)[0], "the lock is gone")
    p("rm", "-f", "-t", "0", "box")


@case(needs="podman")
def terminal():
    p = Podman()
    p.start("box", "-t")
    fd = "/proc/%d/fd/0" % p.pid("box")
    check(os.readlink(fd).startswith("/dev/pts/"), "no terminal")
    for n in range(2):
        counted = counts(p.root("box"))
        p.checkpoint("box")
        p.restore(name="box")
        check(counts(p.root("box")) > counted, "the count went back")
        p("kill", "-s", "USR1", "box")
        wait_for(lambda: p("logs", "box", quiet=True)[1].count("usr1") == n + 1, "round %d: the terminal brings nothing to the log" % n)
    p("rm", "-f", "-t", "0", "box")


@case(needs="podman")
def volumes():
    p = Podman()
    p("volume", "create", "vol")
    os.makedirs(WORK + "/data/deep")
    with open(WORK + "/data/deep/file", "w") as f:
        f.write("deep")
    p.start("box", "-v", "vol:/vol", "-v", WORK + "/data:/data:ro", "--tmpfs", "/tmp:size=1m", "--tmpfs", "/run", "--shm-size", "1m", "--read-only-tmpfs=false")
    p("exec", "box", "/bin/sh", "-c", "echo v > /vol/file; echo t > /tmp/file; echo r > /run/file; echo s > /dev/shm/file")
    before = facts_of(p.pid("box"))
    p.checkpoint("box")
    p.restore(name="box")
    counts(p.root("box"))
    for path, want in (("/vol/file", "v\n"), ("/tmp/file", "t\n"), ("/run/file", "r\n"), ("/dev/shm/file", "s\n"), ("/data/deep/file", "deep")):
        check(text(p.root("box") + path) == want, "%s: %r", path, text(p.root("box") + path))
    same(before, facts_of(p.pid("box")), but=("environ",))
    p.checkpoint("box", "--export", WORK + "/box.tar")
    p("rm", "box")
    p("volume", "rm", "vol")
    p.restore("--import", WORK + "/box.tar", "--name", "copy")
    counts(p.root("copy"))
    check(text(p.root("copy") + "/vol/file") == "v\n", "the volume did not come with the export")
    p("rm", "-f", "-t", "0", "copy")


@case(needs="podman")
def limits():
    p = Podman()
    p.start("box", "--memory", "64m", "--pids-limit", "50", "--cpu-shares", "300", "--cap-drop", "NET_RAW", "--hostname", "hh")

    def of():
        group = next(line.split(":")[2] for line in text("/proc/%d/cgroup" % p.pid("box")).splitlines() if ":memory:" in line)
        return [text("/sys/fs/cgroup/%s%s/%s" % (f.split(".")[0], group, f)) for f in ("memory.limit_in_bytes", "pids.max", "cpu.shares")]
    before, facts = of(), facts_of(p.pid("box"))
    check(before == ["%d\n" % (64 << 20), "50\n", "300\n"], "limits: %s", before)
    p.checkpoint("box")
    p.restore(name="box")
    check(of() == before, "limits were %s, are %s", before, of())
    same(facts, facts_of(p.pid("box")), but=("environ",))
    p("rm", "-f", "-t", "0", "box")


@case(needs="podman", sid=True)
def runc_1_3():
    checkpoint_and_restore()
