#!/usr/bin/env python3
"""Golden token ids by the libraries that others use: `tokenizers` for tokenizer.json, llama.cpp for GGUF.

Run from the top of the source tree; needs `pip install tokenizers gguf llama-cpp-python`. Writes tests/golden/tokenizer/:
  strings.json     edge cases and random Unicode
  <name>.json      for each tokenizer: number of ids and FNV-1a 64 over their little-endian int32 values, for each string and
                   for the big texts of data/
  files/           small tokenizers with the pipeline of each family, trained here on data/: tokenizer.json and GGUF files
Random strings hold code points assigned in the Unicode version of this Python only: newer ones are classified differently by
every library (U+10780 to U+107BF are new in Unicode 14 and left out for that). With --real DIR also the goldens of DIR/smollm2.gguf and DIR/gemma3.gguf (tools/get-smollm2, get-gemma3).
"""
import argparse
import json
import os
import random
import struct
import sys
import unicodedata

import gguf
import llama_cpp
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

OUT = "tests/golden/tokenizer"
FILES = OUT + "/files"
EXISTING = {
    "gpt-neox-20b": "tests/data/tokenizers/gpt-neox-20b.tokenizer.json",
    "novels-7m": "models/novels-7m/tokenizer.json",
}
VOCABULARY = 900
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
BYTE_TOKENS = ["<0x%02X>" % b for b in range(256)]


def fnv(ids):
    h = 0xCBF29CE484222325
    for byte in b"".join(struct.pack("<i", i) for i in ids):
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


# ---- texts ----

def edge_cases():
    return [
        " ", "  ", "\n", "\n\n\n", "\t\t x", "   leading", "trailing   ", "a  b   c    d", "\r\n\r\n", "I'm you're he'll IT'S 's",
        "".join(map(chr, range(1, 128))), "0123456789 12 3456", "e\u0301 \u00e9 \u1e9b\u0323 \ufb01 \u212b", "\u1100\u1161\u11a8\u11a7",
        "\u4f60\u597d\uff0c\u4e16\u754c", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u180e \u180ex", "\u00a0\u2003\u3000 x",
        "\u0085x\u2028y\u2029", "<|endoftext|>", "a<|endoftext|>b<|padding|> c", "                         25", "\ufeffbom", "\u200b\u200c",
        "def f(x):\n    return x  # \u00fcber\n", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0e44\u0e17\u0e22", "a" * 300, "=" * 130,
        "<s>", "</s>", "<unk>", "x <s> y</s>  z", " <s>a", "<s><s>\n", "\u2581", "\u2581\u2581a \u2581", " \u2581 b", "one\n\n5 two\n7", "\n\n\n12\n\n3",
        "<|end|>  next\n", "a <|end|> <|user|>\n b", "<|im_start|>user\nhi<|im_end|>\n", "<b>  </b>", "don'T 'S 'Ll \u017f '\u017fx", "HTTPServer iPhone \u01c5ab",
        "<0x0A>", "a<0xFF>b", "\u0001\u0002", "#include <stdio.h>\nint main(void)\n{\n\treturn 0;\n}\n", "x=1;y=22;z=333;w=4444", "3.14159e-10 1,000,000",
        "\u6d4b\u8bd5\u4e00\u4e0b\uff1a\u8fd9\u662f\u7b2c3\u4e2a\u3002", "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c", "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8", "\U0001f1e9\U0001f1ea\U0001f3f4\U000e0067\U000e007f",
    ]


def random_strings(n):
    pools = [range(1, 128), range(0x80, 0x250), range(0x300, 0x370), range(0x370, 0x600), range(0x900, 0x980),
             range(0x1100, 0x1200), range(0x2000, 0x2070), range(0x4E00, 0x9FFF), range(0xAC00, 0xD7A3), range(0x1F300, 0x1F700),
             [*range(0x10000, 0x10780), *range(0x107C0, 0x10FFF)], [32, 32, 10, 9, 0x85, 0xA0, 0x180E, 0x2003, 0x3000, 0x200B], [39, 115, 116, 118, 101, 114, 108, 109, 100, 32]]
    rng = random.Random(7)
    out = []
    for _ in range(n):
        text = ""
        for _ in range(rng.randint(1, 12)):
            pool = rng.choice(pools)
            picked = [chr(rng.choice(pool)) for _ in range(rng.randint(1, 5))]
            text += "".join(c for c in picked if unicodedata.category(c) not in ("Cn", "Cs"))
        if text:
            out.append(text)
    for _ in range(40):  # random bytes, repaired as a reader of files does
        text = bytes(rng.randrange(256) for _ in range(rng.randint(1, 40))).decode("utf-8", errors="replace")
        if all(unicodedata.category(c) != "Cn" and c != "\0" for c in text):
            out.append(text)
    return out


