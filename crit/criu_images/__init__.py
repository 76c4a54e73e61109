# SPDX-License-Identifier: GPL-2.0-only
"""Reads and writes image files; what crit and criu-coredump share. Nothing beside Python's standard library.

schema.py    images/*.proto and images/images.def, from which everything that is known of the format comes
shown.py     numbers as a reader wants them (hex, devices, flags, addresses), and back
message.py   protobuf messages and dictionaries
image.py     files: header, entries, and what stands beside them
folder.py    the images of one checkpoint
memory.py    the memory of a task in it
notes.py     what a core file says beside memory
crit.py, explore.py, coredump.py    the programs
"""


class ImageError(Exception):
    """What is wrong with an image or its JSON form, in one line."""
