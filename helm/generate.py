# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Write the generated files of the charts: copies of ``helm/common``, JSON schemas, comments and pages.

Usage: ``python helm/generate.py`` writes the files that are out of date. With ``--check`` it only lists them
and exits with 1.

A chart's ``values.schema.yaml`` is the only source of its values. It takes a section of
``common/values.schema.yaml`` by ``extends: <section>``; the keys next to ``extends`` override the section's
keys. ``values.yaml`` has the defaults, with comments from the schema, and the chart's README has the
reference of the page. The JSON schema requires every value whose default is not null, because Helm removes a
default that is set to null and no template handles a missing value.

A chart's ``version`` and ``appVersion`` are the version of ``pyproject.toml``.

The templates are copied because a library chart would be a dependency: ``helm install`` of a folder would
need ``helm dependency build`` first.
"""

import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HELM = Path(__file__).parent
COMMON = HELM / "common"
DOCS = HELM.parent / "docs"
PAGES = {
    "tidegate": "values.md",
    "tidegate-training": "values-training.md",
    "tidegate-loadtest": "values-loadtest.md",
    "tidegate-monitoring": "values-monitoring.md",
}
"""The reference page of each chart."""
NOT_COPIED = {
    "tidegate": frozenset({"_config_file.tpl", "_job.tpl", "secret.yaml"}),
    "tidegate-training": frozenset({"_alerts.tpl"}),
    "tidegate-loadtest": frozenset({"_alerts.tpl"}),
    "tidegate-monitoring": frozenset(
        {
            "_config_file.tpl",
            "_job.tpl",
            "_metadata.tpl",
            "_network_policy.tpl",
            "_object_store.tpl",
            "_pod.tpl",
            "_pod_extensions.tpl",
            "_validation.tpl",
            "extra_objects.yaml",
            "secret.yaml",
            "serviceaccount.yaml",
        }
    ),
}
"""Templates of ``common`` that a chart does without. Serving has no Secret and no Job, monitoring no pods."""
WITH_DASHBOARD = ("tidegate", "tidegate-monitoring")
"""The charts that get the dashboard of a release."""
HEADER = "{{- /* Generated from helm/common; do not edit. */ -}}\n"
"""First line of a copied template. As a template comment, it appears in no rendered manifest."""

_PROSE = ("description", "examples", "title")

Schema = dict[str, Any]


def resolve_extends(schema: Any, sections: Schema) -> Any:
    """Replace every ``extends: <section>`` by the section, overridden by the keys next to it.

    Raises:
        KeyError: If a section does not exist.
    """
    if isinstance(schema, list):
        return [resolve_extends(item, sections) for item in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("extends")
    if not isinstance(name, str):  # a value that is called "extends" is a schema itself
        return {key: resolve_extends(value, sections) for key, value in schema.items()}
    own = {key: resolve_extends(value, sections) for key, value in schema.items() if key != "extends"}
    return _override(resolve_extends(sections[name], sections), own)


def load_schema(chart: str) -> Schema:
    """Return a chart's schema, with descriptions and with the shared sections in place."""
    sections = yaml.safe_load((COMMON / "values.schema.yaml").read_text())
    schema: Schema = resolve_extends(
        yaml.safe_load((HELM / chart / "values.schema.yaml").read_text()), sections
    )
    return schema


def without_prose(schema: Any) -> Any:
    """Return the schema without descriptions, examples and titles; a property of such a name stays."""
    if isinstance(schema, list):
        return [without_prose(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: without_prose(part) for name, part in value.items()}
        if key == "properties"
        else without_prose(value)
        for key, value in schema.items()
        if key not in _PROSE
    }


def require_defaults(schema: Schema, defaults: Any) -> Schema:
    """Require every value whose default is not null, at every level that the schema names."""
    if "properties" not in schema:
        return schema
    given = {key: value for key, value in defaults.items() if value is not None}
    properties = {key: require_defaults(part, given.get(key)) for key, part in schema["properties"].items()}
    return schema | {"properties": properties, "required": list(given)}


def sections_of_page(schema: Schema, values: Schema, path: str = "") -> Iterator[str]:
    """Yield a section per value, in the schema's order: description, type, default and examples.

    Args:
        schema: The schema of an object.
        values: The defaults of its values.
        path: The object's path, empty for the root.
    """
    for key, part in schema.get("properties", {}).items():
        name = f"{path}.{key}" if path else key
        default = values.get(key) if isinstance(values, dict) else None
        yield f"{'##' if not path else '###'} {name}\n"
        yield part["description"].strip() + "\n"
        if "properties" in part:
            yield from sections_of_page(part, default if isinstance(default, dict) else {}, name)
            continue
        facts = [f"Type: {_type_text(part)}."]
        if default not in (None, "", [], {}) and not isinstance(default, dict | list):
            facts.append(f"Default: `{json.dumps(default)}`.")
        yield " ".join(facts) + "\n"
        if isinstance(default, dict | list) and default:
            yield "Default:\n" + _yaml_block({key: default})
        for example in part.get("examples", []):
            yield "Example:\n" + _yaml_block({key: example})


def commented_values(schema: Schema, values: Schema, indent: str = "") -> Iterator[str]:
    """Yield the lines of ``values.yaml``: each value with its description as a comment, and its default.

    Args:
        schema: The schema of an object, with descriptions.
        values: The defaults of its values.
        indent: The object's indentation.
    """
    for key, default in values.items():
        part = schema["properties"][key]
        if not indent:
            yield ""
        yield from _comment(part["description"].strip(), indent)
        if "enum" in part:
            yield f"{indent}# O{_type_text(part).removeprefix('o')}."
        if "properties" in part:
            yield f"{indent}{key}:"
            yield from commented_values(part, default, indent + "  ")
        else:
            yield textwrap.indent(_yaml({key: default}), indent).rstrip()


