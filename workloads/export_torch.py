#!/usr/bin/env python3
"""Translates a PyTorch teacher and student, layer by layer, into a workload (docs/pytorch.md).

    python3 workloads/export_torch.py my_models.py:teacher my_models.py:student --input-shape
    3,32,32 -o mine

TEACHER and STUDENT are FILE.py:CALLABLE, or MODULE:CALLABLE of a module that can be imported
(torchvision.models:resnet18), each returning a module, or a list of modules (as for
traces/capture_torch.py: a block each). Written are

    mine.json                    the workload
    mine-teacher.safetensors     the teacher's weights, which it names
    mine.safetensors             the student's weights, for pipebd-run train --init

workloads/students_home.py puts trained students back. Exit: 0, or with one line on stderr 1,
nothing written; bad usage 2.
"""

import argparse
import ctypes
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tensor_files  # noqa: E402  (beside this file)

try:
    import torch
except ImportError:
    torch = None
except KeyboardInterrupt:     # it takes seconds
    sys.exit(130)
else:
    from pytorch import blocks as cutting
    from pytorch import layers as translating
    from pytorch import models
    from pytorch.values import ExportError

VERSION = "0.2.0"  # that of include/pipebd.h, as tests/test_install.sh wants
LOSSES = ["mse", "normalised_mse", "cosine", "soft_cross_entropy", "kl", "hard_cross_entropy"]


