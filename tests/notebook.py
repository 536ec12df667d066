"""Runs a Jupyter notebook's code cells in order, without Jupyter, and compares what they print
with what the notebook has as their output.

    python3 tests/notebook.py NOTEBOOK [--write]

The cells run in the notebook's folder. --write puts what they print into the notebook. Exit
status 1, and which cell, where one fails or prints something else.
"""

import contextlib
import io
import json
import os
import sys
import traceback


def output_of(cell):
    """What the notebook says that a cell prints."""
    return "".join("".join(output.get("text", [])) for output in cell["outputs"])


def run_cell(number, cell, names):
    """What it prints; SystemExit where it fails."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), "cell %d" % number, "exec"), names)  # noqa: S102
    except Exception:
        sys.exit("cell %d fails:\n%s" % (number, traceback.format_exc()))
    return printed.getvalue()


def main():
    path = os.path.abspath(sys.argv[1])
    with open(path, encoding="utf-8") as file:
        notebook = json.load(file)
    os.chdir(os.path.dirname(path))
    names, wrong = {"__name__": "__main__"}, 0
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        printed = run_cell(number, cell, names)
        if "--write" in sys.argv[2:]:
            cell["outputs"] = [{"name": "stdout", "output_type": "stream",
                                "text": printed.splitlines(True)}] if printed else []
            cell["execution_count"] = number
        elif printed != output_of(cell):
            print("cell %d prints\n%s\nthe notebook has\n%s" % (number, printed, output_of(cell)))
            wrong += 1
    if "--write" in sys.argv[2:]:
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(notebook, indent=1) + "\n")
    print("%d cells ran" % len(cells))
    return 1 if wrong or not cells else 0


if __name__ == "__main__":
    sys.exit(main())
