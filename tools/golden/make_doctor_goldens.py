#!/usr/bin/env python3
"""What `kvlab doctor` expects of the shipped model and data -> data/doctor.json.

Run from the top of the source tree; needs `pip install torch transformers tokenizers`. Hashes are FNV-1a 64 of whole
files; ids are those of `tokenizers`; the NLL is that of `transformers` in float32, checked against the independent
float32 implementation behind tests/golden/ucurve.novels-7m.json.
"""
import json

import tokenizers
import torch
import transformers

MODEL = "models/novels-7m"
FILES = [f"{MODEL}/config.json", f"{MODEL}/model.safetensors", f"{MODEL}/tokenizer.json", "data/wiki.test.raw"]
N_TOKENS = 64
TEXTS = [
    "The quick brown fox jumps over the lazy dog.", "   leading, trailing   ", "a  b   c    d", "I'm you're he'll IT'S",
    "0123456789 12 3456 3.14159", "line\r\nline\r\n\r\nline\n", "no\u00a0break\u00a0 \u2003space", "\u0413\u0434\u0435 \u0442\u044b?",
    "\u4f60\u597d\uff0c\u4e16\u754c", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940",
    "e\u0301 \u00e9 \ufb01 \u212b", "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467", "before<|endoftext|>after",
    " <|endoftext|> <|endoftext|>\n", "<|endoftext|", "def f(x):\n    return x  # \u00fcber\n",
]


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def main():
    tok = tokenizers.Tokenizer.from_file(f"{MODEL}/tokenizer.json")
    rows = open("data/wiki.test.raw", encoding="utf-8", newline="").read().split("\n")
    w1 = next(r + "\n" for r in rows if len(r.strip()) >= 50)[:1024]
    ids = torch.tensor([tok.encode(w1, add_special_tokens=False).ids[:N_TOKENS]])
    model = transformers.GPTNeoXForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        logits = model(ids).logits[0, :-1].double()
    nll = torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item()
    other = json.load(open("tests/golden/ucurve.novels-7m.json", encoding="utf-8"))["nll_W1_stream"]["1"][:N_TOKENS - 1]
    if abs(sum(other) / len(other) - nll) > 1e-5:
        raise SystemExit(f"two implementations disagree: {sum(other) / len(other)} and {nll}")
    golden = {
        "made_by": f"tools/golden/make_doctor_goldens.py, tokenizers {tokenizers.__version__}, "
                   f"transformers {transformers.__version__}, torch {torch.__version__}",
        "model": MODEL,
        "files": {path: fnv(open(path, "rb").read()) for path in FILES},
        "nll": {"sample": "W1", "n_tokens": N_TOKENS, "mean_nats": nll},
        "texts": [{"text": t, "ids": tok.encode(t, add_special_tokens=False).ids} for t in TEXTS],
    }
    with open("data/doctor.json", "w", encoding="utf-8") as f:
        json.dump(golden, f, ensure_ascii=True, indent=1)
        f.write("\n")


main()
