# SPDX-License-Identifier: Apache-2.0
"""Peak RSS of collecting statistics: ResNet-18 with the CIFAR stem, f32, batches of 50, elek beside PyTorch.

Every figure is the peak resident memory (VmHWM) of a fresh child process that loads the network, runs 10 or 40 batches of
random pixels and collects what its name says; the median of a few processes. The two networks' logits are compared first.
Started by bench/memory/run, which makes the environment as bench/peers/run does.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT / "tests" / "fixtures" / "scripts")]
import child  # noqa: E402
import generated  # noqa: E402

TOLERANCE = 1e-4  # of the largest logit
CASES = {  # name: (engine, what is collected)
    "elek": ("elek", "none"),
    "elek, std-consumer's sums": ("elek", "std-consumer"),
    "elek, Wanda's norms": ("elek", "wanda"),
    "PyTorch": ("pytorch", "plain"),
    "PyTorch, hooks that sum": ("pytorch", "sums"),
    "PyTorch, hooks that store": ("pytorch", "store"),
}


def start(args, name):
    engine, what = CASES[name]
    if engine == "elek":
        command = [args.driver, "--model", args.model, "--batch", args.batch, "--threads", args.threads, "--statistics", what]
    else:
        command = [sys.executable, HERE / "pytorch_child.py", what, args.weights, args.batch, args.threads]
    return child.Child(name, command, args.threads)


def prepare(args):
    import pytorch_child

    args.work.mkdir(parents=True, exist_ok=True)
    args.weights, args.model = args.work / "resnet18_cifar.safetensors", args.work / "resnet18_cifar.elek.safetensors"
    generated.write_safetensors(str(args.weights), generated.fill(pytorch_child.network(), "memory", False), {})
    subprocess.run([args.build / "bin" / "elek", "prepare", "--quiet", "--arch", "resnet18", "--stem", "cifar", "--input", "3,32,32",
                    "--weights", args.weights, "--out", args.model], check=True, stdout=subprocess.DEVNULL)


def check_outputs(args):
    pixels, answers = args.work / "pixels.u8", []
    generated.pixels("memory", (args.batch, 32, 32, 3)).tofile(pixels)
    for name in CASES:
        one, out = start(args, name), args.work / "logits.f32"
        out.unlink(missing_ok=True)
        one.ask(f"pixels {pixels}")
        one.ask(f"logits {out}")
        one.close()
        answers.append(np.fromfile(out, np.float32))
        off = float(np.abs(answers[-1] - answers[0]).max() / np.abs(answers[0]).max())
        if not off <= TOLERANCE:
            raise SystemExit(f"{name}: logits differ from {next(iter(CASES))}'s by {off:.2g} of the largest; not measured")


def measure(args, name, batches):
    """Figures of one fresh process: {"peak_resident_bytes": …} and, for elek, what its session says it holds."""
    one = start(args, name)
    samples = one.ask(f"collect {batches} 7")["samples"]
    # elek answers with the samples in its sums: a collection that did not happen must not look cheap
    if CASES[name] != ("elek", "none") and samples != batches * args.batch:
        raise SystemExit(f"{name}: collected {samples} samples, expected {batches * args.batch}")
    figures = one.ask("memory")
    one.close()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="where bin/elek and bin/elek_bench_driver are")
    parser.add_argument("--work", type=pathlib.Path, help="weights (default BUILD/memory)")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--batches", default="10,40")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=3, help="fresh processes a figure; their median is shown")
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured to this file")
    args = parser.parse_args()
    args.driver = args.build / "bin" / "elek_bench_driver"
    args.work = (args.work or args.build / "memory").resolve()
    counts = [int(word) for word in args.batches.split(",")]
    about = child.machine()
    prepare(args)
    check_outputs(args)
    print(f"measuring, load before {about['load_before']}", file=sys.stderr)
    results = {name: {n: [measure(args, name, n) for _ in range(args.processes)] for n in counts} for name in CASES}

    peak = {name: {n: statistics.median(f["peak_resident_bytes"] for f in each) / 1e6 for n, each in by.items()}
            for name, by in results.items()}
    print(f"ResNet-18, CIFAR stem, batches of {args.batch}, {args.threads} threads, elek {about['sha']}"
          f"{' (dirty)' if about['dirty'] else ''}: peak RSS in MB (10^6 bytes), median of {args.processes} processes\n")
    heads = "".join(f"{str(n) + ' batches':>14s}{'above plain':>14s}" for n in counts)
    print(f"{'':28s}{heads}{'sums held, bytes':>20s}")
    for name in CASES:
        plain = "elek" if CASES[name][0] == "elek" else "PyTorch"
        cells = "".join(f"{peak[name][n]:14.1f}{peak[name][n] - peak[plain][n]:14.1f}" for n in counts)
        held = results[name][counts[0]][0].get("statistics_bytes")
        print(f"{name:28s}{cells}{'' if held is None else held:>20}")
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "threads": args.threads, "batch": args.batch, "results": results}))


if __name__ == "__main__":
    main()
