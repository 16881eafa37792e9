"""Writing the ledger.

SPDX-License-Identifier: Apache-2.0
"""

from claims.inputs import MAYBE, NUMBER, Bad, estimate_of, field
from claims.published import ANALYSIS, CLAIMS, ELEVEN_ROWS, OWN, SIX_ROWS, Scale
from claims.verdicts import FAILS, HOLDS, NOT_RUN, OPEN, measured, readings, together, verdict_of


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def keep_name(policy):
    return "keep " + policy.split("keep=")[1].split(":")[0] if "keep=" in policy else policy


def name_list(numbers):
    return ", ".join("[%d](#c%d)" % (n, n) for n in numbers)


def count_words(run):
    """How many claims hold, fail, or cannot be told on a model."""
    measured_claims = [(n, verdict_of(run, c)) for n, c in enumerate(CLAIMS, 1) if not c.fact]
    parts = []
    for verdict in (HOLDS, FAILS, OPEN):
        which = [n for n, v in measured_claims if v == verdict]
        word = verdict if len(which) == 1 or verdict == OPEN else verdict[:-1]
        parts.append("**%d %s**%s" % (len(which), word, " (%s)" % name_list(which) if which else ""))
    return "- **%s**: of %d claims that can be measured %s." % (
        run.spec.name,
        len(measured_claims),
        ", ".join(parts),
    )


def cause_words(run):
    """The cause in words that the numbers allow."""
    path = run.paths["explain"]
    c = {
        key: estimate_of(field(run.cause, key, dict, path), path)
        for key in ("spike", "excess_light", "excess_best", "by_chance", "lag_one")
    }
    recency = field(run.hypothesis("H8"), "verdict", str, path)
    best = field(run.cause, "best", (str, type(None)), path)
    if best is None or c["spike"].mean is None:
        return "- **%s**: the curve was not run; nothing is said of its cause." % run.spec.name
    text = "- **%s**: keep 0.95 costs %s above the full cache, %s above the best of the curve (%s). " % (
        run.spec.name,
        measured(c["excess_light"], "nats/token"),
        measured(c["spike"], "nats/token"),
        keep_name(best),
    )
    if not c["spike"].has_interval:
        return text + "There are too few texts to tell a spike from chance."
    if c["spike"].low <= 0:
        return text + "Its interval holds 0: no spike is shown, and there is no cause to name."
    if recency == "supported":
        text += "The cause, as far as these experiments tell: the last tokens are lost. "
    elif recency == "refuted":
        text += "The loss of the last tokens is refuted as the explanation (H8, %s). " % run.hypothesis(
            "H8"
        ).get("why")
    else:
        text += "Whether the loss of the last tokens explains it cannot be told (H8, %s). " % run.hypothesis(
            "H8"
        ).get("why")
    text += "At 0.95 the token just before is visible to %s. " % measured(
        c["lag_one"], "share of (step, head) pairs"
    )
    text += "Protecting the newest keys removes, of the excess at 0.95, %s. " % removed_words(run)
    text += "Priorities drawn once at random, which know no norms, make %s" % measured(
        c["by_chance"], "share of the spike"
    )
    is_part = c["by_chance"].has_interval and c["by_chance"].high < 1
    return text + ("; the rest goes with this ranking." if is_part else ".")


def removed_words(run):
    path = run.paths["explain"]
    removed = [
        (field(o, "n_newest", int, path), estimate_of(o, path))
        for o in field(run.cause, "removed_by_protection", list, path)
    ]
    if not removed:
        raise Bad("%s, kvlab.cause/1: expected shares removed by protection, found none" % path)
    return ", ".join("%d: %s" % (n, measured(e, "share")) for n, e in removed)


