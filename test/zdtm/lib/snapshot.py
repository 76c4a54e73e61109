# SPDX-License-Identifier: GPL-2.0-only
"""What /proc says of a tree of tasks, as one flat table, and how two such tables differ.

A key is "PID/what/detail" with the pid as the tasks' own namespace knows it, so that a tree restored inside a new pid
namespace compares with the one that was dumped outside.
"""
import ctypes
import fnmatch
import os
import re

_libc = ctypes.CDLL(None, use_errno=True)
KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND = 0, 1, 2, 3, 4


def text(path):
    try:
        with open(path, "rb") as f:
            return f.read().decode("latin-1")
    except OSError as e:
        return "(%s)" % e.strerror


def link(path):
    try:
        return os.readlink(path)
    except OSError as e:
        return "(%s)" % e.strerror


def threads(pid):
    try:
        return os.listdir("/proc/%d/task" % pid)
    except OSError:
        return []


def is_kernels(pid, tid):
    """A thread of io_uring's in the process (iou-sqp, iou-wrk): made by the kernel, which gives it its number."""
    return text("/proc/%d/task/%s/comm" % (pid, tid)).startswith("iou-")


def children(pid):
    """Of all its threads; one that ends meanwhile has none any more, and hides nobody else's."""
    out = []
    for tid in threads(pid):
        try:
            with open("/proc/%d/task/%s/children" % (pid, tid)) as f:
                out += [int(p) for p in f.read().split()]
        except OSError:
            pass
    return sorted(out)


def tree(pid):
    """The pids below and including pid, parents first."""
    out, todo = [], [pid]
    while todo:
        p = todo.pop(0)
        out.append(p)
        todo += children(p)
    return out


