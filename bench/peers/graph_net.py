# SPDX-License-Identifier: Apache-2.0
"""Makes a torch module from any elek model file, pruned ones too: the graph is JSON in the file's metadata, the weights are its
tensors. So every peer runs the same network as elek, whatever was cut. Each use is checked: bench/peers/measure.py compares the
logits before it times anything.
"""
import json
import os
import struct
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "fixtures", "scripts"))
import generated  # noqa: E402


def metadata(path):
    """What elek wrote beside the tensors: graph, preprocessing, labels, history."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return json.loads(header["__metadata__"]["elek"])


class ChannelMap(nn.Module):
    """y[:, i] = x[:, source[i], ::stride, ::stride], zeros where source[i] is -1 (a shortcut without weights)."""

    def __init__(self, source, stride):
        super().__init__()
        self.stride = stride
        self.register_buffer("source", torch.tensor(source), persistent=False)

    def forward(self, x):
        x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, 1))
        return x.index_select(1, torch.where(self.source < 0, x.shape[1] - 1, self.source))


class ChannelScale(nn.Module):
    def forward(self, x, s):
        return x * s.reshape(s.shape[0], s.shape[1], 1, 1)


class Add(nn.Module):
    def forward(self, x, y):
        return x.add_(y)  # as torchvision's blocks do; the graph's first input is the block's own result


class Concat(nn.Module):
    def forward(self, *inputs):
        return torch.cat(inputs, 1)


def both(value):
    """(height, width) of an attribute that is one number where both are equal."""
    return tuple(value) if isinstance(value, list) else (value, value)


class Padded(nn.Sequential):
    """A window whose sides are padded differently; torch pads opposite sides equally. `value`: what the padding reads as."""

    def __init__(self, padding, value, window):
        super().__init__(nn.ConstantPad2d(padding, value), window)

    def state_dict(self, *args, **kwargs):
        return self[1].state_dict(*args, **kwargs)

    def load_state_dict(self, *args, **kwargs):
        return self[1].load_state_dict(*args, **kwargs)


def windowed(make, padding, value):
    """make(padding) for equal padding; otherwise a module that pads first."""
    if not isinstance(padding, list):
        return make(padding)
    top, left, bottom, right = padding
    if (top, left) == (bottom, right):
        return make((top, left))
    return Padded((left, right, top, bottom), value, make(0))


def pool_of(node):
    kernel, stride, padding = both(node["kernel"]), both(node["stride"]), node["padding"]
    ceil = node.get("ceil_mode", False)
    if node["op"] == "max_pool":
        return windowed(lambda p: nn.MaxPool2d(kernel, stride, p, ceil_mode=ceil), padding, float("-inf"))
    counts = node.get("count_include_pad", True)
    if not counts and isinstance(padding, list):
        raise SystemExit(f"node '{node['name']}': torch has no average that leaves out uneven padding")
    return windowed(lambda p: nn.AvgPool2d(kernel, stride, p, ceil_mode=ceil, count_include_pad=counts), padding, 0.0)


def module_of(node, channels):
    op = node["op"]
    if op == "conv2d":
        return windowed(lambda padding: nn.Conv2d(channels, node["out_channels"], both(node["kernel"]), both(node["stride"]), padding,
                                                  both(node.get("dilation", 1)), node["groups"], node["bias"]),
                        node["padding"], 0.0)
    if op == "batch_norm":
        return nn.BatchNorm2d(channels, node["eps"])
    if op == "linear":
        return nn.Linear(channels, node["out_features"], node["bias"])
    if op == "channel_map":
        return ChannelMap(node["source"], node["stride"])
    if op in ("max_pool", "avg_pool"):
        return pool_of(node)
    if op == "clip":
        return nn.Hardtanh(node["low"], node["high"])
    if op == "leaky_relu":
        return nn.LeakyReLU(node["slope"])
    plain = {"relu": lambda: nn.ReLU(inplace=True), "sigmoid": nn.Sigmoid, "hard_swish": nn.Hardswish, "silu": nn.SiLU,
             "add": Add, "channel_scale": ChannelScale, "concat": Concat,
             "global_avg_pool": lambda: nn.AdaptiveAvgPool2d(1),
             "flatten": lambda: nn.Flatten(1)}
    if op not in plain:
        raise SystemExit(f"node '{node['name']}': operator {op} is unknown to bench/peers/graph_net.py")
    return plain[op]()


class GraphNet(nn.Module):
    """The graph's nodes in their order; a value is dropped after its last reader, as in a hand-written forward()."""

    def __init__(self, path):
        super().__init__()
        self.about = about = metadata(path)
        nodes = about["graph"]["nodes"]
        self.mean, self.std = about["preprocessing"]["mean"], about["preprocessing"]["std"]
        self.shape = tuple(nodes[0]["shape"])  # channels, height, width
        self.output = about["graph"]["output"]
        weights = {name: torch.from_numpy(value) for name, value in generated.read_safetensors(path).items()}
        channels, last, self.steps = {nodes[0]["name"]: self.shape[0]}, {self.output: len(nodes)}, []
        for index, node in enumerate(nodes):
            for name in node.get("inputs", []):
                last[name] = max(last.get(name, 0), index)
        for index, node in enumerate(nodes[1:], start=1):
            name, inputs = node["name"], node["inputs"]
            if node["op"] in ("relu", "add") and last[inputs[0]] > index:
                raise SystemExit(f"node '{name}': writes over '{inputs[0]}', which is read again")
            module = module_of(node, channels[inputs[0]])
            own = {key: weights.pop(f"{name}.{key}") for key in module.state_dict() if key != "num_batches_tracked"}
            module.load_state_dict(own, strict=False)
            channels[name] = node.get("out_channels", node.get("out_features", len(node.get("source", [])) or channels[inputs[0]]))
            if node["op"] == "concat":
                channels[name] = sum(channels[i] for i in inputs)
            self.add_module(name.replace(".", "_"), module)
            self.steps.append((name, name.replace(".", "_"), inputs, [i for i in dict.fromkeys(inputs) if last[i] == index]))
        if weights:
            raise SystemExit(f"{path}: tensor '{next(iter(weights))}' belongs to no node")
        self.eval()

    def forward(self, x):
        values = {"input": x}
        for name, module, inputs, dead in self.steps:
            values[name] = self._modules[module](*(values[i] for i in inputs))
            for i in dead:
                del values[i]
        return values[self.output]

    def save(self, path, action):
        """Writes the weights of now as a model file for elek: the same graph, and a history whose last entry is `action`, what was
        done. elek checks the file when it reads it."""
        weights = {f"{name}.{key}": value.detach().numpy() for name, module, *_ in self.steps
                   for key, value in self._modules[module].state_dict().items() if key != "num_batches_tracked"}
        entry = dict.fromkeys(("criterion", "target", "repair", "source_hash", "replayed", "calibration", "tap", "kernels",
                               "repair_data", "version"), "")
        entry.update(action=action, calibration_samples=0, repair_samples=0, seed=0, cuts=[])
        about = dict(self.about, history=self.about["history"] + [entry])
        generated.write_safetensors(path, weights, {"elek": json.dumps(about)})
