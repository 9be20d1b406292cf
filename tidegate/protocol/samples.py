# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Sample rows: random feature values that a contract allows.

Training compares the engines on such rows, and load tests send them.
"""

import random
from datetime import date, datetime, timedelta

from tidegate.contract import Contract, Datatype, Feature, Scalar

_MISSING_RATIO = 0.1


def sample_rows(contract: Contract, count: int, seed: int) -> list[list[Scalar]]:
    """Draw rows with known categories and values within the ranges observed in training.

    Free texts are made of the words of the golden requests. Of a feature that may be missing, about one value
    in ten is None.

    Args:
        contract: The contract whose features are drawn.
        count: The number of rows.
        seed: The same seed gives the same rows, in every process.

    Returns:
        One list of values per row, in the order of the features.
    """
    generator = random.Random(seed)
    words = [_golden_words(contract, index) for index in range(len(contract.features))]
    return [
        [_sample(feature, words[index], generator) for index, feature in enumerate(contract.features)]
        for _ in range(count)
    ]


def _golden_words(contract: Contract, index: int) -> list[list[str]]:
    """Return the words of each golden text of a free text, by the feature's index; none of other features."""
    if not contract.features[index].is_free_text:
        return []
    return [
        text.split() for row in contract.golden.rows if isinstance(text := row[index], str) and text.split()
    ]


def _sample(feature: Feature, words: list[list[str]], generator: random.Random) -> Scalar:
    if feature.missing and generator.random() < _MISSING_RATIO:
        return None
    if feature.is_free_text:
        words = words or [["text"]]
        # As many words as one of the texts has, each from any of them.
        length = len(generator.choice(words))
        return " ".join(generator.choice(generator.choice(words)) for _ in range(length))
    if feature.categories is not None:
        return generator.choice(feature.categories) if feature.categories else ""
    if feature.format is not None:
        return _sample_time(feature, generator)
    low = feature.minimum if feature.minimum is not None else 0.0
    high = feature.maximum if feature.maximum is not None else 1.0
    if feature.datatype is Datatype.BOOL:
        return generator.random() < 0.5
    if feature.datatype.is_integer:
        return generator.randint(int(low), int(high))
    # Clients usually send about six digits; with more, a load test would measure the parsing of digits.
    low, high = float(low), float(high)
    return min(max(float(f"{generator.uniform(low, high):.6g}"), low), high)


def _sample_time(feature: Feature, generator: random.Random) -> str:
    """Draw a date, or a time in whole seconds, within the range."""
    low, high = (
        datetime.fromisoformat(str(limit or "2000-01-01")) for limit in (feature.minimum, feature.maximum)
    )
    if feature.format == "date":
        return date.fromordinal(generator.randint(low.toordinal(), high.toordinal())).isoformat()
    return (low + timedelta(seconds=generator.randint(0, int((high - low).total_seconds())))).isoformat()
