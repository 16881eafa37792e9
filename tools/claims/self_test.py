"""The self-test of tools/make-claims: small built-in inputs in which every verdict is known.

SPDX-License-Identifier: Apache-2.0
"""

import json
import sys
import tempfile

from claims.inputs import MODELS, Bad, Estimate, Run
from claims.ledger import cause_words, ledger, scale_words
from claims.published import CLAIMS, ELEVEN_ROWS, OWN, SIX_ROWS, Arms, Claim, Need, curve
from claims.verdicts import judge, measured, together, verdict_of

OUTCOMES = {"holds": "as predicted", "fails": "against", "cannot be told": "undecided"}


def finding(what, low, high, side="none", threshold=0.0, **more):
    f = {
        "what": what,
        "unit": "nats/token",
        "predicted": side,
        "threshold": threshold,
        "is_deciding": side != "none",
        "outcome": "undecided",
        "mean": None if low is None else (low + high) / 2,
        "low": low,
        "high": high,
        "is_few": False,
        "p_adjusted": 0.001,
    }
    return dict(f, **more)


def interval(side, bound, where):
    """An interval on the side that is asked for, on the other one, or across the bound."""
    inside = {"above": 1, "below": -1, "within": 0}[side]
    if side == "within":
        middle, half = {
            "holds": (0, bound / 2),
            "fails": (3 * bound, bound),
            "cannot be told": (bound, bound / 2),
        }[where]
    else:
        middle = bound + {"holds": inside, "fails": -inside, "cannot be told": 0}[where]
        half = 0.25
    return middle - half, middle + half


def hypotheses(where):
    """All findings that the ledger asks for, all with the same verdict."""
    out = {}
    for claim in CLAIMS + (OWN,):
        for need in claim.needs:
            if isinstance(need, Need):
                found = out.setdefault(need.hypothesis, {})
                what = need.starts + ("128" if need.every else "")
                if need.side == "within" or not need.side:
                    found.setdefault(what, finding(what, 1.0, 1.5))
                else:
                    low, high = interval(need.side, need.bound, where)
                    found[what] = finding(what, low, high, need.side, need.bound, outcome=OUTCOMES[where])
    out["H5"] = {"": finding("the spike at cap 32 with 7 million parameters", 1.0, 1.5)}
    return [
        {
            "schema": "kvlab.hypothesis/1",
            "id": name,
            "verdict": "supported",
            "why": "",
            "command": "kvlab explain --only " + name,
            "findings": list(found.values()),
        }
        for name, found in out.items()
    ]


def estimate(low, high):
    return {"mean": (low + high) / 2, "low": low, "high": high, "is_few": False}


def lines_of(where, **cause):
    arms = [
        ("step by step, cap 32", curve(k), at)
        for k, at in (("0.9", 1.0), ("0.75", 0.5), ("0.5", 0.5), ("0.3", 0.5))
    ]
    some = {
        key: estimate(0.4, 0.6) for key in ("spike", "excess_light", "excess_best", "by_chance", "lag_one")
    }
    some.update(
        cause,
        schema="kvlab.cause/1",
        best=curve("0.5"),
        removed_by_protection=[dict(estimate(0.7, 0.9), n_newest=4)],
    )
    return (
        [
            {
                "schema": "kvlab.explain/1",
                "model": "novels-7m",
                "n_params": 7000000,
                "is_rotary": True,
                "arith": "f32",
                "isa": "base",
                "texts": "24 samples",
                "command": "kvlab explain",
            }
        ]
        + hypotheses(where)
        + [
            {"schema": "kvlab.arm/1", "study": s, "policy": p, "excess": estimate(at - 0.1, at + 0.1)}
            for s, p, at in arms
        ]
        + [some]
    )


def table_of(kind, rows):
    stages = {0.95: "explosion", 0.9: "explosion", 0.8: "plateau"}
    return {
        "schema": "kvlab.report/1",
        "title": "ucurve-%srow on novels-7m" % kind,
        "how": "kvlab, f32 (stored F16)",
        "command": "kvlab sweep",
        "rows": [
            {
                "keep_ratio": k,
                "ppl": 100 + 100 * k,
                "delta_nll": k,
                "delta_low": k - 0.1,
                "delta_high": k + 0.1,
                "stage": "explosion" if k > 0.8 else stages.get(k, "best range"),
            }
            for k in rows
        ],
    }


