# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The object store under test: what scenarios put into it by force, and how they take it away.

On the built cluster the store is a process of the node's; elsewhere its Service is left
without a pod, because the data of a development store would not outlive one.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import obstore
from obstore.store import S3Store

from tests.e2e.kube import Namespace
from tests.e2e.target import Target
from tools.cluster import Cluster


def bucket(target: Target, name: str) -> S3Store:
    """Open a bucket."""
    return S3Store(
        name,
        endpoint=target.s3_from_here,
        access_key_id=target.access_key,
        secret_access_key=target.secret_key,
        region=target.region,
        client_options={"allow_http": True},
    )


def keys(target: Target, prefix: str) -> set[str]:
    """List the objects of the models' bucket below a prefix."""
    return {entry["path"] for page in obstore.list(bucket(target, target.models), prefix) for entry in page}


@contextmanager
def stopped(target: Target) -> Iterator[None]:
    """Take the store away for the length of a block."""
    if target.kind == "built":
        cluster = Cluster.current()
        cluster.stop_store()
        try:
            yield
        finally:
            cluster.start_store()
        return
    assert target.store_service is not None, "E2E_STORE_SERVICE is not set: nobody can take the store away"
    namespace, name = target.store_service
    store = Namespace(namespace)
    _select(store, name, "true")
    try:
        yield
    finally:
        _select(store, name, None)


def _select(store: Namespace, name: str, value: str | None) -> None:
    """Make a Service want a label that no pod has, or no longer; its connections are refused meanwhile."""
    patch = {"spec": {"selector": {"tidegate.test/stopped": value}}}
    store.kubectl("patch", f"service/{name}", "--type=merge", f"--patch={json.dumps(patch)}")
