"""TAP for the Python tests, as tests/tap.sh is for the shell's: tests/run.sh counts it."""

import os
import sys

_count = 0
_failed = 0


def ok(is_good, name, detail=""):
    """One line for one check; detail is shown when it failed."""
    global _count, _failed
    _count += 1
    _failed += not is_good
    print("%s %d - %s" % ("ok" if is_good else "not ok", _count, name))
    if not is_good and detail != "":
        print("# " + str(detail).replace("\n", "\n# "))


def skip_all(why):
    """Ends a file that cannot run here."""
    print("1..0 # SKIP " + why)
    sys.exit(0)


def cpu_devices(bin_folder):
    """Whether pipebd-run is built, and computes on CPUs: CUDA alone gives no devices of the CPU."""
    flags = os.path.join(bin_folder, "..", "optional.txt")
    if not os.access(os.path.join(bin_folder, "pipebd-run"), os.X_OK):
        return False
    if not os.path.exists(flags):
        return True
    with open(flags, encoding="utf-8") as file:
        return "-DHAVE_DNNL" in file.read().split()


def needs_cpu_devices(bin_folder):
    """Ends a file that cannot run without them."""
    if not cpu_devices(bin_folder):
        skip_all("pipebd-run is not built, or without devices of the CPU (oneDNN)")


def import_torch():
    """torch; a file without it is skipped. Packages of the distribution are seen by its own python3
    only, so that one runs the file where this one has no torch."""
    try:
        import torch
        return torch
    except ImportError:
        system = "/usr/bin/python3"
        if os.access(system, os.X_OK) and not os.environ.get("PIPEBD_SYSTEM_PYTHON"):
            os.environ["PIPEBD_SYSTEM_PYTHON"] = "1"
            os.execv(system, [system] + sys.argv)
        skip_all("torch is not installed")


def done_testing():
    """The plan line; returns the exit status."""
    print("1..%d" % _count)
    return 1 if _failed else 0
