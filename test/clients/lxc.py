# SPDX-License-Identifier: GPL-2.0-only
"""
lxc-checkpoint drives criu by its command line alone. Where the hierarchy of version 2 has no controllers, LXC 5.0.2 gives criu a string that was
never written as its --cgroup-root: so there is none here.
"""
import os

from area import WORK
from case import APPLETS, Failed, Talk, case, check, counts, facts_of, make_rootfs, pid_alive, run, same, stands, text, wait_for

INITTAB = """::sysinit:/etc/rc
::respawn:/bin/inmate -e 7000 < /dev/null > /var/log/inmate 2>&1
::respawn:/bin/syslogd -n -O /var/log/messages
::respawn:/bin/crond -f -c /etc/crontabs
::ctrlaltdel:/bin/true
"""
RC = """#!/bin/sh
mount -t tmpfs -o size=2m,mode=755 tmpfs /run
mount -t tmpfs -o size=1m tmpfs /tmp
ip link set lo up
echo up > /run/state
"""
CONFIG = """lxc.uts.name = %(name)s
lxc.rootfs.path = dir:%(root)s
lxc.console.path = none
lxc.tty.max = 0
lxc.pty.max = 16
lxc.environment = WORD=word
lxc.mount.auto = proc:mixed sys:ro
lxc.signal.halt = SIGUSR1
%(net)s
"""
VETH = """lxc.net.0.type = veth
lxc.net.0.flags = up
lxc.net.0.link = lxcbr
lxc.net.0.veth.pair = vhost
lxc.net.0.name = eth0
lxc.net.0.hwaddr = 02:00:00:00:88:01
lxc.net.0.ipv4.address = 10.88.0.2/24
"""


class Lxc:
    def __init__(self, name="box", net="lxc.net.0.type = empty", more=""):
        self.name, self.dir = name, "%s/lxc/%s" % (WORK, name)
        self.root = self.dir + "/rootfs"
        make_rootfs(self.root)
        os.makedirs(self.root + "/etc/crontabs")
        os.symlink("../bin/busybox", self.root + "/sbin/init")
        for path, content in (("inittab", INITTAB), ("rc", RC)):
            with open(self.root + "/etc/" + path, "w") as f:
                f.write(content)
        os.chmod(self.root + "/etc/rc", 0o755)
        with open(self.dir + "/config", "w") as f:
            f.write(CONFIG % {"name": name, "root": self.root, "net": net} + more)

    def lxc(self, command, *words, **more):
        return run("lxc-" + command, "-P", WORK + "/lxc", "-n", self.name, "-o", self.dir + "/lxc.log", "-l", "INFO", *words, **more)

    def start(self):
        self.lxc("start", "-d")
        wait_for(lambda: os.path.exists(self.root + "/count"), "the container's inmate does not start")
        self.pid = self.init()
        wait_for(lambda: text(self.inner() + "/run/state") == "up\n", "the container does not come up")
        return self

    def init(self):
        return int(self.lxc("info", "-p", "-H")[1].split()[-1])

    def inner(self):
        return "/proc/%d/root" % self.init()

    def checkpoint(self, to, *words, **more):
        return self.lxc("checkpoint", "-D", "%s/%s" % (self.dir, to), "-v", *words, **more)

    def restore(self, name):
        with open(self.dir + "/restored.out", "w") as out:  # no pipe: the container's monitor keeps it
            self.lxc("checkpoint", "-r", "-D", "%s/%s" % (self.dir, name), "-v", stdout=out)
        wait_for(lambda: "RUNNING" in self.lxc("info", "-s")[1], "the container is not running")
        return self.init()

    def tasks(self):
        """Names of its processes, by their pids inside."""
        out = {}
        for line in self.lxc("attach", "--", "/bin/ps", "-o", "pid,comm,args")[1].splitlines()[1:]:
            if "ps -o" not in line:
                out[line.split()[0]] = line.split(None, 1)[1]
        return out


def through(c, *words):
    before, tasks = facts_of(c.init()), c.tasks()
    check(len(tasks) >= 4, "a system container of %d tasks", len(tasks))
    for n in range(2):
        pid = c.init()
        c.checkpoint("cp%d" % n, *words)
        if words:
            wait_for(lambda: not pid_alive(pid), "the container goes on")
        counted = stands(c.root)
        c.restore("cp%d" % n)
        now = counts(c.root)
        check(now > counted, "the inmate counts %d, after %d", now, counted)
        same(before, facts_of(c.init()), "round %d" % n)
        check(c.tasks() == tasks, "round %d: tasks: %s, were %s", n, c.tasks(), tasks)
        check(text(c.inner() + "/run/state") == "up\n", "/run is empty")


@case(needs="lxc-start", view="v1")
def system_container():
    c = Lxc().start()
    through(c, "-s")
    c.lxc("stop", "-k")
    wait_for(lambda: "STOPPED" in c.lxc("info", "-s")[1], "the container does not stop")


@case(needs="lxc-start", view="v1")
def left_running():
    c = Lxc().start()
    pid = c.init()
    c.checkpoint("cp")
    check(c.init() == pid and pid_alive(pid), "the container has ended")
    counts(c.root)
    c.checkpoint("cp2", "-s")
    c.restore("cp2")
    counts(c.root)


@case(needs="lxc-start", view="v1")
def network_device():
    run("ip", "link", "add", "lxcbr", "type", "bridge")
    run("ip", "addr", "add", "10.88.0.1/24", "dev", "lxcbr")
    run("ip", "link", "set", "lxcbr", "up")
    c = Lxc(net=VETH).start()
    talk = Talk("10.88.0.2", 7000)
    talk.echo()
    for n in range(3):
        c.checkpoint("cp%d" % n, "-s")
        talk.send()
        c.restore("cp%d" % n)
        talk.receive()
        talk.echo(50000)
        counts(c.root)
        check("vhost" in run("ip", "link", "show", "master", "lxcbr")[1], "the veth is not in the bridge")
    talk.close()


@case(needs="lxc-start", view="v1")
def failing_dump():
    """What lxc-attach has put into the container is no descendant of its init: that dump is refused, and the container goes on."""
    c = Lxc().start()
    c.lxc("attach", "--", "/bin/sh", "-c", "sleep 1000 < /dev/null > /dev/null 2>&1 &")
    pid = c.init()
    status, _ = c.checkpoint("cp", "-s", ok=None)
    check(status, "the dump succeeded")
    check(c.init() == pid and pid_alive(pid), "the container has ended")
    counts(c.root)
    check("RUNNING" in c.lxc("info", "-s")[1], "the container is not running")
