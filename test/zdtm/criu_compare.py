#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# The other way: the same programs dumped by us, and each field compared with what CRIU 4.2 wrote of them. What may
# differ is named here, with the reason.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs cc
# zdtm: timeout 240
import os
import re
import signal

import held
import held_ns
from driver import check, children, run_all, scenario, text

# How a field may differ, which, and why. "value": in both, but another; "ours", "theirs": in one alone; "any": all of it.
ALLOWED = [
    ("value", r"core of .*\.fpregs\.mxcsr_mask", "what the processor has: AMD's takes unaligned operands of SSE"),
    ("value", r"core of .*\.rlimits\[(6|11)\]\.(cur|max)", "processes and pending signals: what the machine's memory allows"),
    ("value", r"core of .*\.thread_info\.(gpregs\.\w+|clear_tid_addr)|core of .*\.(futex_rla|rseq_abi_pointer)", "addresses, which are random"),
    ("value", r"mm of .*\.(mm_\w+|mm_saved_auxv\[\d+\]|vmas\..*\.(start|end))", "addresses, which are random"),
    ("any", r"pagemap of .*", "addresses; CRIU marks what lazy restore could leave out, and merges otherwise"),
    ("ours", r"page \d+\.(first|pages_id|sums)", "an image of our own: checksums of pages"),
    ("ours", r"core of .*\.tc\.coredump_filter|core of .*\.thread_core\.(cpu_affinity|timer_slack_ns)", "fields of our own"),
    ("ours", r"file .*\.reg\.(seen_mnt_id|seen_ino)|inventory 0\.(crius_numbers|tool_version|network_lock_mark)|tty \d\.pair",
     "fields of our own"),
    ("ours", r"mm of .*\.vmas\..*\.(accounted|madv)", "a field of our own; advice that CRIU leaves out for vvar"),
    ("theirs", r"mm of .*\.vmas\.vsyscall 0\..*", "the kernel's own, left out"),
    ("ours", r"mm of .*\.vmas\.vvar 1\..*", "[vvar_vclock], which is a mapping of its own in newer kernels"),
    ("theirs", r"mm of .*\.thp_disabled", "is not written where it is false"),
    ("any", r"core of .*\.cg_set|inventory 0\.root_cg_set|cgroup .*", "cgroups are those of the machine"),
    ("any", r"timens .*", "clocks are those of the machine"),
    ("any", r"ids of .*ns_id|inventory 0\.root_ids\..*ns_id", "numbers of namespaces"),
    ("value", r"inventory 0\.(dump_criu_run_id|network_lock_method|dump_uptime)", "new in each run; nftables is our default"),
    ("ours", r"inventory 0\.dump_uptime", "CRIU 4.2 writes it where memory is tracked"),
    ("value", r"file .*\.(isk|usk)\.(ino|peer|src_port|dst_port)", "numbers of the run"),
    ("value", r"file .*\.usk\.backlog", "CRIU has bytes of memory here where it is not a listening socket"),
    ("ours", r"file .*\.opts\.so_mark", "written though it is 0"),
    ("ours", r"file .*\.isk\.(ip_opts|tcp_opts)\..*|tcp-stream of .*\.(cork|nodelay)", "written though they are off; fields of our own"),
    ("value", r"file .*\.isk\.opts\.so_(snd|rcv)buf|tcp-stream of .*\.(\w+_seq|timestamp|snd_wl1|snd_wnd|max_window|rcv_wnd|rcv_wup)",
     "of each connection"),
    ("any", r"(file|remap) .*|fdinfo of .*|remap-fpath .*", "hardlink: we find the other name, and need no link", "hardlink"),
    ("value", r"file path /dev/pts/0\.reg\.mode|tty \d\.dev", "as this devpts is mounted"),
    ("value", r"tty \d\.termios(_locked)?\.c_cc\[([89]|1\d)\]", "CRIU leaves bytes of its stack in what no terminal has"),
    ("value", r"tty \d\.termios\.c_[io]speed", "CRIU asks without speeds"),
    ("any", r"seccomp 0\.seccomp_filters\[\d\]\.flags", "CRIU adds TSYNC (1) to what all threads have; see filters()"),
    ("any", r"core of .*\.fpregs\.xsave\..*", "registers of strings and addresses", "ns"),
    ("value", r"core of task 1\.thread_info\.fpregs\.xmm_space.*", "its parent stops it somewhere between fork(2) and pause(2)", "stopped"),
    ("value", r"ipcns-\w+ 0\.desc\.key", "ipcmk takes random ones", "ns"),
    ("ours", r"ipcns-\w+ 0\.(ctime|pids\[\d\]|\w+_next_id)|mount .*\.(pid_ns_id|host_\w+)|netdev 0\.(addrgenmode|txqlen|features\[\d+\])", "fields of our own", "ns"),
    ("ours", r"mount (/|/etc/two)\.fsname", "by which we find again what the machine had mounted", "ns"),
    ("value", r"mount (/|/etc/two)\.(fstype|options|root|source)", "the root was on a disk, and here is on a tmpfs", "ns"),
    ("ours", r"mount /sys\..*", "CRIU's was made where a user namespace could not mount sysfs", "ns-user"),
    ("ours", r"userns 0\.deny_setgroups", "a field of our own", "ns-user"),
    ("value", r"inventory 0\.img_version", "unshare -r denies setgroups(2), and CRIU would silently allow it again", "ns-user"),
]
with open("/proc/cpuinfo") as cpuinfo:
    if " pku " in cpuinfo.read():
        ALLOWED += [("ours", r"core of .*\.xsave\.pkru\[\d\]", "protection keys: the processor of CRIU's machine had none"),
                    ("value", r"core of .*\.xsave\.xstate_bv", "the same")]


