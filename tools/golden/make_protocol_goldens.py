#!/usr/bin/env python3
"""Golden perplexities by the programs whose definitions kvlab's protocols share.

Run from the top of the source tree after tools/get-smollm2; needs `pip install torch transformers gguf llama-cpp-python
lm_eval`. Writes tests/golden/protocols/<model>.json: for SmolLM2 (float32 weights, dequantised by the `gguf` package) and
for the bundled model, on the first characters of data/wiki.test.raw:
  hf-strided       the loop of the transformers documentation (docs/source/en/perplexity.md), unchanged; and, since it
                   weighs a window by one token less than it averages, the exact sum over the same tokens
  lm-eval-rolling  lm_eval's own HFLM.loglikelihood_rolling
  llama-chunk      llama-perplexity's loop by llama.cpp's low-level API: on a GGUF file of float32 weights, and on the file
                   as it is, where products take activations rounded to 8 bits; for the bundled model, of which there is
                   no such file, the same loop on transformers
NLL sums of windows stand beside the totals, so that a failing test says where.
"""
import json
import math
import os
import sys
import tempfile

import gguf
import numpy as np
import torch
import transformers
from tokenizers import pre_tokenizers, processors

from gguf_model import FOLDER, MODELS, load_transformers

OUT = "tests/golden/protocols"
SETTINGS = {"smollm2": dict(chars=10000, window=1024, stride=512, rolling=1024, chunk=512, bos=1),
            "novels-7m": dict(chars=12000, window=512, stride=192, rolling=300, chunk=256, bos=None)}


def text_of(n_chars):
    return open("data/wiki.test.raw", encoding="utf-8", newline="\n").read()[:n_chars]


def hf_recipe(model, encodings, max_length, stride):
    """The documentation's loop."""
    device = "cpu"
    seq_len = encodings.size(1)
    nll_sum = 0.0
    n_tokens = 0
    prev_end_loc = 0
    for begin_loc in range(0, seq_len, stride):
        end_loc = min(begin_loc + max_length, seq_len)
        trg_len = end_loc - prev_end_loc  # may be different from stride on last loop
        input_ids = encodings[:, begin_loc:end_loc].to(device)
        target_ids = input_ids.clone()
        target_ids[:, :-trg_len] = -100

        with torch.no_grad():
            outputs = model(input_ids, labels=target_ids)
            neg_log_likelihood = outputs.loss

        num_valid_tokens = (target_ids != -100).sum().item()  # number of valid tokens in target_ids
        batch_size = target_ids.size(0)
        num_loss_tokens = num_valid_tokens - batch_size  # subtract batch_size due to internal label shift
        nll_sum += neg_log_likelihood * num_loss_tokens
        n_tokens += num_loss_tokens

        prev_end_loc = end_loc
        if end_loc == seq_len:
            break

    avg_nll = nll_sum / n_tokens  # average negative log-likelihood per token
    return torch.exp(avg_nll).item()


def hf_windows(model, ids, max_length, stride):
    """NLL sum and count of the same targets, window by window."""
    out = []
    seen = 0
    for begin in range(0, len(ids), stride):
        end = min(begin + max_length, len(ids))
        nlls = nlls_of(model, ids[begin:end])
        out.append(nlls[max(seen - begin, 1) - 1:])
        seen = end
        if end == len(ids):
            break
    return [[float(x.sum()), len(x)] for x in out]


def nlls_of(model, ids):
    """NLLs of all but the first token; the head by pieces, a whole matrix of log-probabilities is large."""
    out = []
    with torch.no_grad():
        hidden = model.base_model(torch.tensor([ids])).last_hidden_state[0, :-1]
        for first in range(0, len(ids) - 1, 64):
            log_p = torch.log_softmax(model.get_output_embeddings()(hidden[first:first + 64]).double(), -1)
            out.append(-log_p.gather(1, torch.tensor(ids[first + 1:first + 65])[:, None])[:, 0])
    return torch.cat(out)



def rolling(model, tokenizer, text, max_length):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    lm = HFLM(pretrained=model, tokenizer=tokenizer, max_length=max_length, batch_size=1, device="cpu")
    request = Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0)
    return lm.loglikelihood_rolling([request], disable_tqdm=True)[0], lm.prefix_token_id, lm.tok_encode(text)


