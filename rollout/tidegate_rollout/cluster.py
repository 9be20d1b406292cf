# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout's own objects in the cluster, and the way to its pods: Leases, Events and port-forwards.

The release itself is changed by Helm alone.
"""

import http.client
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from kubernetes.client import ApiException, CoreV1Api, CustomObjectsApi
from kubernetes.stream import portforward

from tidegate.errors import ServerError
from tidegate.kubernetes.client import load_api_client, translate_errors
from tidegate.kubernetes.pods import Object
from tidegate_rollout.lease import MICRO_TIME, ConflictError, Identity

COMPONENT = "tidegate/rollout"

_TIMEOUT_SECONDS = 15.0
_NOT_FOUND, _CONFLICT = 404, 409
_HANDSHAKE = re.compile(r"Handshake status (\d+) ([A-Za-z ]*)")
_LONGEST_NOTE, _LONGEST_INSTANCE = 1024, 128
"""Bytes that the API server allows in an Event."""


class KubernetesLeases:
    """The Leases of a namespace, as JSON: the library's own classes drop the microseconds that a Lease needs.

    Args:
        namespace: The namespace.
    """

    def __init__(self, namespace: str) -> None:
        self._api: Any = CustomObjectsApi(load_api_client())
        self._kind = ("coordination.k8s.io", "v1", namespace, "leases")

    def get(self, name: str) -> Object | None:
        """Return a Lease; None if it does not exist."""
        with translate_errors(f"reading the Lease {name}"):
            try:
                return self._send(self._api.get_namespaced_custom_object, name)
            except ApiException as error:
                if error.status == _NOT_FOUND:
                    return None
                raise

    def create(self, body: Object) -> Object:
        """Create a Lease.

        Raises:
            ConflictError: If it exists.
        """
        with translate_errors(f"creating the Lease {body['metadata']['name']}"):
            return self._write(self._api.create_namespaced_custom_object, body)

    def replace(self, body: Object) -> Object:
        """Replace a Lease.

        Raises:
            ConflictError: If its version is another one.
        """
        name = body["metadata"]["name"]
        with translate_errors(f"renewing the Lease {name}"):
            return self._write(self._api.replace_namespaced_custom_object, name, body)

    def _write(self, method: Callable[..., Any], *arguments: Any) -> Object:
        try:
            return self._send(method, *arguments)
        except ApiException as error:
            if error.status == _CONFLICT:
                raise ConflictError from None
            raise

    def _send(self, method: Callable[..., Any], *arguments: Any) -> Object:
        written: Object = method(*self._kind, *arguments, _request_timeout=_TIMEOUT_SECONDS)
        return written


class EventRecorder:
    """Events about an InferenceService, as ``kubectl describe`` lists them.

    Args:
        service: The InferenceService.
    """

    def __init__(self, service: Object) -> None:
        self._api: Any = CustomObjectsApi(load_api_client())
        self._service = service

    def record(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Create an Event.

        Args:
            reason: The kind of event, in CamelCase.
            message: The sentence.
            warning: Whether the event needs attention.

        Raises:
            ServerError: If the cluster is unreachable or fails.
            ConfigurationError: If the cluster denies access.
        """
        metadata = self._service["metadata"]
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}-rollout-"},
            "regarding": {
                "apiVersion": self._service["apiVersion"],
                "kind": self._service["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "eventTime": datetime.now(UTC).strftime(MICRO_TIME),
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "action": "Rollout",
            "note": message.encode()[:_LONGEST_NOTE].decode(errors="ignore"),
            "reportingController": COMPONENT,
            "reportingInstance": str(Identity.of_this_process())[:_LONGEST_INSTANCE],
        }
        with translate_errors("recording an Event"):
            self._api.create_namespaced_custom_object(
                "events.k8s.io",
                "v1",
                metadata["namespace"],
                "events",
                event,
                _request_timeout=_TIMEOUT_SECONDS,
            )


class PodClient:
    """HTTP requests to the pods of a namespace, each through a port-forward of its own.

    Args:
        namespace: The namespace.
    """

    def __init__(self, namespace: str) -> None:
        # Its own client, because the library replaces a method of the client during a port-forward.
        self._api: Any = CoreV1Api(load_api_client())
        self._namespace = namespace

    def get(self, pod: str, port: int, path: str) -> str:
        """Return the body of a path.

        Args:
            pod: The pod's name.
            port: The port, also one of the loopback interface.
            path: The path with its query.

        Raises:
            ServerError: If the pod does not respond with 200.
            ConfigurationError: If the cluster denies access.
        """
        return self._request(pod, port, "GET", path, None, {})

    def post(self, pod: str, port: int, path: str, body: bytes, request_id: str) -> None:
        """Send a request for a prediction.

        Args:
            pod: The pod's name.
            port: The port.
            path: The path.
            body: The body in JSON.
            request_id: The value of X-Request-Id.

        Raises:
            ServerError: If the pod does not respond with 200.
            ConfigurationError: If the cluster denies access.
        """
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        self._request(pod, port, "POST", path, body, headers)

    def _request(
        self, pod: str, port: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> str:
        with translate_errors(f"forwarding port {port} of {pod}"):
            forward = self._forward(pod, port)
        stream = forward.socket(port)
        try:
            stream.settimeout(_TIMEOUT_SECONDS)
            connection = http.client.HTTPConnection("localhost", port)
            connection.sock = stream
            connection.request(method, path, body, {**headers, "Connection": "close"})
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            reason = forward.error(port) or error
            raise ServerError(f"{method} {path} on port {port} failed: {reason}") from None
        finally:
            forward.close()
        if response.status != http.client.OK:
            raise ServerError(f"{method} {path} on port {port} returned {response.status} {response.reason}")
        return text

    def _forward(self, pod: str, port: int) -> Any:
        connect = self._api.connect_get_namespaced_pod_portforward
        try:
            return portforward(connect, pod, self._namespace, ports=str(port))
        except ApiException as error:
            # The library drops the status of the response to the handshake.
            if match := _HANDSHAKE.match(str(error.reason)):
                raise ApiException(status=int(match[1]), reason=match[2].strip()) from None
            raise
