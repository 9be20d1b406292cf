# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A read-only client of the current context's cluster: objects, pods and logs, as JSON.

Changes to a cluster go through Helm. The client needs the package ``kubernetes`` from the extras ``rollout``
and ``training``, so the rest of the core does not import it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from tidegate.errors import ConfigurationError, ServerError
from tidegate.kubernetes.pods import Object

_CONNECT_TIMEOUT_SECONDS = 10.0
_READ_TIMEOUT_SECONDS = 30.0
"""The longest silence while the API server sends a response."""
_DENIED = (401, 403)
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def load_api_client() -> client.ApiClient:
    """Return the library's client of the current context's cluster, or of the pod's own, without retries.

    Raises:
        ConfigurationError: If neither names a cluster.
    """
    try:
        # In a pod the library prints a warning, and standard output is for the command's result.
        with redirect_stdout(None):
            config.load_config()
    except ConfigException as error:
        raise ConfigurationError(
            f"No cluster is configured: {str(error).rstrip('.')}; set KUBECONFIG or choose a context."
        ) from None
    configuration = client.Configuration.get_default_copy()
    # Callers that wait poll until their own deadline; retries in the client would exceed it.
    configuration.retries = False
    return client.ApiClient(configuration)


class Cluster:
    """The cluster of the current context, or of the pod that this process runs in.

    Raises:
        ConfigurationError: If neither names a cluster.
    """

    def __init__(self) -> None:
        api = load_api_client()
        self._objects = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)

    @staticmethod
    def namespace() -> str:
        """Return the namespace of the current context, or of the pod that this process runs in."""
        try:
            _, active = config.list_kube_config_contexts()
        except ConfigException:
            return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.is_file() else "default"
        return str(active["context"].get("namespace", "default"))

    def objects(self, group: str, namespace: str, kind: str, selector: str | None = None) -> list[Object]:
        """List the objects of a kind; none if the cluster does not have the kind.

        Args:
            group: ``group/version``, such as ``apps/v1``.
            namespace: The namespace.
            kind: The plural name, such as ``deployments``.
            selector: A label selector.

        Raises:
            ServerError: If the cluster is unreachable or fails: worth a retry.
            ConfigurationError: If the cluster denies access.
        """
        with translate_errors(f"listing {kind} in {namespace}"):
            try:
                name, version = group.split("/")
                listing: Any = self._objects.list_namespaced_custom_object(
                    name,
                    version,
                    namespace,
                    kind,
                    label_selector=selector,
                    _request_timeout=(_CONNECT_TIMEOUT_SECONDS, _READ_TIMEOUT_SECONDS),
                )
            except ApiException as error:
                if error.status == 404:
                    return []
                raise
        return list(listing["items"])

    def pods(self, namespace: str, selector: str) -> tuple[Object, ...]:
        """List pods by a label selector, the oldest first.

        Raises:
            ServerError: If the cluster is unreachable or fails: worth a retry.
            ConfigurationError: If the cluster denies access.
        """
        with translate_errors(f"listing pods in {namespace}"):
            typed_pods = self._core.list_namespaced_pod(
                namespace,
                label_selector=selector,
                _request_timeout=(_CONNECT_TIMEOUT_SECONDS, _READ_TIMEOUT_SECONDS),
            ).items
        # The library parses pods into its own classes; this converts them back to the API server's JSON.
        api: Any = self._core.api_client
        pods = [api.sanitize_for_serialization(pod) for pod in typed_pods]
        return tuple(sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"])))

    def follow(self, namespace: str, pod: str, silence: float) -> Iterator[str]:
        """Yield the lines of a pod's log as the pod writes them, until the pod ends.

        Args:
            namespace: The pod's namespace.
            pod: The pod's name.
            silence: The longest time without a line, in seconds.

        Raises:
            ServerError: If the cluster is unreachable or fails, or the log is silent for too long.
            ConfigurationError: If the cluster denies access.
        """
        with translate_errors(f"following the log of {pod}"):
            stream: Any = self._core.read_namespaced_pod_log(
                pod,
                namespace,
                follow=True,
                _preload_content=False,
                _request_timeout=(_CONNECT_TIMEOUT_SECONDS, silence),
            )
            with stream:
                partial_line = b""
                for chunk in stream.stream():
                    *lines, partial_line = (partial_line + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in lines)
                if partial_line:
                    yield partial_line.decode(errors="replace")


@contextmanager
def translate_errors(action: str) -> Iterator[None]:
    """Raise the library's errors as those of a command.

    Raises:
        ServerError: If the cluster is unreachable or fails: worth a retry.
        ConfigurationError: If the cluster denies access.
    """
    try:
        yield
    except ApiException as error:
        message = f"The cluster returned {error.status} {error.reason} while {action}"
        if error.status in _DENIED:
            raise ConfigurationError(
                f"{message}: log in, or request a role that allows it; 'kubectl auth can-i' verifies it."
            ) from None
        raise ServerError(f"{message}.") from None
    except HTTPError as error:
        raise ServerError(f"The cluster does not respond while {action}: {error}.") from None
