"""kvpress watched at work: which entries each head keeps, by which scores, and how near the choice was.

Used by make_press_goldens.py. Nothing of kvpress is changed except what the context managers here say: its random
draws come from kvlab's counter-based generator, and its texts and tokenizers are lists of token ids.
"""
import contextlib
import sys
import types

import kvpress
import numpy as np
import torch
import transformers
from kvpress.presses import duo_attention_press, kvzip_press
from kvpress.presses.key_rerotation_press import KeyRerotationPress

MASK64 = (1 << 64) - 1
NEVER = 1e30  # gaps to a score of "always keep" are larger


# ---- kvlab's random numbers (src/base/rng.h) ----

def mix(x):
    x = (x + 0x9e3779b97f4a7c15) & MASK64
    x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & MASK64
    x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & MASK64
    return x ^ (x >> 31)


def unit(seed, stream, index):
    """kvl_rng_unit: in [0, 1), 24 bits."""
    return (mix(index ^ mix(stream ^ mix(seed))) >> 40) * 2.0 ** -24


GAUSS_NOTE = ("entry [row, column] of the [D, m] sketch of KV head `head` of layer `layer`: i = row * m + column, "
              "stream = layer * K + head, u1 = 1 - kvl_rng_unit(seed, stream, 2 * i), u2 = kvl_rng_unit(seed, stream, "
              "2 * i + 1), z = sqrt(-2 ln u1) cos(2 pi u2) in double, rounded to float")

CAM_NOTE = ("an evicted entry at `position` is merged in KV head `head` of layer `layer` if kvl_rng_unit(seed, "
            "layer * K + head, position) is less than its probability")


def gauss(seed, stream, rows, columns):
    u = np.array([unit(seed, stream, i) for i in range(2 * rows * columns)]).reshape(-1, 2)
    z = np.sqrt(-2 * np.log(1 - u[:, 0])) * np.cos(2 * np.pi * u[:, 1])
    return torch.from_numpy(z.astype(np.float32).reshape(rows, columns))


# ---- the watch ----

