# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster under test, described by environment variables, so that the scenarios are independent of it.

`python -m tests.e2e` sets them for the cluster that it starts; for any other cluster the user does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tidegate import __version__

IMAGES = ("serving", "training", "loadtest")


class TargetError(Exception):
    """Error of an environment variable that is missing or malformed."""


@dataclass(frozen=True)
class Target:
    """The properties of a cluster that the scenarios need.

    Args:
        kind: `built` for the cluster of `tools.cluster`, `current` for any other.
        images: Image repository and tag by kind: serving, training, loadtest.
        gateway: Namespace and name of the Gateway for routes.
        s3_from_pods: The object store's address for pods.
        s3_from_here: The object store's address for the scenarios.
        access_key: The object store's access key.
        secret_key: The object store's secret key.
        region: The object store's region.
        models: The bucket for bundles.
        data: The bucket for data.
        store_service: Namespace and name of the store's Service; None if the store is a process of the node.
        versions: The version by component, for the summary.
    """

    kind: str
    images: Mapping[str, str]
    gateway: tuple[str, str]
    s3_from_pods: str
    s3_from_here: str
    access_key: str
    secret_key: str
    region: str
    models: str
    data: str
    store_service: tuple[str, str] | None
    versions: Mapping[str, str]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Target":
        """Read the variables that docs/e2e.md lists.

        Raises:
            TargetError: If one is missing or malformed.
        """

        def require(name: str) -> str:
            if not environ.get(name):
                raise TargetError(f"{name} is not set: set the variables that docs/e2e.md lists.")
            return environ[name]

        def parse_pair(name: str, text: str) -> tuple[str, str]:
            namespace, _, resource = text.partition("/")
            if not namespace or not resource:
                raise TargetError(f"{name}: expected <namespace>/<name>, received {text!r}.")
            return namespace, resource

        store = environ.get("E2E_STORE_SERVICE")
        endpoint = require("E2E_S3_ENDPOINT")
        return cls(
            kind=environ.get("E2E_CLUSTER", "current"),
            images={
                kind: environ.get(
                    f"E2E_{kind.upper()}_IMAGE", f"registry.example.com/tidegate/{kind}:{__version__}"
                )
                for kind in IMAGES
            },
            gateway=parse_pair("E2E_GATEWAY", require("E2E_GATEWAY")),
            s3_from_pods=endpoint,
            s3_from_here=environ.get("E2E_S3_ENDPOINT_FROM_HERE", endpoint),
            access_key=require("AWS_ACCESS_KEY_ID"),
            secret_key=require("AWS_SECRET_ACCESS_KEY"),
            region=environ.get("AWS_REGION", "us-east-1"),
            models=environ.get("E2E_MODELS_BUCKET", "models"),
            data=environ.get("E2E_DATA_BUCKET", "data"),
            store_service=parse_pair("E2E_STORE_SERVICE", store) if store else None,
            versions=json.loads(environ.get("E2E_VERSIONS", "{}")),
        )

    def image(self, kind: str) -> tuple[str, str]:
        """Return an image's repository and tag."""
        repository, _, tag = self.images[kind].rpartition(":")
        return repository, tag

    def store_environment(self) -> dict[str, str]:
        """Return the environment variables for S3 clients on this machine."""
        return {
            "AWS_ENDPOINT_URL": self.s3_from_here,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }
