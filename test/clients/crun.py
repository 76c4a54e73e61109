# SPDX-License-Identifier: GPL-2.0-only
"""
crun of Debian's unstable branch, which opens our libcriu. In a pure view of version 2 of cgroups: where it sees version 1 it restores into the group
above the container's, and freezes and kills what is there.
"""
import os
import subprocess
import time

import net
from case import Talk, case, check, facts_of, pid_alive, run, same, text, wait_for
from oci import Container, Stdio, through

HOW = {"sid": True, "view": "v2", "needs": "busybox"}


def crun(name="box", **more):
    return Container(name, runtime="crun", **more)


@case(**HOW)
def null():
    c = through(crun().start())
    c.call("kill", c.name, "TERM")
    c.gone()
    c.delete()


@case(**HOW)
def pipes():
    c = crun(stdio="pipe").start()
    c.stdio.hear("started")
    for n in range(2):
        c.checkpoint()
        c.restore()
        c.stdio.ask("after-%d" % n)
    c.delete()


@case(**HOW)
def console_socket():
    c = crun(stdio="tty").start()
    c.stdio.hear("started")
    for n in range(2):
        c.checkpoint()
        os.close(c.stdio.master)
        c.restore()
        c.stdio.ask("after-%d" % n)
    c.delete()


def facts_but_masks(pid):
    """Without masked directories: crun wants its own empty directory there when it restores in a user namespace, instead of a tmpfs."""
    facts = facts_of(pid)
    facts["mounts"] = [m for m in facts["mounts"] if m.split()[1] not in ("/proc/acpi", "/proc/scsi", "/sys/firmware")]
    return facts


@case(**HOW)
def user_namespace():
    def mapped(config):
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    c = crun(change=mapped)
    run("chown", "-R", "100000:100000", c.root)
    c.start()
    check(os.stat("/proc/%d" % c.pid).st_uid == 100000, "no user namespace")
    before = facts_but_masks(c.pid)
    for n in range(2):
        c.checkpoint()
        c.restore()
        check(os.stat("/proc/%d" % c.pid).st_uid == 100000, "no user namespace in round %d", n)
        same(before, facts_but_masks(c.pid), "round %d" % n)
    c.delete()


@case(**HOW)
def in_the_foreground():
    c = crun(stdio="pipe").start()
    c.checkpoint()
    c.stdio = s = Stdio("pipe")
    p = subprocess.Popen([c.runtime, "restore", *c.images("cp"), "--bundle", c.dir, "--pid-file", c.dir + "/pid", c.name], **s.popen())
    s.started()
    wait_for(lambda: p.poll() is not None or c.state() == "running", "the container does not run")
    c.pid = int(text(c.dir + "/pid"))
    s.ask("after")
    s.tell("exit 7")
    check(p.wait(60) == 7, "the status of the restored container is %s", p.returncode)


@case(**HOW)
def left_running():
    c = crun(stdio="pipe").start()
    c.stdio.hear("started")
    for n in range(2):
        pid = c.pid
        c.checkpoint("cp%d" % n, "--leave-running")
        check(c.state() == "running" and pid_alive(pid), "the container is %s", c.state())
        c.stdio.ask("goes on")
    c.call("kill", c.name, "KILL")
    c.gone()
    c.call("delete", c.name, ok=None)
    c.restore("cp0")
    c.stdio.ask("restored")
    c.delete()


@case(**HOW)
def paused():
    c = crun().start()
    c.call("pause", c.name)
    c.checkpoint("cp", "--leave-running")
    check(c.state() == "paused", "the container is %s", c.state())
    c.call("resume", c.name)
    c.counts()
    c.checkpoint("cp2")
    c.restore("cp2")
    c.delete()


@case(**HOW)
def one_checkpoint_again_and_again():
    c = crun(stdio="pipe").start()
    c.checkpoint()
    for n in range(3):
        c.restore()
        c.stdio.ask("restore %d" % n)
        c.delete()


@case(**HOW)
def mounts():
    from runc import with_mounts
    c = crun(change=with_mounts).start()
    c.call("exec", c.name, "/bin/sh", "-c", "echo in > /run/file; echo w > /data/written")
    through(c)
    for path, want in (("/run/file", "in\n"), ("/data/written", "w\n"), ("/mnt/two", "deep/two"), ("/etc/hosts", "127.0.0.1 localhost\n"), ("/etc/passwd", "")):
        check(text(c.inner() + path) == want, "%s: %r", path, text(c.inner() + path))
    c.delete()


@case(**HOW)
def external_net():
    net.namespace("box", "10.93.0")

    def change(config):
        for n in config["linux"]["namespaces"]:
            if n["type"] == "network":
                n["path"] = "/run/netns/box"
    server = net.NumberServer("10.93.0.1", 7100)
    c = crun(args=["-e", 7000, "-c", "10.93.0.1", 7100], change=change).start()
    talk = Talk("10.93.0.2", 7000)
    talk.echo()
    for n in range(2):
        c.checkpoint("cp%d" % n, "--tcp-established")
        talk.send()
        numbers = server.count
        c.restore("cp%d" % n, "--tcp-established")
        talk.receive()
        talk.echo(100000)
        wait_for(lambda: server.count > numbers + 3, "the connection out of the container stands")
        check(not server.wrong, "%s", server.wrong)
    talk.close()
    c.delete()


@case(**HOW)
def failing_dump():
    c = crun(stdio="pipe", args=["-l", "/lock"]).start()
    c.stdio.hear("started")
    c.checkpoint("no", ok=False)
    check(c.state() == "running", "the container is %s", c.state())
    check(text("/sys/fs/cgroup/box/cgroup.freeze") == "0\n", "the container is frozen")
    c.stdio.ask("still here")
    c.checkpoint("cp", "--file-locks")
    c.restore("cp", "--file-locks")
    c.delete()