def readme(chart: str, schema: Schema, values: Schema) -> str:
    """Return a chart's README, which `helm show readme` prints, without links to other files.

    Args:
        chart: The chart's folder.
        schema: Its schema, with descriptions.
        values: Its defaults.
    """
    metadata = yaml.safe_load((HELM / chart / "Chart.yaml").read_text())
    least = yaml.safe_load((HELM / chart / "ci" / "minimal-values.yaml").read_text())
    oldest = metadata["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
    head = (
        f"# {chart}\n\n{metadata['description']} It needs Kubernetes {oldest} or later.\n\n"
        f"These values are sufficient:\n\n{_yaml_block(least)}\n"
        "The notes that Helm prints have the next steps. Helm rejects unknown names, wrong types, and\n"
        "`null` unless it is the default. Names such as `docs/canary.md` are pages of the repository.\n"
    )
    return "\n".join([head, *(_without_links(section) for section in sections_of_page(schema, values))])


def page(chart: str, schema: Schema, values: Schema) -> str:
    """Return the reference page of a chart.

    Args:
        chart: The chart's folder.
        schema: Its schema, with descriptions.
        values: Its defaults.
    """
    source = f"helm/{chart}/values.schema.yaml"
    head = (
        f"# Values of helm/{chart}\n\n"
        f"Generated from `{source}` by `make charts`; edit the source. Helm validates types, ranges\n"
        "and names against the same source and rejects an unknown name. It also rejects `null`, unless\n"
        '`null` is the default: to leave a value out, write `""`, `[]` or `{}`.\n'
    )
    return "\n".join([head, *sections_of_page(schema, values)])


def with_version(metadata: str, version: str) -> str:
    """Return a ``Chart.yaml`` with the version of the project, and everything else unchanged."""
    metadata = re.sub(r"^version: .*$", f"version: {version}", metadata, flags=re.MULTILINE)
    return re.sub(r"^appVersion: .*$", f'appVersion: "{version}"', metadata, flags=re.MULTILINE)


def copies(chart: str) -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each template that a chart gets from ``common``."""
    for source in sorted((COMMON / "templates").iterdir()):
        if source.name not in NOT_COPIED.get(chart, ()):
            yield HELM / chart / "templates" / "common" / source.name, HEADER + source.read_text()


def generated_files() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of every generated file."""
    project = tomllib.loads((HELM.parent / "pyproject.toml").read_text())["project"]
    dashboard = Path("dashboards") / "release.json"
    for chart in WITH_DASHBOARD:
        yield HELM / chart / dashboard, (COMMON / dashboard).read_text()
    for chart, reference in PAGES.items():
        yield from copies(chart)
        metadata = HELM / chart / "Chart.yaml"
        yield metadata, with_version(metadata.read_text(), project["version"])
        text = (HELM / chart / "values.yaml").read_text()
        values = yaml.safe_load(text)
        schema = require_defaults(load_schema(chart), values)
        head = text.partition("\n\n")[0].splitlines()
        yield HELM / chart / "values.yaml", "\n".join([*head, *commented_values(schema, values), ""])
        yield HELM / chart / "README.md", readme(chart, schema, values)
        yield HELM / chart / "values.schema.json", json.dumps(without_prose(schema), indent=2) + "\n"
        yield DOCS / reference, page(chart, schema, values)


def stale_copies() -> Iterator[Path]:
    """Yield each file in a folder of copies that ``common`` does not have."""
    for chart in PAGES:
        expected = {path for path, _ in copies(chart)}
        yield from sorted(set((HELM / chart / "templates" / "common").glob("*")) - expected)


def main() -> int:
    """Write the files, or with ``--check`` only compare them."""
    check = "--check" in sys.argv[1:]
    outdated = {path: text for path, text in generated_files() if _read(path) != text}
    stale = list(stale_copies())
    if not check:
        for path, text in outdated.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        for path in stale:
            path.unlink()
    for path in [*outdated, *stale]:
        print(path.relative_to(HELM.parent))
    return 1 if check and (outdated or stale) else 0


def _override(section: Any, own: Any) -> Any:
    if not isinstance(section, dict) or not isinstance(own, dict):
        return own
    return section | {key: _override(section.get(key), value) for key, value in own.items()}


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _type_text(part: Schema) -> str:
    if "enum" in part:
        return "one of " + ", ".join(f"`{value}`" if value else "empty" for value in part["enum"])
    types = part["type"] if isinstance(part["type"], list) else [part["type"]]
    limits = [
        f"{word} {part[key]}"
        for key, word in (("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most"))
        if key in part
    ]
    return ", ".join([" or ".join("empty" if name == "null" else name for name in types), *limits])


def _comment(description: str, indent: str) -> Iterator[str]:
    """Yield a description as comment lines: paragraphs are wrapped, tables stay as they are."""
    mark = f"{indent}# "
    for number, paragraph in enumerate(_without_links(description).split("\n\n")):
        if number:
            yield mark.rstrip()
        if paragraph.startswith("|"):
            yield from (mark + line for line in paragraph.splitlines())
        else:
            yield from (mark + line for line in textwrap.wrap(" ".join(paragraph.split()), 110 - len(mark)))


def _without_links(text: str) -> str:
    """Return Markdown with the text of each link in place of the link."""
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes with double quotes where quotes are necessary."""

    def choose_scalar_style(self) -> str:
        style: str = super().choose_scalar_style()
        return '"' if style == "'" else style


def _yaml(value: Schema) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=110)


def _yaml_block(value: Schema) -> str:
    return f"```yaml\n{_yaml(value)}```\n"


if __name__ == "__main__":
    sys.exit(main())
