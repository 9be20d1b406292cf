# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import io
import platform
import shutil
from pathlib import Path

import pytest

from tests.charts.kube_score import KUBE_SCORE
from tests.h2spec.command import H2SPEC
from tests.support.ghz import GHZ
from tools.cluster import network_policies, toolchain
from tools.cluster.command import Runner
from tools.cluster.errors import ClusterError
from tools.cluster.layout import Layout
from tools.cluster.optional_addons import OPTIONAL_ADDONS
from tools.cluster.progress import Progress
from tools.cluster.toolchain import HELM_3, TOOL_SETS, Toolchain, ToolSet

SET = ToolSet("one", "example.test/one", "1 s")
ALL_TOOL_SETS = [
    *TOOL_SETS,
    HELM_3,
    network_policies.TOOL_SET,
    *(tool_set for addon in OPTIONAL_ADDONS.values() for tool_set in addon.tool_sets),
    KUBE_SCORE,
    H2SPEC,
    GHZ,
]


@pytest.mark.parametrize("tool_set", ALL_TOOL_SETS, ids=lambda tool_set: tool_set.name)
def test_tool_set_pins_its_module_and_holds_no_code(tool_set: ToolSet) -> None:
    folder = toolchain.DEFINITIONS / tool_set.name
    assert sorted(path.name for path in folder.iterdir()) == ["go.mod", "go.sum"]
    assert toolchain.module_version((folder / "go.mod").read_text(), tool_set.module).startswith("v")


def test_tool_sets_cover_every_definition() -> None:
    folders = {path.name for path in toolchain.DEFINITIONS.iterdir()}
    assert folders == {tool_set.name for tool_set in ALL_TOOL_SETS} | {"envoy"}


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("require example.test/one v1.2.3", "example.test/one"),
        ("\texample.test/one v1.2.3 // indirect", "example.test/one"),
        ("\texample.test/one/v3 v1.2.3", "example.test/one/v3"),
    ],
)
def test_module_version_is_read_from_go_mod(line: str, module: str) -> None:
    assert toolchain.module_version(f"module m\n\n{line}\n", module) == "v1.2.3"


def test_module_version_of_a_longer_path_raises() -> None:
    with pytest.raises(ClusterError, match="not required"):
        toolchain.module_version("require example.test/one/more v1.0.0", "example.test/one")


def test_cache_key_changes_with_each_input() -> None:
    keys = {
        toolchain.cache_key(SET, b"mod", b"sum", "x86_64"),
        toolchain.cache_key(SET, b"mod2", b"sum", "x86_64"),
        toolchain.cache_key(SET, b"mod", b"sum2", "x86_64"),
        toolchain.cache_key(SET, b"mod", b"sum", "aarch64"),
        toolchain.cache_key(dataclasses.replace(SET, link_flags="-X a=b"), b"mod", b"sum", "x86_64"),
        toolchain.cache_key(dataclasses.replace(SET, carries={"a": "b"}), b"mod", b"sum", "x86_64"),
        toolchain.cache_key(dataclasses.replace(SET, tags="a"), b"mod", b"sum", "x86_64"),
        # Bytes that move from one file to the other.
        toolchain.cache_key(SET, b"mods", b"um", "x86_64"),
    }
    assert len(keys) == 8


def test_cache_key_ignores_the_build_time() -> None:
    other = dataclasses.replace(SET, build_time="2 s")
    assert toolchain.cache_key(other, b"", b"", "x") == toolchain.cache_key(SET, b"", b"", "x")


def test_link_into_links_all_commands(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / f"command-{name}").touch()
    tools = Toolchain({"a": tmp_path / "a", "b": tmp_path / "b"}, {})
    tools.link_into(tmp_path / "links")
    assert sorted(path.name for path in (tmp_path / "links").iterdir()) == ["command-a", "command-b"]


def test_carried_missing_file_raises_its_name(tmp_path: Path) -> None:
    (tmp_path / "share" / "chart").mkdir(parents=True)
    tools = Toolchain({"a": tmp_path}, {})
    assert tools.carried("chart") == tmp_path / "share" / "chart"
    with pytest.raises(ClusterError, match="carries other"):
        tools.carried("other")


def test_cached_build_ignores_the_path_of_its_definition(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = TOOL_SETS[0]
    source = toolchain.DEFINITIONS / first.name
    go_mod, go_sum = ((source / name).read_bytes() for name in ("go.mod", "go.sum"))
    key = toolchain.cache_key(first, go_mod, go_sum, platform.machine())
    (layout.tools / key).mkdir(parents=True)
    shutil.copytree(source, tmp_path / "moved" / first.name)
    monkeypatch.setattr(toolchain, "DEFINITIONS", tmp_path / "moved")
    tools = toolchain.ensure(layout, Runner(), Progress(io.StringIO()), (first,))
    assert tools.folders[first.name] == layout.tools / key
