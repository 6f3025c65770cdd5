# SPDX-License-Identifier: Apache-2.0
"""One of elek's peers as a child that obeys the lines of bench/driver.cpp: pixels, logits, run, memory.

    python worker.py onnxruntime|openvino MODEL.onnx BATCH THREADS
    python worker.py pytorch|pytorch-channels-last MODEL.safetensors BATCH THREADS   (named ARCH.safetensors)
Peers get normalised f32 pixels once, before timing; elek normalises uint8 in every run.
"""
import os
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(HERE, "..", "..", "tests", "fixtures", "scripts")]
import child  # noqa: E402
import generated  # noqa: E402

MEAN, STD, SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224


def onnxruntime(path, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return (lambda x: x), (lambda x: session.run(None, {name: x})[0]), ort.__version__


def openvino(path, threads):
    import openvino as ov

    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(path, "CPU", config).create_infer_request()
    return (lambda x: x), (lambda x: request.infer([x], share_inputs=True)[0]), ov.__version__


def pytorch(path, threads, channels_last=False):
    import torch
    import torchvision

    torch.set_num_threads(threads)
    arch = os.path.basename(path).split(".")[0]
    net = getattr(torchvision.models, arch)(weights=None).eval()
    state = {k: torch.from_numpy(v) for k, v in generated.read_safetensors(path).items()}
    net.load_state_dict(state, strict=False)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)

    def infer(x):
        with torch.inference_mode():
            return net(x)

    return (lambda x: torch.from_numpy(x).to(memory_format=layout)), infer, torch.__version__


class Worker:
    def __init__(self, peer, path, batch, threads):
        make = {"onnxruntime": onnxruntime, "openvino": openvino, "pytorch": pytorch,
                "pytorch-channels-last": lambda p, t: pytorch(p, t, True)}[peer]
        self.batch = batch
        self.lay_out, self.infer, self.version = make(path, threads)

    def pixels(self, path):
        images = np.fromfile(path, np.uint8).reshape(self.batch, SIZE, SIZE, 3)
        self.x = self.lay_out(generated.normalised(images, MEAN, STD))
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


def main():
    worker = Worker(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    handlers = {"pixels": worker.pixels, "logits": worker.logits, "run": worker.run, "memory": child.peak_resident}
    child.serve(handlers, version=worker.version)


if __name__ == "__main__":
    main()
