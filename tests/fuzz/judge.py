"""Solve a case by some methods, and compare everything that comes back with the oracle."""

import logging
import math
import random
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from placer.errors import InputError, UsageError
from placer.instance.instance import Instance
from placer.plans.check import check
from placer.plans.result import Result, Status
from placer.plans.status import Stop
from placer.solving.solve import solve
from tests.fuzz.after import exported, simulated, tampered, written
from tests.fuzz.case import Case
from tests.fuzz.goals import goals_missed
from tests.fuzz.oracle import Model, Plans, all_plans, judge_plan, latency_optimum
from tests.fuzz.placed import placed_of

__all__ = ["EXACT", "Verdict", "judge", "methods_for"]

EXACT = {"auto", "milp", "dp", "paper"}
"""Methods that find a plan where there is one; ``paper`` is ``milp`` with the paper's program."""
CLAIM = 1e-6
"""Relative tolerance on what is claimed: solvers round."""
EQUAL = 1e-9
SOLVER = "placer.solvers.highs: "
"""What the adapter to HiGHS logs when it does not believe its claims; counted only."""
LATE_S = 20.0
"""Processor seconds that no tiny instance takes."""
LIMIT_S = 60.0

THROUGHPUT = {
    "auto": 3.0,
    "milp": 3.0,
    "dp": 3.0,
    "paper": 1.0,
    "dpl": 1.0,
    "colgen": 0.3,
    "local-search": 0.5,
    "pipedream": 0.5,
    "partition": 0.5,
    "single": 0.3,
}
LATENCY = {"auto": 3.0, "milp": 3.0, "dp": 3.0, "paper": 1.5, "greedy": 1.0, "max-load": 0.7, "single": 0.3}


@dataclass
class Verdict:
    """What came of a case: (method, status) pairs, and problems as "kind: what"."""

    seed: int
    features: frozenset[str]
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    weak: list[str] = field(default_factory=list)
    """Nothing wrong, but less than hoped for: exact methods without a plan or a proof."""


def methods_for(case: Case, rng: random.Random) -> list[str]:
    """Draw one to three methods that may know the case."""
    weights = dict(LATENCY if "latency" in case.features else THROUGHPUT)
    if "free" in case.features:
        weights |= {"colgen": 1.0, "dp": 0.1, "dpl": 0.1, "pipedream": 0.1, "paper": 0.3}
    if "paper" in case.features:
        weights["paper"] = 6.0
    names = list(weights)
    picked = rng.choices(names, [weights[m] for m in names], k=rng.choice((1, 1, 2, 2, 3)))
    return list(dict.fromkeys(picked))


def judge(case: Case, methods: list[str] | None = None) -> Verdict:
    """Try a case; problems are empty where all is right."""
    verdict = Verdict(case.seed, case.features)
    try:
        instance = case.instance()
    except InputError as error:
        verdict.refusals.append(f"input: {_words(error)}")
        return verdict
    for method in methods or methods_for(case, random.Random(f"{case.seed} methods")):
        options = case.options | {"time_limit": LIMIT_S, "method": "milp" if method == "paper" else method}
        if method == "paper":
            options["formulation"] = "paper"
        problems = _Trial(case, instance, method, options, verdict).run()
        verdict.problems += [f"{kind}: [{method}] {what}" for kind, what in problems]
    return verdict


def _words(error: Exception) -> str:
    """A message without what differs from case to case."""
    text = re.sub(r"'[^']*'", "'..'", str(error))
    return re.sub(r"[\d.e+-]*\d", "#", text)[:110]


