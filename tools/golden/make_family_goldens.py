#!/usr/bin/env python3
"""Golden logits of tiny random-weight models of every family by `transformers`, as checkpoint folder and as GGUF.

Run from the top of the source tree, for all variants or those named; needs `pip install torch transformers safetensors
gguf llama-cpp-python`. Writes tests/golden/families/<variant>/: config.json, model.safetensors, model.gguf (where GGUF can say the same) and
golden.json with token ids and float32 logits. Float16 matrices, float32 arithmetic, eager attention. The arrangement
of tensors in GGUF follows llama.cpp's convert_hf_to_gguf.py; llama.cpp reads each file here, and its logits must be
near (it computes with float16 caches and approximate activations).
"""
import ctypes
import json
import math
import os
import shutil
import sys

import gguf
import llama_cpp
import numpy as np
import safetensors.torch
import torch
import transformers

N_TOKENS, N_VOCAB = 40, 67
BASE = dict(vocab_size=N_VOCAB, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=96, max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=1,
            eos_token_id=2, pad_token_id=0, initializer_range=0.15)
HEADS32 = dict(head_dim=32)


def rope(kind, base=10000.0, **more):
    return dict(rope_type=kind, rope_theta=base, **more)


GEMMA3_ROPES = {"full_attention": rope("linear", 1e6, factor=2.0), "sliding_attention": rope("default", 1e4)}
# variant: (config class, settings, architecture in GGUF or None)
VARIANTS = {
    "gpt2": ("GPT2Config", dict(vocab_size=N_VOCAB, n_embd=64, n_layer=2, n_head=4, n_positions=64, bos_token_id=1,
                                eos_token_id=2, initializer_range=0.15), "gpt2"),
    "gpt_neox": ("GPTNeoXConfig", dict(num_key_value_heads=4), "gptneox"),
    "llama": ("LlamaConfig", dict(rope_parameters=rope("default", 50000.0)), "llama"),
    "llama_tied": ("LlamaConfig", dict(tie_word_embeddings=True, num_key_value_heads=4), "llama"),
    "llama_bias": ("LlamaConfig", dict(attention_bias=True, mlp_bias=True), "llama"),
    "llama_llama3": ("LlamaConfig", dict(rope_parameters=rope(
        "llama3", 500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16)), "llama"),
    "llama_linear": ("LlamaConfig", dict(rope_parameters=rope("linear", factor=4.0)), "llama"),
    "llama_yarn": ("LlamaConfig", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=16)),
                   "llama"),
    "mistral": ("MistralConfig", dict(sliding_window=8, **HEADS32), None),
    "qwen2": ("Qwen2Config", dict(), "qwen2"),
    "qwen3": ("Qwen3Config", dict(**HEADS32, num_key_value_heads=1), "qwen3"),
    "phi3": ("Phi3Config", dict(sliding_window=8), "phi3"),
    "phi3_partial": ("Phi3Config", dict(sliding_window=None, partial_rotary_factor=0.5), "phi3"),
    "gemma2": ("Gemma2Config", dict(**HEADS32, sliding_window=8, query_pre_attn_scalar=32, tie_word_embeddings=True,
                                    attn_logit_softcapping=5.0, final_logit_softcapping=3.0,
                                    num_hidden_layers=3), "gemma2"),
    "gemma3": ("Gemma3TextConfig", dict(**HEADS32, sliding_window=8, query_pre_attn_scalar=32, num_hidden_layers=7,
                                        tie_word_embeddings=True, num_key_value_heads=1,
                                        rope_parameters=GEMMA3_ROPES), "gemma3"),
    "mistral_full": ("MistralConfig", dict(sliding_window=None, **HEADS32), "llama"),
}
NAMES = {  # ends of names of tensors of a layer: GGUF's
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
    "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output", "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down", "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}
TOP = {"embed_tokens": "token_embd", "embed_in": "token_embd", "wte": "token_embd", "wpe": "position_embd",
       "norm": "output_norm", "final_layer_norm": "output_norm", "ln_f": "output_norm", "lm_head": "output",
       "embed_out": "output"}


def randomise(model):
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key or ".ln_" in key:
                p.normal_(0 if "Gemma" in type(model).__name__ or key.endswith("bias") else 1, 0.1)
            elif key.endswith("bias"):
                p.normal_(0, 0.1)
            if p.dim() == 2:
                p.copy_(p.half().float())


def gguf_tensor(name, x, arch, config):
    """Name and values as convert_hf_to_gguf.py writes them."""
    body, suffix = name.rsplit(".", 1)
    parts = body.split(".")
    if parts[-1] in TOP and not any(p.isdigit() for p in parts):
        target = TOP[parts[-1]]
    else:
        at = next(i for i, p in enumerate(parts) if p.isdigit())
        inner = ".".join(parts[at + 1:])
        if inner == "post_attention_layernorm":
            inner = "post_attention_norm" if arch.startswith("gemma") else "ffn_norm"
        target = f"blk.{parts[at]}.{NAMES.get(inner, inner)}"
    if arch == "gpt2" and x.dim() == 2 and any(p.startswith("c_") for p in parts):
        x = x.T
    if arch.startswith("gemma") and body.endswith("norm"):
        x = x + 1
    if arch == "llama" and target.endswith(("attn_q", "attn_k")):
        heads = config.num_attention_heads if target.endswith("q") else config.num_key_value_heads
        x = x.reshape(heads, 2, x.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(x.shape)
    if target.endswith("attn_qkv") and arch == "gptneox":
        heads = config.num_attention_heads
        x = x.reshape(heads, 3, x.shape[0] // heads // 3, -1).swapaxes(0, 1).reshape(x.shape)
    return f"{target}.{suffix}", x


def llama3_factors(config):
    r = config.rope_parameters
    dim = config.hidden_size // config.num_attention_heads
    out = []
    for i in range(0, dim, 2):
        wavelength = 2 * math.pi * r["rope_theta"] ** (i / dim)
        low = r["original_max_position_embeddings"] / r["low_freq_factor"]
        high = r["original_max_position_embeddings"] / r["high_freq_factor"]
        if wavelength < high:
            out.append(1.0)
        elif wavelength > low:
            out.append(r["factor"])
        else:
            s = (r["original_max_position_embeddings"] / wavelength - r["low_freq_factor"]) / (
                r["high_freq_factor"] - r["low_freq_factor"])
            out.append(1 / ((1 - s) / r["factor"] + s))
    return np.array(out, np.float32)


def write_gguf(path, arch, config, state, types=None):
    """types: how to quantise the matrices, by the last part of their names but one; None: float16."""
    w = gguf.GGUFWriter(path, arch)
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(inner)
    w.add_head_count(heads)
    w.add_vocab_size(N_VOCAB)
    w.add_tokenizer_model("none")
    if arch in ("gpt2", "gptneox"):
        w.add_layer_norm_eps(getattr(config, "layer_norm_eps", None) or config.layer_norm_epsilon)
    else:
        w.add_layer_norm_rms_eps(config.rms_norm_eps)
        w.add_head_count_kv(config.num_key_value_heads)
    if head_dim * heads != config.hidden_size:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    r = getattr(config, "rope_parameters", None)
    if arch == "gptneox":
        w.add_parallel_residual(config.use_parallel_residual)
        w.add_rope_dimension_count(int(head_dim * 0.25))
    if arch == "gemma3":
        r = r["full_attention"]
    if r is not None:
        w.add_rope_freq_base(r["rope_theta"])
        if arch in ("llama", "phi3"):
            w.add_rope_dimension_count(int(head_dim * r.get("partial_rotary_factor", 1.0)))
        if r["rope_type"] in ("linear", "yarn"):
            w.add_rope_scaling_type(gguf.RopeScalingType(r["rope_type"]))
            w.add_rope_scaling_factor(r["factor"])
        if r["rope_type"] == "yarn":
            w.add_rope_scaling_orig_ctx_len(r["original_max_position_embeddings"])
        if r["rope_type"] == "llama3":
            w.add_tensor("rope_freqs.weight", llama3_factors(config))
    if arch == "phi3":
        w.add_rope_scaling_orig_ctx_len(config.max_position_embeddings)
    if arch in ("phi3", "gemma2", "gemma3"):
        w.add_sliding_window(config.sliding_window or 0)
    if arch == "gemma2":
        w.add_attn_logit_softcapping(config.attn_logit_softcapping)
        w.add_final_logit_softcapping(config.final_logit_softcapping)
    for name, x in state.items():
        name, x = gguf_tensor(name, x, arch, config)
        if types is not None and x.dim() == 2:
            kind = types[name.split(".")[-2]]
            w.add_tensor(name, gguf.quants.quantize(x.numpy(), kind), raw_dtype=kind)
        else:
            w.add_tensor(name, x.numpy().astype(np.float16 if x.dim() == 2 else np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama_cpp_logits(path, ids):
    params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_load_model_from_file(path.encode(), params)
    assert model, f"llama.cpp does not read {path}"
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch = 64, 64, 64
    context = llama_cpp.llama_new_context_with_model(model, settings)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
        batch.seq_id[i][0] = 0
    assert llama_cpp.llama_decode(context, batch) == 0
    rows = [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (N_VOCAB,)).copy()
            for i in range(len(ids))]
    llama_cpp.llama_free(context)
    llama_cpp.llama_free_model(model)
    return np.stack(rows)


def written_config(config, variant):
    """As published: what the class writes; the Llama variants in the form of before transformers 5."""
    d = json.loads(config.to_json_string(use_diff=False))
    keep = set(json.loads(config.to_json_string(use_diff=True))) | {"sliding_window", "tie_word_embeddings"}
    d = {k: v for k, v in d.items() if k in keep and k not in ("architectures", "transformers_version")}
    if variant.startswith("llama"):
        r = d.pop("rope_parameters")
        d["rope_theta"] = r.pop("rope_theta")
        d["rope_scaling"] = None if r["rope_type"] == "default" else r
    return d


def main():
    torch.set_num_threads(1)
    for seed, (variant, (config_class, settings, arch)) in enumerate(VARIANTS.items()):
        if sys.argv[1:] and variant not in sys.argv[1:]:
            continue
        folder = f"tests/golden/families/{variant}"
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        torch.manual_seed(200 + seed)
        base = {} if variant == "gpt2" else BASE
        config = getattr(transformers, config_class)(**{**base, **settings}, attn_implementation="eager")
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        randomise(model)
        state = {k: v.clone() for k, v in model.state_dict().items()}
        if config.tie_word_embeddings:
            state.pop("lm_head.weight", None)
        stored = {("embed_out.weight" if variant == "gpt_neox" and k == "lm_head.weight" else k):
                  (v.half() if v.dim() == 2 else v).contiguous() for k, v in state.items()}
        safetensors.torch.save_file(stored, f"{folder}/model.safetensors", metadata={"format": "pt"})
        os.chmod(f"{folder}/model.safetensors", 0o644)
        json.dump(written_config(config, variant), open(f"{folder}/config.json", "w"), indent=1)
        ids = torch.randint(3, N_VOCAB, (1, N_TOKENS))
        with torch.no_grad():
            logits = model(ids).logits[0].numpy()
        if arch is not None:
            write_gguf(f"{folder}/model.gguf", arch, config, state)
            theirs = llama_cpp_logits(f"{folder}/model.gguf", ids[0].tolist())
            n = 8 if variant == "phi3" else N_TOKENS  # llama.cpp switches Phi-3's window off
            difference = np.abs(theirs - logits)[:n].max()
            print(variant, "llama.cpp differs by", difference, "of", np.abs(logits).max())
            assert difference < 0.02 * np.abs(logits).max()
        picked = [0, 1, 9, 23, N_TOKENS - 1]
        golden = {"generator": "tools/golden/make_family_goldens.py", "transformers": transformers.__version__,
                  "torch": torch.__version__, "ids": ids[0].tolist(), "positions": picked,
                  "logits": [[float(f"{x:.8g}") for x in logits[p]] for p in picked]}
        json.dump(golden, open(f"{folder}/golden.json", "w"))


if __name__ == "__main__":
    main()
