# SPDX-License-Identifier: GPL-2.0-only
"""Protobuf messages to dictionaries and back.

A dictionary has the fields in the order in which they stand in the message, so that encoding it gives the same bytes. What
is not in the schema has the key "unknown field N" and a list: a number is a varint, a text the base64 of bytes, and
{"fixed32": n} or {"fixed64": n} such a number. With pretty, numbers are shown as their field's comment says.
"""
import base64
import binascii
import functools

from . import ImageError
from .schema import SCALARS, schema
from . import shown

UNKNOWN = "unknown field "
DEPTH_MAX = 100
MASK64 = (1 << 64) - 1


def b64(raw):
    return base64.encodebytes(raw).decode("ascii")


def unb64(text):
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        raise ImageError(f"no base64: {str(text)[:40]!r}") from None


def varint(data, at, end):
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & MASK64, at
        shift += 7
        if shift > 63:
            break
    raise ImageError(f"a number without an end at byte {at} of a message")


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def signed32(value):
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def zigzag(value):
    return (value >> 1) ^ -(value & 1)


# What the number of a varint is in a field of that type; None: the number itself.
FROM_VARINT = {"uint64": None, "uint32": lambda v: v & 0xFFFFFFFF, "int32": signed32, "int64": signed, "sint32": zigzag,
               "sint64": zigzag, "bool": bool, "fixed32": None, "fixed64": None}
WIRE = {"string": 2, "bytes": 2, "fixed32": 5, "fixed64": 1}  # all others 0


def text_of(raw):
    """Names may be any bytes: those that are no UTF-8 become lone surrogates, which JSON can hold."""
    return raw.decode("utf-8", "surrogateescape")


class FieldReader:
    """How the values of one field are read; outer is the meaning of the message that it is in."""
    def __init__(self, field, outer, pretty):
        self.name, self.repeated = field.name, field.repeated
        meaning = field.meaning or outer
        self.addresses = pretty and meaning[:1] == ("address",)
        self.message = self.enum = self.convert = None
        self.wire = WIRE.get(field.type, 0)
        if field.type in schema().messages:
            self.message, self.meaning, self.wire = field.type, meaning, 2
        elif field.type == "string":
            self.convert = text_of
        elif field.type == "bytes":
            self.convert = shown.show_unix_name if meaning[:1] == ("unix_name",) else b64
        elif field.type in SCALARS:
            self.convert = self.number_reader(field, shown.shower(meaning) if pretty else None)
        else:
            names = schema().enums[field.type]
            self.convert = lambda v: names.get(v, signed32(v))

    @staticmethod
    def number_reader(field, show):
        plain = FROM_VARINT[field.type]
        if field.type == "bool" or not show:
            return plain
        return (lambda v: show(plain(v))) if plain else show


class Reader:
    """Reads messages of one type."""
    def __init__(self, name, outer, pretty):
        self.name, self.pretty = name, pretty
        fields = schema().messages[name]
        self.fields = {n: FieldReader(f, outer, pretty) for n, f in fields.items()}
        self.required = {f.name for f in fields.values() if f.label == "required"}
        self.addresses = [r.name for r in self.fields.values() if r.addresses]

    def read(self, data, at, end, depth=0):
        out, fields = {}, self.fields
        if depth > DEPTH_MAX:
            raise ImageError(f"{self.name}: nested too deeply")
        while at < end:
            tag = data[at]
            at += 1
            if tag > 0x7F:
                tag, at = varint(data, at - 1, end)
            wire, field = tag & 7, fields.get(tag >> 3)
            if wire == 0:
                if at < end and data[at] < 0x80:
                    value = data[at]
                    at += 1
                else:
                    value, at = varint(data, at, end)
                if field and field.wire == 0:
                    value = field.convert(value) if field.convert else value
                    if field.repeated:
                        out.setdefault(field.name, []).append(value)
                    else:
                        out[field.name] = value
                    continue
                start = at
            else:
                start, at = self.span(wire, data, at, end)
                if wire != 2:
                    value = int.from_bytes(data[start:at], "little")
                else:
                    value = None if field and field.message else data[start:at]
            self.other(out, tag, field, value, data, start, at, depth)
        if not self.required <= out.keys():
            raise ImageError(f"{self.name}: without its field {min(self.required - out.keys())}")
        for name in self.addresses:
            if name in out:
                out[name] = shown.show_addresses(out[name])
        return out

    def span(self, wire, data, at, end):
        """Where the bytes of a value lie."""
        if wire == 2:
            size, at = varint(data, at, end)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ImageError(f"{self.name}: wire type {wire} at byte {at} of a message")
        if at + size > end:
            raise ImageError(f"{self.name}: cut short: {size} bytes expected, {end - at} are there")
        return at, at + size

    def other(self, out, tag, field, value, data, start, end, depth):
        """All but a varint that the schema has as one."""
        wire = tag & 7
        if not field:
            kept = {0: lambda: value, 1: lambda: {"fixed64": value}, 2: lambda: b64(value), 5: lambda: {"fixed32": value}}[wire]()
            out.setdefault(f"{UNKNOWN}{tag >> 3}", []).append(kept)
            return
        if field.message and wire == 2:
            value = reader(field.message, field.meaning, self.pretty).read(data, start, end, depth + 1)
        elif field.wire == wire:
            value = field.convert(value) if field.convert else value
        elif wire == 2 and field.repeated and field.wire != 2:
            out.setdefault(field.name, []).extend(self.packed(field, data, start, end))
            return
        else:
            raise ImageError(f"{self.name}: field {field.name} has wire type {wire}")
        if field.repeated:
            out.setdefault(field.name, []).append(value)
        elif field.message and field.name in out:  # protobuf merges the parts of a message
            out[field.name].update(value)
        else:
            out[field.name] = value

    @staticmethod
    def packed(field, data, at, end):
        values = []
        while at < end:
            if field.wire == 0:
                value, at = varint(data, at, end)
            else:
                size = 8 if field.wire == 1 else 4
                if at + size > end:
                    raise ImageError(f"field {field.name}: cut short")
                value, at = int.from_bytes(data[at:at + size], "little"), at + size
            values.append(field.convert(value) if field.convert else value)
        return values


