#!/usr/bin/env python3
"""Holds pipebd-run against PyTorch: the same random inputs through a workload's teacher or students
and through the model.

    python3 workloads/compare_outputs.py WORKLOAD MODEL                                  the teacher
    python3 workloads/compare_outputs.py WORKLOAD MODEL --student FILE --state FILE      students,
                                                                                         taken home

MODEL is FILE.py:CALLABLE or MODULE:CALLABLE as for export_torch.py, or a folder of Hugging Face's
transformers. FILEs are students of pipebd-run train and what students_home.py made of them (a
folder of transformers needs no --state). Prints the largest difference; exit: 0 where it is within
--tolerance of the largest output, 1 where not, 2 for bad usage.
"""

import argparse
import array
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tensor_files  # noqa: E402  (beside this file)


def read_options(argv):
    parser = argparse.ArgumentParser(
        prog="compare_outputs.py", description="Compare the outputs of pipebd-run with PyTorch's.")
    parser.add_argument("workload", metavar="WORKLOAD", help="the workload's file")
    parser.add_argument("model", metavar="MODEL", help="FILE.py:CALLABLE, MODULE:CALLABLE, or a "
                        "folder of Hugging Face's transformers")
    parser.add_argument("--student", metavar="FILE", default=None,
                        help="students, instead of the teacher")
    parser.add_argument("--state", metavar="FILE", default=None, help="weights of MODEL: "
                        ".safetensors, or .pt of torch.save (default: its own)")
    parser.add_argument("--samples", metavar="N", type=int, default=4,
                        help="random inputs (default: 4)")
    parser.add_argument("--tolerance", metavar="X", type=float, default=1e-4,
                        help="largest difference allowed, over the largest output (default: 1e-4)")
    parser.add_argument("--run", metavar="PROGRAM",
                        default=os.path.join(os.environ.get("PIPEBD_BIN", ""), "pipebd-run")
                        if os.environ.get("PIPEBD_BIN") else "pipebd-run",
                        help="pipebd-run (default: in PIPEBD_BIN or PATH)")
    args = parser.parse_args(argv)
    if args.samples < 1:
        parser.error("--samples %d: expected at least 1" % args.samples)
    return args


def random_inputs(workload, samples, folder):
    """What PyTorch gets, and the word for --data."""
    import torch
    torch.manual_seed(7)
    shape = workload["input"]
    if "tokens" in shape:
        ids = torch.randint(0, shape["vocabulary"], (samples, shape["tokens"]))
        with open(os.path.join(folder, "val.bin"), "wb") as f:
            array.array("I", ids.reshape(-1).tolist()).tofile(f)
        return ids, "tokens32:" + folder
    x = torch.randn(samples, shape["channels"], shape["height"], shape["width"])
    tensors = {"inputs": (list(x.shape), array.array("f", x.reshape(-1).tolist()))}
    header = tensor_files.header_of({"inputs": (list(x.shape), x.numel())})
    data = b"".join(tensor_files.tensor_bytes(tensors))
    if workload.get("classes"):          # labels of no meaning
        names = {"inputs": {"dtype": "F32", "shape": list(x.shape),
                            "data_offsets": [0, 4 * x.numel()]},
                 "labels": {"dtype": "I64", "shape": [samples],
                            "data_offsets": [4 * x.numel(), 4 * x.numel() + 8 * samples]}}
        text = json.dumps(names).encode()
        text += b" " * (-len(text) % 8)
        data = len(text).to_bytes(8, "little") + text + data[len(header):] + bytes(8 * samples)
    with open(os.path.join(folder, "val.safetensors"), "wb") as f:
        f.write(data)
    return x, "tensors:" + folder


def ours(args, data, folder):
    """What pipebd-run gives."""
    import torch
    out = os.path.join(folder, "out.safetensors")
    command = [args.run, "evaluate", "--workload", args.workload, "--data", data, "-o", out]
    done = subprocess.run(command + (["--student", args.student] if args.student else []),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    shape, values = tensor_files.read_file(out)["outputs"]
    return torch.tensor(values).reshape(shape)


def load_state(model, path):
    import torch
    if path.endswith((".pt", ".pth")):
        state = torch.load(path, map_location="cpu")
    else:
        state = {name: torch.tensor(values).reshape(shape)
                 for name, (shape, values) in tensor_files.read_file(path).items()}
    own = model.state_dict()
    missing = [name for name in own if name not in state and own[name].is_floating_point()]
    if missing:
        raise ValueError("%s: has no %s" % (path, missing[0]))
    model.load_state_dict(dict(own, **state))


def of_transformers(folder, workload, x):
    """What a Hugging Face model gives that stands for the last block."""
    import transformers
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        name = json.load(f)["architectures"][0]
    model = getattr(
        transformers,
        {"BertForMaskedLM": "BertModel", "BertForPreTraining": "BertModel"}.get(name, name))
    out = model.from_pretrained(
        folder).float().eval()(**{"pixel_values" if x.dim() == 4 else "input_ids": x})
    last = workload["blocks"][-1]["teacher"][-1]
    if last["layer"] == "pool" and last["of"] == "mean":
        return out.last_hidden_state.mean(1)
    if last["layer"] == "tanh":
        return out.pooler_output
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def theirs(args, workload, x):
    """What PyTorch gives, as [samples][channels][height][width] or [samples][channels]."""
    import torch
    with torch.no_grad():
        if os.path.isdir(args.model):
            y = of_transformers(args.model, workload, x)
        else:
            from pytorch import models
            model, _ = models.load(args.model, "model")
            if args.state:
                load_state(model, args.state)
            y = model.eval()(x)
    return y.permute(0, 2, 1).unsqueeze(3) if y.dim() == 3 else y


def compare(args):
    """(largest difference, largest output)"""
    with open(args.workload, encoding="utf-8") as f:
        workload = json.load(f)
    with tempfile.TemporaryDirectory() as folder:
        x, data = random_inputs(workload, args.samples, folder)
        found, truth = ours(args, data, folder), theirs(args, workload, x)
    if found.shape != truth.shape:
        raise ValueError("pipebd-run gives %s, PyTorch %s" % (list(found.shape), list(truth.shape)))
    return float((found - truth).abs().max()), float(truth.abs().max())


def main(argv=None):
    try:
        args = read_options(argv)
        worst, largest = compare(args)
    except ImportError as e:
        print("compare_outputs.py: %s" % e, file=sys.stderr)
        return 1
    except (ValueError, OSError, RuntimeError, KeyError) as e:
        lines = str(e).strip().splitlines()
        print("compare_outputs.py: %s" % (lines[0] if lines else type(e).__name__), file=sys.stderr)
        return 1
    if largest == 0:
        print("compare_outputs.py: all outputs are 0: nothing was compared", file=sys.stderr)
        return 1
    good = worst <= args.tolerance * largest
    print("%d samples: largest difference %.3g, largest output %.3g: %s"
          % (args.samples, worst, largest, "agree" if good else "differ"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
