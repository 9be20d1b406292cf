# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tests.support.bundles import contract
from tidegate.protocol.samples import sample_rows


def test_sample_rows_stay_within_the_contract():
    rows = sample_rows(contract(), 500, seed=1)
    lengths, counts, ripe, colours = zip(*rows, strict=True)
    assert all(value is None or 1.0 <= value <= 7.0 for value in lengths)
    assert set(counts) == set(range(10))
    assert set(ripe) == {True, False}
    assert set(colours) == {None, "blue", "red"}
    assert 20 < lengths.count(None) < 100


def test_sample_rows_of_the_same_seed_are_the_same():
    assert sample_rows(contract(), 20, seed=1) == sample_rows(contract(), 20, seed=1)
    assert sample_rows(contract(), 20, seed=1) != sample_rows(contract(), 20, seed=2)
