# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes cluster with KServe on one machine, for tests, when none is at hand.

`up` starts it or attaches to it, `Cluster.current` only attaches, `Cluster.down` removes it without a
trace. It needs root and Debian, and neither Docker nor an image registry. Its network is a namespace of its
own: it can neither be reached from outside nor reach anything. It is no example of how to run a cluster for
anything but tests.
"""

from .cluster import Cluster
from .errors import ClusterError
from .startup import up
from .store import S3Access

__all__ = ["Cluster", "ClusterError", "S3Access", "up"]
