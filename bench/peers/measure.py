# SPDX-License-Identifier: Apache-2.0
"""Measures elek in turns with ONNX Runtime, OpenVINO, ncnn and PyTorch: the same networks (dense and channel-pruned), weights,
pixels, threads and precision (f32, bf16 where the CPU multiplies it, or int8). Outputs are compared before anything is timed. There are
four kinds of jobs, all in one JSON:
  speed    per network, variant and batch: every engine stays alive and they take turns, in another order each round; peak RSS.
           If the machine multiplies slower than it can before or after a turn (meter.py), the turn is repeated for any engine
  watch    elek with statistics on and off, in many short turns: in long turns a difference of one percent is lost in the drift
  first    time from process start to the first result, and the peak RSS then: fresh processes in turns
  observe  time and peak RSS of fresh processes that collect statistics over 10 and 100 batches: elek beside PyTorch's hooks
bench/peers/run starts this file and makes its environment. bench/peers/report.py makes tables and plot from the JSON.
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
import networks  # noqa: E402
import report  # noqa: E402

# Bounds for the difference between any engine and ONNX Runtime in f32 (in f32 without it: the first engine), as a share of the
# largest logit. bf16 rounds by up to 2^-9. In ResNet-101 the weights and outputs of 104 convolutions have independent errors that
# add up: sqrt(2 * 104) 2^-9 = 0.028. An engine that differs by less than f32's bound has not computed in bf16.
# In int8 all engines compute the same quantised network (the QDQ form that elek writes), and elek's logits are the base: a value
# near the middle of two steps may be rounded to either, and the layers behind it see one step more or less.
TOLERANCE = {"f32": 1e-4, "bf16": 0.03, "int8": 0.05}
NO_KERNELS = {"bf16": {"onnxruntime": "no bf16 on the CPU"},
              "int8": {peer: "does not read QDQ" for peer in ("ncnn", "pytorch", "pytorch-channels-last")}}
PAUSE_S = 0.1  # before a turn, and before the meter: lets the threads of the one before stop spinning
METER_S = 0.03  # two readings
FULL_SPEED = 0.85  # of the fastest that the meter has seen: in the worst phases it reads half
METER_WAIT_S, TRIES = 20, 6  # for full speed; of a turn
MOST_RUNS = 300  # a turn; keeps the JSON of the small networks small
PEERS = "elek,onnxruntime,openvino,ncnn,pytorch,pytorch-channels-last"
KINDS = ["speed", "watch", "first", "observe"]
WATCHED = [("resnet50", 1), ("resnet50", 16), ("resnet18", 1), ("resnet18", 16)]
WATCH_TURN_S, WATCH_MOST_ROUNDS = 0.12, 150
OBSERVERS = ["elek", "elek+std-consumer", "pytorch", "pytorch+seed-sums", "pytorch+store"]
OBSERVE_BATCH = 50  # ResNet-18 with the CIFAR stem
QUICK = {  # most wanted first: --minutes ends the list early
    "cells": [("resnet50", "dense", 16), ("resnet50", "dense", 1), ("resnet18", "dense", 16), ("resnet18", "dense", 1),
              ("resnet34", "dense", 16), ("resnet34", "dense", 1)],
    "first": ["resnet50"],
    "later": [("resnet50", "pruned-50", 16), ("resnet18-cifar", "dense", 16), ("fashion-mnist", "dense", 16),
              ("resnet50", "pruned-30", 16)],
    "rounds": 7, "turn": 0.35, "processes": 3, "observers": OBSERVERS}
FULL = {"cells": [(n, v, b) for v in networks.VARIANTS for n in networks.NETWORKS for b in (1, 16, 64)],
        "first": networks.NETWORKS, "later": [], "rounds": 15, "turn": 0.6, "processes": 5,
        "observers": [*OBSERVERS, "elek+wanda", "pytorch+sums"]}


class Meter:
    """Tells whether the machine is at full speed now. If it stays slow for METER_WAIT_S, that counts as full speed from then on."""

    def __init__(self, threads):
        self.child = child.Child("meter", [sys.executable, HERE / "meter.py", threads], threads)
        self.fastest = max(self.speed() for _ in range(20))

    def speed(self):
        return self.child.ask("speed")["gflops"]

    def full(self):
        self.now = self.speed()
        self.fastest = max(self.fastest, self.now)
        return self.now >= FULL_SPEED * self.fastest

    def wait(self):
        end, best = time.monotonic() + METER_WAIT_S, 0
        while not self.full():
            best = max(best, self.now)
            if time.monotonic() > end:
                self.fastest = best
                return
            time.sleep(PAUSE_S)


def turn_of(one, runs, meter):
    """(the microseconds of its runs, how often the turn was repeated)"""
    for repeated in range(TRIES):
        meter.wait()
        time.sleep(PAUSE_S)
        one.ask("run 1")  # what the others left in the caches is not its fault
        us = [round(us, 1) for us in one.ask(f"run {runs}")["us"]]
        time.sleep(PAUSE_S)
        if meter.full():
            break
    return us, repeated


def start(args, files, peer, name, variant, batch, precision="f32"):
    engine, _, what = peer.partition("+")
    model = files.quantised(name, variant) if precision == "int8" else files.model(name, variant)
    if engine == "elek":
        command = [args.driver, "--model", model, "--batch", batch, "--threads", args.threads, "--statistics", what or "none",
                   "--precision", precision]
    else:
        file = {"onnxruntime": args.onnx, "openvino": args.onnx, "ncnn": files.path(name, variant, "ncnn")}.get(engine, model)
        about = json.dumps(files.about(name, variant))
        command = [sys.executable, HERE / "worker.py", peer, file, batch, args.threads, about, precision]
    return child.Child(peer, command, args.threads)


def write_pixels(args, files, name, variant, batch):
    channels, height, width = files.about(name, variant)["shape"]
    generated.pixels("peers", (batch, height, width, channels)).tofile(args.pixels)


def logits_of(args, one):
    out = args.work / "logits.f32"
    out.unlink(missing_ok=True)
    one.ask(f"logits {out}")
    return np.fromfile(out, np.float32)


def compare(logits, precision="f32", base=None):
    """Each engine's largest difference from the base, as a share of the base's largest logit. Too large: no measurement."""
    if base is None:
        base = logits["onnxruntime"] if "onnxruntime" in logits else next(iter(logits.values()))
    scale = float(np.abs(base).max())
    if not (np.isfinite(base).all() and scale > 0.1):
        raise SystemExit("the base's logits are no answer")
    differences = {}
    for name, values in logits.items():
        if values.shape != base.shape:
            raise SystemExit(f"{name}: {values.size} logits, expected {base.size}")
        differences[name] = off = float(np.abs(values - base).max()) / scale
        if not off <= TOLERANCE[precision]:
            raise SystemExit(f"{name}: logits differ by {off:.2g} of the largest, allowed {TOLERANCE[precision]}; not measured")
        if precision == "bf16" and not off > TOLERANCE["f32"]:
            raise SystemExit(f"{name}: logits differ by {off:.2g} of the largest from f32's: it does not compute in {precision}")
    return differences


def logits_in_f32(args, files, name, variant, batch):
    """ONNX Runtime's logits in f32: every engine's bf16 is compared with them."""
    one = start(args, files, "onnxruntime", name, variant, batch)
    one.ask(f"pixels {args.pixels}")
    logits = logits_of(args, one)
    one.close()
    return logits


def speed(args, files, name, variant, batch):
    if args.precision == "int8":
        files.quantised(name, variant)
    args.onnx = files.onnx_of_batch(name, variant, batch, "int8.onnx" if args.precision == "int8" else "onnx")
    write_pixels(args, files, name, variant, batch)
    base = logits_in_f32(args, files, name, variant, batch) if args.precision == "bf16" else None
    left_out = {peer: why for peer, why in NO_KERNELS.get(args.precision, {}).items() if peer in args.peers}
    peers = [peer for peer in args.peers if peer not in left_out]
    children = [start(args, files, peer, name, variant, batch, args.precision) for peer in peers]
    for one in children:
        one.ask(f"pixels {args.pixels}")
    logits = {one.name: logits_of(args, one) for one in children}
    differences = compare(logits, args.precision, logits.get("elek") if args.precision == "int8" else base)
    runs = {}
    for one in children:
        one.ask("run 1")
        runs[one.name] = min(MOST_RUNS, max(1, round(args.turn * 1e6 / float(np.median(one.ask("run 3")["us"])))))
    rounds, repeated = {peer: [] for peer in peers}, {peer: 0 for peer in peers}
    for index in range(args.rounds):
        turn = index % len(children)
        for one in children[turn:] + children[:turn]:
            us, again = turn_of(one, runs[one.name], args.meter)
            rounds[one.name].append(us)
            repeated[one.name] += again
    memory = {one.name: one.ask("memory") for one in children}
    about = {one.name: one.about for one in children}
    for one in children:
        one.close()
    return {"arch": name, "variant": variant, "batch": batch, "precision": args.precision, "macs": files.macs(name, variant),
            "differences": differences, "left_out": left_out, "about": about, "memory": memory, "rounds_us": rounds, "repeated": repeated}


def watch(args, files, name, batch):
    """Pairs of turns at full speed: [[us without, us with], …], each the median of a turn of about 0.1 s, or of one run."""
    write_pixels(args, files, name, "dense", batch)
    pair = [start(args, files, peer, name, "dense", batch) for peer in ("elek", "elek+std-consumer")]
    for one in pair:
        one.ask(f"pixels {args.pixels}")
    compare({one.name: logits_of(args, one) for one in pair})
    run_us = report.median(pair[0].ask("run 3")["us"])
    runs = max(1, round(WATCH_TURN_S * 1e6 / run_us))
    begin, turns = time.monotonic(), []
    while not turns or (len(turns) < WATCH_MOST_ROUNDS and time.monotonic() - begin < args.watch_s):
        order = [0, 1] if len(turns) % 2 == 0 else [1, 0]
        args.meter.wait()
        time.sleep(PAUSE_S)
        us = {i: report.median(pair[i].ask(f"run {runs}")["us"]) for i in order}
        time.sleep(PAUSE_S)
        if not args.meter.full():
            continue
        turns.append([round(us[0], 1), round(us[1], 1)])
    for one in pair:
        one.close()
    return {"arch": name, "batch": batch, "turns_us": turns}


def first(args, files, name):
    """Seconds from starting a process to its first logits on disk, batch 1; files are in the system's cache."""
    args.onnx = files.onnx_of_batch(name, "dense", 1)
    write_pixels(args, files, name, "dense", 1)
    result, about = {}, {}
    for index in range(args.processes + 1):  # the first process of each reads its files and libraries from the disk
        for peer in args.peers:
            begin = time.perf_counter()
            one = start(args, files, peer, name, "dense", 1)
            one.ask(f"pixels {args.pixels}")
            logits = logits_of(args, one)
            seconds = time.perf_counter() - begin
            peak = one.ask("memory")["peak_resident_bytes"]
            about[peer] = one.about
            one.close()
            entry = result.setdefault(peer, {"seconds": [], "peak_resident_bytes": [], "logits": logits})
            if index > 0:
                entry["seconds"].append(seconds)
                entry["peak_resident_bytes"].append(peak)
    compare({peer: entry.pop("logits") for peer, entry in result.items()})
    return {"arch": name, "about": about, "engines": result}


