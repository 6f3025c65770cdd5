# SPDX-License-Identifier: Apache-2.0
"""A child process that obeys lines and answers each with one JSON line: bench/driver.cpp, bench/peers/worker.py. Standard library
only."""
import json
import os
import subprocess
import time


class Child:
    def __init__(self, name, command, threads):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), CUDA_VISIBLE_DEVICES="")
        self.name = name
        self.command = [str(word) for word in command]
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        self.about = self._answer("start")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer(line)

    def _answer(self, line):
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name}: ended with status {self.process.wait()} at '{line}' ({' '.join(self.command)})")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        status = self.process.wait()
        if status != 0:
            raise SystemExit(f"{self.name}: ended with status {status}")


def serve(handlers, **about):
    """The other end, for Python children: handlers[command](*words) returns a dict."""
    import sys

    print(json.dumps({"ready": True, **about}), flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        print(json.dumps(handlers[command](*words)), flush=True)


def peak_resident():
    """VmHWM and VmRSS of this process in bytes. (ru_maxrss would count what the parent occupied before exec.)"""
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file if line.startswith(("VmHWM", "VmRSS")))
    kilobytes = {key: int(value.split()[0]) for key, value in lines.items()}
    return {"resident_bytes": kilobytes["VmRSS"] * 1024, "peak_resident_bytes": kilobytes["VmHWM"] * 1024}


def busy_cores(seconds=2.0):
    """How many cores other work keeps busy just now (the load average still counts what has ended)."""

    def read():
        with open("/proc/stat") as file:
            times = [int(word) for word in file.readline().split()[1:9]]
        return sum(times), times[3] + times[4]  # all, and idle with waiting for the disk

    total, idle = read()
    time.sleep(seconds)
    later, idle_later = read()
    return round(os.cpu_count() * (1 - (idle_later - idle) / max(1, later - total)), 2)


def machine():
    """What a figure is worth nothing without."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

    def git(*words):
        done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "busy_cores_before": busy_cores(),
        "sha": git("rev-parse", "--short=12", "HEAD"),
        "dirty": bool(git("status", "--porcelain")),
    }
