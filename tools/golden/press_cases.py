"""The cases of make_press_goldens.py: kvlab's policy text, and the kvpress object that must choose the same."""
import dataclasses


@dataclasses.dataclass
class Case:
    file: str
    policy: str
    press: str                  # Python; `r` is the ratio removed
    sizes: tuple = (25, 100, 150)  # kept entries of a head, or their mean; None: no budget
    model: str = "llama"
    ids: str = "a200"
    protect: tuple = (0, 0)     # so many first and last entries have no score: always kept
    scores: str = "once"        # "once": the same for every size; "each"; "none": those of the wrapped press's case
    score_of: str = "press"     # whose score
    eager: bool = False
    chunk: int = 0              # sizes are made of whole chunks
    then: int = 0               # tokens fed one by one after the prefill
    seed: int = 0
    setup: str = ""             # a function of make_press_goldens.py that prepares press or kvpress
    extra: str = ""             # a function of make_press_goldens.py: more of the outcome
    differs: str = ""
    note: str = ""


CASES = []


def add(file, policy, press, **more):
    CASES.append(Case(file, policy, press, **more))


def both(*args, **more):
    add(*args, **more)
    add(*args, **{**more, "model": "qwen3", "sizes": more.get("sizes", (25, 100, 150))[1:2]})


TIES = "scores tie; the newer entry is kept here, kvpress takes any"
PADDING = ("the last chunk, if short, is its own softmax; kvpress pads it with zero queries and keys that take part "
           "(the mask value is -1e-9)")
NO_SORT = "entries stay in order of position after each compression; kvpress stores them by falling score"

# ---- scorers ----
add("knorm", "knorm", "KnormPress(r)", sizes=(25, 37, 100, 150))
add("streaming", "streaming(sinks=4)", "StreamingLLMPress(r, n_sink=4)", scores="none")
both("snapkv", "snapkv(window=16)", "SnapKVPress(r, window_size=16)", protect=(0, 16))
add("snapkv", "snapkv(window=16,kernel=3)", "SnapKVPress(r, window_size=16, kernel_size=3)", protect=(0, 16))
add("snapkv", "snapkv", "SnapKVPress(r)", sizes=(100, 150), protect=(0, 64))
both("tova", "tova", "TOVAPress(r)", protect=(0, 1))
both("observed", "observed", "ObservedAttentionPress(r)", eager=True)
both("expected-attention", "expected-attention", "ExpectedAttentionPress(r)", protect=(4, 0))
add("expected-attention", "expected-attention(future=64,sinks=8,epsilon=0.01)",
    "ExpectedAttentionPress(r, n_future_positions=64, n_sink=8, epsilon=1e-2)", protect=(8, 0))
add("expected-attention", "expected-attention(covariance=off)",
    "ExpectedAttentionPress(r, use_covariance=False)", protect=(4, 0))
add("expected-attention", "expected-attention(vnorm=off)", "ExpectedAttentionPress(r, use_vnorm=False)", protect=(4, 0))
both("keydiff", "keydiff", "KeyDiffPress(r)")
add("lagkv", "lagkv(lag=16)", "LagKVPress(r, lag_size=16)", sizes=(50, 100, 150), protect=(4, 20), differs=TIES,
    setup="watch_ranks", extra="rank_margin")
add("lagkv", "lagkv(lag=32,cross=on)", "LagKVPress(r, lag_size=32, cross_scoring=True)", sizes=(50, 100, 150),
    protect=(4, 36))
add("lagkv", "lagkv", "LagKVPress(r)", sizes=(225,), ids="b300", protect=(4, 168), differs=TIES, setup="watch_ranks",
    extra="rank_margin")
add("lagkv", "lagkv(cross=on)", "LagKVPress(r, cross_scoring=True)", sizes=(225,), ids="b300", protect=(4, 168))
add("lagkv", "lagkv", "LagKVPress(r)", sizes=(100,), differs=TIES)  # too short: recency
add("cur", "cur", "CURPress(r)", protect=(4, 0))
for kind in "key", "value", "kv_avg":
    add("cur", f"cur(type={kind},sinks=2,window=24)",
        f"CURPress(r, leverage_type='{kind}', num_sinks=2, local_window_size=24)", sizes=(100,), protect=(2, 0))
