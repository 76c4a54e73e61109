# SPDX-License-Identifier: GPL-2.0-only
"""The memory of a task in a checkpoint: which bytes stand where in its address space."""
import bisect
import ctypes
import errno
import functools
import os
import stat

from . import ImageError
from .folder import PAGE, Folder, pages
from .message import unb64

PARENT, PRESENT = 1, 4
FILE_MAPPING, ANON_PRIVATE = 1 << 6 | 1 << 7, 1 << 9
SHARED_OBJECT = 1 << 8 | 1 << 10 | 1 << 11 | 1 << 24  # shared anonymous, System V, a socket's ring, memfd_secret
KERNELS = 1 << 2 | 1 << 12 | 1 << 16  # vsyscall, vvar and guard pages: nobody stores what is in them
PARENTS_MAX = 1000


class Run:
    """Pages that lie together, at an offset of a pages file; or (file is None) in the parent checkpoint, with the parent process, or in
    the file that is mapped there (sums: of each page)."""
    def __init__(self, start, end, file, offset, with_parent=False, sums=None):
        self.start, self.end, self.file, self.offset, self.with_parent, self.sums = start, end, file, offset, with_parent, sums


@functools.cache
def xxh3():
    try:
        function = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    except (OSError, AttributeError) as e:
        raise ImageError(f"pages that are stored with mapped files need libxxhash.so.0 (package libxxhash0): {e}") from e
    function.restype = ctypes.c_uint64
    return function


def page_sum(page):
    """Of a page that is in no pages file."""
    return xxh3()(page, ctypes.c_size_t(len(page))).to_bytes(8, "little")


class PagesFile:
    """A pages file, read by offset."""
    def __init__(self, path):
        self.path, self.fd = path, None

    def read(self, offset, size):
        if self.fd is None:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(self.fd, size, offset)
        if len(data) != size:
            raise ImageError(f"{self.path}: cut short: {size} bytes expected at offset {offset}, {len(data)} are there")
        return data


def unpack_lz4(library, data, size):
    out = ctypes.create_string_buffer(size)
    return out.raw if library.LZ4_decompress_safe(data, out, len(data), size) == size else None


def unpack_zstd(library, data, size):
    out = ctypes.create_string_buffer(size)
    library.ZSTD_decompress.restype = ctypes.c_size_t
    got = library.ZSTD_decompress(out, ctypes.c_size_t(size), data, ctypes.c_size_t(len(data)))
    return out.raw if got == size else None


UNPACK = {"LZ4": ("liblz4.so.1", "liblz4-1", unpack_lz4), "ZSTD": ("libzstd.so.1", "libzstd1", unpack_zstd)}
REGION_PAGES = 256  # at most


class PunchedFile(PagesFile):
    """A pages file of which pages were given back (criu dedup): gone has the offsets where they were, (start, end) each."""
    def __init__(self, file, gone):
        super().__init__(file.path)
        self.file, self.gone = file, gone

    def read(self, offset, size):
        if any(start < offset + size and offset < end for start, end in self.gone):
            raise ImageError(f"{self.path}: pages at offset {offset} were given back (criu dedup, --auto-dedup; punched.img)")
        return self.file.read(offset, size)


def punched(folder, pages_id):
    """What punched.img says of a pages file, where it was written for the checkpoint that is there."""
    inventory, found = folder.optional("inventory.img"), []
    run = inventory[0].get("dump_criu_run_id") if inventory else None
    for entry in folder.optional("punched.img"):
        if entry["pages_id"] == pages_id and (not run or entry.get("run_id", run) == run):
            found += [(first * PAGE, (first + n) * PAGE) for first, n in zip(entry.get("first", []), entry.get("nr_pages", []))]
    return found


