#!/usr/bin/env python3
"""The walk-throughs of docs/workloads.md, small: their commands one after another.

    PIPEBD_BIN=build/bin python3 tests/test_walkthroughs.py

A BERT for sentences, with weights that this script writes, at half the FFN. A byte-level GPT that
workloads/gpt_teacher.py trains, and students with less of everything. Seeds are fixed. Prints TAP.
The GPT needs torch; without it that half is one skip.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from array import array

from tap import done_testing, needs_cpu_devices, ok

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("PIPEBD_BIN", os.path.join(ROOT, "build", "bin"))
SYSTEM = "/usr/bin/python3"
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "workloads"))
import tensor_files  # noqa: E402  (workloads/)


class Shell:
    """Commands in a folder. The first that fails is a failed check; those after it are left out."""

    def __init__(self, folder, python):
        self.folder, self.python, self.works = folder, python, True

    def __call__(self, line):
        """Runs a line of the documentation; returns standard output."""
        words = line.split()
        if not self.works:
            return ""
        if words[0] == "python3":
            words[:2] = [self.python, "-B", os.path.join(ROOT, words[1])]
        else:
            words[0] = os.path.join(BIN, words[0])
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False,
                              env=dict(os.environ, OMP_NUM_THREADS="1"))
        self.works = done.returncode == 0
        ok(self.works, line, done.stderr)
        return done.stdout

    def path(self, name):
        return os.path.join(self.folder, name)


# ---- sentences ---------------------------------------------------------------------------

WIDTH, FFN, LETTERS = 32, 128, "abcdefghijklmnopqrstuvwxyz"


def write_bert(folder):
    """A BERT of two layers, norms as they begin, products that keep a number's size."""
    chance = random.Random(1)
    words = (["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", ","] + list(LETTERS)
             + ["##" + c for c in LETTERS] + "the of a is to in and if for that this".split())
    tensors = {}

    def put(name, *shape, scale):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = array("f", (chance.gauss(0, scale) for _ in range(count)))
        tensors[name] = [(list(shape), values)]

    def norm(name):
        tensors[name + ".weight"] = [([WIDTH], array("f", [1] * WIDTH))]
        put(name + ".bias", WIDTH, scale=0.1)

    def linear(name, rows, columns, gain=1):
        put(name + ".weight", rows, columns, scale=gain * columns ** -0.5)
        put(name + ".bias", rows, scale=0.1)

    put("embeddings.word_embeddings.weight", len(words), WIDTH, scale=1)
    put("embeddings.position_embeddings.weight", 32, WIDTH, scale=0.3)
    put("embeddings.token_type_embeddings.weight", 2, WIDTH, scale=0.1)
    norm("embeddings.LayerNorm")
    for layer in ("encoder.layer.0.", "encoder.layer.1."):
        for name in ("query", "key", "value"):
            linear(layer + "attention.self." + name, WIDTH, WIDTH)
        linear(layer + "attention.output.dense", WIDTH, WIDTH)
        norm(layer + "attention.output.LayerNorm")
        linear(layer + "intermediate.dense", FFN, WIDTH, 2)
        linear(layer + "output.dense", WIDTH, FFN, 2)
        norm(layer + "output.LayerNorm")
    tensors = {name: tensor for name, (tensor,) in tensors.items()}
    config = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": len(words),
              "hidden_size": WIDTH, "intermediate_size": FFN, "num_hidden_layers": 2,
              "num_attention_heads": 4, "max_position_embeddings": 32, "type_vocab_size": 2}
    os.mkdir(folder)
    tensor_files.write_together({
        os.path.join(folder, "model.safetensors"): tensor_files.tensor_bytes(tensors),
        os.path.join(folder, "config.json"): [json.dumps(config).encode()],
        os.path.join(folder, "vocab.txt"): ["".join(w + "\n" for w in words).encode()]})


