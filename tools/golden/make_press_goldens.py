#!/usr/bin/env python3
"""Golden scores and kept entries of kvpress's presses, on two tiny random-weight models and on SmolLM2.

Run from the top of the source tree, for all case files or those named; needs `pip install torch transformers kvpress
gguf safetensors`, and for `smollm2` the model of tools/get-smollm2. Writes tests/golden/press/; its README.md describes
the files. Float16 matrices, float32 arithmetic. kvpress is left as it is; where kvlab differs on purpose, the case says
how under "differs", and the difference is made here (press_setups.py) in the smallest way.
"""
import importlib.metadata
import json
import os
import sys

import kvpress
import safetensors.torch
import torch
import transformers

import press_setups
from press_cases import CASES
from press_oracle import by_rule, run
from press_real import make_real

OUT = "tests/golden/press"
N_VOCAB = 331
BASE = dict(vocab_size=N_VOCAB, hidden_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
            intermediate_size=64, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=1,
            eos_token_id=2, pad_token_id=0, initializer_range=0.18,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0))
MODELS = {"llama": (transformers.LlamaConfig, dict(num_hidden_layers=3), 301),
          "qwen3": (transformers.Qwen3Config, dict(num_hidden_layers=2), 302)}
VERSIONS = {"kvpress": importlib.metadata.version("kvpress"), "torch": torch.__version__,
            "transformers": transformers.__version__}