class Tester:
    def __init__(self, run_models):
        self.run_models = run_models
        self.n_failed, self.n = 0, 0

    def expect(self, name, found, wanted):
        self.n += 1
        if found != wanted:
            self.n_failed += 1
            print("self-test: %s: expected %r, found %r" % (name, wanted, found), file=sys.stderr)

    def run_of(self, lines, eleven=None):
        """A model read from files that hold these lines."""
        with tempfile.TemporaryDirectory() as folder:
            paths = MODELS[0].inputs(folder)
            with open(paths["explain"], "w", encoding="utf-8") as f:
                f.writelines(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
            for kind, rows in (("11", ELEVEN_ROWS), ("6", SIX_ROWS)):
                with open(paths[kind], "w", encoding="utf-8") as f:
                    json.dump(eleven if eleven and kind == "11" else table_of(kind, rows), f)
            return Run(MODELS[0], folder)

    def ledger_of(self, run, folder="/nonexistent"):
        return ledger([run] + [Run(m, folder) for m in MODELS[1:]])

    def expect_error(self, name, make, part):
        try:
            make()
            found = "no error"
        except Bad as e:
            found = str(e)
        self.expect(name, (part in found, "\n" in found), (True, False))
        if part not in found:
            print("    " + found, file=sys.stderr)


def test_words(t):
    """One interval on each side of each bound."""
    e = Estimate
    for side, bound in (("above", 0.01), ("below", 0.5), ("within", 0.05)):
        for where in OUTCOMES:
            low, high = interval(side, bound, where)
            t.expect(
                "%s %g %s" % (side, bound, where), judge(e((low + high) / 2, low, high), side, bound), where
            )
    t.expect("below the range", judge(e(-1, -1.1, -0.9), "within", 0.05), "fails")
    t.expect("few texts", judge(e(1, 0.9, 1.1, True), "above", 0), "cannot be told")
    t.expect("no interval", judge(e(1), "above", 0), "cannot be told")
    t.expect("not run", judge(e(None), "above", 0), "cannot be told")
    t.expect("one fails", together(["holds", "cannot be told", "fails"]), "fails")
    t.expect("one is open", together(["holds", "cannot be told"]), "cannot be told")
    t.expect("nothing is needed", together([]), "cannot be told")
    t.expect("a share", measured(e(0.5, 0.4, 0.6), "share of the spike"), "50.0 % [40.0, 60.0] of the spike")
    t.expect("not run here", measured(e(None), "nats/token"), "not run here")


def test_claims(t):
    """Whole ledgers in which all findings lie on one side."""
    only_findings = [
        c
        for c in CLAIMS + (OWN,)
        if not c.fact and all(isinstance(n, Need) and n.side != "within" for n in c.needs)
    ]
    for where in OUTCOMES:
        run = t.run_of(lines_of(where))
        for claim in only_findings:
            # two claims may want opposite sides of one finding
            if claim.title not in ("Error accumulates with every compression", "Never use 0.9 to 0.95"):
                t.expect("%s, all %s" % (claim.title, where), verdict_of(run, claim), where)
        text = t.ledger_of(run)
        t.expect("a model that was not run", "| smollm2-135m | not run | not run | |" in text, True)
        t.expect(
            "its column",
            "| [1](#c1) | Light compression is worse than heavy | %s | not run | not run |"
            % {"holds": "holds", "fails": "fails"}.get(where, where)
            in text,
            True,
        )
        t.expect("words for missing values", [w for w in ("nan", "None", "null") if w in text], [])
    run = t.run_of(lines_of("holds"))
    stages = next(c for c in CLAIMS if c.title == "Three stages")
    t.expect("three stages", verdict_of(run, stages), "holds")
    flat = table_of("11", ELEVEN_ROWS)
    for row in flat["rows"]:
        row["stage"] = "best range"
    t.expect("no stages", verdict_of(t.run_of(lines_of("holds"), flat), stages), "cannot be told")
    for other, wanted in (("0.75", "cannot be told"), ("0.9", "fails")):
        claim = Claim("", "", "", "", (Arms("", curve("0.3"), curve(other), "within", 0.05),))
        t.expect("arms against %s" % other, verdict_of(run, claim), wanted)


def test_paper_cap(t):
    claim = next(c for c in CLAIMS if c.title == "Half can go at a large cap")
    for cap, low, high, wanted in (
        (1024, -0.005, 0.005, "holds"),
        (1024, 0.02, 0.04, "fails"),
        (256, 0.02, 0.04, "cannot be told"),
    ):
        arm = {
            "schema": "kvlab.arm/1",
            "study": "step by step, cap %d" % cap,
            "policy": "knorm:keep=0.5:cap=%d:skip=0" % cap,
            "excess": estimate(low, high),
        }
        t.expect("cap %d at %g" % (cap, low), verdict_of(t.run_of(lines_of("holds") + [arm]), claim), wanted)


def test_cause(t):
    words = lambda lines: cause_words(t.run_of(lines))
    t.expect(
        "a cause",
        "The cause, as far as these experiments tell: the last tokens are lost." in words(lines_of("holds")),
        True,
    )
    t.expect("what goes", "4: 80.0 % [70.0, 90.0]" in words(lines_of("holds")), True)
    t.expect(
        "no spike", "there is no cause to name" in words(lines_of("holds", spike=estimate(-0.1, 0.2))), True
    )
    t.expect(
        "few texts",
        "too few texts" in words(lines_of("holds", spike=dict(estimate(0.1, 0.2), is_few=True))),
        True,
    )
    for verdict, part in (
        ("refuted", "is refuted as the explanation"),
        ("cannot tell here", "cannot be told"),
    ):
        lines = [dict(o, verdict=verdict) if o.get("id") == "H8" else o for o in lines_of("holds")]
        t.expect("H8 " + verdict, (part in words(lines), "The cause, as far" in words(lines)), (True, False))


def test_scale(t):
    lines = lines_of("holds")
    small = t.run_of(lines)  # its spike: 1 to 1.5
    for low, high, part in (
        (0.1, 0.9, "is smaller than"),
        (2.0, 3.0, "is larger than"),
        (0.1, 1.1, "is not told apart from"),
    ):
        spike = finding("the spike at cap 32 with 9 million parameters", low, high)
        large = [dict(o, findings=[spike]) if o.get("id") == "H5" else o for o in lines]
        large[0] = dict(large[0], n_params=9000000)
        (text,) = scale_words([t.run_of(large), small])
        t.expect(
            "a spike of %g to %g" % (low, high),
            (part in text, "do not decide what size does" in text),
            (True, True),
        )
    t.expect("one model", scale_words([small]), ["Fewer than two models were run: nothing is compared."])


def test_commands(t):
    bundled, other = MODELS[0].commands("f32", "full"), MODELS[2].commands("int8", "full")
    t.expect("the bundled model", bundled["explain"], "build/kvlab explain --budget full -o jsonl".split())
    options = ["-m", MODELS[2].path, "--arith", "int8"]
    for kind, command in other.items():
        t.expect("options of " + kind, command[-4:], options)


def test_errors(t):
    lines = lines_of("holds")

    def without(name, starts):
        return [
            (
                dict(o, findings=[f for f in o["findings"] if not f["what"].startswith(starts)])
                if o.get("id") == name
                else o
            )
            for o in lines
        ]

    def changed(name, starts, **more):
        return [
            (
                dict(
                    o,
                    findings=[dict(f, **more) if f["what"].startswith(starts) else f for f in o["findings"]],
                )
                if o.get("id") == name
                else o
            )
            for o in lines
        ]

    for claim in CLAIMS + (OWN,):
        for need in claim.needs:
            if isinstance(need, Need):
                t.expect_error(
                    "%s without '%s'" % (need.hypothesis, need.starts),
                    lambda n=need: t.ledger_of(t.run_of(without(n.hypothesis, n.starts))),
                    "%s: expected a finding that begins with '" % need.hypothesis,
                )
    t.expect_error(
        "no H3",
        lambda: t.ledger_of(t.run_of([o for o in lines if o.get("id") != "H3"])),
        "expected hypothesis H3, found none",
    )
    t.expect_error(
        "an outcome that its interval does not give",
        lambda: t.ledger_of(t.run_of(changed("H6", "the spike in pooled", outcome="against"))),
        "(holds), found 'against'",
    )
    t.expect_error(
        "an outcome of a p that is not small",
        lambda: t.ledger_of(t.run_of(changed("H6", "the spike in pooled", p_adjusted=0.5))),
        "(cannot be told), found",
    )
    t.expect_error(
        "a figure that is text",
        lambda: t.ledger_of(t.run_of(changed("H6", "the spike in pooled", mean="1"))),
        "expected another type",
    )
    t.expect("a line for others", t.run_of(lines + [{"schema": "kvlab.norms/1"}]).is_run, True)
    t.expect_error("a line of others", lambda: t.run_of(lines + [{"schema": "x"}]), "found 'x'")
    t.expect_error("no JSON", lambda: t.run_of(lines + ["{\n"]), "line %d: expected JSON" % (len(lines) + 1))
    t.expect_error("no cause", lambda: t.run_of(lines[:-1]), "expected kvlab.explain/1 and kvlab.cause/1")
    t.expect_error(
        "another model",
        lambda: t.run_of([dict(lines[0], model="other")] + lines[1:]),
        "expected the model novels-7m, found other",
    )
    t.expect_error(
        "another arithmetic",
        lambda: t.run_of([dict(lines[0], arith="int8")] + lines[1:]),
        "expected int8 arithmetic",
    )
    t.expect_error(
        "a missing row",
        lambda: t.ledger_of(t.run_of(lines, table_of("11", [1, 0.95]))),
        "expected a row of keep",
    )
    t.expect_error(
        "no arm",
        lambda: t.ledger_of(t.run_of([o for o in lines if o.get("policy") != curve("0.9")])),
        "expected an arm",
    )
    with tempfile.TemporaryDirectory() as folder:
        with open(MODELS[1].inputs(folder)["6"], "w", encoding="utf-8"):
            pass
        t.expect_error(
            "one input of three",
            lambda: Run(MODELS[1], folder),
            "expected all inputs of smollm2-135m or none",
        )
    t.expect_error(
        "an unknown model",
        lambda: t.run_models("gpt", None, "quick", "/nonexistent"),
        "expected novels-7m",
    )


def self_test(run_models):
    """Status 0 when all is as expected."""
    t = Tester(run_models)
    for test in (test_words, test_claims, test_paper_cap, test_cause, test_scale, test_commands, test_errors):
        test(t)
    print("self-test: %d of %d as expected" % (t.n - t.n_failed, t.n))
    return 1 if t.n_failed else 0
