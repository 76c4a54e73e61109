# SPDX-License-Identifier: GPL-2.0-only
"""runc of Debian 12, and that of its unstable branch: what it makes of a container, and what the container's program sees."""
import fcntl
import os
import shutil
import subprocess
import time

import net
from area import WORK
from case import Failed, Talk, case, check, count_of, counts, facts_of, make_rootfs, pid_alive, run, same, stands, text, wait_for
from oci import Container, both, through


@both
def null():
    c = through(Container().start())
    c.call("kill", c.name, "TERM")
    c.gone()
    c.delete()


@both
def pipes():
    c = Container(stdio="pipe").start()
    c.stdio.hear("started")
    c.stdio.ask("before")
    for n in range(2):
        c.checkpoint()
        c.restore()
        c.stdio.ask("after-%d" % n)
    c.call("kill", c.name, "USR1")
    c.stdio.hear("usr1")
    c.delete()


@both
def console_socket():
    c = Container(stdio="tty").start()
    c.stdio.hear("started")
    c.stdio.ask("before")
    size = run("stty", "-F", "/proc/%d/fd/0" % c.pid, "rows", "31", "cols", "99")
    before = run("stty", "-F", "/proc/%d/fd/0" % c.pid, "-a")[1]
    for n in range(2):
        c.checkpoint()
        os.close(c.stdio.master)
        c.restore()
        c.stdio.ask("after-%d" % n)
        check(run("stty", "-F", "/proc/%d/fd/0" % c.pid, "-a")[1] == before, "the terminal has changed, round %d", n)
        stat = text("/proc/%d/stat" % c.pid).rpartition(")")[2].split()
        check(stat[4] != "0" and stat[5] != "-1", "the container's program has no controlling terminal: %s", stat[:7])
    c.delete()


def foreground(c, *command):
    """Starts a call that ends with the container. Returns the process."""
    s, pidfile = c.stdio, c.dir + "/pid"
    words = [c.runtime, "--root", WORK + "/state-runc", "--log", c.dir + "/runtime.log", *command, "--bundle", c.dir, "--pid-file", pidfile, c.name]
    if os.path.exists(pidfile):  # of the start before: the new one is written after the state says "running"
        os.unlink(pidfile)
    p = subprocess.Popen(words, **s.popen())
    s.started()
    wait_for(lambda: p.poll() is not None or (c.state() == "running" and os.path.exists(pidfile)), "the container does not run: %s" % " ".join(words))
    if p.poll() is not None:
        raise Failed("%s: status %s: %s" % (words, p.returncode, c.why()))
    c.pid = int(text(pidfile))
    c.counts()
    return p


@both
def in_the_foreground():
    from oci import Stdio
    c = Container(stdio="pipe")
    c.stdio = Stdio("pipe")
    p = foreground(c, "run")
    c.stdio.hear("started")
    c.checkpoint()
    p.wait(60)
    c.stdio = Stdio("pipe")
    p = foreground(c, "restore", *c.images("cp"))
    c.stdio.ask("after")
    c.stdio.tell("exit 7")
    check(p.wait(60) == 7, "the status of the restored container is %s", p.returncode)
    check(c.state() == "gone", "the container is %s", c.state())


@both
def left_running():
    c = Container(stdio="pipe").start()
    c.stdio.hear("started")
    for n in range(3):
        pid, counted = c.pid, c.counts()
        c.checkpoint("cp%d" % n, "--leave-running")
        check(c.state() == "running" and pid_alive(pid), "the container is %s", c.state())
        check(c.counts() > counted, "the container stands")
        c.stdio.ask("goes on")
    c.call("kill", c.name, "KILL")
    c.gone()
    c.call("delete", c.name, ok=None)
    c.restore("cp1")
    c.stdio.ask("restored")
    c.delete()