def scale_words(runs):
    done = sorted(
        (r for r in runs if r.is_run), key=lambda r: field(r.head, "n_params", int, r.paths["explain"])
    )
    spikes = []
    for r in done:
        (finding,) = r.findings("H5", "the spike at cap 32")
        spikes.append((r, estimate_of(finding, r.paths["explain"])))
    if len(spikes) < 2:
        return ["Fewer than two models were run: nothing is compared."]
    steps = []
    for (a, ea), (b, eb) in zip(spikes, spikes[1:]):
        apart = ea.has_interval and eb.has_interval and (eb.high < ea.low or eb.low > ea.high)
        word = (
            "not told apart from that of"
            if not apart
            else "smaller than that of" if eb.high < ea.low else "larger than that of"
        )
        steps.append("the spike of %s is %s %s" % (b.spec.name, word, a.spec.name))
    families = [r.spec.family for r, _ in spikes]
    return [
        "From the smallest model to the largest: %s. " % "; ".join(steps)
        + "%d models of %d different families (%s), which differ in training, shape and positions too, do not"
        " decide what size does." % (len(spikes), len(set(families)), ", ".join(families))
    ]


def table(runs, kind, published):
    keeps = sorted(published, reverse=True)
    lines = [
        "| keep | published, Pythia-70M |" + "".join(" %s |" % r.spec.name for r in runs),
        "|---" * (2 + len(runs)) + "|",
    ]
    for keep in keeps:
        cells = ["%g" % keep, "%.2f" % published[keep]]
        for run in runs:
            cells.append(table_cell(run, kind, keep))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Highest and lowest PPL among the compressed rows: %s."
        % "; ".join(
            [extremes("published", published)]
            + [
                extremes(
                    r.spec.name,
                    {keep: field(r.row(kind, keep), "ppl", NUMBER, r.paths[kind]) for keep in keeps},
                )
                for r in runs
                if r.is_run
            ]
        ),
        "",
    ]
    lines += [
        "- %s: `%s`" % (r.spec.name, field(r.tables[kind], "command", str, r.paths[kind]))
        for r in runs
        if r.is_run
    ]
    return lines


def table_cell(run, kind, keep):
    if not run.is_run:
        return NOT_RUN
    row, path = run.row(kind, keep), run.paths[kind]
    ppl = field(row, "ppl", NUMBER, path)
    if keep == 1:
        return "%.2f" % ppl
    low, high = field(row, "delta_low", MAYBE, path), field(row, "delta_high", MAYBE, path)
    interval = " [%+.3f, %+.3f]" % (low, high) if None not in (low, high) else ""
    return "%.2f, %+.3f%s, %s" % (
        ppl,
        field(row, "delta_nll", NUMBER, path),
        interval,
        field(row, "stage", str, path),
    )


def extremes(name, ppl):
    compressed = {keep: value for keep, value in ppl.items() if keep < 1}
    return "%s %g and %g" % (name, max(compressed, key=compressed.get), min(compressed, key=compressed.get))


def claim_lines(runs, claim, anchor, title):
    lines = [
        '<a id="%s"></a>' % anchor,
        "",
        "### " + title,
        "",
        claim.words,
        "",
        "- Where: %s." % claim.where,
        "- Published: %s." % claim.published,
    ]
    if claim.note:
        lines.append("- Note: " + claim.note)
    if claim.fact:
        return lines + [
            "- Verdict: **%s**, settled by these sources; there is nothing to measure." % claim.fact,
            "",
        ]
    lines += ["", "| model | verdict | measured [95 % interval] | again |", "|---|---|---|---|"]
    for run in runs:
        if not run.is_run:
            lines.append("| %s | %s | %s | |" % (run.spec.name, NOT_RUN, NOT_RUN))
            continue
        found = readings(run, claim)
        rows = ["%s: %s" % (cell(r.text), "**%s**" % r.verdict) if r.verdict else cell(r.text) for r in found]
        commands = dict.fromkeys(c for r in found for c in r.commands)
        lines.append(
            "| %s | **%s** | %s | %s |"
            % (
                run.spec.name,
                together([r.verdict for r in found if r.verdict]),
                "<br>".join(rows),
                "<br>".join("`%s`" % cell(c) for c in commands),
            )
        )
    return lines + [""]


