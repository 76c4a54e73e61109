# SPDX-License-Identifier: GPL-2.0-only
"""Image files: their header, their entries, and the bytes that stand behind an entry (images.def: the column extra).

In the JSON form an image is {"magic": its name, "entries": [...]}; what stands behind an entry is its key "extra". A file
without a header is {"magic": its name, "text": ...}, or "raw" with base64 where that is no text.
"""
import json
import os
import struct

from . import ImageError
from .message import b64, decode, encode, unb64
from .schema import schema

COMMON, SERVICE = 0x54564319, 0x55105940
ENTRY_MAX = 64 << 20


class Bytes:
    """The bytes of a file, taken one after the other."""
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def left(self):
        return len(self.data) - self.at

    def take(self, size):
        if size > self.left():
            raise ImageError(f"cut short: {size} bytes expected at offset {self.at}, {self.left()} are there")
        self.at += size
        return self.data[self.at - size:self.at]

    def message(self, name, pretty):
        at = self.at
        size, = struct.unpack("<I", self.take(4))
        if size > ENTRY_MAX:
            raise ImageError(f"an entry of {size} bytes at offset {at}: more than any has")
        try:
            return decode(name, self.take(size), pretty)
        except ImageError as e:
            raise ImageError(f"entry at offset {at}: {e}") from None


def row_of(data, path):
    """The row of images.def for a file, and where its entries start."""
    words = struct.unpack("<II", data[:8].ljust(8, b"\0"))
    for row in schema().rows:
        if row.header == "SINGLE" and words[0] == row.magic:
            return row, 4
        if words == ({"COMMON": COMMON, "SERVICE": SERVICE}.get(row.header), row.magic):
            return row, 8
    for row in schema().rows:
        if row.header == "RAW" and path and row.pattern.fullmatch(os.path.basename(path)):
            return row, 0
    if not data:
        raise ImageError("an empty file")
    raise ImageError("neither its magic nor its name is that of an image")


def shown_name(row):
    """Both files of figures have one magic and one name."""
    return "STATS" if row.id in ("STATS_DUMP", "STATS_RESTORE") else row.id


def row_by_name(name):
    for row in schema().rows:
        if name in (row.id, shown_name(row)):
            return row
    raise ImageError(f"there is no image {name!r}")


def header_of(row):
    if row.header == "RAW":
        return b""
    if row.header == "SINGLE":
        return struct.pack("<I", row.magic)
    return struct.pack("<II", COMMON if row.header == "COMMON" else SERVICE, row.magic)


def padding_of(holder, source, size, unit):
    """Padding is zeros in nearly all images. Where it is not, holder keeps it."""
    pad = source.take(-size % unit)
    if any(pad):
        holder["padding"] = b64(pad)


def padding_for(holder, size, unit):
    pad = unb64(holder["padding"]) if "padding" in holder else bytes(-size % unit)
    if len(pad) != -size % unit:
        raise ImageError(f"padding: {len(pad)} bytes, {-size % unit} expected")
    return pad


# One class for each word of the column. read() takes what stands behind an entry off the source and returns its JSON form, or
# None; write() returns the bytes of that; size() says how many they are (for --nopl).
class Extra:
    @staticmethod
    def read(entry, source, pretty):
        return None

    @staticmethod
    def write(entry, extra):
        raise ImageError("extra: nothing stands behind an entry of this image")


def exactly(text, size, what):
    raw = unb64(text)
    if len(raw) != size:
        raise ImageError(f"extra: {len(raw)} bytes, but {what} says {size}")
    return raw


class Sized(Extra):
    """As many bytes as one field says."""
    def __init__(self, field):
        self.field = field

    def read(self, entry, source, pretty):
        return b64(source.take(entry[self.field]))

    def write(self, entry, extra):
        return exactly(extra, entry[self.field], self.field)


class Parts(Extra):
    """Several stretches of bytes: a key for each, and the field that says how long."""
    def __init__(self, **parts):
        self.parts = parts

    def read(self, entry, source, pretty):
        return {key: b64(source.take(entry[field])) for key, field in self.parts.items()}

    def write(self, entry, extra):
        if not isinstance(extra, dict):
            raise ImageError(f"extra: no object with {' and '.join(self.parts)}")
        return b"".join([exactly(extra.get(key, ""), entry[field], field) for key, field in self.parts.items()])


