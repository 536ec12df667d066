#!/usr/bin/env python3
"""What a photograph costs a core in the original's loader: Pillow and numpy.

    python3 bench/loader_pillow.py [--images N] [--oversubscribe LIST] [--rounds R] [--cores C]

The chain of Pipe-BD's ImageNet runs, written with Pillow and numpy as torchvision does it: decode,
crop at random and resize to 224x224, flip, colour jitter (brightness, saturation), to float32
channels first, normalise, and collate a batch. The photographs are made up: smooth shapes and some
noise, 500x375, saved as JPEG of about the size that ImageNet's have.

Prints milliseconds of processor time a sample, the mean over N images (500) of each part, of one
process. --oversubscribe LIST: then, for each number of processes a core, milliseconds of processor
time a sample while that many load N images together, the median of --rounds in which the numbers
alternate, and milliseconds of the clock times cores, which other programs disturb. --cores C: on
that many of the machine's. Needs Pillow and numpy (apt-get install python3-pil python3-numpy)."""
import argparse
import io
import multiprocessing
import os
import random
import statistics
import sys
import time

try:
    import numpy
    from PIL import Image, ImageEnhance
except ImportError as why:
    sys.exit("loader_pillow.py: %s: apt-get install python3-pil python3-numpy" % why)

WIDTH, HEIGHT, SIZE, BATCH = 500, 375, 224, 64
MEAN = numpy.array([0.485, 0.456, 0.406], dtype=numpy.float32).reshape(3, 1, 1)
DEVIATION = numpy.array([0.229, 0.224, 0.225], dtype=numpy.float32).reshape(3, 1, 1)


def photograph(rng):
    """A JPEG of quality 90: shapes that a decoder works at as at a photograph's, some 100 KiB."""
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH].astype(numpy.float32)
    image = numpy.zeros((HEIGHT, WIDTH, 3), dtype=numpy.float32)
    for channel in range(3):
        for _ in range(6):
            fx, fy, phase = rng.uniform(0, 0.2, 3)
            image[:, :, channel] += numpy.sin(fx * x + fy * y + 30 * phase)
    image += rng.normal(0, 1, image.shape)
    image = 127.5 + 30 * image
    out = io.BytesIO()
    Image.fromarray(numpy.clip(image, 0, 255).astype(numpy.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def decode(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def crop(image):
    """RandomResizedCrop: 8 to 100 % of the area, sides 3:4 to 4:3."""
    for _ in range(10):
        area = image.width * image.height * random.uniform(0.08, 1)
        ratio = random.uniform(3 / 4, 4 / 3)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if w <= image.width and h <= image.height:
            break
    else:
        w = h = min(image.size)
    left, top = random.randint(0, image.width - w), random.randint(0, image.height - h)
    image = image.crop((left, top, left + w, top + h)).resize((SIZE, SIZE), Image.BILINEAR)
    return image.transpose(Image.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


def jitter(image):
    """Brightness 32/255 and saturation 0.5."""
    image = ImageEnhance.Brightness(image).enhance(random.uniform(1 - 32 / 255, 1 + 32 / 255))
    return ImageEnhance.Color(image).enhance(random.uniform(0.5, 1.5))


def normalise(image):
    tensor = numpy.ascontiguousarray(numpy.asarray(image).transpose(2, 0, 1)).astype(
        numpy.float32) / 255
    return (tensor - MEAN) / DEVIATION


PARTS = (("decode", decode), ("crop, resize, flip",
                              crop), ("colour jitter", jitter), ("to float, normalise", normalise))


def load(data, seconds):
    """One sample; adds the seconds of each part."""
    value = data
    for i, (_, part) in enumerate(PARTS):
        start = time.process_time()
        value = part(value)
        seconds[i] += time.process_time() - start
    return value


def measure(photographs, images):
    """Seconds of processor time a sample of each part and of collating."""
    seconds, batch = [0.0] * (len(PARTS) + 1), []
    for n in range(images):
        batch.append(load(photographs[n % len(photographs)], seconds))
        if len(batch) == BATCH or n + 1 == images:
            start = time.process_time()
            numpy.stack(batch)
            seconds[-1] += time.process_time() - start
            batch = []
    return [s / images for s in seconds]


def worker(photographs, images, seed, barrier, out):
    random.seed(seed)
    barrier.wait()
    start, before = time.perf_counter(), time.process_time()
    measure(photographs, images)
    out.put((time.perf_counter() - start, time.process_time() - before))


def together(photographs, images, processes, cores):
    """While so many processes load images, all together: milliseconds of processor time, and of the
    clock times cores, a sample."""
    out, barrier = multiprocessing.Queue(), multiprocessing.Barrier(processes)
    each = max(1, images // processes)
    running = [multiprocessing.Process(target=worker, args=(photographs, each, seed, barrier, out))
               for seed in range(processes)]
    for process in running:
        process.start()
    times = [out.get() for _ in running]
    for process in running:
        process.join()
    scale = 1000 / (each * processes)
    return scale * sum(own for _, own in times), scale * max(clock for clock, _ in times) * min(
        processes, cores)


def oversubscribed(photographs, images, factors, rounds):
    """A row a number of processes a core: the medians over rounds, in which the numbers alternate.
    """
    cores = len(os.sched_getaffinity(0))
    samples = {factor: [] for factor in factors}
    for _ in range(rounds):
        for factor in factors:
            samples[factor].append(together(photographs, images, factor * cores, cores))
    print("\n| processes a core | processor ms a sample, median | least | most | clock ms x "
          "cores, median |\n|---|---|---|---|---|")
    for factor in factors:
        own, clock = [s[0] for s in samples[factor]], [s[1] for s in samples[factor]]
        print("| %d | %.2f | %.2f | %.2f | %.2f |"
              % (factor, statistics.median(own), min(own), max(own), statistics.median(clock)))


def counts(text):
    numbers = [int(n) for n in text.split(",")]
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500, help="that are loaded")
    parser.add_argument("--oversubscribe", type=counts, default=[],
                        help="numbers of processes a core, such as 1,2,4,8,16")
    parser.add_argument("--rounds", type=int, default=5, help="of --oversubscribe")
    parser.add_argument("--cores", type=int, default=0, help="to run on (default: all)")
    args = parser.parse_args()
    if args.images < 1 or args.rounds < 1:
        parser.error("--images and --rounds: expected at least 1")
    if args.cores > len(os.sched_getaffinity(0)) or args.cores < 0:
        parser.error("--cores %d: expected 1 to %d" % (args.cores, len(os.sched_getaffinity(0))))
    if args.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:args.cores])
    rng = numpy.random.default_rng(1)
    photographs = [photograph(rng) for _ in range(16)]
    size = sum(map(len, photographs)) / len(photographs) / 1024
    print("%d x %d, %.0f KiB; Pillow %s, %d cores"
          % (WIDTH, HEIGHT, size, Image.__version__, len(os.sched_getaffinity(0))))
    measure(photographs, 50)
    seconds = measure(photographs, args.images)
    for name, s in zip([name for name, _ in PARTS] + ["collate"], seconds):
        print("| %s | %.2f |" % (name, 1000 * s))
    print("| all, ms a sample | %.2f |" % (1000 * sum(seconds)))
    if args.oversubscribe:
        oversubscribed(photographs, args.images, args.oversubscribe, args.rounds)


if __name__ == "__main__":
    main()
