#!/usr/bin/env python3
"""Golden trace of the published U-curve protocol, by `transformers` in float32.

Run from the top of the source tree; needs `pip install torch transformers tokenizers`. The library's own model goes over
some tokens of sample B1 token by token; after every step each head of layers 1 .. keeps the ceil(ratio n) keys of the
smallest norm once it holds 32. Written to tests/golden/trace.novels-7m.json, for each ratio:
  kept          [steps below][layer][head] positions that the query of that step sees, its own included
  lag1, run     over all steps from 32 on and heads of layers 1 ..: share that sees the token before, and length of the
                unbroken run of tokens before
  newest        share of compressions that drop the token just read
  lost          [steps below][layer][head] attention of the same query in a run with all keys to those that are gone
  excess        mean NLL above that run, over steps from 32 on
"""
import json
import math

import torch
import transformers
from tokenizers import Tokenizer

FOLDER = "models/novels-7m"
RATIOS = [0.95, 0.9, 0.75, 0.5, 0.3]
N_TOKENS = 161
STEPS = [31, 32, 33, 47, 90, 159]
TRIGGER = 32


def compress(layer, positions, ratio):
    """Returns the positions [heads, kept] that stay of those a layer's cache holds."""
    n = layer.keys.shape[2]
    at = layer.keys[0].double().norm(dim=-1).topk(math.ceil(ratio * n), dim=-1, largest=False).indices.sort(-1).values
    for name in ("keys", "values"):
        whole = getattr(layer, name)
        setattr(layer, name, whole.gather(2, at[None, :, :, None].expand(1, -1, -1, whole.shape[3])))
    return positions.gather(1, at)


def run(model, ids, ratio):
    """NLLs, what each query saw [step][layer] -> positions [heads, n], and drops of the newest [event][layer][heads]."""
    cache = transformers.DynamicCache()
    n_heads = model.config.num_attention_heads
    held = [torch.empty(n_heads, 0, dtype=torch.long) for _ in range(model.config.num_hidden_layers)]
    nll, seen, newest = [], [], []
    for t in range(len(ids) - 1):
        logits = model(torch.tensor([[ids[t]]]), past_key_values=cache, position_ids=torch.tensor([[t]]),
                       use_cache=True).logits[0, -1]
        nll.append(-torch.log_softmax(logits.double(), -1)[ids[t + 1]].item())
        held = [torch.cat([h, torch.full((n_heads, 1), t)], 1) for h in held]
        seen.append(held)
        held = list(held)
        for i in range(1, len(held)):
            if held[i].shape[1] >= TRIGGER and math.ceil(ratio * held[i].shape[1]) < held[i].shape[1]:
                held[i] = compress(cache.layers[i], held[i], ratio)
                newest.append((held[i][:, -1] != t).double().mean().item())
    return nll, seen, newest


def main():
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32,
                                                              attn_implementation="eager").eval()  # has weights
    text = json.load(open("data/pg19_10samples.json"))[0]["text"][3000:6000]
    ids = Tokenizer.from_file(f"{FOLDER}/tokenizer.json").encode(text, add_special_tokens=False).ids[:N_TOKENS]
    golden = {"made_by": f"transformers {transformers.__version__}, torch {torch.__version__}", "ids": ids, "steps": STEPS,
              "cells": []}
    with torch.no_grad():
        full = model(torch.tensor([ids[:-1]]), output_attentions=True)
        base = -torch.log_softmax(full.logits[0].double(), -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        model.set_attn_implementation("sdpa")  # without a mask for the length of layer 0
        for ratio in RATIOS:
            nll, seen, newest = run(model, ids, ratio)
            lag1, runs, n = 0, 0, 0
            for t in range(TRIGGER, len(seen)):
                for held in seen[t][1:]:
                    for head in held.tolist():
                        visible = set(head)
                        lag1 += t - 1 in visible
                        runs += next(j for j in range(1, t + 2) if t - j not in visible) - 1
                        n += 1
            lost = []
            for t in STEPS:
                rows = []
                for i, held in enumerate(seen[t]):
                    weights = full.attentions[i][0, :, t, :t + 1].double()
                    rows.append([float(f"{x:.6g}") for x in (1 - weights.gather(1, held).sum(1)).clamp(min=0).tolist()])
                lost.append(rows)
            golden["cells"].append({
                "ratio": ratio, "kept": [[held.tolist() for held in seen[t]] for t in STEPS], "lost": lost,
                "lag1": lag1 / n, "run": runs / n, "newest": sum(newest) / len(newest),
                "excess": (torch.tensor(nll, dtype=torch.float64) - base)[TRIGGER:].mean().item()})
            print(ratio, {k: golden["cells"][-1][k] for k in ("lag1", "run", "newest", "excess")})
    with open("tests/golden/trace.novels-7m.json", "w") as f:
        json.dump(golden, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