class Rest(Extra):
    """A ghost file: the rest of the image, or chunks."""
    @staticmethod
    def read(entry, source, pretty):
        if not entry.get("chunks"):
            return b64(source.take(source.left()))
        chunks = []
        while source.left():
            chunk = source.message("ghost_chunk_entry", pretty)
            chunks += [chunk, b64(source.take(chunk["len"]))]
        return chunks

    @staticmethod
    def write(entry, extra):
        if not entry.get("chunks"):
            return unb64(extra)
        out = []
        for chunk, text in pairs(extra):
            out += [sized_message("ghost_chunk_entry", chunk), exactly(text, chunk["len"], "len")]
        return b"".join(out)


class Semaphores(Extra):
    @staticmethod
    def read(entry, source, pretty):
        n = entry["nsems"]
        values = list(struct.unpack(f"<{n}H", source.take(2 * n)))
        padding_of(entry, source, 2 * n, 8)
        return values

    @staticmethod
    def write(entry, extra):
        if not isinstance(extra, list) or len(extra) != entry["nsems"]:
            raise ImageError(f"extra: no list of nsems ({entry['nsems']}) values")
        try:
            return struct.pack(f"<{len(extra)}H", *extra) + padding_for(entry, 2 * len(extra), 8)
        except struct.error:
            raise ImageError("extra: a value is not a number from 0 to 65535") from None


class Messages(Extra):
    @staticmethod
    def read(entry, source, pretty):
        out = []
        for _ in range(entry["qnum"]):
            message = source.message("ipc_msg", pretty)
            text = b64(source.take(message["msize"]))
            padding_of(message, source, message["msize"], 8)
            out += [message, text]
        return out

    @staticmethod
    def write(entry, extra):
        out = []
        for message, text in pairs(extra):
            raw = exactly(text, message["msize"], "msize")
            pad = padding_for(message, len(raw), 8)
            out += [sized_message("ipc_msg", {k: v for k, v in message.items() if k != "padding"}), raw, pad]
        if len(out) != 3 * entry["qnum"]:
            raise ImageError(f"extra: {len(out) // 3} messages, but qnum says {entry['qnum']}")
        return b"".join(out)


class Segment(Extra):
    @staticmethod
    def read(entry, source, pretty):
        if entry.get("in_pagemaps"):
            return ""
        text = b64(source.take(entry["size"]))
        padding_of(entry, source, entry["size"], 4)
        return text

    @staticmethod
    def write(entry, extra):
        if entry.get("in_pagemaps"):
            return exactly(extra, 0, "in_pagemaps")
        return exactly(extra, entry["size"], "size") + padding_for(entry, entry["size"], 4)


EXTRAS = {
    "NONE": Extra, "HEAD": Extra, "BYTES": Sized("bytes"), "LENGTH": Sized("length"), "FILE": Rest, "SEMS": Semaphores,
    "MSGS": Messages, "SHM": Segment, "QUEUES": Parts(inq="inq_len", outq="outq_len"),
    "MAP": Parts(keys="keys_bytes", values="values_bytes"),
}


def pairs(extra):
    """A message and a text, again and again."""
    if not isinstance(extra, list) or len(extra) % 2 or not all(isinstance(m, dict) for m in extra[::2]):
        raise ImageError("extra: no list of objects, each with a text behind")
    return zip(extra[::2], extra[1::2])


def sized_message(name, message):
    raw = encode(name, message)
    return struct.pack("<I", len(raw)) + raw


def entries_of(row, data, start, pretty=False, payload=True):
    """The entries of an image, one after the other. Without payload, `extra` only says how much there is."""
    source, message, kind = Bytes(data, start), row.message, EXTRAS[row.extra]
    if row.extra == "HEAD":
        message = "pagemap_head"
    while source.left():
        entry, at = source.message(message, pretty), source.at
        try:
            extra = kind.read(entry, source, pretty)
        except KeyError as e:
            raise ImageError(f"entry at offset {at}: without its field {e.args[0]}") from None
        if extra is not None:
            entry["extra"] = extra if payload else f"... <{source.at - at}B>"
        yield entry
        message = row.message


