# SPDX-License-Identifier: Apache-2.0
"""Times a training step (forward, backward, Adam; batch 50, f32) of elek and of PyTorch, in turns, and prints a Markdown table.
    bench/peers/train_step.py [--bench build/bin/bench_train] [--rounds 3] [--seconds 4] [--threads 1,2]
The networks have no batch norm: elek trains with it folded, and PyTorch gets convolutions with biases. PyTorch runs in both
memory formats; the faster one counts. Needs torch (bench/peers/requirements.txt).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

NETWORKS = {  # channels, size, widths, blocks a stage, projection shortcuts
    "shipped": (1, 28, (16, 32, 64), 3, False),
    "cifar_resnet56": (3, 32, (16, 32, 64), 9, False),
    "resnet18_cifar": (3, 32, (64, 128, 256, 512), 2, True),
}


def torch_network(name):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride, projects):
            super().__init__()
            self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
            self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
            self.changes = stride > 1 or inputs != outputs
            self.pad = outputs - inputs
            self.stride = stride
            self.project = nn.Conv2d(inputs, outputs, 1, stride) if projects and self.changes else None

        def forward(self, x):
            y = self.second(F.relu(self.first(x)))
            if self.project is not None:
                x = self.project(x)
            elif self.changes:
                x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.pad))
            return F.relu(y + x)

    channels, size, widths, blocks, projects = NETWORKS[name]
    layers, inputs = [nn.Conv2d(channels, widths[0], 3, 1, 1), nn.ReLU()], widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(Block(inputs, width, 2 if block == 0 and stage > 0 else 1, projects))
            inputs = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10)]
    return nn.Sequential(*layers), torch.randn(50, channels, size, size)


def torch_child(name, threads, seconds):
    """Prints the median milliseconds of a step in each memory format."""
    import torch

    torch.set_num_threads(threads)
    network, x = torch_network(name)
    gradient = torch.full((50, 10), 0.01)
    found = {}
    for memory_format in (torch.contiguous_format, torch.channels_last):
        network = network.to(memory_format=memory_format)
        x = x.contiguous(memory_format=memory_format)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-6)
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            optimizer.zero_grad()
            network(x).backward(gradient)
            optimizer.step()
            times.append(1e3 * (time.perf_counter() - start))
        found[str(memory_format)] = statistics.median(times)
    print(json.dumps(found))


def torch_ms(name, threads, seconds):
    out = subprocess.run([sys.executable, __file__, "--child", name, str(threads), str(seconds)], check=True, capture_output=True, text=True)
    return min(json.loads(out.stdout.splitlines()[-1]).values())


def elek_ms(bench, name, threads, seconds):
    out = subprocess.run(
        [bench, f"--benchmark_filter=^step/{name}/threads:{threads}/", "--benchmark_format=json", f"--benchmark_min_time={seconds}"],
        check=True, capture_output=True, text=True)
    return json.loads(out.stdout)["benchmarks"][0]["real_time"]


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default=os.path.join(root, "build", "bin", "bench_train"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return torch_child(options.child[0], int(options.child[1]), float(options.child[2]))
    print("| network | threads | elek, ms a step | PyTorch, ms a step | PyTorch / elek |")
    print("|---|---:|---:|---:|---:|")
    for name in options.networks.split(","):
        for threads in (int(t) for t in options.threads.split(",")):
            ours, theirs = [], []
            for _ in range(options.rounds):
                ours.append(elek_ms(options.bench, name, threads, options.seconds))
                theirs.append(torch_ms(name, threads, options.seconds))
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"| {name} | {threads} | {a:.1f} | {b:.1f} | {b / a:.2f} |", flush=True)


if __name__ == "__main__":
    main()