@both
def pre_dumps():
    """Memory ahead, twice, while the container runs; the checkpoint has what has changed since."""
    c = Container(stdio="pipe").start()
    c.stdio.hear("started")
    c.call("checkpoint", *c.images("pre1"), "--pre-dump", c.name)
    c.stdio.ask("after one")
    c.call("checkpoint", *c.images("pre2"), "--pre-dump", "--parent-path", "../pre1", c.name)
    counted = c.counts()
    c.stdio.ask("after two")
    c.checkpoint("cp", "--parent-path", "../pre2")
    check(os.readlink(c.dir + "/cp/parent") == "../pre2" and os.readlink(c.dir + "/pre2/parent") == "../pre1", "the chain")
    for n in range(2):
        c.restore("cp")
        check(c.counts() > counted, "the count went back")
        c.stdio.ask("restored-%d" % n)
        c.call("kill", c.name, "KILL")
        c.gone()
        c.call("delete", c.name, ok=None)


@both
def lazy_pages():
    """The container runs before its memory is there."""
    c = Container(stdio="pipe").start()
    c.stdio.hear("started")
    counted = c.counts()
    c.checkpoint("cp")
    run("criu", "lazy-pages", "-D", c.dir + "/cp", "-W", c.dir + "/cp/work", "-o", "lazy.log", "--daemon")
    c.restore("cp", "--lazy-pages")
    check(c.counts() > counted, "the count went back")
    c.stdio.ask("restored")
    wait_for(lambda: "criu" not in run("ps", "-eo", "comm", quiet=True)[1].split(), "the daemon stays")
    c.stdio.ask("all there")
    c.delete()


@both
def paused():
    """A container that is paused: its images restore to one that runs; one that is left stays paused."""
    c = Container().start()
    c.call("pause", c.name)
    counted = stands(c.inner())
    c.checkpoint("cp", "--leave-running")
    check(c.state() == "paused", "the container is %s", c.state())
    stands(c.inner())
    c.call("resume", c.name)
    check(c.counts() > counted, "the resumed container stands")
    c.call("pause", c.name)
    c.checkpoint("cp2")
    c.gone()
    c.restore("cp2")
    check(c.state() == "running", "the restored container is %s", c.state())
    c.delete()


@both
def one_checkpoint_again_and_again():
    c = Container(stdio="pipe").start()
    c.checkpoint()
    counted = stands(c.root)
    for n in range(4):
        c.restore()
        check(count_of(c.inner()) < counted + 3000, "the inmate counts %d, after %d", count_of(c.inner()), counted)
        c.stdio.ask("restore %d" % n)
        c.delete()


@case(needs="runc", limit=200)
def twenty_rounds():
    c = Container(stdio="pipe").start()
    before, counted = facts_of(c.pid), 0
    for n in range(20):
        c.checkpoint("cp%d" % n, quiet=True)
        c.restore("cp%d" % n)
        check(c.counts() > counted, "round %d: the count went back", n)
        counted = c.counts()
        c.stdio.ask("round %d" % n)
        shutil.rmtree(c.dir + "/cp%d" % n)
    same(before, facts_of(c.pid), "after 20 rounds")
    c.delete()