def sentences(folder):
    """Students at half the FFN come near to the teacher, and their model at home gives the same."""
    sh = Shell(folder, sys.executable)
    write_bert(sh.path("MODEL"))
    sh("python3 workloads/write_sentences.py MODEL text --tokens 32 --train 600 --val 60")
    sh("pipebd-workload import --from hf MODEL -o minilm --tokens 32 --batch 16 --head mean"
       " --learning-rate 0.005")
    sh("pipebd-workload make-students minilm.json -o half --ffn 0.5")
    said = sh("pipebd-run train --workload half.json --init half.safetensors --data tokens:text"
              " --schedule tr --devices cpu:2 --epochs 3 -o students.safetensors")
    before, after = found(r"\(cosine\): before ([0-9.]+), after ([0-9.]+) \(of 60\)", said)
    ok(after >= 0.95 and after - before >= (1 - before) / 2,
       "a cosine of 0.95 on held-out sentences, and half of the way to 1", said)
    sh("python3 workloads/students_home.py half.json students.safetensors MODEL home")
    with open(sh.path("home/config.json"), encoding="utf-8") as f:
        ok(json.load(f)["intermediate_size"] == FFN // 2, "the model at home has half the FFN")
    sh("pipebd-workload import --from hf home -o again --tokens 32 --batch 16 --head mean")
    ok(outputs(sh, "again.json", "") == outputs(sh, "half.json", " --student students.safetensors"),
       "and gives what the students give")


def outputs(sh, workload, options):
    """What a teacher, or students, give for the held-out sentences."""
    sh("pipebd-run evaluate --workload %s%s --data tokens:text -o out.safetensors"
       % (workload, options))
    return tensor_files.read_file(sh.path("out.safetensors"))["outputs"]


def found(pattern, text):
    """The numbers that a pattern finds; NaN, which no check lets pass, where it does not fit."""
    match = re.search(pattern, text)
    return [float(match[i + 1] if match else "nan") for i in range(re.compile(pattern).groups)]


# ---- GPT ---------------------------------------------------------------------------------


def made_up(count, seed):
    """A text where each of 64 characters has two that follow, one of them four times in five."""
    letters = LETTERS + LETTERS.upper() + "0123456789 \n"
    chance = random.Random(1)
    follow = {c: [letters[int(chance.random() * 64)] for _ in range(2)] for c in letters}
    chance, text = random.Random(seed), "a"
    while len(text) < count:
        at_random = letters[int(chance.random() * 64)]
        next_one = follow[text[-1]][chance.random() < 0.2]
        text += next_one if chance.random() < 0.97 else at_random
    return text


def gpt(folder):
    """Students end below half of what they begin with, at most 1.15 times the teacher's."""
    sh = Shell(folder, PYTORCH)
    sh("python3 workloads/write_text.py text --train 40000 --val 4000")
    for part, count, seed in (("train", 40000, 2), ("val", 4000, 3)):
        ok(os.path.getsize(sh.path("text/%s.txt" % part)) == count, "%s.txt has its bytes" % part)
        with open(sh.path("text/%s.txt" % part), "w", encoding="ascii") as f:
            f.write(made_up(count, seed))
    said = sh("python3 workloads/gpt_teacher.py text teacher --width 32 --layers 2 --heads 4"
              " --tokens 32 --steps 150 --learning-rate 0.01")
    (trained,) = found(r"held-out perplexity ([0-9.]+) a byte", said)
    sh("pipebd-workload import --from hf teacher -o gpt --learning-rate 0.005")
    sh("pipebd-workload make-students gpt.json -o small --width 16 --ffn 0.25")
    said = sh("pipebd-run train --workload small.json --init small.safetensors --data bytes:text"
              " --schedule tr --devices cpu:2 --epochs 1 -o students.safetensors")
    teacher, before, after = found(r"perplexity: teacher ([0-9.]+), student before ([0-9.]+), "
                                   r"after ([0-9.]+)", said)
    ok(abs(teacher - trained) < 2e-3 * trained, "the teacher's perplexity is what PyTorch says",
       "%g, %g" % (teacher, trained))
    ok(trained < 4, "the teacher has learnt", trained)
    ok(re.search(r"^[0-9.]+ s, [0-9.]+ sequences/s$", said, re.M), "sequences a second", said)
    ok(after <= 1.15 * teacher, "students at most 1.15 times the teacher's perplexity", said)
    ok(after < before / 2, "below half of what they start with", said)
    said = sh("pipebd-run evaluate --workload small.json --student students.safetensors"
              " --data bytes:text --format json")
    evaluated = json.loads(said or "{}")
    ok(abs(evaluated.get("students", {}).get("perplexity", 0) - after) < 1e-3 * after,
       "evaluate says so too", evaluated)


def refusals(folder):
    """gpt_teacher.py says what is wrong in a line."""
    script = os.path.join(ROOT, "workloads", "gpt_teacher.py")
    os.mkdir(os.path.join(folder, "text"))
    for part, count in (("train", 200), ("val", 5)):
        with open(os.path.join(folder, "text", part + ".txt"), "w", encoding="ascii") as f:
            f.write("a" * count)
    for options, status, expected in (
            ([], 1, "gpt_teacher.py: text/val.txt: 5 bytes, expected more than 129"),
            (["--width", "10"], 2, "--width is 10, expected a multiple of --heads, 8")):
        done = subprocess.run([PYTORCH, "-B", script, "text", "out", *options], cwd=folder,
                              capture_output=True, text=True, check=False)
        ok(done.returncode == status and expected in done.stderr and "Traceback" not in done.stderr
           and not os.path.exists(os.path.join(folder, "out")), "refused: " + expected, done.stderr)


def with_torch():
    """A Python that has torch: this one, or the system's; None without."""
    for python in (sys.executable, SYSTEM):
        probe = [python, "-c", "import torch"]
        if (os.access(python, os.X_OK)
                and subprocess.run(probe, capture_output=True, check=False).returncode == 0):
            return python
    return None


def main():
    with tempfile.TemporaryDirectory() as folder:
        sentences(folder)
    if not PYTORCH:
        ok(True, "GPT # SKIP torch is not installed")
        return done_testing()
    for check in (gpt, refusals):
        with tempfile.TemporaryDirectory() as folder:
            check(folder)
    return done_testing()


needs_cpu_devices(BIN)
PYTORCH = with_torch()
sys.exit(main())