def state_of(pid):
    fields = text("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return fields[0] if fields else "gone"


def status_of(path):
    out = {}
    for line in text(path).splitlines():
        k, _, v = line.partition(":")
        out[k] = " ".join(v.split())
    return out


def kcmp(a, b, what, x=0, y=0):
    return _libc.syscall(312, a, b, what, ctypes.c_ulong(x), ctypes.c_ulong(y)) == 0


def joined_maps(raw):
    """Lines of maps; neighbours that only differ in being split are one."""
    out = []
    for line in raw.splitlines():
        f = line.split(None, 5)
        if len(f) < 5 or "-" not in f[0]:
            continue  # no line of maps: the task has ended
        start, end = (int(x, 16) for x in f[0].split("-"))
        name = f[5] if len(f) > 5 else ""
        ino = f[4]
        if name.startswith(("/dev/zero", "/SYSV", "/memfd:")):
            ino = "0"  # a new object of shmem has a new number
        elif name.startswith("socket:["):
            ino, name = "-", "socket:[]"  # and a socket
        elif name.endswith(" (deleted)"):
            ino = "-"  # so has a deleted file that was made again
        elif name == "anon_inode:[io_uring]":
            ino = "-"
        off = int(f[2], 16)
        this = [start, end, f[1], off, f[3], ino, name]
        if out:
            last = out[-1]
            follows = last[1] == start and last[2] == this[2] and last[4:] == this[4:]
            if follows and (ino == "0" and not off and not last[3] or last[3] + last[1] - last[0] == off):
                last[1] = end
                continue
        out.append(this)
    return ["%x-%x %s %x %s %s %s" % tuple(m) for m in out]


def vm_flags(pid):
    """Range -> VmFlags, neighbours with equal flags and protection joined."""
    out, head = [], None
    for line in text("/proc/%d/smaps" % pid).splitlines():
        m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
        if m:
            head = m
        elif line.startswith("VmFlags:") and head:
            flags = " ".join(sorted(line[8:].split()))
            if out and out[-1][1] == head[1] and out[-1][2:] == [head[3], flags]:
                out[-1][1] = head[2]
            else:
                out.append([head[1], head[2], head[3], flags])
    return ["%s-%s %s: %s" % tuple(r) for r in out]


def watches(info):
    """Lines of fdinfo; those of what is watched (epoll, inotify, fanotify), whose order is the kernel's, as one."""
    lines, watched = [], []
    for line in info.splitlines():
        if line.startswith("tfd:"):
            watched.append(" ".join(re.sub(r" pos:.*", "", line).split()))
        elif line.startswith(("inotify ", "fanotify ")):
            watched.append(line)
        else:
            lines.append(re.sub(r", task_works=\d+", "", line))  # of io_uring: whether the task has something to do now
    return lines + (["watched:" + ", ".join(sorted(watched))] if watched else [])


class Snapshot:
    def __init__(self, root):
        self.root = root
        self.pids = tree(root)
        self.tids = {}
        self.table = {}
        self.inner = {}  # pid as we see it -> as the root's own namespace does
        self.level = len(status_of("/proc/%d/status" % root).get("NSpid", "0").split()) - 1
        for pid in self.pids:
            try:
                self.tids[pid] = sorted(int(t) for t in os.listdir("/proc/%d/task" % pid) if not is_kernels(pid, t))
            except OSError:
                self.tids[pid] = [pid]
            for tid in self.tids[pid]:
                ns = status_of("/proc/%d/task/%d/status" % (pid, tid)).get("NSpid", str(tid))
                self.inner[tid] = int(ns.split()[self.level])
        self._objects = {}
        for pid in self.pids:
            self._process(pid)
        self._sharing()

    def _put(self, pid, key, value):
        self.table["%d/%s" % (self.inner[pid], key)] = value

    def _pid(self, value):
        return str(self.inner.get(int(value), int(value)))

    def _name(self, target):
        """pipe:[123] -> pipe:#1, by order of appearance: which ones are the same is what matters."""
        m = re.match(r"(pipe|socket|anon_inode|uts):\[(\d+)\]$", target)
        if not m:
            return target
        return "%s:#%d" % (m[1], self._objects.setdefault(target, len(self._objects) + 1))

    def _status(self, pid, key, path, zombie):
        for k, v in status_of(path).items():
            if zombie and k.startswith(("Sig", "Shd", "Cap", "Seccomp", "Speculation", "Cpus", "Mems")):
                continue  # a task that has ended does nothing with them any more
            if k == "PPid" and pid == self.root:
                v = "outside"
            elif k in ("Pid", "Tgid", "PPid"):
                v = self._pid(v)
            elif k in ("NStgid", "NSpid", "NSpgid", "NSsid"):
                v = " ".join(v.split()[self.level:])
            elif k == "State" and v[0] in "RSD":
                v = "running or sleeping"
            self._put(pid, "%s/%s" % (key, k), v)

    def _stat(self, pid, key, path, zombie):
        rest = text(path).rpartition(")")[2]
        status = status_of(path + "us")
        inner = {5: status.get("NSpgid", ""), 6: status.get("NSsid", "")}  # their leader may be gone
        for i, v in enumerate(rest.split(), 3):
            if i == 3 and v in "RSD":
                v = "RSD"
            elif i == 4 and pid == self.root:
                v = "outside"
            elif zombie and i in (31, 32, 33, 34):
                continue
            elif i in (5, 6):
                v = inner[i].split()[self.level] if inner[i] else v
            elif i == 4 or (i == 8 and v != "-1"):
                v = self._pid(v)
            self._put(pid, "%s/%d" % (key, i), v)

    def _process(self, pid):
        p = "/proc/%d" % pid
        zombie = state_of(pid) == "Z"
        for tid in self.tids[pid]:
            t = "%s/task/%d" % (p, tid)
            name = "thread %d " % self.inner[tid] if tid != pid else ""
            self._status(pid, name + "status", t + "/status", zombie)
            self._stat(pid, name + "stat", t + "/stat", zombie)
            self._put(pid, name + "comm", text(t + "/comm"))
        if zombie:
            return
        self._put(pid, "maps", joined_maps(text(p + "/maps")))
        self._put(pid, "VmFlags", vm_flags(pid))
        for f in ("limits", "auxv", "environ", "cmdline", "oom_score_adj", "personality", "coredump_filter",
                  "timerslack_ns", "timers", "cgroup"):
            value = text("%s/%s" % (p, f))
            if f == "timers":
                value = re.sub(r"/(pid|tid)\.(\d+)", lambda m: "/%s.%s" % (m[1], self._pid(m[2])), value)
            self._put(pid, f, value)
        for f in ("cwd", "root", "exe"):
            self._put(pid, f, link("%s/%s" % (p, f)))
        for f in ("uts",):  # namespaces: criu's, or which of the tree's own
            its = link("%s/ns/%s" % (p, f))
            self._put(pid, "ns " + f, "ours" if its == link("/proc/self/ns/" + f) else self._name(its))
        self._fds(pid)

    def _fds(self, pid):
        try:
            fds = sorted(int(f) for f in os.listdir("/proc/%d/fd" % pid))
        except OSError:
            fds = []
        self._put(pid, "fds", " ".join(map(str, fds)))
        for fd in fds:
            self._put(pid, "fd %d/link" % fd, self._own_namespace(pid, self._name(link("/proc/%d/fd/%d" % (pid, fd)))))
            seen = {}  # keys come more than once: locks
            for line in watches(text("/proc/%d/fdinfo/%d" % (pid, fd))):
                k, _, v = line.partition(":")
                seen[k] = seen.get(k, 0) + 1
                self._put(pid, "fd %d/%s%s" % (fd, k, "+%d" % seen[k] if seen[k] > 1 else ""),
                          self._inner_pids(k, v.strip()))

    def _inner_pids(self, key, value):
        """Pids in fdinfo are those of whoever looks; what counts is the task's own view."""
        if key == "Pid" and value.isdigit():
            return self._pid(value)
        if key == "NSpid":
            return value.split()[-1] if value else value
        if key == "lock":
            parts = value.split()
            if len(parts) > 4 and parts[4].isdigit():
                return re.sub(r"^((?:\S+\s+){4})\d+", lambda m: m[1] + self._pid(parts[4]), value)
        return value

    @staticmethod
    def _own_namespace(pid, name):
        kind = name.partition(":[")[0]
        return kind + ":[its own]" if name.startswith(kind + ":[") and name == link("/proc/%d/ns/%s" % (pid, kind)) else name

    def _sharing(self):
        """Which tasks share which objects, and which descriptors are one description."""
        live = [p for p in self.pids if state_of(p) != "Z"]
        for what, name in ((KCMP_VM, "vm"), (KCMP_FILES, "files"), (KCMP_FS, "fs"), (KCMP_SIGHAND, "sighand")):
            heads = []
            for p in live:
                head = next((h for h in heads if kcmp(h, p, what)), p)
                if head == p:
                    heads.append(p)
                self._put(p, "shares " + name, str(self.inner[head]))
        groups = {}
        for p in live:
            for fd in self.table.get("%d/fds" % self.inner[p], "").split():
                get = lambda k: self.table.get("%d/fd %s/%s" % (self.inner[p], fd, k))
                heads = groups.setdefault((get("link"), get("pos")), [])
                if len(heads) > 64:
                    continue
                head = next((h for h in heads if kcmp(h[0], p, KCMP_FILE, h[1], int(fd))), None)
                if not head:
                    head = (p, int(fd))
                    heads.append(head)
                self._put(p, "fd %s/shared with" % fd, "%d/%d" % (self.inner[head[0]], head[1]))


class Allowed:
    """The list of differences that are no fault: lines of "glob how reason" (tabs between), from allowed-differences."""

    def __init__(self, path, extra=()):
        self.rows = []
        with open(path) as f:
            lines = [line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")]
        for line in lines + list(extra):
            f = re.split(r"\t+| {2,}", line, maxsplit=2)
            if len(f) < 3:
                raise SystemExit("%s: a row without a reason: %s" % (path, line))
            self.rows.append((f[0], f[1], f[2]))

    def ok(self, key, a, b):
        plain = key.split("/", 1)[1]
        plain = re.sub(r"^thread \d+ ", "", plain)
        for glob, how, _ in self.rows:
            if not fnmatch.fnmatchcase(plain, glob):
                continue
            if how == "any":
                return True
            if how.startswith("name:") and isinstance(a, list) and isinstance(b, list):
                old, _, new = how[5:].partition("=")
                if [x.replace(old, new) for x in b] == a:
                    return True
            m = re.match(r"near:(\d+)%\+(\d+)$", how)  # within so many percent and so many units
            if m and isinstance(a, str) and isinstance(b, str):
                x, y = int(a.split()[0]), int(b.split()[0])
                if abs(x - y) <= max(x, y) * int(m[1]) / 100 + int(m[2]):
                    return True
        return False


def differences(a, b, allowed):
    """Lines that tell what is different in b, for a reader."""
    out = []
    for key in sorted(set(a.table) | set(b.table)):
        x, y = a.table.get(key), b.table.get(key)
        if x == y or allowed.ok(key, x, y):
            continue
        if isinstance(x, list) and isinstance(y, list):
            lost = ["%s: - %s" % (key, v) for v in x if v not in set(y)]
            new = ["%s: + %s" % (key, v) for v in y if v not in set(x)]
            out += lost[:12] + new[:12]
        else:
            out.append("%s: %s -> %s" % (key, short(x), short(y)))
    return out


def short(v):
    if v is None:
        return "(nothing)"
    s = repr(v)
    return s if len(s) < 160 else s[:157] + "..."
