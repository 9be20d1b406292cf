# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import pytest

from tests.support.capacities import FIELDS
from tidegate_loadtests.capacity.document import Capacity
from tidegate_loadtests.scaling.replica_model import ReplicaModel


@pytest.fixture
def capacity() -> Capacity:
    return Capacity.model_validate(FIELDS)


@pytest.fixture
def replica(capacity: Capacity) -> ReplicaModel:
    return ReplicaModel.of(capacity)
