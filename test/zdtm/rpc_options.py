#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# What clients of the service send along: the fields of runc, crun, LXC's command line; directories by number; configuration files; logs.
# zdtm: driver
# zdtm: needs-root
# zdtm: timeout 600
import os
import signal
import socket
import subprocess

import rpc
from driver import check, children, run_all, scenario, state_of, text, wait_for

RUNC = {"leave_running": False, "ext_unix_sk": False, "tcp_established": False, "shell_job": False, "file_locks": False,
        "log_level": 4, "auto_dedup": False, "manage_cgroups": True, "empty_ns": 0x40000000, "lazy_pages": False,
        "orphan_pts_master": True, "config_file": "/nonexistent/runc.conf", "link_remap": False, "tcp_skip_in_flight": False}
MASKS = [{"key": "/proc/keys", "val": "/dev/null"}, {"key": "/dev/null", "val": "/dev/null"}, {"key": "/dev/null", "val": "/dev/null"},
         {"key": "/run/crun/.empty-directory", "val": "/run/crun/.empty-directory"}, {"key": "/a:b", "val": "/c]:d"}]


def own_cgroups():
    """As runc sends them: one for each hierarchy of the restore, also those without controllers."""
    out = []
    for line in text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        out += [{"ctrl": c, "path": path} for c in (controllers.split(",") if controllers else [""])]
    return out


def ask(s, kind, wrap=(), **opts):
    """One request with the directories of the scenario: (response, status)."""
    with rpc.Directory(s.imgs) as fd:
        o = {"images_dir_fd": fd, "log_level": 4, "log_file": kind.lower() + ".log", **opts}
        if kind == "DUMP":
            o.setdefault("pid", s.pid)
        return rpc.ask({"type": kind, "opts": {k: v for k, v in o.items() if v is not None}}, wrap=wrap)


def good(s, kind, **opts):
    r, rc = ask(s, kind, **opts)
    check(r and r["success"] and rc == 0, "%s: %r, %d: %s" % (kind, r, rc, s.errors(kind.lower() + ".log")))
    if kind == "DUMP" and not opts.get("leave_running"):
        s.gone()
        s.proc = None
    return r


@scenario
def runc(s):
    s.victim()
    good(s, "DUMP", **RUNC, ext_mnt=MASKS, root=s.dir, manage_cgroups_mode="DEFAULT")
    good(s, "RESTORE", **RUNC, ext_mnt=MASKS, root=s.dir, evasive_devices=True, rst_sibling=True, cg_root=own_cgroups())
    s.verify()


@scenario
def crun(s):
    s.victim()
    good(s, "DUMP", log_level=4, ext_mnt=MASKS, manage_cgroups=True, manage_cgroups_mode="SOFT", orphan_pts_master=True,
         config_file="/nonexistent/crun.conf")
    good(s, "RESTORE", ext_mnt=MASKS, manage_cgroups=True, manage_cgroups_mode="SOFT", orphan_pts_master=True, rst_sibling=True,
         tcp_close=False, cg_root=[{"path": own_cgroups()[-1]["path"]}])
    s.verify()


@scenario
def all_modes(s):
    s.victim()
    for mode in ("IGNORE", "CG_NONE", "PROPS", "SOFT", "FULL", "STRICT", "DEFAULT"):
        good(s, "DUMP", leave_running=True, manage_cgroups=True, manage_cgroups_mode=mode)
    for method in ("IPTABLES", "NFTABLES", "SKIP"):
        good(s, "DUMP", leave_running=True, network_lock=method)
    for more in ({"cpu_cap": 0xffffffff}, {"cpu_cap": 0}, {"cpu_cap": 3}, {"timeout": 0}, {"timeout": 30}, {"ghost_limit": 512 << 20},
                 {"auto_ext_mnt": True, "ext_sharing": True, "ext_masters": True}, {"enable_fs": ["hugetlbfs", "tracefs"]},
                 {"skip_mnt": ["/nonexistent"]}, {"external": ["console:", "mnt[]:sm", "net[1]:extRootNetNS"]}, {"unix_sk_ino": [{"inode": 5}]},
                 {"ext_unix_sk": True}, {"veths": [{"if_in": "a", "if_out": "b"}]}, {"track_mem": True}, {"force_irmap": True},
                 {"irmap_scan_paths": ["/tmp"]}, {"weak_sysctls": True}, {"unprivileged": True}, {"mntns_compat_mode": True},
                 {"skip_file_rwx_check": True}, {"pre_dump_mode": "VM_READ"}, {"lsm_mount_context": "x"}, {"display_stats": True},
                 {"cgroup_dump_controller": ["memory"]}, {"external": []}, {"root": ""}, {"images_dir": "/nowhere"}, {"leave_stopped": False}):
        good(s, "DUMP", leave_running=True, **more)
    s.verify()


