"""TAP for the Python tests, as tests/tap.sh is for the shell's: tests/run.sh counts it."""

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


def done_testing():
    """The plan line; returns the exit status."""
    print("1..%d" % _count)
    return 1 if _failed else 0
