# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The object store under test: direct access to its objects, and an outage.

On the built cluster the store is a process of the node, which is stopped. On other clusters its Service loses
its endpoints instead, because the data of a development store would not survive a restart.
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
    """Return a client of a bucket."""
    return S3Store(
        name,
        endpoint=target.s3_from_here,
        access_key_id=target.access_key,
        secret_access_key=target.secret_key,
        region=target.region,
        client_options={"allow_http": True},
    )


def keys(target: Target, prefix: str) -> set[str]:
    """Return the keys in the models' bucket below a prefix."""
    return {entry["path"] for page in obstore.list(bucket(target, target.models), prefix) for entry in page}


@contextmanager
def outage(target: Target) -> Iterator[None]:
    """Make the store unavailable during a block."""
    if target.kind == "built":
        cluster = Cluster.current()
        cluster.stop_store()
        try:
            yield
        finally:
            cluster.start_store()
        return
    assert target.store_service is not None, "E2E_STORE_SERVICE is not set: set it to <namespace>/<name>"
    namespace, name = target.store_service
    store = Namespace(namespace)
    _set_selector(store, name, "true")
    try:
        yield
    finally:
        _set_selector(store, name, None)


def _set_selector(store: Namespace, name: str, value: str | None) -> None:
    """Add a label that no pod has to a Service's selector, or remove it with None."""
    patch = {"spec": {"selector": {"tidegate.test/stopped": value}}}
    store.kubectl("patch", f"service/{name}", "--type=merge", f"--patch={json.dumps(patch)}")