def make_model(name):
    config_class, settings, seed = MODELS[name]
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config_class(**BASE, **settings)).float().eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key:
                p.normal_(1, 0.1)
            if p.dim() == 2:
                p.copy_(p.half().float())
    folder = f"{OUT}/{name}"
    os.makedirs(folder, exist_ok=True)
    stored = {k: (v.half() if v.dim() == 2 else v).contiguous() for k, v in model.state_dict().items()
              if k != "lm_head.weight"}
    safetensors.torch.save_file(stored, f"{folder}/model.safetensors", metadata={"format": "pt"})
    os.chmod(f"{folder}/model.safetensors", 0o644)
    config = json.loads(model.config.to_json_string(use_diff=True))
    config = {k: v for k, v in config.items() if k not in ("architectures", "transformers_version", "dtype")}
    with open(f"{folder}/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1)
    return model


def make_ids():
    """No text has a token twice: in the first layer equal tokens have equal norms, rounding would rank them."""
    draw = torch.Generator().manual_seed(77)
    lengths = {"a200": 224, "b300": 300, "kvzip_first": 7, "kvzip_next": 9, "kvzip_suffix": 2}
    ids = {name: (3 + torch.randperm(N_VOCAB - 3, generator=draw))[:n].tolist() for name, n in lengths.items()}
    ids |= {"a200": ids["a200"][:200], "then": ids["a200"][200:]}
    ids["calibration"] = [torch.randint(3, N_VOCAB, (n,), generator=draw).tolist() for n in (120, 150)]
    return ids


def rounded(x):
    if isinstance(x, torch.Tensor):
        x = x.tolist()
    if isinstance(x, list):
        return [rounded(v) for v in x]
    return float(f"{x:.7g}") if isinstance(x, float) else x


def ratio_for(case, size, n):
    """The ratio removed for which kvpress keeps `size` of n entries, or as many whole chunks."""
    unit = case.chunk or 1
    for r in 1 - size / n, 1 - (size + 0.5 * unit) / n:
        if int((n // unit) * (1 - r)) == size // unit:
            return r
    raise ValueError(f"{case.policy}: no ratio keeps {size} of {n}")


def scores_of(case, watch, state):
    scores = state.scores if state.scores is not None else [watch.scores[i] for i in range(len(watch.layers))]
    out = [[row.tolist() for row in layer] for layer in scores]
    first, last = case.protect
    for layer in out:
        for row in layer:
            row[:first] = [None] * first
            row[len(row) - last:] = [None] * last
    return rounded(out)


def settle_ties(case, watch, size, kept, margin):
    """kvlab's rule where scores tie; where they do not, kvpress has chosen by them."""
    for layer, scores in watch.scores.items():
        for head, row in enumerate(scores.tolist()):
            best = by_rule(row, size)
            if margin[layer][head]:
                assert best == kept[layer][head], case.policy
            else:
                assert "tie" in case.differs, f"{case.policy} of {size}: scores tie"
                kept[layer][head] = best


def run_size(case, size, model, ids):
    """One budget of a case: its outcome, and the scores that led to it."""
    n = len(ids[case.ids])
    scope = {**vars(kvpress), "size": size}
    if size is not None:
        scope["r"] = ratio_for(case, size, n)
    press = eval(case.press, scope)
    with press_setups.prepared(case, press, model, ids) as state:
        scorer = eval(case.score_of, {"press": press})
        watch = run(model, press, state.ids, ids["then"][:case.then], case.seed,
                    scorer if hasattr(scorer, "score") else None)
        kept, margin = watch.kept(), watch.margin()
        out = {"size": size}
        if "r" in scope:
            out["ratio"] = scope["r"]
        if isinstance(press, kvpress.ScorerPress) and not isinstance(press, kvpress.PyramidKVPress):
            settle_ties(case, watch, size, kept, margin)
        more = getattr(press_setups, case.extra)(watch, press, state, kept) if case.extra else {}
        out |= {"keep_tok": [[len(row) for row in layer] for layer in kept], "margin": rounded(margin), "kept": kept}
        out |= {k: rounded(v) for k, v in more.items()}
        scores = scores_of(case, watch, state) if case.scores != "none" else None
    return out, scores, state.fields


def run_case(case, models, ids):
    model = models[case.model]
    model.set_attn_implementation("eager" if case.eager else "sdpa")
    out = {"policy": case.policy, "press": case.press, "model": case.model, "ids": case.ids}
    out |= {name: getattr(case, name) for name in ("differs", "note", "then", "seed") if getattr(case, name)}
    if case.protect != (0, 0):
        out["protected_first_last"] = list(case.protect)
    sizes, all_scores = [], []
    for size in case.sizes:
        outcome, scores, fields = run_size(case, size, model, ids)
        if case.scores == "each":
            outcome["scores"] = scores
        all_scores.append(scores)
        sizes.append(outcome)
        out |= {k: rounded(v) for k, v in fields.items()}
    if case.scores == "once":
        assert all(s == all_scores[0] for s in all_scores), f"{case.policy}: scores depend on the size"
        out["scores"] = all_scores[0]
    return out | {"sizes": sizes}


def report(case):
    for outcome in case["sizes"]:
        gaps = [g for layer in outcome["margin"] for g in layer if g is not None]
        print(f"{case['policy']} {case['model']} size {outcome['size']}: kept {outcome['keep_tok']}, smallest margin "
              f"{min(gaps) if gaps else None}", flush=True)


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    wanted = sys.argv[1:]
    os.makedirs(OUT, exist_ok=True)
    models, ids = {name: make_model(name) for name in MODELS}, make_ids()
    with open(f"{OUT}/ids.json", "w", encoding="utf-8") as f:
        json.dump(ids, f)
        f.write("\n")
    for name in dict.fromkeys(case.file for case in CASES):
        if wanted and name not in wanted:
            continue
        cases = [run_case(case, models, ids) for case in CASES if case.file == name]
        head = {"generator": "tools/golden/make_press_goldens.py", "versions": VERSIONS}
        with open(f"{OUT}/{name}.json", "w", encoding="utf-8") as f:
            f.write(json.dumps(head)[:-1] + ', "cases": [\n')
            f.write(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]}\n")
        for case in cases:
            report(case)
    if not wanted or "smollm2" in wanted:
        make_real(f"{OUT}/smollm2.json", VERSIONS, run_case, report)


if __name__ == "__main__":
    main()
