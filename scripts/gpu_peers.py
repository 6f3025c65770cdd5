# SPDX-License-Identifier: Apache-2.0
"""PyTorch on the same GPU, in the same session as our own figures (scripts/gpu-session): one JSON object per line.

ResNet-18 and 50 in f16: eager, channels_last, torch.compile(max-autotune); then the device's own copy bandwidth and GEMM rate.
Times are medians of CUDA events around one warm forward pass. docs/cuda.md says what has run on a GPU.
"""
import json
import statistics

import torch
import torchvision


def median_ms(work, warm=10, samples=30):
    for _ in range(warm):
        work()
    torch.cuda.synchronize()
    times = []
    for _ in range(samples):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def report(**facts):
    print(json.dumps(facts), flush=True)


def networks(form, cases):
    torch.backends.cudnn.benchmark = True
    for arch, batch in cases:
        model = getattr(torchvision.models, arch)(weights=None).cuda().half().eval()
        x = torch.randn(batch, 3, 224, 224, device="cuda", dtype=torch.half)
        if form != "eager":
            model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
        if form == "compile":
            model = torch.compile(model, mode="max-autotune")
        with torch.inference_mode():
            ms = median_ms(lambda: model(x))
        report(arch=arch, batch=batch, precision="f16", form=form, run_ms=ms, images_per_second=batch / ms * 1e3,
               torch=torch.__version__, cudnn=torch.backends.cudnn.version())


def peaks():
    a = torch.empty(1 << 28, device="cuda", dtype=torch.float32)
    b = torch.empty_like(a)
    ms = median_ms(lambda: b.copy_(a))
    report(peak="copy", bytes_per_second=2 * a.numel() * 4 / ms * 1e3)
    n = 8192
    x, y = (torch.randn(n, n, device="cuda", dtype=torch.half) for _ in range(2))
    ms = median_ms(lambda: x @ y)
    report(peak="gemm f16", flops_per_second=2 * n**3 / ms * 1e3)


if __name__ == "__main__":
    peaks()
    cases = [(arch, batch) for arch in ("resnet50", "resnet18") for batch in (256, 1)]
    for form in ("channels_last", "eager", "compile"):  # the most important form first; compiling takes minutes, so it is last
        networks(form, cases)
