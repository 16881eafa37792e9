#!/usr/bin/env python3
"""Golden logits of tiny random-weight GPT-NeoX models by `transformers`.

Run from the top of the source tree; needs `pip install torch transformers safetensors`. Writes
tests/golden/neox/<variant>/: a checkpoint (config.json and weights) and golden.json with token ids and float32
logits. One thread, eager attention, float32 arithmetic whatever the stored type.
"""
import json
import os
import shutil

import safetensors.torch
import torch
import transformers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

BASE = dict(vocab_size=67, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
            max_position_embeddings=64, rotary_pct=0.25, use_parallel_residual=True, hidden_act="gelu",
            tie_word_embeddings=False, attention_bias=True, initializer_range=0.3)
VARIANTS = {
    "width80": (dict(hidden_size=160, num_attention_heads=2, num_hidden_layers=2, intermediate_size=96,
                     initializer_range=0.2), torch.float32, 1),
    "sequential": (dict(use_parallel_residual=False), torch.float32, 1),
    "shards3": (dict(), torch.float32, 3),
    "bf16": (dict(), torch.bfloat16, 1),
    "f16": (dict(), torch.float16, 1),
    "tied": (dict(tie_word_embeddings=True), torch.float32, 1),
    "rot100": (dict(rotary_pct=1.0), torch.float32, 1),
    "nobias": (dict(attention_bias=False), torch.float32, 1),
    "gelu_tanh": (dict(hidden_act="gelu_new"), torch.float32, 1),
}
HEAD = ["model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "max_position_embeddings", "use_parallel_residual", "hidden_act", "tie_word_embeddings", "attention_bias",
        "layer_norm_eps"]


def save(folder, tensors, n_shards):
    names = sorted(tensors)
    if n_shards == 1:
        safetensors.torch.save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
        return
    index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in tensors.values())}, "weight_map": {}}
    for shard in range(n_shards):
        file = f"model-{shard + 1:05d}-of-{n_shards:05d}.safetensors"
        part = {n: tensors[n] for n in names[shard::n_shards]}
        safetensors.torch.save_file(part, f"{folder}/{file}", metadata={"format": "pt"})
        index["weight_map"].update({n: file for n in part})
    json.dump(index, open(f"{folder}/model.safetensors.index.json", "w"), indent=1)


def main():
    torch.set_num_threads(1)
    for seed, (name, (changes, dtype, n_shards)) in enumerate(VARIANTS.items()):
        folder = f"tests/golden/neox/{name}"
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        torch.manual_seed(100 + seed)
        settings = {**BASE, **changes}
        config = GPTNeoXConfig(**settings, attn_implementation="eager")
        model = GPTNeoXForCausalLM(config).eval()
        with torch.no_grad():
            for key, p in model.named_parameters():  # norms and biases that do something
                if key.endswith("bias"):
                    p.normal_(0, 0.1)
                elif "norm" in key:
                    p.normal_(1, 0.1)
                # round as stored, compute in float32; buffers (rotation frequencies) are not stored and not rounded
                p.copy_(p.to(dtype).float())
        # published checkpoints call the output matrix embed_out, newer libraries lm_head in memory
        state = {k.replace("lm_head.", "embed_out."): v.to(dtype).clone().contiguous()
                 for k, v in model.state_dict().items()}
        if settings["tie_word_embeddings"]:
            del state["embed_out.weight"]
        save(folder, state, n_shards)
        written = {k: getattr(config, k) for k in HEAD}
        written.update(rotary_pct=settings["rotary_pct"], rotary_emb_base=10000, torch_dtype=str(dtype).split(".")[1])
        json.dump(written, open(f"{folder}/config.json", "w"), indent=1)
        ids = torch.randint(0, settings["vocab_size"], (1, 24))
        with torch.no_grad():
            logits = model(ids).logits[0]
        positions = [0, 1, 7, 22, 23]
        golden = {
            "made_by": f"tools/golden/make_neox_goldens.py, torch {torch.__version__}, transformers {transformers.__version__}",
            "ids": ids[0].tolist(),
            "positions": positions,
            "logits": [[float(f"{x:.9g}") for x in logits[p].tolist()] for p in positions],
        }
        json.dump(golden, open(f"{folder}/golden.json", "w"))
        print(name, "largest logit", float(logits.abs().max()))


main()