class UsageError(ValueError):
    """What is wrong with the command line."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(message)


def whole(minimum):
    def parse(word):
        value = int(word)
        if value < minimum:
            raise argparse.ArgumentTypeError("%d is too small, expected at least %d"
                                             % (value, minimum))
        return value
    parse.__name__ = "whole number"
    return parse


def positive(word):
    value = float(word)
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError("%s, expected a number above 0" % word)
    return value


positive.__name__ = "number"


def shape(word):
    values = [int(v) for v in word.split(",")]
    if len(values) != 3 or min(values) < 1:
        raise argparse.ArgumentTypeError("'%s': expected three numbers above 0" % word)
    return values


def floats(word):
    return [float(v) for v in word.split(",")]


floats.__name__ = "list (numbers and commas)"


def cuts(word):
    """A,B=C: pairs of the teacher's and the student's module."""
    pairs = [(part.partition("=")[0], part.partition("=")[2] or part.partition("=")[0])
             for part in word.split(",")]
    if any(not name for names in pairs for name in names):
        raise argparse.ArgumentTypeError("'%s': expected names of modules and commas" % word)
    return pairs


OPTIONS = [
    ("--input-shape", dict(type=shape, default=None, metavar="C,H,W",
                           help="shape of one image (default: 3,224,224)")),
    ("--tokens", dict(type=whole(1), default=None, metavar="N",
                      help="the input is N token numbers instead of an image")),
    ("--cut", dict(type=cuts, default=None, metavar="NAMES",
                   help="modules that end a block: A,B,C; A=B where the student's has another "
                   "name (default: around every module with a residual; without those, before "
                   "every convolution and linear layer)")),
    ("--blocks", dict(type=whole(1), default=None, metavar="N",
                      help="join the default's blocks to N of similar work")),
    ("--classifier", dict(action="store_true",
                          help="the output has a score for each class: the last loss is "
                          "soft_cross_entropy, and train prints accuracies")),
    ("--loss", dict(choices=LOSSES, default="mse",
                    help="loss of the blocks; with --classifier, of all but the last")),
    ("--mean", dict(type=floats, default=None, metavar="LIST",
                    help="mean of each channel: images of 0..1 become (x - mean) / deviation")),
    ("--deviation", dict(type=floats, default=None, metavar="LIST",
                         help="deviation of each channel")),
    ("--learning-rate", dict(type=positive, default=None, metavar="X",
                             help="learning rate (default: 0.001 for transformers, by AdamW; 0.1 "
                             "for others, by SGD)")),
    ("--batch", dict(type=whole(1), default=64, metavar="B", help="global batch")),
    ("--samples", dict(type=whole(1), default=50000, metavar="N", help="samples an epoch")),
    ("--name", dict(default=None, metavar="NAME",
                    help="name of the workload (default: that of BASE)")),
]


def read_options(argv):
    parser = Parser(prog="export_torch.py", description="Translate a PyTorch teacher and student "
                    "into a workload and their weights.")
    parser.add_argument("teacher", metavar="TEACHER", help="FILE.py:CALLABLE or MODULE:CALLABLE; "
                        "literal keyword arguments may follow in brackets")
    parser.add_argument("student", metavar="STUDENT", help="the same for the student")
    for flag, settings in OPTIONS:
        tells = settings.get("default") in (None, False, "") or "(default" in settings["help"]
        parser.add_argument(flag, **dict(settings, help=settings["help"] + (
            "" if tells else " (default: %(default)s)")))
    parser.add_argument("-o", "--output", metavar="BASE", required=True,
                        help="write BASE.json, BASE.safetensors (the student's weights) and "
                        "BASE-teacher.safetensors")
    parser.add_argument("--version", action="version", version="%(prog)s " + VERSION,
                        help="print the version and exit")
    args = parser.parse_args(argv)
    if args.tokens and (args.input_shape or args.mean or args.deviation):
        raise UsageError("--tokens with --input-shape, --mean or --deviation, which are of images")
    if args.cut and args.blocks:
        raise UsageError("--cut and --blocks: expected one of them")
    args.input_shape = [args.tokens] if args.tokens else args.input_shape or [3, 224, 224]
    for flag, values in (("--mean", args.mean), ("--deviation", args.deviation)):
        if values and len(values) != args.input_shape[0]:
            raise UsageError("%s has %d numbers, expected %d, one a channel"
                             % (flag, len(values), args.input_shape[0]))
    args.name = args.name or os.path.basename(args.output)
    if not os.path.basename(args.output):
        raise UsageError("-o %s: expected the start of a file's name" % args.output)
    return args


# ---- a workload
# -----------------------------------------------------------------------------------


def sides(args):
    """Both models, translated; how to cut them, and the blocks' names, where they are given."""
    found, chains = [], []
    for who, word in (("teacher", args.teacher), ("student", args.student)):
        model, chain = models.load(word, who)
        translated = translating.translate(model, who, args.input_shape, 2 if args.tokens else 0)
        for note in translated.notes:
            print("export_torch.py: %s: note: %s" % (who, note), file=sys.stderr)
        if who == "student" and translated.twice:
            raise ExportError("student: %s is in several layers, whose copies would be trained "
                              "apart" % translated.twice[0])
        found.append(cutting.Side(who, model, translated))
        chains.append(chain)
    if args.cut:
        return found, args.cut, [ours for ours, _ in args.cut] + ["head"]
    if args.blocks or None in chains:
        return found, None, None
    if len(chains[0]) != len(chains[1]):
        raise ExportError("the teacher has %d blocks, the student %d"
                          % (len(chains[0]), len(chains[1])))
    return found, list(zip(chains[0], chains[1]))[:-1], ["b" + name if name.isdigit() else name
                                                         for name in chains[0]]


def is_transformer(layers):
    return any(inner.node.kind in ("attention", "layernorm", "rmsnorm") for layer in layers
               for inner in layer.each())


