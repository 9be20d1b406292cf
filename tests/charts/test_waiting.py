# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The checksum of a track's pods for ``tidegate status --wait``, which KServe copies to the Deployment."""

import pytest

from tests.charts.chart import InvalidValuesError, Values, load, of_kind, render
from tests.charts.conftest import OTHER, merged
from tidegate_rollout.status import CHECKSUM


def checksums(values: Values, chart: str = "tidegate") -> dict[str, str]:
    """Return the checksum of each InferenceService by name."""
    services = of_kind(render(values, chart), "InferenceService")
    return {name: it["spec"]["predictor"]["annotations"][CHECKSUM] for name, it in services.items()}


@pytest.mark.parametrize(
    "values",
    [
        {"autoscaling": {"minReplicas": 5, "maxReplicas": 9}},
        {"autoscaling": {"type": "keda"}},
        {"canary": {"weight": 70, "minReplicas": 4}},
    ],
)
def test_checksum_ignores_scaling_and_weights(two_tracks, values) -> None:
    assert checksums(merged(two_tracks, values)) == checksums(two_tracks)


def test_checksum_ignores_the_chart_version(two_tracks, tmp_path) -> None:
    folder = load("tidegate").save_dir(tmp_path)
    for file, old, new in [
        ("Chart.yaml", "\nversion: ", "\nversion: 9"),
        ("templates/_pod_template.tpl", "\ncontainers:\n", "\n# Another layout.\n\ncontainers:\n"),
    ]:
        path = tmp_path / "tidegate" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    assert checksums(two_tracks, folder) == checksums(two_tracks)


@pytest.mark.parametrize(
    "values",
    [
        {"podLabels": {"team": "a"}},
        {"podAnnotations": {"team": "a"}},
        {"server": {"env": [{"name": "OMP_NUM_THREADS", "value": "1"}]}},
        {"server": {"maxRows": 7}},
        {"nodeSelector": {"disk": "ssd"}},
        {"tolerations": [{"operator": "Exists"}]},
        {"resources": {"limits": {"memory": "3Gi"}}},
        {"image": {"tag": "next"}},
        {"model": {"uri": "pvc://models/breast-cancer"}},  # without an init container
        {"autoscaling": {"type": "none"}},  # KServe copies its annotation about autoscaling to the pods
    ],
)
def test_checksum_changes_with_every_value_of_the_pods(two_tracks, values) -> None:
    before, after = checksums(two_tracks), checksums(merged(two_tracks, values))
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())


def test_checksum_of_a_track_depends_on_its_own_digest(two_tracks) -> None:
    before = checksums(two_tracks)
    after = checksums(merged(two_tracks, {"canary": {"digest": "a" * 64}}))
    assert before["demo"] == after["demo"]
    assert len({before["demo"], before["demo-canary"], after["demo-canary"]}) == 3
    assert checksums(merged(two_tracks, {"model": {"digest": OTHER}}))["demo"] != before["demo"]


def test_pod_annotation_cannot_replace_the_checksum(minimal) -> None:
    with pytest.raises(InvalidValuesError, match=f"podAnnotations sets {CHECKSUM}"):
        render(merged(minimal, {"podAnnotations": {CHECKSUM: "mine"}}))
    own = {"podAnnotations": {"team": "a"}}
    [service] = of_kind(render(merged(minimal, own)), "InferenceService").values()
    annotations = service["spec"]["predictor"]["annotations"]
    assert annotations == {"team": "a", CHECKSUM: checksums(merged(minimal, own))["demo"]}