def free_bytes():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


def observe_once(args, files, peer, batches):
    one = start(args, files, peer, networks.CIFAR, "dense", OBSERVE_BATCH)
    one.ask("collect 1 6")  # not timed: what an engine makes at its first run
    begin = time.perf_counter()
    samples = one.ask(f"collect {batches} 7")["samples"]
    seconds = time.perf_counter() - begin
    # elek answers with the number of samples in its sums: a collection that did not happen must not look cheap
    if peer != "elek" and samples < batches * OBSERVE_BATCH:
        raise SystemExit(f"{peer}: collected {samples} samples, expected {batches * OBSERVE_BATCH} or more")
    figures = one.ask("memory")
    one.close()
    return {"seconds": seconds, **figures}


def observe(args, files):
    """{"engines": {peer: {batches: [a process's figures, …]}}, "left_out": {"peer batches": why}}"""
    write_pixels(args, files, networks.CIFAR, "dense", OBSERVE_BATCH)
    logits = {}
    for peer in args.observers:
        one = start(args, files, peer, networks.CIFAR, "dense", OBSERVE_BATCH)
        one.ask(f"pixels {args.pixels}")
        logits[peer] = logits_of(args, one)
        one.close()
    compare(logits)
    few, many = args.observe_batches
    result, left_out = {peer: {few: [], many: []} for peer in args.observers}, {}
    for batches, processes in ((few, args.processes), (many, max(1, args.processes - 2))):
        for _ in range(processes):
            for peer in args.observers:
                if peer == "pytorch+store" and batches == many:  # it grows by the same bytes every batch
                    grown = report.median([f["peak_resident_bytes"] for f in result[peer][few]])
                    plain = report.median([f["peak_resident_bytes"] for f in result["pytorch"][few]])
                    needed = plain + (grown - plain) / (few + 1) * (many + 1)
                    if needed > 0.8 * free_bytes():
                        left_out[f"{peer} {batches}"] = f"would need {needed / 1e9:.1f} GB, {free_bytes() / 1e9:.1f} GB are free"
                        continue
                result[peer][batches].append(observe_once(args, files, peer, batches))
    return {"arch": networks.CIFAR, "batch": OBSERVE_BATCH, "engines": result, "left_out": left_out}


