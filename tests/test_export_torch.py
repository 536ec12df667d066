#!/usr/bin/env python3
"""PyTorch models through workloads/export_torch.py, trained by pipebd-run and taken home, beside
PyTorch.

    PIPEBD_BIN=build/bin python3 tests/test_export_torch.py

Outputs agree within 1e-4, of teachers and of trained students in the module that they came from; by
torch.export where this torch has it, and by torch.fx. What cannot be translated is named, and
nothing is written. With torchvision its models go through, small. Prints TAP. Needs torch.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings

from tap import done_testing, import_torch, needs_cpu_devices, ok

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("PIPEBD_BIN", os.path.join(ROOT, "build", "bin"))
RUN = os.path.join(BIN, "pipebd-run")
MODELS = os.path.join(ROOT, "tests", "torch_models.py")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "workloads"))

SMALL = ["--input-shape", "3,16,16"]
# model, student, options, blocks
GOOD = [
    ("plain", "plain(width=8)", SMALL + ["--classifier"],
     ["features.3", "pool", "classifier.3", "head"]),
    ("plain", "plain(width=5)", SMALL + ["--cut", "features,classifier.2"],
     ["features", "classifier.2", "head"]),
    ("mobile", "mobile", SMALL + ["--loss", "normalised_mse"],
     ["stem", "cells.0", "cells.1", "cells.2", "head"]),
    ("mobile", "mobile", SMALL + ["--blocks", "2"], 2),
    ("resnet", "resnet", SMALL, ["stem", "layer1.0", "layer2.0", "layer2.1", "head"]),
    ("vit", "vit(ffn=12)", SMALL + ["--classifier"], ["layer2", "layers.0", "layers.1", "head"]),
    ("vit(by_hand=True)", "vit(by_hand=True)", SMALL, 4),
    ("encoder", "encoder(ffn=9)", SMALL, ["patches", "encoder.layers.0", "head"]),
    ("text", "text(ffn=11)", ["--tokens", "10"], ["layer1", "cells.0", "cells.1", "head"]),
    ("copies", "copies", SMALL + ["--blocks", "1"], ["layer2"]),
    ("chain", "chain(seed=2)", ["--input-shape", "3,8,8"], ["b0", "b1"]),
]

BAD = [  # model, options, what is said
    ("no_hardswish", [], "teacher: 1.1 (Hardswish): "),
    ("no_sigmoid", [], "sigmoid has no layer in the executor"),
    ("no_concatenation", [], "a concatenation, which no layer does"),
    ("no_dilation", [], "teacher: 0 (Conv2d): a dilation of 2, expected 1"),
    ("no_statistics", [], "teacher: 1 (BatchNorm2d): a batch norm "),
    ("no_scale", [], "teacher: Calls: a product with gamma, which no layer does"),
    ("no_branch", [], "teacher: cannot follow its forward: "),
    ("no_long_skip", [], "teacher: a (conv) is used in two places, which no residual does"),
    ("no_second_output", [], "teacher: the model gives 2 values, expected one tensor"),
    ("no_batch_first", [], "attention over something other than the tokens of a sample "
     "(is batch_first as the model's inputs are?)"),
    ("no_attention_between", [], "teacher: a (MultiheadAttention): "),
    ("no_softmax_over_queries", [], "teacher: a (Heads): softmax over queries, expected over keys"),
    ("no_hidden_key", [], "teacher: a (Heads): a mask that is not causal, which no layer has"),
    ("no_overwriting", [], "a tensor added to itself, which no layer does"),
    ("no_weight_norm", [], "teacher: 1 ("),
    ("no_odd_windows", [],
     "an adaptive average from 16x16 to 3x3, whose windows are not all of one size"),
    ("no_module", [], "returned int, expected a module or a list of them"),
    ("nothing", [], "has no callable nothing"),
    ("plain", ["--cut", "features.44"], "teacher has no module features.44; there are features.4"),
    ("mobile", ["--cut", "cells.0.body"], "what cells.0.body gives is inside a residual"),
    ("plain", ["--cut", "features,features"],
     "a cut behind features leaves a block without layers"),
    ("plain", ["--cut", "features,classifier.0,classifier.2,classifier.3"],
     "a cut behind classifier.3 leaves a block without layers"),
    ("mobile", ["--blocks", "9"], "--blocks 9: there are places for at most 5"),
]


def export(folder, teacher, student, options, name="out"):
    """Status, what was said, and the start of the files' names."""
    import export_torch
    said, base = io.StringIO(), os.path.join(folder, name)
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(
            said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        status = export_torch.main(["%s:%s" % (MODELS, teacher), "%s:%s" % (MODELS, student)]
                                   + options + ["-o", base])
    return status, said.getvalue(), base


def compare(workload, model, *options):
    import compare_outputs
    args = compare_outputs.read_options([workload, model, "--run", RUN, "--samples", "3"]
                                        + list(options))
    worst, largest = compare_outputs.compare(args)
    return worst <= 1e-4 * largest and largest > 1e-3, "off by %g of %g" % (worst, largest)


def train(base, options):
    return subprocess.run([RUN, "train", "--workload", base + ".json", "--init",
                           base + ".safetensors", "--schedule", "dpu", "--devices", "cpu:1",
                           "-o", base + "-trained.safetensors"] + options, capture_output=True,
                          text=True, check=False)


def check_good(folder, teacher, student, options, blocks):
    import students_home
    options = options + ["--batch", "8", "--samples", "16"]
    name = " ".join([teacher] + options[2:4])
    status, said, base = export(folder, teacher, student, options)
    if status:
        ok(False, name + ": is translated", said)
        return
    with open(base + ".json", encoding="utf-8") as f:
        workload = json.load(f)
    names = [block["name"] for block in workload["blocks"]]
    ok(names == blocks or len(names) == blocks, name + ": its blocks", names)
    try:
        good, why = compare(base + ".json", "%s:%s" % (MODELS, teacher))
        ok(good, name + ": outputs of the teacher", why)
        trained = train(base, [])
        ok(trained.returncode == 0, name + ": trains", trained.stderr)
        state = base + ("-home.pt" if teacher == "vit" else "-home.safetensors")
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = students_home.main(
                [base + ".json", base + "-trained.safetensors", "%s:%s" % (MODELS, student), state])
        ok(status == 0, name + ": students go home", said.getvalue())
        files = ["--student", base + "-trained.safetensors"]
        good, why = compare(base + ".json", "%s:%s" % (MODELS, student), *files, "--state", state)
        ok(good, name + ": and give what pipebd-run gives", why)
        if teacher in ("plain", "chain"):
            good, why = compare(base + ".json", "%s:%s" % (MODELS, student), *files)
            ok(not good, name + ": which they did not before", why)
    except (ValueError, OSError, RuntimeError, KeyError) as e:
        ok(False, name + ": goes through", repr(e))


def check_bad(folder):
    for number, (model, options, expected) in enumerate(BAD):
        status, said, base = export(folder, model, model, SMALL + options, "bad%d" % number)
        left = [name for name in os.listdir(folder) if name.startswith("bad")]
        ok(status == 1 and expected in said and said.count("\n") == 1 and not left,
           "refused: %s %s" % (model, " ".join(options)),
           "%s %s %s" % (status, said, left))
    for student, expected in (("no_layer_twice", "student: a.weight is in several layers, whose "
                               "copies would be trained apart"),
                              ("plain(width=9)", "behind features.3 the teacher gives 8x8x8, "
                               "behind features.3 the student 9x8x8: expected the same shape"),
                              ("mobile", "behind classifier the teacher gives 7x1x1, behind last "
                               "the student 5x1x1: expected the same shape")):
        options = SMALL + (["--cut", "features.3"] if "width" in student else ["--blocks", "1"])
        status, said, _ = export(folder, "no_layer_twice" if "twice" in student else "plain",
                                 student, options, "bad")
        ok(status == 1 and expected in said
           and not os.path.exists(os.path.join(folder, "bad.json")), "refused: student " + student,
           said)


def check_usage(folder):
    for options, expected in ((["--tokens", "4", "--mean", "0.5"],
                               "--tokens with --input-shape, --mean or --deviation"),
                              (["--cut", "a", "--blocks", "2"], "--cut and --blocks: expected one "
                               "of them"),
                              (["--cut", "a,"], "expected names of modules and commas"),
                              (["--input-shape", "3,4"], "expected three numbers above 0"),
                              (["--mean", "0.5"], "--mean has 1 numbers, expected 3, one a "
                               "channel")):
        status, said, _ = export(folder, "plain", "plain", options)
        ok(status == 2 and expected in said and said.count("\n") == 1,
           "bad usage: " + " ".join(options), said)
    status, said, _ = export(os.path.join(folder, "nothere"), "plain", "plain", [])
    ok(status == 2 and "there is no folder" in said, "no folder for the output", said)
    for word, expected in (("x", "expected FILE.py:CALLABLE"), ("nothere.py:x",
                                                                "no file nothere.py"), (
            MODELS + ":plain(4)", "literal keyword arguments"),
                           (MODELS + ":plain(widht=4)",
                            "TypeError"), ("nothere.at.all:x", "No module named 'nothere'")):
        from pytorch import models
        from pytorch.values import ExportError
        try:
            models.load(word, "teacher")
            ok(False, "refused: " + word)
        except ExportError as e:
            ok(expected in str(e), "refused: " + word, str(e))


def check_home(folder):
    """Students of another model, and a file that is none."""
    import students_home
    status, said, base = export(folder, "plain", "plain", SMALL)
    for students, model, to, expected in (
            (base + ".safetensors", "mobile", "x.pt",
             "the workload's layers are not those of the module: batchnorm and relu6 at layer 1"),
            (base + ".safetensors", "plain(width=9)", "x.pt", "blocks.0.0.weight is [8, 3, 3, 3] "
             "in the students, and features.0.weight of the module is [9, 3, 3, 3]"),
            (base + ".safetensors", "plain", "x.bin",
             "expected a name that ends in .pt, .pth or .safetensors"),
            (base + ".json", "plain", "x.pt", "is no safetensors file")):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = students_home.main(
                [base + ".json", students, "%s:%s" % (MODELS, model), os.path.join(folder, to)])
        ok(status == 1 and expected in said.getvalue()
           and not os.path.exists(os.path.join(folder, to)), "no way home: %s %s" % (model, to),
           said.getvalue())


def check_statistics(folder):
    """eps and momentum of batch norms, where they are not the usual ones."""
    status, said, base = export(folder, "odd_norms", "odd_norms", SMALL + ["--blocks", "1"])
    with open(base + ".json", encoding="utf-8") as f:
        layers = json.load(f)["blocks"][0]["teacher"]
    ok(status == 0 and layers[1] == {"layer": "batchnorm", "eps": 0.001, "momentum": 0.01},
       "a batch norm's eps and momentum", layers)


def check_ways(folder):
    from pytorch import graph
    ways = ["export", "fx"] if graph.has_export() else ["fx"]
    for way in ways:
        print("# by torch." + way)
        if way == "fx":
            graph.has_export = lambda: False
        for model in GOOD if way == ways[0] else GOOD[:1] + GOOD[4:6] + GOOD[8:10]:
            check_good(folder, *model)
        check_bad(folder)


def check_torchvision(folder):
    """Its own models, with numbers away from 0 in their norms; small inputs."""
    try:
        import torchvision  # noqa: F401
    except Exception:            # of another version than torch
        print("# torchvision is not installed: its models are left out")
        return
    for name, size in (("mobilenet_v2(num_classes=10)", 32), ("resnet18(num_classes=10)", 32)):
        with open(os.path.join(folder, "vision.py"), "w", encoding="utf-8") as f:
            f.write("import sys\nsys.path.insert(0, %r)\nimport torch_models\nfrom torchvision "
                    "import models\n"
                    "def model():\n    return torch_models.made(models.%s)\n"
                    % (os.path.dirname(MODELS), name))
        spec, base = os.path.join(folder, "vision.py") + ":model", os.path.join(folder, "vision")
        import export_torch
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = export_torch.main(
                [spec, spec, "--input-shape", "3,%d,%d" % (size, size), "-o", base])
        good, why = compare(base + ".json", spec) if status == 0 else (False, said.getvalue())
        ok(good, "torchvision's " + name, why)


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        check_ways(folder)
        check_torchvision(folder)
        check_statistics(folder)
        check_usage(folder)
        check_home(folder)
    return done_testing()


torch = import_torch()
needs_cpu_devices(os.path.dirname(RUN))
sys.exit(main())
