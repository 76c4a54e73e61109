#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# The other way: the same ten programs dumped by us, and each field compared with what CRIU 4.2 wrote of them. What may
# differ is named here, with the reason.
# zdtm: driver
# zdtm: needs-root
# zdtm: needs cc
# zdtm: timeout 240
import os
import re

import held
from driver import check, run_all, scenario

# (images and fields, reason): a field that matches may differ, be missing, or be there in one of both alone.
ALLOWED = []


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
        pids = [t["pid"] for e in self.images["pstree.img"] for t in [e]]
        self.pids = {p: "task %d" % i for i, p in enumerate(pids)}
        self.name_files(pids)
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
            elif kind in ("core", "mm", "fs", "ids", "pagemap"):
                self.add("%s of %s" % (kind, self.pids[int(number)]), entries if kind == "pagemap" else entries[0])
            else:
                for i, e in enumerate(entries):
                    self.add("%s %d" % (kind, i), e)

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
            if last in ("exe_file_id", "regf_id", "cwd_id", "root_id", "orig_id", "remap_id", "id_for", "id") and v in self.names \
                    and not k.startswith("tty-info"):
                v = self.names[v]
            elif last in ("pid", "ppid", "pgid", "sid", "pgrp") or "threads[" in last:
                v = self.pids.get(v, v)
            self.fields[k] = v


def differences(ours, theirs):
    for k in sorted(set(ours) | set(theirs)):
        a, b = ours.get(k, "absent"), theirs.get(k, "absent")
        if a != b and not any(re.match(p + "$", k) for p, _ in ALLOWED):
            yield "%s: %s, CRIU has %s" % (k, a, b)


def ours(s, mode):
    p = held.start(mode)
    s.pid, s.proc = p.pid, p
    s.dump(*held.OPTIONS[mode][0])
    a, b = Checkpoint(s.imgs), Checkpoint(os.path.join(held.DATA, mode))
    d = list(differences(a.fields, b.fields))
    for line in d:
        print(mode, line)
    check(not d, "%d fields: %s" % (len(d), "; ".join(d[:8])))
    s.restore(*held.OPTIONS[mode][1])
    said = held.ask(s.pid, mode)
    check(said == "fine", "the program says %r" % said)
    s.kill()


def one(mode):
    def run(s):
        ours(s, mode)
    run.__name__ = mode
    scenario(run)


held.build()
for m in held.OPTIONS:
    one(m)
run_all()
held.done()
