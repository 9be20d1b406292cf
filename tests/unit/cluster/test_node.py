# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
from tools.cluster import containerd, network, node
from tools.cluster.layout import Layout


def test_containerd_uses_paths_in_the_state_folder(home_layout: Layout) -> None:
    text = containerd.configuration(home_layout, "tidegate.test/pause:1")
    paths = [line.split('"')[1] for line in text.splitlines() if '= "/' in line]
    assert {path for path in paths if not path.startswith(str(home_layout.state))} == {"/usr/lib/cni"}


def test_kubelet_uses_paths_in_the_state_folder(home_layout: Layout) -> None:
    kubelet = node.kubelet_configuration(home_layout)
    for setting in ("podLogsDir", "resolvConf", "volumePluginDir"):
        assert str(kubelet[setting]).startswith(str(home_layout.state))


def test_autoscaler_has_short_periods(home_layout: Layout) -> None:
    argv = node.controller_manager(home_layout).argv
    assert "--horizontal-pod-autoscaler-sync-period=5s" in argv
    assert "--horizontal-pod-autoscaler-initial-readiness-delay=5s" in argv
    assert "--horizontal-pod-autoscaler-cpu-initialization-period=20s" in argv


def test_store_listens_on_the_nodes_address(home_layout: Layout) -> None:
    assert f"{network.NODE_ADDRESS}:{node.STORE_PORT}" in node.store(home_layout).argv
