# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from tidegate_serving.observability.sampling import RequestSampler

IDS = [f"r-{number}" for number in range(400)]


def test_higher_rate_selects_the_same_requests_and_others() -> None:
    few, more, all_ids, none = (
        {request_id for request_id in IDS if RequestSampler(rate).select(request_id)}
        for rate in (0.2, 0.5, 1, 0)
    )
    assert none < few < more < all_ids == set(IDS)
    assert 50 < len(few) < 110


@pytest.mark.parametrize("request_id", [None, ""])
def test_request_without_id_is_not_selected(request_id: str | None) -> None:
    assert RequestSampler(1).select(request_id) is None
