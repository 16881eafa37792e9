#!/usr/bin/env python3
"""How key norms go with attention received on the bundled model, by transformers and scipy.

usage: tools/golden/make_explain_goldens.py > tests/golden/explain.json

Per text and layer, means over heads: Spearman's correlation of key norm and mean attention received, and the
share of attention lost by evicting the half of highest norms and the half that received least. Attention is that
of a plain forward pass with eager attention in float32; what a key receives is the mean over its own query and
all later ones; keys with fewer than 32 tokens behind them are left out.

Needs: torch, transformers, tokenizers, scipy.
SPDX-License-Identifier: Apache-2.0
"""
import json
import os
import re
import sys

import numpy as np
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from transformers import GPTNeoXForCausalLM

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "novels-7m")
N_TOKENS, MIN_QUERIES, MIN_CHARS = 176, 32, 2000


def articles():
    with open(os.path.join(ROOT, "data", "wiki.test.raw"), encoding="utf-8") as f:
        text = f.read()
    starts = [m.start() for m in re.finditer(r"^ = [^=\n]+ = \n", text, re.M)] + [len(text)]
    return [text[a:b] for a, b in zip(starts, starts[1:]) if b - a >= MIN_CHARS]


def lost_half(attention, order):
    return attention[order[len(order) // 2:]].sum() / attention.sum()


def layer_facts(weights, keys):
    facts = []
    n_fed = weights.shape[-1]
    n = n_fed - MIN_QUERIES
    for head in range(weights.shape[0]):
        received = weights[head].sum(0) / (n_fed - np.arange(n_fed))
        norms = np.linalg.norm(keys[head], axis=-1)
        a, k = received[:n], norms[:n]
        facts.append([spearmanr(k, a).statistic, lost_half(a, np.argsort(k, kind="stable")),
                      lost_half(a, np.argsort(-a, kind="stable"))])
    return np.mean(facts, axis=0)


def main():
    torch.set_num_threads(1)
    model = GPTNeoXForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
    texts = []
    for k, text in enumerate(articles()[:2]):
        ids = tokenizer.encode(text, add_special_tokens=False).ids[:N_TOKENS]
        fed = torch.tensor([ids[:-1]])
        with torch.no_grad():
            out = model(fed, output_attentions=True, use_cache=True)
        layers = []
        for layer, weights in enumerate(out.attentions):
            keys = out.past_key_values.layers[layer].keys[0].double().numpy()
            layers.append(layer_facts(weights[0].double().numpy(), keys).tolist())
        texts.append({"name": "A%d" % (k + 1), "ids": ids, "layers": layers})
    json.dump({"n_tokens": N_TOKENS, "texts": texts}, sys.stdout)
    print()


main()
