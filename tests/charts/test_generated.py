# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Generated files: copies of helm/common, JSON schemas and reference pages are those that are committed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm import generate
from tests.charts.chart import HELM, load

FILES = list(generate.generated_files())
SECTIONS: dict[str, Any] = {
    "port": {"type": "integer", "minimum": 1, "description": "A port."},
    "server": {"type": "object", "properties": {"port": {"extends": "port"}}},
}


@pytest.mark.parametrize(
    ("path", "text"), FILES, ids=[str(path.relative_to(HELM.parent)) for path, _ in FILES]
)
def test_generate_committed_file_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, f"{path} is out of date: run 'make charts'"


def test_generate_copies_folder_has_no_stale_file() -> None:
    assert list(generate.stale_copies()) == []


def test_generate_changed_copy_is_reported(tmp_path, monkeypatch, capsys) -> None:
    copy, text = next(generate.copies("tidegate"))
    changed = tmp_path / "helm" / copy.relative_to(HELM)
    monkeypatch.setattr(generate, "HELM", tmp_path / "helm")
    monkeypatch.setattr(generate, "generated_files", lambda: [(changed, text)])
    monkeypatch.setattr(generate, "stale_copies", list)
    changed.parent.mkdir(parents=True)
    changed.write_text(text + "edited\n")

    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 1
    assert capsys.readouterr().out.strip() == f"helm/{copy.relative_to(HELM)}"
    assert changed.read_text().endswith("edited\n")

    monkeypatch.setattr(sys, "argv", ["generate.py"])
    assert generate.main() == 0
    assert changed.read_text() == text


def test_generate_check_of_the_repository_exits_with_0() -> None:
    completed = subprocess.run(
        [sys.executable, str(HELM / "generate.py"), "--check"], capture_output=True, text=True
    )
    assert (completed.returncode, completed.stdout) == (0, "")


@pytest.mark.parametrize("chart", generate.PAGES)
def test_copy_is_headed_and_defines_what_common_defines(chart: str) -> None:
    for path, text in generate.copies(chart):
        assert text.splitlines()[0] == "{{- /* Generated from helm/common; do not edit. */ -}}"
        assert text.endswith((HELM / "common" / "templates" / path.name).read_text())


def test_serving_chart_has_no_template_for_a_secret() -> None:
    kinds = {path.parts[-4] for path in HELM.glob("*/templates/common/secret.yaml")}
    assert kinds == {"tidegate-training", "tidegate-loadtest"}


def test_extends_section_is_overridden_by_the_keys_next_to_it() -> None:
    schema = {
        "properties": {
            "server": {"extends": "server", "properties": {"port": {"description": "The server's port."}}}
        }
    }
    port = {"type": "integer", "minimum": 1, "description": "The server's port."}
    assert generate.resolve_extends(schema, SECTIONS) == {
        "properties": {"server": {"type": "object", "properties": {"port": port}}}
    }


def test_extends_unknown_section_raises() -> None:
    with pytest.raises(KeyError, match="prot"):
        generate.resolve_extends({"extends": "prot"}, SECTIONS)


def test_extends_as_the_name_of_a_value_stays() -> None:
    schema = {"properties": {"extends": {"type": "string"}}}
    assert generate.resolve_extends(schema, SECTIONS) == schema


def test_common_section_is_used() -> None:
    sources = "".join(path.read_text() for path in HELM.glob("*/values.schema.yaml"))
    for name in yaml.safe_load((HELM / "common" / "values.schema.yaml").read_text()):
        assert re.search(rf"extends: {name}\b", sources), f"no schema uses the section {name}"


@pytest.mark.parametrize("chart", generate.PAGES)
def test_values_file_has_the_description_above_each_value(chart: str) -> None:
    text = (HELM / chart / "values.yaml").read_text()
    schema, values = generate.load_schema(chart), yaml.safe_load(text)
    assert yaml.safe_load("\n".join(generate.commented_values(schema, values))) == values
    comments = " ".join(re.sub(r"^ *#", "", line) for line in text.splitlines() if "#" in line).split()
    for key in values:
        first = schema["properties"][key]["description"].split(".")[0].split(":")[0].split()
        assert " ".join(first) in " ".join(comments), key


def test_values_comment_wraps_text_and_keeps_tables() -> None:
    schema = {
        "properties": {
            "server": {
                "description": "The server's settings.",
                "properties": {
                    "mode": {
                        "description": "A long word " * 12
                        + "\n[of a page](page.md):\n\n| a | b |\n|---|---|\n",
                        "enum": ["fast", "slow"],
                    }
                },
            }
        }
    }
    lines = list(generate.commented_values(schema, {"server": {"mode": "fast"}}))
    assert lines[:3] == ["", "# The server's settings.", "server:"]
    assert lines[-5:] == [
        "  #",
        "  # | a | b |",
        "  # |---|---|",
        "  # One of `fast`, `slow`.",
        "  mode: fast",
    ]
    assert lines[-6].endswith("of a page:")
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("chart", generate.PAGES)
def test_readme_is_packaged_and_links_to_no_file(chart: str, tmp_path: Path) -> None:
    text = (Path(load(chart).save_dir(tmp_path)) / "README.md").read_text()
    assert "](" not in text
    least = yaml.safe_load((HELM / chart / "ci" / "minimal-values.yaml").read_text())
    assert yaml.safe_load(text.split("```yaml\n")[1].split("```")[0]) == least


def test_json_schema_has_no_prose_and_keeps_a_value_of_that_name() -> None:
    schema = {"description": "prose", "properties": {"description": {"type": "string", "examples": ["x"]}}}
    assert generate.without_prose(schema) == {"properties": {"description": {"type": "string"}}}


def test_chart_takes_the_version_of_the_project_only() -> None:
    metadata = 'version: 0.1.0\nappVersion: "0.1.0"\nkubeVersion: ">=1.30.0-0"\n'
    assert generate.with_version(metadata, "0.2.0") == (
        'version: 0.2.0\nappVersion: "0.2.0"\nkubeVersion: ">=1.30.0-0"\n'
    )
