"""The part of make_press_goldens.py that runs on SmolLM2: kept entries as bitmaps, scores of a few positions."""
import json

from gguf_model import FOLDER, MODELS, load_transformers
from press_cases import PADDING, TIES, Case

TEXT, N_TOK = "wiki.test.raw, characters 20000 to 24799", 512
POSITIONS = [1, 5, 17, 64, 130, 255, 300, 440]
SIZES = (128, 256)
SNAPKV = "SnapKVPress(r)"
CASES = [
    Case("", "knorm", "KnormPress(r)"),
    Case("", "streaming(sinks=4)", "StreamingLLMPress(r, n_sink=4)", scores="none"),
    Case("", "snapkv", SNAPKV, protect=(0, 64)),
    Case("", "tova", "TOVAPress(r)", protect=(0, 1)),
    Case("", "observed", "ObservedAttentionPress(r)", eager=True),
    Case("", "expected-attention", "ExpectedAttentionPress(r)", protect=(4, 0)),
    Case("", "keydiff", "KeyDiffPress(r)"),
    Case("", "lagkv(lag=32)", "LagKVPress(r, lag_size=32)", protect=(4, 60), setup="watch_ranks", extra="rank_margin"),
    Case("", "cur", "CURPress(r)", protect=(4, 0)),
    Case("leverage", "leverage", "LeverageScorePress(r)"),
    Case("", "noncausal", "NonCausalAttnPress(r)"),
    Case("compactor", "compactor", "CompactorPress(r)", protect=(8, 4), scores="each", setup="no_padding",
         differs=PADDING),
    Case("", "cap", "CapPress(r)", protect=(4, 0)),
    Case("", "criticalkv(snapkv)", f"CriticalKVPress({SNAPKV})", protect=(0, 64), scores="each"),
    Case("", "adakv(snapkv)", f"AdaKVPress({SNAPKV})", scores="none"),
    Case("", "critical-adakv(snapkv)", f"CriticalAdaKVPress({SNAPKV})", scores="none"),
    Case("", "pyramid(snapkv,beta=2)", "PyramidKVPress(r, beta=2)", scores="none"),
    Case("", "chunkkv(snapkv,chunk=16)", f"ChunkKVPress({SNAPKV}, chunk_length=16)", chunk=16, scores="none"),
]


def bitmap(kept):
    """Digit i has the entries 4 i (value 1) to 4 i + 3 (value 8)."""
    digits = [0] * (N_TOK // 4)
    for t in kept:
        digits[t // 4] |= 1 << t % 4
    return "".join(f"{d:x}" for d in digits)


def short(x):
    """A case, or the outcome of one of its sizes, with few scores."""
    x = {k: v for k, v in x.items() if k not in ("model", "ids")}
    if "scores" in x:
        x["scores"] = [[[row[p] for p in POSITIONS] for row in layer] for layer in x["scores"]]
    if "sizes" in x:
        return {**x, "sizes": [short(size) for size in x["sizes"]]}
    x["kept"] = [[bitmap(row) for row in layer] for layer in x["kept"]]
    x["margin"] = [[g and float(f"{g:.3g}") for g in layer] for layer in x["margin"]]
    if len({n for layer in x["keep_tok"] for n in layer}) == 1:
        x.pop("keep_tok")  # `size` says it
    return x


def make_real(path, versions, run_case, report):
    model = load_transformers(f"{FOLDER}/{MODELS['smollm2']}")
    with open("tests/golden/real/smollm2.json", encoding="utf-8") as f:
        ids = next(text["ids"] for text in json.load(f)["texts"] if text["name"] == TEXT)[:N_TOK]
    cases = []
    for case in CASES:
        case.model, case.ids, case.sizes, case.differs = "smollm2", "text", SIZES, case.differs or TIES
        outcome = run_case(case, {"smollm2": model}, {"text": ids, "then": [], "calibration": []})
        report(outcome)
        cases.append(json.dumps(short(outcome), separators=(",", ":")))
    head = {"generator": "tools/golden/make_press_goldens.py", "versions": versions, "file": MODELS["smollm2"],
            "text": TEXT, "ids": ids, "score_positions": POSITIONS}
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps(head)[:-1] + ', "cases": [\n' + ",\n".join(cases) + "\n]}\n")