@case(needs="runc", limit=200)
def eight_copies_at_once():
    c = Container().start()
    counted = c.counts()
    c.checkpoint()
    copies = [Container("copy%d" % n) for n in range(8)]
    for one in copies:
        shutil.copy(c.root + "/count", one.root + "/count")
        shutil.copytree(c.dir + "/cp", one.dir + "/cp")
    calls = [subprocess.Popen([one.runtime, "--root", WORK + "/state-runc", "--log", one.dir + "/runtime.log", "restore", "-d", "--image-path", c.dir + "/cp",
                               "--work-path", one.dir + "/cp/work", "--bundle", one.dir, "--pid-file", one.dir + "/pid", one.name],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for one in copies]
    for one, call in zip(copies, calls):
        check(call.wait(60) == 0, "%s: status %s: %s", one.name, call.returncode, text(one.dir + "/runtime.log"))
        one.pid = int(text(one.dir + "/pid"))
    for one in copies:
        check(one.counts() > counted, "%s does not count on", one.name)
        check(one.state() == "running", "%s is %s", one.name, one.state())
        for controller in ("freezer", "memory", "pids"):
            check(one.cgroup(controller) == "/" + one.name, "%s is in cgroup %s", one.name, one.cgroup(controller))
        check(os.stat(one.inner() + "/count").st_ino == os.stat(one.root + "/count").st_ino, "%s writes to another's file", one.name)
    for one in copies:
        one.delete()
        for controller in ("freezer", "memory", "pids"):
            check(not os.path.exists("/sys/fs/cgroup/%s/%s" % (controller, one.name)), "%s: its cgroup is still there", one.name)


def with_mounts(config):
    data = WORK + "/volume"
    os.makedirs(data + "/deep", exist_ok=True)
    for name in ("one", "deep/two"):
        with open("%s/%s" % (data, name), "w") as f:
            f.write(name)
    with open(WORK + "/hosts", "w") as f:
        f.write("127.0.0.1 localhost\n")
    config["mounts"] += [
        {"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "rw", "rprivate"]},
        {"destination": "/mnt", "type": "bind", "source": data + "/deep", "options": ["bind", "ro", "nosuid", "nodev"]},
        {"destination": "/etc/hosts", "type": "bind", "source": WORK + "/hosts", "options": ["bind", "ro", "rprivate"]},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m", "mode=755"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "mode=1777"]},
        {"destination": "/dev/odd", "type": "bind", "source": "/dev/zero", "options": ["bind"]}]
    config["linux"]["maskedPaths"] += ["/sys/block", "/etc/passwd"]
    config["linux"]["readonlyPaths"] += ["/etc/group"]


@both
def mounts():
    c = Container(change=with_mounts).start()
    c.call("exec", c.name, "/bin/sh", "-c", "echo in > /run/file; mkdir /tmp/dir; echo more > /tmp/dir/file; echo w > /data/written; ln -s x /run/link")
    through(c)
    for path, want in (("/run/file", "in\n"), ("/tmp/dir/file", "more\n"), ("/data/written", "w\n"), ("/mnt/two", "deep/two"), ("/etc/hosts", "127.0.0.1 localhost\n"),
                       ("/etc/passwd", "")):
        check(text(c.inner() + path) == want, "%s: %r", path, text(c.inner() + path))
    check(os.readlink(c.inner() + "/run/link") == "x", "/run/link")
    check(c.call("exec", c.name, "/bin/sh", "-c", "echo x > /mnt/no", ok=None)[0], "/mnt can be written to")
    check(c.call("exec", c.name, "/bin/sh", "-c", "ls /sys/block")[1] == "", "/sys/block is not masked")
    c.delete()


@both
def read_only_root():
    def change(config):
        config["root"]["readonly"] = True
        config["mounts"].append({"destination": "/var", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]})
        config["mounts"].append({"destination": "/count", "type": "bind", "source": WORK + "/count", "options": ["bind", "rw"]})
    open(WORK + "/count", "w").close()
    c = through(Container(change=change).start())
    check(c.call("exec", c.name, "/bin/sh", "-c", "echo x > /no", ok=None)[0], "the root can be written to")
    c.delete()


@both
def user_namespace():
    def change(config):
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        config["mounts"].append({"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]})
    c = Container(stdio="pipe", change=change)
    run("chown", "-R", "100000:100000", c.root)
    for d in (WORK, c.dir, c.root):
        os.chmod(d, 0o755)
    c.start()
    c.stdio.hear("started")
    check(os.stat("/proc/%d" % c.pid).st_uid == 100000, "no user namespace")
    c.call("exec", c.name, "/bin/sh", "-c", "echo in > /run/file; chown 5:6 /run/file")
    through(c)
    c.stdio.ask("after")
    check(os.stat(c.inner() + "/run/file").st_uid == 100005 and os.stat(c.inner() + "/run/file").st_gid == 100006, "/run/file has another owner")
    c.delete()


def with_limits(config):
    config["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"}],
                                    "memory": {"limit": 64 << 20, "reservation": 32 << 20}, "pids": {"limit": 33},
                                    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"}}
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 256}]
    config["process"]["oomScoreAdj"] = 100
    config["process"]["noNewPrivileges"] = True