def big_texts():
    wiki = open("data/wiki.test.raw", encoding="utf-8", newline="").read()
    books = [b["text"] for b in json.load(open("data/pg19_10samples.json", encoding="utf-8"))]
    texts = {"wiki.test.raw": wiki}
    texts.update({f"book {i + 1}": b for i, b in enumerate(books)})
    rows = [r + "\n" for r in wiki.split("\n") if len(r.strip()) >= 50]
    samples = {"W1": rows[0][:1024], "W2": rows[1][:1024], "W3": rows[2][:1024], "P1": books[0][:2048], "P2": books[1][:2048]}
    return texts, samples


# ---- small tokenizers ----

def train(tok, trainer, texts):
    tok.train_from_iterator([texts["wiki.test.raw"][:300000], texts["book 1"], texts["book 2"]], trainer)
    return json.loads(tok.to_str())


def bpe(texts, split=None, normalizer=None, **model):
    """Byte-level BPE; `split` are the steps in front of ByteLevel."""
    tok = Tokenizer(models.BPE(**model))
    if normalizer:
        tok.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None or split == "digits")
    digits = pre_tokenizers.Digits(individual_digits=True)
    regex = None if split in (None, "digits") else pre_tokenizers.Split(Regex(split), behavior="isolated", invert=False)
    tok.pre_tokenizer = level if split is None else pre_tokenizers.Sequence([digits if split == "digits" else regex, level])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                  special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return train(tok, trainer, texts)


