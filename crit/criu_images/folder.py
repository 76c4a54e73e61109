# SPDX-License-Identifier: GPL-2.0-only
"""The images of one checkpoint, and what they say together."""
import functools
import os

from . import ImageError
from .image import load

# Where the entries of files.img stood in older checkpoints: the field of file_entry, and the image.
OLDER = {
    "reg": "reg-files.img", "isk": "inetsk.img", "nsf": "ns-files.img", "psk": "packetsk.img", "nlsk": "netlinksk.img",
    "efd": "eventfd.img", "epfd": "eventpoll.img", "sgfd": "signalfd.img", "tunf": "tunfile.img", "tfd": "timerfd.img",
    "ify": "inotify.img", "ffy": "fanotify.img", "ext": "ext-files.img", "usk": "unixsk.img", "fifo": "fifo.img",
    "pipe": "pipes.img", "tty": "tty.img",
}


class Folder:
    """Reads the images of a directory, each once."""
    def __init__(self, path):
        self.path = path
        self.load = functools.lru_cache(None)(self._load)

    def _load(self, name):
        return load(os.path.join(self.path, name))

    def has(self, name):
        return os.path.exists(os.path.join(self.path, name))

    def optional(self, name):
        """Its entries; none where there is no such image."""
        return self.load(name) if self.has(name) else []

    def one(self, name):
        """The entry of an image with one."""
        entries = self.load(name)
        if not entries:
            raise ImageError(f"{os.path.join(self.path, name)}: no entry")
        return entries[0]

    @functools.cached_property
    def files(self):
        """{id: (name of the type, its message)} of all open file descriptions."""
        found = {}
        for entry in self.optional("files.img"):
            messages = [v for v in entry.values() if isinstance(v, dict)]
            found[entry["id"]] = (entry["type"], messages[0] if messages else {})
        for kind, name in OLDER.items():
            for message in self.optional(name):
                found.setdefault(message["id"], (kind.upper(), message))
        return found

    def core(self, pid):
        return self.one(f"core-{pid}.img")

    def ids(self, pid):
        """What kernel objects a task has; None of a zombie."""
        return self.one(f"ids-{pid}.img") if self.has(f"ids-{pid}.img") else None

    @functools.cached_property
    def memory_owners(self):
        """{number of an address space: the task whose images it is in}."""
        owners = {}
        for task in self.load("pstree.img"):
            ids = self.ids(task["pid"])
            if ids and self.has(f"mm-{task['pid']}.img"):
                owners.setdefault(ids["vm_id"], task["pid"])
        return owners

    def memory_owner(self, pid):
        """The task whose images have the memory of this one: itself, or one that shares it (CLONE_VM). None of a zombie."""
        if self.has(f"mm-{pid}.img"):
            return pid
        ids = self.ids(pid)
        return self.memory_owners.get(ids["vm_id"]) if ids else None

    def parent_process(self, pid):
        """The task whose images have the memory of a task's parent process; None where there is none."""
        parents = [task["ppid"] for task in self.load("pstree.img") if task["pid"] == pid]
        return self.memory_owner(parents[0]) if parents and parents[0] else None

    def mm(self, pid):
        """The address space of a task, with its mappings; None of one that has none (a zombie)."""
        pid = self.memory_owner(pid)
        if pid is None:
            return None
        mm = self.one(f"mm-{pid}.img")
        if not mm.get("vmas"):
            mm["vmas"] = self.optional(f"vmas-{pid}.img")
        return mm

    def descriptors(self, pid):
        """The entries of a task's descriptor table; None of a zombie."""
        ids = self.ids(pid)
        return self.optional(f"fdinfo-{ids['files_id']}.img") if ids else None

    def pagemap(self, pid):
        """The ranges of a task's pages: the entries behind the head."""
        name = f"pagemap-{self.memory_owner(pid)}.img"
        return self.load(name)[1:] if self.has(name) else []


def pages(entry):
    """How many pages an entry of a pagemap has."""
    return entry.get("nr_pages", entry["compat_nr_pages"])


PAGE = 4096