FILES = {"memory": ("memory.limit_in_bytes", "memory.soft_limit_in_bytes"), "pids": ("pids.max",), "cpu": ("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
         "cpuset": ("cpuset.cpus", "cpuset.mems"), "devices": ("devices.list",), "freezer": ("freezer.state",)}


def limits_of(c):
    return {f: text("/sys/fs/cgroup/%s/%s/%s" % (k, c.name, f)) for k, v in FILES.items() for f in v}


@both
def limits():
    c = Container(change=with_limits).start()
    before = limits_of(c)
    check(before["memory.limit_in_bytes"] == "%d\n" % (64 << 20) and before["pids.max"] == "33\n", "limits: %s", before)
    for mode in ("soft", "full", "ignore")[:3 if "1.3" in c.call("--version")[1] else 2]:
        c.checkpoint("cp-" + mode, "--manage-cgroups-mode", mode)
        c.restore("cp-" + mode, "--manage-cgroups-mode", mode)
        check(limits_of(c) == before, "%s: limits were %s, are %s", mode, before, limits_of(c))
        for controller in ("memory", "pids", "freezer", "cpu", "cpuset", "devices", "name=systemd"):
            check(c.cgroup(controller) == "/box", "%s: %s: %s", mode, controller, c.cgroup(controller))
    through(c)
    check(limits_of(c) == before, "limits were %s, are %s", before, limits_of(c))
    c.delete()


@both
def strict_cgroups():
    """runc makes the cgroups before it calls criu: strict refuses, or runc did not. The container that was not restored leaves nothing."""
    c = Container().start()
    c.checkpoint("cp", "--manage-cgroups-mode", "strict")
    status = c.restore("cp", "--manage-cgroups-mode", "strict", ok=False)
    if status:
        check(c.state() == "gone", "the container is %s", c.state())
        c.restore("cp")
    c.delete()


def own_cgroup_namespace(config):
    config["linux"]["namespaces"].append({"type": "cgroup"})
    config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]})


@both
def cgroup_namespace():
    def change(config):
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "cgroup"] + [{"type": "cgroup"}]
    c = Container(change=change).start()
    before = c.call("exec", c.name, "cat", "/proc/1/cgroup")[1]
    check(":memory:/\n" in before, "the cgroup namespace: %s", before)
    through(c)
    check(c.call("exec", c.name, "cat", "/proc/1/cgroup")[1] == before, "/proc/1/cgroup has changed")
    c.delete()


@both
def config_file():
    """What the annotation org.criu.config names wins over the request."""
    def change(config):
        config["annotations"] = {"org.criu.config": WORK + "/criu.conf"}
    with open(WORK + "/criu.conf", "w") as f:
        f.write("log-file=mine.log\n")
    c = Container(change=change).start()
    c.checkpoint()
    work = c.dir + "/cp/work/"
    check(os.path.getsize(work + "mine.log"), "the log file of the configuration file: %s", os.listdir(work))
    os.unlink(work + "mine.log")
    c.restore()
    check(os.path.getsize(work + "mine.log"), "the log file of the configuration file: %s", os.listdir(work))
    c.delete()


