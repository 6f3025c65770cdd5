#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Names the three likeliest classes of an image through elek's C interface, with ctypes alone: classify.py LIBRARY MODEL IMAGE

LIBRARY is libelek.so (configure elek with -DBUILD_SHARED_LIBS=ON).
"""
import ctypes
import sys
from ctypes import byref, c_char_p, c_double, c_float, c_int64, c_size_t, c_uint8, c_void_p


class Shape(ctypes.Structure):
    _fields_ = [("channels", c_int64), ("height", c_int64), ("width", c_int64), ("classes", c_int64)]


class Class(ctypes.Structure):
    _fields_ = [("index", c_int64), ("probability", c_double), ("label", c_char_p)]


def main(library, model_path, image_path):
    elek = ctypes.CDLL(library)
    elek.elek_last_error.restype = c_char_p
    elek.elek_last_error.argtypes = [c_void_p]
    elek.elek_session_model.restype = c_void_p  # ctypes takes results for 32-bit integers unless told otherwise
    elek.elek_session_model.argtypes = [c_void_p]

    def check(status):
        if status != 0:
            sys.exit(f"classify.py: {elek.elek_last_error(None).decode()}")

    session = c_void_p()
    check(elek.elek_session_open_file(model_path.encode(), None, byref(session)))
    model = c_void_p(elek.elek_session_model(session))
    shape = Shape()
    check(elek.elek_model_shape(model, byref(shape)))
    pixels = (c_uint8 * (shape.channels * shape.height * shape.width))()
    logits = (c_float * shape.classes)()
    check(elek.elek_model_read_image(model, image_path.encode(), pixels, c_size_t(len(pixels))))
    check(elek.elek_session_run_pixels(session, pixels, c_size_t(1), logits))
    top = (Class * 3)()
    check(elek.elek_model_top_k(model, logits, c_size_t(len(top)), top))
    for best in top:
        print(f"{100 * best.probability:5.1f} %  {best.label.decode() if best.label else '?'}")
    elek.elek_session_close(session)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: classify.py LIBRARY MODEL IMAGE")
    main(*sys.argv[1:])
