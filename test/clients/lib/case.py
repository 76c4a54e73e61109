# SPDX-License-Identifier: GPL-2.0-only
"""A case: what it is registered with, what it can call, and a root file system for containers."""
import glob
import os
import re
import shutil
import socket
import subprocess
import time

from area import WORK

CASES = []
APPLETS = ("sh sleep cat echo mount umount ls ln mkdir mv rm touch hostname ps kill nc ip stat grep wc head tail seq true false env id init "
           "syslogd crond logger getty login reboot poweroff halt ifconfig route dd tee tr cut sort uname test readlink").split()


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def case(function=None, **how):
    """how: view (of cgroups: area.py), sid (libraries of Debian's unstable branch), limit (seconds), group, why (a reason to skip)"""
    def register(f):
        module = os.path.basename(f.__code__.co_filename)[:-3]
        CASES.append(("%s.%s" % (module, f.__name__), f, how))
        return f
    return register(function) if function else register


def check(fine, text, *words):
    if not fine:
        raise Failed(text % words if words else text)


def wait_for(ready, what, limit=60):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found = ready()
        if found:
            return found
        time.sleep(0.02)
    raise Failed("after %d s: %s" % (limit, what))


def text(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def run(*command, ok=True, limit=60, quiet=False, **more):
    """Returns (status, output); ok: a status other than 0 is a failure; None: the status does not matter; False: it has to fail."""
    words = [str(w) for w in command]
    begin = time.monotonic()
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.STDOUT)
    p = subprocess.Popen(words, **more)
    try:
        out = p.communicate(timeout=limit)[0]
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
        raise Failed("%s: still running after %d s" % (" ".join(words), limit))
    out = (out or b"").decode(errors="replace")
    if not quiet:
        print("$ %s\n%s[status %d, %.2f s]" % (" ".join(words), out, p.returncode, time.monotonic() - begin), flush=True)
    if ok and p.returncode:
        raise Failed("%s: status %d\n%s" % (" ".join(words), p.returncode, out))
    check(ok is not False or p.returncode, "%s: status 0, though it had to fail", " ".join(words))
    return p.returncode, out


def make_rootfs(root, inmate=None):
    for d in "bin sbin dev proc sys tmp etc run root var/log var/run mnt data".split():
        os.makedirs(os.path.join(root, d), exist_ok=True)
    shutil.copy(shutil.which("busybox"), root + "/bin/busybox")
    shutil.copy(inmate or os.environ["INMATE"], root + "/bin/inmate")
    for a in APPLETS:
        os.symlink("busybox", "%s/bin/%s" % (root, a))
    with open(root + "/etc/passwd", "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\n")
    with open(root + "/etc/group", "w") as f:
        f.write("root:x:0:\n")


def count_of(root):
    """What the inmate has counted; root: the root of its file system, as seen from here."""
    t = text(root + "/count").strip("\0\n ")
    return int(t) if t.isdigit() else 0


def counts(root, limit=60):
    """Waits until the inmate has counted on, and sees that it finds nothing wrong. Returns its count."""
    first = count_of(root)
    wait_for(lambda: count_of(root) > first + 3, "the inmate does not count on from %d: %s" % (first, text(root + "/bad")), limit)
    check(not os.path.exists(root + "/bad"), "the inmate: %s", text(root + "/bad"))
    return count_of(root)


def stands(root):
    """The inmate is not running."""
    first = count_of(root)
    time.sleep(0.3)
    check(count_of(root) == first, "the inmate still counts")
    return first


def pid_alive(pid):
    return "State:" in text("/proc/%d/status" % pid) and "Z (zombie)" not in text("/proc/%d/status" % pid)


def mounts_of(pid):
    """Without ids, and without the numbers of devices that the kernel gives."""
    lines = []
    for line in text("/proc/%d/mountinfo" % pid).splitlines():
        f = line.split()
        if f[3] == "/null":  # a masked file: a restore binds /dev/null of the host, as the runtimes want it
            f[6:] = []
        if " - cgroup" in line:  # runc 1.1 asks for the hierarchy's root there, not for the container's group; and by another name of the source
            f[3], f[-2] = "", ""
        lines.append(" ".join(f[3:6] + [re.sub(r"\d+", "N", w) if w.startswith(("shared:", "master:")) else w for w in f[6:]]))
    return sorted(lines)


def facts_of(pid):
    """What has to be the same after a restore."""
    status = text("/proc/%d/status" % pid)
    wanted = ("Name", "Uid", "Gid", "Groups", "NSpid", "NSsid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "SigIgn",
              "SigCgt")
    rows = {line.split(":")[0]: line.split(":")[1].split() for line in status.splitlines() if line.split(":")[0] in wanted}
    rows["NSpid"] = rows.get("NSpid", [""])[-1:]
    rows["NSsid"] = rows.get("NSsid", [""])[-1:]
    fds = {n: re.sub(r"\[\d+\]", "", os.readlink("/proc/%d/fd/%s" % (pid, n))) for n in sorted(os.listdir("/proc/%d/fd" % pid), key=int)}
    return {"status": rows, "mounts": mounts_of(pid), "cgroup": text("/proc/%d/cgroup" % pid), "fds": fds, "environ": text("/proc/%d/environ" % pid),
            "limits": text("/proc/%d/limits" % pid), "oom": text("/proc/%d/oom_score_adj" % pid), "cwd": os.readlink("/proc/%d/cwd" % pid),
            "uts": run("nsenter", "-t", pid, "-u", "hostname", quiet=True)[1], "uid_map": text("/proc/%d/uid_map" % pid)}


def same(before, now, what="", but=()):
    for key, was in before.items():
        if key in but:
            continue
        if isinstance(was, list):
            lost, new = [x for x in was if x not in now[key]], [x for x in now[key] if x not in was]
            check(not lost and not new and len(was) == len(now[key]), "%s: %s: gone: %s; new: %s", what, key, lost, new)
        check(was == now[key], "%s: %s: %s is now %s", what, key, was, now[key])


class Talk:
    """A TCP connection to an echoing inmate; counts both ways."""

    def __init__(self, address, port):
        self.sent = 0

        def connected():
            try:
                self.s = socket.create_connection((address, port), timeout=5)
            except OSError:
                return False
            return True
        wait_for(connected, "no connection to %s:%d" % (address, port))
        self.s.settimeout(60)

    def send(self, n=1000):
        data = bytes((self.sent + i) * 7 & 255 for i in range(n))
        self.pending = data
        self.s.sendall(data)
        self.sent += n

    def receive(self):
        got = b""
        while len(got) < len(self.pending):
            part = self.s.recv(65536)
            check(part, "the connection ended")
            got += part
        check(got == self.pending, "the connection brought other bytes")

    def echo(self, n=1000):
        self.send(n)
        self.receive()

    def close(self):
        self.s.close()


def log_excerpts():
    """Of all logs of criu below the work directory, what is an error."""
    shown = []
    for path in sorted(glob.glob(WORK + "/**/*.log", recursive=True) + glob.glob("/run/**/*.log", recursive=True) + glob.glob("/var/lib/**/*.log", recursive=True)):
        lines = text(path).splitlines()
        errors = [line for line in lines if re.search(r"Error|Warn|ERROR", line)]
        if errors:
            shown.append("--- %s\n%s" % (path, "\n".join(errors[-25:])))
    return "\n".join(shown)
