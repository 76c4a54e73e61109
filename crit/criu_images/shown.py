# SPDX-License-Identifier: GPL-2.0-only
"""What a number is to a reader, and the number that a reader's words are.

A meaning is a tuple of words, the comment behind a field: ("hex",), ("flags", "mmap.prot"), ("names", "family").
"""
import ipaddress
import os
import quopri
import struct

from . import ImageError

FLAGS = {
    "mmap.prot": {"PROT_READ": 1, "PROT_WRITE": 2, "PROT_EXEC": 4},
    "mmap.flags": {"MAP_SHARED": 0x1, "MAP_PRIVATE": 0x2, "MAP_ANON": 0x20, "MAP_GROWSDOWN": 0x100},
    "mmap.status": {
        "VMA_AREA_REGULAR": 1 << 0, "VMA_AREA_STACK": 1 << 1, "VMA_AREA_VSYSCALL": 1 << 2, "VMA_AREA_VDSO": 1 << 3,
        "VMA_AREA_HEAP": 1 << 5, "VMA_FILE_PRIVATE": 1 << 6, "VMA_FILE_SHARED": 1 << 7, "VMA_ANON_SHARED": 1 << 8,
        "VMA_ANON_PRIVATE": 1 << 9, "VMA_AREA_SYSVIPC": 1 << 10, "VMA_AREA_SOCKET": 1 << 11, "VMA_AREA_VVAR": 1 << 12,
        "VMA_AREA_AIORING": 1 << 13, "VMA_AREA_MEMFD": 1 << 14, "VMA_AREA_SHSTK": 1 << 15, "VMA_AREA_GUARD": 1 << 16,
        "VMA_AREA_UPROBES": 1 << 17, "VMA_UNSUPP": 1 << 31,
    },
    "rfile.flags": {
        "O_WRONLY": 0o1, "O_RDWR": 0o2, "O_CREAT": 0o100, "O_EXCL": 0o200, "O_NOCTTY": 0o400, "O_TRUNC": 0o1000, "O_APPEND": 0o2000,
        "O_NONBLOCK": 0o4000, "O_DSYNC": 0o10000, "FASYNC": 0o20000,
        "O_DIRECT": 0o40000, "O_LARGEFILE": 0o100000, "O_DIRECTORY": 0o200000, "O_NOFOLLOW": 0o400000,
        "O_NOATIME": 0o1000000, "O_CLOEXEC": 0o2000000, "O_PATH": 0o10000000,
    },
    "pmap.flags": {"PE_PARENT": 1, "PE_LAZY": 2, "PE_PRESENT": 4},
    "seals.flags": {
        "F_SEAL_SEAL": 1, "F_SEAL_SHRINK": 2, "F_SEAL_GROW": 4, "F_SEAL_WRITE": 8, "F_SEAL_FUTURE_WRITE": 16, "F_SEAL_EXEC": 32,
    },
}
NAMES = {
    "task_state": {1: "Alive"},
    "family": {1: "UNIX", 2: "INET", 10: "INET6", 16: "NETLINK", 17: "PACKET"},
    "sock_type": {1: "STREAM", 2: "DGRAM", 3: "RAW", 5: "SEQPACKET", 10: "PACKET"},
    "proto": {0: "IP", 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPV6", 136: "UDPLITE"},
    "tcp_state": {
        1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 7: "CLOSE",
        8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING",
    },
}
NUMBERS = {kind: {name: n for n, name in names.items()} for kind, names in NAMES.items()}
NUMBERS["task_state"] |= {"Zombie": 3, "Stopped": 6}  # crit of CRIU calls them so: 3 is a stopped task


def show_flags(value, bits):
    shown = [name for name, bit in bits.items() if value & bit]
    rest = value & ~sum(bits.values())
    return " | ".join(shown + ([hex(rest)] if rest else []))


def flags_number(text, bits):
    value = 0
    for word in filter(None, (w.strip() for w in text.split("|"))):
        value |= bits[word] if word in bits else int(word, 0)
    return value


def show_dev(value):
    return f"{value >> 20}:{value & 0xfffff}"


def dev_number(text):
    major, minor = text.split(":")
    return int(major) << 20 | int(minor)


def show_odev(value):
    return f"{os.major(value)}:{os.minor(value)}"


def odev_number(text):
    major, minor = text.split(":")
    return os.makedev(int(major), int(minor))


def shower(meaning):
    """The function that shows a number, or None where it is shown as it is."""
    word = meaning[0] if meaning else ""
    if word == "flags":
        bits = FLAGS[meaning[1]]
        return lambda value: show_flags(value, bits)
    if word == "names":
        names = NAMES[meaning[1]]
        return lambda value: names.get(value, value)
    return {"hex": hex, "dev": show_dev, "odev": show_odev}.get(word)


def number(text, meaning):
    """The number that a text is, where it is shown with this meaning."""
    word = meaning[0] if meaning else ""
    try:
        if word == "flags":
            return flags_number(text, FLAGS[meaning[1]])
        if word == "names" and text in NUMBERS[meaning[1]]:
            return NUMBERS[meaning[1]][text]
        if word in ("dev", "odev") and ":" in text:
            return (dev_number if word == "dev" else odev_number)(text)
        return int(text, 0)
    except (ValueError, OverflowError):
        raise ImageError(f"{text!r} is no number") from None


def show_addresses(words):
    """One word is IPv4, four are IPv6; both in network byte order. Other numbers of words stay as they are."""
    raw = struct.pack(f"<{len(words)}I", *words)
    return [str(ipaddress.ip_address(raw))] if len(raw) in (4, 16) else words


def address_words(values):
    words = []
    for value in values:
        if isinstance(value, str):
            try:
                raw = ipaddress.ip_address(value).packed
            except ValueError:
                raise ImageError(f"{value!r} is no address") from None
            words += struct.unpack(f"<{len(raw) // 4}I", raw)
        else:
            words.append(value)
    return words


# The names of unix sockets are quoted-printable text. What Python writes of it is not always read back as it was (line ends): such
# names are quoted by hand.
QUOTED = [chr(b) if 33 <= b <= 126 and b != 61 else f"={b:02X}" for b in range(256)]


def show_unix_name(raw):
    text = quopri.encodestring(raw, quotetabs=True)
    if b"\r" in raw or b"\n" in raw or quopri.decodestring(text) != raw:
        return "".join(map(QUOTED.__getitem__, raw))
    return text.decode("ascii")


def unix_name_bytes(text):
    return quopri.decodestring(text.encode("utf-8", "surrogateescape"))
