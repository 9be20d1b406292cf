# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.attacks.fuzz`` builds randomly changed archives, and computes with the accepted ones.

Children of this process do the work, so that one that a signal ends is a finding, and not the end. A finding
is the number of its case: ``--first CASE --cases 1`` repeats it.
"""

import argparse
import inspect
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from tests.algorithms.cases import FAST, find_estimators, fit_case, supported_kinds
from tests.attacks.mutations import mutate
from tidegate.errors import BundleError
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.persistence import to_skops

METHODS = ("predict", "predict_proba", "decision_function", "score_samples", "transform", "kneighbors")
CASES_PER_CHILD = 40
CPU_SECONDS = 5
MEMORY_BYTES = 6 << 30

# Estimators whose compiled code reads arrays of their own; enough for the short run of the test suite.
COMPILED = (
    *(
        "BisectingKMeans",
        "DecisionTreeClassifier",
        "GradientBoostingClassifier",
        "HistGradientBoostingRegressor",
    ),
    *("KMeans", "KNeighborsClassifier", "NuSVR", "OneClassSVM", "RadiusNeighborsClassifier", "SVC"),
)


@dataclass(frozen=True, slots=True)
class Seed:
    """A legitimate archive, and rows for its model."""

    name: str
    archive: bytes
    X: Any


@dataclass(slots=True)
class Result:
    """The outcomes of the cases by kind, and the cases that a signal ended, with its number."""

    outcomes: Counter[str] = field(default_factory=Counter)
    deaths: dict[int, tuple[str, int]] = field(default_factory=dict)


def fit_seeds(names: Sequence[str]) -> list[Seed]:
    """Fit the named estimators on each kind of data, and every transformer if all are named."""
    from sklearn.utils import all_estimators

    seeds = []
    for name in names:
        for kind in supported_kinds(name) if len(names) > len(COMPILED) else supported_kinds(name)[:1]:
            case = fit_case(name, kind)
            seeds.append(_seed(f"{name}, {kind}", case.model, case.X))
    if len(names) <= len(COMPILED):
        return [seed for seed in seeds if seed is not None]
    X = np.abs(np.random.default_rng(0).normal(size=(96, 4))) + 1
    for name, kind in all_estimators(type_filter="transformer"):
        arguments = {key: value for key, value in FAST.items() if key in inspect.signature(kind).parameters}
        try:
            seeds.append(_seed(name, kind(**arguments).fit(X, np.arange(96) % 3), X))
        except (TypeError, ValueError, AttributeError):
            continue  # it needs other arguments or another kind of data
    return [seed for seed in seeds if seed is not None]


def _seed(name: str, model: Any, X: Any) -> Seed | None:
    try:
        archive = to_skops(model)
        build_pipeline(archive, Policy())
    except Exception:  # skops cannot save it, or the policy does not trust it
        return None
    return Seed(name, archive, X)


def run_case(seeds: Sequence[Seed], case: int) -> str:
    """Change a seed's archive, build it, and compute with it if it is accepted; return the outcome."""
    random = Random(case)
    seed = random.choice(seeds)
    content = mutate(seed.archive, random)
    try:
        model = build_pipeline(content, Policy())
    except BundleError:
        return "rejected"
    outcome = "accepted"
    for rows in _rows(seed.X, random):
        for name in METHODS:
            try:
                if (method := getattr(model, name, None)) is not None:
                    method(rows)
            except Exception:  # a damaged model raises any type
                outcome = "fails"
    return outcome


def _rows(X: Any, random: Random) -> list[Any]:
    """Return rows of the fit, and some that go other ways through a model."""
    if not isinstance(X, np.ndarray):
        return [X[:3]]
    extreme = np.full((2, X.shape[1]), random.choice((0.0, 1e30, -1e30)), X.dtype)
    return [X[:3], extreme, X.repeat(4, axis=0)[:300]]


def run_child(seeds: Sequence[Seed], cases: range, progress: Path) -> None:
    """Run cases, and write each one's number before it starts."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    with progress.open("w") as file, threadpool_limits(limits=1):
        for case in cases:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            print(case, end=" ", file=file, flush=True)
            print(run_case(seeds, case), file=file, flush=True)


def fuzz(seeds: Sequence[Seed], first: int, n_cases: int, seconds: float) -> Result:
    """Run cases in children, until their number or the time is over.

    Args:
        seeds: The archives to change.
        first: The number of the first case.
        n_cases: The number of cases.
        seconds: The time after which no child is started.
    """
    result, case, end = Result(), first, time.monotonic() + seconds
    progress = Path(tempfile.mkstemp()[1])
    while case < first + n_cases and time.monotonic() < end:
        cases = range(case, min(case + CASES_PER_CHILD, first + n_cases))
        if (child := os.fork()) == 0:
            try:
                run_child(seeds, cases, progress)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        lines = progress.read_text().splitlines()
        result.outcomes.update(line.split()[1] for line in lines if len(line.split()) == 2)
        last = int(lines[-1].split()[0]) if lines else case
        case = last + 1
        if status != 0:
            if not os.WIFSIGNALED(status):
                raise SystemExit(f"Case {last} failed in the fuzzer itself: repeat it with --first {last}.")
            number = os.WTERMSIG(status)
            name = Random(last).choice(seeds).name
            if number == signal.SIGPROF:
                result.outcomes["slow"] += 1
            else:
                result.deaths[last] = (name, number)
            print(f"case {last}: {name} ended by {number}", flush=True)
    progress.unlink()
    return result


def seeds_from_a_child(names: Sequence[str]) -> list[Seed]:
    """Fit in a child: a process that has used OpenMP cannot be forked."""
    file = Path(tempfile.mkstemp()[1])
    if (child := os.fork()) == 0:
        try:
            warnings.simplefilter("ignore")
            file.write_bytes(pickle.dumps(fit_seeds(names)))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise SystemExit("The seeds cannot be fitted.")
    seeds: list[Seed] = pickle.loads(file.read_bytes())
    file.unlink()
    return seeds


def main() -> None:
    """Fuzz, print the outcomes, and exit with 1 if a signal ended a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--all", action="store_true", help="every estimator of scikit-learn")
    options = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = sorted(find_estimators()) if options.all else COMPILED
    seeds = seeds_from_a_child(names)
    result = fuzz(seeds, options.first, options.cases, options.seconds)
    print(f"{len(seeds)} archives: {dict(result.outcomes)}, ended by a signal: {len(result.deaths)}")
    sys.exit(1 if result.deaths else 0)


if __name__ == "__main__":
    main()
