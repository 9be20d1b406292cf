# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Where the test cluster keeps its files: what may stay (the cache) and what must go (the state folder).

Built commands, image archives and buildah's storage are dear and stay. All else belongs to one cluster's
life and lies under the state folder, which `down` removes. This module names paths; it creates and deletes
none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one user's test cluster.

    Args:
        cache: kept between clusters.
        state: one cluster's life; removed by `down`.
    """

    cache: Path
    state: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Layout":
        """Follow the XDG base directories, as every other cache of the user does."""
        home = Path(environ["HOME"])
        cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
        state = Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state")
        return cls(cache=cache / "tidegate", state=state / "tidegate" / "cluster")

    @property
    def tools(self) -> Path:
        """Built commands, one folder a tool set and version."""
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
        """Buildah's bookkeeping of what is mounted."""
        return self.cache / "storage-run"

    @property
    def cache_lock(self) -> Path:
        """Held while something is built into the cache."""
        return self.cache / "lock"

    @property
    def cluster_lock(self) -> Path:
        """Held by `up` and `down`; beside the state folder, which `down` removes."""
        return self.state.with_name("cluster.lock")

    @property
    def run_lock(self) -> Path:
        """Held as long as somebody works with the cluster and does not want it to come or go meanwhile."""
        return self.state.with_name("run.lock")

    @property
    def record(self) -> Path:
        """What was started, so that it can be taken down."""
        return self.state / "state.json"

    @property
    def bin(self) -> Path:
        """Links to the built commands, kubectl and helm among them, for a PATH."""
        return self.state / "bin"

    @property
    def logs(self) -> Path:
        """One log a process of the node."""
        return self.state / "logs"

    @property
    def certificates(self) -> Path:
        """Keys and certificates of this cluster."""
        return self.state / "certificates"

    @property
    def kubeconfigs(self) -> Path:
        """One kubeconfig a component."""
        return self.state / "kubeconfigs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, the one tests use."""
        return self.kubeconfigs / "admin.yaml"

    @property
    def containerd_socket(self) -> Path:
        """Where this cluster's containerd listens."""
        return self.state / "containerd.sock"

    @property
    def store(self) -> Path:
        """The object store's folder: a bucket is a folder in it."""
        return self.state / "store"
