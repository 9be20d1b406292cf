# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The workers that run the shards of a search: processes of this machine, or those of a Dask cluster.

joblib starts them, by its backends loky and dask. They change no result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tidegate.errors import ConfigurationError, ServerError


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of a search.

    Attributes:
        jobs: The number of processes on this machine.
        dask: The address of a Dask scheduler, ``tcp://host:8786``, whose workers are used instead.
    """

    jobs: int = 1
    dask: str | None = None

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Let joblib run its tasks on these workers during the block.

        Raises:
            ConfigurationError: If Dask is not installed.
            ServerError: If the scheduler cannot be reached.
        """
        from joblib import parallel_config

        if self.dask is None:
            with parallel_config(backend="loky", n_jobs=self.jobs):
                yield
            return
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise ConfigurationError(
                "--dask needs the package distributed, which is not installed: install tidegate[dask]."
            ) from None
        try:
            client = Client(self.dask, timeout=10)
        except (OSError, ValueError) as error:
            raise ServerError(
                f"The Dask scheduler {self.dask} cannot be reached: {str(error).splitlines()[0]}; check the "
                "address, tcp://HOST:8786."
            ) from None
        with client, parallel_config(backend="dask", n_jobs=-1):
            yield
