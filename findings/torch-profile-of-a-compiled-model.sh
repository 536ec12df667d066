#!/bin/bash
# PyTorch 2.15.0: torch.profiler over a model that torch.compile compiled as a whole. Ranges of
# record_function inside its forward, and events of its modules (with_stack=True), leave nothing in
# the exported trace, without a warning: the forward is one "Torch-Compiled Region", the backward
# one "CompiledFunctionBackward", so times cannot be told apart by block. Setting
# torch._dynamo.config.capture_profiler_record_function changes nothing in the trace. Compiling each
# block (module.compile()) keeps both.
#
# Seen, two linear layers, each in a range: eager 2 ranges and 2 modules Linear; compiled whole 0
# and 0; whole with the setting 0 and 0; each compiled 2 and 2.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
TMPDIR=$T "$T/v/bin/pip" install -q --disable-pip-version-check torch==2.15.0 numpy setuptools
cd "$T"
TORCHINDUCTOR_CACHE_DIR=$T/cache CUDA_VISIBLE_DEVICES= "$T/v/bin/python" - 2> "$T/log" <<'PY' || { cat "$T/log"; exit 1; }
import json, sys, torch
import torch._dynamo.config as dynamo
from torch.profiler import ProfilerActivity, profile, record_function

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Linear(256, 256), torch.nn.Linear(256, 256)
    def forward(self, x):
        with record_function("first block"):
            x = torch.relu(self.a(x))
        with record_function("second block"):
            return torch.relu(self.b(x))

x = torch.randn(64, 256, requires_grad=True)
verbose = torch._C._profiler._ExperimentalConfig(verbose=True)

def count(model):
    """Names of ranges and of modules Linear in a profile of a step."""
    model(x).sum().backward()
    with profile(activities=[ProfilerActivity.CPU], with_stack=True, experimental_config=verbose) as p:
        model(x).sum().backward()
    p.export_chrome_trace("trace.json")
    with open("trace.json") as f:
        events = [e for e in json.load(f)["traceEvents"] if e.get("ph") == "X"]
    ranges = {e["name"] for e in events if e.get("cat") == "user_annotation" and "block" in e["name"]}
    modules = {e["name"] for e in events if e["name"].startswith("nn.Module: Linear")}
    return len(ranges), len(modules)

seen = {"eager": count(Model()), "compiled whole": count(torch.compile(Model()))}
torch._dynamo.reset()
dynamo.capture_profiler_record_function = True
seen["whole, with the setting"] = count(torch.compile(Model()))
dynamo.capture_profiler_record_function = False
torch._dynamo.reset()
parts = Model()
parts.a.compile()
parts.b.compile()
seen["each block compiled"] = count(parts)
for name, (ranges, modules) in seen.items():
    print("torch %s, %s: %d ranges, %d modules" % (torch.__version__, name, ranges, modules))
good = list(seen.values()) == [(2, 2), (0, 0), (0, 0), (2, 2)]
print("as described" if good else "otherwise")
sys.exit(not good)
PY
