"""What a trace holds besides block times: bytes, loader, transfers, all-reduce.

Used by traces/capture_torch.py. Everything is measured with torch tensors on the
device the blocks ran on; describe_links() says what that means there.
"""

import contextlib
import ctypes
import gc
import json
import os
import statistics
import sys
import tempfile
import time

import torch
import torch.profiler
import torch.utils.data

LINK_TRIALS = 15
LINK_WARMUP = 3
SAMPLED_RUNS = 5          # of an action whose memory is sampled
MAX_POINT_GAP = 4         # neighbouring sizes differ by this factor at most


# ---------------------------------------------------------------- bytes

def bytes_of(tensor):
    return tensor.numel() * tensor.element_size()


def weight_bytes(module):
    """Parameters and buffers: what a copy of the block occupies."""
    return sum(map(bytes_of, list(module.parameters()) + list(module.buffers())))


def gradient_bytes(module):
    return sum(bytes_of(p) for p in module.parameters() if p.requires_grad)


def state_bytes(optimizer):
    return sum(bytes_of(v) for state in optimizer.state.values() for v in state.values()
               if isinstance(v, torch.Tensor))


def _tensors(values):
    """The tensors of a value, of a tuple, and of what lies in it."""
    if isinstance(values, torch.Tensor):
        return [values]
    return [t for v in values for t in _tensors(v)] if isinstance(values, (tuple, list)) else []


def bytes_of_all(values, besides=()):
    """Bytes of the tensors of a boundary that have a row for each sample, those in besides left
    out: tables that are the same for all samples are not relayed."""
    tensors = _tensors(values)
    rows = tensors[0].shape[0] if tensors and tensors[0].dim() else 0
    known = {t.data_ptr() for t in _tensors(besides)}
    return sum(bytes_of(t)
               for t in tensors if t.dim() and t.shape[0] == rows and t.data_ptr() not in known)


