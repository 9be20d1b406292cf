# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Remove a cluster, complete or incomplete, and restore the machine's settings.

It does not use the Kubernetes API: it ends the processes, removes mounts, cgroups and the network namespace,
and then the state folder. It works from the record, so it works after a `kill -9` of `up` at any point. A
resource with the cluster's name but without a record belongs to another user: it stays, and that is an error.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from signal import SIGKILL

from . import cache, cgroups, kernel, mounts, network, process
from .command import Runner
from .errors import ClusterError
from .layout import Layout
from .progress import Progress
from .state import Record, State, current_boot_id, locked

GRACE_SECONDS = 3.0


def down(layout: Layout, progress: Progress) -> None:
    """Remove the cluster of this layout, if there is one, and the remains of a killed build.

    Raises:
        ClusterError: If a resource cannot be removed, or has the cluster's name and belongs to another user.
    """
    with locked(layout.cluster_lock, "the cluster", wait=False):
        clear(layout, progress)


def clear(layout: Layout, progress: Progress) -> None:
    """Remove the cluster; the caller holds its lock."""
    runner = Runner()
    record = Record.open(layout.record)
    if record is not None:
        with progress.step("remove the cluster"):
            remaining = _remove_cluster(layout, record.state, runner)
        if remaining:
            raise ClusterError("The cluster is not completely removed. Remaining:\n" + "\n".join(remaining))
        _remove_folder(layout)
    cache.clear(layout, progress)
    reject_foreign_resources(layout)
    # A folder without a record: `up` or `down` was killed right after its first or before its last step.
    shutil.rmtree(layout.state, ignore_errors=True)


def _remove_folder(layout: Layout) -> None:
    """Remove the state folder; the record goes last, because it proves that the rest is the cluster's."""
    for path in layout.state.iterdir():
        if path == layout.record:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(layout.state)


def reject_foreign_resources(layout: Layout) -> None:
    """Check that no resource has the cluster's names, after the cluster's own ones have been removed.

    Raises:
        ClusterError: If there is one, which may belong to another user's cluster.
    """
    points = mounts.current_points_below(layout.state)
    if resources := foreign_resources(network.exists(), cgroups.existing(), points):
        raise ClusterError(
            f"There is {', '.join(resources)}, which the cluster of {layout.state} did not create. It stays, "
            "and no second cluster can start: take down the cluster that it belongs to, or remove it."
        )


def foreign_resources(namespace: bool, groups: Sequence[Path], points: Sequence[Path]) -> list[str]:
    """Describe the resources that have the cluster's names.

    >>> foreign_resources(True, [Path("/sys/fs/cgroup/tidegate")], [])
    ['the network namespace tidegate', 'the control group /sys/fs/cgroup/tidegate']

    Args:
        namespace: Whether the network namespace exists.
        groups: The cgroups.
        points: The mount points.
    """
    resources = [f"the network namespace {network.NAMESPACE}"] if namespace else []
    resources += [f"the control group {group}" for group in groups]
    return resources + [f"the mount {point}" for point in points]


def _remove_cluster(layout: Layout, state: State, runner: Runner) -> list[str]:
    sockets = kernel.shim_sockets(layout.state)
    this_boot = state.boot_id == current_boot_id()
    # Namespaces and cgroups end with a boot, so existing ones are not from this record.
    prepared = this_boot and state.prepared
    if this_boot:
        _end_processes(state, pods=prepared)
        kernel.restore_settings(state.kernel_settings)
    remaining = [f"mount {point}" for point in mounts.unmount_below(layout.state, runner)]
    if prepared:
        remaining += [f"cgroup {path}" for path in cgroups.remove()]
        network.remove(runner, folder_was_mounted=state.netns_folder_was_mounted)
        remaining += [f"network namespace {network.NAMESPACE}"] if network.exists() else []
    kernel.remove_traces(layout.state, sockets, state.made_folders)
    remaining += [f"process {found.pid} ({found.name})" for found in process.find_by_token(state.token)]
    return remaining


def _end_processes(state: State, *, pods: bool) -> None:
    """End the processes in an order in which no ended process is restarted.

    Args:
        state: The record's content.
        pods: Whether the cgroups are the cluster's, so that their processes may be killed.
    """
    runtime = [started for started in state.processes if started.name == "containerd"]
    managers = [started for started in state.processes if started.name != "containerd"]
    # Programs of a killed `up`, such as an import or a build, are known only by their token.
    runtime_names = {"containerd", "containerd-shim"}
    for found in process.find_by_token(state.token):
        if found.name not in runtime_names and found.pid not in {started.pid for started in managers}:
            process.send_signal(found.pid, SIGKILL)
    process.stop(reversed(managers), GRACE_SECONDS)
    if pods:
        cgroups.kill_all()
    shims = [found for found in process.find_by_token(state.token) if found.name == "containerd-shim"]
    process.stop(shims, grace=0)
    process.stop(runtime, GRACE_SECONDS)
    process.stop(process.find_by_token(state.token), grace=0)