def flat(prefix, value, out):
    if isinstance(value, dict):
        for k, v in value.items():
            flat("%s.%s" % (prefix, k), v, out)
    elif isinstance(value, list):
        for i, v in enumerate(value):
            flat("%s[%d]" % (prefix, i), v, out)
    else:
        out[prefix] = value


class Checkpoint:
    """Images without the numbers that are another's in each run: pids, ids of files, inodes."""

    def __init__(self, folder):
        self.images = held.show(folder)
        self.fields = {}
        pids = [e["pid"] for e in self.images["pstree.img"]]
        self.pids = {p: "task %d" % i for i, p in enumerate(pids)}
        self.name_files(pids)
        self.name_spaces(pids)
        for name, entries in self.images.items():
            m = re.fullmatch(r"(.*)-(\w+)\.img", name)
            kind, number = m.groups() if m else (name[:-4], None)
            if kind == "files":
                for e in entries:
                    self.file(e)
            elif kind == "fdinfo":
                for e in entries:
                    self.add("fdinfo of %s.fd %d" % (self.tables[int(number)], e["fd"]), e)
            elif kind == "tcp-stream":
                self.add("tcp-stream of %s" % self.inodes[int(number, 16)], entries[0])
            elif kind == "mm":
                seen, mm = {}, dict(entries[0])
                mm["vmas"] = {vma_key(seen, v): v for v in mm["vmas"]}
                self.add("mm of %s" % self.pids[int(number)], mm)
            elif kind in ("core", "fs", "ids", "pagemap"):
                self.add("%s of %s" % (kind, self.pids[int(number)]), entries if kind == "pagemap" else entries[0])
            elif kind == "mountpoints":
                places = {e["mnt_id"]: e["mountpoint"] for e in entries}
                devices = {e["root_dev"]: e["mountpoint"] for e in sorted(entries, key=lambda e: e["mountpoint"], reverse=True)}
                groups = dict([(e["shared_id"], "peers of " + e["mountpoint"]) for e in entries] + [(0, "none")])
                for e in entries:
                    self.add("mount %s" % e["mountpoint"], dict(
                        e, parent_mnt_id=places.get(e["parent_mnt_id"], "outside"), root_dev="as " + devices[e["root_dev"]],
                        shared_id=groups[e["shared_id"]], master_id=groups.get(e["master_id"], "of another")))
            else:
                for i, e in enumerate(entries):
                    self.add("%s %d" % (kind, i), e)

    def name_spaces(self, pids):
        """Of mounts and namespaces."""
        self.spaces = {n: kind for kind, n in self.images["ids-%d.img" % pids[0]][0].items() if kind.endswith("ns_id")}
        for name, entries in self.images.items():
            if name.startswith("mountpoints-"):
                self.spaces.update((e["mnt_id"], "mount " + e["mountpoint"]) for e in entries)

    def name_files(self, pids):
        self.names, self.tables, self.inodes = {}, {}, {}
        for p in pids:
            table = self.images["ids-%d.img" % p][0]["files_id"]
            self.tables.setdefault(table, self.pids[p])
            for e in self.images.get("fdinfo-%d.img" % table, ()):
                self.names.setdefault(e["id"], "fd %d of %s" % (e["fd"], self.pids[p]))
        for e in self.images["files.img"]:
            if "isk" in e:
                self.inodes[e["isk"]["ino"]] = self.names[e["id"]]
            if e["id"] not in self.names:
                self.names[e["id"]] = "path " + e["reg"]["name"]

    def file(self, e):
        name = self.names[e["id"]]
        self.add("file " + name, {k: v for k, v in e.items() if k != "id"})

    def add(self, prefix, entry):
        out = {}
        flat(prefix, entry, out)
        for k, v in out.items():
            last = k.rsplit(".", 1)[-1]
            if last in ("exe_file_id", "regf_id", "cwd_id", "root_id", "shmid", "orig_id", "remap_id", "id_for", "id") and v in self.names \
                    and not k.startswith("tty-info"):
                v = self.names[v]
            elif last in ("mnt_id", "ns_id", "peer_nsid"):
                v = self.spaces.get(v, v)
            elif last in ("pid", "ppid", "pgid", "sid", "pgrp") or "threads[" in last:
                v = self.pids.get(v, v)
            self.fields[k] = v


