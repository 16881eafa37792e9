#!/usr/bin/env python3
"""Rows of numbers and what ggml's reference quantisers make of them -> tests/golden/kv_quants.json.

Needs: pip install gguf numpy llama-cpp-python. The quantisers are quantize_row_*_ref of the ggml that comes with
llama-cpp-python; `gguf` must quantise alike where it can (not iq4_nl), and dequantises. Values are given as the hex of
their little-endian f32 bits.
"""
import ctypes
import importlib.metadata
import importlib.util
import json
import pathlib

import gguf
import numpy as np

TYPES = ["Q8_0", "Q4_0", "Q4_1", "IQ4_NL"]


def rows():
    rng = np.random.default_rng(20261125)
    x = rng.standard_normal((16, 32)).astype(np.float32)
    x[1] *= 1e-3
    x[2] = 0
    x[3] = 0.75  # all alike
    x[4] = np.arange(32) - 16  # halves and ties of every type
    x[5] = (np.arange(32) - 127) / 2
    x[6, 7] = 100  # an outlier
    x[7] = np.abs(x[7])
    x[8] = -np.abs(x[8])
    x[9] *= 300
    x[10, ::2] = 0
    x[11] = np.where(np.arange(32) == 5, -3, 0)
    x[12] = np.where(rng.random(32) < 0.5, 1, -1)  # the largest size, of both signs
    x[13] *= 2e-8  # subnormal scales
    return x


def reference(lib, name, x):
    n_items, n_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    out = np.zeros((x.size // n_items, n_bytes), dtype=np.uint8)
    fn = getattr(lib, f"quantize_row_{name.lower()}_ref")
    fn.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    fn.restype = None
    fn(x.ctypes.data, out.ctypes.data, x.size)
    return out


def main():
    folder = pathlib.Path(importlib.util.find_spec("llama_cpp").origin).parent
    lib = ctypes.CDLL(str(folder / "lib/libggml-base.so"))
    x = rows()
    out = {}
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        blocks = reference(lib, name, x)
        if name != "IQ4_NL":
            np.testing.assert_array_equal(gguf.quantize(x, kind), blocks)
        out[name.lower()] = gguf.dequantize(blocks, kind).astype(np.float32).tobytes().hex()
    path = pathlib.Path(__file__).parents[2] / "tests/golden/kv_quants.json"
    versions = [f"{p} {importlib.metadata.version(p)}" for p in ("gguf", "llama-cpp-python")]
    path.write_text(json.dumps({"generator": "tools/golden/make_kv_goldens.py, " + ", ".join(versions),
                                "x": x.tobytes().hex(), "types": out}, indent=0) + "\n")


main()
