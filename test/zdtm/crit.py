#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
# crit: every type of image goes to JSON and back to the same bytes, CRIU's checkpoints and ours; the command line; damaged
# images and JSON are an error line and the status 1.
# zdtm: driver
# zdtm: timeout 300
import glob
import json
import os
import random
import shutil
import time

from crit_tool import CRIT, crit, image, made, not_the_same, shown
from criu_images import ImageError
from criu_images.folder import PAGE, Folder, pages
from criu_images.memory import Memory
from criu_images.schema import schema
from driver import check, children, run_all, scenario

DATA = os.path.join(os.environ["ZDTM"], "data/criu")
PROGRAMS = ("threads", "cow_children", "pipes", "memfd", "unix_pairs", "fifo", "zombies", "sysv_msg", "sysv_sem")


def same(folder):
    names = [p for p in sorted(glob.glob(os.path.join(folder, "*.img")) + glob.glob(os.path.join(folder, "stats-*"))) if "/pages-" not in p]
    check(names, "no images in %s" % folder)
    for path in names:
        check(not not_the_same(path), "%s: other bytes come back from %s" % (path, not_the_same(path)))
    return len(names)


@scenario
def images_of_criu(s):
    folders = sorted({os.path.dirname(p) for p in glob.glob(DATA + "/*/*.img")})
    check(len(folders) >= 10 and sum(map(same, folders)) > 100, folders)


@scenario
def images_of_ours(s):
    for program in PROGRAMS:
        s.victim(program)
        pid, kids = s.pid, children(s.pid)
        s.dump("-R", "--file-locks")
        same(s.imgs)
        if program == "cow_children":
            out = crit("x", s.imgs, "ps").stdout.decode().splitlines()
            check(len(out) == 2 + len(kids) and out[1].split()[0] == str(pid), out)
            check(all(line.index("cow") > out[1].index("cow") for line in out[2:]), out)
        s.kill()
        s.clean_images()


