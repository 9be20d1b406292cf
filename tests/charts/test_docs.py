# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Every ``helm`` command of the pages and of the charts' notes renders, in the order of the page."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest
import yaml

from tests.charts.chart import HELM, ROOT, InvalidValuesError, Values, notes, render
from tests.charts.conftest import DIGEST, IMAGE, OTHER, merged
from tests.charts.test_examples import CI_FILES

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
COMMAND = re.compile(r"helm (?:install|upgrade|template)\b")
THIRD_PARTY_CHARTS = ("oci://ghcr.io/kserve/charts/", "oci://docker.io/envoyproxy/", "metrics-server/")
MODEL: Values = {"model": {"uri": "s3://models/breast-cancer", "digest": DIGEST}, "image": IMAGE}
PLACEHOLDERS = {
    "<digest>": DIGEST,
    "2c26b46b…": DIGEST,
    "digest=…": f"digest={DIGEST}",
    "<new>": OTHER,
    "<old>": DIGEST,
    ",<older>": "",
    "<n>": "3",
    "<original>": "2",
}
"""Values for the placeholders of the pages."""


def commands(text: str) -> Iterator[str]:
    """Yield each command of fenced blocks, and of inline code with ``--set``."""
    for fence, inline in re.findall(r"```\w*\n(.*?)```|`(helm [^`\n]+ --set [^`\n]+)`", text, re.DOTALL):
        for line in (fence or inline).replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\s#\s", line):
                if COMMAND.match(part.strip()):
                    yield part.strip()


def run(command: str, before: Values) -> tuple[str, Values]:
    """Return the chart of a command, and the values of its release afterwards.

    Raises:
        AssertionError: If the command has an unknown option or placeholder.
    """
    for placeholder, value in PLACEHOLDERS.items():
        command = command.replace(placeholder, value)
    words = iter(shlex.split(command)[1:])
    verb, arguments, settings, changes = next(words), [], [], {}
    for word in words:
        match word:
            case "--set":
                settings.append(next(words))
            case "--set-file":
                changes = merged(changes, helm_python.parse_set_file(next(words)))
            case "--values":
                changes = merged(changes, yaml.safe_load((ROOT / next(words)).read_text()))
            case "--namespace" | "--version" | "-f":
                next(words)
            case "--reset-then-reuse-values" | "--create-namespace" | "--install" | "--wait":
                pass
            case "…":
                changes = merged(MODEL, changes)
            case _:
                assert not word.startswith("-"), f"{command}: {word}"
                arguments.append(word)
    # Together, as Helm parses them, because two settings can change one item of a list.
    changes = merged(changes, helm_python.parse_set_string(",".join(settings)))
    assert not re.search("[…<>]", str([*arguments, *settings])), (
        f"{command}: expected only the placeholders {sorted(PLACEHOLDERS)}"
    )
    chart = arguments[1] if len(arguments) > 1 else "helm/tidegate"
    return chart, changes if verb == "install" else merged(before, changes)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_helm_commands_of_page_render_in_order(page: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT / "examples" / "breast-cancer")
    values = MODEL
    for command in commands(page.read_text()):
        chart, changes = run(command, values)
        if chart.startswith(THIRD_PARTY_CHARTS):
            continue
        assert render(changes, chart.removeprefix("helm/")), command
        values = changes if chart == "helm/tidegate" else values


def test_pages_contain_helm_commands() -> None:
    texts = [command for page in PAGES for command in commands(page.read_text())]
    assert len([command for command in texts if "helm/tidegate" in command]) >= 6
    assert any("canary.weight=100" in command for command in texts)


def test_helm_command_with_invalid_values_fails() -> None:
    chart, values = run("helm upgrade --set canary.digest=<new> --set canary.weight=20", MODEL)
    with pytest.raises(InvalidValuesError, match="there is no route"):
        render(values, chart.removeprefix("helm/"))


SNIPPETS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "credentials.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(
    "text", SNIPPETS, ids=[text.splitlines()[0] + str(i) for i, text in enumerate(SNIPPETS)]
)
def test_credentials_recipe_renders_in_the_charts(text: str) -> None:
    values = yaml.safe_load(text)
    assert render(merged(MODEL, values))
    if "networkPolicy" not in values:
        minimal = yaml.safe_load((HELM / "tidegate-training" / "ci" / "minimal-values.yaml").read_text())
        del minimal["objectStore"]
        assert render(merged(minimal, values), "tidegate-training")


@pytest.mark.parametrize("path", CI_FILES, ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_upgrade_commands_of_notes_render(path: Path) -> None:
    chart = path.parent.parent.name
    values = yaml.safe_load(path.read_text())
    for line in notes(values, chart).splitlines():
        command = line.strip().replace("--namespace models ", "").replace("<chart>", f"helm/{chart}")
        if COMMAND.match(command):
            named, upgraded = run(command, values)
            assert render(upgraded, named.removeprefix("helm/"))
