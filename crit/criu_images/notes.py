# SPDX-License-Identifier: GPL-2.0-only
"""Notes of a core file as Linux writes them on x86: registers, process, auxiliary vector, files. wide: a 64-bit process."""
import struct

from .message import unb64

NT_PRSTATUS, NT_FPREGSET, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_X86_XSTATE, NT_FILE, NT_SIGINFO, NT_PRXFPREG = 0x202, 0x46494C45, 0x53494749, 0x46E62B7F
WIDE = "r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss fs_base gs_base ds es fs gs".split()
NARROW = "bx cx dx si di bp ax ds es fs gs orig_ax ip cs flags sp ss".split()
# Components of the extended state: bit, offset where Intel's processors have it, length, field of the image, size of a number in it.
COMPONENTS = ((2, 576, 256, "ymmh_space", 4), (3, 960, 64, "bndreg_state", 8), (4, 1024, 64, "bndcsr_state", 8),
              (5, 1088, 64, "opmask_reg", 8), (6, 1152, 512, "zmm_upper", 8), (7, 1664, 1024, "hi16_zmm", 8), (9, 2688, 8, "pkru", 4))


def note(kind, data, owner=b"CORE\0"):
    return struct.pack("<III", len(owner), len(data), kind) + owner + bytes(-len(owner) % 4) + data + bytes(-len(data) % 4)


def is_wide(core):
    return core["thread_info"]["gpregs"].get("mode", "NATIVE") != "COMPAT"


def words(values, size, count):
    """An array of numbers, as long as count bytes."""
    mask = (1 << 8 * size) - 1
    return b"".join((v & mask).to_bytes(size, "little") for v in values)[:count].ljust(count, b"\0")


def prstatus(tid, task, core, wide):
    regs, blocked = core["thread_info"]["gpregs"], core["thread_core"].get("blk_sigset", 0)
    longs, names = ("Q", WIDE) if wide else ("I", NARROW)
    mask = 0xFFFFFFFFFFFFFFFF if wide else 0xFFFFFFFF
    head = struct.pack(f"<3ihh2{longs}4i", 0, 0, 0, 0, 0, 0, blocked & mask, tid, task["ppid"], task["pgid"], task["sid"])
    times = bytes(64 if wide else 32)
    tail = struct.pack("<ii" if wide else "<i", *([1, 0] if wide else [1]))
    return note(NT_PRSTATUS, head + times + struct.pack(f"<{len(names)}{longs}", *(regs[n] & mask for n in names)) + tail)


def prpsinfo(task, core, args, wide):
    tc = core["tc"]
    creds = core["thread_core"].get("creds", {})
    state = {1: (1, b"S"), 3: (3, b"T")}.get(tc["task_state"], (4, b"Z"))
    nice = core["thread_core"].get("sched_nice", 0)
    form = "<Bcbb4xQIIiiii16s80s" if wide else "<BcbbIHHiiii16s80s"
    mask = 0xFFFFFFFF if wide else 0xFFFF
    comm = tc["comm"].encode("utf-8", "surrogateescape")[:15]
    return note(NT_PRPSINFO, struct.pack(form, state[0], state[1], 0, nice, tc["flags"], creds.get("uid", 0) & mask, creds.get("gid", 0) & mask,
                                         task["pid"], task["ppid"], task["pgid"], task["sid"], comm, args[:79]))


def fxsave(regs):
    return struct.pack("<4H2Q2I", regs["cwd"] & 0xFFFF, regs["swd"] & 0xFFFF, regs["twd"] & 0xFFFF, regs["fop"] & 0xFFFF, regs["rip"],
                       regs["rdp"], regs["mxcsr"], regs["mxcsr_mask"]) + \
        words(regs.get("st_space", []), 4, 128) + words(regs.get("xmm_space", []), 4, 256) + bytes(96)


def xstate(regs):
    """The extended state in the layout of XSAVE. Which components there are stands in the bytes that the kernel uses for that."""
    state = regs.get("xsave")
    if not state:
        return b""
    there = [c for c in COMPONENTS if state.get(c[3])]
    mask = 3 | sum(1 << c[0] for c in there)
    size = max([576] + [offset + length for _, offset, length, _, _ in there])
    out = bytearray(size)
    out[:512] = fxsave(regs)
    struct.pack_into("<Q", out, 464, mask)
    struct.pack_into("<Q", out, 512, state["xstate_bv"] & mask)
    for _, offset, length, name, unit in there:
        out[offset:offset + length] = words(state[name], unit, length)
    return note(NT_X86_XSTATE, bytes(out), b"LINUX\0")


def float_registers(core, wide):
    regs = core["thread_info"]["fpregs"]
    if wide:
        return note(NT_FPREGSET, fxsave(regs)) + xstate(regs)
    return note(NT_PRXFPREG, fxsave(regs), b"LINUX\0") + xstate(regs)


def auxv(values, wide):
    """The image has words of 64 bits, as /proc/PID/auxv was read; of a 32-bit process each is a pair."""
    pairs = list(values) + [0] * (len(values) % 2) + [0, 0]
    return note(NT_AUXV, words(pairs, 8, 8 * (len(pairs) if wide else len(pairs) - 1)))


def files(mapped, page, wide):
    """mapped: (start, end, offset, name) of each mapping of a file."""
    long = "Q" if wide else "I"
    out = struct.pack(f"<2{long}", len(mapped), page)
    out += b"".join(struct.pack(f"<3{long}", start, end, offset // page) for start, end, offset, _ in mapped)
    return note(NT_FILE, out + b"".join(name.encode("utf-8", "surrogateescape") + b"\0" for *_, name in mapped))


def siginfo(core):
    """The first signal that waits for the thread or the process, if any does: nothing else is known of signals."""
    queued = core["thread_core"].get("signals_p", {}).get("signals", []) + core["tc"].get("signals_s", {}).get("signals", [])
    return note(NT_SIGINFO, unb64(queued[0]["siginfo"])[:128].ljust(128, b"\0")) if queued else b""
