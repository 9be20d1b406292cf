# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import doctest
import importlib
import pkgutil

import pytest

import tidegate_training

MODULES = [
    "tidegate_training",
    *(module.name for module in pkgutil.walk_packages(tidegate_training.__path__, "tidegate_training.")),
]


@pytest.mark.parametrize("name", MODULES)
def test_module_examples_give_the_printed_results(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
    assert results.attempted > 0 or name != "tidegate_training"