@scenario
def lxc(s):
    """Its command lines, with the two empty consoles."""
    both = ["--tcp-established", "--file-locks", "--link-remap", "--manage-cgroups=full", "--ext-mount-map", "auto", "--enable-external-sharing",
            "--enable-external-masters", "--enable-fs", "hugetlbfs", "--enable-fs", "tracefs"]
    s.victim()
    s.dump(*both, "--skip-in-flight", "--force-irmap", "--ext-mount-map", "/dev/console:console", "--ghost-limit", "1000000",
           "--ext-mount-map", "/a:/a")
    s.tool("restore", "-D", s.imgs, "-o", "restore.log", *both, "--ext-mount-map", "console:", "--external", "console:",
           "--external", "veth[eth0]:vethABC@br0", "--external", "macvlan[eth1]:eth9", "--root", s.dir, "--restore-detached", "--restore-sibling")
    check(s.rc == 0, "%s" % s.errors("restore.log"))
    check(children(os.getpid()) == [s.pid], "the root task is not the only new child: %r" % children(os.getpid()))
    s.proc = None
    s.verify()


@scenario
def directories(s):
    """Logs, statistics and pid files in the work directory, and the images in theirs, which may have other files and the mode 0700."""
    s.victim()
    os.mkdir(s.path("work"))
    os.chmod(s.imgs, 0o700)
    for name in ("descriptors.json", "config.dump"):
        open(os.path.join(s.imgs, name), "w").close()
    with open(s.path("work/dump.log"), "w") as f:
        f.write("an older log\n" * 10000)
    with rpc.Directory(s.path("work")) as work:
        good(s, "DUMP", work_dir_fd=work)
        check({"dump.log", "stats-dump"} <= set(os.listdir(s.path("work"))), "%r" % os.listdir(s.path("work")))
        check("older" not in text(s.path("work/dump.log")), "the log is not truncated")
        check(not {"dump.log", "stats-dump"} & set(os.listdir(s.imgs)), "%r" % os.listdir(s.imgs))
        good(s, "RESTORE", work_dir_fd=work, log_file=None)
    check({"criu.log", "stats-restore"} <= set(os.listdir(s.path("work"))), "%r" % os.listdir(s.path("work")))
    check({"descriptors.json", "config.dump"} <= set(os.listdir(s.imgs)), "%r" % os.listdir(s.imgs))
    s.verify()


@scenario
def numbers_that_change(s):
    """The client closes its descriptors, or opens others under their numbers, as soon as criu has the request."""
    s.victim()
    fd = os.open(s.imgs, os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir(s.path("elsewhere"))
    other = os.open(s.path("elsewhere"), os.O_RDONLY | os.O_DIRECTORY)
    p = rpc.Swrk()
    seen, r = rpc.run(p, {"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": s.pid, "notify_scripts": True}},
                      {"pre-dump": lambda n: bool(os.dup2(other, fd)) or True})
    check(r["success"] and p.ends() == 0 and not os.listdir(s.path("elsewhere")) and s.images(), "%r" % os.listdir(s.path("elsewhere")))
    os.close(fd)
    os.close(other)
    s.gone()
    s.restore()
    s.verify()


