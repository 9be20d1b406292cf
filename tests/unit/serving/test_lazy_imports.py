# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import importlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tidegate_serving._lazy_imports import hidden, postponed, without_init

PACKAGE = {
    "estuary/__init__.py": "from .water import water, level\nfrom .far import FAR\nRAN = True\n",
    "estuary/water.py": (
        "import heavy\nfrom cheap.tools import weigh\nfrom . import near\n"
        "def water(mass: heavy.Mass) -> 'heavy.Mass':\n    return heavy.double(mass)\n"
        "def level() -> int:\n    return weigh(7)\n"
    ),
    "estuary/near.py": "NEAR = True\n",
    "estuary/far.py": "FAR = True\n",
    "heavy/__init__.py": "Mass = int\ndef double(mass):\n    return 2 * mass\n",
    "cheap/__init__.py": "",
    "cheap/tools.py": "def weigh(mass):\n    return mass\n",
}


@pytest.fixture(autouse=True)
def _packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a slow ``__init__``, which uses a slow library."""
    for name, content in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in _imported():
        del sys.modules[name]


def _imported() -> list[str]:
    return sorted(name for name in sys.modules if name.partition(".")[0] in ("cheap", "estuary", "heavy"))


def _import_lazily() -> None:
    with without_init("estuary"), postponed("heavy", "cheap.tools"):
        importlib.import_module("estuary.water")


def test_without_init_imports_a_submodule_only() -> None:
    _import_lazily()
    assert _imported() == ["estuary", "estuary.near", "estuary.water"]


def test_without_init_runs_the_init_on_first_use() -> None:
    _import_lazily()
    water = sys.modules["estuary.water"]
    estuary = importlib.import_module("estuary")
    assert "RAN" not in vars(estuary)
    assert estuary.RAN is True
    assert estuary.FAR is True
    assert estuary.water is water.water, "the package's own name wins over its submodule's"
    assert estuary.near.NEAR is True
    assert importlib.import_module("estuary") is estuary
    assert importlib.reload(estuary).RAN is True


def test_without_init_submodule_name_runs_the_init_first() -> None:
    _import_lazily()
    estuary = importlib.import_module("estuary")
    assert callable(estuary.water), "the __init__ gives the submodule's name to a function"
    assert "RAN" in vars(estuary)


def test_without_init_a_from_import_runs_the_init() -> None:
    _import_lazily()
    names: dict[str, object] = {}
    exec("from estuary import FAR, near", names)
    assert names["FAR"] is True
    assert names["near"] is sys.modules["estuary.near"]


def test_without_init_missing_attribute_is_an_attribute_error() -> None:
    _import_lazily()
    estuary = sys.modules["estuary"]
    with pytest.raises(AttributeError, match="'estuary' has no attribute 'mud'"):
        _ = estuary.mud
    assert "RAN" in vars(estuary)


def test_without_init_optional_names_do_not_run_the_init() -> None:
    _import_lazily()
    estuary = sys.modules["estuary"]
    assert not hasattr(estuary, "__wrapped__")
    assert "RAN" not in vars(estuary)


def test_without_init_two_threads_run_the_init_once(tmp_path: Path) -> None:
    (tmp_path / "estuary" / "__init__.py").write_text("import gate\ngate.wait()\nFAR = True\n")
    entered, opened = threading.Event(), threading.Event()
    runs: list[bool] = []

    def wait() -> None:
        runs.append(True)
        entered.set()
        assert opened.wait(30)

    gate = type(sys)("gate")
    vars(gate)["wait"] = wait
    sys.modules["gate"] = gate
    try:
        _import_lazily()
        estuary = sys.modules["estuary"]
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(getattr, estuary, "FAR")
            assert entered.wait(30)
            second = pool.submit(getattr, estuary, "FAR")
            opened.set()
            assert first.result(30) is True
            assert second.result(30) is True
    finally:
        del sys.modules["gate"]
    assert runs == [True]


def test_without_init_of_an_absent_package_fails_as_usual() -> None:
    with without_init("estuary_of_nowhere"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("estuary_of_nowhere.water")


def test_postponed_module_is_imported_on_first_use() -> None:
    _import_lazily()
    water = sys.modules["estuary.water"]
    assert water.water(4) == 8
    assert "heavy" in sys.modules
    assert "cheap.tools" not in sys.modules
    assert water.level() == 7
    assert "cheap.tools" in sys.modules


def test_postponed_module_is_itself_when_imported_later() -> None:
    _import_lazily()
    heavy = importlib.import_module("heavy")
    assert heavy is not vars(sys.modules["estuary.water"])["heavy"]
    assert heavy.Mass is int
    assert importlib.import_module("cheap.tools").weigh(1) == 1


def test_postponed_module_has_no_optional_names() -> None:
    with postponed("heavy"):
        stand_in = importlib.import_module("heavy")
        assert not hasattr(stand_in, "__path__")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("heavy.part")
    assert "heavy" not in sys.modules


def test_lazy_imports_leave_imported_modules_unchanged() -> None:
    estuary, heavy = importlib.import_module("estuary"), importlib.import_module("heavy")
    _import_lazily()
    assert sys.modules["estuary"] is estuary
    assert sys.modules["estuary.water"].heavy is heavy


def test_hidden_module_is_importable_after_the_block_only() -> None:
    with hidden("cheap.tools"), pytest.raises(ImportError):
        importlib.import_module("cheap.tools")
    assert importlib.import_module("cheap.tools").weigh(1) == 1
    with hidden("cheap.tools"):
        assert importlib.import_module("cheap.tools").weigh(1) == 1
