# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Make each chart's ``values.schema.json`` and reference page from its ``values.schema.yaml``.

Usage: ``python helm/generate.py`` writes the files; ``--check`` says which are out of date and ends with 1.
It decides nothing about values: what is not in the YAML schema is in neither result.
It adds one thing to the schema: a value with a default is required. Helm takes a null for "remove the
default", and no template is written for a value that is not there.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HELM = Path(__file__).parent
DOCS = HELM.parent / "docs"
PAGES = {
    "tidegate": "values.md",
    "tidegate-training": "values-training.md",
    "tidegate-loadtest": "values-loadtest.md",
}
_PROSE = ("description", "examples", "title")


def stripped(schema: Any) -> Any:
    """The schema without what only people read. A property may be called ``description`` and stays."""
    if isinstance(schema, list):
        return [stripped(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: stripped(part) for name, part in value.items()}
        if key == "properties"
        else stripped(value)
        for key, value in schema.items()
        if key not in _PROSE
    }


def required(schema: dict[str, Any], defaults: Any) -> dict[str, Any]:
    """The schema, with every value required whose default is not null, on every level that it names."""
    if "properties" not in schema:
        return schema
    given = {key: value for key, value in defaults.items() if value is not None}
    properties = {key: required(part, given.get(key)) for key, part in schema["properties"].items()}
    return schema | {"properties": properties, "required": list(given)}


def described(schema: dict[str, Any], values: dict[str, Any], path: str = "") -> Iterator[str]:
    """A section for each value, in the order of the schema: what it is, its type, default and examples."""
    for key, part in schema.get("properties", {}).items():
        name = f"{path}.{key}" if path else key
        default = values.get(key) if isinstance(values, dict) else None
        group = "properties" in part
        yield f"{'##' if not path else '###'} {name}\n"
        yield part["description"].strip() + "\n"
        if group:
            yield from described(part, default if isinstance(default, dict) else {}, name)
            continue
        facts = [f"Type: {_kind(part)}."]
        if default not in (None, "", [], {}) and not isinstance(default, dict | list):
            facts.append(f"Default: `{json.dumps(default)}`.")
        yield " ".join(facts) + "\n"
        if isinstance(default, dict | list) and default:
            yield "Default:\n" + _block({key: default})
        for example in part.get("examples", []):
            yield "Example:\n" + _block({key: example})


def page(chart: str, schema: dict[str, Any], values: dict[str, Any]) -> str:
    """The reference page of a chart."""
    source = f"helm/{chart}/values.schema.yaml"
    head = (
        f"# Values of helm/{chart}\n\n"
        f"Made from `{source}` by `python helm/generate.py`; edit it there. Helm checks types, ranges and\n"
        "names against the same source, and refuses a name that is not here. It refuses `null` as well,\n"
        'unless that is the default: to leave something out, write `""`, `[]` or `{}`.\n'
    )
    return "\n".join([head, *described(schema, values)])


def results() -> Iterator[tuple[Path, str]]:
    """Each file that is made, and what belongs into it."""
    for chart, reference in PAGES.items():
        source = HELM / chart / "values.schema.yaml"
        if not source.is_file():
            continue
        values = yaml.safe_load((HELM / chart / "values.yaml").read_text())
        schema = required(yaml.safe_load(source.read_text()), values)
        yield HELM / chart / "values.schema.json", json.dumps(stripped(schema), indent=2) + "\n"
        yield DOCS / reference, page(chart, schema, values)


def main() -> int:
    """Write the files, or with ``--check`` only compare them."""
    outdated = [(path, text) for path, text in results() if not path.is_file() or path.read_text() != text]
    for path, text in outdated:
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        print(path.relative_to(HELM.parent))
    return 1 if outdated and "--check" in sys.argv[1:] else 0


def _kind(part: dict[str, Any]) -> str:
    if "enum" in part:
        return "one of " + ", ".join(f"`{value}`" if value else "empty" for value in part["enum"])
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    limits = [
        f"{word} {part[key]}"
        for key, word in (("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most"))
        if key in part
    ]
    return ", ".join([" or ".join("empty" if kind == "null" else kind for kind in kinds), *limits])


def _block(value: dict[str, Any]) -> str:
    return f"```yaml\n{yaml.safe_dump(value, sort_keys=False, default_flow_style=False)}```\n"


if __name__ == "__main__":
    sys.exit(main())
