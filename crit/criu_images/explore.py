# SPDX-License-Identifier: GPL-2.0-only
"""crit x: what a checkpoint holds, for a reader: its processes, their descriptors, their mappings and pages."""
from .folder import PAGE, Folder, pages

REGULAR, STACK, VSYSCALL, VDSO = 1 << 0, 1 << 1, 1 << 2, 1 << 3
FILE_PRIVATE, FILE_SHARED, ANON_SHARED, SYSVIPC, SOCKET = 1 << 6, 1 << 7, 1 << 8, 1 << 10, 1 << 11
GROWSDOWN = 0x100


def tasks_in_order(tasks):
    """(depth, entry of pstree) from the root down, children behind their parents."""
    children = {}
    for task in tasks:
        children.setdefault(task["ppid"], []).append(task)
    pids = {task["pid"] for task in tasks}
    stack = [(0, task) for task in reversed(tasks) if task["ppid"] not in pids]
    while stack:
        depth, task = stack.pop()
        yield depth, task
        stack += [(depth + 1, child) for child in reversed(children.get(task["pid"], []))]


def show_ps(folder):
    print("%7s%7s%7s   %s" % ("PID", "PGID", "SID", "COMM"))
    for depth, task in tasks_in_order(folder.load("pstree.img")):
        core = folder.core(task["pid"])
        print("%7d%7d%7d   %s%s" % (task["pid"], task["pgid"], task["sid"], " " * 4 * depth, core["tc"]["comm"]))


def file_name(folder, ident):
    kind, message = folder.files.get(ident, ("?", {}))
    if kind in ("REG", "EXT") and "name" in message:
        return message["name"]
    if kind == "PIPE":
        return "pipe[%d]" % message["pipe_id"]
    if kind == "UNIXSK":
        name = message.get("name", "")
        return "unix[%d (%d)%s]" % (message["ino"], message["peer"], " " + name if name else "")
    return "%s.%d" % (kind, ident)


def show_fds(folder):
    for task in folder.load("pstree.img"):
        pid = task["pid"]
        print(pid)
        for fd in folder.descriptors(pid) or []:
            print("\t%7d: %s" % (fd["fd"], file_name(folder, fd["id"])))
        for fs in folder.optional(f"fs-{pid}.img"):
            print("\t%7s: %s" % ("cwd", file_name(folder, fs["cwd_id"])))
            print("\t%7s: %s" % ("root", file_name(folder, fs["root_id"])))


def vma_name(folder, vma, objects):
    """objects: numbers for what mappings share, in the order in which they are met."""
    status = vma["status"]
    if status & (FILE_PRIVATE | FILE_SHARED):
        name = file_name(folder, vma["shmid"])
        return name + (" + 0x%x" % vma["pgoff"] if vma["pgoff"] else "")
    for bit, name in ((STACK, "[stack]"), (VSYSCALL, "[vsyscall]"), (VDSO, "[vdso]")):
        if status & bit:
            return name
    for bit, name in ((ANON_SHARED, "shmem"), (SYSVIPC, "ips"), (SOCKET, "packet")):
        if status & bit:
            numbers = objects.setdefault(name, {})
            return "%s[%d]" % (name, numbers.setdefault(vma["shmid"], len(numbers) + 1))
    return "[stack?]" if vma["flags"] & GROWSDOWN else ""


def show_mems(folder):
    objects = {}
    for task in folder.load("pstree.img"):
        mm = folder.mm(task["pid"])
        print(task["pid"])
        if not mm:
            continue
        print("\t%-36s    %s" % ("exe", file_name(folder, mm["exe_file_id"])))
        for vma in mm["vmas"]:
            prot = "".join(c if vma["prot"] & 1 << n else "-" for n, c in enumerate("rwx"))
            line = "\t%-36s%s %s" % ("%08x-%08x" % (vma["start"], vma["end"]), prot, vma_name(folder, vma, objects))
            print(line.rstrip() + ("" if vma["status"] & REGULAR else " *"))


def show_rss(folder):
    """Each range of pages, with the mappings that it lies in; "~" is the mapping of the line before."""
    for task in folder.load("pstree.img"):
        mm = folder.mm(task["pid"])
        print(task["pid"])
        vmas, at, shown = sorted(mm["vmas"], key=lambda v: v["start"]) if mm else [], 0, None
        for entry in folder.pagemap(task["pid"]):
            start, end = entry["vaddr"], entry["vaddr"] + pages(entry) * PAGE
            words = "%x / %d" % (start, pages(entry))
            while at < len(vmas) and vmas[at]["end"] <= start:
                at += 1
            inside = at
            while inside < len(vmas) and vmas[inside]["start"] < end:
                vma = vmas[inside]
                print("\t%-23s %s" % (words, "~" if vma is shown else vma_size(folder, vma)))
                words, shown, inside = "", vma, inside + 1
            print("\t%-23s" % words)


def vma_size(folder, vma):
    name = file_name(folder, vma["shmid"]) if vma["status"] & (FILE_PRIVATE | FILE_SHARED) else ""
    return "%08x / %-8d%s" % (vma["start"], (vma["end"] - vma["start"]) // PAGE, " " + name if name else "")


EXPLORERS = {"ps": show_ps, "fds": show_fds, "mems": show_mems, "rss": show_rss}


def run(args):
    EXPLORERS[args.what](Folder(args.dir))
