# SPDX-License-Identifier: Apache-2.0
"""One of elek's peers as a child process that obeys the lines of bench/driver.cpp: pixels, logits, run, collect, memory.

    python worker.py PEER FILE BATCH THREADS ABOUT PRECISION
PEER: onnxruntime, openvino (FILE is ONNX), ncnn (FILE.param, FILE.bin), pytorch, pytorch-channels-last (FILE is an elek model),
the last two also with +store, +seed-sums or +sums: forward hooks on every convolution's and linear layer's output.
  store: keep it, as pruning scripts commonly do       seed-sums: add each batch's per-channel sum of spatial means on the CPU
  sums: add up sum, sum of squares and count of positive values, as elek's std-consumer and coverage need them
ABOUT: JSON with the input's shape, mean and std. PRECISION: f32, bf16 (not ONNX Runtime) or int8 (ONNX Runtime and OpenVINO, which read it from FILE). Peers get normalised pixels once,
before timing (PyTorch in bf16, if it computes in bf16); elek normalises uint8 in every run. Only the modules that the peer needs are
imported, because the time to the first result is measured too.
"""
import json
import os
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(HERE, "..", "..", "tests", "fixtures", "scripts")]
import child  # noqa: E402
import generated  # noqa: E402


def same(x):
    return x


def onnxruntime(path, threads, precision):
    import onnxruntime as ort

    if precision == "bf16":
        raise SystemExit("onnxruntime: no bf16 on the CPU")

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return same, (lambda x: session.run(None, {name: x})[0]), ort.__version__


def openvino(path, threads, precision):
    import openvino as ov

    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1,
              "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision}  # int8 is in the file
    request = ov.Core().compile_model(path, "CPU", config).create_infer_request()
    return same, (lambda x: request.infer([x], share_inputs=True)[0]), ov.__version__


def ncnn(path, threads, precision):
    import ncnn as nc

    net = nc.Net()
    net.opt.num_threads = threads
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_int8_inference", "use_vulkan_compute"):
        setattr(net.opt, option, False)  # the precision that was asked for
    for option in ("use_bf16_packed", "use_bf16_storage"):
        setattr(net.opt, option, precision == "bf16")
    if net.load_param(path + ".param") != 0 or net.load_model(path + ".bin") != 0:
        raise SystemExit(f"{path}: ncnn cannot load it")

    def infer(x):
        extractor = net.create_extractor()
        extractor.input("in0", nc.Mat(x, 0))  # axis 0 is the batch
        status, out = extractor.extract("out0")
        if status != 0 or out.n != len(x):
            raise SystemExit(f"ncnn: status {status}, {out.n} results for {len(x)} images")
        return np.stack([np.array(out.batch(i)) for i in range(out.n)])

    return same, infer, nc.__version__


def hooks(net, mode):
    """Collects in `mode`; the collection lives as long as the returned object."""
    import torch

    kept = {}

    def store(name, y):
        kept.setdefault(name, []).append(y)

    def seed_sums(name, y):
        new = (y.mean((2, 3)) if y.dim() == 4 else y).sum(0).cpu()
        kept[name] = kept[name] + new if name in kept else new

    def sums(name, y):
        axes = (0, 2, 3) if y.dim() == 4 else (0,)
        new = [y.sum(axes, dtype=torch.float64), (y * y).sum(axes, dtype=torch.float64), (y > 0).sum(axes)]
        kept[name] = [a + b for a, b in zip(kept[name], new)] if name in kept else new

    take = {"store": store, "seed-sums": seed_sums, "sums": sums}[mode]
    for name, module in net.named_modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            # no copy: batch norm, which reads it next, writes elsewhere
            module.register_forward_hook(lambda _, __, output, name=name: take(name, output.detach()))
    return kept


def pytorch(path, threads, precision, layout="contiguous_format", mode=""):
    import torch

    import graph_net

    torch.set_num_threads(threads)
    layout, dtype = getattr(torch, layout), {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    net = graph_net.GraphNet(path).to(dtype=dtype, memory_format=layout)
    kept = hooks(net, mode) if mode else None

    def infer(x):
        assert mode == "" or kept is not None
        with torch.inference_mode():
            return net(x).float()

    return (lambda x: torch.from_numpy(x).to(dtype=dtype, memory_format=layout)), infer, torch.__version__


class Worker:
    def __init__(self, peer, path, batch, threads, about, precision):
        peer, _, mode = peer.partition("+")
        self.batch, self.about = batch, json.loads(about)
        if peer.startswith("pytorch"):
            layout = "channels_last" if peer == "pytorch-channels-last" else "contiguous_format"
            self.lay_out, self.infer, self.version = pytorch(path, threads, precision, layout, mode)
        else:
            make = {"onnxruntime": onnxruntime, "openvino": openvino, "ncnn": ncnn}[peer]
            self.lay_out, self.infer, self.version = make(path, threads, precision)

    def input_of(self, images):
        x = np.empty((self.batch, *self.about["shape"]), np.float32)
        for i, image in enumerate(images):  # one by one: temporaries of a whole batch would be the peak memory
            x[i] = generated.normalised(image[None], self.about["mean"], self.about["std"])[0]
        return self.lay_out(x)

    def image_shape(self):
        channels, height, width = self.about["shape"]
        return (self.batch, height, width, channels)

    def pixels(self, path):
        self.x = self.input_of(np.fromfile(path, np.uint8).reshape(self.image_shape()))
        return {"ok": True}

    def logits(self, path):
        np.asarray(self.infer(self.x)).astype(np.float32).tofile(path)
        return {"ok": True}

    def run(self, runs):
        us = []
        for _ in range(int(runs)):
            before = time.perf_counter_ns()
            self.infer(self.x)
            us.append((time.perf_counter_ns() - before) / 1e3)
        return {"us": us}

    def collect(self, runs, seed):
        random = np.random.default_rng(int(seed))
        for _ in range(int(runs)):
            self.infer(self.input_of(random.integers(0, 256, self.image_shape(), np.uint8)))
        return {"samples": int(runs) * self.batch}


def main():
    worker = Worker(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5], sys.argv[6])
    handlers = {"pixels": worker.pixels, "logits": worker.logits, "run": worker.run, "collect": worker.collect,
                "memory": child.peak_resident}
    child.serve(handlers, version=worker.version)


if __name__ == "__main__":
    main()