@scenario
def what_checkpointctl_reads(s):
    """Names, arguments and environment (out of the pages), descriptors, directories, sockets and figures, as others read them."""
    s.victim("pipes")
    pid = s.pid
    seen = {n: open("/proc/%d/%s" % (pid, n), "rb").read() for n in ("cmdline", "environ", "comm")}
    cwd, exe = os.readlink("/proc/%d/cwd" % pid), os.readlink("/proc/%d/exe" % pid)
    fds = sorted(map(int, os.listdir("/proc/%d/fd" % pid)))
    s.dump()
    folder = Folder(s.imgs)
    mm, memory = folder.mm(pid), Memory(folder, pid)
    check(folder.core(pid)["tc"]["comm"].encode() + b"\n" == seen["comm"], folder.core(pid)["tc"])
    for name, start, end in (("cmdline", "mm_arg_start", "mm_arg_end"), ("environ", "mm_env_start", "mm_env_end")):
        check(memory.read(mm[start], mm[end] - mm[start]) == seen[name], name)
    check(sorted(f["fd"] for f in folder.descriptors(pid)) == fds, folder.descriptors(pid))
    check(all(f["id"] in folder.files for f in folder.descriptors(pid)), "a descriptor without its file")
    check(folder.files[folder.one("fs-%d.img" % pid)["cwd_id"]][1]["name"] == cwd, "cwd")
    check(folder.files[mm["exe_file_id"]][1]["name"] == exe, "exe")
    check(folder.one("inventory.img")["img_version"] == 2 and folder.one("pstree.img")["pid"] == pid, "inventory")
    size = sum(pages(e) for e in folder.pagemap(pid)) * PAGE
    check(os.path.getsize(os.path.join(s.imgs, "pages-%d.img" % folder.load("pagemap-%d.img" % pid)[0]["pages_id"])) == size, "pages")
    s.restore()
    dump, restore = folder.one("stats-dump")["dump"], Folder(s.imgs).one("stats-restore")["restore"]
    check(all(dump[n] > 0 for n in ("freezing_time", "frozen_time", "memdump_time", "memwrite_time", "pages_scanned", "pages_written")), dump)
    check(dump["frozen_time"] >= dump["memdump_time"] and dump["pages_scanned"] >= dump["pages_written"] >= size // PAGE, dump)
    check(restore["restore_time"] >= restore["forking_time"] > 0 and {"pages_compared", "pages_skipped_cow"} <= restore.keys(), restore)
    s.kill()


def some_value(field, rng, depth):
    kind = field.type
    if kind in schema().messages:
        return some_message(kind, rng, depth + 1)
    if kind == "string":
        return rng.choice(["", "a name", "\udcff\udc80 no UTF-8", "ä"])
    if kind == "bytes":
        return image.b64(rng.randbytes(rng.choice([0, 1, 77]))) if field.meaning[:1] != ("unix_name",) else "=00a=3Db"
    if kind == "bool":
        return rng.random() < 0.5
    if kind in schema().enums:
        return rng.choice(sorted(schema().enums[kind].values()))
    signed, bits = not kind.startswith(("uint", "fixed")), 64 if kind.endswith("64") else 32
    return rng.choice([0, 1, 127, 128, 2**(bits - 1) - 1] + ([-1, -2**(bits - 1)] if signed else [2**bits - 1]))


def some_message(name, rng, depth=0):
    """All required fields, and others as chance has it; numbers of raw bytes are small, as somebody has to write those."""
    out = {}
    for number, field in sorted(schema().messages[name].items()):
        if field.label != "required" and (depth > 4 or rng.random() < 0.3):
            continue
        if field.name in ("bytes", "length", "nsems", "qnum", "msize", "len", "inq_len", "outq_len", "keys_bytes", "values_bytes") or \
                (name, field.name) == ("ipc_shm_entry", "size"):
            out[field.name] = rng.randrange(9)
        elif field.repeated:
            count = 4 if field.meaning[:1] == ("address",) else rng.randrange(1, 4)
            out[field.name] = [some_value(field, rng, depth) for _ in range(count)]
        else:
            out[field.name] = some_value(field, rng, depth)
    return out


def some_extra(kind, entry, rng):
    def raw(n):
        return image.b64(rng.randbytes(n))
    if kind in ("BYTES", "LENGTH"):
        return raw(entry[kind.lower()])
    if kind == "QUEUES":
        return {"inq": raw(entry["inq_len"]), "outq": raw(entry["outq_len"])}
    if kind == "MAP":
        return {"keys": raw(entry["keys_bytes"]), "values": raw(entry["values_bytes"])}
    if kind == "SEMS":
        return [rng.randrange(65536) for _ in range(entry["nsems"])]
    if kind == "SHM":
        return "" if entry.get("in_pagemaps") else raw(entry["size"])
    if kind == "MSGS":
        messages = [some_message("ipc_msg", rng) for _ in range(entry["qnum"])]
        return [part for m in messages for part in (m, raw(m["msize"]))]
    chunks = [some_message("ghost_chunk_entry", rng) for _ in range(3)]
    return [part for c in chunks for part in (c, raw(c["len"]))] if entry.get("chunks") else raw(50)


@scenario
def every_type(s):
    """Of each file in images.def: JSON, an image, and the same JSON and bytes again."""
    rng, seen = random.Random(13), 0
    for row in [r for r in schema().rows if r.header != "RAW"] * 3:
        entries = [some_message("pagemap_head", rng)] if row.extra == "HEAD" else []
        for _ in range(1 if row.extra == "FILE" else 3):
            entry = some_message(row.message, rng)
            if row.extra not in ("NONE", "HEAD"):
                entry["extra"] = some_extra(row.extra, entry, rng)
            entries.append(entry)
        path = s.path("one.img")
        with open(path, "wb") as f:
            f.write(made(json.dumps({"magic": row.id, "entries": entries})))
        check(not not_the_same(path), "%s: %s" % (row.id, not_the_same(path)))
        check(json.loads(shown(path, pretty=False))["entries"] == entries, "%s: %r" % (row.id, entries))
        seen += 1
    check(seen > 150, seen)
    for name, data in (("nftables-3.img", b"table inet x {\n}\n"), ("ifaddr-3.img", bytes(range(256))), ("pages-1.img", bytes(4096))):
        with open(s.path(name), "wb") as f:
            f.write(data)
        check(made(shown(s.path(name))) == data, name)


def damaged(raw, rng):
    kind = rng.randrange(3)
    if kind == 0:
        return raw[:rng.randrange(len(raw))]
    out = bytearray(raw)
    for _ in range(rng.randrange(1, 4)):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out if kind == 1 else out + rng.randbytes(rng.randrange(1, 9)))


@scenario
def damage(s):
    """Whatever is done to an image or to JSON: it is read, or refused in words; nothing else."""
    rng, refused = random.Random(7), 0
    paths = [p for p in sorted(glob.glob(DATA + "/ns/*.img") + glob.glob(DATA + "/tcp/*.img")) if "/pages-" not in p]
    for path in paths * 6:
        with open(path, "rb") as f:
            raw = f.read()
        for data, convert in ((raw, lambda d: image.write_json(d, "no.img", open(os.devnull, "w"), pretty=True)),
                              (shown(path).encode(), lambda d: made(d.decode("utf-8")))):
            try:
                convert(damaged(data, rng) if data else b"")
            except (ImageError, json.JSONDecodeError, UnicodeDecodeError):
                refused += 1
    check(refused > len(paths), refused)


def refusal(words, *args, **kw):
    p = crit(*args, **kw)
    said = p.stderr.decode()
    check(p.returncode == 1 and said.startswith("crit: ") and said.count("\n") == 1 and words in said,
          "crit %s: %d, %r, not %r" % (" ".join(args), p.returncode, said, words))
    return p