@scenario
def config_files(s):
    """The machine's and the environment's come first, then the request, then its own file."""
    with open(s.path("env.conf"), "w") as f:
        f.write("leave-running\nverbosity 3\n")
    env = dict(os.environ, CRIU_CONFIG_FILE=s.path("env.conf"))

    def dump(**opts):
        with rpc.Directory(s.imgs) as fd:
            return rpc.ask({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": s.pid, **opts}}, env=env)
    s.victim()
    check(dump()[0]["success"] and wait_for(lambda: state_of(s.pid) == "S"), "leave-running of the environment's file is not heard")
    os.mkdir(s.path("other"))
    with open(s.path("own.conf"), "w") as f:
        f.write("log-file own.log\nwork-dir %s\nverbosity 4\n" % s.path("other"))
    r, rc = dump(config_file=s.path("own.conf"), log_file="of_the_request.log", log_level=1)
    check(r["success"] and os.listdir(s.path("other")).count("own.log") == 1, "%r, %r" % (r, os.listdir(s.path("other"))))
    check("of_the_request.log" not in os.listdir(s.imgs) and "stats-dump" in os.listdir(s.path("other")), "%r" % os.listdir(s.imgs))
    with open(s.path("bad.conf"), "w") as f:
        f.write("no-such-option\n")
    r, rc = dump(config_file=s.path("bad.conf"))
    check(not r["success"] and rc == 1 and "no-such-option" in r["cr_errmsg"], "%r" % r)
    check(dump(leave_running=False)[0]["success"], "a request that says no")
    s.gone()
    s.restore()
    s.verify()


@scenario
def inherited(s):
    """A pipe that the client gives criu under a number; the same key may come twice. What is criu's own cannot be named."""
    r, w = os.pipe()
    s.victim(stdout=w, stderr=w)
    key = "pipe:[%d]" % os.fstat(w).st_ino
    r1, rc = ask(s, "DUMP", external=None)
    check(r1["success"], "%r" % r1)
    s.gone()
    s.proc = None
    os.close(w)
    os.close(r)
    r, w = os.pipe()
    p = rpc.Swrk(pass_fds=[w])
    with rpc.Directory(s.imgs) as fd:
        p.send({"type": "RESTORE", "opts": {"images_dir_fd": fd, "log_file": "restore.log", "rst_sibling": True, "inherit_fd": [
            {"key": key, "fd": w}, {"key": key, "fd": w}]}})
        got = p.receive()
        check(got["success"] and p.ends() == 0, "%r: %s" % (got, s.errors("restore.log")))
    for n in (1, 2):
        check(os.readlink("/proc/%d/fd/%d" % (s.pid, n)) == "pipe:[%d]" % os.fstat(w).st_ino, "fd %d" % n)
    s.verify()
    for number in range(3, 20):  # sockets, directories, the log
        p = rpc.Swrk(fd=50)
        with rpc.Directory(s.imgs) as fd:
            p.send({"type": "RESTORE", "opts": {"images_dir_fd": fd, "inherit_fd": [{"key": key, "fd": number}]}})
            got = p.receive()
        check(not got["success"] and got["cr_errno"] == 56 and p.ends() == 1, "descriptor %d: %r" % (number, got))
    os.close(r)
    os.close(w)


@scenario
def exec_cmd(s):
    """After the answer criu is the command, and the parent of the restored task."""
    s.victim()
    good(s, "DUMP")
    p = rpc.Swrk()
    with rpc.Directory(s.imgs) as fd:
        p.send({"type": "RESTORE", "opts": {"images_dir_fd": fd, "log_file": "restore.log", "exec_cmd": ["sleep", "1000"]}})
        r = p.receive()
        check(r["success"] and r["restore"]["pid"] == s.pid, "%r: %s" % (r, s.errors("restore.log")))
        check(p.receive() is None, "the socket stays open in the command")
    check(wait_for(lambda: text("/proc/%d/comm" % p.proc.pid) == "sleep\n"), "comm: %r" % text("/proc/%d/comm" % p.proc.pid))
    check(text("/proc/%d/stat" % s.pid).split()[3] == str(p.proc.pid), "its parent")
    blocked = [x for x in text("/proc/%d/status" % p.proc.pid).splitlines() if x.startswith("SigBlk")]
    check(int(blocked[0].split()[1], 16) == 0, "signals that the command has blocked: %r" % blocked)
    os.kill(s.pid, signal.SIGKILL)
    p.proc.kill()
    p.ends()
    s.gone()


@scenario
def exit_status(s):
    """The client can wait for the restored task, which is its child, and criu has ended before it is looked for."""
    s.victim()
    good(s, "DUMP")
    r = good(s, "RESTORE", rst_sibling=True)
    os.kill(r["restore"]["pid"], signal.SIGTERM)
    pid, status = os.waitpid(r["restore"]["pid"], 0)
    check(pid == s.pid and os.WTERMSIG(status) == signal.SIGTERM, "%r" % status)


@scenario
def logs(s):
    """Errors are lines of a known form in the log, and standard error is left alone: it may be the container's own."""
    a, b = socket.socketpair()
    s.victim(stdin=a)
    a.close()
    p = rpc.Swrk(stdout=subprocess.PIPE)
    with rpc.Directory(s.imgs) as fd:
        p.send({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": s.pid, "log_level": 4, "log_file": "dump.log"}})
        r = p.receive()
        out, err = p.proc.communicate(timeout=100)
    check(not r["success"] and p.proc.returncode == 1 and not out and not err, "%r, %r, %r" % (r, out, err))
    lines = [x for x in text(os.path.join(s.imgs, "dump.log")).splitlines() if "Error" in x]
    check(lines and all(x[0] == "(" and x[3] == "." and " Error (" in x[:30] and "): " in x for x in lines), "%r" % lines)
    check(r["cr_errmsg"][:40] in lines[0], "the first error is %r, and cr_errmsg %r" % (lines[0], r["cr_errmsg"]))
    with rpc.Directory(s.imgs) as fd:
        p = rpc.Swrk(stdout=subprocess.PIPE)
        p.send({"type": "DUMP", "opts": {"images_dir_fd": fd, "pid": s.pid, "log_to_stderr": True}})
        r = p.receive()
        out, err = p.proc.communicate(timeout=100)
    check(not r["success"] and b"Error (" in err, "log_to_stderr: %r" % err)
    b.close()
    s.verify()


run_all()
