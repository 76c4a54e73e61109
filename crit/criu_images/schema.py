# SPDX-License-Identifier: GPL-2.0-only
"""The schema of images: messages and enums from *.proto, files from images.def.

What a number means for a reader (hex, a device, flags) is what the comment behind its field says there;
Documentation/IMAGES.md lists these words.
"""
import functools
import os
import re

SCALARS = {"uint32", "uint64", "int32", "int64", "sint32", "sint64", "bool", "string", "bytes", "fixed32", "fixed64"}


def folder():
    """Where the schema lies: beside this module where it is installed, in the source tree otherwise."""
    here = os.path.dirname(os.path.realpath(__file__))
    for up in ("..", "../.."):
        path = os.path.normpath(os.path.join(here, up, "images"))
        if os.path.exists(os.path.join(path, "images.def")):
            return path
    raise SystemExit(f"the schema (images.def and *.proto) is not beside {here}")


class Field:
    def __init__(self, match):
        self.label, self.type, self.name, self.number = match["label"], match["type"], match["name"], int(match["number"])
        self.repeated = self.label == "repeated"
        self.packed = "packed = true" in (match["options"] or "")
        self.meaning = tuple((match["comment"] or "").split())


class Row:
    """A file of images.def. The columns are explained there."""
    def __init__(self, ident, name, header, magic, message, extra):
        self.id, self.name, self.header, self.magic, self.message, self.extra = ident, name, header, int(magic, 0), message, extra
        self.pattern = re.compile(re.escape(name).replace("%u", "[0-9]+").replace("%x", "[0-9a-f]+"))


class Schema:
    FIELD = re.compile(
        r"\s*(?P<label>optional|required|repeated) (?P<type>\w+) (?P<name>\w+) = (?P<number>\d+)"
        r"(?: \[(?P<options>[^]]*)\])?;(?: // (?P<comment>.*))?$")
    ROW = re.compile(r'IMAGE\((\w+), "(.*)", (\w+), (\w+), (\w+), (\w+)\)')

    def __init__(self, path):
        self.messages, self.enums, self.rows = {}, {}, []
        for name in sorted(os.listdir(path)):
            if name.endswith(".proto"):
                self.read_proto(os.path.join(path, name))
        with open(os.path.join(path, "images.def"), encoding="utf-8") as f:
            for match in filter(None, map(self.ROW.match, f)):
                self.rows.append(Row(*match.groups()))

    def read_proto(self, path):
        with open(path, encoding="utf-8") as f:
            lines = [line.rstrip() for line in f]
        message = enum = None
        for line in lines:
            if message is not None and enum is None and (match := self.FIELD.match(line)):
                message[int(match["number"])] = Field(match)
            elif opened := re.match(r"message (\w+) \{$", line):
                message = self.messages.setdefault(opened[1], {})
            elif opened := re.match(r"\s*enum (\w+) \{$", line):
                enum = self.enums.setdefault(opened[1], {})
            elif line.strip() == "}":
                if enum is None:
                    message = None
                enum = None
            elif enum is not None and (value := re.match(r"\s*(\w+) = (\d+);$", line)):
                enum[int(value[2])] = value[1]
            elif line.strip() and not re.match(r"\s*(//|import |syntax )", line):
                raise SystemExit(f"{path}: cannot understand: {line}")


@functools.lru_cache(None)
def schema():
    """The one schema, read when it is first wanted."""
    return Schema(folder())
