# SPDX-License-Identifier: Apache-2.0
"""The networks that elek and its peers are measured on, and the files that each engine loads: an elek model (elek prepare, then
elek coverage where it is pruned), and from that same file ONNX and ncnn. They are made once in the work folder, and
again when elek is newer. The weights are random: speed does not depend on them, and tests/golden compares the logits with PyTorch's.
"""
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import warnings

import generated

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHIPPED = ROOT / "data" / "fashion-mnist" / "resnet20_fashion_mnist.safetensors"
IMAGENET = ["resnet18", "resnet34", "resnet50", "resnet101"]
CIFAR, FASHION = "resnet18-cifar", "fashion-mnist"
NETWORKS = [*IMAGENET, CIFAR, FASHION]
VARIANTS = {"dense": 0.0, "pruned-30": 0.3, "pruned-50": 0.5}  # share of each group's channels that is removed


def torchvision_network(name):
    import torch.nn as nn
    import torchvision

    if name in IMAGENET:
        return getattr(torchvision.models, name)(weights=None).eval()
    net = torchvision.models.resnet18(weights=None, num_classes=10)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)  # the CIFAR stem: 3x3, stride 1, no max pool
    net.maxpool = nn.Identity()
    return net.eval()


class Files:
    def __init__(self, work, elek):
        self.work, self.elek = work, elek
        work.mkdir(parents=True, exist_ok=True)

    def path(self, name, variant, kind):
        return self.work / f"{name}.{variant}.{kind}"

    def _stale(self, *paths):
        return any(not p.exists() or p.stat().st_mtime < self.elek.stat().st_mtime for p in paths)

    def _elek(self, *words):
        done = subprocess.run([self.elek, *map(str, words), "--quiet"], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"elek {' '.join(map(str, words))}: status {done.returncode}\n{done.stderr}")

    def model(self, name, variant):
        """The elek model file."""
        out = self.path(name, variant, "safetensors")
        if not self._stale(out):
            return out
        if variant != "dense":
            self._elek("coverage", "--model", self.model(name, "dense"), "--calibrate", "synthetic:2:1",
                       "--evaluate", "synthetic:2:2", "--batch", 2, "--metric", "magnitude", "--repair", "none",
                       "--channels", VARIANTS[variant], "--out", out)
        elif name == FASHION:
            self._elek("prepare", "--arch", "resnet20", "--input", "1,28,28", "--weights", SHIPPED, "--mean", 0.286, "--std", 0.353,
                       "--out", out)
        else:
            weights, net = self.path(name, variant, "weights"), torchvision_network(name)
            generated.write_safetensors(str(weights), generated.fill(net, name, hasattr(net.layer1[0], "conv3")), {})
            stem = ("--stem", "cifar", "--input", "3,32,32") if name == CIFAR else ()
            self._elek("prepare", "--arch", name.split("-")[0], *stem, "--weights", weights, "--out", out)
            weights.unlink()
        return out

    def quantised(self, name, variant):
        """The same network in int8, and its ONNX, which ONNX Runtime and OpenVINO run. Rounded to nearest: speed does not depend
        on the weights."""
        out, onnx = self.path(name, variant, "int8.safetensors"), self.path(name, variant, "int8.onnx")
        if self._stale(out, onnx):
            self._elek("quantize", "--model", self.model(name, variant), "--calibrate", "synthetic:8:1", "--rounding", "nearest",
                       "--batch", 8, "--out", out)
            self._elek("convert", "--model", out, "--out", onnx)
        return out

    def exports(self, name, variant):
        """ONNX with batch 1, and ncnn's two files (made by pnnx, f32)."""
        onnx, param, binary = (self.path(name, variant, kind) for kind in ("onnx", "ncnn.param", "ncnn.bin"))
        if not self._stale(onnx, param, binary, self.model(name, variant)):
            return
        import torch

        import graph_net

        net = graph_net.GraphNet(str(self.model(name, variant)))
        example = torch.zeros(1, *net.shape)
        script = self.path(name, variant, "pt")
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            torch.onnx.export(net, (example,), onnx, dynamo=False, opset_version=17,
                              input_names=["pixels"], output_names=["logits"])
            torch.jit.trace(net, example).save(script)
        shape = ",".join(map(str, example.shape))
        pnnx = pathlib.Path(sys.executable).parent / "pnnx"
        subprocess.run([pnnx, script, f"inputshape=[{shape}]", "fp16=0", f"ncnnparam={param}", f"ncnnbin={binary}"],
                       check=True, cwd=self.work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for left in [script, *self.work.glob("*pnnx*"), *self.work.glob("*_ncnn.py")]:
            left.unlink()

    def onnx_of_batch(self, name, variant, batch, kind="onnx"):
        """ONNX with a fixed batch, so that a runtime can plan its memory. One file; the next call overwrites it."""
        import onnx

        model = onnx.load(self.path(name, variant, kind))
        for value in [*model.graph.input, *model.graph.output]:
            value.type.tensor_type.shape.dim[0].dim_value = batch
        del model.graph.value_info[:]
        path = self.work / "batch.onnx"
        onnx.save(model, path)
        return path

    def about(self, name, variant):
        """What a worker needs to make the network's input from uint8 pixels."""
        import graph_net

        about = graph_net.metadata(self.model(name, variant))
        return {"shape": about["graph"]["nodes"][0]["shape"], **about["preprocessing"]}

    def macs(self, name, variant):
        done = subprocess.run([self.elek, "info", "--json", "--model", self.model(name, variant)], check=True, capture_output=True)
        return json.loads(done.stdout)["macs"]
