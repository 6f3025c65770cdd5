# SPDX-License-Identifier: Apache-2.0
"""PyTorch on bench/memory's network, as a child that obeys lines: collect N SEED, memory, pixels FILE, logits FILE.

    python pytorch_child.py plain|store|sums WEIGHTS.safetensors BATCH THREADS
store: forward hooks keep every convolution's output, as pruning scripts commonly do (the seed of this project among them).
sums: the same hooks add up each channel's sum, sum of squares and count of positive values, and keep nothing else.
"""
import os
import sys

import numpy as np
import torch
import torch.nn as nn
import torchvision

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(HERE, "..", "..", "tests", "fixtures", "scripts")]
import child  # noqa: E402
import generated  # noqa: E402

MEAN, STD, SHAPE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (32, 32, 3)


def network():
    """ResNet-18 with the CIFAR stem: 3x3, stride 1, no max pool."""
    net = torchvision.models.resnet18(weights=None, num_classes=10)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net.eval()


def hook(net, mode):
    """Collects from every convolution in `mode`; what it returns holds the collection alive."""
    kept = {}

    def store(name):
        def run(module, inputs, output):
            kept.setdefault(name, []).append(output.detach())

        return run

    def sums(name):
        def run(module, inputs, output):
            y = output.detach()
            new = [y.sum((0, 2, 3), dtype=torch.float64), (y * y).sum((0, 2, 3), dtype=torch.float64), (y > 0).sum((0, 2, 3))]
            kept[name] = [a + b for a, b in zip(kept[name], new)] if name in kept else new

        return run

    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and mode != "plain":
            module.register_forward_hook(store(name) if mode == "store" else sums(name))
    return kept


class PyTorch:
    def __init__(self, mode, weights, batch, threads):
        torch.set_num_threads(threads)
        self.batch = batch
        self.net = network()
        state = {k: torch.from_numpy(v) for k, v in generated.read_safetensors(weights).items()}
        self.net.load_state_dict(state, strict=False)
        self.kept = hook(self.net, mode)

    def infer(self, images):
        with torch.inference_mode():
            return self.net(torch.from_numpy(generated.normalised(images, MEAN, STD))).numpy()

    def pixels(self, path):
        self.images = np.fromfile(path, np.uint8).reshape(self.batch, *SHAPE)
        return {"ok": True}

    def logits(self, path):
        self.infer(self.images).astype(np.float32).tofile(path)
        return {"ok": True}

    def collect(self, runs, seed):
        random = np.random.default_rng(int(seed))
        for _ in range(int(runs)):
            self.infer(random.integers(0, 256, (self.batch, *SHAPE), np.uint8))
        return {"samples": int(runs) * self.batch}


def main():
    one = PyTorch(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    handlers = {"pixels": one.pixels, "logits": one.logits, "collect": one.collect, "memory": child.peak_resident}
    child.serve(handlers, version=torch.__version__)


if __name__ == "__main__":
    main()
