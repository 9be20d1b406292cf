# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What is made from a schema is what is committed."""

import importlib.util

import pytest

from tests.charts.chart import HELM

_spec = importlib.util.spec_from_file_location("generate", HELM / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)

RESULTS = list(generate.results())


@pytest.mark.parametrize(("path", "text"), RESULTS, ids=[path.name for path, _ in RESULTS])
def test_what_is_generated_is_up_to_date(path, text) -> None:
    assert path.read_text() == text, f"{path} is out of date: run 'python helm/generate.py'"


def test_a_schema_for_helm_has_no_prose_but_keeps_a_value_of_that_name() -> None:
    schema = {"description": "prose", "properties": {"description": {"type": "string", "examples": ["x"]}}}
    assert generate.stripped(schema) == {"properties": {"description": {"type": "string"}}}
