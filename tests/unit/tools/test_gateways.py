# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The table of Gateways, from conformance reports."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import gateways
from tools.gateways import FEATURES, MIRROR, newest, parse_report, read_reports

HEADER, TIMEOUT, H2C = FEATURES


def report(project: str, version: str, supported: list[str], url: str = "https://example.com") -> Any:
    unsupported = [feature for feature in FEATURES if feature not in supported]
    extended = {"supportedFeatures": supported, "unsupportedFeatures": unsupported}
    profiles = [{"name": "GATEWAY-GRPC"}, {"name": "GATEWAY-HTTP", "extended": extended}]
    return {"implementation": {"project": project, "version": version, "url": url}, "profiles": profiles}


def write(repository: Path, release: str, name: str, document: Any) -> None:
    file = repository / "conformance" / "reports" / release / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(document))


def test_newest_report_of_each_implementation_is_used(tmp_path: Path) -> None:
    write(tmp_path, "v1.10", "a/a.yaml", report("a", "v3.0", [HEADER, MIRROR]))
    write(tmp_path, "v1.9.1", "a/a.yaml", report("a", "v2.0", list(FEATURES)))
    write(tmp_path, "v1.9.1", "b/b.yaml", report("b", "1.0", list(FEATURES), "example.com/b"))
    rows = [(it.project, it.version, it.supported, it.url) for it in newest(read_reports(tmp_path))]
    assert rows == [
        ("b", "1.0", (True, True, True, False), "https://example.com/b"),
        ("a", "3.0", (True, False, False, True), "https://example.com"),
    ]


def test_feature_must_be_in_every_report_of_a_release(tmp_path: Path) -> None:
    write(tmp_path, "v1.6", "a/one.yaml", report("a", "1.0", [HEADER, H2C]))
    write(tmp_path, "v1.6", "a/two.yaml", report("a", "1.0", [TIMEOUT, H2C]))
    [only] = newest(read_reports(tmp_path))
    assert only.supported == (False, False, True, False)


def test_report_without_the_features_is_skipped() -> None:
    silent = report("a", "1.0", [])
    silent["profiles"][1]["extended"] = {"supportedFeatures": [HEADER]}
    assert parse_report("v1.6", silent) is None
    assert parse_report("v1.6", {"implementation": {}, "profiles": []}) is None


def test_command_replaces_the_rows_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "v1.6", "a/a.yaml", report("a", "1.0", [HEADER]))
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n|a|b|c|d|e|f|g|\n|---|---|---|---|---|---|---|\n| old | row |\n| older |\n\nEnd\n"
    )
    monkeypatch.setattr(gateways, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["gateways", str(tmp_path)])
    assert gateways.main() == 0
    assert page.read_text().splitlines()[4:] == [
        "| [a](https://example.com) | 1.0 | 1.6 | yes | **no** | **no** | **no** |",
        "",
        "End",
    ]
    page.write_text("# Page\n")
    assert gateways.main() == 1
    assert "expected one table" in capsys.readouterr().err


def test_page_has_a_table_for_the_command() -> None:
    assert len(gateways.ROWS.findall(gateways.PAGE.read_text())) == 1
