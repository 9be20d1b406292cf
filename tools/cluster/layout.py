# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The paths of the test cluster: the cache, which stays, and the state folder, which `down` removes.

Built commands, image archives and buildah's storage take long to build, so they stay in the cache. All other
files belong to one cluster and lie in the state folder. This module names paths; it creates and deletes none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one user's test cluster.

    Args:
        cache: The folder that stays between clusters.
        state: The folder of one cluster; `down` removes it.
    """

    cache: Path
    state: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Layout":
        """Return the paths below the user's XDG base directories."""
        home = Path(environ["HOME"])
        cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
        state = Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state")
        return cls(cache=cache / "tidegate", state=state / "tidegate" / "cluster")

    @property
    def tools(self) -> Path:
        """Built commands, one folder per tool set and version."""
        return self.cache / "tools"

    @property
    def archives(self) -> Path:
        """The system images as OCI archives, ready for import."""
        return self.cache / "archives"

    @property
    def storage(self) -> Path:
        """Buildah's own image storage."""
        return self.cache / "storage"

    @property
    def storage_run(self) -> Path:
        """Buildah's records of mounted containers."""
        return self.cache / "storage-run"

    @property
    def cache_lock(self) -> Path:
        """The lock of a build into the cache."""
        return self.cache / "lock"

    @property
    def cluster_lock(self) -> Path:
        """The lock of `up` and `down`, outside the state folder because `down` removes that."""
        return self.state.with_name("cluster.lock")

    @property
    def run_lock(self) -> Path:
        """The lock of a command that needs the cluster to stay up, or down, until the command has ended."""
        return self.state.with_name("run.lock")

    @property
    def record(self) -> Path:
        """The record of started processes and changed settings; `down` reads it."""
        return self.state / "state.json"

    @property
    def bin(self) -> Path:
        """Links to the built commands, such as kubectl and helm, for a PATH."""
        return self.state / "bin"

    @property
    def logs(self) -> Path:
        """One log per process of the node."""
        return self.state / "logs"

    @property
    def certificates(self) -> Path:
        """The keys and certificates of this cluster."""
        return self.state / "certificates"

    @property
    def kubeconfigs(self) -> Path:
        """One kubeconfig per component."""
        return self.state / "kubeconfigs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, which tests use."""
        return self.kubeconfigs / "admin.yaml"

    @property
    def containerd_socket(self) -> Path:
        """The socket of this cluster's containerd."""
        return self.state / "containerd.sock"

    @property
    def store(self) -> Path:
        """The object store's data, one folder per bucket."""
        return self.state / "store"