class CompressedFile(PagesFile):
    """A pages file in regions that are compressed; offsets are those that it would have without."""
    def __init__(self, path, head):
        super().__init__(path)
        self.starts, self.regions, self.last = [], [], None
        method, counts, sizes = head.get("compression"), head.get("region_pages", []), head.get("region_bytes", [])
        stored = at = 0
        for count, size in zip(counts, sizes):
            if not 0 < count <= REGION_PAGES or not 0 < size <= count * PAGE:
                raise ImageError(f"{path}: a region of {count} pages in {size} bytes")
            self.starts.append(stored)
            self.regions.append((at, size, count * PAGE))
            stored, at = stored + count * PAGE, at + size
        self.size = stored
        if method not in UNPACK or len(counts) != len(sizes):
            raise ImageError(f"{path}: compressed by {method}, in {len(counts)} and {len(sizes)} regions")
        name, package, self.unpack = UNPACK[method]
        try:
            self.library = ctypes.CDLL(name)
        except OSError as e:
            raise ImageError(f"{path}: compressed pages need {name} (package {package}): {e}") from e

    def region(self, number):
        if not self.last or self.last[0] != number:
            at, packed, size = self.regions[number]
            data = super().read(at, packed)
            if packed != size:
                data = self.unpack(self.library, data, size)
            if data is None:
                raise ImageError(f"{self.path}: the {packed} bytes at {at} cannot be decompressed")
            self.last = number, data
        return self.last[1]

    def read(self, offset, size):
        data, end = bytearray(), offset + size
        if end > self.size:
            raise ImageError(f"{self.path}: {self.size} bytes of pages, {end} expected")
        while offset < end:
            number = bisect.bisect_right(self.starts, offset) - 1
            part = self.region(number)[offset - self.starts[number]:end - self.starts[number]]
            data += part
            offset += len(part)
        return bytes(data)


class Pages:
    """What one pagemap image has stored, by address. pid: the task whose memory that is, if it is a task's. mapped: reads of the file that
    is mapped at an address."""
    def __init__(self, folder, name, depth=0, pid=None, mapped=None):
        self.folder, self.name, self.depth, self.pid, self.mapped = folder, name, depth, pid, mapped
        self.runs, self.parent, self.lender = [], None, None
        if folder.has(name):
            self.read_runs(folder.load(name))
        self.starts = [run.start for run in self.runs]

    def read_runs(self, entries):
        if not entries or "pages_id" not in entries[0]:
            raise ImageError(f"{os.path.join(self.folder.path, self.name)}: no pages_id")
        path, offset, last = os.path.join(self.folder.path, f"pages-{entries[0]['pages_id']}.img"), 0, 0
        file = CompressedFile(path, entries[0]) if "region_pages" in entries[0] or "compression" in entries[0] else PagesFile(path)
        gone = punched(self.folder, entries[0]["pages_id"])
        file = PunchedFile(file, gone) if gone else file
        for entry in entries[1:]:
            size = pages(entry) * PAGE
            flags = entry.get("flags", PARENT if entry.get("in_parent") else PRESENT)
            start, end = entry["vaddr"], entry["vaddr"] + size
            if start < last or end > 1 << 64 or start % PAGE:
                raise ImageError(f"{os.path.join(self.folder.path, self.name)}: pages at {start:#x} are out of order")
            last = end
            if entry.get("with_parent"):
                self.runs.append(Run(start, end, None, 0, True))
            elif "file_sums" in entry:
                self.runs.append(Run(start, end, None, 0, sums=unb64(entry["file_sums"])))
            elif flags & PRESENT:
                self.runs.append(Run(start, end, file, offset))
                offset += size
            elif flags & PARENT:
                self.runs.append(Run(start, end, None, 0))

    def stored(self, start, end):
        """The parts of a range that are stored: (start, end, run)."""
        at = max(bisect.bisect_right(self.starts, start) - 1, 0)
        while at < len(self.runs) and self.runs[at].start < end:
            run = self.runs[at]
            low, high = max(start, run.start), min(end, run.end)
            if low < high:
                yield low, high, run
            at += 1

    def read(self, start, end, run):
        if run.file:
            return run.file.read(run.offset + start - run.start, end - start)
        if run.sums is not None:
            return self.read_mapped(start, end, run)
        parent, data = self.lender_pages() if run.with_parent else self.parent_pages(), bytearray(end - start)
        for low, high, inner in parent.stored(start, end):
            data[low - start:high - start] = parent.read(low, high, inner)
        return bytes(data)

    def read_mapped(self, start, end, run):
        """No other bytes than those that the task had."""
        low, high = start // PAGE * PAGE, -(-end // PAGE) * PAGE
        data = self.mapped(low, high) if self.mapped else b""
        for at in range(low, high, PAGE):
            n = (at - run.start) // PAGE * 8
            page = data[at - low:at - low + PAGE]
            if len(page) != PAGE or page_sum(page) != run.sums[n:n + 8]:
                raise ImageError(f"{os.path.join(self.folder.path, self.name)}: the page at {at:#x} is stored with the file that is mapped "
                                 "there, which is missing or has changed since")
        return data[start - low:end - low]

    def lender_pages(self):
        """Of the parent process, with which pages that forks share are stored (--cow-pages once); what it has not is zeros."""
        if not self.lender:
            parent = self.folder.parent_process(self.pid)
            if parent is None or parent == self.pid or self.depth > PARENTS_MAX:
                raise ImageError(f"{os.path.join(self.folder.path, self.name)}: has pages with those of its parent process, which has none")
            self.lender = Pages(self.folder, f"pagemap-{parent}.img", self.depth + 1, parent, self.mapped)
        return self.lender

    def parent_pages(self):
        if not self.parent:
            path = os.path.join(self.folder.path, "parent")
            if not os.path.isdir(path) or self.depth > PARENTS_MAX:
                raise ImageError(f"{path}: {self.name} has pages in the parent checkpoint, which is not there")
            self.parent = Pages(Folder(path), self.name, self.depth + 1, self.pid)
        return self.parent