def chunk_loop(nlls_at, ids, n_ctx, bos):
    """llama-perplexity: nlls_at(chunk) are the NLLs of all but the chunk's first token."""
    first = n_ctx // 2
    out = []
    for start in range(0, len(ids) - n_ctx + 1, n_ctx):
        chunk = list(ids[start:start + n_ctx])
        if bos is not None:
            chunk[0] = bos
        out.append(nlls_at(chunk)[first:n_ctx - 1])
    return [[float(x.sum()), len(x)] for x in out]


def total(windows):
    nll, n = (sum(w[i] for w in windows) for i in (0, 1))
    return {"ppl": math.exp(nll / n), "nll_sum": nll, "n_scored": n, "windows": [round(w[0], 6) for w in windows],
            "counts": [w[1] for w in windows]}


def llama_results(path, text, n_ctx):
    import llama_cpp
    from make_real_goldens import LlamaCpp, be_silent, write_f32
    llama_cpp.llama_log_set(be_silent, None)

    def run(file):
        model = LlamaCpp(file)
        ids = model.tokenize(text)  # with BOS where the vocabulary adds it
        bos = llama_cpp.llama_vocab_bos(model.vocab) if llama_cpp.llama_vocab_get_add_bos(model.vocab) else None
        result = total(chunk_loop(model.nlls, ids, n_ctx, bos))
        model.close()
        return ids, result

    ids, rounded = run(path)
    with tempfile.TemporaryDirectory() as folder:
        write_f32(path, f"{folder}/f32.gguf")
        _, exact = run(f"{folder}/f32.gguf")
    return ids, exact, rounded


def smollm2_tokenizer():
    """transformers reads the vocabulary of the GGUF file, but not that digits are parted and no BOS is added."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER, gguf_file=MODELS["smollm2"])
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def main():
    torch.set_num_threads(2)
    os.makedirs(OUT, exist_ok=True)
    for name in sys.argv[1:] or SETTINGS:
        s = SETTINGS[name]
        text = text_of(s["chars"])
        golden = {"generator": "tools/golden/make_protocol_goldens.py", "settings": s}
        if name in MODELS:
            path = f"{FOLDER}/{MODELS[name]}"
            ids, exact, rounded = llama_results(path, text, s["chunk"])
            model = load_transformers(path)
            tokenizer = smollm2_tokenizer()
            golden["llama-chunk"] = exact
            golden["llama_cpp_rounded_ppl"] = rounded["ppl"]
            print(name, "llama-chunk", exact["ppl"], "file as it is", rounded["ppl"], exact["n_scored"], flush=True)
        else:
            path = f"models/{name}"
            model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32,
                                                                      attn_implementation="eager").eval()
            tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=f"{path}/tokenizer.json",
                                                             eos_token="<|endoftext|>")
            ids = tokenizer.encode(text)
            golden["llama-chunk"] = total(chunk_loop(lambda x: nlls_of(model, x), ids, s["chunk"], s["bos"]))
            print(name, "llama-chunk", golden["llama-chunk"]["ppl"], flush=True)
        golden["n_ids"] = len(ids)
        assert tokenizer.encode(text) == list(ids), "the tokenizers differ"
        golden["hf-strided"] = total(hf_windows(model, ids, s["window"], s["stride"]))
        golden["hf-strided"]["recipe_ppl"] = hf_recipe(model, torch.tensor([ids]), s["window"], s["stride"])
        print(name, "hf-strided", golden["hf-strided"]["ppl"], golden["hf-strided"]["recipe_ppl"], flush=True)
        ll, prefix, lm_ids = rolling(model, tokenizer, text, s["rolling"])
        assert list(lm_ids) == list(ids), "lm_eval's tokens differ"
        golden["lm-eval-rolling"] = {"ppl": math.exp(-ll / len(ids)), "nll_sum": -ll, "n_scored": len(ids),
                                     "prefix": prefix, "bits_per_byte": -ll / math.log(2) / len(text.encode())}
        print(name, "lm-eval-rolling", golden["lm-eval-rolling"], flush=True)
        import lm_eval
        golden["versions"] = {"transformers": transformers.__version__, "torch": torch.__version__,
                              "lm_eval": getattr(lm_eval, "__version__", "0.4.13")}
        with open(f"{OUT}/{name}.json", "w", encoding="utf-8") as f:
            json.dump(golden, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
