"""The real models of the golden files: GGUF files as `transformers` models, float32 as `gguf` dequantises them."""
import os

import gguf
import numpy as np
import torch
import transformers

FOLDER = os.environ.get("KVL_MODELS", "models-extra")
MODELS = {"smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma3": "gemma-3-270m.Q4_K_M.gguf"}
LAYER_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "post_ffw_norm": "post_feedforward_layernorm",
}
TOP_NAMES = {"token_embd": "embed_tokens", "output_norm": "norm"}


def scalars(reader):
    arch = reader.fields["general.architecture"].contents()
    return {k.removeprefix(arch + "."): f.contents() for k, f in reader.fields.items()
            if not k.startswith("tokenizer.")}


def make_config(meta, n_vocab):
    is_gemma = meta["general.architecture"] == "gemma3"
    base = meta["rope.freq_base"]
    n_layers = meta["block_count"]
    common = dict(
        vocab_size=n_vocab, hidden_size=meta["embedding_length"], num_hidden_layers=n_layers,
        num_attention_heads=meta["attention.head_count"], num_key_value_heads=meta["attention.head_count_kv"],
        intermediate_size=meta["feed_forward_length"], max_position_embeddings=meta["context_length"],
        rms_norm_eps=meta["attention.layer_norm_rms_epsilon"], tie_word_embeddings=True)
    if not is_gemma:
        return transformers.LlamaConfig(**common, rope_parameters=dict(rope_type="default", rope_theta=base))
    return transformers.Gemma3TextConfig(
        **common, head_dim=meta["attention.key_length"], query_pre_attn_scalar=meta["attention.key_length"],
        sliding_window=meta["attention.sliding_window"],
        layer_types=["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(n_layers)],
        rope_parameters={"full_attention": dict(rope_type="default", rope_theta=base),
                         "sliding_attention": dict(rope_type="default", rope_theta=10000.0)})


def state_of(reader, config):
    is_gemma = config.model_type.startswith("gemma")
    layer_names = LAYER_NAMES | (
        {"post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm"} if is_gemma
        else {"ffn_norm": "post_attention_layernorm"})
    state = {}
    for t in reader.tensors:
        x = gguf.dequantize(t.data, t.tensor_type).astype(np.float32)
        parts = t.name.removesuffix(".weight").split(".")
        if parts[0] == "blk":
            name = f"model.layers.{parts[1]}.{layer_names[parts[2]]}.weight"
        else:
            name = f"model.{TOP_NAMES[parts[0]]}.weight"
        if not is_gemma and parts[-1] in ("attn_q", "attn_k"):  # undo the interleaving of the halves of each head
            head_dim = config.hidden_size // config.num_attention_heads
            x = x.reshape(-1, head_dim // 2, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
        if is_gemma and x.ndim == 1:
            x = x - 1
        state[name] = torch.from_numpy(np.ascontiguousarray(x))
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    return state


def load_transformers(path):
    reader = gguf.GGUFReader(path)
    n_vocab = next(int(t.shape[1]) for t in reader.tensors if t.name == "token_embd.weight")
    config = make_config(scalars(reader), n_vocab)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.load_state_dict(state_of(reader, config), strict=True)
    return model
