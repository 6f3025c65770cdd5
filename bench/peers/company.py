# SPDX-License-Identifier: Apache-2.0
"""How much of their idle speed elek, ONNX Runtime, OpenVINO and PyTorch keep while other processes run: one table.

    PYTHON bench/peers/company.py [--build DIR] [--seconds 1.5] [--rounds 3]     PYTHON: the one of bench/peers/run's environment
Loads, each on all cores of the machine:
  busy   another process keeps one core busy
  two    two processes of the same engine run at once; their images are added up
  quota  a quota of three quarters of the cores, as of a container: groups of processes may not be written everywhere, so the engine
         is stopped when it has used its share of a period of 100 ms, and goes on in the next, which is what the kernel does
Columns: images/s; the same as a share of the engine's own idle speed; the cores that the system gave it (processor time by wall
time); and the first share divided by the share of the idle cores: 1.00 means that the cores it got did as much as on an idle
machine. Loads take turns within a round, and medians over the rounds are printed. A wrong network is not measured.
"""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(ROOT / "tests" / "fixtures" / "scripts")]
import child  # noqa: E402
import generated  # noqa: E402
import networks  # noqa: E402

PEERS = "elek,onnxruntime,openvino,pytorch"
CELLS = "fashion-mnist:1,fashion-mnist:16,resnet18:1,resnet18:16"
LOADS = ["idle", "busy", "two", "quota"]
TOLERANCE = 1e-4  # of the largest logit, from elek's
PERIOD_S, QUOTA = 0.1, 0.75
TURN_S = 0.05  # what one line to a child asks for: the end of a measurement is this exact


def cpu_seconds(pid):
    """Processor time of all threads of a process (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


class Quota:
    """Stops a process when it has used its share of a period, until the next begins."""

    def __init__(self, pid, cores):
        self.pid, self.cores, self.over = pid, cores, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.over.is_set():
            end, used = time.monotonic() + PERIOD_S, cpu_seconds(self.pid)
            while time.monotonic() < end and not self.over.is_set():
                if cpu_seconds(self.pid) - used >= self.cores * PERIOD_S:
                    os.kill(self.pid, signal.SIGSTOP)
                    time.sleep(max(0, end - time.monotonic()))
                    os.kill(self.pid, signal.SIGCONT)
                time.sleep(0.001)

    def end(self):
        self.over.set()
        self.thread.join()
        os.kill(self.pid, signal.SIGCONT)


def onnx_of(files, work, name, batch):
    import torch

    import graph_net

    path = work / f"{name}.{batch}.company.onnx"
    net = graph_net.GraphNet(str(files.model(name, "dense")))
    torch.onnx.export(net, (torch.zeros(batch, *net.shape),), path, dynamo=False, opset_version=17, input_names=["pixels"],
                      output_names=["logits"])
    return path


def start(args, files, peer, name, batch, onnx):
    model = files.model(name, "dense")
    if peer == "elek":
        command = [args.build / "bin" / "elek_bench_driver", "--model", model, "--batch", batch, "--threads", args.threads]
    else:
        about = json.dumps(files.about(name, "dense"))
        command = [sys.executable, HERE / "worker.py", peer, model if peer == "pytorch" else onnx, batch, args.threads, about, "f32"]
    return child.Child(peer, command, args.threads)


def run_for(one, seconds, runs, results):
    begin, cpu, done = time.monotonic(), cpu_seconds(one.process.pid), 0
    while time.monotonic() - begin < seconds:
        one.ask(f"run {runs}")
        done += runs
    wall = time.monotonic() - begin
    results.append((done / wall, (cpu_seconds(one.process.pid) - cpu) / wall))


def measure(args, children, load, runs):
    """(runs a second, cores) of one engine under a load."""
    engines = children if load == "two" else children[:1]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if load == "busy" else None
    quota = Quota(children[0].process.pid, QUOTA * os.cpu_count()) if load == "quota" else None
    results = []
    threads = [threading.Thread(target=run_for, args=(one, args.seconds, runs, results)) for one in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if quota:
        quota.end()
    if busy:
        busy.kill()
        busy.wait()
    if len(results) != len(engines):
        raise SystemExit(f"{engines[0].name}, {load}: an engine ended early")
    return sum(rate for rate, _ in results), sum(cores for _, cores in results)


def cell(args, files, name, batch):
    """{peer: {load: [(images/s, cores), ...]}}"""
    channels, height, width = files.about(name, "dense")["shape"]
    pixels = args.work / "pixels.u8"
    generated.pixels("peers", (batch, height, width, channels)).tofile(pixels)
    onnx = onnx_of(files, args.work, name, batch)
    figures, base = {}, None
    for peer in args.peers.split(","):  # one engine's processes at a time: those of others could spin
        children = [start(args, files, peer, name, batch, onnx) for _ in range(2)]
        for one in children:
            one.ask(f"pixels {pixels}")
            one.ask(f"logits {args.work / 'logits.f32'}")
            logits = np.fromfile(args.work / "logits.f32", np.float32)
            base = logits if base is None else base
            if not np.abs(logits - base).max() <= TOLERANCE * np.abs(base).max():
                raise SystemExit(f"{peer}, {name}: other logits than {args.peers.split(',')[0]}'s; not measured")
        us = statistics.median(children[0].ask("run 5")["us"])
        runs = max(1, round(TURN_S * 1e6 / us))
        loads = figures[peer] = {load: [] for load in LOADS}
        for _ in range(args.rounds):
            for load in LOADS:
                rate, cores = measure(args, children, load, runs)
                loads[load].append((rate * batch, cores))
        for one in children:
            one.close()
    return figures


def rows_of(name, batch, figures):
    for load in LOADS[1:]:
        for peer, loads in figures.items():
            idle, idle_cores = (statistics.median(column) for column in zip(*loads["idle"]))
            rate, cores = (statistics.median(column) for column in zip(*loads[load]))
            share, granted = rate / idle, cores / idle_cores
            yield (f"| {name} | {batch} | {load} | {peer} | {idle:.1f} | {rate:.1f} | {share:.2f} | {idle_cores:.2f} | {cores:.2f} | "
                   f"{share / granted:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="where bin/elek and bin/elek_bench_driver are")
    parser.add_argument("--work", type=pathlib.Path, help="models and ONNX files (default BUILD/peers)")
    parser.add_argument("--peers", default=PEERS)
    parser.add_argument("--cells", default=CELLS, help="NETWORK:BATCH,...")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=1.5, help="of each load in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured to this file")
    args = parser.parse_args()
    args.build = args.build.resolve()
    args.work = (args.work or args.build / "peers").resolve()
    files = networks.Files(args.work, args.build / "bin" / "elek")
    data = {"machine": child.machine(), "threads": args.threads, "cells": []}
    print(f"{data['machine']['busy_cores_before']} cores were busy with other work before", file=sys.stderr)
    print("| network | batch | load | engine | idle images/s | images/s | of idle | cores idle | cores | per core granted |")
    print("|---|---:|---|---|---:|---:|---:|---:|---:|---:|")
    for text in args.cells.split(","):
        name, batch = text.split(":")
        figures = cell(args, files, name, int(batch))
        data["cells"].append({"network": name, "batch": int(batch), "figures": figures})
        for row in rows_of(name, batch, figures):
            print(row, flush=True)
        if args.json:
            args.json.write_text(json.dumps(data))


if __name__ == "__main__":
    main()