def workload(args, blocks):
    """The file's content."""
    teacher = [layer for _, layers, _ in blocks for layer in layers]
    out = {"format": "pipebd-workload", "version": 1, "name": args.name}
    if args.tokens:
        out["input"] = {"tokens": args.tokens,
                        "vocabulary": teacher[0].node.keys.get("vocabulary", 0)}
    else:
        out["input"] = dict(zip(("channels", "height", "width"), args.input_shape))
        out["input"].update(
            {key: value
             for key, value in (("mean", args.mean), ("deviation", args.deviation)) if value})
    end = teacher[-1].node.shape
    if args.classifier:
        if end[1] * end[2] != 1:
            raise ExportError("--classifier: the teacher gives %s, expected a score a class"
                              % cutting.text(end))
        out["classes"] = end[0]
    out.update({"batch": args.batch, "samples": args.samples})
    if is_transformer(teacher):
        out["training"] = {"optimizer": "adamw", "learning_rate": args.learning_rate or 0.001,
                           "weight_decay": 0.01, "clip": 1}
    else:
        out["training"] = {"learning_rate": args.learning_rate or 0.1, "momentum": 0.9,
                           "nesterov": True, "weight_decay": 4e-5}
    out["teacher_weights"] = os.path.basename(args.output) + "-teacher.safetensors"
    out["blocks"] = [{"name": name, "loss": "soft_cross_entropy"
                      if args.classifier and i == len(blocks) - 1 else args.loss,
                      "teacher": [layer.description() for layer in t],
                      "student": [layer.description() for layer in s]}
                     for i, (name, t, s) in enumerate(blocks)]
    return out


def rendered(value, indent=0):
    """JSON with short values on one line."""
    line = json.dumps(value)
    if not isinstance(value, (dict, list)) or len(line) + indent <= 120:
        return line
    if isinstance(value, dict):
        pairs = [json.dumps(k) + ": " + rendered(v, indent + 2) for k, v in value.items()]
    else:
        pairs = [rendered(v, indent + 2) for v in value]
    pad = "\n" + " " * (indent + 2)
    ends = "{}" if isinstance(value, dict) else "[]"
    return ends[0] + pad + ("," + pad).join(pairs) + "\n" + " " * indent + ends[1]


def weights(blocks, side):
    """name -> Pieces of one side of the blocks: 0 the teacher's, 1 the student's."""
    return {name: pieces for b, block in enumerate(blocks)
            for i, layer in enumerate(block[1 + side])
            for name, pieces in layer.tensors("blocks.%d.%d." % (b, i))}


def shape_of(pieces):
    return [sum(piece.shape[0] for piece in pieces)] + pieces[0].shape[1:]


def chunks(tensors):
    """A safetensors file of name -> Pieces."""
    shapes = {name: shape_of(pieces) for name, pieces in tensors.items()}
    counts = {name: (dims, torch.Size(dims).numel()) for name, dims in shapes.items()}
    yield tensor_files.header_of(counts)
    for pieces in tensors.values():
        for piece in pieces:
            values = piece.values().contiguous()
            yield ctypes.string_at(values.data_ptr(), 4 * values.numel())


def run(argv):
    args = read_options(argv)
    if torch is None:
        raise torch_missing()
    folder = os.path.dirname(args.output) or "."
    if not os.path.isdir(folder):
        raise UsageError("-o %s: there is no folder %s" % (args.output, folder))
    torch.manual_seed(1)
    (teacher, student), cut, names = sides(args)
    blocks = cutting.blocks(teacher, student, cut, args.blocks, names)
    text = rendered(workload(args, blocks)) + "\n"
    tensor_files.write_together({args.output + "-teacher.safetensors": chunks(weights(blocks, 0)),
                                 args.output + ".safetensors": chunks(weights(blocks, 1)),
                                 args.output + ".json": [text.encode()]})
    print("%s.json: %d block%s: %s" % (args.output, len(blocks), "s" * (len(blocks) > 1),
                                       ", ".join(name for name, _, _ in blocks)))


def torch_missing():
    return RuntimeError("torch is not installed for this Python, %s" % sys.executable)


def main(argv=None):
    try:
        run(sys.argv[1:] if argv is None else argv)
    except UsageError as e:
        print("export_torch.py: %s" % e, file=sys.stderr)
        return 2
    except (ValueError, OSError, RuntimeError) as e:
        lines = str(e).strip().splitlines()
        print("export_torch.py: %s" % (lines[0] if lines else type(e).__name__), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("export_torch.py: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
