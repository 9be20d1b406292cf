# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes cluster with KServe on one machine, for tests on a machine without a cluster.

`up` starts the cluster or attaches to it, `Cluster.current` only attaches, `Cluster.down` removes it without
a trace. It needs root and Debian, but neither Docker nor an image registry. The cluster runs in a network
namespace of its own, which has no connection to the machine's network. Its settings fit tests only.
"""

from .cluster import Cluster
from .errors import ClusterError
from .startup import up
from .store import S3Access

__all__ = ["Cluster", "ClusterError", "S3Access", "up"]
