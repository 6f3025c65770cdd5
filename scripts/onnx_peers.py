# SPDX-License-Identifier: Apache-2.0
"""Runs what elek writes with other tools (scripts/onnx-peers makes their environment) and prints a table.

Each network is made by `elek prepare`, and most also cut by `elek coverage`. `elek run` gives the logits of a few random images. Then:
ONNX's checker with shape inference; ONNX Runtime and OpenVINO, for each operator set; ncnn, from the usual set through pnnx; PyTorch, by
the ten lines of docs/other-tools.md, where torchvision has the network. A number is the largest difference of a logit over the largest
logit. Exit code 1 if a tool refuses a network or differs by more than 2e-5, unless KNOWN says why; and also if a tool of KNOWN, or
one whose fault faults() shows with a smallest file, has become right: then the entry must go.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "fixtures" / "scripts"))
import generated  # noqa: E402

BOUND = 2e-5
IMAGES = 3
PIXELS = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
# Name: words of `elek prepare`, whether it is cut too, its name in torchvision.
ARCHITECTURES = {
    "cifar_resnet20": (["--input", "3,32,32", "--classes", "10"], True, None),
    "resnet18": (["--input", "3,64,64", "--classes", "10"], True, "resnet18"),
    "resnet50": (["--input", "3,64,64", "--classes", "10"], True, "resnet50"),
    "resnext50_32x4d": (["--input", "3,64,64", "--classes", "10"], True, None),
}
# What a tool cannot run; faults() shows why.
KNOWN = {
    ("ncnn", "windows"): "pnnx leaves an AveragePool whose sides have different padding as it is, and ncnn does not know it",
}
FIXTURES = ["mobile", "windows", "joined", "shuffled", "option_a"]


class Bench:
    """One elek, one folder, one set of images."""

    def __init__(self, elek, folder):
        self.elek, self.folder = elek, pathlib.Path(folder)

    def run(self, *words):
        done = subprocess.run([self.elek, *map(str, words), "--quiet"], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"elek {' '.join(map(str, words))}: {done.stderr}")

    def networks(self, only, given):
        """(name, model file, torchvision's name or None) of those whose names contain a word of `only`, or of the files given"""
        for path in given:
            yield pathlib.Path(path).stem, pathlib.Path(path).resolve(), None
        if given:
            return

        def wanted(name):
            return not only or any(word in name for word in only)

        for arch, (words, is_cut, torch_name) in ARCHITECTURES.items():
            if not wanted(arch):
                continue
            dense = self.folder / f"{arch}.safetensors"
            self.run("prepare", "--arch", arch, *words, *PIXELS, "--random", 1, "--out", dense)
            yield arch, dense, torch_name
            if is_cut:
                cut = self.folder / f"{arch}-cut.safetensors"
                self.run("coverage", "--model", dense, "--metric", "magnitude", "--channels", 0.4, "--round-to", 1, "--repair", "none",
                         "--calibrate", "synthetic:2:1", "--evaluate", "synthetic:2:2", "--out", cut)
                yield arch + "-cut", cut, torch_name
        for name in filter(wanted, FIXTURES):
            model = self.folder / f"{name}.safetensors"
            self.run("prepare", "--weights", ROOT / "tests" / "fixtures" / "onnx" / f"{name}.onnx", "--out", model)
            yield name, model, None

    def logits(self, name, model, shape):
        """The network's input and elek's logits for it."""
        from PIL import Image

        channels, height, width = shape
        pixels = generated.pixels(name, (IMAGES, height, width, channels))
        folder = self.folder / f"{name}-images"
        (folder / "class").mkdir(parents=True)
        for i, image in enumerate(pixels):
            Image.fromarray(image.squeeze()).save(folder / "class" / f"{i}.png")
        out = self.folder / "logits.safetensors"
        self.run("run", "--model", model, "--data", f"images:{folder}", "--out", out)
        return pixels, generated.read_safetensors(out)["logits"]

    def onnx(self, model, operator_set):
        path = self.folder / f"net{operator_set}.onnx"  # pnnx changes other characters of a name
        self.run("convert", "--model", model, "--out", path, "--opset", operator_set)
        return path


def checked(path):
    import onnx

    onnx.checker.check_model(str(path), full_check=True)


def by_onnxruntime(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def by_openvino(path, x):
    import openvino

    return openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]


def by_ncnn(path, x):
    import ncnn
    import pnnx

    program = os.path.join(os.path.dirname(pnnx.__file__), "pnnx")
    program = program if os.path.isfile(program) else os.path.join(program, "pnnx")
    shape = ",".join(map(str, (1, *x.shape[1:])))
    made = subprocess.run([program, path.name, f"inputshape=[{shape}]", "fp16=0"], cwd=path.parent, capture_output=True, text=True)
    stem = str(path.with_suffix(""))
    if made.returncode or not os.path.exists(stem + ".ncnn.param"):
        raise RuntimeError("pnnx: " + (made.stderr.strip().splitlines() or ["no reason given"])[-1])
    net = ncnn.Net()
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_vulkan_compute"):
        setattr(net.opt, option, False)
    if net.load_param(stem + ".ncnn.param") != 0 or net.load_model(stem + ".ncnn.bin") != 0:
        raise RuntimeError("ncnn cannot load what pnnx made")
    outputs = []
    for image in x:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image))
        status, out = extractor.extract("out0")
        if status != 0:
            raise RuntimeError(f"ncnn: status {status}")
        outputs.append(np.array(out).reshape(-1))
    return np.stack(outputs)