add("cur", "cur(local=off)", "CURPress(r, use_local_approximation=False)", protect=(4, 0))
add("cur", "cur(random=on)", "CURPress(r, use_random_leverage=True)", protect=(4, 0))
both("leverage", "leverage(sketch=16)", "LeverageScorePress(r, sketch_dimension=16)")
add("leverage", "leverage(sketch=16,seed=7)", "LeverageScorePress(r, sketch_dimension=16)", sizes=(100,), seed=7)
add("leverage", "leverage", "LeverageScorePress(r)")
both("noncausal", "noncausal(chunk=50)", "NonCausalAttnPress(r, chunk_size=50)")
add("noncausal", "noncausal(chunk=64)", "NonCausalAttnPress(r, chunk_size=64)", setup="no_padding", differs=PADDING)
add("noncausal", "noncausal", "NonCausalAttnPress(r)", sizes=(75, 150), ids="b300", setup="no_padding", differs=PADDING)
both("compactor", "compactor(chunk=47,sketch=16)", "CompactorPress(r, chunk_size=47, sketch_dimension=16)",
     protect=(8, 4), scores="each")
add("compactor", "compactor(start=5,end=3,chunk=64,sketch=24,blend=0.7,seed=3)",
    "CompactorPress(r, sink_size_start=5, sink_size_end=3, chunk_size=64, sketch_dimension=24, blending=0.7)",
    protect=(5, 3), seed=3)
add("compactor", "compactor", "CompactorPress(r)", sizes=(150,), ids="b300", protect=(8, 4), scores="each",
    setup="no_padding", differs=PADDING)
both("cap", "cap", "CapPress(r)", protect=(4, 0))
add("cap", "cap(tau=2,future=64,sinks=8,epsilon=0.01)",
    "CapPress(r, tau=2.0, n_future_positions=64, n_sink=8, epsilon=1e-2)", sizes=(100,), protect=(8, 0))
both("qfilter", "qfilter", "QFilterPress(r)", setup="make_filters")
add("expected-attention-stats", "expected-attention-stats", "ExpectedAttentionStatsPress(r)", protect=(4, 0),
    setup="make_statistics")
add("expected-attention-stats", "expected-attention-stats(future=64,vnorm=off)",
    "ExpectedAttentionStatsPress(r, n_future_positions=64, use_vnorm=False)", sizes=(100,), protect=(4, 0),
    setup="make_statistics")

# ---- presses with a choice of their own ----
for options, args in (("", ""), (",normalize=off", ", normalize_scores=False"),
                      (",rerotate=off", ", rerotate_keys=False")):
    add("finch", f"finch(window=16{options})", f"FinchPress(r{args})", sizes=(25, 100) if not args else (100,),
        protect=(0, 16), setup="mark_question",
        extra="" if "rerotate" in args else "turned_keys")
add("finch", "finch(window=16,chunk=50)", "FinchPress(r, chunk_length=50)", sizes=(100,), protect=(0, 16),
    setup="mark_question", extra="turned_keys")
for threshold, options, args in ((0.3, "recent=64", "n_recent=64"), (0.27, "recent=64", "n_recent=64"),
                                 (0.28, "last=4,recent=48,initial=8", "n_last=4, n_recent=48, n_initial=8"),
                                 (0.5, "recent=196", "n_recent=196")):  # the last: too short, all is kept
    add("simlayerkv", f"simlayerkv(threshold={threshold},{options})", f"SimLayerKVPress({threshold}, {args})",
        sizes=(None,), scores="none", setup="watch_laziness", extra="laziness")
for options, args in (("", ""), ("sinks=2,layerwise=on", ", n_sink=2, layerwise=True"),
                      ("plus=on", ", kvzip_plus_normalization=True"), ("chunk=64", ", chunk_size=64"),
                      ("chunk=64,plus=on", ", chunk_size=64, kvzip_plus_normalization=True")):
    add("kvzip", f"kvzip({options})" if options else "kvzip", f"KVzipPress(r{args})", sizes=(50, 100), setup="replay",
        protect=(2 if "sinks" in options else 4, 0))
add("kvzip", "kvzip(chunk=64)", "KVzipPress(r, chunk_size=64)", sizes=(100,), model="qwen3", setup="replay",
    protect=(4, 0))
for heads in 0.25, 0.5, 1.0:
    add("duo-attention", f"duo-attention(heads={heads},sinks=8,recent=32)",
        f"DuoAttentionPress({heads}, on_the_fly_scoring=True)", sizes=(None,), scores="none", setup="score_heads",
        extra="head_scores")
add("duo-attention", "duo-attention(heads=0.5,sinks=8,recent=32)", "DuoAttentionPress(0.5, on_the_fly_scoring=True)",
    sizes=(None,), model="qwen3", scores="none", setup="score_heads", extra="head_scores")
for keep, ratio, window in (0.6, 0.4, 32), (0.5, 0.5, 8):
    for model in "llama", "qwen3":
        add("think", f"think(keep={keep},window={window})", f"ThinKPress({ratio}, window_size={window})",
            sizes=(None,), model=model, scores="none", extra="channels")

