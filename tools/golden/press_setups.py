"""What single presses need before make_press_goldens.py runs them, and what they leave besides kept entries."""
import contextlib
import os
import types

import kvpress
import safetensors.torch
import torch
from kvpress.presses import duo_attention_press

from press_oracle import CAM_NOTE, GAUSS_NOTE, duo_head_scores, kvzip_ids

OUT = "tests/golden/press"
SKETCHING = ("leverage", "compactor")
DELIMITER = 2  # no text has it


@contextlib.contextmanager
def prepared(case, press, model, ids):
    """Yields what the run needs: its ids, fields for the case, and scores where the press does not give them."""
    state = types.SimpleNamespace(ids=ids[case.ids], fields={}, scores=None, model=model, name=case.model,
                                  calibration=ids["calibration"], all_ids=ids)
    if case.file in SKETCHING:
        state.fields["sketch"] = GAUSS_NOTE
    elif "random=on" in case.policy:
        state.fields["sketch"] = GAUSS_NOTE + "; m = 20, stream = layer * K: all heads of a layer share it"
    elif case.file == "cam":
        state.fields["draws"] = CAM_NOTE
    with contextlib.ExitStack() as stack:
        if case.setup:
            globals()[case.setup](press, state, stack)
        yield state


def replace(stack, owner, name, value):
    old = owner.__dict__[name]
    setattr(owner, name, value)
    stack.callback(setattr, owner, name, old)


# ---- setups ----

def no_padding(press, state, stack):
    def column_sums(q, k, chunk_size):
        parts = [torch.softmax(a @ b.transpose(-2, -1), dim=-1).sum(dim=-2)
                 for a, b in zip(q.split(chunk_size, 2), k.split(chunk_size, 2))]
        return torch.cat(parts, dim=-1)

    replace(stack, kvpress.NonCausalAttnPress, "non_causal_chunked_attn", staticmethod(column_sums))


def calibration_queries(model, samples, rotated):
    """Queries [L, H, tokens, D] of each sample, before or after rotation."""
    out = []
    for ids in samples:
        captured = []
        module = __import__(type(model).__module__, fromlist=["apply_rotary_pos_emb"])
        rotate = module.apply_rotary_pos_emb

        def spy(q, k, *args, **kwargs):
            turned = rotate(q, k, *args, **kwargs)
            captured.append((turned[0] if rotated else q)[0])
            return turned

        module.apply_rotary_pos_emb = spy
        try:
            with torch.no_grad():
                model(torch.tensor([ids]))
        finally:
            module.apply_rotary_pos_emb = rotate
        out.append(torch.stack(captured))
    return out


def make_filters(press, state, stack):
    """First right singular vectors of the rotated queries, most queries on their positive side; mean over the group."""
    q = torch.cat(calibration_queries(state.model, state.calibration, rotated=True), dim=2).double()
    first = torch.linalg.svd(q, full_matrices=False).Vh[:, :, 0]
    sign = torch.sign((q @ first[..., None])[..., 0].sign().sum(-1, keepdim=True))
    config = state.model.config
    filters = (first * sign).reshape(config.num_hidden_layers, config.num_key_value_heads, -1, config.head_dim).mean(2)
    filters = filters.float()
    press.q_filters = -filters  # kvpress stores them negated
    press.post_init_from_model = lambda model: None
    state.fields["filters"] = filters
    state.fields["filters_note"] = ("score = filter . key; of the ids `calibration`: uncentred SVD of all rotated "
                                    "queries of a query head, mean over the group")


def make_statistics(press, state, stack):
    """As collect_queries and save_pretrained of kvpress do."""
    q = torch.cat([x[:, :, press.n_sink:] for x in
                   calibration_queries(state.model, state.calibration, rotated=False)], dim=2)
    press.mu = q.mean(dim=-2)
    centred = q - press.mu.unsqueeze(-2)
    press.cov = centred.transpose(-2, -1) @ centred / (q.shape[-2] - 1)
    file = f"statistics.{state.name}.safetensors"
    safetensors.torch.save_file({"query_mean": press.mu.contiguous(), "query_cov": press.cov.contiguous()},
                                f"{OUT}/{file}")
    os.chmod(f"{OUT}/{file}", 0o644)
    state.fields["statistics"] = file
    state.fields["statistics_note"] = ("of the ids `calibration`, without the first 4 tokens of each; covariance "
                                       "divided by the count less 1")


