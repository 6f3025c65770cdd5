# SPDX-License-Identifier: Apache-2.0
"""Solution of exercises 3.2 and 3.3: python3 first_fit.py lifetimes.csv > mine.csv

Places the largest blocks first, each at the lowest offset where no block lies that is alive at the same time."""
import csv
import sys

with open(sys.argv[1], encoding="utf-8", newline="") as file:
    blocks = [(int(r["bytes"]) + 255) // 256 * 256 for r in csv.DictReader(file)]
with open(sys.argv[1], encoding="utf-8", newline="") as file:
    lives = [(int(r["first"]), int(r["last"])) for r in csv.DictReader(file)]
offsets = {}
for i in sorted(range(len(blocks)), key=lambda k: -blocks[k]):
    at = 0
    together = [k for k in offsets if lives[k][0] <= lives[i][1] and lives[i][0] <= lives[k][1]]
    for k in sorted(together, key=lambda k: offsets[k]):
        if at + blocks[i] <= offsets[k]:
            break
        at = max(at, offsets[k] + blocks[k])
    offsets[i] = at
print("block,offset")
for i in range(len(blocks)):
    print(f"{i + 1},{offsets[i]}")
