# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

from tools.hpa_oracle import golden
from tools.hpa_oracle.generator import draw_scenario
from tools.hpa_oracle.scenario import Json


def golden_scenario(number: int) -> Json:
    return next(scenario for scenario, _ in golden.read() if scenario["id"] == number)


def test_draw_scenario_same_seed_gives_the_golden_scenario() -> None:
    assert draw_scenario(0, 17) == golden_scenario(17)


def test_draw_scenario_other_number_gives_another_scenario() -> None:
    assert draw_scenario(0, 17)["syncs"] != draw_scenario(0, 18)["syncs"]