@functools.lru_cache(None)
def reader(name, outer=(), pretty=False):
    return Reader(name, outer, pretty)


def decode(name, data, pretty=False):
    """The message of that type as a dictionary."""
    return reader(name, (), pretty).read(data, 0, len(data))


def put_varint(value):
    if 0 <= value < 0x80:
        return value.to_bytes(1, "little")
    value &= MASK64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


RANGES = {"uint32": (0, 2**32 - 1), "uint64": (0, MASK64), "int32": (-2**31, 2**31 - 1), "int64": (-2**63, 2**63 - 1),
          "sint32": (-2**31, 2**31 - 1), "sint64": (-2**63, 2**63 - 1), "fixed32": (0, 2**32 - 1), "fixed64": (0, MASK64)}


def sized(raw):
    return put_varint(len(raw)) + raw


class FieldWriter:
    """How the values of one field are written."""
    def __init__(self, field, outer):
        self.name, self.repeated, self.packed, self.type = field.name, field.repeated, field.packed, field.type
        self.meaning = field.meaning or outer
        self.is_message = field.type in schema().messages
        wire = 2 if self.is_message or field.packed else WIRE.get(field.type, 0)
        self.tag = put_varint(field.number << 3 | wire)
        self.numbers = None
        if field.type not in SCALARS and not self.is_message:
            self.numbers = {name: n for n, name in schema().enums[field.type].items()}

    def number(self, value):
        if isinstance(value, str):
            value = shown.number(value, self.meaning)
        if not isinstance(value, int):
            raise ImageError(f"{value!r} is no number")
        low, high = RANGES[self.type]
        if not low <= value <= high:
            raise ImageError(f"{value} is out of the range of {self.type}")
        return value

    def scalar(self, value):
        if self.type == "bool":
            if value not in (True, False):
                raise ImageError(f"{value!r} is neither true nor false")
            return put_varint(int(value))
        if self.numbers is not None:
            value = self.numbers.get(value, value)
            if not isinstance(value, int) or not -2**31 <= value < 2**31:
                raise ImageError(f"{value!r} is no value of {self.type}")
            return put_varint(value)
        value = self.number(value)
        if self.type.startswith("fixed"):
            return value.to_bytes(int(self.type[5:]) // 8, "little")
        if self.type.startswith("sint"):
            return put_varint(value << 1 ^ value >> 63)
        return put_varint(value)

    def one(self, value):
        if self.is_message:
            return sized(writer(self.type, self.meaning).write(value))
        if self.type in ("string", "bytes") and not isinstance(value, str):
            raise ImageError(f"{value!r} is no text")
        if self.type == "string":
            return sized(value.encode("utf-8", "surrogateescape"))
        if self.type == "bytes":
            return sized(shown.unix_name_bytes(value) if self.meaning[:1] == ("unix_name",) else unb64(value))
        return self.scalar(value)

    def write(self, value):
        if not self.repeated:
            return self.tag + self.one(value)
        if not isinstance(value, list):
            raise ImageError("no list")
        if self.meaning[:1] == ("address",):
            value = shown.address_words(value)
        if self.packed:
            return self.tag + sized(b"".join(map(self.scalar, value)))
        return b"".join([self.tag + self.one(v) for v in value])


class Writer:
    """Writes messages of one type."""
    def __init__(self, name, outer):
        self.name = name
        fields = schema().messages[name].values()
        self.fields = {f.name: FieldWriter(f, outer) for f in fields}
        self.required = {f.name for f in fields if f.label == "required"}

    def write(self, message):
        if not isinstance(message, dict):
            raise ImageError(f"{self.name}: no object")
        out = []
        for name, value in message.items():
            field = self.fields.get(name)
            try:
                out.append(field.write(value) if field else unknown(name, value))
            except ImageError as e:
                raise ImageError(f"{name}{'.' if field and field.is_message else ': '}{e}") from None
        if not self.required <= message.keys():
            raise ImageError(f"{self.name}: without its field {min(self.required - message.keys())}")
        return b"".join(out)


def unknown(name, values):
    """A field that the schema has not."""
    digits = name[len(UNKNOWN):]
    if not name.startswith(UNKNOWN) or not digits.isdecimal() or not isinstance(values, list):
        raise ImageError("there is no such field")
    out = b""
    for value in values:
        if isinstance(value, str):
            wire, raw = 2, sized(unb64(value))
        elif isinstance(value, int) and 0 <= value <= MASK64:
            wire, raw = 0, put_varint(value)
        elif isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("fixed32", "fixed64"):
            (kind, value), = value.items()
            if not isinstance(value, int) or not 0 <= value <= RANGES[kind][1]:
                raise ImageError(f"{value!r} is no {kind}")
            wire, raw = (5, value.to_bytes(4, "little")) if kind == "fixed32" else (1, value.to_bytes(8, "little"))
        else:
            raise ImageError(f"{value!r} is neither a number nor base64")
        out += put_varint(int(digits) << 3 | wire) + raw
    return out


@functools.lru_cache(None)
def writer(name, outer=()):
    return Writer(name, outer)


def encode(name, message):
    """The bytes of a message of that type."""
    return writer(name).write(message)
