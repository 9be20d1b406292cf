# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from tools.cluster.layout import Layout


def test_layout_xdg_variables_choose_the_folders(home_layout: Layout) -> None:
    assert home_layout.cache == Path("/cache/tidegate")
    assert home_layout.state == Path("/home/one/.local/state/tidegate/cluster")


def test_layout_empty_xdg_variable_means_the_default() -> None:
    layout = Layout.from_environment({"HOME": "/home/one", "XDG_CACHE_HOME": ""})
    assert layout.cache == Path("/home/one/.cache/tidegate")


def test_layout_only_cache_and_locks_lie_outside_the_state(home_layout: Layout) -> None:
    layout = home_layout
    kept = {layout.cache, layout.tools, layout.archives, layout.storage, layout.storage_run}
    kept |= {layout.cache_lock, layout.cluster_lock, layout.run_lock}
    everything = {value for name in dir(layout) if isinstance(value := getattr(layout, name), Path)}
    assert all(path.is_relative_to(layout.state) for path in everything - kept)
    assert not any(path.is_relative_to(layout.state) for path in kept)
