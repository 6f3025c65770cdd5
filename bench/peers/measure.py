# SPDX-License-Identifier: Apache-2.0
"""elek beside ONNX Runtime and PyTorch: one network, the same weights and pixels, f32, the same threads, taking turns in one
sitting (elek, elek+statistics, peers, and again, the order turning each round). Outputs are compared before anything is timed.

Started by bench/peers/run, which makes the environment. Prints a table; --json FILE keeps every sample. Ratios are medians of
the rounds' own ratios, since a machine's speed drifts between rounds; the range is from 10 to 90 % of the rounds.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(ROOT / "tests" / "fixtures" / "scripts")]
import child  # noqa: E402
import generated  # noqa: E402

TOLERANCE = 1e-4  # of the largest logit, between any peer and ONNX Runtime (else the first peer)
BASE = "onnxruntime"
PAUSE_S = 0.1  # before a turn: lets the threads of the one before stop spinning


def prepare(args, arch, batches):
    """Weights of one network for everybody: a state dict (safetensors), ONNX a batch, an elek model."""
    import torch
    import torchvision

    args.work.mkdir(parents=True, exist_ok=True)
    weights, model = args.work / f"{arch}.safetensors", args.work / f"{arch}.elek.safetensors"
    net = getattr(torchvision.models, arch)(weights=None).eval()
    generated.write_safetensors(str(weights), generated.fill(net, arch, hasattr(net.layer1[0], "conv3")), {})
    subprocess.run([args.elek, "prepare", "--quiet", "--arch", arch, "--weights", weights, "--out", model],
                   check=True, stdout=subprocess.DEVNULL)
    for batch in batches:
        example = (torch.zeros(batch, 3, 224, 224),)
        torch.onnx.export(net, example, args.work / f"{arch}.b{batch}.onnx", dynamo=False, opset_version=17,
                          input_names=["pixels"], output_names=["logits"])


def start(args, peer, arch, batch):
    if peer.startswith("elek"):
        criterion = peer.split("+")[1] if "+" in peer else "none"
        criterion = "std-consumer" if criterion == "statistics" else criterion
        command = [args.driver, "--model", args.work / f"{arch}.elek.safetensors", "--batch", batch, "--threads", args.threads,
                   "--statistics", criterion]
    else:
        file = f"{arch}.safetensors" if peer.startswith("pytorch") else f"{arch}.b{batch}.onnx"
        command = [sys.executable, HERE / "worker.py", peer, args.work / file, batch, args.threads]
    return child.Child(peer, command, args.threads)


def check_outputs(args, children, batch):
    """Every peer's logits on the same pixels, or no measurement. Returns each one's difference from the base."""
    pixels, logits = args.work / "pixels.u8", {}
    generated.pixels("peers", (batch, 224, 224, 3)).tofile(pixels)
    for one in children:
        out = args.work / "logits.f32"
        out.unlink(missing_ok=True)
        one.ask(f"pixels {pixels}")
        one.ask(f"logits {out}")
        logits[one.name] = np.fromfile(out, np.float32)
    base = logits[BASE if BASE in logits else children[0].name]
    scale = float(np.abs(base).max())
    assert np.isfinite(base).all() and scale > 0.1, "the base's logits are no answer"
    differences = {}
    for name, values in logits.items():
        assert values.shape == base.shape, f"{name}: {values.size} logits, expected {base.size}"
        differences[name] = float(np.abs(values - base).max()) / scale
        if not differences[name] <= TOLERANCE:
            raise SystemExit(f"{name}: logits differ by {differences[name]:.2g} of the largest, allowed {TOLERANCE}; not measured")
    return differences


def measure(args, arch, batch):
    children = [start(args, peer, arch, batch) for peer in args.peers]
    differences = check_outputs(args, children, batch)
    runs = {}
    for one in children:
        one.ask("run 2")
        runs[one.name] = max(1, round(args.turn * 1e6 / float(np.median(one.ask("run 3")["us"]))))
    rounds = {peer: [] for peer in args.peers}
    for index in range(args.rounds):
        turn = index % len(children)
        for one in children[turn:] + children[:turn]:
            time.sleep(PAUSE_S)
            one.ask("run 1")  # what the others left in the caches is not its fault
            rounds[one.name].append(one.ask(f"run {runs[one.name]}")["us"])
        print(f"\r{arch} batch {batch}: round {index + 1} of {args.rounds} ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    about = {one.name: one.about for one in children}
    for one in children:
        one.close()
    return {"arch": arch, "batch": batch, "differences": differences, "about": about, "rounds_us": rounds}


def ratio(rounds, peer, base):
    """How many times faster `peer` is than `base`: median, 10 % and 90 % of the rounds' ratios."""
    each = [np.median(b) / np.median(p) for p, b in zip(rounds[peer], rounds[base])]
    return {"median": float(np.median(each)), "p10": float(np.quantile(each, 0.1)), "p90": float(np.quantile(each, 0.9))}


