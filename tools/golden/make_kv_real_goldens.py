#!/usr/bin/env python3
"""Mean NLLs of two real models by llama.cpp with quantised caches -> tests/golden/real/caches.json.

Run from the top of the source tree after tools/get-smollm2, tools/get-gemma3 and tools/golden/make_real_goldens.py, whose token ids these
are; needs `pip install torch transformers gguf llama-cpp-python`. Weights are written to a GGUF file of float32 tensors,
so that caches are all that is rounded; flash attention, as llama.cpp asks for where values are quantised: it rounds
queries to 8 bits too. Rotation before quantising, which is llama.cpp's default, is off, and on in types that end in
"+hadamard".
"""
import json
import os
import tempfile

import llama_cpp

import make_real_goldens as real

TYPES = {"f16": llama_cpp.GGML_TYPE_F16, "q8_0": llama_cpp.GGML_TYPE_Q8_0, "q4_0": llama_cpp.GGML_TYPE_Q4_0,
         "q4_1": llama_cpp.GGML_TYPE_Q4_1, "iq4_nl": llama_cpp.GGML_TYPE_IQ4_NL}
TEXTS = {"smollm2": ["P1", "wiki.test.raw, characters 20000 to 24799"], "gemma3": ["P1"]}


def means(golden, texts):
    ids = {text["name"]: text["ids"] for text in golden["texts"] if text["name"] in texts}
    out = {name: {} for name in texts}
    with tempfile.TemporaryDirectory() as folder:
        real.write_f32(f"{real.FOLDER}/{golden['file']}", f"{folder}/f32.gguf")
        model = real.LlamaCpp(f"{folder}/f32.gguf")
        for rotated in ("", "+hadamard"):
            os.environ["LLAMA_ATTN_ROT_DISABLE"] = "0" if rotated else "1"
            for name, kind in TYPES.items():
                for text in texts:
                    nlls = model.nlls(ids[text], kind, llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED)
                    out[text][name + rotated] = round(float(nlls.mean()), 6)
                    print(golden["file"], text, name + rotated, out[text][name + rotated], flush=True)
        model.close()
    return out


def main():
    llama_cpp.llama_log_set(real.be_silent, None)
    out = {}
    for model, texts in TEXTS.items():
        out[model] = means(json.load(open(f"tests/golden/real/{model}.json", encoding="utf-8")), texts)
    with open("tests/golden/real/caches.json", "w", encoding="utf-8") as f:
        json.dump({"generator": "tools/golden/make_kv_real_goldens.py", "llama_cpp_python": llama_cpp.__version__,
                   "mean": out}, f, indent=1)
        f.write("\n")


main()
