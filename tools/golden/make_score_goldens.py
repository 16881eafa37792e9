#!/usr/bin/env python3
"""Golden entropies and KL divergences of tiny models by `transformers` in float64.

Run from the top of the source tree; needs `pip install torch transformers safetensors`. Reads
tests/golden/families/<variant> and writes tests/golden/score.json: token ids, and for the last token its entropy, the
probability of its most likely successor, and two references (its final hidden state with noise, as float32 numbers)
with KL(reference || token) in nats and whether both have the same most likely successor.
"""
import json

import torch
import transformers

VARIANTS = ["llama", "gemma2", "gpt_neox"]  # gemma2: a final softcap
NOISE = [0.1, 1.0]  # of the standard deviation of the state


def golden(variant):
    folder = f"tests/golden/families/{variant}"
    ids = json.load(open(f"{folder}/golden.json"))["ids"]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    cap = getattr(model.config, "final_logit_softcapping", None)

    def log_probabilities(state):
        logits = model.get_output_embeddings()(state)
        return torch.log_softmax(cap * torch.tanh(logits / cap) if cap else logits, -1)

    with torch.no_grad():
        out = model(torch.tensor([ids]), output_hidden_states=True)
        state = out.hidden_states[-1][0, -1]
        row = log_probabilities(state)
        assert torch.allclose(row, torch.log_softmax(out.logits[0, -1], -1), atol=1e-12)
        references = []
        for noise in NOISE:
            reference = (state + noise * state.std() * torch.randn_like(state)).float()
            p = log_probabilities(reference.double())
            references.append({"state": [float(x) for x in reference],
                               "kl": float((p.exp() * (p - row)).sum()),
                               "is_same_top": bool(p.argmax() == row.argmax())})
    return {"ids": ids, "entropy": float(-(row.exp() * row).sum()), "p_top": float(row.max().exp()),
            "top": int(row.argmax()), "references": references}


def main():
    torch.manual_seed(20)
    goldens = {"made_by": f"tools/golden/make_score_goldens.py, torch {torch.__version__}, "
                          f"transformers {transformers.__version__}"}
    goldens.update({variant: golden(variant) for variant in VARIANTS})
    with open("tests/golden/score.json", "w", encoding="utf-8") as f:
        json.dump(goldens, f)
        f.write("\n")


if __name__ == "__main__":
    main()