def entry_bytes(row, entry, first):
    """What stands in the file for an entry."""
    if not isinstance(entry, dict):
        raise ImageError("no object")
    kind, behind = EXTRAS[row.extra], b""
    if "extra" in entry or kind is not Extra:
        try:
            behind = kind.write(entry, entry.get("extra", ""))
        except KeyError as e:
            raise ImageError(f"without its field {e.args[0]}") from None
        entry = {k: v for k, v in entry.items() if k not in ("extra", "padding")}
    return sized_message("pagemap_head" if first and row.extra == "HEAD" else row.message, entry) + behind


def raw_form(data):
    """What a file without a header is in JSON."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return {"raw": b64(data)}
    return {"raw": b64(data)} if "\0" in text else {"text": text}


def load(path, pretty=False):
    """All entries of the image at path."""
    with open(path, "rb") as f:
        data = f.read()
    try:
        row, start = row_of(data, path)
        if row.header == "RAW":
            raise ImageError("a file without entries")
        return list(entries_of(row, data, start, pretty))
    except ImageError as e:
        raise ImageError(f"{path}: {e}") from None


def write_json(data, path, out, pretty=False, payload=True):
    """An image as JSON, entry by entry. path is its name, if it has one."""
    row, start = row_of(data, path)
    if row.header == "RAW":
        out.write(json.dumps({"magic": row.id} | (raw_form(data) if payload else {"raw": f"... <{len(data)}B>"}),
                             indent=4 if pretty else None))
        return
    head, between, tail = '{"magic": "%s", "entries": [', ", ", "]}"
    if pretty:
        head, between, tail = '{\n    "magic": "%s",\n    "entries": [\n        ', ",\n        ", "\n    ]\n}"
    out.write(head % shown_name(row))
    first = True
    for entry in entries_of(row, data, start, pretty, payload):
        text = json.dumps(entry, indent=4).replace("\n", "\n        ") if pretty else json.dumps(entry)
        out.write(text if first else between + text)
        first = False
    if pretty and first:
        tail = "]\n}"
    out.write(tail)


class JsonEntries:
    """The magic and the entries of an image in JSON, one after the other, so that only one entry at a time has objects."""
    def __init__(self, text):
        self.text, self.decoder, self.at = text, json.JSONDecoder(), 0
        self.whole = None
        self.magic = None
        if not self.starts("{", '"magic"', ":"):
            self.read_whole()
            return
        self.magic = self.value()
        if not self.starts(",", '"entries"', ":", "["):
            self.read_whole()

    def space(self):
        while self.text[self.at:self.at + 1] in (" ", "\n", "\t", "\r"):
            self.at += 1

    def starts(self, *words):
        """Whether these words come next; then they are taken."""
        before = self.at
        for word in words:
            self.space()
            if not self.text.startswith(word, self.at):
                self.at = before
                return False
            self.at += len(word)
        return True

    def value(self):
        self.space()
        value, self.at = self.decoder.raw_decode(self.text, self.at)
        return value

    def read_whole(self):
        """Keys in another order than crit writes them, or a file without entries."""
        self.whole = json.loads(self.text)
        if not isinstance(self.whole, dict) or not isinstance(self.whole.get("magic"), str):
            raise ImageError("no object with a magic")
        self.magic = self.whole["magic"]

    def __iter__(self):
        if self.whole is not None:
            entries = self.whole.get("entries")
            if not isinstance(entries, list):
                raise ImageError("entries: no list")
            yield from entries
            return
        if self.starts("]"):
            self.end()
            return
        while True:
            yield self.value()
            if self.starts("]"):
                break
            if not self.starts(","):
                raise ImageError(f"neither a comma nor the end of the entries at character {self.at}")
        self.end()

    def end(self):
        if not self.starts("}") or self.text[self.at:].strip():
            raise ImageError(f"the end of the object expected at character {self.at}")


def write_image(text, out):
    """The image that JSON says."""
    source = JsonEntries(text)
    row = row_by_name(source.magic)
    if row.header == "RAW":
        whole = source.whole or {}
        if isinstance(whole.get("text"), str):
            out.write(whole["text"].encode("utf-8", "surrogateescape"))
        elif isinstance(whole.get("raw"), str):
            out.write(unb64(whole["raw"]))
        else:
            raise ImageError("neither text nor raw")
        return
    out.write(header_of(row))
    for n, entry in enumerate(source):
        try:
            out.write(entry_bytes(row, entry, n == 0))
        except ImageError as e:
            raise ImageError(f"entry {n}: {e}") from None
