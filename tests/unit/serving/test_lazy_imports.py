# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tidegate_serving._lazy_imports import deferring, without

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
    """A package with a costly ``__init__`` that uses a costly library."""
    for name, content in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in _imported():
        del sys.modules[name]


def _imported() -> list[str]:
    return sorted(name for name in sys.modules if name.partition(".")[0] in ("cheap", "estuary", "heavy"))


def _defer() -> None:
    with deferring("estuary", "heavy", "cheap.tools"):
        importlib.import_module("estuary.water")


def test_a_submodule_is_imported_without_its_package_and_its_libraries() -> None:
    _defer()
    assert _imported() == ["cheap", "estuary", "estuary.near", "estuary.water"]


def test_what_was_put_off_is_imported_when_it_is_first_used() -> None:
    _defer()
    water = sys.modules["estuary.water"]
    assert water.water(4) == 8
    assert "heavy" in sys.modules
    assert "cheap.tools" not in sys.modules
    assert water.level() == 7
    assert "cheap.tools" in sys.modules


def test_who_imports_a_deferred_library_later_gets_the_library_itself() -> None:
    _defer()
    heavy = importlib.import_module("heavy")
    assert heavy is not vars(sys.modules["estuary.water"])["heavy"]
    assert heavy.Mass is int
    assert importlib.import_module("cheap.tools").weigh(1) == 1


def test_the_package_is_whole_when_an_attribute_of_it_is_asked_for() -> None:
    _defer()
    water = sys.modules["estuary.water"]
    estuary = importlib.import_module("estuary")
    assert "RAN" not in vars(estuary)
    assert estuary.RAN is True
    assert estuary.FAR is True
    assert estuary.water is water.water, "the package's own name wins over its submodule's"
    assert estuary.near.NEAR is True
    assert importlib.import_module("estuary") is estuary
    assert importlib.reload(estuary).RAN is True


def test_an_attribute_that_the_package_lacks_is_an_attribute_error() -> None:
    _defer()
    estuary = sys.modules["estuary"]
    with pytest.raises(AttributeError, match="'estuary' has no attribute 'mud'"):
        _ = estuary.mud
    assert "RAN" in vars(estuary)


def test_what_is_imported_already_is_left_alone() -> None:
    estuary, heavy = importlib.import_module("estuary"), importlib.import_module("heavy")
    _defer()
    assert sys.modules["estuary"] is estuary
    assert sys.modules["estuary.water"].heavy is heavy


def test_a_package_that_is_not_there_is_missing_as_ever() -> None:
    with deferring("estuary_of_nowhere"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("estuary_of_nowhere.water")


def test_within_a_block_a_hidden_module_is_not_installed_and_after_it_is() -> None:
    with without("cheap.tools"), pytest.raises(ImportError):
        importlib.import_module("cheap.tools")
    assert importlib.import_module("cheap.tools").weigh(1) == 1
    with without("cheap.tools"):
        assert importlib.import_module("cheap.tools").weigh(1) == 1


def _python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_kserve_works_as_a_whole_after_serving_has_imported_a_part_of_it() -> None:
    program = (
        "import tidegate_serving._kserve, sys;"
        "assert 'kserve.api' not in sys.modules and 'pandas' not in sys.modules;"
        "import kserve, httpx;"
        "from kserve import KServeClient, V1beta1InferenceService as Service;"
        "tensor = kserve.InferInput('a', [2], 'INT64', [1, 2]);"
        "frame = kserve.InferRequest('m', [tensor]).as_dataframe();"
        "import pandas;"
        "assert isinstance(frame, pandas.DataFrame) and list(frame['a']) == [1, 2];"
        "assert kserve.utils.cpu_count() >= 1;"
        "assert kserve.Model is tidegate_serving._kserve.Model and kserve.ModelServer is tidegate_serving._kserve.ModelServer;"
        "assert callable(httpx.main) and Service(kind='InferenceService').kind == 'InferenceService';"
        "print(kserve.constants.KSERVE_KIND_INFERENCESERVICE, KServeClient.__module__)"
    )
    assert _python(program) == "InferenceService kserve.api.kserve_client"