def input_lines(runs):
    lines = ["| model | arithmetic | texts of explain | kvlab explain | tables |", "|---|---|---|---|---|"]
    for r in runs:
        if not r.is_run:
            lines.append("| %s | %s | | | |" % (r.spec.name, NOT_RUN))
            continue
        h, path = r.head, r.paths["explain"]
        lines.append(
            "| %s, %.4g million parameters, %s positions | %s | %s | `%s`, %s | %s |"
            % (
                field(h, "model", str, path),
                field(h, "n_params", int, path) * 1e-6,
                "rotary" if field(h, "is_rotary", bool, path) else "other",
                field(h, "arith", str, path),
                cell(field(h, "texts", str, path)),
                cell(field(h, "command", str, path)),
                field(h, "isa", str, path),
                cell(field(r.tables["11"], "how", str, r.paths["11"])),
            )
        )
    return lines


HEAD = """# The published claims, and what kvlab measured

Written by `tools/make-claims` from the files in `docs/claims`; do not edit. The claims are those of the
published U-curve analysis (%s) and, where it says so, of its later versions and of the paper it leans on.
Its model was Pythia-70M.

## Summary
"""
RULES = """
## How to read it

- Effects are differences on the same tokens, of steps that read a compressed cache, with 95 % intervals from
  a bootstrap over texts ([explain.md](explain.md)). *Needs* says where the whole interval must lie. It
  **holds** when it does, **fails** when the whole interval lies on the other side, and **cannot be told**
  otherwise, with fewer than 20 texts, or where it was not run. What a hypothesis of `kvlab explain` predicts
  on the same side must also have an adjusted p below 0.05 (Holm, all findings of the run); the command in the
  last column runs one hypothesis and adjusts for its own findings only.
- A claim fails when one thing it needs fails, and holds when all hold. Readings without a verdict are for
  information. "Fails" says that the claim is wrong on this model and these texts.
- Figures of three models are three cases. Pythia-70M is not among them.
"""


def ledger(runs):
    lines = (HEAD % ANALYSIS).split("\n")
    facts = [n for n, c in enumerate(CLAIMS, 1) if c.fact]
    for run in runs:
        lines.append(count_words(run) if run.is_run else "- **%s**: not run." % run.spec.name)
    lines += [
        "- %s settled by sources alone: %s."
        % (
            "1 claim is" if len(facts) == 1 else "%d claims are" % len(facts),
            ", ".join("[%d](#c%d) %s" % (n, n, CLAIMS[n - 1].fact) for n in facts),
        ),
        "",
        "What the curve comes from:",
        "",
    ]
    lines += [cause_words(run) if run.is_run else "- **%s**: not run." % run.spec.name for run in runs]
    lines += [
        "",
        "| | claim |" + "".join(" %s |" % r.spec.name for r in runs),
        "|---" * (2 + len(runs)) + "|",
    ]
    for n, claim in enumerate(CLAIMS, 1):
        lines.append(
            "| [%d](#c%d) | %s |%s"
            % (n, n, claim.title, "".join(" %s |" % verdict_of(r, claim) for r in runs))
        )
    lines.append(
        "| [K](#k) | %s (kvlab's own) |%s" % (OWN.title, "".join(" %s |" % verdict_of(r, OWN) for r in runs))
    )
    lines += RULES.split("\n") + ["## Inputs", ""] + input_lines(runs)
    lines += [
        "",
        "## The two tables",
        "",
        (
            "PPL as published (mean of the samples' PPLs); behind it nats per token above the full cache on"
            " the same tokens with its 95 % interval over so few samples, and the stage. The baseline of the"
            " first row is the published one, in part of other tokens."
        ),
        "",
        "11 rows, samples W1 W2 W3 P1 P2:",
        "",
    ]
    lines += (
        table(runs, "11", ELEVEN_ROWS) + ["", "6 rows, samples W1 W2 P1 P2:", ""] + table(runs, "6", SIX_ROWS)
    )
    lines += ["", "## Claim by claim", ""]
    for n, claim in enumerate(CLAIMS, 1):
        lines += claim_lines(runs, claim, "c%d" % n, "%d. %s" % (n, claim.title))
        if any(isinstance(need, Scale) for need in claim.needs):
            lines += scale_words(runs) + [""]
    lines += ["## What kvlab says instead", ""] + claim_lines(runs, OWN, "k", "K. " + OWN.title)
    return "\n".join(lines).rstrip() + "\n"
