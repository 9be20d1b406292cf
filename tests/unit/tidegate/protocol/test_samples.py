# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tests.support import contracts
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


def test_sample_rows_free_texts_have_the_words_of_golden_texts():
    rows = [["red lamp", None], ["blue desk lamp", None], [None, None]]
    features = [
        {"name": "remark", "datatype": "BYTES", "missing": True},
        {"name": "note", "datatype": "BYTES"},
    ]
    remarks, notes = zip(*sample_rows(contracts.contract(features, rows=rows), 200, seed=1), strict=True)
    texts = [text for text in remarks if text is not None]
    assert {len(text.split()) for text in texts} == {2, 3}
    assert {word for text in texts for word in text.split()} == {"red", "blue", "desk", "lamp"}
    assert None in remarks
    assert set(notes) == {"text"}


def test_sample_rows_dates_are_within_their_range():
    limits = {"minimum": "2024-02-27", "maximum": "2024-03-01"}
    times = {"minimum": "2024-02-27T23:59:58", "maximum": "2024-02-28T00:00:01.5"}
    features = [
        {"name": "day", "datatype": "BYTES", "format": "date"} | limits,
        {"name": "time", "datatype": "BYTES", "format": "date-time"} | times,
        {"name": "any", "datatype": "BYTES", "format": "date"},
    ]
    days, moments, other = zip(*sample_rows(contracts.contract(features), 100, seed=1), strict=True)
    assert set(days) == {"2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"}
    assert {"2024-02-27T23:59:58", "2024-02-28T00:00:01"} <= set(moments)
    assert set(other) == {"2000-01-01"}