class Watch:
    """Follows one run. Positions and gaps are per layer, then per KV head."""

    def __init__(self, model):
        self.layers = [layer.self_attn for layer in model.model.layers]
        self.n_heads = model.config.num_key_value_heads
        self.layer = 0
        self.positions = [[[] for _ in range(self.n_heads)] for _ in self.layers]
        self.gaps = [[[] for _ in range(self.n_heads)] for _ in self.layers]
        self.scores = {}      # layer: scores of the last call of the press that `watch_score` names
        self.rerotated = None  # indices of the last re-rotation
        self.keys, self.values = {}, {}  # as the last hook left them
        self.changed = [[set() for _ in range(self.n_heads)] for _ in self.layers]  # positions whose value was merged

    def note_gap(self, x, k, heads, layers=None):
        """x sorted by falling score; its k first are kept."""
        if 0 < k < len(x):
            gap = float(x[k - 1]) - float(x[k])
            for layer in layers or [self.layer]:
                for head in heads:
                    self.gaps[layer][head].append(gap)

    def note_topk(self, x, k, largest, frame):
        """Where the choice fell: each row of the sorted scores, or the counts per head in CriticalAdaKV's stages."""
        x, self.layer = x.detach(), frame.get("layer_idx", self.layer)
        if not largest:
            k = x.shape[-1] - k
        rows = x.reshape(-1, x.shape[-1]).sort(-1, descending=True).values
        everyone = range(self.n_heads)
        if x.dim() == 1:  # over all layers
            k = len(x) - k if "n_pruned_indices" in frame else k
            self.note_gap(-rows[0].flip(0), k, everyone, range(len(self.layers)))
        elif rows.shape[0] == self.n_heads and x.dim() == 3:
            counts = frame.get("head_selection_budget_1st", [k] * self.n_heads)
            counts = frame["head_budgets"].tolist() if "projected_norm" in frame and "head_budgets" in frame else counts
            for head, row in enumerate(rows):
                self.note_gap(row, int(counts[head]), [head])
        elif "n_pruned" in frame:  # of the negated scores, those to drop
            self.note_gap(-rows[0].flip(0), x.shape[-1] - k, everyone)
        else:
            self.note_gap(rows[0], k, everyone)

    def margin(self):
        """The smallest gap of each head. Ties of an earlier stage lie among protected entries and change nothing."""
        out = []
        for layer in self.gaps:
            out.append([])
            for gaps in layer:
                counted = [g for i, g in enumerate(gaps) if (g > 0 or i == len(gaps) - 1) and g < NEVER]
                out[-1].append(min(counted) if counted else None)
        return out

    def moved(self, layer, before, after, q_positions):
        """The press turned the keys and values `before` [K, n, D] into those of `after`."""
        (before, old_values), (after, new_values) = before, after
        for head in range(self.n_heads):
            held = self.positions[layer][head]
            missing = before.shape[1] - len(held)
            held = held + q_positions[len(q_positions) - missing:] if missing else held
            if after.shape[1] == before.shape[1]:
                order = range(len(held))
            elif self.rerotated is not None:
                order = self.rerotated[0, head].tolist()
            else:
                where = {row.tobytes(): i for i, row in enumerate(before[head].numpy())}
                assert len(where) == before.shape[1]
                order = [where[row.tobytes()] for row in after[head].numpy()]
            assert len(set(order)) == len(order)
            self.positions[layer][head] = [held[i] for i in order]
            merged = (old_values[head][list(order)] != new_values[head]).any(-1)
            self.changed[layer][head] |= {held[i] for i, yes in zip(order, merged.tolist()) if yes}
        self.rerotated = None

    def kept(self):
        """Sorted positions [L][K][n]; entries that a press masks are not kept."""
        out = []
        for layer, module in enumerate(self.layers):
            masked = getattr(module, "masked_key_indices", None)
            gone = set(zip(masked[1].tolist(), masked[2].tolist())) if masked is not None else set()
            out.append([sorted(p for i, p in enumerate(row) if (head, i) not in gone)
                        for head, row in enumerate(self.positions[layer])])
        return out


@contextlib.contextmanager
def spying(watch, seed):
    """topk and re-rotation are observed; randn and bernoulli draw from kvlab's generator."""
    real = (torch.topk, torch.Tensor.topk, torch.randn, torch.bernoulli, KeyRerotationPress.rerotate_keys)

    def topk(x, k, dim=-1, largest=True, sorted=True):
        frame = sys._getframe(1).f_locals
        watch.note_topk(x, int(k), largest, frame)
        return real[0](x, k, dim=dim, largest=largest, sorted=sorted)

    def randn(*shape, **kwargs):
        stream = watch.layer * watch.n_heads
        if len(shape) == 2:  # CUR: one sketch for all heads
            return gauss(seed, stream, *shape)
        return torch.stack([gauss(seed, stream + head, *shape[2:]) for head in range(shape[1])])[None]

    def bernoulli(p):  # of CAM: one draw for each head and position of an evicted entry
        merged = sys._getframe(1).f_locals["merge_indices"][0].tolist()
        draws = [[unit(seed, watch.layer * watch.n_heads + head, watch.positions_now[i]) for i in merged]
                 for head in range(watch.n_heads)]
        return (torch.tensor(draws, dtype=torch.float64)[None] < p).float()

    def rerotate_keys(module, indices, keys):
        watch.rerotated = indices
        return real[4](module, indices, keys)

    torch.topk = torch.Tensor.topk = topk
    torch.randn, torch.bernoulli = randn, bernoulli
    KeyRerotationPress.rerotate_keys = staticmethod(rerotate_keys)
    try:
        yield
    finally:
        torch.topk, torch.Tensor.topk, torch.randn, torch.bernoulli = real[:4]
        KeyRerotationPress.rerotate_keys = staticmethod(real[4])


