# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import csv
from dataclasses import asdict

from benchmarks.columns import page, write_data
from benchmarks.columns_figures import (
    GIB,
    LONG,
    WIDE,
    Data,
    ServerCost,
    TrainingCost,
    memory_figures,
    start_figures,
    training_figures,
)


def costs(power):
    """Return costs of which those of the columns grow with a power of their number."""
    name = "LogisticRegression"
    wide = [
        TrainingCost(data, name, 9.0, data.columns**power, GIB, True, data.columns**power) for data in WIDE
    ]
    return [*wide, TrainingCost(LONG, name, 9.0, 9.0, 2 * GIB, True, 1.0)]


def test_training_figures_have_the_largest_memory_of_many_rows():
    larger = TrainingCost(LONG, "HistGradientBoostingClassifier", 9.0, 9.0, 3 * GIB, True, 1.0)
    figure = list(training_figures([*costs(1), larger]))[-1]
    assert (figure.value, figure.met) == (3.0, False)


def server(name, peak_bytes, model_bytes=10**6, start_cpu_seconds=1.5):
    sizes = (model_bytes, peak_bytes, peak_bytes, 100 * 2**20)
    return ServerCost(name, "forest of 10 trees", *sizes, start_cpu_seconds)


def test_write_data_has_rows_columns_and_a_target(tmp_path):
    write_data(tmp_path, Data(20, 3, 2))
    with (tmp_path / "data.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["number0", "number1", "number2", "text0", "text1", "target"]
    assert len(rows) == 20
    assert {row[-1] for row in rows} == {"0", "1"}
    assert {row[3] for row in rows} == set("abc")


def test_write_data_with_one_seed_is_reproducible(tmp_path):
    contents = []
    for seed in (0, 0, 1):
        write_data(tmp_path, Data(5, 2, 1), seed)
        contents.append((tmp_path / "data.csv").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_training_figures_meet_their_targets_if_linear():
    assert all(figure.met for figure in training_figures(costs(1)))


def test_training_figures_miss_their_targets_if_quadratic():
    figures = {figure.key: figure.met for figure in training_figures(costs(2))}
    assert figures.pop("train_peak_gib") is True
    assert len(figures) == 6
    assert not any(figures.values())


def test_memory_figures_have_the_largest_of_each_server():
    servers = [server("tidegate", 50 * 2**20), server("tidegate", 80 * 2**20)]
    figures = list(memory_figures([*servers, server("tidegate-sklearn", 95 * 2**20)]))
    assert [figure.value for figure in figures] == [0.8, 0.95]
    assert [figure.met for figure in figures] == [True, False]


def test_start_figures_are_those_of_the_largest_bundle():
    (figure,) = start_figures(
        [server("tidegate", 1, 10**6, 9.0), server("tidegate-sklearn", 1, 5 * 10**7, 7.0)]
    )
    assert (figure.key, figure.value, figure.met) == ("big_start_cpu_s", 7.0, False)


def test_page_has_a_row_per_measurement():
    trainings, servers = costs(1), [server("tidegate", 50 * 2**20)]
    figures = [*training_figures(trainings), *memory_figures(servers)]
    text = page(
        {
            "machine": {"cores": 2, "processor": "CPU", "kernel": "6.1"},
            "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
            "trainings": [asdict(cost) | {"data": str(cost.data)} for cost in trainings],
            "servers": [asdict(cost) for cost in servers],
        }
    )
    assert (
        "| 200,000 rows, 50 columns, numbers | LogisticRegression | 9.0 | 9.0 | 2.00 | yes | 1.00 |" in text
    )
    assert "| forest of 10 trees | Tidegate | 1.00 | 1.50 | 50 | 50 | 100 |" in text
    assert "256 MiB + 16" in text
