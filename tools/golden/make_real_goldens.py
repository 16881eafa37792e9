#!/usr/bin/env python3
"""Golden token ids and NLLs of two real models by llama.cpp and by `transformers`, from the same GGUF files.

Run from the top of the source tree after tools/get-smollm2 and tools/get-gemma3; needs
`pip install torch transformers gguf llama-cpp-python`. Writes tests/golden/real/<model>.json: for each text of data/ its
token ids (llama.cpp's, with the model's own choice of a BOS token) and, for every token but the first, its NLL in nats by
  transformers  float32, eager attention, on the weights as the `gguf` package dequantises them
  llama_cpp     float32 cache, no flash attention, on the same weights written to a GGUF file of float32 tensors
and the mean NLL of llama.cpp on the file as it is: there its products take activations rounded to 8 bits in blocks of 32,
which moves single tokens by tenths of a nat and means by hundredths.
"""
import json
import os
import tempfile

import gguf
import llama_cpp
import numpy as np
import torch
import transformers

from gguf_model import FOLDER, MODELS, load_transformers

TOLERANCE = {  # nats: of each token, except where it says mean
    "why": "transformers: the same float32 arithmetic in another order; long contexts and unlikely tokens amplify that. "
           "llama_cpp: the same, but its rotation angles are running products, and GELU (Gemma) is a float16 table. "
           "llama_cpp_rounded_mean: activations rounded to 8 bits.",
    "transformers": 2e-4, "llama_cpp": {"smollm2": 2e-3, "gemma3": 3e-2}, "llama_cpp_mean": 3e-4,
    "llama_cpp_rounded_mean": 3e-2}


def texts():
    """The five samples of the preset `ucurve`, a piece of WikiText-2 and a whole book."""
    wiki = open("data/wiki.test.raw", encoding="utf-8", newline="\n").read()
    rows = [row + "\n" for row in wiki.split("\n") if len(row.strip()) >= 50]
    books = [book["text"] for book in json.load(open("data/pg19_10samples.json"))]
    out = {f"W{i + 1}": rows[i][:1024] for i in range(3)}
    out |= {f"P{i + 1}": books[i][:2048] for i in range(2)}
    out |= {"wiki.test.raw, characters 20000 to 24799": wiki[20000:24800], "B3": books[2]}
    return out


def transformers_nlls(path, all_ids):
    model = load_transformers(path)
    out = {}
    for name, ids in all_ids.items():
        with torch.no_grad():
            hidden = model.model(torch.tensor([ids])).last_hidden_state[0, :-1]
            nlls = []
            for first in range(0, len(ids) - 1, 64):  # a whole matrix of log-probabilities would not fit
                targets = torch.tensor(ids[first + 1:first + 65])[:, None]
                log_p = torch.log_softmax(model.lm_head(hidden[first:first + 64]).double(), -1)
                nlls.append(-log_p.gather(1, targets)[:, 0])
        out[name] = torch.cat(nlls).numpy()
    return out


def write_f32(path, to):
    """The same model with float32 tensors."""
    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(to, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        is_array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=field.types[-1] if is_array else None)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for t in reader.tensors:
        writer.add_tensor(t.name, gguf.dequantize(t.data, t.tensor_type).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class LlamaCpp:
    def __init__(self, path):
        self.model = llama_cpp.llama_load_model_from_file(path.encode(), llama_cpp.llama_model_default_params())
        assert self.model, path
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def close(self):
        llama_cpp.llama_free_model(self.model)

    def tokenize(self, text):
        data = text.encode()
        ids = (llama_cpp.llama_token * (len(data) + 8))()
        n = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, False)
        return list(ids[:n])

    def nlls(self, ids, cache_type=llama_cpp.GGML_TYPE_F32, flash=llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED):
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = 4096, 4096, 512
        settings.type_k = settings.type_v = cache_type
        settings.flash_attn_type = flash
        settings.n_threads = settings.n_threads_batch = 2
        context = llama_cpp.llama_init_from_model(self.model, settings)
        out = []
        for first in range(0, len(ids), 256):
            piece = ids[first:first + 256]
            batch = llama_cpp.llama_batch_init(len(piece), 0, 1)
            batch.n_tokens = len(piece)
            for i, token in enumerate(piece):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, first + i, 1, 1
                batch.seq_id[i][0] = 0
            assert llama_cpp.llama_decode(context, batch) == 0
            for i in range(len(piece)):
                if first + i + 1 < len(ids):
                    row = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (self.n_vocab,))
                    row = row.astype(np.float64)
                    out.append(np.log(np.exp(row - row.max()).sum()) + row.max() - row[ids[first + i + 1]])
            llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)
        return np.array(out)


@llama_cpp.llama_log_callback
def be_silent(level, text, data):
    pass


def main():
    llama_cpp.llama_log_set(be_silent, None)
    torch.set_num_threads(2)
    os.makedirs("tests/golden/real", exist_ok=True)
    for model, file in MODELS.items():
        path = f"{FOLDER}/{file}"
        quantised = LlamaCpp(path)
        ids = {name: quantised.tokenize(text) for name, text in texts().items()}
        rounded = {name: quantised.nlls(x) for name, x in ids.items()}
        quantised.close()
        with tempfile.TemporaryDirectory() as folder:
            write_f32(path, f"{folder}/f32.gguf")
            wide = LlamaCpp(f"{folder}/f32.gguf")
            llama = {name: wide.nlls(x) for name, x in ids.items()}
            wide.close()
        exact = transformers_nlls(path, ids)
        for name in ids:
            d, r = np.abs(llama[name] - exact[name]), np.abs(rounded[name] - exact[name])
            print(f"{model} {name}: {len(ids[name])} tokens, mean NLL transformers {exact[name].mean():.6f}, llama.cpp "
                  f"{llama[name].mean():.6f} (tokens differ by mean {d.mean():.2e}, max {d.max():.2e}), with its rounding "
                  f"{rounded[name].mean():.6f} (mean {r.mean():.3f}, max {r.max():.3f})", flush=True)
        golden = {
            "generator": "tools/golden/make_real_goldens.py", "file": file,
            "versions": {"transformers": transformers.__version__, "torch": torch.__version__,
                         "llama_cpp_python": llama_cpp.__version__},
            "tolerance": {**TOLERANCE, "llama_cpp": TOLERANCE["llama_cpp"][model]},
            "texts": [{"name": name, "ids": ids[name],
                       "mean": {"transformers": round(float(exact[name].mean()), 6),
                                "llama_cpp": round(float(llama[name].mean()), 6),
                                "llama_cpp_rounded": round(float(rounded[name].mean()), 6)},
                       "transformers": [round(float(x), 6) for x in exact[name]],
                       "llama_cpp": [round(float(x), 6) for x in llama[name]]} for name in ids]}
        with open(f"tests/golden/real/{model}.json", "w", encoding="utf-8") as f:
            json.dump(golden, f, separators=(",", ":"))
            f.write("\n")


if __name__ == "__main__":
    main()
