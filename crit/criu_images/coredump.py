# SPDX-License-Identifier: GPL-2.0-only
"""A core file of each task of a checkpoint, as the kernel would have written it."""
import argparse
import os
import struct
import sys

from . import ImageError, notes
from .folder import PAGE, Folder
from .memory import Memory

PT_LOAD, PT_NOTE, ET_CORE, EM_386, EM_X86_64, PN_XNUM = 1, 4, 4, 3, 62, 0xFFFF
CHUNK = 1 << 20


def segments_of(memory, vma):
    """What a mapping is in the core file: (start, end, whether its bytes are in there).

    All of what images hold a part of; of other files what identifies them. Where a file cannot be read, the pages that are not stored
    are left to the debugger, which may have the file: zeros would be wrong.
    """
    start, end, fd = vma["start"], vma["end"], memory.contents(vma)
    if not memory.is_stored(vma):
        known = PAGE if fd is not None and not vma["pgoff"] and os.pread(fd, 4, 0) == b"\x7fELF" else 0
        return [part for part in ((start, start + known, True), (start + known, end, False)) if part[0] < part[1]]
    if fd is not None or not memory.is_file(vma):
        return [(start, end, True)]
    out = []
    for low, high, _ in memory.parts(vma, start, end):
        if low > start:
            out.append((start, low, False))
        out.append((low, high, True))
        start = high
    return out + ([(start, end, False)] if start < end else [])


def program_header(wide, kind, flags, offset, address, filled, size, align):
    if wide:
        return struct.pack("<IIQQQQQQ", kind, flags, offset, address, 0, filled, size, align)
    return struct.pack("<IIIIIIII", kind, offset, address, 0, filled, size, flags, align)


def elf_header(wide, count):
    """With more headers than a 16-bit number can say, a section header has their number."""
    short, section = min(count, PN_XNUM), b""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    at = 64 if wide else 52
    sizes = (64, 56, short, 64) if wide else (52, 32, short, 40)
    many = count >= PN_XNUM
    out = ident + struct.pack("<HHI" + ("QQQ" if wide else "III") + "I6H", ET_CORE, EM_X86_64 if wide else EM_386, 1, 0, at + (sizes[3] if many else 0),
                              at if many else 0, 0, *sizes, 1 if many else 0, 0)
    if many:
        section = struct.pack("<II4QIIQQ" if wide else "<10I", 0, 0, 0, 0, 0, 0, 0, count, 0, 0)
    return out + section


def write_segment(out, memory, vma, begin, end, offset):
    """The bytes of a part of a mapping at an offset of the file; what is not known is left out, and so zeros."""
    for start in range(begin, end, CHUNK):
        for low, high, read in memory.parts(vma, start, min(start + CHUNK, end)):
            data = read(low, high)
            if data.strip(b"\0") or low != start:
                out.seek(offset + low - begin)
                out.write(data)


def all_notes(folder, task, memory):
    pid, mm = task["pid"], memory.mm
    leader = folder.core(pid)
    wide = notes.is_wide(leader)
    args = memory.read(mm["mm_arg_start"], min(max(mm["mm_arg_end"] - mm["mm_arg_start"], 0), 80)).rstrip(b"\0").replace(b"\0", b" ")
    mapped = [(v["start"], v["end"], v["pgoff"], message["name"]) for v in memory.vmas
              for kind, message in [memory.file_of(v)] if kind in ("REG", "EXT") and "name" in message]
    out = b""
    for tid in [pid] + [t for t in task.get("threads", []) if t != pid]:
        core = folder.core(tid)
        out += notes.prstatus(tid, task, core, wide)
        if tid == pid:
            out += notes.prpsinfo(task, core, args, wide) + notes.siginfo(core)
            out += notes.auxv(mm["mm_saved_auxv"], wide) + notes.files(mapped, PAGE, wide)
        out += notes.float_registers(core, wide)
    return wide, out


def write_core(folder, task, path):
    memory = Memory(folder, task["pid"])
    wide, said = all_notes(folder, task, memory)
    segments = [(vma, *part) for vma in memory.vmas for part in segments_of(memory, vma)]
    head = elf_header(wide, 1 + len(segments))
    at = len(head) + (1 + len(segments)) * (56 if wide else 32)
    headers = [program_header(wide, PT_NOTE, 0, at, 0, len(said), 0, 4)]
    at += len(said) + -(at + len(said)) % PAGE
    places = []
    for vma, start, end, filled in segments:
        prot, size = vma["prot"], end - start
        flags = (prot & 1) << 2 | prot & 2 | (prot & 4) >> 2
        headers.append(program_header(wide, PT_LOAD, flags, at, start, size if filled else 0, size, PAGE))
        places.append(at)
        at += size if filled else 0
    with open(path, "wb") as out:
        out.write(head + b"".join(headers) + said)
        for (vma, start, end, filled), offset in zip(segments, places):
            if filled:
                write_segment(out, memory, vma, start, end, offset)
        out.truncate(at)
    for name in sorted(memory.missing):
        print(f"criu-coredump: pid {task['pid']}: {name} is not there, or is another file than it was: only its pages that the images hold are in the "
              "core file", file=sys.stderr)


def tasks_of(folder, wanted):
    tasks = folder.load("pstree.img")
    if wanted is None:
        return [t for t in tasks if folder.memory_owner(t["pid"]) is not None]
    chosen = [t for t in tasks if t["pid"] == wanted]
    if not chosen:
        raise ImageError(f"{folder.path}: there is no process {wanted} in it")
    if folder.memory_owner(wanted) is None:
        raise ImageError(f"{folder.path}: process {wanted} has ended (a zombie) and has no memory")
    return chosen


def make_cores(args):
    folder = Folder(args.images)
    for task in tasks_of(folder, args.pid):
        path = os.path.join(args.out, f"core.{task['pid']}")
        fresh = path + ".new"
        try:
            write_core(folder, task, fresh)
            os.rename(fresh, path)
        except BaseException:
            if os.path.exists(fresh):
                os.unlink(fresh)
            raise


def main():
    top = argparse.ArgumentParser(prog="criu-coredump", description="Makes a core file of each process of a checkpoint: core.PID.")
    top.add_argument("-i", "--in", dest="images", metavar="DIR", default=".", help="the directory of images (default: the current one)")
    top.add_argument("-p", "--pid", type=int, help="only the process with this pid (default: all)")
    top.add_argument("-o", "--out", metavar="DIR", default=".", help="where the core files go (default: the current directory)")
    args = top.parse_args()
    try:
        make_cores(args)
        return 0
    except OSError as e:
        said = f"{e.filename or args.images}: {e.strerror}"
    except (KeyError, struct.error) as e:
        said = f"{args.images}: an image lacks what a core file needs: {e}"
    except (ImageError, MemoryError) as e:
        said = str(e) or "larger than the memory"
    except KeyboardInterrupt:
        return 130
    print(f"criu-coredump: {said}", file=sys.stderr)
    return 1