def jobs_of(args, files):
    """[(name, estimated seconds, function)] in order. The estimate is for two cores like those measured so far: 150 GMAC/s."""
    def run_s(name, variant, batch):
        return files.macs(name, variant) * batch / 150e9

    def speed_job(name, variant, batch):
        run = run_s(name, variant, batch)
        seconds = len(args.peers) * (2.5 + 6 * run + args.rounds * (2 * PAUSE_S + METER_S + run + max(run, args.turn)))
        return (report.job_name("results", name, variant, batch, args.precision), seconds,
                lambda: ("results", speed(args, files, name, variant, batch)))

    def first_job(name):
        seconds = (args.processes + 1) * len(args.peers) * 2.0
        return report.job_name("first", name), seconds, lambda: ("first", first(args, files, name))

    def watch_job(name, batch):
        return report.job_name("watch", name, batch=batch), args.watch_s + 3, lambda: ("watch", watch(args, files, name, batch))

    def observe_job():
        batch_s = run_s(networks.CIFAR, "dense", OBSERVE_BATCH)
        few, many = args.observe_batches
        batches = args.processes * (few + 1) + max(1, args.processes - 2) * (many + 1)
        seconds = len(args.observers) * (1.3 * batches * batch_s + 2.0 * (2 * args.processes))
        return report.job_name("observe", networks.CIFAR), seconds, lambda: ("observe", observe(args, files))

    jobs = [speed_job(*cell) for cell in args.cells] + [first_job(name) for name in args.first]
    jobs += [watch_job(*cell) for cell in args.watch]
    return jobs + ([observe_job()] if args.observe else []) + [speed_job(*cell) for cell in args.later]


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the goals' networks, batch 1 and 16, few rounds (the default)")
    size.add_argument("--full", action="store_true", help="every network, dense and pruned, batch 1, 16 and 64")
    parser.add_argument("--minutes", type=float, help="start no job that would end later, by the estimates; what is left is named")
    parser.add_argument("--prepare", action="store_true", help="make the files, print the estimate and stop")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="where bin/elek and bin/elek_bench_driver are")
    parser.add_argument("--work", type=pathlib.Path, help="models, ONNX and ncnn files (default BUILD/peers)")
    parser.add_argument("--networks", help="only these, of " + ", ".join(networks.NETWORKS))
    parser.add_argument("--variants", help="only these, of " + ", ".join(networks.VARIANTS))
    parser.add_argument("--batches", help="only these, of 1, 16, 64")
    parser.add_argument("--only", help="kinds of jobs, of " + ", ".join(KINDS) + " (default: all; in bf16 and int8 speed)")
    parser.add_argument("--precision", choices=list(TOLERANCE), default="f32", help="bf16 and int8: the peers that have it")
    parser.add_argument("--peers", default=PEERS, help="of " + PEERS + ", elek+CRITERION")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--turn", type=float, help="seconds an engine runs in one round")
    parser.add_argument("--processes", type=int, help="fresh processes a figure, for first and observe")
    parser.add_argument("--watch-s", type=float, default=30, help="seconds of turns with and without statistics, a cell")
    parser.add_argument("--observe-batches", type=int, nargs=2, default=[10, 100], help="batches that observe collects over")
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured to this file")
    parser.add_argument("--docs", action="store_true", help="then put them into docs/benchmarks.md, in place of the same jobs' "
                                                            "earlier figures; needs --json")
    args = parser.parse_args()
    preset = FULL if args.full else QUICK
    for name in ("rounds", "turn", "processes"):
        if getattr(args, name) is None:
            setattr(args, name, preset[name])
    args.observers = preset["observers"]
    if args.docs and (args.json is None or not args.json.resolve().is_relative_to(ROOT)):
        parser.error("--docs needs --json FILE with a file in the repository: the page names the files that it is made of")
    if args.only is None:
        args.only = ",".join(KINDS) if args.precision == "f32" else "speed"
    args.peers, kinds = args.peers.split(","), args.only.split(",")
    if not set(kinds) <= set(KINDS) or (args.precision != "f32" and kinds != ["speed"]):
        parser.error(f"--only {args.only}: expected some of {', '.join(KINDS)}; with --precision bf16 or int8 only speed")

    def wanted(cell):
        chosen = zip((args.networks, args.variants, args.batches), map(str, cell))
        return "speed" in kinds and all(words is None or value in words.split(",") for words, value in chosen)

    cells, later = preset["cells"], preset["later"]
    if args.networks or args.variants or args.batches:  # a choice of one's own is made from all there is
        cells, later = FULL["cells"], []
    args.cells, args.later = [c for c in cells if wanted(c)], [c for c in later if wanted(c)]
    args.first = [n for n in preset["first"] if "first" in kinds and (args.networks is None or n in args.networks.split(","))]
    args.watch = [(n, b) for n, b in WATCHED if "watch" in kinds and (args.networks is None or n in args.networks.split(","))]
    args.observe = "observe" in kinds
    args.elek, args.driver = args.build / "bin" / "elek", args.build / "bin" / "elek_bench_driver"
    args.work = (args.work or args.build / "peers").resolve()
    args.pixels, args.onnx = args.work / "pixels.u8", None
    return args


