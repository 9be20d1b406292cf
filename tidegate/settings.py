# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration files: YAML parsed into a pydantic model.

Every error has the file, the line and the field, including errors found long after the file was read. The
meaning of the fields belongs to the model. Aliases are rejected, because a few lines of aliases can expand to
more values than fit into memory.
"""

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from tidegate.errors import ConfigurationError, FieldError, Location

M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 64
"""The maximum nesting of values: more than any configuration file needs, and far within Python's stack."""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file with the line of every field."""

    path: Path
    values: Any
    _root: yaml.MappingNode

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            ConfigurationError: If the file cannot be read, or is not a YAML mapping of fields.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigurationError(f"{path} does not exist: expected a YAML file.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}.") from None
        try:
            loader = _Loader(text)
            root = loader.get_single_node()
            values = loader.construct_document(root) if root is not None else None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigurationError(f"{path}:{line}: cannot be read as YAML: {error.problem}.") from None
        except yaml.YAMLError as error:
            raise ConfigurationError(
                f"{path} cannot be read as YAML: {str(error).splitlines()[0]}."
            ) from None
        if not isinstance(root, yaml.MappingNode):
            kinds = {yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}
            received = kinds.get(type(root), "nothing")
            raise ConfigurationError(f"{path}:1: expected a mapping of fields, received {received}.")
        for key, line in _duplicate_keys(root):
            raise ConfigurationError(f"{path}:{line}: the field '{key}' is given twice.")
        return cls(path, values, root)

    def parse_as(self, model: type[M]) -> M:
        """Validate the fields and return them as a model.

        Raises:
            ConfigurationError: If a field is not valid; the message has each error's line and field.
        """
        try:
            return model.model_validate(self.values, context={"folder": self.path.parent})
        except ValidationError as error:
            raise ConfigurationError("\n".join(_messages(self.path, self._root, error))) from None

    @contextmanager
    def locate_field_errors(self) -> Iterator[None]:
        """Add the file and the line to every :class:`FieldError` that the block raises.

        Raises:
            ConfigurationError: If the block raises a FieldError; the message has its line.
        """
        try:
            yield
        except FieldError as error:
            line, _ = _locate(self._root, error.location)
            raise ConfigurationError(f"{self.path}:{line}: {error}") from None


def parse_value(text: str) -> Any:
    """Parse a command line's value as configuration files do: ``0.3`` is a number, ``{a: 1}`` a mapping.

    >>> parse_value("{metric: f1}")
    {'metric': 'f1'}

    Raises:
        ConfigurationError: If the text is not YAML.
    """
    try:
        return _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigurationError(f"{text!r} cannot be read as YAML: {problem}.") from None


def load_yaml(path: Path, model: type[M]) -> M:
    """Read a YAML file into a model.

    Raises:
        ConfigurationError: If the file cannot be read, is not valid YAML, or does not match the model; the
            message has each error's line and field.
    """
    return Document.read(path).parse_as(model)


class _Loader(yaml.SafeLoader):
    """A safe loader with bounded depth and no aliases, whose errors have a line.

    Numbers are those of YAML 1.2's core schema: ``1e-3`` is a number, and ``0100``, ``1_000`` and ``1:30``
    are texts, not 64, 1000 and 90 as in YAML 1.1. Dates are texts, as in JSON.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            problem = f"the alias *{event.anchor} is not supported, write the value out"
            raise ComposerError(None, None, problem, mark)
        if self._depth == MAX_DEPTH:
            raise ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):
            # SafeLoader raises these, without a line, for a text whose tag or form promises another type.
            problem = f"'{str(node.value)[:40]}' is not a valid {node.tag.rpartition(':')[2]}"
            raise ConstructorError(None, None, problem, node.start_mark) from None


_OTHER_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHER_TAGS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_DIGITS = "-+0123456789"
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+)\Z"), list(_DIGITS)
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
    ),
    list(_DIGITS + "."),
)


def _messages(path: Path, root: yaml.Node, error: ValidationError) -> Iterator[str]:
    details = error.errors(include_url=False)
    # pydantic counts only valid items, so it also reports a list of wrong items as too short.
    parents = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    for detail in details:
        if detail["type"] == "too_short" and detail["loc"] in parents:
            continue
        line, location = _locate(root, detail["loc"])
        field = ".".join(map(str, location))
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, FieldError):
            # pydantic's location may hold names that are not fields; a FieldError's location never does.
            located = FieldError((*location, *cause.location), cause.problem)
            line, _ = _locate(root, located.location)
            yield f"{path}:{line}: {located}"
        elif detail["type"] == "extra_forbidden":
            yield f"{path}:{line}: unknown field '{field}'."
        elif detail["type"] == "missing":
            missing = ".".join(map(str, (*location, detail["loc"][-1])))
            yield f"{path}:{line}: the field '{missing}' is missing."
        else:
            message = detail["msg"].removeprefix("Value error, ")
            received = "" if isinstance(detail["input"], dict | list) else f", received {detail['input']!r}"
            yield f"{path}:{line}: field '{field or 'document'}': {message}{received}."


def _locate(node: yaml.Node, location: Location) -> tuple[int, Location]:
    """Return the line, from 1, and the location of a location's deepest field that the document has.

    pydantic adds the names of a union's members to a location. They are not fields, so they are skipped.
    """
    line, fields = node.start_mark.line + 1, []
    for key in location:
        if isinstance(node, yaml.MappingNode):
            for key_node, value in node.value:
                if key_node.value == str(key):
                    node, line = value, key_node.start_mark.line + 1
                    fields.append(key)
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
            fields.append(key)
    return line, tuple(fields)


def _duplicate_keys(node: yaml.Node) -> Iterator[tuple[str, int]]:
    """Yield keys that one mapping has twice, with their lines: PyYAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        keys: set[Hashable] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # fields have scalar keys
            if key.value in keys:
                yield key.value, key.start_mark.line + 1
            keys.add(key.value)
            yield from _duplicate_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _duplicate_keys(item)
