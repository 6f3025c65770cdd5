# SPDX-License-Identifier: Apache-2.0
"""How fast the machine multiplies now: a child that answers "speed" with the GFLOP/s of a matrix product on all its threads.

    python meter.py THREADS
On a shared machine two processors may give the speed of one for seconds at a time. bench/peers/measure.py asks before and after
each turn, and repeats turns that were affected, for every engine alike. The product is numpy's (OpenBLAS), so neither elek's nor a
peer's kernel decides which turns count.
"""
import os
import pathlib
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = sys.argv[1]
import numpy as np  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import child  # noqa: E402

SIZE, PRODUCTS = 768, 3  # some milliseconds each


def main():
    a, b = (np.full((SIZE, SIZE), value, np.float32) for value in (0.5, 0.25))
    out = np.empty_like(a)

    def speed():
        best = 0.0
        for _ in range(PRODUCTS):
            begin = time.perf_counter()
            np.matmul(a, b, out=out)
            best = max(best, 2 * SIZE**3 / (time.perf_counter() - begin) / 1e9)
        return {"gflops": round(best, 1)}

    child.serve({"speed": speed})


if __name__ == "__main__":
    main()
