#!/usr/bin/env python3
"""Sentences as token files for a BERT: those of the documentation strings of Python's own library.

    python3 workloads/write_sentences.py MODEL FOLDER [--tokens 64] [--train 8000] [--val 500]

MODEL has vocab.txt, a WordPiece vocabulary in lower case. FOLDER gets train.bin, train.lengths,
val.bin, val.lengths (docs/data.md), each sentence as [CLS] ... [SEP], and train.txt, val.txt, a
sentence a line. Which sentence is held out follows from its text alone.
"""

import argparse
import array
import ast
import hashlib
import os
import re
import sys
import sysconfig
import unicodedata


def documentation(folder):
    """The strings of all modules, classes and functions below folder, in the order of the files'
    names."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in ("test", "tests", "idlelib",
                                                            "site-packages", "dist-packages"))
        for name in sorted(f for f in files if f.endswith(".py")):
            try:
                with open(os.path.join(root, name), encoding="utf-8") as f:
                    tree = ast.parse(f.read())
            except (SyntaxError, UnicodeDecodeError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    yield ast.get_docstring(node) or ""


def sentences(folder):
    """Of 5 to 40 words of letters, each once."""
    seen = set()
    for text in documentation(folder):
        for paragraph in re.split(r"\n\s*\n", text):
            for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
                words = sentence.split()
                plain = sum(re.fullmatch(r"[A-Za-z'(),.;:-]+", w) is not None for w in words)
                if 5 <= len(words) <= 40 and sentence.isascii() and plain >= 0.8 * len(
                        words) and sentence[0].isupper() and sentence not in seen:
                    seen.add(sentence)
                    yield sentence


def words_of(text):
    """Lower case without accents, split at spaces and around punctuation (Devlin et al., BERT,
    2019)."""
    text = "".join(c for c in unicodedata.normalize("NFD", text.lower())
                   if unicodedata.category(c) != "Mn")
    return re.findall(r"\w+|[^\w\s]", text.replace("_", " _ "))


def pieces(word, vocabulary):
    """Longest pieces first, from the left; None where a rest has none."""
    out, at = [], 0
    while at < len(word):
        end = len(word)
        while end > at and ("##" if at else "") + word[at:end] not in vocabulary:
            end -= 1
        if end == at:
            return None
        out.append(vocabulary[("##" if at else "") + word[at:end]])
        at = end
    return out


def tokens_of(text, vocabulary, most):
    out = [vocabulary["[CLS]"]]
    for word in words_of(text):
        out += pieces(word, vocabulary) or [vocabulary["[UNK]"]]
    return out[:most - 1] + [vocabulary["[SEP]"]]


def write(folder, part, chosen, vocabulary, most):
    tokens, lengths = array.array("H"), array.array("I")
    for sentence in chosen:
        mine = tokens_of(sentence, vocabulary, most)
        tokens.extend(mine)
        lengths.append(len(mine))
    if sys.byteorder == "big":
        tokens.byteswap()
        lengths.byteswap()
    for name, values in ((part + ".bin", tokens), (part + ".lengths", lengths)):
        with open(os.path.join(folder, name), "wb") as f:
            values.tofile(f)
    with open(os.path.join(folder, part + ".txt"), "w", encoding="utf-8") as f:
        f.write("".join(s + "\n" for s in chosen))
    print("%s: %d sentences, %d tokens" % (part, len(lengths), len(tokens)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--tokens", type=int, default=64, help="the most of a sentence (64)")
    parser.add_argument("--train", type=int, default=8000, help="sentences to train on (8000)")
    parser.add_argument("--val", type=int, default=500, help="sentences held out (500)")
    arguments = parser.parse_args()
    with open(os.path.join(arguments.model, "vocab.txt"), encoding="utf-8") as f:
        vocabulary = {line.rstrip("\n"): i for i, line in enumerate(f)}
    found, most = {"train": [], "val": []}, {"train": arguments.train, "val": arguments.val}
    for sentence in sentences(sysconfig.get_paths()["stdlib"]):
        part = "val" if hashlib.sha256(sentence.encode()).digest()[0] % 10 == 0 else "train"
        if len(found[part]) < most[part]:
            found[part].append(sentence)
        if all(len(found[p]) == most[p] for p in found):
            break
    os.makedirs(arguments.folder, exist_ok=True)
    for part, chosen in found.items():
        write(arguments.folder, part, chosen, vocabulary, arguments.tokens)
    return 0


if __name__ == "__main__":
    sys.exit(main())
