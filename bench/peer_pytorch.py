#!/usr/bin/env python3
"""The `ucurve` preset as a loop in eager PyTorch: what a Python user of transformers would write.

A yardstick, not a part of kvlab: it proves that kvlab's perplexities are those of an independent
implementation, and bench/compare-peer takes its time as the time to beat. It needs the pip packages
`torch` and `transformers`, and installs nothing.

For each keep ratio and sample: one token per step through the model (float32, eager attention,
DynamicCache, true positions). After each step every layer but the first that holds at least 32 keys keeps the
ceil(ratio * n) keys of smallest L2 norm of each head, in time order. PPL is exp(mean NLL) over the first 256
tokens. Ratio 1 is one plain pass over at most 512 tokens.

With --model FILE.gguf the same loop runs on a Llama or Gemma 3 model, its weights dequantised to float32 as for
the golden files (tools/golden/make_real_goldens.py, which needs its own pip packages), on the token ids of --ids;
there is no golden file for that: bench/compare-peer compares the perplexities with kvlab's.

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import math
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RATIOS = ["1", "0.95", "0.9", "0.85", "0.8", "0.75", "0.7", "0.6", "0.5", "0.4", "0.3"]
SAMPLES = ["W1", "W2", "W3", "P1", "P2"]
MIN_KEYS = 32
STREAM_TOKENS = 256
BASELINE_TOKENS = 512


def load_samples():
    with open(os.path.join(ROOT, "data/wiki.test.raw"), encoding="utf-8") as f:
        rows = [line for line in f if len(line.strip()) >= 50]
    with open(os.path.join(ROOT, "data/pg19_10samples.json"), encoding="utf-8") as f:
        books = json.load(f)
    # as data/README.md defines them; main() checks the token ids against the golden file
    texts = {"W%d" % (i + 1): rows[i][:1024] for i in range(3)}
    texts.update({"P%d" % (i + 1): books[i]["text"][:2048] for i in range(2)})
    return texts


def layer_kv(cache, layer):
    if hasattr(cache, "layers"):
        return cache.layers[layer].keys, cache.layers[layer].values
    return cache.key_cache[layer], cache.value_cache[layer]


def set_layer_kv(cache, layer, keys, values):
    if hasattr(cache, "layers"):
        cache.layers[layer].keys, cache.layers[layer].values = keys, values
    else:
        cache.key_cache[layer], cache.value_cache[layer] = keys, values


def compress(torch, cache, n_layers, keep):
    for layer in range(1, n_layers):
        keys, values = layer_kv(cache, layer)
        n = keys.shape[2]
        if n < MIN_KEYS:
            continue
        k = math.ceil(keep * n)
        chosen = torch.topk(keys.norm(dim=-1), k, dim=-1, largest=False).indices.sort(dim=-1).values
        index = chosen.unsqueeze(-1).expand(-1, -1, -1, keys.shape[3])
        set_layer_kv(cache, layer, keys.gather(2, index), values.gather(2, index))


def mean_nll(torch, logits, targets):
    return torch.nn.functional.cross_entropy(logits.double(), targets).item()


def baseline_ppl(torch, model, ids):
    ids = torch.tensor([ids[:BASELINE_TOKENS]])
    logits = model(input_ids=ids, use_cache=False).logits[0]
    return math.exp(mean_nll(torch, logits[:-1], ids[0, 1:]))


def stream_ppl(torch, model, cache_class, ids, keep):
    ids = ids[:STREAM_TOKENS]
    cache = cache_class()
    n_layers = model.config.num_hidden_layers
    # one query sees every key that is left; a given 4-D mask also keeps transformers from deriving one from
    # the length of layer 0, which differs from that of the compressed layers
    see_all = torch.zeros(1, 1, 1, 1)
    nll = 0.0
    for pos in range(len(ids) - 1):
        out = model(input_ids=torch.tensor([[ids[pos]]]), position_ids=torch.tensor([[pos]]),
                    attention_mask=see_all, past_key_values=cache, use_cache=True)
        compress(torch, cache, n_layers, keep)
        nll += mean_nll(torch, out.logits[0, -1:], torch.tensor([ids[pos + 1]]))
    return math.exp(nll / (len(ids) - 1))


def run(torch, model, cache_class, ids, ratios):
    ppl = {}
    with torch.inference_mode():
        for ratio in ratios:
            ppl[ratio] = {}
            for name in ids:
                if float(ratio) == 1.0:
                    ppl[ratio][name] = baseline_ppl(torch, model, ids[name])
                else:
                    ppl[ratio][name] = stream_ppl(torch, model, cache_class, ids[name], float(ratio))
    return ppl


def max_deviation(ppl, golden):
    return max(abs(ppl[r][s] - golden[r][s]) / golden[r][s] for r in ppl for s in ppl[r])


def load_gguf(path):
    sys.path.insert(0, os.path.join(ROOT, "tools/golden"))
    import make_real_goldens
    return make_real_goldens.load_transformers(path)


def load_bundled(transformers, torch, path, names):
    """Model, token ids by sample, golden perplexities."""
    from tokenizers import Tokenizer
    model = transformers.GPTNeoXForCausalLM.from_pretrained(
        path, torch_dtype=torch.float32, attn_implementation="eager").float().eval()
    tokenizer = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
    texts = load_samples()
    with open(os.path.join(ROOT, "tests/golden/ucurve.novels-7m.json"), encoding="utf-8") as f:
        golden = json.load(f)
    ids = {name: tokenizer.encode(texts[name]).ids for name in names}
    for name in ids:
        if len(ids[name]) != golden["n_tokens"][name] or ids[name][:24] != golden["first_ids"][name]:
            sys.exit("peer_pytorch: sample %s has %d tokens, which is not the golden text of %d" %
                     (name, len(ids[name]), golden["n_tokens"][name]))
    return model, ids, golden["ppl"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ratios", default=",".join(RATIOS), help="comma list of keep ratios")
    parser.add_argument("--samples", default=",".join(SAMPLES), help="comma list of W1 W2 W3 P1 P2")
    parser.add_argument("--repeat", type=int, default=1, help="times the loop is run and timed")
    parser.add_argument("--model", default=os.path.join(ROOT, "models/novels-7m"))
    parser.add_argument("--ids", help="JSON file of token ids by sample, for a model of a GGUF file")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import torch
        import transformers
    except ImportError as err:
        sys.exit("peer_pytorch: needs the pip packages torch and transformers (%s)" % err)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(args.threads)
    golden = None
    if args.ids is not None:
        model = load_gguf(args.model)
        with open(args.ids, encoding="utf-8") as f:
            ids = json.load(f)
    else:
        model, ids, golden = load_bundled(transformers, torch, args.model, args.samples.split(","))
    ratios = args.ratios.split(",")
    seconds = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        ppl = run(torch, model, transformers.DynamicCache, ids, ratios)
        seconds.append(time.perf_counter() - start)
    for ratio in ratios:
        print("keep %-5s %s" % (ratio, "  ".join("%s %.4f" % item for item in ppl[ratio].items())))
    print("torch %s transformers %s threads %d" % (torch.__version__, transformers.__version__, args.threads))
    print("ppl: " + json.dumps(ppl))
    print("seconds: " + " ".join("%.3f" % s for s in seconds))
    if golden is None:
        return 0
    deviation = max_deviation(ppl, golden)
    print("max relative deviation from the golden file: %.3g" % deviation)
    return 0 if deviation <= 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