def mark_question(press, state, stack):
    press.delimiter_token_id = DELIMITER
    at = len(state.ids) - 16
    state.ids = state.ids[:at] + [DELIMITER] + state.ids[at:]


def watch_laziness(press, state, stack):
    """Keeps the attention mass on the first and the recent entries, which decides."""
    state.mass = []  # of each layer
    inner = kvpress.SnapKVPress.compute_window_attention

    def watched(*args):
        weights = inner(*args)
        mean = weights.mean((0, 1, 2))
        state.mass.append(float(mean[:press.n_initial].sum() + mean[-press.n_recent:].sum()))
        return weights

    replace(stack, kvpress.SnapKVPress, "compute_window_attention", staticmethod(watched))


def watch_ranks(press, state, stack):
    """Keeps what LagKV ranks."""
    state.ranked, inner = {}, press.score
    plain = kvpress.LagKVPress(n_sink=press.n_sink, lag_size=press.lag_size, cross_scoring=True)

    def score(module, *args):
        state.ranked[module.layer_idx] = plain.score(module, *args)[0].tolist()
        return inner(module, *args)

    press.score = score


def replay(press, state, stack):
    ids = state.all_ids
    kvzip_ids(ids["kvzip_first"], ids["kvzip_next"], ids["kvzip_suffix"])
    inner = press.compress_post

    def compress_post(model):
        inner(model)
        state.scores = press.score_val[:, 0].clone()

    press.compress_post = compress_post
    state.fields["replay"] = ("no chat template; prompts are the ids `kvzip_first` and `kvzip_next` (then the last 8 "
                              "ids of the chunk before), the suffix is `kvzip_suffix`")


def score_heads(press, state, stack):
    scores = duo_head_scores(state.model, state.calibration)
    replace(stack, duo_attention_press, "duo_attention_on_the_fly", lambda model: scores)
    inner = press.post_init_from_model

    def post_init(model):
        inner(model)
        press.sink_size, press.recent_size = 8, 32

    press.post_init_from_model = post_init
    state.fields["head_scores"] = torch.from_numpy(scores)
    state.fields["head_scores_note"] = "on the fly, of the ids `calibration`; sink_size 8, recent_size 32 set by hand"


def pyramid_of_expected(press, state, stack):
    press.score = kvpress.ExpectedAttentionPress().score


def rotate_chunks(press, state, stack):
    """The wrapped press sees the rotations of its own chunk."""
    inner, seen = press.press.score, [0]

    def score(module, hidden_states, keys, values, attentions, kwargs):
        first = seen[0] % len(state.ids)
        seen[0] += keys.shape[2]
        own = tuple(x[:, first:first + keys.shape[2]] for x in kwargs["position_embeddings"])
        return inner(module, hidden_states, keys, values, attentions, {**kwargs, "position_embeddings": own})

    press.press.score = score


def keep_order(press, state, stack):
    def compress(self, module, hidden_states, keys, values, attentions, kwargs):
        if self.compression_ratio == 0:
            return keys, values
        scores = self.score(module, hidden_states, keys, values, attentions, kwargs)
        n_kept = kvpress.utils.compute_n_kept(keys.shape[2], self.compression_ratio)
        order = scores.topk(n_kept, dim=-1).indices.sort(dim=-1).values[..., None].expand(-1, -1, -1, module.head_dim)
        return keys.gather(2, order), values.gather(2, order)

    replace(stack, kvpress.ScorerPress, "compress", compress)