@both
def failing_dump():
    """A dump that is refused leaves the container as it was: running and thawed, and it can be dumped without the cause."""
    c = Container(stdio="pipe", args=["-l", "/lock"]).start()
    c.stdio.hear("started")
    for n in range(2):
        out = c.checkpoint("cp%d" % n, ok=False)[1]
        check("criu failed" in out, "runc says %s", out)
        check(c.state() == "running", "the container is %s", c.state())
        check(text("/sys/fs/cgroup/freezer/box/freezer.state") == "THAWED\n", "the freezer: %s", text("/sys/fs/cgroup/freezer/box/freezer.state"))
        c.counts()
        c.stdio.ask("still here")
    c.checkpoint("cp", "--file-locks")
    c.restore("cp", "--file-locks")
    c.stdio.ask("restored")
    c.delete()


@both
def failing_restore():
    """A restore that fails leaves nothing behind and can be done again."""
    c = Container().start()
    c.checkpoint()
    os.rename(c.root + "/bin/inmate", c.root + "/bin/away")
    check(c.restore(ok=False), "restored without its program")
    check(c.state() == "gone", "the container is %s", c.state())
    for k in ("freezer", "memory", "pids"):
        check(not os.path.exists("/sys/fs/cgroup/%s/box" % k), "the %s cgroup is still there", k)
    os.rename(c.root + "/bin/away", c.root + "/bin/inmate")
    c.restore()
    c.delete()


@both
def file_locks():
    c = Container(args=["-l", "/lock"]).start()

    def locked():
        with open(c.root + "/lock", "r+") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False
    wait_for(locked, "/lock is not locked")
    c.checkpoint("no", ok=False)
    c.checkpoint("cp", "--file-locks")
    c.restore("cp", "--file-locks")
    check(locked(), "/lock is not locked any more")
    c.delete()


@both
def external_net():
    """A network namespace that another program has made (podman, CNI): a veth, TCP into the container and out of it."""
    net.namespace("box", "10.90.0")

    def change(config):
        for n in config["linux"]["namespaces"]:
            if n["type"] == "network":
                n["path"] = "/run/netns/box"
    server = net.NumberServer("10.90.0.1", 7100)
    c = Container(args=["-e", 7000, "-c", "10.90.0.1", 7100], change=change).start()
    talk = Talk("10.90.0.2", 7000)
    talk.echo()
    for n in range(3):
        c.checkpoint("cp%d" % n, "--tcp-established")
        talk.send()
        numbers = server.count
        c.restore("cp%d" % n, "--tcp-established")
        talk.receive()
        talk.echo(100000)
        wait_for(lambda: server.count > numbers + 3, "the connection out of the container stands")
        check(not server.wrong, "the numbers are wrong: %s", server.wrong)
    talk.close()
    c.delete()


@both
def own_net():
    """A network namespace of the container's own: criu restores it empty, runc's hook fills it, then connections come back."""
    net.bridge("br0", "10.91.0.1/24")
    script = WORK + "/hook"
    with open(script, "w") as f:
        f.write("#!/bin/sh\nset -e\nexec > %s/hook.out 2>&1\nset -x\npid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')\nip link del hv0 2>/dev/null || :\n"
                "ip link add hv0 type veth peer name eth0 address 02:00:00:00:91:02 netns $pid\nip link set hv0 master br0 up\n"
                "nsenter -t $pid -n sh -ec 'ip link set lo up; ip addr add 10.91.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.91.0.1'\n" % WORK)
    os.chmod(script, 0o755)

    def change(config):
        config["hooks"] = {"prestart": [{"path": script}]}
    c = Container(args=["-e", 7000], change=change).start()
    talk = Talk("10.91.0.2", 7000)
    talk.echo()
    for n in range(3):
        c.checkpoint("cp%d" % n, "--tcp-established")
        talk.send()
        c.restore("cp%d" % n, "--tcp-established")
        talk.receive()
        talk.echo(100000)
    talk.close()
    c.delete()


