"""From numbers to words: where an interval must lie for a claim to hold.

SPDX-License-Identifier: Apache-2.0
"""

from dataclasses import dataclass

from claims.inputs import MAYBE, NUMBER, Bad, Estimate, estimate_of, field
from claims.published import ELEVEN_ROWS, Arms, Need, PaperCap, Stages

HOLDS, FAILS, OPEN, NOT_RUN = "holds", "fails", "cannot be told", "not run"


def judge(e, side, bound):
    """Where the whole interval lies decides; nothing else does."""
    if e.mean is None or not e.has_interval:
        return OPEN
    if side == "above":
        return HOLDS if e.low > bound else FAILS if e.high < bound else OPEN
    if side == "below":
        return HOLDS if e.high < bound else FAILS if e.low > bound else OPEN
    is_inside = -bound < e.low and e.high < bound
    return HOLDS if is_inside else FAILS if e.low > bound or e.high < -bound else OPEN


def together(verdicts):
    """A claim needs all it needs: one that fails is enough."""
    return FAILS if FAILS in verdicts else HOLDS if verdicts and set(verdicts) == {HOLDS} else OPEN


@dataclass(frozen=True)
class Reading:
    text: str
    verdict: str = ""  # "": for information
    commands: tuple = ()


def number(x, unit):
    if unit.startswith("share"):
        return "%.1f" % (100 * x)
    return "0" if x == 0 else "%+.1e" % x if abs(x) < 5e-4 else "%+.4f" % x


def measured(e, unit):
    if e.mean is None:
        return "not run here"
    percent, named = (" %", unit.replace("share", "", 1).strip()) if unit.startswith("share") else ("", unit)
    text = number(e.mean, unit) + percent
    if e.low is not None and e.high is not None:
        text += " [%s, %s]" % (number(e.low, unit), number(e.high, unit))
    more = " (too few texts)" if e.is_few else "" if e.has_interval else " (no interval)"
    return (text + " " + named).rstrip() + more


def needed(side, bound, unit):
    value = "%g %%" % (100 * bound) if unit.startswith("share") else "%g" % bound
    return "needs within ±" + value if side == "within" else "needs %s %s" % (side, value)


def read_finding(run, need, finding):
    where = "%s, %s" % (run.paths["explain"], need.hypothesis)
    e, unit = estimate_of(finding, where), field(finding, "unit", str, where)
    text = "%s: %s" % (finding["what"], measured(e, unit))
    commands = (run.command(need.hypothesis),)
    if not need.side:
        return Reading(text, "", commands)
    verdict = judge(e, need.side, need.bound)
    is_own = (
        field(finding, "predicted", str, where) == need.side
        and field(finding, "threshold", NUMBER, where) == need.bound
    )
    if is_own:  # it went into the family whose p values were adjusted: both must say so
        if not (field(finding, "p_adjusted", MAYBE, where) is not None and finding["p_adjusted"] < 0.05):
            verdict = OPEN
        said = {"as predicted": HOLDS, "against": FAILS, "undecided": OPEN}.get(finding.get("outcome"))
        if said != verdict:
            raise Bad(
                "%s: '%s': expected the outcome of its interval (%s), found '%s'"
                % (where, finding["what"], verdict, finding.get("outcome"))
            )
    return Reading("%s (%s)" % (text, needed(need.side, need.bound, unit)), verdict, commands)


def read_need(run, need):
    found = run.findings(need.hypothesis, need.starts)
    if need.every:
        found = [f for f in found if f.get("is_deciding")]
        if not found:
            return [
                Reading(
                    "no deciding finding of '%s' was run here" % need.starts.strip(),
                    OPEN,
                    (run.command(need.hypothesis),),
                )
            ]
    elif len(found) > 1:
        raise Bad(
            "%s, %s: expected one finding that begins with '%s', found %d"
            % (run.paths["explain"], need.hypothesis, need.starts, len(found))
        )
    return [read_finding(run, need, f) for f in found]


STEP = "step by step, cap 32"


def read_arms(run, arms):
    """Two arms have an interval each: the widest of their difference, wider than that of paired tokens."""
    both = [run.excess(STEP, policy) for policy in (arms.arm, arms.other)]
    for policy, e in zip((arms.arm, arms.other), both):
        if e is None:
            raise Bad("%s: expected an arm '%s', found none" % (run.paths["explain"], policy))
    a, b = both
    e = Estimate(a.mean - b.mean if None not in (a.mean, b.mean) else None, is_few=a.is_few or b.is_few)
    if a.has_interval and b.has_interval:
        e = Estimate(e.mean, a.low - b.high, a.high - b.low)
    return [
        Reading(
            "%s: %s, from the intervals of both (%s)"
            % (arms.what, measured(e, "nats/token"), needed(arms.side, arms.bound, "nats/token")),
            judge(e, arms.side, arms.bound),
            (run.command("H3"),),
        )
    ]


def read_paper_cap(run, need):
    caps = [1024, 512, 256, 128, 64, 32, 16]
    for cap in caps:
        e = run.excess("step by step, cap %d" % cap, "knorm:keep=0.5:cap=%d:skip=0" % cap)
        if e is not None and e.mean is not None:
            text = "keep 0.5 at cap %d above the full cache: %s (%s)" % (
                cap,
                measured(e, "nats/token"),
                needed("below", need.bound, "nats/token"),
            )
            if cap < need.least_cap:
                return [
                    Reading(
                        text + "; the largest cap run here is not the paper's", OPEN, (run.command("H7"),)
                    )
                ]
            return [Reading(text, judge(e, "below", need.bound), (run.command("H7"),))]
    raise Bad("%s: expected an arm of keep 0.5 at some cap, found none" % run.paths["explain"])


def stage_list(run, kind, keeps):
    return [(keep, field(run.row(kind, keep), "stage", str, run.paths[kind])) for keep in keeps if keep < 1]


def read_stages(run):
    """Stages follow from intervals (src/stats/stages.c)."""
    runs = []
    for keep, stage in stage_list(run, "11", sorted(ELEVEN_ROWS, reverse=True)):
        if runs and runs[-1][0] == stage:
            runs[-1][2] = keep
        else:
            runs.append([stage, keep, keep])
    names = [r[0] for r in runs]
    text = ", ".join("%s at %g" % (s, a) if a == b else "%s from %g to %g" % (s, a, b) for s, a, b in runs)
    verdict = HOLDS if names[:3] == ["explosion", "plateau", "best range"] else OPEN
    return [
        Reading(
            "11 rows, 5 samples: %s (needs explosion, plateau and best range, each told apart from the next)"
            % text,
            verdict,
            (field(run.tables["11"], "command", str, run.paths["11"]),),
        )
    ]


def read_scale(run):
    (finding,) = run.findings("H5", "the spike at cap 32")
    return [
        Reading(
            "%s: %s; one model does not decide it"
            % (finding["what"], measured(estimate_of(finding, run.paths["explain"]), "nats/token")),
            OPEN,
            (run.command("H5"),),
        )
    ]


def readings(run, claim):
    out = []
    for need in claim.needs:
        out += (
            read_need(run, need)
            if isinstance(need, Need)
            else (
                read_arms(run, need)
                if isinstance(need, Arms)
                else (
                    read_paper_cap(run, need)
                    if isinstance(need, PaperCap)
                    else read_stages(run) if isinstance(need, Stages) else read_scale(run)
                )
            )
        )
    return out


def verdict_of(run, claim):
    if claim.fact:
        return claim.fact
    return together([r.verdict for r in readings(run, claim) if r.verdict]) if run.is_run else NOT_RUN
