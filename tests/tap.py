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
