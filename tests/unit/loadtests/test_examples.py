# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The examples in docstrings are run. Modules inside Locust's process have none: they replace sockets."""

import doctest
import importlib
import pkgutil

import pytest

import tidegate_loadtests

MODULES = [
    tidegate_loadtests.__name__,
    *(
        module.name
        for module in pkgutil.iter_modules(tidegate_loadtests.__path__, f"{tidegate_loadtests.__name__}.")
        if not module.ispkg
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_give_their_outputs(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_package_docstring_has_an_example() -> None:
    assert doctest.DocTestFinder().find(tidegate_loadtests)[0].examples
