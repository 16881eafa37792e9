#!/usr/bin/env python3
"""Golden quality of predictions behind a compressed cache, by `transformers` in float32.

Run from the top of the source tree after tools/get-smollm2; needs `pip install torch transformers gguf tokenizers`.
Two runs of the library's own model over one text, token by token: one with all keys and values, one whose cache is cut
after every step as the policy says (its positions go on). For each scored token both predictions are compared in float64:
  kl_nats        KL(full || cut)
  entropy_nats   of the cut one
  p_top          probability of its most likely token
  is_hit         that token comes next
  is_same_top    it is the full one's too
  nll_nats       of the token that comes
Writes tests/golden/quality.novels-7m.json and tests/golden/real/quality.smollm2.json.
"""
import json

import torch
import transformers
from tokenizers import Tokenizer

from gguf_model import FOLDER, MODELS, load_transformers

TOLERANCE = 1e-4  # nats, or of a probability: the same float32 arithmetic in another order
# policy text: (press, entries it keeps, entries at which it acts, whole layers, once behind the prompt)
POLICIES = {
    "knorm:size=24:cap=32:skip=0:sinks=0:recent=0": ("knorm", 24, 32, {0}, False),
    "recency:size=12:cap=20:skip=none:sinks=0:recent=0": ("recency", 12, 20, set(), False),
    "knorm:size=30:cap=32:skip=0:sinks=0:recent=0:cadence=once": ("knorm", 30, 32, {0}, True),
}


def cut(cache, press, size):
    """Keeps `size` entries of each head: the newest, or those of the smallest key norms, in the order of time."""
    keys, values = cache.keys, cache.values
    n = keys.shape[2]
    if press == "recency":
        at = torch.arange(n - size, n).expand(*keys.shape[:2], size)
    else:
        at = keys.double().norm(dim=-1).topk(size, dim=-1, largest=False).indices.sort(-1).values
    at = at[..., None]
    cache.keys = keys.gather(2, at.expand(-1, -1, -1, keys.shape[3]))
    cache.values = values.gather(2, at.expand(-1, -1, -1, values.shape[3]))


def log_probs(model, ids, prefill, policy=None):
    """[scored, V] of every prediction from step `prefill` on."""
    cache = transformers.DynamicCache()
    out = []
    with torch.no_grad():
        for t in range(len(ids) - 1):
            logits = model(torch.tensor([[ids[t]]]), past_key_values=cache, position_ids=torch.tensor([[t]]),
                           use_cache=True).logits[0, -1]
            if t >= prefill:
                out.append(torch.log_softmax(logits.double(), -1))
            if policy is None:
                continue
            press, size, cap, whole, is_once = policy
            for i, layer in enumerate(cache.layers):
                is_due = t + 1 == prefill if is_once else t + 1 >= prefill and layer.keys.shape[2] >= cap
                if is_due and i not in whole:
                    cut(layer, press, size)
    return torch.stack(out)


def short(x):
    return [float(f"{v:.7g}") for v in x.tolist()]


def case(model, name, ids, prefill, text):
    full = log_probs(model, ids, prefill)
    own = log_probs(model, ids, prefill, POLICIES[text])
    target = torch.tensor(ids[prefill + 1:])
    top = own.argmax(-1)
    return {"text": name, "prefill": prefill, "policy": text, "ids": ids,
            "nll_nats": short(-own.gather(1, target[:, None])[:, 0]),
            "kl_nats": short((full.exp() * (full - own)).sum(-1)),
            "entropy_nats": short(-(own.exp() * own).sum(-1)),
            "p_top": short(own.exp().amax(-1)),
            "is_hit": (top == target).tolist(),
            "is_same_top": (top == full.argmax(-1)).tolist()}


def save(path, model, cases):
    made_by = f"make_quality_goldens.py: torch {torch.__version__}, transformers {transformers.__version__}, float32"
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps({"made_by": made_by, "model": model, "tolerance": TOLERANCE, "cases": cases}) + "\n")
    for c in cases:
        n = len(c["kl_nats"])
        print(model, c["text"], c["policy"], "mean KL", sum(c["kl_nats"]) / n, "same top", sum(c["is_same_top"]) / n)


def main():
    every_step = [p for p in POLICIES if not POLICIES[p][4]]
    once = [p for p in POLICIES if POLICIES[p][4]]
    books = [book["text"][:2048] for book in json.load(open("data/pg19_10samples.json"))]
    tokenizer = Tokenizer.from_file("models/novels-7m/tokenizer.json")
    model = transformers.AutoModelForCausalLM.from_pretrained("models/novels-7m", dtype=torch.float32,
                                                              attn_implementation="sdpa").eval()
    ids = tokenizer.encode(books[0], add_special_tokens=False).ids
    save("tests/golden/quality.novels-7m.json", "novels-7m",
         [case(model, "P1", ids[:160], 0, p) for p in every_step] + [case(model, "P1", ids[:160], 80, p) for p in once])
    ids = json.load(open("tests/golden/real/smollm2.json"))["texts"][3]["ids"][:110]
    model = load_transformers(f"{FOLDER}/{MODELS['smollm2']}")
    model.set_attn_implementation("sdpa")
    save("tests/golden/real/quality.smollm2.json", "smollm2",
         [case(model, "P1", ids, 0, every_step[0]), case(model, "P1", ids, 60, once[0])])


if __name__ == "__main__":
    main()
