# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The examples in docstrings run, in a temporary folder, and the public packages begin with one."""

import ast
import doctest
import importlib
import pkgutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "tidegate",
    "tidegate_serving",
    "tidegate_training",
    "tidegate_loadtests",
    "tidegate_rollout",
    "benchmarks",
    "tools",
    "tests",
)
PUBLIC = ("tidegate.bundle", "tidegate.store", "tidegate_serving", "tidegate_training", "tidegate_loadtests")
REPLACES_SOCKETS = "tidegate_loadtests.locust"
"""A package whose import patches the standard library with gevent, so that it cannot run here."""
FOREIGN = "benchmarks.peers"
"""Scripts for environments of their own, with packages that are not installed here."""


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of every module, without importing any of them."""
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        yield from _below(package, Path(next(iter(spec.submodule_search_locations))))


def _below(name: str, folder: Path) -> Iterator[tuple[str, Path]]:
    if (folder / "__init__.py").exists():
        yield name, folder / "__init__.py"
    for module in pkgutil.iter_modules([str(folder)], f"{name}."):
        if module.ispkg:
            yield from _below(module.name, folder / module.name.rpartition(".")[2])
        else:
            yield module.name, folder / f"{module.name.rpartition('.')[2]}.py"


def has_example(file: Path) -> bool:
    """Return whether a docstring in the file has an example."""
    source = file.read_bytes()
    if b">>> " not in source:  # most files, and parsing takes long
        return False
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    return any(">>> " in (ast.get_docstring(node) or "") for node in nodes)


EXAMPLES = {name: file for name, file in modules() if has_example(file)}
RUNNABLE = [name for name in EXAMPLES if not f"{name}.".startswith((f"{REPLACES_SOCKETS}.", f"{FOREIGN}."))]


@pytest.mark.parametrize("name", RUNNABLE)
def test_examples_of_module_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples failed: see the output above"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_module_begins_with_an_example(name: str) -> None:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())) or ""
    assert ">>> " in docstring
    assert name in RUNNABLE


def test_modules_without_a_run_have_no_examples() -> None:
    assert set(EXAMPLES) - set(RUNNABLE) == set()


def test_modules_cover_every_package() -> None:
    names = {name for name, _ in modules()}
    assert {*PUBLIC, "tidegate.kubernetes.pods", "tidegate_loadtests.locust.users", "tests.e2e.kube"} <= names
    assert {name.partition(".")[0] for name in names} == set(PACKAGES)


def test_has_example_finds_examples_in_docstrings_only(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    for source, expected in (
        ('def f():\n    """Return 1.\n\n    >>> f()\n    1\n    """\n', True),
        ('class C:\n    """A class."""\n\ntext = ">>> f()"\n', False),
    ):
        file.write_text(source)
        assert has_example(file) is expected
