#!/usr/bin/env python3
"""Golden statistics by numpy and scipy in float64.

Run from the top of the source tree; needs `pip install numpy scipy`. Writes tests/golden/stats.json: data, and what
an independent computation makes of it: bootstrap over clusters with the same lists (the counter-based draws of
src/base/rng.h), Wilson's interval, McNemar's test, Student's t, the normal distribution, Spearman's rank correlation,
least squares with every row left out in turn, quantiles, and summaries of tokens.
"""
import json

import numpy
import scipy
from scipy import stats

M64 = (1 << 64) - 1


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def resample_lists(n, n_resamples, seed):
    key = mix(seed ^ int.from_bytes(b"bootstra", "big"))
    return numpy.array([[mix(j ^ mix(b ^ key)) % n for j in range(n)] for b in range(n_resamples)])


def bootstrap(num, den, null, lists):
    n_resamples, n = lists.shape
    observed = num.sum() / den.sum()
    deviations = numpy.sort(num[lists].sum(1) / den[lists].sum(1) - observed)
    share = numpy.arange(1, n_resamples // 2 + 1) / (n_resamples + 1)
    widen = numpy.sqrt(n / (n - 1)) * stats.t.isf(share, n - 1) / stats.norm.isf(share)
    low = widen * deviations[:len(share)]
    high = widen * deviations[::-1][:len(share)]
    k = int(0.025 * (n_resamples + 1)) - 1
    beyond = min((low <= null - observed).sum(), (high >= null - observed).sum())
    return {"mean": observed, "low": observed + low[k], "high": observed + high[k],
            "p": min(1, 2 * (1 + beyond) / (n_resamples + 1))}


def bootstrap_case(rng, n, n_resamples, seed, null, is_ratio):
    counts = rng.integers(50, 200, n)
    num = counts * (rng.normal(0.05, 0.15, n) + rng.exponential(0.1, n))
    den = counts * rng.gamma(4, 0.25, n) if is_ratio else counts.astype(float)
    return {"n_resamples": n_resamples, "seed": seed, "null": null, "is_ratio": is_ratio, "num": num.tolist(),
            "den": den.tolist(), "want": bootstrap(num, den, null, resample_lists(n, n_resamples, seed))}


def block_case():
    """Tokens that the test can draw too: kvl_rng_unit(3, 0, t) - 0.5."""
    x = numpy.array([(mix(t ^ mix(mix(3))) >> 40) / 2.0**24 - 0.5 for t in range(512 * 31 + 77)])
    want = {}
    for name, block in ("half", 256), ("blocks", 512), ("twice", 1024):
        parts = numpy.array_split(x, len(x) // block)
        want[name] = bootstrap(numpy.array([p.sum() for p in parts]), numpy.array([float(len(p)) for p in parts]), 0,
                               resample_lists(len(parts), 200, 5))
    return {"n_tokens": len(x), "n_resamples": 200, "seed": 5, "want": want}


def fit_case(rng, n, k):
    x = numpy.column_stack([numpy.ones(n), rng.normal(3, 2, (n, k - 1))])
    y = x @ rng.normal(0, 1, k) + rng.normal(0, 1, n)

    def fit(rows):
        return numpy.linalg.lstsq(x[rows], y[rows], rcond=None)[0]

    every = numpy.arange(n)
    loo = numpy.array([x[i] @ fit(every != i) for i in range(n)])
    squares = ((y - y.mean()) ** 2).sum()
    return {"x": x.tolist(), "y": y.tolist(), "coefficients": fit(every).tolist(), "loo": loo.tolist(),
            "r2": 1 - ((y - x @ fit(every)) ** 2).sum() / squares, "r2_loo": 1 - ((y - loo) ** 2).sum() / squares}


def quality_case(rng, n):
    nll_full = rng.gamma(1.2, 2.0, n)
    nll = numpy.abs(nll_full + rng.standard_t(2, n) * 0.2)
    p_top = rng.beta(1, 1.5, n).astype(numpy.float32)
    p_top[:3] = [1, 1 / 15, 0.2]  # next to edges of bins
    entropy, kl = rng.gamma(2, 1, n).astype(numpy.float32), (rng.gamma(0.3, 0.1, n)).astype(numpy.float32)
    hit, same = rng.random(n) < p_top * 0.8, rng.random(n) < 0.9
    p, gap = p_top.astype(float), 0
    for b in range(15):
        of_bin = (p > b / 15) & (p <= (b + 1) / 15)
        gap += abs(hit[of_bin].mean() - p[of_bin].mean()) * of_bin.mean() if of_bin.any() else 0
    change = numpy.exp(-nll) - numpy.exp(-nll_full)
    tails, shares = [0.5, 0.9, 0.99, 0.999, 1], [0.999, 0.99, 0.95, 0.9, 0.75, 0.5, 0.25, 0.1, 0.05, 0.01, 0.001]
    want = {"nll": nll.mean(), "nll_full": nll_full.mean(), "kl": kl.astype(float).mean(), "same_top": same.mean(),
            "delta_tails": numpy.quantile(abs(nll - nll_full), tails).tolist(),
            "kl_tails": numpy.quantile(kl.astype(float), tails).tolist(), "change": change.mean(),
            "change_rms": numpy.sqrt((change ** 2).mean()), "change_points": numpy.quantile(change, shares).tolist(),
            "entropy": entropy.astype(float).mean(), "nll_minus_entropy": nll.mean() - entropy.astype(float).mean(),
            "p_top": p.mean(), "accuracy": hit.mean(), "calibration_error": gap, "nll_hit": nll[hit].mean(),
            "nll_miss": nll[~hit].mean()}
    return {"nll": nll.tolist(), "nll_full": nll_full.tolist(), "entropy": entropy.tolist(), "p_top": p_top.tolist(),
            "kl": kl.tolist(), "is_hit": hit.tolist(), "is_same_top": same.tolist(), "want": want}


def spearman_case(x, y):
    return {"x": x.tolist(), "y": y.tolist(), "want": stats.spearmanr(x, y).statistic}


def wilson_case(hits, n):
    interval = stats.binomtest(hits, n).proportion_ci(0.95, "wilson")
    return [hits, n, interval.low, interval.high]


def power_case(rng, n):
    counts = rng.integers(50, 200, n)
    sums = counts * rng.normal(0, 0.2, n)
    error = numpy.sqrt(((sums - counts * sums.sum() / counts.sum()) ** 2).sum() * n / (n - 1)) / counts.sum()
    t = sums.sum() / counts.sum() / error
    return {"sums": sums.tolist(), "counts": counts.tolist(), "p": 2 * stats.t.sf(abs(t), n - 1),
            "smallest": (stats.t.isf(0.025, n - 1) + stats.t.isf(0.2, n - 1)) * error}


def main():
    rng = numpy.random.default_rng(20)
    golden = {
        "made_by": f"tools/golden/make_stats_goldens.py, numpy {numpy.__version__}, scipy {scipy.__version__}",
        "bootstrap": [bootstrap_case(rng, 40, 999, 1, 0, False), bootstrap_case(rng, 23, 1000, 7, 0.1, False),
                      bootstrap_case(rng, 64, 500, 2**60 + 3, 0.2, True), bootstrap_case(rng, 8, 400, 3, 1, True)],
        "blocks": block_case(),
        "wilson": [wilson_case(*c) for c in ((0, 30), (30, 30), (1, 7), (17, 40), (999, 1000))],
        "mcnemar": [[a, b, stats.binomtest(a, a + b).pvalue] for a, b in ((0, 1), (3, 12), (12, 3), (8, 8), (700, 800),
                                                                        (2, 2000))],
        "spearman": [spearman_case(rng.normal(size=50), rng.normal(size=50)),
                     spearman_case(rng.integers(0, 6, 80), rng.integers(0, 4, 80))],
        "fits": [fit_case(rng, 18, 3), fit_case(rng, 40, 6)],
        "quality": quality_case(rng, 1200),
        "power": power_case(rng, 25),
    }
    with open("tests/golden/stats.json", "w", encoding="utf-8") as f:
        json.dump(golden, f)
        f.write("\n")


if __name__ == "__main__":
    main()