def vma_key(seen, v):
    """Mappings by what they are: addresses are random, and so is their order."""
    words = v["status"].replace("VMA_", "").replace("AREA_", "").lower().split(" | ")
    what = [w for w in words if w not in ("regular", "anon_private")] or ["anon"]
    name = " ".join(what + (["stack"] if "GROWSDOWN" in v["flags"] else []) + (["at %d" % v["pgoff"]] if v["pgoff"] else []))
    n = seen[name] = seen.get(name, -1) + 1
    return "%s %d" % (name, n)


if not held.has_avx512():
    ALLOWED.append(("any", r"core of .*\.thread_info\.fpregs\..*", "another processor: the C library chose other functions"))


def allowed(mode, how, field):
    return any(a[0] in (how, "any") and re.fullmatch(a[1], field) for a in ALLOWED if len(a) == 3 or mode.startswith(a[3]))


def differences(mode, ours, theirs):
    for k in sorted(set(ours) | set(theirs)):
        how = "theirs" if k not in ours else "ours" if k not in theirs else "value"
        if ours.get(k) != theirs.get(k) and not allowed(mode, how, k):
            yield "%s: %s, CRIU has %s" % (k, ours.get(k, "none"), theirs.get(k, "none"))


def filters(c):
    """Of each filter its program, the index that it has, and flags that are the filter's own."""
    return [(f["filter"], f.get("prev"), f.get("flags", 0) & ~1) for f in c.images["seccomp.img"][0].get("seccomp_filters", ())]


def ours(s, mode):
    p = held.start(mode)
    s.pid, s.proc = p.pid, p
    s.dump(*held.OPTIONS[mode][0])
    a, b = Checkpoint(s.imgs), Checkpoint(os.path.join(held.DATA, mode))
    d = list(differences(mode, a.fields, b.fields))
    check(not d, "%d fields: %s" % (len(d), "; ".join(d[:20])))
    check(filters(a) == filters(b), "filters: %s, CRIU has %s" % (filters(a), filters(b)))
    s.restore(*held.OPTIONS[mode][1])
    said = held.ask(s.pid, mode)
    check(said == "fine", "the program says %r" % said)
    s.kill()


