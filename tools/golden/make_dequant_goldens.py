#!/usr/bin/env python3
"""Random quantised blocks and what the `gguf` package makes of them -> tests/golden/dequant.json.

Needs: pip install gguf numpy. Values are given as the hex of their little-endian f32 bits.
"""
import json
import pathlib

import gguf
import numpy as np

TYPES = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS BF16 F16".split()
# where the f16 scales of a block stand: random bytes there would often be NaN or infinite
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "BF16": [0], "F16": [0]}


def main():
    rng = np.random.default_rng(20260101)
    out = {}
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        items, size = gguf.GGML_QUANT_SIZES[kind]
        n_blocks = 4 if items > 1 else 64
        blocks = rng.integers(0, 256, (n_blocks, size), dtype=np.uint8)
        for at in SCALES[name]:
            scale = (rng.standard_normal(n_blocks) * 0.1).astype(np.float16)
            scale[0] = np.float16(6e-8)  # a subnormal scale
            blocks[:, at:at + 2] = scale.view(np.uint8).reshape(n_blocks, 2)
        values = gguf.dequantize(blocks, kind).astype(np.float32)
        out[name] = {"blocks": blocks.tobytes().hex(), "values": values.tobytes().hex()}
    path = pathlib.Path(__file__).parents[2] / "tests/golden/dequant.json"
    path.write_text(json.dumps({"generator": f"tools/golden/make_dequant_goldens.py, gguf {gguf_version()}",
                                "types": out}, indent=0) + "\n")


def gguf_version():
    from importlib.metadata import version
    return version("gguf")


main()