def rotate_buffered(press, state, stack):
    """The wrapped press sees the rotations of the queries it is handed, not of the newest token alone."""
    keep_order(press, state, stack)
    inner = press.base_press.score

    def score(module, hidden_states, keys, values, attentions, kwargs):
        end = int(kwargs["cache_position"][-1]) + 1
        own = module.rotary_emb(hidden_states, torch.arange(end - hidden_states.shape[1], end)[None])
        return inner(module, hidden_states, keys, values, attentions, {**kwargs, "position_embeddings": own})

    press.base_press.score = score


def keep_block_order(press, state, stack):
    """BlockPress with survivors in order of position between blocks; for scorers by keys and values."""
    def compress(self, module, hidden_states, keys, values, attentions, kwargs):
        n, n_kept = keys.shape[2], kvpress.utils.compute_n_kept(keys.shape[2], self.compression_ratio)
        kept = torch.arange(n_kept).expand(*keys.shape[:2], -1)
        for first in range(n_kept, n, self.block_size):
            block = torch.arange(first, min(first + self.block_size, n)).expand(*keys.shape[:2], -1)
            rows = torch.cat([kept, block], dim=-1)
            each = rows[..., None].expand(-1, -1, -1, keys.shape[3])
            scores = self.press.score(module, hidden_states, keys.gather(2, each), values.gather(2, each), None, kwargs)
            kept = rows.gather(-1, scores.topk(n_kept, dim=-1).indices).sort(dim=-1).values
        each = kept[..., None].expand(-1, -1, -1, keys.shape[3])
        return keys.gather(2, each), values.gather(2, each)

    replace(stack, kvpress.BlockPress, "compress", compress)


# ---- outcomes ----

def entries(watch, rows, name, of):
    """The vectors of the first, the middle and the last kept entry at the positions `of(layer, head)`."""
    out = []
    for layer, heads in enumerate(watch.positions):
        for head, held in enumerate(heads):
            chosen = sorted(p for p in held if p in of(layer, head))
            for position in dict.fromkeys([chosen[0], chosen[len(chosen) // 2], chosen[-1]] if chosen else []):
                out.append({"layer": layer, "head": head, "position": position,
                            name: rows[layer][head][held.index(position)].tolist()})
    return {"entries": out}


def turned_keys(watch, press, state, kept):
    """Keys of entries that now stand at another place."""
    def at_other_place(layer, head):
        return {p for i, p in enumerate(kept[layer][head]) if i != p}

    return entries(watch, watch.keys, "key", at_other_place)


def merged_values(watch, press, state, kept):
    out = entries(watch, watch.values, "value", lambda layer, head: watch.changed[layer][head])
    return out | {"merged_tok": [[len(x) for x in layer] for layer in watch.changed]}


def channels(watch, press, state, kept):
    """The key channels that are not zeroed [L][K]."""
    return {"channels": [[torch.nonzero(keys.abs().sum(0)).flatten().tolist() for keys in watch.keys[layer]]
                         for layer in range(len(watch.layers))]}


def laziness(watch, press, state, kept):
    return {"laziness": state.mass,
            "margin": [[abs(x - press.lazy_threshold)] * watch.n_heads for x in state.mass] or watch.margin()}


def head_scores(watch, press, state, kept):
    return {"streaming": press.streaming_mask.int().tolist()}


def threshold_margin(watch, press, state, kept):
    """The decided entry nearest to the threshold."""
    n = len(state.ids) - press.sliding_window_size
    return {"margin": [[(row[:n] - press.threshold).abs().min().item() for row in watch.scores[layer]]
                       for layer in range(len(watch.layers))]}


def rank_margin(watch, press, state, kept):
    """LagKV ranks inside a partition: the smallest gap, before ranking, between its last kept and its first dropped."""
    out = []
    for layer, values in sorted(state.ranked.items()):
        out.append([])
        for row, stays in zip(values, kept[layer]):
            parts = [range(first, first + press.lag_size) for first in range(
                press.n_sink, len(row) - 2 * press.lag_size + 1, press.lag_size)]
            gaps = [min(row[t] for t in part if t in set(stays)) - max(row[t] for t in part if t not in set(stays))
                    for part in parts if 0 < len(set(part) & set(stays)) < len(part)]
            out[-1].append(min(gaps) if gaps else None)
    return {"margin": out}