class _Trial:
    """One method on one case."""

    def __init__(
        self, case: Case, instance: Instance, method: str, options: dict[str, object], verdict: Verdict
    ) -> None:
        self.case, self.instance, self.method, self.options = case, instance, method, options
        self.verdict = verdict
        self.rng = random.Random(f"{case.seed} {method}")
        self.model = Model(case.document, options)
        self.plans: Plans | None = None

    def run(self) -> Iterator[tuple[str, str]]:
        """Yield problems as (kind, what)."""
        began = time.process_time()
        noise: list[str] = []
        with _listening(noise):
            try:
                result = solve(self.instance, **self.options)
            except (InputError, UsageError) as error:
                self.verdict.outcomes.append((self.method, "refused"))
                self.verdict.refusals.append(f"{self.method}: {_words(error)}")
                return
            except Exception as error:
                self.verdict.outcomes.append((self.method, "error"))
                yield "error", f"{type(error).__name__}: {str(error)[:200]}"
                return
            try:
                found = [] if result.assignment is None else check(self.instance, result)
            except Exception as error:
                found = [f"{type(error).__name__}: {str(error)[:200]}"]
            if time.process_time() - began > LATE_S:  # kernels may have been compiled
                began = time.process_time()
                solve(self.instance, **self.options)
        seconds = time.process_time() - began
        self.verdict.outcomes.append((self.method, str(result.status)))
        self.verdict.weak += ["solved again without presolve" for text in noise if SOLVER in text]
        yield from (("log", text[:200]) for text in noise if SOLVER not in text)
        if seconds > LATE_S:
            yield "late", f"{seconds:.0f} s of processor time"
        if found:
            yield "check", found[0]
        optimum = self._optimum()
        if self.model.near_miss:  # a sum so close to a limit that rounding decides: nothing to compare
            self.verdict.weak.append(f"{self.method}: rounding decides")
            return
        yield from self._claims(result, optimum)
        if result.assignment is not None:
            yield from self._plan(result, optimum)

    def _optimum(self) -> float:
        if self.model.latency:
            return latency_optimum(self.model)
        self.plans = all_plans(self.model)
        return self.plans.optimum

    def _claims(self, result: Result, optimum: float) -> Iterator[tuple[str, str]]:
        """What is said about all plans."""
        if result.status is Status.INFEASIBLE and math.isfinite(optimum):
            yield "infeasible", f"claimed; optimum {optimum!r}"
        if result.bound is not None and result.bound > optimum * (1 + CLAIM):
            yield "bound", f"{result.bound!r} above the optimum {optimum!r}"
        slack = float(self.case.options.get("slack", 0.0))
        if result.status is Status.OPTIMAL and result.objective is not None:
            most = optimum * (1 + max(float(self.case.options["gap"]), EQUAL) + CLAIM) * (1 + slack)
            if result.objective > most:
                yield "optimal", f"{result.objective!r} claimed, optimum {optimum!r}"
        if (
            result.status is Status.UNKNOWN
            and self.method in EXACT
            and result.stop is not Stop.NOT_APPLICABLE
        ):
            what = "no plan though there is one" if math.isfinite(optimum) else "not proven infeasible"
            self.verdict.weak.append(f"{self.method}: {what} ({result.stop})")
        if result.status is Status.FEASIBLE and self.method in EXACT and not slack:
            self.verdict.weak.append(f"{self.method}: not proven to {result.options.gap:g} ({result.stop})")

    def _plan(self, result: Result, optimum: float) -> Iterator[tuple[str, str]]:
        """What is held."""
        try:
            placed = placed_of(self.model, result)
        except (KeyError, ValueError) as error:
            yield "plan", f"cannot be read: {error!r}"
            return
        broken, value = judge_plan(self.model, placed)
        if broken:
            yield "broken", broken[0]
            return
        if not math.isclose(value, result.objective or 0.0, rel_tol=EQUAL, abs_tol=0.0):
            yield "objective", f"is {value!r}, not {result.objective!r}"
        if value < optimum * (1 - EQUAL):
            yield "oracle", f"the plan's objective {value!r} is below the optimum {optimum!r}"
        if self.plans is not None:
            yield from (("goal", text) for text in goals_missed(self.model, self.plans, result))
        if self.rng.random() < 0.6:
            yield from (("verify", text) for text in tampered(self.model, self.instance, result, self.rng))
        if self.rng.random() < 0.3:
            yield from (("simulate", text) for text in simulated(self.instance, result, self.rng))
        if self.rng.random() < 0.1:
            yield from (("document", text) for text in written(self.instance, result))
        if self.rng.random() < 0.1:
            yield from (("export", text) for text in exported(self.instance, result, self.rng))


@contextmanager
def _listening(noise: list[str]) -> Iterator[None]:
    """Collect warnings and log records at WARNING and above."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            noise.append(f"{record.name}: {record.getMessage()}")

    handler = Handler(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("placer", "formulations")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="warn"):
            warnings.simplefilter("always")
            yield
        noise += [f"{w.category.__name__}: {w.message}" for w in caught]
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
