#!/usr/bin/env python3
"""Plain text for a byte-level language model: the documentation strings of Python's own library.

    python3 workloads/write_text.py FOLDER [--train N] [--val N]

FOLDER gets train.txt and val.txt, at most N bytes each (docs/data.md, bytes:FOLDER). A string is
there once, without its indentation, and only if it is ASCII. Which one in twenty is held out
follows from its text alone. Exit: 0, or with one line on stderr 1; bad usage 2.
"""

import argparse
import hashlib
import os
import sys
import sysconfig

from write_sentences import documentation


def passages(folder):
    """Each string of 40 bytes or more, once."""
    seen = set()
    for text in documentation(folder):
        text = text.strip() + "\n\n"
        if text.isascii() and len(text) >= 40 and text not in seen:
            seen.add(text)
            yield text


def gather(most):
    """most: part -> bytes, at most. Returns part -> text."""
    found, bytes_of = {part: [] for part in most}, dict.fromkeys(most, 0)
    for text in passages(sysconfig.get_paths()["stdlib"]):
        part = "val" if hashlib.sha256(text.encode()).digest()[0] % 20 == 0 else "train"
        found[part].append(text)
        bytes_of[part] += len(text)
        if all(bytes_of[p] >= most[p] for p in most):
            break
    return {part: "".join(texts)[:most[part]] for part, texts in found.items()}


def write(folder, parts):
    os.makedirs(folder, exist_ok=True)
    for part, text in parts.items():
        with open(os.path.join(folder, part + ".txt"), "w", encoding="ascii", newline="\n") as f:
            f.write(text)
        print("%s: %d bytes" % (part, len(text)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--train", type=int, default=1 << 30, help="bytes to train on (all)")
    parser.add_argument("--val", type=int, default=1 << 30, help="bytes held out (all)")
    a = parser.parse_args()
    if min(a.train, a.val) < 1:
        parser.error("--train and --val are 1 or more")
    try:
        write(a.folder, gather({"train": a.train, "val": a.val}))
    except OSError as e:
        print("write_text.py: %s" % e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