def ours_ns(s, mode):
    held_ns.start(s, mode)
    s.dump("--root", held_ns.BOUND)
    there = os.path.join(held.DATA, mode)
    a, b = Checkpoint(s.imgs), Checkpoint(there)
    d = list(differences(mode, a.fields, b.fields))
    check(not d, "%d fields: %s" % (len(d), "; ".join(d[:20])))
    check({re.sub(r"\d+", "N", n) for n in a.images} ^ {re.sub(r"\d+", "N", n) for n in b.images} == {"page-sums.img"}, "images: %s" % sorted(a.images))
    rules = [a for a in answers(raw(s.imgs, "rule")) if a[8:9] != b"\x0a"]  # CRIU has those of IPv4 alone
    check(rules == answers(raw(there, "rule")), "rules for routes: %s" % rules)
    for kind in ("ifaddr", "route", "route6", "iptables", "ip6tables"):
        check(answers(raw(s.imgs, kind)) == answers(raw(there, kind)), "%s: %s, CRIU has %s" % (kind, answers(raw(s.imgs, kind)), answers(raw(there, kind))))
    check(raw(s.imgs, "nftables") == re.sub(rb"table ip6? filter {.*?\n}\n", b"", raw(there, "nftables"), flags=re.S),
          "rules: %s" % raw(s.imgs, "nftables"))  # CRIU's has those of its own lock in it
    for at in ("/tmp", "/data"):
        check(held_ns.tar_of(s.imgs, at) == held_ns.tar_of(there, at), "%s: %s" % (at, held_ns.tar_of(s.imgs, at)))
    s.restore("--root", held_ns.BOUND, "--pidfile", s.path("pid"))
    s.pid = int(text(s.path("pid")))
    said = held_ns.ask(s.pid)
    check(said == "fine", "the program says %r" % said)
    s.kill()


def raw(folder, kind):
    name = next(n for n in os.listdir(folder) if re.fullmatch(kind + r"-\d+\.img", n))
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def answers(body):
    """Of netlink, without the numbers of the request and the times at which an address was made and changed."""
    out, i = [body[:4]], 4
    while i < len(body):
        n = int.from_bytes(body[i:i + 4], "little")
        check(n >= 16, "no netlink answer: %s" % body[i:])
        message = body[i:i + 8] + body[i + 16:i + n]
        out.append(re.sub(b"(\x14\\0\x06\\0\xff{8}).{8}", rb"\1", message, flags=re.S))
        i += n
    return out


@scenario
def stopped_twice(s):
    """A second SIGSTOP waits for the child, and will do nothing: CRIU would stop it twice."""
    p = held.start("stopped")
    s.pid, s.proc = p.pid, p
    os.kill(children(p.pid)[0], signal.SIGSTOP)
    s.dump()
    for name, entries in held.show(s.imgs).items():
        if name.startswith("core-"):
            check(not entries[0]["tc"]["signals_s"], "%s: %s" % (name, entries[0]["tc"]["signals_s"]))
    s.restore()
    said = held.ask(s.pid, "stopped")
    check(said == "fine", "the program says %r" % said)
    s.kill()


@scenario
def lock_numbers(s):
    p = held.start("sched")
    s.pid, s.proc = p.pid, p
    for word, number in ((None, 1), ("iptables", 0), ("nftables", 1), ("skip", 2)):
        s.clean_images()
        s.dump("-R", *(["--network-lock", word] if word else []))
        got = held.show(s.imgs)["inventory.img"][0]["network_lock_method"]
        check(got == number, "%s is %d in the inventory" % (word, got))
    s.kill()


def one(mode):
    def run(s):
        (ours_ns if mode in held_ns.USER else ours)(s, mode)
    run.__name__ = mode
    scenario(run)


held.build()
for m in [*held.OPTIONS, "ns", "ns-user"]:
    one(m)
run_all()
held.done()
