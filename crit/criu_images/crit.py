# SPDX-License-Identifier: GPL-2.0-only
"""The command line of crit."""
import argparse
import json
import os
import stat
import sys

from . import ImageError, explore
from .image import EXTRAS, Extra, entries_of, row_of, shown_name, write_image, write_json


def read_all(path):
    if path:
        with open(path, "rb") as f:
            return f.read()
    return sys.stdin.buffer.read()


def is_other(path):
    """Whether there is something else than a file: a device, a pipe."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def into(path, mode, write):
    """Calls write() with the output. A file has its name when it is complete: the input may be the same one."""
    if not path:
        out = sys.stdout if mode == "w" else sys.stdout.buffer
        write(out)
        out.flush()
        return
    if is_other(path):
        with open(path, mode) as out:
            write(out)
        return
    target = os.path.realpath(path)
    partial = f"{target}.{os.getpid()}.tmp"
    try:
        with open(partial, mode.replace("w", "x")) as out:
            write(out)
            if os.path.exists(target):
                os.fchmod(out.fileno(), stat.S_IMODE(os.stat(target).st_mode))
        os.rename(partial, target)
    except BaseException as e:
        if os.path.exists(partial):
            os.unlink(partial)
        if isinstance(e, OSError) and e.filename == partial:
            e.filename = path
        raise


def decode(args):
    data = read_all(args.image)

    def write(out):
        write_json(data, args.image, out, args.pretty, not args.nopl)
        if args.pretty or not args.out:
            out.write("\n")
    into(args.out, "w", write)


def encode(args):
    text = read_all(args.image).decode("utf-8")
    into(args.out, "wb", lambda out: write_image(text, out))


def info(args):
    """How many entries there are, and bytes beside them."""
    data = read_all(args.image)
    row, start = row_of(data, args.image)
    if row.header == "RAW":
        print(json.dumps({"magic": row.id, "size": len(data)}, indent=4))
        return
    count = payload = 0
    for entry in entries_of(row, data, start, payload=False):
        count += 1
        payload += int(entry.get("extra", "... <0B>")[5:-2])
    found = {"magic": shown_name(row), "count": count}
    if EXTRAS[row.extra] is not Extra:
        found["pl_size"] = payload
    print(json.dumps(found, indent=4))


def parser():
    top = argparse.ArgumentParser(prog="crit", description="CRiu Image Tool: shows and edits images.")
    commands = top.add_subparsers(dest="command", help="crit COMMAND --help tells more")

    p = commands.add_parser("decode", help="convert an image to JSON")
    p.add_argument("--pretty", action="store_true", help="many lines, with numbers as their fields want them: hex, devices, flags")
    p.add_argument("-i", "--in", dest="image", metavar="IN", help="the image (default: standard input)")
    p.add_argument("-o", "--out", metavar="OUT", help="where the JSON goes (default: standard output)")
    p.set_defaults(run=decode, nopl=False)

    p = commands.add_parser("encode", help="convert JSON to an image")
    p.add_argument("-i", "--in", dest="image", metavar="IN", help="the JSON (default: standard input)")
    p.add_argument("-o", "--out", metavar="OUT", help="where the image goes (default: standard output)")
    p.set_defaults(run=encode)

    p = commands.add_parser("info", help="say what an image is and how many entries it has")
    p.add_argument("image", metavar="in")
    p.set_defaults(run=info)

    p = commands.add_parser("x", help="explore a directory of images")
    p.add_argument("dir")
    p.add_argument("what", choices=sorted(explore.EXPLORERS))
    p.set_defaults(run=explore.run)

    p = commands.add_parser("show", help="convert an image to JSON for readers (decode --pretty)")
    p.add_argument("image", metavar="in")
    p.add_argument("--nopl", action="store_true", help="leave out what stands behind entries (payload)")
    p.set_defaults(run=decode, pretty=True, out=None)
    return top


def main():
    args = parser().parse_args()
    if not args.command:
        parser().print_usage(sys.stderr)
        print("crit: error: a command is missing", file=sys.stderr)
        return 1
    what = getattr(args, "image", None) or getattr(args, "dir", None) or "standard input"
    try:
        args.run(args)
        return 0
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as e:
        said = f"{e.filename or what}: {e.strerror}"
    except json.JSONDecodeError as e:
        said = f"{what}: no JSON: {e}"
    except UnicodeDecodeError:
        said = f"{what}: no JSON: bytes that are no UTF-8"
    except RecursionError:
        said = f"{what}: nested too deeply"
    except MemoryError:
        said = f"{what}: larger than the memory"
    except ImageError as e:
        said = str(e) if args.command == "x" else f"{what}: {e}"
    except KeyboardInterrupt:
        return 130
    sys.stdout.flush()
    print(f"crit: {said}", file=sys.stderr)
    return 1