def sentencepiece_bpe(texts, normalizer=None, pre_tokenizer=None, decoder=None):
    """BPE over characters with byte tokens, as conversions of SentencePiece models are."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if normalizer:
        tok.normalizer = normalizer
    if pre_tokenizer:
        tok.pre_tokenizer = pre_tokenizer
    tok.decoder = decoder
    specials = ["<unk>", "<s>", "</s>"]
    # trained on words, or a piece would reach over many of them
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY + 256, special_tokens=specials + BYTE_TOKENS, show_progress=False)
    learned = train(learner, trainer, texts)["model"]
    doc = json.loads(tok.to_str())
    doc["model"]["vocab"], doc["model"]["merges"] = learned["vocab"], learned["merges"]
    doc["added_tokens"] = [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                           for i, t in enumerate(specials)]
    return doc


def unigram(texts, byte_fallback, normalizer=None):
    tok = Tokenizer(models.Unigram())
    tok.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=True)
    tok.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always", split=True)
    if normalizer:
        tok.normalizer = normalizer
    specials = ["<unk>", "<s>", "</s>"] + (BYTE_TOKENS if byte_fallback else [])
    doc = train(tok, trainers.UnigramTrainer(vocab_size=VOCABULARY, special_tokens=specials, unk_token="<unk>", show_progress=False),
                texts)
    doc["model"]["byte_fallback"] = byte_fallback
    doc["added_tokens"] = [t for t in doc["added_tokens"] if t["content"] not in BYTE_TOKENS]
    return doc


def add(doc, content, **flags):
    vocab = doc["model"]["vocab"]
    used = [t["id"] for t in doc["added_tokens"]] + (list(vocab.values()) if isinstance(vocab, dict) else [len(vocab) - 1])
    doc["added_tokens"].append(dict(dict(id=max(used) + 1, content=content, single_word=False, lstrip=False, rstrip=False,
                                         normalized=False, special=True), **flags))


def with_bos(doc, token):
    ident = {t["content"]: t["id"] for t in doc["added_tokens"]}[token]
    doc["post_processor"] = {
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [ident], "tokens": [token]}}}


def small_tokenizers(texts):
    mark = "\u2581"
    legacy = decoders.Sequence([decoders.Replace(mark, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    docs = {
        "gpt2": bpe(texts),
        "smollm": bpe(texts, "digits"),
        "llama3": bpe(texts, LLAMA3, ignore_merges=True),
        "qwen2": bpe(texts, QWEN2, normalizers.NFC()),
        "tekken": bpe(texts, TEKKEN, ignore_merges=True),
        "llama2": sentencepiece_bpe(texts, normalizers.Sequence([normalizers.Prepend(mark), normalizers.Replace(" ", mark)]),
                                    decoder=legacy),
        "phi3": sentencepiece_bpe(texts, normalizers.Sequence([normalizers.Prepend(mark), normalizers.Replace(" ", mark)]),
                                  decoder=legacy),
        "mistral": sentencepiece_bpe(texts, None, pre_tokenizers.Metaspace(replacement=mark, prepend_scheme="first", split=False), legacy),
        "gemma": sentencepiece_bpe(texts, normalizers.Replace(" ", mark), pre_tokenizers.Split(" ", "merged_with_previous"),
                                   decoders.Sequence([decoders.Replace(mark, " "), decoders.ByteFallback(), decoders.Fuse()])),
        "unigram": unigram(texts, False, normalizers.NFKC()),
        "unigram-bytes": unigram(texts, True),
    }
    # a vocabulary that lacks bytes, as SmolLM2's
    for byte_char in ("\u0104", "\u0105", "\u00c6"):
        merges = docs["smollm"]["model"]["merges"]
        assert not any(byte_char in part for merge in merges for part in merge)
        vocab = docs["smollm"]["model"]["vocab"]
        vocab["\u2581unused " + byte_char] = vocab.pop(byte_char)
    add(docs["smollm"], "<repo_name>", special=False)
    add(docs["smollm"], " two", special=False, normalized=True)
    with_bos(docs["llama3"], "<|endoftext|>")
    docs["llama3"]["post_processor"] = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, docs["llama3"]["post_processor"]]}
    for name in ("llama2", "phi3", "mistral", "gemma"):
        with_bos(docs[name], "<s>")
    for name in ("phi3", "mistral"):
        add(docs[name], "<|end|>", rstrip=True)
        add(docs[name], "<|user|>", lstrip=True, rstrip=True)
    add(docs["phi3"], "<|endoftext|>")
    add(docs["gemma"], "\n\n\n", special=False)
    add(docs["gemma"], "<b>", special=False)
    add(docs["qwen2"], "e\u0301", special=False, normalized=True)
    return docs


# ---- GGUF ----

def write_gguf(path, doc, model, pre, name="small", prefix=None, bos=None):
    vocab = doc["model"]["vocab"]
    size = max(max(vocab.values()), max(t["id"] for t in doc["added_tokens"])) + 1
    tokens, types = [f"[PAD{i}]" for i in range(size)], [gguf.TokenType.UNUSED] * size
    for text, i in vocab.items():
        tokens[i] = text
        types[i] = gguf.TokenType.BYTE if text in BYTE_TOKENS and model == "llama" else gguf.TokenType.NORMAL
    for t in doc["added_tokens"]:
        tokens[t["id"]] = t["content"]
        types[t["id"]] = gguf.TokenType.CONTROL if t["special"] else gguf.TokenType.USER_DEFINED
    w = gguf.GGUFWriter(path, "llama")
    w.add_name(name)
    for key, value in (("context_length", 64), ("embedding_length", 8), ("block_count", 1), ("feed_forward_length", 8)):
        w.add_uint32("llama." + key, value)
    w.add_uint32("llama.attention.head_count", 1)
    w.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    w.add_tokenizer_model(model)
    if pre:
        w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if model == "llama":
        types[0] = gguf.TokenType.UNKNOWN
        rank = {"".join(m): r for r, m in reversed(list(enumerate(doc["model"]["merges"])))}
        w.add_token_scores([-float(rank[t]) if t in rank else 0.0 if types[i] != gguf.TokenType.NORMAL else -1e6
                            for i, t in enumerate(tokens)])
        w.add_unk_token_id(0)
    else:
        w.add_token_merges([" ".join(m) for m in doc["model"]["merges"]])
    if bos is not None:
        w.add_bos_token_id(bos)
        w.add_eos_token_id(bos)
    if prefix is not None:
        w.add_add_space_prefix(prefix)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def small_ggufs(docs):
    """name -> (document, arguments)"""
    return {
        "gguf-gpt2": (docs["gpt2"], dict(model="gpt2", pre="gpt-2")),
        "gguf-smollm": (docs["smollm"], dict(model="gpt2", pre="smollm")),
        "gguf-llama3": (docs["llama3"], dict(model="gpt2", pre="llama-bpe", bos=0)),
        "gguf-qwen2": (docs["qwen2"], dict(model="gpt2", pre="qwen2")),
        "gguf-tekken": (docs["tekken"], dict(model="gpt2", pre="tekken", bos=0)),
        "gguf-llama2": (docs["llama2"], dict(model="llama", pre=None, bos=1)),
        "gguf-phi3": (docs["phi3"], dict(model="llama", pre="default", name="Phi-3 small", bos=1)),
        "gguf-gemma": (docs["gemma"], dict(model="llama", pre="default", prefix=False, bos=1)),
    }


# ---- goldens ----

def write(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


def golden(path, ids_of, plain_ids_of, strings, texts, samples, maker, bos=None):
    return {
        "made_by": f"tools/golden/make_tokenizer_goldens.py, {maker}, Unicode {unicodedata.unidata_version}",
        "tokenizer": path,
        "bos": bos,
        "samples": {k: len(ids_of(v)) for k, v in samples.items()},
        "texts": {k: {"n": len(i), "fnv1a64": fnv(i)} for k, i in ((k, ids_of(v)) for k, v in texts.items())},
        "strings": [[len(i), fnv(i)] for i in map(ids_of, strings)],
        # special tokens as ordinary text
        "plain": [[len(i), fnv(i)] for i in map(plain_ids_of, strings)],
    }


def of_tokenizers(path, strings, texts, samples):
    tok = Tokenizer.from_file(path)

    def ids_of(text):
        tok.encode_special_tokens = False
        return tok.encode(text, add_special_tokens=False).ids

    def plain(text):
        tok.encode_special_tokens = True
        return tok.encode(text, add_special_tokens=False).ids

    front = tok.encode("", add_special_tokens=True).ids
    return golden(path, ids_of, plain, strings, texts, samples, f"tokenizers {tokenizers.__version__}", front[0] if front else -1)


def of_llama(path, strings, texts, samples, shown=None):
    model = llama_cpp.Llama(model_path=path, vocab_only=True, verbose=False)
    ids_of = lambda text: model.tokenize(text.encode("utf-8"), add_bos=False, special=True)
    plain = lambda text: model.tokenize(text.encode("utf-8"), add_bos=False, special=False)
    front = model.tokenize(b"", add_bos=True, special=True)
    return golden(shown or path, ids_of, plain, strings, texts, samples, f"llama.cpp of llama-cpp-python {llama_cpp.__version__}",
                  front[0] if front else -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real")
    args = parser.parse_args()
    os.makedirs(FILES, exist_ok=True)
    texts, samples = big_texts()
    strings = edge_cases() + random_strings(400)
    write(f"{OUT}/strings.json", strings)
    for name, path in EXISTING.items():
        write(f"{OUT}/{name}.json", of_tokenizers(path, strings, texts, samples))
    docs = small_tokenizers(texts)
    short = {k: v[:200000] for k, v in texts.items()}  # their words are short, so that the whole would be slow
    for name, doc in docs.items():
        write(f"{FILES}/{name}.json", doc)
        write(f"{OUT}/{name}.json", of_tokenizers(f"{FILES}/{name}.json", strings, short, samples))
    for name, (doc, arguments) in small_ggufs(docs).items():
        write_gguf(f"{FILES}/{name}.gguf", doc, **arguments)
        write(f"{OUT}/{name}.json", of_llama(f"{FILES}/{name}.gguf", strings, short, samples))
    for name in ("smollm2", "gemma3") if args.real else ():
        write(f"{OUT}/real-{name}.json", of_llama(f"{args.real}/{name}.gguf", strings, texts, samples, f"{name}.gguf"))
    print(len(strings), "strings", file=sys.stderr)


main()