# ---- wrappers ----
SNAPKV, EXPECTED = "SnapKVPress(r, window_size=16)", "ExpectedAttentionPress(r)"
NONE = dict(scores="none")
both("adakv", "adakv(snapkv(window=16))", f"AdaKVPress({SNAPKV})", sizes=(25, 100, 37, 150), **NONE)
add("adakv", "adakv(expected-attention)", f"AdaKVPress({EXPECTED})", **NONE)
add("adakv", "adakv(expected-attention,alpha=0.6)", f"AdaKVPress({EXPECTED}, alpha_safeguard=0.6)", **NONE)
add("adakv", "adakv(lagkv(lag=32,cross=on),alpha=0)",
    "AdaKVPress(LagKVPress(r, lag_size=32, cross_scoring=True), alpha_safeguard=0)", sizes=(50, 100), **NONE)
for beta, sizes in (2, (50, 100, 150)), (20, (25, 100, 150)):
    add("pyramid", f"pyramid(snapkv(window=16),window=16,beta={beta})",
        f"PyramidKVPress(r, window_size=16, beta={beta})", sizes=sizes, **NONE)
add("pyramid", "pyramid(expected-attention,window=16,beta=4)", "PyramidKVPress(r, window_size=16, beta=4)",
    sizes=(100,), setup="pyramid_of_expected", note="score of ExpectedAttentionPress() in PyramidKVPress", **NONE)
for policy, press in ("snapkv(window=16)", "SnapKVPress(window_size=16)"), ("keydiff", "KeyDiffPress()"):
    add("per-layer", f"per-layer({policy},keep=0.75+0.5+0.125)",
        f"PerLayerCompressionPress({press}, [0.25, 0.5, 0.875])", sizes=(None,), **NONE)
for policy, press in ("snapkv(window=16)", SNAPKV), ("expected-attention", EXPECTED):
    add("chunkkv", f"chunkkv({policy})", f"ChunkKVPress({press})", sizes=(40, 100, 160), chunk=20, **NONE)
add("chunkkv", "chunkkv(snapkv(window=16),chunk=8)", f"ChunkKVPress({SNAPKV}, chunk_length=8)", sizes=(48, 104),
    chunk=8, **NONE)
for policy, press in ("knorm", "KnormPress(r)"), ("keydiff", "KeyDiffPress(r)"), ("cur", "CURPress(r)"):
    add("chunk", f"chunk({policy},chunk=40)", f"ChunkPress({press}, chunk_length=40)", sizes=(50, 100, 150), **NONE)
    add("block", f"block-oracle({policy},block=32)", f"BlockPress({press}, block_size=32)",
        differs=NO_SORT if policy == "cur" else "", setup="keep_block_order" if policy == "cur" else "", **NONE)
add("chunk", "chunk(knorm,chunk=60)", "ChunkPress(KnormPress(r), chunk_length=60)", sizes=(50, 100), **NONE)
add("chunkkv", "chunkkv(snapkv(window=16),chunk=30):keep=0.5",
    "ChunkKVPress(SnapKVPress(0.5, window_size=16), chunk_length=30)", sizes=(None,), note="half of 7 chunks, rounded "
    "down; the last one is of 20 entries", **NONE)
add("chunk", "chunk(snapkv(window=8),chunk=40)", "ChunkPress(SnapKVPress(r, window_size=8), chunk_length=40)",
    sizes=(50, 100), setup="rotate_chunks", differs="the queries of a chunk's window are rotated to their own "
    "positions, kvpress rotates them to the end of the sequence", **NONE)
for policy, press, protect in (("snapkv(window=16)", SNAPKV, (0, 16)),
                               ("expected-attention(vnorm=off)", "ExpectedAttentionPress(r, use_vnorm=False)", (4, 0))):
    both("criticalkv", f"criticalkv({policy})", f"CriticalKVPress({press})", sizes=(25, 100), scores="each",
         protect=protect)
    both("critical-adakv", f"critical-adakv({policy})", f"CriticalAdaKVPress({press})", **NONE)
    add("key-rerotation", f"key-rerotation({policy})", f"KeyRerotationPress({press})", extra="turned_keys", **NONE)
add("criticalkv", "criticalkv(snapkv(window=16),epsilon=0.01,first=0.25)",
    f"CriticalKVPress({SNAPKV}, epsilon=1e-2, first_stage_ratio=0.25)", sizes=(100,), scores="each", protect=(0, 16))
add("critical-adakv", "critical-adakv(snapkv(window=16),alpha=0.5,epsilon=0.01,first=0.25)",
    f"CriticalAdaKVPress({SNAPKV}, alpha_safeguard=0.5, epsilon=1e-2, first_stage_ratio=0.25)", sizes=(100,), **NONE)
add("key-rerotation", "key-rerotation(streaming(sinks=4))", "KeyRerotationPress(StreamingLLMPress(r, n_sink=4))",
    extra="turned_keys", **NONE)