def by_torch(model, torch_name, x):
    """By the lines of docs/other-tools.md, with this network's names."""
    import torch

    text = (ROOT / "docs" / "other-tools.md").read_text()
    lines = re.search(r"```python\n(import torch, torchvision\n.*?)```", text, re.S).group(1)
    lines = lines.replace("small.safetensors", str(model)).replace("resnet18", torch_name)
    names = {}
    exec(lines, names)  # noqa: S102: our own documentation
    with torch.no_grad():
        return names["net"](torch.from_numpy(x)).numpy()


def faults():
    """(tool, what it does, model, shape of x): the smallest files that a tool computes wrongly or refuses. elek writes none of the first
    two; it writes the others where a network has such a pool."""
    import onnx
    from onnx import TensorProto, helper

    def model(shape, nodes, constants=()):
        graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], list(constants))
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
        return onnx.shape_inference.infer_shapes(made)

    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 6, 1, 1], [2.0**i for i in range(12)])
    order = helper.make_tensor("order", TensorProto.INT64, [6], [0, 2, 4, 1, 3, 5])
    shuffle = model([1, 6, 3, 3], [helper.make_node("Gather", ["x", "order"], ["z"], axis=1),
                                   helper.make_node("Conv", ["z", "w"], ["y"], kernel_shape=[1, 1])], [weights, order])
    for tool in ("openvino", "ncnn"):
        yield tool, "Gather that shuffles six channels, then a convolution: wrong", shuffle, [1, 6, 3, 3]
    uneven = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 1, 1, 0], count_include_pad=1)
    yield "ncnn", "AveragePool with padding at the left and below: refused", model([1, 1, 3, 3], [uneven]), [1, 1, 3, 3]
    beyond = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1,
                              count_include_pad=1)
    yield "openvino", "AveragePool with ceil_mode and count_include_pad, a window beyond the padding: wrong", model(
        [1, 1, 4, 4], [beyond]), [1, 1, 4, 4]


def faults_that_went(folder):
    """Prints what each tool makes of its file of faults(), and returns a line for each that it runs rightly."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    went = []
    for tool, what, model, shape in faults():
        path = pathlib.Path(folder) / "fault.onnx"
        onnx.save(model, path)
        x = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
        want = ReferenceEvaluator(model).run(None, {"x": x})[0]
        try:
            off = difference({"openvino": by_openvino, "ncnn": by_ncnn}[tool](path, x), want)
            found = f"differs by {off:.1e}"
        except Exception as error:  # a tool's own
            off, found = np.inf, (str(error).strip().splitlines() or ["refused"])[0][:100]
        print(f"{tool}: {what}; now: {found}", flush=True)
        if off <= BOUND:
            went.append(f"{tool}: {what}: no longer; take it out of faults(), KNOWN and docs/other-tools.md")
    return went


def difference(got, want):
    return float(np.abs(np.asarray(got).reshape(want.shape) - want).max() / np.abs(want).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elek", required=True)
    parser.add_argument("--opset", type=int, nargs="+", default=[11, 13, 17, 28], help="operator sets to write")
    parser.add_argument("--only", nargs="+", default=[], help="networks whose names contain one of these")
    parser.add_argument("--models", nargs="+", default=[], help="model files of elek to show instead, such as onnx_families.py --keep")
    options = parser.parse_args()
    import onnx

    failures = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.elek, folder)
        print(f"{'network':22} {'set':>3}  {'checker':9} {'onnxruntime':12} {'openvino':12} {'ncnn':12} torch")
        for name, model, torch_name in bench.networks(options.only, options.models):
            inputs = onnx.load(bench.onnx(model, 13)).graph.input[0].type.tensor_type.shape.dim
            pixels, want = bench.logits(name, model, [d.dim_value for d in inputs[1:]])
            about = {p.key: p.value for p in onnx.load(bench.onnx(model, 13)).metadata_props}
            mean, std = ([float(v) for v in about[f"elek.{key}"].split(",")] for key in ("mean", "std"))
            x = generated.normalised(pixels, mean, std).astype(np.float32)
            for operator_set in options.opset:
                path = bench.onnx(model, operator_set)
                tools = {"checker": lambda: checked(path), "onnxruntime": lambda: by_onnxruntime(path, x),
                         "openvino": lambda: by_openvino(path, x)}
                if operator_set == 13:
                    tools["ncnn"] = lambda: by_ncnn(path, x)
                    if torch_name:
                        tools["torch"] = lambda: by_torch(model, torch_name, x)
                cells = []
                for tool in ("checker", "onnxruntime", "openvino", "ncnn", "torch"):
                    cell = "-"
                    if tool in tools:
                        try:
                            got = tools[tool]()
                            cell = "ok" if got is None else f"{difference(got, want):.1e}"
                            right = got is None or difference(got, want) <= BOUND
                            if not right and (tool, name) not in KNOWN:
                                failures.append(f"{name}, set {operator_set}: {tool} differs by {cell} of the largest logit")
                            if right and (tool, name) in KNOWN:
                                failures.append(f"{name}: {tool} runs it now; take it out of KNOWN")
                        except Exception as error:  # a tool's own; the table goes on
                            cell = "refused"
                            if (tool, name) not in KNOWN:
                                reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
                                failures.append(f"{name}, set {operator_set}: {tool}: {reason}")
                    cells.append(cell)
                print(f"{name:22} {operator_set:3}  {cells[0]:9} {cells[1]:12} {cells[2]:12} {cells[3]:12} {cells[4]}", flush=True)
        failures += faults_that_went(folder)
    for (tool, name), why in KNOWN.items():
        print(f"{name}, {tool}: {why}")
    for line in failures:
        print(line)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
