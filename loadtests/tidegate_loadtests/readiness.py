# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The readiness check: one request before the load, so that a wrong address does not cost a campaign."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from tidegate.errors import ConfigurationError, ServerError
from tidegate.protocol.connect import retry_connect


def verify_readiness(
    url: str, model: str, timeout: float, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Check that a server is ready for a model. Only connections are retried, for a few seconds.

    From the Open Inference Protocol, "Model Ready".

    Args:
        url: The server's base URL.
        model: The model's name.
        timeout: Seconds to wait for the response.
        sleep: Waits the given seconds between attempts to connect.

    Raises:
        ConfigurationError: If the URL is not an HTTP URL.
        ServerError: If the server cannot be reached or is not ready for the model.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--url: '{url}' is not a URL of a server: expected http://… or https://….")
    address = f"{url.rstrip('/')}/v2/models/{model}/ready"
    # Without a proxy, because the load generator uses none.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with retry_connect(lambda: opener.open(address, timeout=timeout), _is_retryable, sleep=sleep):
            return
    except urllib.error.HTTPError as error:
        error.close()
        problem = f"returned status {error.code}, expected 200"
    except urllib.error.URLError as error:
        problem = f"did not respond ({error.reason})"
    except (OSError, ValueError) as error:
        problem = f"did not respond ({error})"
    raise ServerError(f"{address} {problem}: start the server for this model, or correct --url.")


def _is_retryable(error: Exception) -> bool:
    return isinstance(error, urllib.error.URLError) and isinstance(
        error.reason, ConnectionRefusedError | socket.gaierror
    )
