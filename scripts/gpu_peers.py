# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the same GPU, in the same session as our own figures (scripts/gpu-session): one JSON object per line.

The device's own copy bandwidth and GEMM rate; then ResNet-50 and 18 in f16 at batch 256, 32 and 1, in the forms
  graph         channels_last in a torch.cuda.CUDAGraph: the fastest that takes seconds to prepare
  channels_last, eager
  reduce-overhead, max-autotune   torch.compile; minutes to prepare, so they come last
run_ms is the median of CUDA events around one warm forward pass, on data that is on the device; wall_ms is the time on the host's
clock from the call until the device has finished. A form that fails gives a line with "error". docs/cuda.md says what has run on a GPU.
"""
import json
import statistics
import time

import torch
import torchvision


def medians_ms(work, warm=10, samples=30):
    """The device's time and the host's."""
    for _ in range(warm):
        work()
    torch.cuda.synchronize()
    device, wall = [], []
    for _ in range(samples):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began = time.perf_counter()
        start.record()
        work()
        end.record()
        end.synchronize()
        wall.append((time.perf_counter() - began) * 1e3)
        device.append(start.elapsed_time(end))
    return statistics.median(device), statistics.median(wall)


def report(**facts):
    print(json.dumps(facts), flush=True)


def recorded(model, x):
    """One forward pass as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            model(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        model(x)
    return graph.replay


def measure(form, arch, batch):
    model = getattr(torchvision.models, arch)(weights=None).cuda().half().eval()
    x = torch.randn(batch, 3, 224, 224, device="cuda", dtype=torch.half)
    if form != "eager":
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    if form in ("reduce-overhead", "max-autotune"):
        model = torch.compile(model, mode=form)
    with torch.inference_mode():
        work = recorded(model, x) if form == "graph" else lambda: model(x)
        return medians_ms(work)


def networks(form, cases):
    for arch, batch in cases:
        facts = {"arch": arch, "batch": batch, "precision": "f16", "form": form}
        try:
            ms, wall_ms = measure(form, arch, batch)
        except Exception as error:  # the other forms still run
            report(**facts, error=str(error)[:300])
            continue
        report(**facts, run_ms=ms, wall_ms=wall_ms, images_per_second=batch / ms * 1e3)


def peaks():
    a = torch.randn(1 << 28, device="cuda", dtype=torch.float32)
    b = torch.empty_like(a)
    ms, _ = medians_ms(lambda: b.copy_(a))
    report(peak="copy", bytes_per_second=2 * a.numel() * 4 / ms * 1e3)
    n = 8192
    x, y = (torch.randn(n, n, device="cuda", dtype=torch.half) for _ in range(2))
    ms, _ = medians_ms(lambda: x @ y)
    report(peak="gemm f16", flops_per_second=2 * n**3 / ms * 1e3)


if __name__ == "__main__":
    torch.backends.cudnn.benchmark = True
    report(torch=torch.__version__, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(), device=torch.cuda.get_device_name(),
           cudnn_benchmark=torch.backends.cudnn.benchmark, cudnn_allow_tf32=torch.backends.cudnn.allow_tf32,
           matmul_allow_tf32=torch.backends.cuda.matmul.allow_tf32,
           f16_reduced_precision_reduction=torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction)
    peaks()
    first = [("resnet50", batch) for batch in (256, 1, 32)]
    rest = [("resnet18", batch) for batch in (256, 1, 32)]
    for form in ("graph", "channels_last", "eager"):
        networks(form, first)
    networks("reduce-overhead", first)
    for form in ("graph", "eager"):
        networks(form, rest)
    networks("max-autotune", first)
