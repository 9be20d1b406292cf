# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Small data and configurations that the training tests share."""

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.trust.policy import TRUSTED_TYPES, Policy
from tidegate_training.algorithms import ALGORITHMS, parameter_names
from tidegate_training.bundling.boosters import LIBRARY_TYPES
from tidegate_training.config import TrainingConfig

INSTALLED = [
    name
    for name, algorithm in ALGORITHMS.items()
    if algorithm.library not in ("catboost", "keras") and algorithm.task != "recommendation"
]
"""The algorithms of rows of features whose library is in each environment. ``make test-keras`` and
``make test-catboost`` test the others."""

SUPERVISED = [name for name in INSTALLED if ALGORITHMS[name].task in ("classification", "regression")]
"""The algorithms that are fitted to classes or values, on any features."""


def configuration(**fields: Any) -> TrainingConfig:
    """Return a configuration that trains in a moment, with some fields replaced."""
    defaults: dict[str, Any] = {
        "name": "test",
        "task": "classification",
        "data": {"dataset": "iris"},
        "algorithm": {"name": "LogisticRegression"},
        "preprocessing": {"numeric": {"scale": "standard"}},
    }
    return TrainingConfig.model_validate(defaults | fields)


def fast_parameters(algorithm: str) -> dict[str, Any]:
    """Return parameters with which an algorithm trains in a moment."""
    max_iter = 20 if algorithm.startswith(("HistGradientBoosting", "MLP")) else 2000
    fast = {"n_estimators": 5, "max_iter": max_iter, "max_depth": 4}
    return {key: value for key, value in fast.items() if key in parameter_names(algorithm)}


def policy_for(algorithm: str) -> Policy:
    """Return the policy that builds the archive of an algorithm: a booster needs the types of its library."""
    if ALGORITHMS[algorithm].library == "sklearn":
        return Policy()
    return Policy(TRUSTED_TYPES | LIBRARY_TYPES)


def write_loans(folder: Path, rows: int = 180) -> Path:
    """Write a CSV file with floats, integers, booleans, texts and missing values."""
    source = random.Random(0)
    file = folder / "loans.csv"
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(["age", "income", "owner", "purpose", "big", "default", "loss"])
        for row in range(rows):
            age, income = source.randint(18, 80), round(source.uniform(500, 5000), 2)
            owner, purpose = source.random() < 0.5, source.choice(["car", "house", ""])
            risk = income / 1000 - age / 20 + owner + source.gauss(0, 0.5)
            writer.writerow(
                [
                    age,
                    "" if row % 17 == 0 else income,
                    str(owner).lower(),
                    purpose,
                    source.randint(1 << 25, 1 << 33),
                    "yes" if risk > 0.5 else "no",
                    round(risk * 10, 3),
                ]
            )
    return file


def write_numbers(folder: Path, rows: int = 180) -> Path:
    """Write a CSV file with floats a to e, a float ``gap`` with missing values, a class and a value."""
    source = random.Random(0)
    file = folder / "numbers.csv"
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(["a", "b", "c", "d", "e", "gap", "class", "value"])
        for row in range(rows):
            numbers = [source.gauss(column, 1 + column) for column in range(6)]
            value = numbers[0] + numbers[1] / 2 - numbers[2] * numbers[3] / 8 + source.gauss(0, 0.5)
            label = "low" if value < -0.5 else "high" if value > 1 else "middle"
            writer.writerow([*numbers[:5], "" if row % 9 == 0 else numbers[5], label, value])
    return file


def mixed_configuration(**fields: Any) -> TrainingConfig:
    """Return a configuration for the file of :func:`write_loans`, with some fields replaced."""
    defaults: dict[str, Any] = {
        "data": {"path": "loans.csv"},
        "target": "default",
        "features": {"drop": ["loss"], "overrides": {"purpose": {"handle_unknown": "accept"}}},
        "preprocessing": {"numeric": {"impute": "median", "scale": "standard"}},
    }
    return configuration(**(defaults | fields))


def interactions() -> tuple[Any, Any, Any]:
    """Return users ``[rows, 1]``, items and weights ``[rows]``: users of a group have items of the group."""
    source = random.Random(3)
    rows = [
        (f"{group}{user}", f"{group}-{item}", source.randint(1, 3))
        for group in "abc"
        for user in range(8)
        for item in source.sample(range(10), 5)
    ]
    users, items, weights = zip(*rows, strict=True)
    return np.array(users)[:, np.newaxis], np.array(items), np.array(weights, np.float64)


def write_interactions(folder: Path) -> Path:
    """Write a CSV file with the columns user, item, weight and time."""
    users, items, weights = interactions()
    order = random.Random(4).sample(range(len(items)), len(items))
    file = folder / "interactions.csv"
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(["user", "item", "weight", "time"])
        for day, row in enumerate(order):
            writer.writerow([users[row, 0], items[row], int(weights[row]), day])
    return file


def recommendation(**fields: Any) -> TrainingConfig:
    """Return a configuration for the file of :func:`write_interactions`, with some fields replaced."""
    defaults: dict[str, Any] = {
        "name": "items",
        "task": "recommendation",
        "data": {"path": "interactions.csv"},
        "target": "item",
        "sample_weight": "weight",
        "split": {"time": "time"},
        "preprocessing": {},
        "algorithm": {"name": "ImplicitALS", "parameters": {"k": 3, "factors": 4, "iterations": 5}},
    }
    return configuration(**(defaults | fields))