def summarise(result):
    rounds, batch = result["rounds_us"], result["batch"]
    base = BASE if BASE in rounds else next(iter(rounds))
    result["summary"] = {}
    for peer, turns in rounds.items():
        ms = np.concatenate(turns) / 1e3
        quantiles = {name: float(np.quantile(ms, q)) for name, q in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9))}
        result["summary"][peer] = {"latency_ms": quantiles, "images_per_second": 1e3 * batch / quantiles["p50"],
                                   f"speed_over_{base}": ratio(rounds, peer, base)}
        if peer != "elek" and peer.startswith("elek") and "elek" in rounds:
            result["summary"][peer]["time_over_elek"] = ratio(rounds, "elek", peer)


def table(results):
    lines = []
    for result in results:
        base = BASE if BASE in result["summary"] else next(iter(result["summary"]))
        lines.append(f"\n{result['arch']}, batch {result['batch']}")
        lines.append(f"{'':24s}{'images/s':>10s}{'ms p50':>10s}{'p10 .. p90':>22s}{'speed over ' + base:>32s}{'differs by':>12s}")
        for peer, s in result["summary"].items():
            ms, over = s["latency_ms"], s[f"speed_over_{base}"]
            spread = f"{ms['p10']:.2f} .. {ms['p90']:.2f}"
            speed = f"{over['median']:.3f} ({over['p10']:.3f} .. {over['p90']:.3f})"
            lines.append(f"{peer:24s}{s['images_per_second']:10.2f}{ms['p50']:10.2f}{spread:>22s}{speed:>32s}"
                         f"{result['differences'][peer]:12.1e}")
        for peer, s in result["summary"].items():
            if "time_over_elek" in s:
                t = s["time_over_elek"]
                lines.append(f"time of {peer} over elek: {t['median']:.3f} ({t['p10']:.3f} .. {t['p90']:.3f})")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="where bin/elek and bin/elek_bench_driver are")
    parser.add_argument("--work", type=pathlib.Path, help="weights and ONNX files (default BUILD/peers)")
    parser.add_argument("--archs", default="resnet50,resnet18")
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--peers", default="elek,elek+statistics,onnxruntime,pytorch",
                        help="of elek, elek+statistics, elek+CRITERION, onnxruntime, pytorch, pytorch-channels-last, openvino")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--turn", type=float, default=0.6, help="seconds a peer runs in one round")
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured to this file")
    args = parser.parse_args()
    args.elek, args.driver = args.build / "bin" / "elek", args.build / "bin" / "elek_bench_driver"
    args.work = (args.work or args.build / "peers").resolve()
    args.peers = args.peers.split(",")
    batches = [int(word) for word in args.batches.split(",")]
    about = child.machine()
    if about["load_before"] > 0.3:
        print(f"warning: the machine is not quiet (load {about['load_before']}): do not quote these figures", file=sys.stderr)
    results = []
    for arch in args.archs.split(","):
        prepare(args, arch, batches)
        for batch in batches:
            results.append(measure(args, arch, batch))
            summarise(results[-1])
    print(f"{about['cpu']}, {args.threads} threads of {about['cores']} cores, f32, {args.rounds} rounds, elek {about['sha']}"
          f"{' (dirty)' if about['dirty'] else ''}, load before {about['load_before']}")
    versions = {peer: a.get("version") for r in results for peer, a in r["about"].items() if a.get("version")}
    print(", ".join(f"{peer} {version}" for peer, version in versions.items()))
    print(table(results))
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "threads": args.threads, "versions": versions, "results": results}))


if __name__ == "__main__":
    os.umask(0o022)
    main()