@scenario
def command_line(s):
    path, core = DATA + "/dgram/pstree.img", glob.glob(DATA + "/dgram/core-*.img")[0]
    with open(core, "rb") as f:
        raw = f.read()
    p = crit("decode", input=raw)
    check(p.returncode == 0 and p.stdout.startswith(b'{"magic": "CORE", "entries": [{"mtype": "X86_64", '), p)
    check(crit("encode", input=p.stdout).stdout == raw, "encode < decode")
    check(crit("decode", "--pretty", "-i", core, "-o", s.path("core.json")).returncode == 0, "decode -o")
    with open(s.path("core.json")) as f:
        check(f.read() == crit("show", core).stdout.decode(), "decode --pretty and show differ")
    check(crit("encode", "-i", s.path("core.json"), "-o", s.path("core.img")).returncode == 0, "encode -o")
    with open(s.path("core.img"), "rb") as f:
        check(f.read() == raw, "encode -i -o")
    check(json.loads(crit("info", path).stdout) == {"magic": "PSTREE", "count": 1}, "info")
    check(b"YQ" not in crit("show", "--nopl", DATA + "/dgram/sk-queues.img").stdout, "--nopl")
    for what, words in (("ps", "   held"), ("fds", "\n\t      3: unix["), ("mems", "rw- [stack?]"), ("rss", "00401000 / ")):
        check(words in crit("x", DATA + "/dgram", what).stdout.decode(), "x %s" % what)
    check("5.6.7.8" not in crit("decode", "-i", DATA + "/tcp/files.img").stdout.decode(), "addresses in the short form")
    check('"127.0.0.1"' in crit("show", DATA + "/tcp/files.img").stdout.decode(), "addresses in the form for readers")

    check(crit().returncode == 1, "no command")
    check(crit("nothing").returncode == 2, "an unknown command")
    refusal("No such file", "show", s.path("nothing.img"))
    refusal("cut short", "decode", "-o", s.path("half.json"), input=raw[:-5])
    check(not os.path.exists(s.path("half.json")), "half an output is left")
    refusal("an empty file", "decode", input=b"")
    refusal("neither its magic nor its name", "decode", input=b"something else")
    refusal("no JSON", "encode", input=b"{")
    refusal("there is no image 'NOTHING'", "encode", input=b'{"magic": "NOTHING", "entries": []}')
    refusal("entry 0: pidd: there is no such field", "encode", input=b'{"magic": "PSTREE", "entries": [{"pidd": 1}]}')
    refusal("entry 0: pstree_entry: without its field", "encode", input=b'{"magic": "PSTREE", "entries": [{"pid": 1}]}')
    refusal("out of the range of uint32", "encode", input=b'{"magic": "PSTREE", "entries": [{"pid": -1}]}')
    refusal("extra: 1 bytes, but length says 2", "encode",
            input=b'{"magic": "SK_QUEUES", "entries": [{"id_for": 1, "length": 2, "extra": "YQ=="}]}')
    refusal("pstree.img: No such file", "x", s.dir, "ps")
    # Keys in another order, as other programs write them, and a number where a name may stand.
    p = crit("encode", input=b'{"entries": [{"sid": 1, "pgid": 1, "ppid": 0, "pid": "0x10"}], "magic": "PSTREE"}')
    check(p.returncode == 0 and json.loads(crit("decode", input=p.stdout).stdout)["entries"][0]["pid"] == 16, p)
    with open(CRIT) as f:
        check(f.readline() == "#!/usr/bin/python3\n", "the interpreter")


@scenario
def into_itself(s):
    """decode and encode with one name for both: the file is exchanged when all of the new one stands, and stays where nothing comes of it."""
    path = s.path("pstree.img")
    shutil.copy(DATA + "/dgram/pstree.img", path)
    with open(path, "rb") as f:
        image = f.read()
    check(not crit("decode", "-i", path, "-o", path).returncode, "decode")
    with open(path) as f:
        check(json.load(f)["magic"] == "PSTREE", "no JSON")
    check(not crit("encode", "-i", path, "-o", path).returncode, "encode")
    with open(path, "rb") as f:
        check(f.read() == image, "another image")
    with open(path, "wb") as f:
        f.write(image[:-1])
    check(crit("decode", "-i", path, "-o", path).returncode == 1, "an image cut short")
    with open(path, "rb") as f:
        check(f.read() == image[:-1], "the file is gone")
    check(os.listdir(s.dir).count("pstree.img") == 1 and not [n for n in os.listdir(s.dir) if n.endswith(".tmp")], os.listdir(s.dir))


@scenario
def linear(s):
    """Time grows with the size: eight times as much in at most 24 times the time."""
    def seconds(n):
        entries = [{"pages_id": 1}] + [{"vaddr": 0x7f0000000000 + i * 8192, "compat_nr_pages": 1, "flags": 4} for i in range(n)]
        text = json.dumps({"magic": "PAGEMAP", "entries": entries})
        start = time.process_time()
        with open(s.path("many.img"), "wb") as f:
            f.write(made(text))
        check(shown(s.path("many.img"), pretty=False) == text, n)
        return time.process_time() - start
    small, large = min(seconds(2000) for _ in range(3)), seconds(16000)
    check(large < 24 * small, "%.3f s and %.3f s" % (small, large))


run_all()
