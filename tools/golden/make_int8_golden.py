#!/usr/bin/env python3
"""Golden logits of a tiny quantised Llama whose products round their inputs to 8 bits, by `transformers`.

Run from the top of the source tree; needs `pip install torch transformers safetensors gguf llama-cpp-python`. Takes
tests/golden/families/llama, stores its matrices as Q8_0, Q4_1, Q4_0 and Q5_1 in tests/golden/int8/model.gguf, and
writes golden.json beside it: transformers on the dequantised weights in float32, where before each product every 32
inputs become d * q with d = largest size / 127 and q rounded to the nearest whole number, ties to even. llama.cpp,
which rounds the same way (its d in float16), must be near.
"""
import json
import os

import gguf
import numpy as np
import safetensors.torch
import torch
import transformers

import make_family_goldens as families

SOURCE, FOLDER, HEAD_DIM = "tests/golden/families/llama", "tests/golden/int8", 16
Q = gguf.GGMLQuantizationType
TYPES = {"attn_q": Q.Q8_0, "attn_k": Q.Q8_0, "attn_v": Q.Q5_1, "attn_output": Q.Q4_1, "ffn_gate": Q.Q4_0,
         "ffn_up": Q.Q4_0, "ffn_down": Q.Q4_1, "output": Q.Q8_0, "token_embd": Q.Q4_1}


def rounded(x):
    blocks = x.reshape(*x.shape[:-1], -1, 32)
    most = blocks.abs().amax(-1, keepdim=True)
    inverse = torch.where(most > 0, 127 / most, torch.zeros_like(most))
    return ((blocks * inverse).round() * (most / 127)).reshape(x.shape)


def main():
    config = transformers.LlamaConfig(**json.load(open(f"{SOURCE}/config.json")), attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    state = {k: v.float() for k, v in safetensors.torch.load_file(f"{SOURCE}/model.safetensors").items()}
    os.makedirs(FOLDER, exist_ok=True)
    families.write_gguf(f"{FOLDER}/model.gguf", "llama", config, state, TYPES)
    for name, x in state.items():
        stored, in_file = families.gguf_tensor(name, x, "llama", config)
        if x.dim() == 2:
            kind = TYPES[stored.split(".")[-2]]
            values = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(in_file.numpy(), kind), kind).copy())
            if stored.endswith(("attn_q.weight", "attn_k.weight")):  # back to the order of the checkpoint
                values = values.reshape(-1, HEAD_DIM // 2, 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
            state[name] = values
    model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),))
    golden = json.load(open(f"{SOURCE}/golden.json"))
    with torch.no_grad():
        logits = model(torch.tensor([golden["ids"]])).logits[0].numpy()
    theirs = families.llama_cpp_logits(f"{FOLDER}/model.gguf", golden["ids"])
    print("llama.cpp differs by", np.abs(theirs - logits).max(), "of", np.abs(logits).max())
    golden.update(generator="tools/golden/make_int8_golden.py", transformers=transformers.__version__,
                  torch=torch.__version__, logits=[[float(f"{x:.8g}") for x in logits[p]] for p in golden["positions"]])
    json.dump(golden, open(f"{FOLDER}/golden.json", "w"))


main()
