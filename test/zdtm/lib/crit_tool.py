# SPDX-License-Identifier: GPL-2.0-only
"""crit and its modules, for tests."""
import io
import os
import subprocess
import sys

HOME = os.path.normpath(os.path.join(os.environ["ZDTM"], "../../crit"))
CRIT = os.path.join(HOME, "crit")
sys.path.insert(0, HOME)

from criu_images import image  # noqa: E402


def shown(path, pretty=True):
    """The image as JSON, in crit's form."""
    out = io.StringIO()
    with open(path, "rb") as f:
        image.write_json(f.read(), path, out, pretty)
    return out.getvalue()


def made(text):
    """The bytes of the image that the JSON says."""
    out = io.BytesIO()
    image.write_image(text, out)
    return out.getvalue()


def not_the_same(path):
    """In which of crit's two forms a decoded image is encoded to other bytes than it has; nothing where all is well."""
    with open(path, "rb") as f:
        raw = f.read()
    return [form for form, pretty in (("decode", False), ("decode --pretty", True)) if made(shown(path, pretty)) != raw]


def crit(*args, **kw):
    return subprocess.run([sys.executable, CRIT, *args], capture_output=True, timeout=120, **kw)
