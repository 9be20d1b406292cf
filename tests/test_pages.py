# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Navigation and first page have each page of ``docs/``, and the links of all other pages lead somewhere.

``make docs`` verifies the links inside ``docs/``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
OUTSIDE_OF_THE_SITE = sorted(
    path
    for pattern in ("*.md", "examples/**/*.md", "helm/**/*.md", "loadtests/**/*.md", "tools/**/*.md")
    for path in ROOT.glob(pattern)
)

Entry = str | dict[str, list["Entry"]]


def pages_below(entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for section in entry.values():
                yield from pages_below(section)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path) -> Iterator[str]:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        path = page.parent / target if target else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            yield f"{target}#{anchor}"


def test_navigation_has_each_page_once() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages_below(navigation)) == PAGES


def test_first_page_has_each_other_page_once() -> None:
    links = re.findall(r"\]\(([-\w]+\.md)\)", (ROOT / "docs" / "index.md").read_text())
    assert sorted([*links, "index.md"]) == PAGES


@pytest.mark.parametrize("page", OUTSIDE_OF_THE_SITE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert not [*dead_links(page)]


def test_dead_anchor_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# Boosters: XGBoost, LightGBM\n")
    page = tmp_path / "index.md"
    page.write_text("[a](page.md#boosters-xgboost-lightgbm) [b](page.md#xgboost) [c](none.md)\n")
    assert [*dead_links(page)] == ["page.md#xgboost", "none.md#"]
