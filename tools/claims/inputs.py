"""What was measured: the files in docs/claims, read and checked.

SPDX-License-Identifier: Apache-2.0
"""

import json
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSpec:
    name: str
    path: str  # "": the bundled one
    arith: str
    family: str
    fetch: str = ""

    def inputs(self, folder):
        return {
            kind: os.path.join(folder, self.name + "." + end)
            for kind, end in (
                ("explain", "explain.jsonl"),
                ("11", "ucurve-11row.json"),
                ("6", "ucurve-6row.json"),
            )
        }

    def commands(self, arith, budget):
        """What makes each input, run in the root of the project."""
        options = (["-m", self.path] if self.path else []) + (["--arith", arith] if arith != "f32" else [])
        return {
            "explain": ["build/kvlab", "explain", "--budget", budget, "-o", "jsonl"] + options,
            "11": ["build/kvlab", "sweep", "--preset", "ucurve-11row", "--no-chart", "-o", "json"] + options,
            "6": ["build/kvlab", "sweep", "--preset", "ucurve-6row", "--no-chart", "-o", "json"] + options,
        }


MODELS = (
    ModelSpec("novels-7m", "", "f32", "GPT-NeoX"),
    ModelSpec(
        "smollm2-135m", "models-extra/SmolLM2-135M-Instruct.Q4_1.gguf", "f32", "Llama", "tools/get-smollm2"
    ),
    ModelSpec("gemma-3-270m", "models-extra/gemma-3-270m.Q4_K_M.gguf", "int8", "Gemma 3", "tools/get-gemma3"),
)


class Bad(Exception):
    """An input that does not hold what the ledger needs. The message is one line."""


@dataclass(frozen=True)
class Estimate:
    mean: float | None  # None: not run
    low: float | None = None
    high: float | None = None
    is_few: bool = False

    @property
    def has_interval(self):
        return self.low is not None and self.high is not None and not self.is_few


def field(o, key, kinds, where):
    """o[key], which must be one of `kinds`."""
    if not isinstance(o, dict) or key not in o:
        raise Bad("%s: expected a field '%s', found none" % (where, key))
    if not isinstance(o[key], kinds) or (isinstance(o[key], bool) and kinds is not bool):
        raise Bad("%s: field '%s': expected another type, found %r" % (where, key, o[key]))
    return o[key]


NUMBER = (int, float)
MAYBE = (int, float, type(None))


def estimate_of(o, where):
    return Estimate(
        field(o, "mean", MAYBE, where),
        field(o, "low", MAYBE, where),
        field(o, "high", MAYBE, where),
        field(o, "is_few", bool, where),
    )


class Run:
    """What was measured on one model. `explain` and `tables` are read once and checked as they are asked."""

    def __init__(self, spec, folder):
        self.spec = spec
        self.paths = spec.inputs(folder)
        missing = [p for p in self.paths.values() if not os.path.exists(p)]
        self.is_run = not missing
        if not self.is_run:
            if len(missing) < len(self.paths):
                raise Bad(
                    "%s: expected all inputs of %s or none, found no such file (tools/make-claims --run %s)"
                    % (missing[0], spec.name, spec.name)
                )
            return
        self.hypotheses, self.arms = {}, []
        self.head = self.cause = None
        self._read_explain()
        self.tables = {kind: self._read_table(kind) for kind in ("11", "6")}
        if self.head is None or self.cause is None:
            raise Bad(
                "%s: expected kvlab.explain/1 and kvlab.cause/1, found one or none" % self.paths["explain"]
            )
        self._check_model()

    def _read_explain(self):
        path = self.paths["explain"]
        with open(path, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                where = "%s, line %d" % (path, number)
                o = parse(line, where)
                schema = field(o, "schema", str, where)
                if schema == "kvlab.explain/1":
                    self.head = o
                elif schema == "kvlab.hypothesis/1":
                    self.hypotheses[field(o, "id", str, where)] = o
                elif schema == "kvlab.arm/1":
                    self.arms.append(o)
                elif schema == "kvlab.cause/1":
                    self.cause = o
                elif not schema.startswith("kvlab."):  # what the ledger does not read may be there too
                    raise Bad("%s: expected a schema of kvlab explain, found '%s'" % (where, schema))

    def _read_table(self, kind):
        with open(self.paths[kind], encoding="utf-8") as f:
            o = parse(f.read(), self.paths[kind])
        if field(o, "schema", str, self.paths[kind]) != "kvlab.report/1":
            raise Bad("%s: expected kvlab.report/1, found '%s'" % (self.paths[kind], o["schema"]))
        return o

    def _check_model(self):
        """The three files must be of this model, in the same arithmetic."""
        expected = os.path.basename(self.spec.path) or self.spec.name
        found = field(self.head, "model", str, self.paths["explain"])
        if found != expected:
            raise Bad("%s: expected the model %s, found %s" % (self.paths["explain"], expected, found))
        for kind, table in self.tables.items():
            title = field(table, "title", str, self.paths[kind])
            if title != "ucurve-%srow on %s" % (kind, expected):
                raise Bad(
                    "%s: expected 'ucurve-%srow on %s', found '%s'"
                    % (self.paths[kind], kind, expected, title)
                )
            if ", %s (stored" % self.head["arith"] not in field(table, "how", str, self.paths[kind]):
                raise Bad(
                    "%s: expected %s arithmetic as in %s, found '%s'"
                    % (self.paths[kind], self.head["arith"], self.paths["explain"], table["how"])
                )

    def hypothesis(self, name):
        if name not in self.hypotheses:
            raise Bad("%s: expected hypothesis %s, found none" % (self.paths["explain"], name))
        return self.hypotheses[name]

    def findings(self, name, starts):
        """The findings of a hypothesis whose text begins so: one at least."""
        where = "%s, %s" % (self.paths["explain"], name)
        found = [
            f
            for f in field(self.hypothesis(name), "findings", list, where)
            if field(f, "what", str, where).startswith(starts)
        ]
        if not found:
            raise Bad("%s: expected a finding that begins with '%s', found none" % (where, starts))
        return found

    def excess(self, study, policy):
        """Excess NLL of an arm over the full cache; None where it was not run."""
        for arm in self.arms:
            if arm.get("study") == study and arm.get("policy") == policy:
                return estimate_of(field(arm, "excess", dict, self.paths["explain"]), self.paths["explain"])
        return None

    def row(self, kind, keep):
        for r in field(self.tables[kind], "rows", list, self.paths[kind]):
            if abs(field(r, "keep_ratio", NUMBER, self.paths[kind]) - keep) < 1e-9:
                return r
        raise Bad("%s: expected a row of keep %g, found none" % (self.paths[kind], keep))

    def command(self, name):
        return field(self.hypothesis(name), "command", str, self.paths["explain"])


def parse(text, where):
    try:
        return json.loads(text)
    except ValueError as e:
        raise Bad("%s: expected JSON, found %s" % (where, e))