@contextlib.contextmanager
def silence():
    """Nothing on stderr: the profiler's library has remarks on machines and sessions there, past
    Python."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _profiled_peak(action):
    """The profiler hears of everything that the allocator of the CPU gives and takes back."""
    with silence(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU],
                                           profile_memory=True) as profiler:
        action()
    with silence():
        return _peak_of(profiler)


def _peak_of(profiler):
    """Of the sizes that were allocated and freed, in the order of the time."""
    handle, path = tempfile.mkstemp(suffix=".json")
    os.close(handle)
    try:
        profiler.export_chrome_trace(path)
        with open(path, encoding="utf-8", errors="replace") as file:
            events = json.load(file)["traceEvents"]
    finally:
        os.unlink(path)
    changes = sorted((e["ts"], e["args"].get("Ev Idx", 0), e["args"]["Bytes"])
                     for e in events
                     if e.get("name") == "[memory]" and e["args"].get("Device Type", 0) == 0)
    held = peak = 0
    for _, _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


def has_kineto():
    """Whether torch's profiler sees allocations and writes traces: that of distributions often does
    not."""
    return bool(torch.autograd.kineto_available())


class _Malloc(ctypes.Structure):
    """struct mallinfo2 of glibc"""
    _fields_ = [(name, ctypes.c_size_t)
                for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                             "uordblks", "fordblks", "keepcost")]


def _sampled_peak(action):
    """What malloc() has given out after each operator: what operators need only within themselves
    is missed. The interpreter's own objects are among it, so it is the median of a few runs, after
    collections of garbage; the caller has switched off others."""
    from torch.utils._python_dispatch import TorchDispatchMode
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        raise RuntimeError(
            "memory: this torch has no Kineto, and the system no mallinfo2()") from None
    mallinfo2.restype = _Malloc
    peak = [0]

    def used():
        info = mallinfo2()
        return info.uordblks + info.hblkhd

    class Sampler(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            peak[0] = max(peak[0], used())
            return result

    def one_run():
        gc.collect()
        before = peak[0] = used()
        with Sampler():
            action()
        return peak[0] - before

    return statistics.median(one_run() for _ in range(SAMPLED_RUNS))


def peak_bytes(action, device):
    """What action() has allocated at its peak, beyond what there was before."""
    if device.type != "cuda":
        return _profiled_peak(action) if has_kineto() else _sampled_peak(action)
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    action()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def describe_memory(kind):
    return ("activation_bytes are peaks of forward, backward and update as %s sees them, beyond "
            "weights, gradients, state and boundaries; process_bytes is what of them does not "
            "grow with the rows%s"
            % ("CUDA's allocator" if kind == "cuda" else "the CPU's allocator",
               ", without the context and the libraries" if kind == "cuda"
               else ", without the interpreter"))


# ---------------------------------------------------------------- time

def _synchronize(device):
    if device.type == "cuda":
        for i in range(torch.cuda.device_count()):
            torch.cuda.synchronize(i)


def median_us(action, device):
    times = []
    for trial in range(LINK_WARMUP + LINK_TRIALS):
        _synchronize(device)
        start = time.perf_counter_ns()
        action()
        _synchronize(device)
        if trial >= LINK_WARMUP:
            times.append((time.perf_counter_ns() - start) / 1e3)
    return round(statistics.median(times), 3)


LOADER_BATCHES = 6        # timed a batch size and worker, after as many that are not
DEFAULT_WORKERS = 4


def fit_line(xs, ys):
    """(a, b) of y = a + b x by least squares; neither is negative, a trace with one that
    is would be refused."""
    mx, my = statistics.mean(xs), statistics.mean(ys)
    squares = sum((x - mx) ** 2 for x in xs)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / squares if squares else my / mx
    if slope < 0 or my - slope * mx < 0:
        slope = my / mx
    return max(my - slope * mx, 0.0), slope


def _settings_of(source, workers):
    """(dataset, workers, batches ahead of a worker, further settings) of a dataset or DataLoader.
    """
    data = torch.utils.data
    if not isinstance(source, data.DataLoader):
        return source, DEFAULT_WORKERS if workers is None else workers, 2, {}
    count = source.num_workers if workers is None else workers
    kept = {"collate_fn": source.collate_fn, "pin_memory": source.pin_memory,
            "worker_init_fn": source.worker_init_fn}
    return source.dataset, count, (getattr(source, "prefetch_factor", None) or 2), kept


def _batches(dataset, settings, rows, count, workers, ahead):
    """count batches of rows each, in a random order where the dataset has one."""
    data = torch.utils.data
    if workers:
        settings = dict(settings, num_workers=workers, prefetch_factor=ahead)
    if isinstance(dataset, data.IterableDataset):
        given = 0
        while given < count:
            before = given
            for batch in data.DataLoader(dataset, batch_size=rows, drop_last=True, **settings):
                yield batch
                given += 1
                if given == count:
                    return
            if given == before:
                raise ValueError("the dataset has no batch of %d rows" % rows)
    else:
        sampler = data.RandomSampler(dataset, replacement=True, num_samples=rows * count)
        yield from data.DataLoader(dataset, batch_size=rows, sampler=sampler, **settings)


def _move(batch, device):
    """Tensors of a batch to the device, as a training loop does it."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: _move(value, device) for key, value in batch.items()}
    return [_move(value, device) for value in batch] if isinstance(batch, (list, tuple)) else batch


def _batch_us(dataset, settings, rows, workers, ahead, device):
    """us of a worker for a batch: what passes from batch to batch once all that was made
    ahead is used up, times the workers that are busy at a time."""
    lead = 1 if not workers else workers * (ahead + 1)
    timed = LOADER_BATCHES * max(workers, 1)
    stream = iter(_batches(dataset, settings, rows, lead + timed, workers, ahead))
    for _ in range(lead):
        _move(next(stream), device)
    _synchronize(device)
    start = time.perf_counter_ns()
    for _ in range(timed):
        _move(next(stream), device)
    _synchronize(device)
    return (time.perf_counter_ns() - start) / 1e3 / timed * max(min(workers, os.cpu_count() or 1),
                                                                1)


