#!/usr/bin/env python3
"""Golden answers: retrieval prompts and how `transformers` goes on from them, greedily, with all keys and under kvpress.

Run from the top of the source tree after tools/get-smollm2; needs `pip install torch transformers kvpress gguf
llama-cpp-python`. Writes tests/golden/retrieval/smollm2.json: for each prompt, as plain text and in ChatML, its ids by
llama.cpp's tokenizer and the ids that follow in float32 on the weights as the `gguf` package dequantises them: with the full
cache, and where all but the last N_QUESTION tokens were prefilled under a press of kvpress that keeps `size` entries per
head, the rest and the answer coming behind at their own positions. `margin` is the least distance between the two
largest logits: what a small difference of arithmetic would have to bridge.
"""
import importlib.metadata
import json
import os

import kvpress
import llama_cpp
import torch
import transformers

from gguf_model import FOLDER, MODELS, load_transformers

N_NEW, N_QUESTION = 16, 32
PRESSES = {"knorm": kvpress.KnormPress, "snapkv": kvpress.SnapKVPress, "streaming": kvpress.StreamingLLMPress}
RATIOS = (0.2, 0.5)  # of entries that go
NOISE = " The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
PASSKEY = ("There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you about "
           "the important information there.\n{before} The pass key is {x}. Remember it. {x} is the pass key.{behind}\n"
           "What is the pass key?", " The pass key is")
NEEDLE = ("A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you about the number "
          "afterwards.\n{before} One of the special magic numbers for lucky-harbor is: {x}.{behind}\n"
          "What is the special magic number for lucky-harbor mentioned in the provided text?",
          " The special magic number for lucky-harbor mentioned in the provided text is")


def book(first, n):
    text = json.load(open("data/pg19_10samples.json"))[1]["text"]
    return " " + " ".join(text[first:first + n].split())


def prompts():
    noise = {"before": NOISE * 6, "behind": NOISE * 5}
    text = {"before": book(3000, 500), "behind": book(3500, 700)}
    for name, (body, lead), x, filler in (("passkey", PASSKEY, 40718, noise), ("needle", NEEDLE, 5218406, text)):
        yield name + ", plain", body.format(x=x, **filler) + lead, str(x)
        yield (name + ", chatml", f"<|im_start|>user\n{body.format(x=x, **filler)}<|im_end|>\n<|im_start|>assistant\n{lead[1:]}",
               str(x))


@llama_cpp.llama_log_callback
def be_silent(level, text, data):
    pass


def step(model, cache, ids, at):
    """Feeds ids that stand at `at` and behind; the cache may hold less than that. The next id, and how clear it is."""
    out = model(input_ids=torch.tensor([ids]), past_key_values=cache, position_ids=torch.arange(at, at + len(ids))[None])
    top = torch.topk(out.logits[0, -1].double(), 2)
    return int(top.indices[0]), float(top.values[0] - top.values[1])


def answer(model, ids, eos, press):
    """The ids that follow, their least margin, and the entries of a head behind the context."""
    cache = transformers.DynamicCache()
    n = len(ids) - N_QUESTION
    with torch.no_grad():
        if press is None:
            model.model(input_ids=torch.tensor([ids[:n]]), past_key_values=cache)
        else:
            with press(model):
                model.model(input_ids=torch.tensor([ids[:n]]), past_key_values=cache)
        size = cache.layers[0].keys.shape[2]
        token, margin = step(model, cache, ids[n:], n)
        new, least = [], margin
        while token != eos and len(new) < N_NEW:
            new.append(token)
            token, margin = step(model, cache, [token], len(ids) + len(new) - 1)
            least = min(least, margin) if len(new) < N_NEW else least
    return {"size": size, "new": new, "margin": round(least, 4)}


def main():
    llama_cpp.llama_log_set(be_silent, None)
    path = f"{FOLDER}/{MODELS['smollm2']}"
    tokenizer = llama_cpp.Llama(path, vocab_only=True, verbose=False)
    model = load_transformers(path)
    out = []
    for name, text, expected in prompts():
        ids = tokenizer.tokenize(text.encode(), add_bos=False, special=True)
        cases = [("none", 0)] + [(press, ratio) for press in PRESSES for ratio in RATIOS]
        answers = []
        for press, ratio in cases:
            made = PRESSES[press](ratio) if press != "none" else None
            answers.append({"press": press, **answer(model, ids, tokenizer.token_eos(), made)})
            told = tokenizer.detokenize(answers[-1]["new"]).decode(errors="replace")
            print(f"{name}, {press}, {answers[-1]['size']} of {len(ids) - N_QUESTION} entries: expected {expected}, found "
                  f"{told!r}, margin {answers[-1]['margin']}", flush=True)
        out.append({"name": name, "ids": ids, "expected": expected, "answers": answers})
    os.makedirs("tests/golden/retrieval", exist_ok=True)
    with open("tests/golden/retrieval/smollm2.json", "w", encoding="utf-8") as f:
        json.dump({"generator": "tools/golden/make_retrieval_goldens.py", "file": MODELS["smollm2"], "n_new": N_NEW,
                   "n_question": N_QUESTION,
                   "versions": {"transformers": transformers.__version__, "torch": torch.__version__,
                                "kvpress": importlib.metadata.version("kvpress"),
                                "llama_cpp_python": llama_cpp.__version__}, "prompts": out}, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
