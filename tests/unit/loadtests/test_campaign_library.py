# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from tidegate.settings import load_yaml
from tidegate_loadtests.campaign import Campaign

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "loadtests" / "campaigns"
SCHEMA = ROOT / "loadtests" / "campaign.schema.json"
EXAMPLES = sorted(ROOT.glob("examples/*/loadtest.yaml"))
NAMES = ("capacity", "diurnal", "overload", "rolling-update", "smoke", "soak", "spike", "step")


@pytest.mark.parametrize("path", [*sorted(FOLDER.glob("*.yaml")), *EXAMPLES], ids=lambda path: path.stem)
def test_campaign_of_the_library_is_valid(path: Path) -> None:
    campaign = load_yaml(path, Campaign)
    assert campaign.scaling is None or campaign.target.watch is not None
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(SCHEMA.read_text()))
    schema = path.read_text().splitlines()[0].partition("$schema=")[2]
    assert (path.parent / schema).resolve() == SCHEMA


def test_library_has_a_campaign_for_each_purpose() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.yaml"))) == NAMES
    readme = (FOLDER / "README.md").read_text()
    for name in NAMES:
        assert f"[{name}]({name}.yaml)" in readme


def test_schema_is_that_of_the_model() -> None:
    """Write it with ``tidegate loadtest schema > loadtests/campaign.schema.json``."""
    assert json.loads(SCHEMA.read_text()) == Campaign.model_json_schema()
