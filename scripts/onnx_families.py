#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Networks of other families, written by PyTorch's ONNX exporter, through elek: load, run, cut, repair, export (run by hand).

    python3 scripts/onnx_families.py [--elek FILE] [--exporter new|symbolic|old] [--no-cut] [--keep DIR] [NAME...]

Weights are random, and so are batch norms' statistics and four images. Prints per network: the largest difference of elek's logits
from PyTorch's; after `elek coverage --macs 0.7 --repair refit`, of elek's logits from ONNX Runtime's on the file that elek exports.
Both are shares of the largest logit. Exit code 1 if a step fails or a difference exceeds 1e-4 (f32, a few hundred layers' rounding).
Needs torch, torchvision, onnx, onnxruntime, safetensors, Pillow; the new exporter also onnxscript.
"""
import argparse, os, shutil, subprocess, sys, tempfile
import numpy as np, onnxruntime, torch, torchvision
from PIL import Image
from safetensors.numpy import load_file

BOUND = 1e-4


class DarkNet(torch.nn.Module):
    """The first layers of a DarkNet classifier: 3x3 and 1x1 convolutions, leaky ReLU, a convolution as the classifier."""
    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for out, kernel, stride in ((16, 3, 2), (32, 3, 2), (64, 3, 2), (32, 1, 1), (64, 3, 1), (128, 3, 2), (64, 1, 1), (128, 3, 1)):
            layers += [torch.nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), torch.nn.BatchNorm2d(out), torch.nn.LeakyReLU(0.1)]
            channels = out
        self.features, self.head = torch.nn.Sequential(*layers), torch.nn.Conv2d(channels, 100, 1)

    def forward(self, x):
        return self.head(self.features(x)).mean((2, 3))


NAMES = ("resnet18", "resnet50", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf", "densenet121",
         "squeezenet1_1", "shufflenet_v2_x1_0", "googlenet", "mnasnet1_0", "darknet", "vgg11_bn")
ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
ap.add_argument("--elek", default="build/bin/elek"); ap.add_argument("--exporter", choices=("new", "symbolic", "old"), default="new")
ap.add_argument("--no-cut", action="store_true"); ap.add_argument("--keep", help="a folder for the model files, which scripts/onnx-peers --models takes")
ap.add_argument("names", nargs="*", default=NAMES)
a = ap.parse_args(); elek = os.path.abspath(a.elek); keep = os.path.abspath(a.keep) if a.keep else None; torch.manual_seed(0); rng = np.random.default_rng(0)


def run(*words):
    p = subprocess.run([elek, *words], capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError(f"elek {words[0]} ended with {p.returncode}: {p.stderr.strip().splitlines()[-1] if p.stderr.strip() else ''}")


def elek_logits(model, images, shape):
    run("run", "--model", model, "--data", "images:" + images, "--out", "logits.safetensors")
    return next(t for t in load_file("logits.safetensors").values() if t.shape == shape)


def difference(ours, theirs):
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def network_of(name):
    if name == "darknet":
        return DarkNet()
    return getattr(torchvision.models, name)(weights=None, **({"aux_logits": False, "init_weights": True} if name == "googlenet" else {}))


failed = False
os.chdir(tempfile.mkdtemp())
for name in a.names:
    side = 224 if name.startswith("vgg") else 64
    os.makedirs(f"{side}/a", exist_ok=True)
    pixels = rng.integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(f"{side}/a/{i}.png")
    # Contiguous: for an input with channels last, the new exporter writes as_strided views that hold for one image only.
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous() / 255
    net = network_of(name).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1); module.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        expected = net(x).numpy()
    try:
        if a.exporter == "old":
            torch.onnx.export(net, (x[:1],), "net.onnx", dynamo=False, opset_version=17)
        else:
            symbolic = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if a.exporter == "symbolic" else {}
            torch.onnx.export(net, (x[:2] if symbolic else x[:1],), "net.onnx", dynamo=True, verbose=False, **symbolic)
        run("prepare", "--weights", "net.onnx", "--mean", "0,0,0", "--std", "1,1,1", "--out", "net.safetensors")
        found = [difference(elek_logits("net.safetensors", str(side), expected.shape), expected)]
        if not a.no_cut:
            run("coverage", "--model", "net.safetensors", "--calibrate", "synthetic:60:1", "--evaluate", "synthetic:10:2", "--macs", "0.7",
                "--repair", "refit", "--batch", "10", "--out", "small.safetensors")
            run("convert", "--model", "small.safetensors", "--out", "small.onnx")
            session = onnxruntime.InferenceSession("small.onnx", providers=["CPUExecutionProvider"])
            theirs = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0].reshape(expected.shape)
            found.append(difference(elek_logits("small.safetensors", str(side), expected.shape), theirs))
        if keep:
            os.makedirs(keep, exist_ok=True)
            for made, suffix in (("net", ""), ("small", "-cut"))[:len(found)]:
                shutil.copy(made + ".safetensors", f"{keep}/{name}{suffix}.safetensors")
        bad = max(found) > BOUND
        print(f"{name:20} from PyTorch {found[0]:.1e}" + (f", cut: from ONNX Runtime {found[1]:.1e}" if len(found) > 1 else "") + ("  WRONG" if bad else ""), flush=True)
    except Exception as error:  # an exporter's own error too: it is told, and the next network is tried
        bad = True
        print(f"{name:20} FAILED: {str(error)[:300]}", flush=True)
    failed |= bad
sys.exit(failed)
