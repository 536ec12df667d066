"""Builds the wheel: a build backend (PEP 517) that needs nothing but Python and make.

The wheel has the package, libpipebd.so and what traces/capture_torch.py consists of. The
library is called through ctypes, so that one wheel serves every Python 3 of a platform.

PIPEBD_LIBRARY  a libpipebd.so to pack; without it `make build/lib/libpipebd.so` makes one.
"""

import base64
import hashlib
import os
import re
import subprocess
import sysconfig
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
CAPTURE = ["capture_torch.py", "torch_costs.py", "trace_json.py"]


def version():
    """That of include/pipebd.h."""
    path = os.path.join(ROOT, "include", "pipebd.h")
    if not os.path.isfile(path):
        raise SystemExit("pipebd: no %s: build it inside the source tree (pip 21.3 or later does)"
                         % path)
    with open(path, encoding="utf-8") as file:
        return re.search(r'#define PIPEBD_VERSION "([^"]+)"', file.read()).group(1)


def library():
    """The path of libpipebd.so, made when it is not given."""
    given = os.environ.get("PIPEBD_LIBRARY")
    if given:
        if not os.path.isfile(given):
            raise SystemExit("PIPEBD_LIBRARY: no file %s" % given)
        return given
    # Not as a part of the make that may have started this: its flags are not ours.
    environment = {k: v
                   for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    made = os.path.join("build", "lib", "libpipebd.so")
    subprocess.run([os.environ.get("MAKE", "make"), "-s", "-C", ROOT, made], check=True,
                   env=environment)
    return os.path.join(ROOT, made)


def tag():
    """Any Python 3, no ABI of its, this platform."""
    return "py3-none-" + re.sub(r"[-.]", "_", sysconfig.get_platform())


def contents():
    """(name in the wheel, bytes) of all files but those of .dist-info."""
    package = os.path.join(HERE, "pipebd")
    sources = [("pipebd/" + name, os.path.join(package, name))
               for name in sorted(os.listdir(package))
               if name.endswith(".py") or name == "py.typed"]
    sources += [("pipebd/torch_capture/" + name, os.path.join(ROOT, "traces", name))
                for name in CAPTURE]
    sources += [("pipebd/libpipebd.so", library())]
    for name, path in sources:
        with open(path, "rb") as file:
            yield name, file.read()
    what = b'"""traces/capture_torch.py of the source tree; pipebd.capture() calls it."""\n'
    yield "pipebd/torch_capture/__init__.py", what


def metadata():
    with open(os.path.join(HERE, "README.md"), encoding="utf-8") as file:
        readme = file.read()
    return ("Metadata-Version: 2.1\nName: pipebd\nVersion: %s\nLicense: "
            "Apache-2.0\nRequires-Python: >=3.8\n"
            "Summary: Plans and predicts blockwise distillation on several devices\n"
            "Description-Content-Type: text/markdown\n\n%s" % (version(), readme)).encode()


def record_line(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return "%s,sha256=%s,%d\n" % (name, digest, len(data))


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 517. Returns the name of the file."""
    info = "pipebd-%s.dist-info/" % version()
    files = list(contents())
    for name in ("LICENSE", "NOTICE"):
        with open(os.path.join(ROOT, name), "rb") as file:
            files.append((info + name, file.read()))
    files += [(info + "METADATA", metadata()),
              (info + "WHEEL", ("Wheel-Version: 1.0\nGenerator: pipebd\nRoot-Is-Purelib: "
                                "false\nTag: %s\n" % tag()).encode())]
    record = "".join(record_line(name, data) for name, data in files) + info + "RECORD,,\n"
    wheel = "pipebd-%s-%s.whl" % (version(), tag())
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w",
                         zipfile.ZIP_DEFLATED) as archive:
        for name, data in files + [(info + "RECORD", record.encode())]:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # the same sources, the same bytes
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return wheel


def build_sdist(sdist_directory, config_settings=None):
    """PEP 517. The library's sources are the whole tree: that is what to hand on."""
    raise NotImplementedError(
        "pipebd has no sdist of its own: hand on the source tree, or a wheel (make wheel)")