@both
def pod():
    """Two containers in one pid namespace: the second comes back into it."""
    first = Container("first").start()

    def change(config):
        for n in config["linux"]["namespaces"]:
            if n["type"] == "pid":
                n["path"] = "/proc/%d/ns/pid" % first.pid
    c = Container("second", change=change).start()
    inode = os.readlink("/proc/%d/ns/pid" % first.pid)
    check(os.readlink("/proc/%d/ns/pid" % c.pid) == inode, "no shared pid namespace")
    for n in range(2):
        c.checkpoint("cp%d" % n)
        first.counts()
        c.restore("cp%d" % n)
        check(os.readlink("/proc/%d/ns/pid" % c.pid) == inode, "the second container is in another pid namespace")
        first.counts()
    c.delete()
    first.delete()


@both
def many_tasks():
    """A tree with threads, a pipeline and a background shell, a seccomp filter, exec'd processes ended before."""
    def change(config):
        config["process"]["args"] = ["/bin/sh", "-c", "(while :; do echo x; sleep 0.1; done | cat | tee /dev/null > /dev/null) & (sleep 10000 | sleep 10000) & exec /bin/inmate"]
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct", "kexec_load"], "action": "SCMP_ACT_ERRNO"}]}
    c = Container(change=change).start()
    check(facts_of(c.pid)["status"]["Seccomp"] == ["2"], "no seccomp filter")

    def tasks():
        return {line.split()[0] for line in c.call("exec", c.name, "ps", "-o", "comm", quiet=True)[1].splitlines()} - {"sleep", "ps"}
    every = {"COMMAND", "cat", "inmate", "sh", "tee"}
    wait_for(lambda: tasks() == every, "not all tasks are there")  # one that is looked at between fork and exec has another name
    through(c)
    wait_for(lambda: tasks() == every, "not all tasks are there again")
    c.delete()


@both
def process_of_exec():
    """A process that runc exec has put beside the container's own is no descendant: a dump may not lose it."""
    c = Container().start()
    c.call("exec", "-d", c.name, "sleep", "10000", stdout=subprocess.DEVNULL)
    wait_for(lambda: len(text("/sys/fs/cgroup/freezer/box/cgroup.procs").split()) == 2, "no second process")
    c.checkpoint(ok=False)
    check(len(text("/sys/fs/cgroup/freezer/box/cgroup.procs").split()) == 2, "a process has ended")
    c.counts()
    c.delete()


@case(needs="runc", view="v2")
def v2():
    c = Container(stdio="pipe").start()
    c.stdio.hear("started")
    check(c.cgroup("") == "/box", "cgroup %s", c.cgroup(""))
    through(c)
    check(c.cgroup("") == "/box", "cgroup %s", c.cgroup(""))
    c.stdio.ask("after")
    c.call("pause", c.name)
    c.checkpoint("cp", "--leave-running")
    check(c.state() == "paused", "the container is %s", c.state())
    c.call("resume", c.name)
    c.counts()
    c.delete()


@case(needs="runc", view="v2", sid=True)
def v2_1_3():
    v2()


@case(needs="runc")
def times():
    """From the runtime's call to the running container: beside runc run of the same."""
    def timed(function, *words):
        begin = time.monotonic()
        function(*words)
        return (time.monotonic() - begin) * 1000
    starts, dumps, restores = [], [], []
    for n in range(7):
        c = Container("box%d" % n)
        starts.append(timed(c._detached, "run"))
        c.counts()
        dumps.append(timed(c.checkpoint))
        restores.append(timed(lambda: c._detached("restore", *c.images("cp"))))
        c.counts()
        c.delete()
    run_ms, dump_ms, restore_ms = (sorted(x)[3] for x in (starts, dumps, restores))
    print("figure: runc run %.0f ms, checkpoint %.0f ms (%.2f of it), restore %.0f ms (%.2f of it)" %
          (run_ms, dump_ms, dump_ms / run_ms, restore_ms, restore_ms / run_ms))