def watch_hook(watch, press):
    inner = press.forward_hook

    def hook(module, input, kwargs, output):
        watch.layer = module.layer_idx
        store = kwargs["past_key_values"].layers[module.layer_idx]
        before = store.keys[0].clone(), store.values[0].clone()
        q_positions = kwargs["cache_position"].tolist()
        held = watch.positions[watch.layer][0]
        watch.positions_now = held + q_positions[len(q_positions) - (before[0].shape[1] - len(held)):]
        if isinstance(press, kvpress.KVzipPress):  # its hook sees the replay only, and takes it off the cache
            return inner(module, input, kwargs, output)
        output = inner(module, input, kwargs, output)
        after = watch.keys[watch.layer], watch.values[watch.layer] = store.keys[0].clone(), store.values[0].clone()
        watch.moved(module.layer_idx, before, after, q_positions)
        return output

    press.forward_hook = hook


def watch_score(watch, press):
    inner = press.score

    def score(module, *args, **kwargs):
        out = inner(module, *args, **kwargs)
        watch.scores[module.layer_idx] = out[0].clone()  # callers mark their choice in it
        return out

    press.score = score


def leaves(press):
    return [leaf for part in press.presses for leaf in leaves(part)] if isinstance(press, kvpress.ComposedPress) \
        else [press]


def run(model, press, ids, then=(), seed=0, score_of=None):
    """Prefill `ids` under the press, then feed the ids of `then` one by one."""
    watch = Watch(model)
    for layer in watch.layers:
        layer.masked_key_indices = None
    if score_of is not None:
        watch_score(watch, score_of)
    for leaf in leaves(press):
        watch_hook(watch, leaf)
    cache = transformers.DynamicCache()
    with torch.no_grad(), spying(watch, seed):
        with press(model):
            n = len(ids)
            model(input_ids=torch.tensor([ids]), past_key_values=cache)
            for i, token in enumerate(then):
                at = torch.tensor([n + i])
                model(input_ids=torch.tensor([[token]]), past_key_values=cache, position_ids=at[None],
                      cache_position=at)
    for layer in range(len(watch.layers)):
        for head in range(watch.n_heads):
            if not watch.positions[layer][head]:
                watch.positions[layer][head] = list(range(n))
            held = watch.positions[layer][head]
            assert len(held) == cache.layers[layer].keys.shape[2]
    return watch


def by_rule(scores, n_kept):
    """kvlab's choice for one head: the largest scores; of equal ones the newer entry."""
    order = sorted(range(len(scores)), key=lambda t: (scores[t], t), reverse=True)
    return sorted(order[:n_kept])


# ---- kvpress's texts and tokenizers, as token ids ----

class FakeTokenizer:
    """Gives each text the ids it is told to."""
    chat_template = None

    def __init__(self, table):
        self.table = table

    def encode(self, text, **_):
        return torch.tensor([self.table[text]], dtype=torch.long)

    def __call__(self, text, **_):
        return types.SimpleNamespace(to=lambda device: {"input_ids": torch.tensor([text])})


def use_tokenizer(module, table):
    module.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda name: FakeTokenizer(table))


KVZIP_FIRST = "\n\nRepeat the previous context exactly."
KVZIP_NEXT = "\n\nRepeat the part of the previous context exactly, starting with"


def kvzip_ids(first, following, suffix):
    use_tokenizer(kvzip_press, {"": [], "\n": suffix, KVZIP_FIRST: first, KVZIP_NEXT: following})


def duo_head_scores(model, samples):
    """DuoAttention's head scores [L, K] on the fly, of lists of ids in place of its data set."""
    frame = types.SimpleNamespace(sample=lambda n, random_state: {"chapter": types.SimpleNamespace(
        tolist=lambda: samples)}, to_pandas=lambda: frame)
    use_tokenizer(duo_attention_press, {})
    duo_attention_press.load_dataset = lambda *_, **__: frame
    return duo_attention_press.duo_attention_on_the_fly.__wrapped__(model, num_samples=len(samples))


