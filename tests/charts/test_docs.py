# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Every ``helm`` command that the pages show, in the order in which a reader would type them, renders."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest
import yaml

from tests.charts.chart import HELM, ROOT, RefusedError, Values, notes, render
from tests.charts.conftest import DIGEST, OTHER, merged
from tests.charts.test_examples import CI_FILES

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
COMMAND = re.compile(r"helm (?:install|upgrade|template)\b")
OTHERS_CHARTS = ("oci://ghcr.io/kserve/charts/", "oci://docker.io/envoyproxy/", "metrics-server/")
MODEL: Values = {"model": {"uri": "s3://models/breast-cancer", "digest": DIGEST}}
# What a reader puts in.
FILLED = {
    "<digest>": DIGEST,
    "2c26b46b…": DIGEST,
    "digest=…": f"digest={DIGEST}",
    "<new>": OTHER,
    "<old>": DIGEST,
    ",<those before it>": "",
    "<n>": "3",
    "<what it was>": "2",
}


def commands(text: str) -> Iterator[str]:
    """Each command, from fenced blocks, and from code within lines where it sets something."""
    for fence, inline in re.findall(r"```\w*\n(.*?)```|`(helm [^`\n]+ --set [^`\n]+)`", text, re.DOTALL):
        for line in (fence or inline).replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\s#\s", line):
                if COMMAND.match(part.strip()):
                    yield part.strip()


def run(command: str, before: Values) -> tuple[str, Values]:
    """The chart that a command is about, and the values that its release then has."""
    for placeholder, value in FILLED.items():
        command = command.replace(placeholder, value)
    words = iter(shlex.split(command)[1:])
    verb, places, settings, given = next(words), [], [], {}
    for word in words:
        match word:
            case "--set":
                settings.append(next(words))
            case "--set-file":
                given = merged(given, helm_python.parse_set_file(next(words)))
            case "--namespace" | "--version":
                next(words)
            case "--reset-then-reuse-values" | "--create-namespace":
                pass
            case "…":
                given = merged(MODEL, given)
            case _:
                assert not word.startswith("-"), f"{command}: {word}"
                places.append(word)
    # Together, as Helm reads them: two may be about one item of a list.
    given = merged(given, helm_python.parse_set_string(",".join(settings)))
    assert not re.search("[…<>]", str([*places, *settings])), (
        f"{command} has a placeholder that is not known here"
    )
    chart = places[1] if len(places) > 1 else "helm/tidegate"
    return chart, given if verb == "install" else merged(before, given)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_renders_one_after_the_other(page: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT / "examples" / "breast-cancer")
    values = MODEL
    for command in commands(page.read_text()):
        chart, given = run(command, values)
        if chart.startswith(OTHERS_CHARTS):
            continue
        assert render(given, chart.removeprefix("helm/")), command
        values = given if chart == "helm/tidegate" else values


def test_the_pages_have_such_commands_and_a_wrong_one_is_found() -> None:
    found = [command for page in PAGES for command in commands(page.read_text())]
    assert len([command for command in found if "helm/tidegate" in command]) >= 6
    assert any("canary.weight=100" in command for command in found)
    chart, values = run("helm upgrade --set canary.digest=<new> --set canary.weight=20", MODEL)
    with pytest.raises(RefusedError, match="there is no route"):
        render(values, chart.removeprefix("helm/"))


SNIPPETS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "credentials.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(
    "text", SNIPPETS, ids=[text.splitlines()[0] + str(i) for i, text in enumerate(SNIPPETS)]
)
def test_every_recipe_for_credentials_is_values_of_the_charts(text: str) -> None:
    values = yaml.safe_load(text)
    assert render(merged(MODEL, values))
    if "networkPolicy" not in values:
        least = yaml.safe_load((HELM / "tidegate-training" / "ci" / "minimal-values.yaml").read_text())
        del least["objectStore"]
        assert render(merged(least, values), "tidegate-training")


@pytest.mark.parametrize("path", CI_FILES, ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_every_upgrade_that_the_notes_advise_renders(path: Path) -> None:
    chart = path.parent.parent.name
    values = yaml.safe_load(path.read_text())
    for line in notes(values, chart).splitlines():
        # The notes' commands have the namespace first where kubectl's have it too.
        command = line.strip().replace("--namespace models ", "").replace("<chart>", f"helm/{chart}")
        if COMMAND.match(command):
            named, upgraded = run(command, values)
            assert render(upgraded, named.removeprefix("helm/"))
