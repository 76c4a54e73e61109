#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# --cpu-cap and criu cpuinfo: when cpuinfo.img is written, and which other processor a restore takes. The other processor is
# this one's image, edited. What CRIU does was seen with 3.17.1 of Debian: it writes the image if anything of it is asked for,
# wants it there if the option is given, and compares all capabilities for `cpu`. Where criu of CRIU is here and works, the two
# read each other's.
# zdtm: driver
# zdtm: timeout 300
import copy
import os
import shutil
import struct
import subprocess

from driver import check, children, passed_over, run_all, scenario
from tcp_peers import varint

STRESS = os.environ.get("STRESS") == "1"

MAGIC = struct.pack("<II", 0x54564319, 0x61404013)
VENDOR, FAMILY, VERSION, WORDS, MODEL, FEATURES, SIZE, SIZE_MAX, LEAF_7_1 = 1, 2, 5, 6, 7, 8, 9, 10, 1000


def number(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def decode(raw):
    """The fields of the one processor: {number: [values]}."""
    check(raw[:8] == MAGIC, "cpuinfo.img begins with %r" % raw[:8])
    length = struct.unpack("<I", raw[8:12])[0]
    check(length == len(raw) - 12 and raw[12] == 10, "cpuinfo.img is one message with one processor")
    n, i = varint(raw, 13)
    check(i + n == len(raw), "the processor's length")
    out = {}
    while i < len(raw):
        tag, i = varint(raw, i)
        v, i = varint(raw, i)
        if tag & 7 == 2:
            v, i = raw[i:i + v], i + v
        out.setdefault(tag >> 3, []).append(v)
    return out


def processor(fields):
    body = b""
    for n, values in fields.items():
        for v in values:
            body += number(n << 3 | 2) + number(len(v)) + v if isinstance(v, bytes) else number(n << 3) + number(v)
    return b"\n" + number(len(body)) + body


def encode(*processors):
    body = b"".join(map(processor, processors))
    return MAGIC + struct.pack("<I", len(body)) + body


def read(s):
    with open(os.path.join(s.imgs, "cpuinfo.img"), "rb") as f:
        return f.read()


def write(s, raw):
    with open(os.path.join(s.imgs, "cpuinfo.img"), "wb") as f:
        f.write(raw)


def changed(fields, field, value):
    out = copy.deepcopy(fields)
    out[field] = [value]
    return out


def with_bit(fields, word, bit, on=True):
    out = copy.deepcopy(fields)
    out[WORDS][word] = out[WORDS][word] | 1 << bit if on else out[WORDS][word] & ~(1 << bit)
    return out


# name, word, bit: no processor has all of these
LACKING = (("hle", 9, 4), ("mpx", 9, 14), ("avx512pf", 9, 26), ("avx512er", 9, 27), ("avx512_4fmaps", 18, 3), ("xop", 6, 11),
           ("fma4", 6, 16), ("3dnow", 1, 31), ("ace_en", 5, 7), ("amx_tile", 18, 24))


def lacking(fields):
    """A feature that this processor does not have."""
    for name, word, bit in LACKING:
        if not fields[WORDS][word] >> bit & 1:
            return name, word, bit
    raise AssertionError("this processor has everything")


@scenario
def written(s):
    """Only if the option is given, and asks for something."""
    s.victim()
    for opts, there in (((), False), (("--cpu-cap",), True), (("--cpu-cap=fpu",), True), (("--cpu-cap=none,ins",), True),
                        (("--cpu-cap=none",), False), (("--cpu-cap=^all",), False), (("--cpu-cap=^fpu,^ins",), False),
                        (("--cpu-cap=^none",), True)):
        s.dump("-R", *opts)
        check(("cpuinfo.img" in s.images()) == there, "%s: images %s" % (opts, s.images()))
        s.clean_images()
    s.dump("--cpu-cap")
    raw = read(s)
    fields = decode(raw)
    check(len(fields[WORDS]) == 19 and fields[VERSION] == [2], "fields %r" % fields)
    check(encode(fields) == raw, "the test's own encoder")
    shown = open("/proc/cpuinfo").read().split("flags", 1)[1].splitlines()[0].split()
    for name, word, bit in (("sse2", 0, 26), ("ssse3", 4, 9), ("avx", 4, 28), ("avx2", 9, 5), ("bmi2", 9, 8), ("adx", 9, 19),
                            ("lm", 1, 29), ("syscall", 1, 11), ("rep_good", 3, 16), ("lahf_lm", 6, 0), ("xsavec", 10, 1),
                            ("umip", 11, 2), ("clzero", 13, 0), ("fsrm", 18, 4), ("arat", 14, 2)):
        check(not (name in shown) or fields[WORDS][word] >> bit & 1, "%s is in /proc/cpuinfo, not in the image" % name)
    s.restore("--cpu-cap")
    s.verify()


def restores(s, raw, what, opts):
    """The image, or None for none; then whether the restore goes well, and what it says."""
    if raw is None:
        os.unlink(os.path.join(s.imgs, "cpuinfo.img"))
    else:
        write(s, raw)
    rc = s.restore(*opts, ok=False)
    said = s.errors("restore.log") if rc else ""
    if rc == 0:
        s.kill()
    check(not children(os.getpid()), "%s: tasks are left" % what)
    return rc == 0, said


@scenario
def other_processors(s):
    s.victim()
    s.dump("--cpu-cap")
    raw = read(s)
    os.unlink(os.path.join(s.imgs, "checkpoint.sums"))
    here = decode(raw)
    name, word, bit = lacking(here)
    more = encode(with_bit(here, word, bit))                    # asks for what this one lacks
    less = encode(with_bit(here, 9, 8, False)) if here[WORDS][9] >> 8 & 1 else encode(with_bit(here, 4, 0, False))
    quiet = encode(with_bit(here, 4, 5))                        # vmx: no instruction of a program's
    state = encode(changed(here, FEATURES, here[FEATURES][0] | 1 << 3))
    larger, smaller = (encode(changed(here, SIZE, here[SIZE][0] + d)) for d in (64, -64))
    limit = encode(changed(here, SIZE_MAX, here[SIZE_MAX][0] + 64))
    leaf = encode(changed(here, LEAF_7_1, here.get(LEAF_7_1, [0])[0] | 1 << 3))
    plain = {k: v for k, v in here.items() if k not in (FEATURES, SIZE, SIZE_MAX, LEAF_7_1)}
    old = dict(plain)
    old[VERSION], old[WORDS] = [1], here[WORDS][:12]
    cases = (
        # image, its words, which of fpu, ins, cpu refuse it and what they say
        (raw, "the same", {}),
        (more, "one more", {"ins": name, "cpu": name}),
        (less, "one less", {"cpu": "it has besides"}),
        (quiet, "another quiet bit", {"cpu": "vmx"}),
        (state, "more register state", {"fpu": "MPX bounds"}),
        (larger, "a larger area", {"fpu": "was %d" % (here[SIZE][0] + 64)}),
        (smaller, "a smaller area", {"fpu": "was %d" % (here[SIZE][0] - 64)}),
        (limit, "a larger limit", {"fpu": "largest size"}),
        (leaf, "a bit of leaf 7.1", {"ins": "rao_int", "cpu": "rao_int"}),
        (encode(changed(here, VENDOR, 1)), "another vendor", {}),
        (encode(plain), "without sizes", {}),
        (encode(old), "version 1", {}),
    )
    modes = ((("fpu", "ins"), ()), (("fpu", "ins", "cpu"), ("--cpu-cap",)), ((), ("--cpu-cap=none",)),
             (("fpu",), ("--cpu-cap=^ins",)), (("ins",), ("--cpu-cap=none,ins",)), (("cpu",), ("--cpu-cap=none,cpu",)))
    for n, (image, what, refusals) in enumerate(cases):
        for caps, opts in modes if STRESS else (modes[0], modes[1 + n % 5]):
            wanted = [refusals[c] for c in caps if c in refusals]
            fine, said = restores(s, image, what, opts)
            check(fine == (not wanted), "%s, %s: %s" % (what, opts, said or "restored"))
            for w in wanted:
                check(w in said and "cpuinfo.img" in said, "%s, %s: %r is not in: %s" % (what, opts, w, said))


@scenario
def damaged(s):
    s.victim()
    s.dump("--cpu-cap")
    raw = read(s)
    here = decode(raw)
    # The integrity file says it first.
    fine, said = restores(s, encode(changed(here, MODEL, b"another")), "edited", ())
    check(not fine and "cpuinfo.img" in said and "--allow-edited-images" in said, "edited: %s" % said)
    fine, said = restores(s, encode(changed(here, MODEL, b"another")), "edited", ("--allow-edited-images",))
    check(fine, "edited, allowed: %s" % said)
    os.unlink(os.path.join(s.imgs, "checkpoint.sums"))
    few = dict(here)
    few[WORDS] = here[WORDS][:12]
    many = dict(here)
    many[WORDS] = here[WORDS] + [0]
    for what, image in (("cut", raw[:-1]), ("empty", b""), ("magic alone", raw[:8]), ("cut in the middle", raw[:40]),
                        ("no processor", encode()), ("two", encode(here, here)), ("too few words", encode(few)),
                        ("too many words", encode(many)), ("a later version", encode(changed(here, VERSION, 3))),
                        ("no vendor", encode({k: v for k, v in here.items() if k != VENDOR})),
                        ("of PowerPC", MAGIC + struct.pack("<I", 4) + b"\x12\x02\x08\x01")):
        for opts in ((), ("--cpu-cap",)) if STRESS else ((),):
            fine, said = restores(s, image, what, opts)
            check(not fine and "cpuinfo.img" in said, "%s %s: %s" % (what, opts, said or "restored"))
            rc = s.tool("cpuinfo", "check", "-D", s.imgs, *opts)
            check(rc == 1 and "cpuinfo.img" in s.out, "cpuinfo check, %s: %d %s" % (what, rc, s.out))
        if STRESS or what == "cut":
            fine, said = restores(s, image, what, ("--cpu-cap=none",))
            check(fine, "%s, none: %s" % (what, said))
    fine, said = restores(s, None, "missing", ("--cpu-cap=fpu",))
    check(not fine and "cpuinfo.img is missing" in said, "missing: %s" % said)
    s.restore()
    s.verify()


@scenario
def commands(s):
    check(s.tool("cpuinfo", "check", "-D", s.imgs) == 1 and "cpuinfo.img is missing" in s.out, s.out)
    check(s.tool("cpuinfo", "dump", "-D", s.imgs) == 0 and not s.out, s.out)
    check(s.tool("cpuinfo", "check", "-D", s.imgs, "--cpu-cap") == 0 and not s.out, s.out)
    here = decode(read(s))
    name, word, bit = lacking(here)
    write(s, encode(with_bit(here, word, bit)))
    check(s.tool("cpuinfo", "check", "-D", s.imgs) == 1 and name in s.out, s.out)
    check(s.tool("cpuinfo", "check", "-D", s.imgs, "--cpu-cap=^ins") == 0, s.out)
    # To ask for nothing is to ask for all, as in CRIU.
    check(s.tool("cpuinfo", "check", "-D", s.imgs, "--cpu-cap=none") == 1 and name in s.out, s.out)
    check(s.tool("cpuinfo", "dump", "-D", s.imgs) == 0, s.out)
    check(s.tool("cpuinfo", "check", "-D", s.imgs) == 0, s.out)
    check(s.tool("cpuinfo", "dump", "-D", s.imgs + "/no") == 1 and "No such file" in s.out, s.out)
    s.victim()
    s.clean_images()
    s.dump("-R")
    check(s.tool("cpuinfo", "dump", "-D", s.imgs) == 1 and "holds a checkpoint" in s.out, s.out)
    s.kill()


@scenario
def with_crius(s):
    """CRIU finds ours the same as its own, and we its."""
    theirs = shutil.which("criu")
    if not theirs or subprocess.run([theirs, "cpuinfo", "dump", "-D", s.imgs], capture_output=True).returncode:
        passed_over("CRIU's cpuinfo", "no criu of CRIU that works under this kernel")
        return
    own = decode(read(s))
    check(s.tool("cpuinfo", "check", "-D", s.imgs, "--cpu-cap") == 0, s.out)
    check(s.tool("cpuinfo", "dump", "-D", s.imgs) == 0, s.out)
    ours = {k: v for k, v in decode(read(s)).items() if k < 1000}
    check(ours == own, "ours %r, CRIU's %r" % (ours, own))
    p = subprocess.run([theirs, "cpuinfo", "check", "--cpu-cap", "-D", s.imgs], capture_output=True, text=True)
    check(p.returncode == 0, "CRIU refuses ours: %s" % p.stderr)


run_all()