def open_file(name):
    """Of a name in an image, which may be any: a device, which opening alone can do something to, is not opened."""
    handle = os.open(name, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "no regular file", name)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(handle)


class Memory:
    """The address space of a task. read() and parts() give bytes; what nothing is known of is zeros."""
    def __init__(self, folder, pid):
        self.folder, self.mm = folder, folder.mm(pid)
        owner = folder.memory_owner(pid)
        self.own = Pages(folder, f"pagemap-{owner}.img", pid=owner, mapped=self.read_file)
        self.objects, self.files, self.missing = {}, {}, set()
        self.vmas = sorted((v for v in self.mm["vmas"] if not v["status"] & KERNELS), key=lambda v: v["start"])

    def file_of(self, vma):
        """(kind, message) of a file mapping, or (None, {})."""
        return self.folder.files.get(vma["shmid"], ("?", {})) if vma["status"] & FILE_MAPPING else (None, {})

    def is_file(self, vma):
        """Whether what the images do not hold stands in a file."""
        return self.file_of(vma)[0] not in (None, "MEMFD")

    def object_of(self, vma):
        """Where the pages of the object are that it maps; None where that is a file, or nothing but the task's own memory."""
        ident, (kind, message) = None, self.file_of(vma)
        if kind == "MEMFD":
            inodes = {m["inode_id"]: m["shmid"] for m in self.folder.optional("memfd.img")}
            ident = inodes.get(message["inode_id"])
        elif vma["status"] & SHARED_OBJECT:
            ident = vma.get("ring_id", vma["shmid"])
        if ident is None:
            return None
        if ident not in self.objects:
            self.objects[ident] = Pages(self.folder, f"pagemap-shmem-{ident}.img")
        return self.objects[ident]

    def contents(self, vma):
        """The file with what is in a mapping beside the task's own pages, open; None where there is none or it cannot be read."""
        kind, message = self.file_of(vma)
        if kind not in ("REG", "EXT") or "name" not in message:
            return None
        name = message["name"]
        if name not in self.files:
            try:
                fd = open_file(name)
                if os.fstat(fd).st_size != message.get("size", os.fstat(fd).st_size):  # another file by now
                    os.close(fd)
                    fd = None
            except OSError:
                fd = None
            self.files[name] = fd
            if fd is None:
                self.missing.add(name)
        return self.files[name]

    def read_file(self, start, end):
        """What the files have that are mapped there; not all bytes where one is missing."""
        data = b""
        for vma in self.vmas:
            low, high = max(start, vma["start"]), min(end, vma["end"])
            fd = self.contents(vma) if low < high else None
            if fd is not None:
                data += os.pread(fd, high - low, low - vma["start"] + vma["pgoff"])
        return data

    def parts(self, vma, start, end):
        """What is known of a range of a mapping, in the order in which one covers the other: (start, end, function that reads)."""
        def at(address):
            return address - vma["start"] + vma["pgoff"]
        fd, objects = self.contents(vma), self.object_of(vma)
        if fd is not None:
            yield start, end, lambda low, high: os.pread(fd, high - low, at(low))
        if objects:
            for low, high, run in objects.stored(at(start), at(end)):
                back = vma["start"] - vma["pgoff"]
                yield low + back, high + back, lambda a, b, run=run: objects.read(at(a), at(b), run)
        for low, high, run in self.own.stored(start, end):
            yield low, high, lambda a, b, run=run: self.own.read(a, b, run)

    def is_stored(self, vma):
        """Whether images hold a part of it."""
        objects = self.object_of(vma)
        low, high = vma["pgoff"], vma["pgoff"] + vma["end"] - vma["start"]
        return any(self.own.stored(vma["start"], vma["end"])) or bool(objects and any(objects.stored(low, high)))

    def read(self, start, size):
        """The bytes at an address, as far as mappings go."""
        data = bytearray(size)
        for vma in self.vmas:
            low, high = max(start, vma["start"]), min(start + size, vma["end"])
            if low < high:
                for a, b, read in self.parts(vma, low, high):
                    got = read(a, b)
                    data[a - start:a - start + len(got)] = got
        return bytes(data)