def write(args, data):
    if args.json:
        part = args.json.with_suffix(".part")
        part.write_text(json.dumps(data))
        part.replace(args.json)


def built_from(driver):
    """The commit that was measured: the checkout may have changed since the build."""
    commit = subprocess.run([driver, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return {"sha": commit.removesuffix("-dirty"), "dirty": commit.endswith("-dirty")}


def main():
    args = options()
    files = networks.Files(args.work, args.elek.resolve())
    pairs = {(n, v): None for n, v, _ in args.cells + args.later} | {(n, "dense"): None for n in [*args.first, *(n for n, _ in args.watch)]}
    if args.observe:
        pairs[(networks.CIFAR, "dense")] = None
    for name, variant in pairs:
        print(f"preparing {name}, {variant}", file=sys.stderr)
        (files.quantised if args.precision == "int8" else files.exports)(name, variant)
    jobs = jobs_of(args, files)
    print(f"{len(jobs)} jobs, about {sum(seconds for _, seconds, _ in jobs) / 60:.0f} minutes", file=sys.stderr)
    if args.prepare:
        return
    data = {"machine": child.machine() | built_from(args.driver), "threads": args.threads, "rounds": args.rounds, "turn_s": args.turn, "versions": {},
            "results": [], "watch": [], "first": [], "observe": [], "not_measured": []}
    if not report.was_quiet(data["machine"]):
        busy = data["machine"]["busy_cores_before"]
        print(f"warning: other work keeps {busy} cores busy: do not quote these figures", file=sys.stderr)
    begin = time.monotonic()
    args.meter = Meter(args.threads) if args.cells or args.later or args.watch else None
    for index, (name, seconds, function) in enumerate(jobs):
        elapsed = time.monotonic() - begin
        if args.minutes and elapsed + seconds > 60 * args.minutes:
            data["not_measured"].append(name)
            continue
        print(f"{elapsed:5.0f} s: {name} ({index + 1} of {len(jobs)}, about {seconds:.0f} s)", file=sys.stderr)
        kind, result = function()
        data[kind].append(result)
        for peer, about in result.get("about", {}).items():
            data["versions"] |= {peer: about["version"]} if "version" in about else {}
        data["seconds"] = round(time.monotonic() - begin)
        write(args, data)  # what was measured stays if a later job ends the run
    if args.meter is not None:
        args.meter.child.close()
    write(args, data)
    print(report.tables(report.merge([(args.json or "", json.loads(json.dumps(data)))])))
    if args.docs:
        report.add_to(args.json, report.DOCS)


if __name__ == "__main__":
    os.umask(0o022)
    main()
