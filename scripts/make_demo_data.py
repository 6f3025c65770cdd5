#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes data/fashion-mnist's IDX files from Debian's package dataset-fashion-mnist (or any folder with the four originals).

The 10,000 test images and labels are copied byte for byte. Of the 60,000 training images the first 2,048 are kept. It needs only
the standard library. The gzip header has no name and no time, so the same zlib always writes the same bytes.
"""
import argparse
import gzip
import pathlib
import shutil
import struct

TRAIN_SAMPLES = 2048
TEST_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
TRAIN_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")


def first_samples(source, samples):
    """The first `samples` of an IDX file of unsigned bytes, as an IDX file."""
    data = gzip.decompress(source.read_bytes())
    zero, kind, rank = struct.unpack(">HBB", data[:4])
    dims = struct.unpack(f">{rank}I", data[4 : 4 + 4 * rank])
    if zero != 0 or kind != 8 or dims[0] < samples:
        raise SystemExit(f"{source}: expected an IDX file of at least {samples} samples of unsigned bytes")
    sample_bytes = 1
    for dim in dims[1:]:
        sample_bytes *= dim
    begin = 4 + 4 * rank
    if len(data) != begin + dims[0] * sample_bytes:
        raise SystemExit(f"{source}: {len(data)} bytes, its header promises {begin + dims[0] * sample_bytes}")
    return data[:4] + struct.pack(f">{rank}I", samples, *dims[1:]) + data[begin : begin + samples * sample_bytes]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=pathlib.Path, default="/usr/share/datasets/fashion-mnist", help="the four originals")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "data" / "fashion-mnist")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in TEST_FILES:
        shutil.copyfile(args.source / name, args.out / name)
    for name in TRAIN_FILES:
        (args.out / name).write_bytes(gzip.compress(first_samples(args.source / name, TRAIN_SAMPLES), 9, mtime=0))


if __name__ == "__main__":
    main()