add("key-rerotation", "key-rerotation(keydiff)", "KeyRerotationPress(KeyDiffPress(r))", model="qwen3", sizes=(100,),
    extra="turned_keys", **NONE)
add("composed", "composed(knorm:keep=0.5,keydiff:keep=0.5)", "ComposedPress([KnormPress(0.5), KeyDiffPress(0.5)])",
    sizes=(None,), **NONE)
add("composed", "composed(snapkv(window=16):keep=0.5,think(keep=0.6,window=32))",
    "ComposedPress([SnapKVPress(0.5, window_size=16), ThinKPress(0.4, window_size=32)])", sizes=(None,),
    extra="channels", **NONE)
for policy, press in ("knorm", "KnormPress(r)"), ("snapkv(window=16)", SNAPKV):
    add("merging", f"merging({policy})", f"MergingPress({press})", extra="merged_values", **NONE)
    add("merging", f"merging({policy},threshold=0.3,fraction=0.5)",
        f"MergingPress({press}, similarity_threshold=0.3, merge_fraction=0.5)", sizes=(100,), extra="merged_values",
        **NONE)
for threshold in -7, -6, -5:
    add("dms", f"dms(knorm,threshold={threshold},window=32)",
        f"DMSPress(KnormPress(), threshold={threshold}, sliding_window_size=32)", sizes=(None,), scores="none",
        score_of="press.press", extra="threshold_margin")
add("dms", "dms(snapkv(window=16),threshold=0.004,window=32)",
    "DMSPress(SnapKVPress(window_size=16), threshold=0.004, sliding_window_size=32)", sizes=(None,), scores="none",
    score_of="press.press", extra="threshold_margin")
add("dms", "dms(expected-attention,threshold=0.02,window=64)",
    "DMSPress(ExpectedAttentionPress(), threshold=0.02, sliding_window_size=64)", sizes=(None,), scores="none",
    score_of="press.press", extra="threshold_margin")

# ---- while decoding ----
for policy, press in (("knorm", "KnormPress()"), ("keydiff", "KeyDiffPress()"), ("cur", "CURPress()"),
                      ("tova", "TOVAPress()")):
    for then in 8, 19:
        add("decoding", f"decoding({policy},interval=8)",
            f"DecodingPress({press}, compression_interval=8, target_size=size)", sizes=(100,), then=then,
            differs=NO_SORT if policy == "cur" else "", setup="keep_order" if policy == "cur" else "", **NONE)
add("decoding", "decoding(streaming(sinks=4),interval=8)",
    "DecodingPress(StreamingLLMPress(n_sink=4), compression_interval=8, target_size=size)", sizes=(100,), then=19,
    setup="keep_order", differs=NO_SORT, **NONE)
add("decoding", "decoding(lagkv(lag=16,cross=on),interval=8)",
    "DecodingPress(LagKVPress(lag_size=16, cross_scoring=True), compression_interval=8, target_size=size)",
    sizes=(100,), then=19, setup="keep_order", differs=NO_SORT, **NONE)
add("decoding", "decoding(snapkv(window=8),interval=10)",
    "DecodingPress(SnapKVPress(window_size=8), compression_interval=10, target_size=size)", sizes=(100,), then=22,
    setup="rotate_buffered", differs=f"{NO_SORT}; queries are rotated to their own positions, kvpress rotates all to "
    "the newest", **NONE)
add("decoding", "decoding(tova,interval=8)", "DecodingPress(TOVAPress(), compression_interval=8, target_size=size)",
    sizes=(100,), model="qwen3", then=19, **NONE)
add("decoding", "decoding(knorm,interval=8):keep=0.5",
    "CompressionRatioDecodingPress(KnormPress(), target_compression_ratio=0.5, compression_interval=8)", sizes=(None,),
    then=19, note="of all tokens seen", **NONE)
add("prefill-decoding", "prefill-decoding(snapkv(window=16):size=120,decoding(keydiff,interval=8):size=100)",
    "PrefillDecodingPress(SnapKVPress(0.4, window_size=16), DecodingPress(KeyDiffPress(), compression_interval=8, "
    "target_size=100))", sizes=(None,), then=19, **NONE)
for policy, press in ("knorm", "KnormPress()"), ("keydiff", "KeyDiffPress()"):
    for interval, merge, then in (1, 32, 12), (8, 4, 19):
        add("cam", f"cam({policy},merge={merge},interval={interval})",
            f"CAMPress({press}, compression_interval={interval}, target_size=size, merge_budget={merge})", sizes=(100,),
            then=then, extra="merged_values", **NONE)
add("cam", "cam(knorm,merge=4,interval=8)",
    "CAMPress(KnormPress(), compression_interval=8, target_size=size, merge_budget=4)", sizes=(100,), model="qwen3",
    then=19, extra="merged_values", **NONE)
