#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ctypes_check.py LIBRARY MODEL IMAGE: what a Python program does with elek's C interface beyond examples/classify.py: options,
an allocator in Python, memory figures, statistics, errors. Prints one line if all of it holds."""
import ctypes
import sys
from ctypes import CFUNCTYPE, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint8, c_void_p

Allocate = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_size_t, c_char_p)
Deallocate = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t)


class Options(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("device", c_int32), ("device_index", c_int32), ("precision", c_int32),
                ("threads", c_int32), ("batch", c_int64), ("watch", c_int32), ("deterministic", c_int32),
                ("memory_limit_bytes", c_size_t), ("block", c_void_p), ("block_bytes", c_size_t), ("allocate", Allocate),
                ("deallocate", Deallocate), ("memory_context", c_void_p)]


class Memory(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("weights_bytes", c_size_t), ("arena_bytes", c_size_t),
                ("statistics_bytes", c_size_t), ("staging_bytes", c_size_t), ("needed_bytes", c_size_t), ("micro_batch", c_int64),
                ("held_bytes", c_size_t), ("peak_bytes", c_size_t)]


class Channel(ctypes.Structure):
    _fields_ = [("active", c_double), ("mean", c_double), ("rms", c_double)]


class Allocator:
    """Blocks that Python owns, found again by their address."""

    def __init__(self):
        self.blocks = {}
        self.labels = []
        self.functions = Allocate(self.allocate), Deallocate(self.deallocate)  # must live as long as the session

    def allocate(self, _context, size, alignment, label):
        block = (c_uint8 * (size + alignment))()
        address = (ctypes.addressof(block) + alignment - 1) // alignment * alignment
        self.blocks[address] = block, size
        self.labels.append(label.decode())
        return address

    def deallocate(self, _context, address, size):
        assert self.blocks.pop(address)[1] == size


def main(library, model_path, image_path):
    elek = ctypes.CDLL(library)
    for name in ("elek_version", "elek_last_error", "elek_model_label", "elek_session_watched"):
        getattr(elek, name).restype = c_char_p
    elek.elek_session_watched.argtypes = [c_void_p, c_size_t]

    def check(status):
        assert status == 0, elek.elek_last_error(None).decode()

    assert elek.elek_model_load(b"/nowhere/net.safetensors", byref(c_void_p())) == 3
    assert b"/nowhere/net.safetensors" in elek.elek_last_error(None)

    model = c_void_p()
    check(elek.elek_model_load(model_path.encode(), byref(model)))
    assert elek.elek_model_label(model, c_int64(9)) == b"Ankle boot"

    own = Allocator()
    options = Options(struct_size=ctypes.sizeof(Options), threads=1, watch=1)
    needed = Memory(struct_size=ctypes.sizeof(Memory))
    check(elek.elek_model_memory(model, byref(options), byref(needed)))
    options.allocate, options.deallocate = own.functions
    session = c_void_p()
    check(elek.elek_session_open(model, byref(options), byref(session)))
    assert "weights" in own.labels and "arena" in own.labels, own.labels
    held = Memory(struct_size=ctypes.sizeof(Memory))
    check(elek.elek_session_memory(session, byref(held)))
    assert held.weights_bytes == needed.weights_bytes and held.arena_bytes == needed.arena_bytes
    assert held.held_bytes == sum(size for _, size in own.blocks.values()) <= needed.needed_bytes

    pixels = (c_uint8 * 784)()
    logits = (c_float * 10)()
    check(elek.elek_model_read_image(model, image_path.encode(), pixels, c_size_t(784)))
    check(elek.elek_session_run_pixels(session, pixels, c_size_t(1), logits))
    assert max(range(10), key=lambda c: logits[c]) == 9

    watched = []
    while name := elek.elek_session_watched(session, len(watched)):
        watched.append(name)
    assert len(watched) >= 19, watched
    count = c_size_t()
    check(elek.elek_session_statistics(session, watched[0], None, c_size_t(0), byref(count)))
    channels = (Channel * count.value)()
    check(elek.elek_session_statistics(session, watched[0], channels, count, byref(count)))
    assert any(0 < channel.active <= 1 and 0 < channel.mean <= channel.rms for channel in channels)

    elek.elek_session_close(session)
    assert not own.blocks
    elek.elek_model_free(model)
    print(f"elek {elek.elek_version().decode()}, ctypes: all checks passed")


if __name__ == "__main__":
    main(*sys.argv[1:])
