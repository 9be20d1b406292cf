# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The cluster under test, told by environment variables, so that the scenarios do not know which it is.

`python -m tests.e2e` sets them for the cluster that it brings up; for any other cluster a person does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass


class TargetError(Exception):
    """A variable is missing, or says nothing usable."""


@dataclass(frozen=True)
class Target:
    """What the scenarios need to know of a cluster.

    Args:
        kind: `built` for the one of `tools.cluster`, `current` for any other.
        images: image repository and tag by kind: serving, training, loadtest.
        gateway: namespace and name of the Gateway that routes attach to.
        s3_from_pods: the object store's address as pods see it.
        s3_from_here: the same store as the scenarios see it.
        access_key: its credentials.
        secret_key: its credentials.
        region: its region.
        models: the bucket for bundles.
        data: the bucket for data.
        store_service: namespace and name of the store's Service; None if it is a process of the node's.
        versions: what runs there, for the summary.
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
            TargetError: if one is missing or malformed.
        """

        def need(name: str) -> str:
            if not environ.get(name):
                raise TargetError(f"{name} is not set: docs/e2e.md says what the scenarios need to know.")
            return environ[name]

        def pair(name: str, text: str) -> tuple[str, str]:
            namespace, _, thing = text.partition("/")
            if not namespace or not thing:
                raise TargetError(f"{name} is {text!r}: expected <namespace>/<name>.")
            return namespace, thing

        store = environ.get("E2E_STORE_SERVICE")
        endpoint = need("E2E_S3_ENDPOINT")
        return cls(
            kind=environ.get("E2E_CLUSTER", "current"),
            images={
                kind: environ.get(f"E2E_{kind.upper()}_IMAGE", f"tidegate/{kind}:0.1.0") for kind in IMAGES
            },
            gateway=pair("E2E_GATEWAY", need("E2E_GATEWAY")),
            s3_from_pods=endpoint,
            s3_from_here=environ.get("E2E_S3_ENDPOINT_FROM_HERE", endpoint),
            access_key=need("AWS_ACCESS_KEY_ID"),
            secret_key=need("AWS_SECRET_ACCESS_KEY"),
            region=environ.get("AWS_REGION", "us-east-1"),
            models=environ.get("E2E_MODELS_BUCKET", "models"),
            data=environ.get("E2E_DATA_BUCKET", "data"),
            store_service=pair("E2E_STORE_SERVICE", store) if store else None,
            versions=json.loads(environ.get("E2E_VERSIONS", "{}")),
        )

    def image(self, kind: str) -> tuple[str, str]:
        """Tell an image's repository and tag."""
        repository, _, tag = self.images[kind].rpartition(":")
        return repository, tag

    def store_environment(self) -> dict[str, str]:
        """Say how the store is reached from here, in the variables that S3 clients read."""
        return {
            "AWS_ENDPOINT_URL": self.s3_from_here,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }


IMAGES = ("serving", "training", "loadtest")