def measure_loader(source, args, device):
    """The key loader: a line through the times of a batch, of the smallest, a middle and the
    largest size. source is a dataset or a DataLoader, with args.workers processes where that is no
    None."""
    dataset, workers, ahead, settings = _settings_of(source, args.workers)
    if not hasattr(dataset, "__getitem__") and not isinstance(dataset,
                                                              torch.utils.data.IterableDataset):
        raise ValueError("%s is no dataset: it has no __getitem__" % type(dataset).__name__)
    sizes = sorted({args.batches[0], args.batches[len(args.batches) // 2], args.batches[-1]})
    batch_us, sample_us = fit_line(
        sizes, [_batch_us(dataset, settings, n, workers, ahead, device) for n in sizes])
    line = {"batch_us": round(batch_us, 3), "sample_us": round(sample_us, 6)}
    if not workers:                  # every device's own process loads
        return dict(line, lanes=args.devices, prefetch=0)
    return dict(line, workers=workers, cores=min(workers, os.cpu_count() or 1), prefetch=ahead)


def describe_loader(loader):
    if loader is None:
        return "loader: none was measured, loading takes no time"
    if "workers" not in loader:
        return "loader: yours, in the training process, copies to the device included"
    return ("loader: yours, with %d worker(s) that all load at the same time, copies to the "
            "device included; what they take from the devices' cores is not in the times"
            % loader["workers"])


def sizes_between(sizes):
    """The sizes, and as many between them that neighbours are near: costs between
    two points are taken as linear, and caches make them anything but."""
    points = sorted(set(sizes))
    for low, high in list(zip(points, points[1:])):
        while low * MAX_POINT_GAP < high:
            low *= MAX_POINT_GAP
            points.append(low)
    return sorted(set(points))


def _place(index, device):
    """Device of rank index: cards in turn; the CPU is one memory."""
    if device.type == "cuda":
        return torch.device("cuda", index % torch.cuda.device_count())
    return device


def _buffer(size, device):
    return torch.ones(-(-size // 4), dtype=torch.float32, device=device)


def measure_p2p(blocks, batch, device):
    """A copy of every relayed boundary, from one row to the whole batch."""
    boundaries = [b["output_bytes"] for b in blocks[:-1]]
    if not boundaries:
        return []
    points = []
    for size in sizes_between([min(boundaries)] + [b * batch for b in boundaries]):
        source, sink = _buffer(size, _place(0, device)), _buffer(size, _place(1, device))
        points.append({"bytes": size, "us": median_us(lambda: sink.copy_(source), device)})
    return points


def _reduce(buffers):
    """Mean of the buffers into each of them: sum on the first, then copies."""
    total = buffers[0]
    for other in buffers[1:]:
        total.add_(other.to(total.device, non_blocking=True))
    total.div_(len(buffers))
    for other in buffers[1:]:
        other.copy_(total, non_blocking=True)


def measure_allreduce(blocks, devices, device):
    gradients = [sum(s["gradient_bytes"] for s in b.get("students", [b.get("student")]))
                 for b in blocks]
    gradients += [s["gradient_bytes"] for b in blocks for s in b.get("students", [])]
    points = []
    for count in range(2, devices + 1):
        for size in sizes_between(gradients):
            buffers = [_buffer(size, _place(i, device)) for i in range(count)]
            points.append({"devices": count, "bytes": size,
                           "us": median_us(lambda: _reduce(buffers), device)})
    return points


def measure_links(args, blocks):
    """The keys p2p and allreduce, as far as there is anything to measure."""
    device = torch.device("cuda:0" if args.device == "cuda" else "cpu")
    links = {}
    if args.devices > 1:
        p2p = measure_p2p(blocks, args.batch, device)
        links = dict({"p2p": p2p} if p2p else {},
                     allreduce=measure_allreduce(blocks, args.devices, device))
    return links


def describe_links(kind, devices):
    if devices == 1:
        return "one device, no transfers"
    if kind == "cpu":
        return ("p2p is a memory copy by one thread, repeated on the same buffers (warm in cache "
                "where they fit); all-reduce is one thread summing w buffers, dividing, and "
                "copying the mean to each")
    cards = torch.cuda.device_count()
    if cards < 2:
        return "one card: p2p and all-reduce are copies and sums within its memory, not over a link"
    return ("p2p is a copy between two cards; all-reduce is w copies to the first card, a sum, "
            "and w copies back%s, not NCCL"
            % ("" if cards >= devices else " (on %d cards, shared by %d ranks)" % (cards, devices)))


# ---------------------------------------------------------------- the machine

def cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return ""


def host_memory_bytes():
    """0 when the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
