# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from the kernel's tables, and what the node's processes are told."""

from pathlib import Path

import pytest

from tools.cluster import certificates, cgroups, containerd, mounts, network, node
from tools.cluster.layout import Layout

MOUNTINFO = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
50 1 0:50 / /state/kubelet/pods/a rw - tmpfs tmpfs rw
51 1 0:51 / /state/kubelet/pods/a/b\\040c rw - tmpfs tmpfs rw
52 1 0:52 / /state-of-another rw - tmpfs tmpfs rw
"""


@pytest.fixture
def layout() -> Layout:
    return Layout.from_environment({"HOME": "/home/one", "XDG_CACHE_HOME": "/cache"})


def test_the_xdg_folders_are_followed(layout: Layout) -> None:
    assert layout.cache == Path("/cache/tidegate")
    assert layout.state == Path("/home/one/.local/state/tidegate/cluster")


def test_an_empty_xdg_variable_means_the_default() -> None:
    layout = Layout.from_environment({"HOME": "/home/one", "XDG_CACHE_HOME": ""})
    assert layout.cache == Path("/home/one/.cache/tidegate")


def test_all_that_down_removes_is_below_the_state_folder(layout: Layout) -> None:
    kept = {layout.cache, layout.tools, layout.archives, layout.storage, layout.storage_run}
    kept |= {layout.cache_lock, layout.cluster_lock, layout.run_lock}
    everything = {value for name in dir(layout) if isinstance(value := getattr(layout, name), Path)}
    assert all(path.is_relative_to(layout.state) for path in everything - kept)
    assert not any(path.is_relative_to(layout.state) for path in kept)


def test_hierarchies_of_both_versions_are_read() -> None:
    found = cgroups.hierarchies(MOUNTINFO)
    assert [str(one.mount_point) for one in found] == [
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/cpuset",
        "/sys/fs/cgroup/unified",
    ]
    assert "cpuset" in found[1].controllers


def test_mounts_below_a_folder_come_innermost_first() -> None:
    assert mounts.below(MOUNTINFO, Path("/state")) == [
        Path("/state/kubelet/pods/a/b c"),
        Path("/state/kubelet/pods/a"),
    ]


def test_the_namespace_gets_no_way_out() -> None:
    commands = [" ".join(command) for command in network.set_up_commands()]
    assert commands[0] == "ip netns add tidegate"
    assert all(f"--net={network.NAMESPACE_FILE}" in command for command in commands[1:])
    assert not any("veth" in command for command in commands)


def test_every_path_that_can_be_chosen_lies_in_the_state_folder(layout: Layout) -> None:
    text = containerd.configuration(layout, "tidegate.test/pause:1")
    paths = [line.split('"')[1] for line in text.splitlines() if '= "/' in line]
    assert {path for path in paths if not path.startswith(str(layout.state))} == {"/usr/lib/cni"}
    kubelet = node.kubelet_configuration(layout)
    for setting in ("podLogsDir", "resolvConf", "volumePluginDir"):
        assert str(kubelet[setting]).startswith(str(layout.state))


def test_the_autoscaler_is_quick(layout: Layout) -> None:
    argv = node.controller_manager(layout).argv
    assert "--horizontal-pod-autoscaler-sync-period=5s" in argv
    assert "--horizontal-pod-autoscaler-initial-readiness-delay=5s" in argv
    assert "--horizontal-pod-autoscaler-cpu-initialization-period=20s" in argv


def test_the_store_listens_where_pods_find_it(layout: Layout) -> None:
    assert f"{network.NODE_ADDRESS}:{node.STORE_PORT}" in node.store(layout).argv


def test_a_client_certificate_names_user_and_group() -> None:
    [kubelet] = [leaf for leaf in certificates.LEAVES if leaf.name == "kubelet"]
    command = certificates.leaf_command(Path("/c"), kubelet)
    assert "/O=system:nodes/CN=system:node:tidegate" in command
    assert "extendedKeyUsage=clientAuth" in command
    assert not any("subjectAltName" in word for word in command)


def test_a_serving_certificate_names_its_hosts() -> None:
    [webhook] = [leaf for leaf in certificates.LEAVES if leaf.name == "webhook"]
    command = certificates.leaf_command(Path("/c"), webhook)
    assert "extendedKeyUsage=serverAuth" in command
    assert any("DNS:kserve-webhook-server-service.kserve.svc" in word for word in command)
    assert "/c/webhook-ca.key" in command


def test_folders_are_listed_outer_before_inner_and_one_that_is_gone_is_none(tmp_path: Path) -> None:
    (tmp_path / "top" / "inner" / "innermost").mkdir(parents=True)
    assert [folder.name for folder in cgroups.folders(tmp_path / "top")] == ["top", "inner", "innermost"]
    assert cgroups.folders(tmp_path / "gone") == []
