# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Take a cluster down, whole or half made, and leave the machine as it was.

Nothing is deleted through the API: processes end, mounts, cgroups and the namespace go, and then the
folder. It works from the record, so also after `kill -9` of `up` at any point, and it ends by looking
whether anything is left. What has our names and is in no record was made by somebody else: it refuses to
touch that, and says so.
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

GRACE = 3.0


def down(layout: Layout, progress: Progress) -> None:
    """Take down the cluster of this layout, if there is one, and clear what a killed build left in the cache.

    Raises:
        ClusterError: if something could not be removed, or is of our name and not ours.
    """
    with locked(layout.cluster_lock, "the cluster", wait=False):
        clear(layout, progress)


def clear(layout: Layout, progress: Progress) -> None:
    """Take it down; the caller holds the cluster's lock."""
    runner = Runner()
    record = Record.open(layout.record)
    if record is not None:
        with progress.step("take the cluster down"):
            left = _remove_cluster(layout, record.state, runner)
        if left:
            raise ClusterError("The cluster is not wholly gone. Left:\n" + "\n".join(left))
        _remove_folder(layout)
    cache.clear(layout, progress)
    refuse_strangers(layout)
    # At most a beginning without a record, or what a killed `down` left of the folder.
    shutil.rmtree(layout.state, ignore_errors=True)


def _remove_folder(layout: Layout) -> None:
    """Remove the state folder; the record goes last, because without it the rest belongs to nobody."""
    for path in layout.state.iterdir():
        if path == layout.record:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(layout.state)


def refuse_strangers(layout: Layout) -> None:
    """Hold that nothing of our names is there, once our own has gone.

    Raises:
        ClusterError: with what is there; it may be another user's cluster.
    """
    if found := strangers(network.exists(), cgroups.existing(), mounts.now_below(layout.state)):
        raise ClusterError(
            f"There is {', '.join(found)}, which the cluster of {layout.state} did not make: it is left as "
            "it is, and no cluster starts beside it; take down the cluster that it belongs to, or remove it."
        )


def strangers(namespace: bool, groups: Sequence[Path], points: Sequence[Path]) -> list[str]:
    """Name what has our names.

    >>> strangers(True, [Path("/sys/fs/cgroup/tidegate")], [])
    ['the network namespace tidegate', 'the control group /sys/fs/cgroup/tidegate']
    """
    found = [f"the network namespace {network.NAMESPACE}"] if namespace else []
    found += [f"the control group {group}" for group in groups]
    return found + [f"the mount {point}" for point in points]


def _remove_cluster(layout: Layout, state: State, runner: Runner) -> list[str]:
    sockets = kernel.shim_sockets(layout.state)
    this_boot = state.boot_id == current_boot_id()
    # Neither outlives a boot, so what there is after one is not ours.
    prepared = this_boot and state.prepared
    if this_boot:
        _end_processes(state, pods=prepared)
        kernel.restore_settings(state.kernel_settings)
    left = [f"mount {point}" for point in mounts.unmount_below(layout.state, runner)]
    if prepared:
        left += [f"cgroup {path}" for path in cgroups.remove()]
        network.remove(runner, folder_was_mounted=state.netns_folder_was_mounted)
        left += [f"network namespace {network.NAMESPACE}"] if network.exists() else []
    kernel.remove_traces(layout.state, sockets, state.made_folders)
    left += [f"process {found.pid} ({found.name})" for found in process.carrying(state.token)]
    return left


def _end_processes(state: State, *, pods: bool) -> None:
    """End everything in an order in which nothing that has ended is started again.

    Args:
        state: what was started.
        pods: whether the control groups of our name are ours, so that what runs in them may be killed.
    """
    runtime = [started for started in state.processes if started.name == "containerd"]
    managers = [started for started in state.processes if started.name != "containerd"]
    # What `up` had running when it was killed, such as an import or a build, is known by its token alone.
    keepers = {"containerd", "containerd-shim"}
    for found in process.carrying(state.token):
        if found.name not in keepers and found.pid not in {started.pid for started in managers}:
            process.send(found.pid, SIGKILL)
    process.stop(reversed(managers), GRACE)
    if pods:
        cgroups.kill_all()
    shims = [found for found in process.carrying(state.token) if found.name == "containerd-shim"]
    process.stop(shims, grace=0)
    process.stop(runtime, GRACE)
    process.stop(process.carrying(state.token), grace=0)
