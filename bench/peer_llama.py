#!/usr/bin/env python3
"""One speed test by llama.cpp, through llama-cpp-python: the yardstick of bench/compare-llama.

usage: peer_llama.py MODEL.gguf THREADS pp N DEPTH | tg N DEPTH | ppl TEXT

Settings are llama.cpp's own: f16 cache, flash attention where it finds it best, batches of 2048 in passes of
512. Tokens of pp and tg are drawn; logits of pp are asked for the last token only, sampling is not included.
After a warm-up of the same test (pp, ppl) or the prefill of the depth (tg) one run is timed. ppl feeds a whole
text in one sequence and asks for the logits of every token; turning them into perplexity is not in its time.
Prints one JSON object. Needs the pip package `llama-cpp-python` (and numpy, which it brings).

SPDX-License-Identifier: Apache-2.0
"""
import json
import random
import sys
import time

try:
    import llama_cpp
    import numpy as np
except ImportError as error:
    sys.exit("peer_llama: %s; pip install llama-cpp-python, or set PYTHON to a python that has it" % error)

BATCH = 2048


@llama_cpp.llama_log_callback
def be_silent(level, text, data):
    pass


class Peer:
    def __init__(self, path, n_threads):
        self.model = llama_cpp.llama_load_model_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            sys.exit("peer_llama: %s: cannot be loaded" % path)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.n_threads = n_threads
        self.context = None

    def start(self, n_tokens):
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = (n_tokens + 255) // 256 * 256, BATCH, 512
        settings.n_threads = settings.n_threads_batch = self.n_threads
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        if not self.context:
            sys.exit("peer_llama: no context of %d tokens" % n_tokens)

    def forget(self, first):
        """Drops what is cached from a position on."""
        llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(self.context), 0, first, -1)

    def feed(self, ids, first, each=None):
        """Seconds of computing these tokens at positions from `first`; `each` is called with (index, logits)."""
        seconds = 0.0
        for begin in range(0, len(ids), BATCH):
            piece = ids[begin:begin + BATCH]
            batch = llama_cpp.llama_batch_init(len(piece), 0, 1)
            batch.n_tokens = len(piece)
            for i, token in enumerate(piece):
                batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, first + begin + i, 1
                batch.seq_id[i][0] = 0
                batch.logits[i] = each is not None or begin + i + 1 == len(ids)
            start = time.perf_counter()
            failed = llama_cpp.llama_decode(self.context, batch)
            llama_cpp.llama_synchronize(self.context)
            seconds += time.perf_counter() - start
            if failed:
                sys.exit("peer_llama: llama_decode: %d" % failed)
            for i in range(len(piece) if each is not None else 0):
                each(begin + i, np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, i), (self.n_vocab,)))
            llama_cpp.llama_batch_free(batch)
        return seconds

    def tokenize(self, text):
        data = text.encode()
        ids = (llama_cpp.llama_token * (len(data) + 8))()
        return list(ids[:llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, False)])


def prompt(peer, n, depth):
    ids = [random.randrange(peer.n_vocab) for _ in range(depth + n)]
    peer.start(depth + n)
    peer.feed(ids[:depth], 0)
    peer.feed(ids[depth:], depth)
    peer.forget(depth)
    return {"n_tokens": n, "seconds": peer.feed(ids[depth:], depth)}


def generate(peer, n, depth):
    ids = [random.randrange(peer.n_vocab) for _ in range(depth + n)]
    peer.start(depth + n)
    peer.feed(ids[:depth], 0)
    return {"n_tokens": n, "seconds": sum(peer.feed([ids[depth + i]], depth + i) for i in range(n))}


def perplexity(peer, text):
    ids = peer.tokenize(text)
    nlls = []

    def add(i, logits):
        if i + 1 < len(ids):
            row = logits.astype(np.float64)
            nlls.append(np.log(np.exp(row - row.max()).sum()) + row.max() - row[ids[i + 1]])

    peer.start(len(ids))
    peer.feed(ids, 0)
    peer.forget(0)
    seconds = peer.feed(ids, 0, add)
    return {"n_tokens": len(ids), "seconds": seconds, "ppl": float(np.exp(np.mean(nlls)))}


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    path, n_threads, test, args = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    random.seed(0)
    llama_cpp.llama_log_set(be_silent, None)
    peer = Peer(path, n_threads)
    if test == "ppl":
        with open(args[0], encoding="utf-8", newline="") as f:
            out = perplexity(peer, f.read())
    else:
        out = {"pp": prompt, "tg": generate}[test](peer, int(args[0]), int(args[1]))
    out["version"] = "llama-cpp-python " + llama_cpp.__version__
    out["system"] = llama_cpp.llama_print_system_info().decode()
    print(json.dumps(out))


if __name__ == "__main__":
    main()
