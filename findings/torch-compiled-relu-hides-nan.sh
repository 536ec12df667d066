#!/bin/bash
# PyTorch 2.15.0 on CPUs: a network whose outputs are NaN in eager mode has none when it is compiled
# with frozen weights (torch._inductor.config.freezing, for inference). A ReLU behind a convolution
# is then done by oneDNN, whose max(x, 0) is 0 for NaN; torch's own ReLU, also compiled without
# freezing, keeps NaN. So a frozen teacher that overflows gives plausible zeros in place of an error
# that everybody would see. Tensors in oneDNN's layout (to_mkldnn) behave alike in eager mode: relu
# gives 0, and max pooling of nothing but NaN gives the lowest float32.
#
# Seen: conv 3x3 and ReLU, one NaN among the inputs: 144 of 1,024 outputs NaN in eager and compiled,
# none when frozen; everything else equal within 1e-6. to_mkldnn: relu(NaN) 0, pooled -3.4028e+38.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
TMPDIR=$T "$T/v/bin/pip" install -q --disable-pip-version-check torch==2.15.0 numpy setuptools
cd "$T"
TORCHINDUCTOR_CACHE_DIR=$T/cache CUDA_VISIBLE_DEVICES= "$T/v/bin/python" - 2> "$T/log" <<'PY' || { cat "$T/log"; exit 1; }
import sys, torch
import torch._inductor.config as inductor

def outputs(network, x, frozen):
    inductor.freezing = frozen
    torch._dynamo.reset()
    with torch.no_grad():
        return torch.compile(network)(x)

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU()).eval()
x = torch.randn(1, 16, 8, 8)
x[0, 3, 4, 4] = float("nan")
with torch.no_grad():
    eager = network(x)
compiled, frozen = outputs(network, x, False), outputs(network, x, True)
count = [int(y.isnan().sum()) for y in (eager, compiled, frozen)]
finite = ~eager.isnan()
differ = float((eager - frozen)[finite].abs().max())
print("torch %s: NaN among %d outputs: eager %d, compiled %d, compiled and frozen %d; others differ by %.1g"
      % (torch.__version__, eager.numel(), *count, differ))
one = torch.full((1, 16, 4, 4), float("nan"))
relu = float(torch.relu(one.to_mkldnn()).to_dense().max())
pooled = float(torch.nn.functional.max_pool2d(one.to_mkldnn(), 2).to_dense().max())
print("in oneDNN's layout: relu of NaN %g, max pooling of NaN %g" % (relu, pooled))
good = count == [144, 144, 0] and differ < 1e-5 and relu == 0 and pooled == torch.finfo(torch.float32).min
print("as described" if good else "otherwise")
sys.exit(not good)
PY
