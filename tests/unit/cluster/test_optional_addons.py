# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import io
from pathlib import Path

import pytest
import yaml

from tools.cluster import optional_addons
from tools.cluster.addons import MANIFESTS, fill
from tools.cluster.command import Runner
from tools.cluster.errors import ClusterError
from tools.cluster.kubectl import Kubectl
from tools.cluster.layout import Layout
from tools.cluster.optional_addons import OPTIONAL_ADDONS, Installer, OptionalAddon
from tools.cluster.progress import Progress
from tools.cluster.toolchain import Toolchain

ADDONS = pytest.mark.parametrize("addon", OPTIONAL_ADDONS.values(), ids=lambda addon: addon.name)


def built(addon: OptionalAddon, folder: Path) -> Toolchain:
    """Return the add-on's tool sets as if they were built, with an empty file for all that they carry."""
    for tool_set in addon.tool_sets:
        for name in tool_set.carries:
            carried = folder / tool_set.name / "share" / name
            carried = carried if carried.suffix else carried / "default" / "kustomization.yaml"
            carried.parent.mkdir(parents=True)
            carried.touch()
    names = [tool_set.name for tool_set in addon.tool_sets]
    return Toolchain({name: folder / name for name in names}, dict.fromkeys(names, "v1"))


@ADDONS
def test_kustomization_resources_exist(addon: OptionalAddon, tmp_path: Path) -> None:
    tools = built(addon, tmp_path / "tools")
    values = optional_addons.placeholders(addon.system_images(tools))
    optional_addons.write_kustomization(addon, tools, values, tmp_path / "out")
    kustomization = yaml.safe_load((tmp_path / "out" / "kustomization.yaml").read_text())
    assert all((tmp_path / "out" / resource).exists() for resource in kustomization["resources"])
    assert all(image["newTag"] == "v1" for image in kustomization["images"])


@ADDONS
def test_manifests_have_a_value_for_each_placeholder(addon: OptionalAddon, tmp_path: Path) -> None:
    values = optional_addons.placeholders(addon.system_images(built(addon, tmp_path)))
    for manifest in (MANIFESTS / addon.name).iterdir():
        assert "$" not in fill(f"{addon.name}/{manifest.name}", values)


def test_manifests_belong_to_the_addons() -> None:
    assert {path.name for path in MANIFESTS.iterdir() if path.is_dir()} == set(OPTIONAL_ADDONS)


def test_install_unknown_addon_names_the_known_ones(layout: Layout) -> None:
    runner, progress = Runner(), Progress(io.StringIO())
    installer = Installer(layout, Kubectl(Path("kubectl"), layout, runner), runner, progress)
    with pytest.raises(ClusterError, match="'other'; choose from keda, prometheus"):
        installer.install("other")
