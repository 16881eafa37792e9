#!/usr/bin/env python3
"""Golden token ids by the Hugging Face `tokenizers` library.

Run from the top of the source tree; needs `pip install tokenizers`. Writes tests/golden/tokenizer/<name>.json:
  texts    big texts of data/: number of ids and FNV-1a 64 over their little-endian int32 values
  samples  number of ids of the preset samples
  strings  edge cases and random Unicode with all their ids
Random strings hold code points assigned in the Unicode version of this Python only: newer ones are classified
differently by every library.
"""
import json
import random
import struct
import sys
import unicodedata

import tokenizers

MODELS = {
    "gpt-neox-20b": "tests/data/tokenizers/gpt-neox-20b.tokenizer.json",
    "novels-7m": "models/novels-7m/tokenizer.json",
}


def fnv(ids):
    h = 0xCBF29CE484222325
    for byte in b"".join(struct.pack("<i", i) for i in ids):
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def edge_cases():
    return [
        " ", "  ", "\n", "\n\n\n", "\t\t x", "   leading", "trailing   ", "a  b   c    d", "\r\n\r\n", "I'm you're he'll IT'S 's",
        "".join(map(chr, range(1, 128))), "0123456789 12 3456", "e\u0301 \u00e9 \u1e9b\u0323 \ufb01 \u212b", "\u1100\u1161\u11a8\u11a7",
        "\u4f60\u597d\uff0c\u4e16\u754c", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u180e \u180ex", "\u00a0\u2003\u3000 x",
        "\u0085x\u2028y\u2029", "<|endoftext|>", "a<|endoftext|>b<|padding|> c", "                         25", "\ufeffbom", "\u200b\u200c",
        "def f(x):\n    return x  # \u00fcber\n", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0e44\u0e17\u0e22", "a" * 300, "=" * 130,
    ]


def random_strings(n):
    pools = [range(1, 128), range(0x80, 0x250), range(0x300, 0x370), range(0x370, 0x600), range(0x900, 0x980),
             range(0x1100, 0x1200), range(0x2000, 0x2070), range(0x4E00, 0x9FFF), range(0xAC00, 0xD7A3), range(0x1F300, 0x1F700),
             range(0x10000, 0x10FFF), [32, 32, 10, 9, 0x85, 0xA0, 0x180E, 0x2003, 0x3000, 0x200B], [39, 115, 116, 118, 101, 114, 108, 109, 100, 32]]
    rng = random.Random(7)
    out = []
    for _ in range(n):
        text = ""
        for _ in range(rng.randint(1, 12)):
            pool = rng.choice(pools)
            picked = [chr(rng.choice(pool)) for _ in range(rng.randint(1, 5))]
            text += "".join(c for c in picked if unicodedata.category(c) not in ("Cn", "Cs"))
        if text:
            out.append(text)
    return out


def main():
    wiki = open("data/wiki.test.raw", encoding="utf-8", newline="").read()
    books = [b["text"] for b in json.load(open("data/pg19_10samples.json", encoding="utf-8"))]
    rows = [r + "\n" for r in wiki.split("\n") if len(r.strip()) >= 50]
    samples = {"W1": rows[0][:1024], "W2": rows[1][:1024], "W3": rows[2][:1024], "P1": books[0][:2048], "P2": books[1][:2048]}
    for name, path in MODELS.items():
        tok = tokenizers.Tokenizer.from_file(path)
        ids_of = lambda text: tok.encode(text, add_special_tokens=False).ids
        texts = {"wiki.test.raw": ids_of(wiki)}
        texts.update({f"book {i + 1}": ids_of(b) for i, b in enumerate(books)})
        golden = {
            "made_by": f"tools/golden/make_tokenizer_goldens.py, tokenizers {tokenizers.__version__}, "
                       f"Unicode {unicodedata.unidata_version}",
            "tokenizer": path,
            "samples": {k: len(ids_of(v)) for k, v in samples.items()},
            "texts": {k: {"n": len(v), "fnv1a64": fnv(v)} for k, v in texts.items()},
            "strings": [{"text": s, "ids": ids_of(s)} for s in edge_cases() + random_strings(400)],
        }
        with open(f"tests/golden/tokenizer/{name}.json", "w", encoding="utf-8") as f:
            json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
            f.write("\n")
        print(name, golden["samples"], file=sys.stderr)


main()
