#!/bin/bash
# cuDNN 9.19.0 (wheel nvidia-cudnn-cu13 9.19.0.56) on a machine without a GPU and driver:
# cudnnCreate() fails with CUDNN_STATUS_NOT_INITIALIZED (1001), but given a GPU's properties as JSON
# (CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) the graph API's heuristics answer for that GPU and execution
# plans are finalized, with workspace sizes and numerical notes. So which convolutions cuDNN takes,
# and how much memory they need, can be tested without a GPU. And: for float32 tensors with float32
# compute the first engine of an H200 (9.0) has the note TENSOR_CORE, that is TF32, while of an RTX
# 2080 Ti (7.5), which has no TF32, none has.
#
# Seen, 3x3, 64 to 64 channels, 64 x 16 x 16, nhwc, float32: cudnnCreate 1001; H200: plans for all
# configurations, 37, the first with tensor cores; 2080 Ti: plans for all 15, the first without.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/v"
"$T/v/bin/pip" install -q --disable-pip-version-check --no-deps nvidia-cudnn-cu13==9.19.0.56
export LIBRARIES=$(dirname "$(find "$T/v" -name 'libcudnn_graph.so.9')")
LD_LIBRARY_PATH=$LIBRARIES CUDA_VISIBLE_DEVICES= "$T/v/bin/python" - <<'PY'
import ctypes, json, os, sys
from ctypes import byref, c_char_p, c_float, c_int, c_int64, c_void_p
dnn = ctypes.CDLL(os.path.join(os.environ["LIBRARIES"], "libcudnn.so.9"), mode=ctypes.RTLD_GLOBAL)
graph = ctypes.CDLL(os.path.join(os.environ["LIBRARIES"], "libcudnn_graph.so.9"), mode=ctypes.RTLD_GLOBAL)
DATA_TYPE, INT64, FLOAT, MODE, HEUR_MODE, NOTE, DESCRIPTOR, CHAR = 1, 3, 4, 7, 8, 11, 15, 24

def make(kind):
    d = c_void_p()
    assert graph.cudnnBackendCreateDescriptor(kind, byref(d)) == 0
    return d
def put(d, name, kind, *values):
    array = {INT64: c_int64, FLOAT: c_float, DESCRIPTOR: c_void_p}.get(kind, c_int) * len(values)
    rc = graph.cudnnBackendSetAttribute(d, name, kind, c_int64(len(values)), array(*values))
    assert rc == 0, (name, rc)
def done(d):
    rc = graph.cudnnBackendFinalize(d)
    assert rc == 0, rc
    return d
def tensor(uid, *dims):
    d, (n, c, h, w) = make(17), dims
    put(d, 901, DATA_TYPE, 0); put(d, 902, INT64, *dims); put(d, 903, INT64, c * h * w, 1, w * c, c)
    put(d, 906, INT64, uid); put(d, 900, INT64, 16)
    return done(d)
def card(**given):
    p = dict(maxGridSize=[2147483647, 65535, 65535], maxBlockSize=[1024, 1024, 64], regsPerBlock=65536, warpSize=32,
             maxSharedMemoryPerBlock=49152, reservedSharedMemoryPerBlock=1024, maxRegistersPerSM=65536, maxCtasPerSM=32,
             maxThreadsPerBlock=1024, maxThreadsPerSM=2048, pciDeviceId=0, isTccDriver=0, supportCoopLaunch=1,
             driverVer=13000, cudaDeviceId=0)
    text = json.dumps(p | given).encode()
    d = make(38)
    assert graph.cudnnBackendSetAttribute(d, 2702, CHAR, c_int64(len(text) + 1), c_char_p(text)) == 0
    return done(d)
def plans(properties):
    x, w, y = tensor(1, 64, 64, 16, 16), tensor(2, 64, 64, 3, 3), tensor(3, 64, 64, 16, 16)
    conv = make(1)
    put(conv, 106, INT64, 2); put(conv, 100, DATA_TYPE, 0); put(conv, 101, MODE, 1)
    for name in (105, 104, 102, 103): put(conv, name, INT64, 1, 1)
    op = make(10)
    done(conv)
    for name, d in ((704, x), (703, w), (705, y), (702, conv)): put(op, name, DESCRIPTOR, d.value)
    put(op, 700, FLOAT, 1.0); put(op, 701, FLOAT, 0.0)
    ops = make(15)
    put(ops, 801, DESCRIPTOR, done(op).value)
    ask = make(4)
    put(ask, 201, DESCRIPTOR, done(ops).value); put(ask, 200, HEUR_MODE, 3); put(ask, 204, DESCRIPTOR, properties.value)
    done(ask)
    found = c_int64()
    configs = (c_void_p * 64)(*[make(3).value for _ in range(64)])
    assert graph.cudnnBackendGetAttribute(ask, 202, DESCRIPTOR, c_int64(64), byref(found), configs) == 0
    result = []
    for i in range(found.value):
        engine, n, notes = c_void_p(make(2).value), c_int64(), (c_int * 32)()
        graph.cudnnBackendGetAttribute(c_void_p(configs[i]), 300, DESCRIPTOR, c_int64(1), byref(n), byref(engine))
        graph.cudnnBackendGetAttribute(engine, 1303, NOTE, c_int64(32), byref(n), notes)
        tensor_cores = 0 in notes[:n.value]
        plan, space = make(5), c_int64(-1)
        put(plan, 401, DESCRIPTOR, configs[i]); put(plan, 407, DESCRIPTOR, properties.value)
        rc = graph.cudnnBackendFinalize(plan)
        graph.cudnnBackendGetAttribute(plan, 402, INT64, c_int64(1), byref(n), byref(space))
        result.append((rc, tensor_cores, space.value))
    return result

dnn.cudnnGetVersion.restype = ctypes.c_size_t
handle = c_void_p()
rc = dnn.cudnnCreate(byref(handle))
print("cuDNN", dnn.cudnnGetVersion(), "cudnnCreate", rc)
if rc == 0: sys.exit("this machine has a GPU")
cards = {
    "H200": card(deviceName="NVIDIA H200", deviceVer=900, multiProcessorCount=132, maxSharedMemoryPerBlockOptin=232448,
                 smClockRateKHz=1980000, memClockRateKHz=3201000, l2CacheSize=62914560, totalGlobalMem=150754820096),
    "2080 Ti": card(deviceName="NVIDIA GeForce RTX 2080 Ti", deviceVer=750, multiProcessorCount=68, maxCtasPerSM=16,
                    maxThreadsPerSM=1024, maxSharedMemoryPerBlockOptin=65536, reservedSharedMemoryPerBlock=0,
                    smClockRateKHz=1545000, memClockRateKHz=7000000, l2CacheSize=5767168, totalGlobalMem=11554717696),
}
good = rc == 1001
for name, properties in cards.items():
    p = plans(properties)
    ready = sum(rc == 0 for rc, _, _ in p)
    print("%s: %d configurations, %d plans ready, the first %s tensor cores, %d bytes of workspace; any with: %s" % (
        name, len(p), ready, "with" if p[0][1] else "without", p[0][2], "yes" if any(t for _, t, _ in p) else "no"))
    good &= ready == len(p) > 1 and p[0][1] == (name == "H200")
print("as described" if good else "otherwise")
sys.exit(0 if good else 1)
PY
