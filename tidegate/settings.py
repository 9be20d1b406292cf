# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration files: YAML that a person wrote, read into a pydantic model.

A mistake is told with file, line and field, also one that is found only when the file is long read. What
the fields mean is the model's business. Aliases are refused: nobody needs them here, and a few lines of them
can stand for more values than fit into memory.
"""

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

DEPTH_LIMIT = 64
"""How deep values may be nested, far beyond what any file of ours needs and far within Python's stack."""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as a person wrote it, with the line of every field."""

    path: Path
    values: Any
    _root: yaml.MappingNode

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            ConfigurationError: The file cannot be read, or is no YAML with a mapping of fields.
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
            raise ConfigurationError(f"{path}:1: expected a mapping of fields, found something else.")
        for key, line in _repeated(root):
            raise ConfigurationError(f"{path}:{line}: the field '{key}' is given twice.")
        return cls(path, values, root)

    def fit(self, model: type[M]) -> M:
        """The file's fields as a model.

        Raises:
            ConfigurationError: They do not fit; the sentence names the line and the field of every mistake.
        """
        try:
            return model.model_validate(self.values, context={"folder": self.path.parent})
        except ValidationError as error:
            raise ConfigurationError("\n".join(_explain(self.path, self._root, error))) from None

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Tell where in the file the field is that turns out not to fit while the block runs.

        Raises:
            ConfigurationError: A field did not fit; the sentence names its line.
        """
        try:
            yield
        except FieldError as error:
            line, _ = _find(self._root, error.location)
            raise ConfigurationError(f"{self.path}:{line}: {error}") from None


def load_yaml(path: Path, model: type[M]) -> M:
    """Read a YAML file into a model.

    Raises:
        ConfigurationError: The file cannot be read, is no YAML, or does not fit the model; the sentence names
            the line and the field of every mistake.
    """
    return Document.read(path).fit(model)


class _Loader(yaml.SafeLoader):
    """A safe loader that also bounds what it makes, and knows the line of every value that is none."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            problem = f"the alias *{event.anchor} is refused, write the value out"
            raise ComposerError(None, None, problem, mark)
        if self._depth == DEPTH_LIMIT:
            raise ComposerError(None, None, f"nested deeper than {DEPTH_LIMIT} levels", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError):
            # What SafeLoader lets through when a text is tagged, or looks like, what it is not.
            problem = f"'{str(node.value)[:40]}' is no {node.tag.rpartition(':')[2]}"
            raise ConstructorError(None, None, problem, node.start_mark) from None


def _explain(path: Path, document: yaml.Node, error: ValidationError) -> Iterator[str]:
    for mistake in error.errors(include_url=False):
        line, known = _find(document, mistake["loc"])
        field = ".".join(map(str, known))
        cause = mistake.get("ctx", {}).get("error")
        if isinstance(cause, FieldError):
            # A part of pydantic's location may be no field; a validator's is one, whether written or not.
            whole = FieldError((*known, *cause.location), cause.complaint)
            line, _ = _find(document, whole.location)
            yield f"{path}:{line}: {whole}"
        elif mistake["type"] == "extra_forbidden":
            yield f"{path}:{line}: unknown field '{field}'."
        elif mistake["type"] == "missing":
            missing = ".".join(map(str, (*known, mistake["loc"][-1])))
            yield f"{path}:{line}: the field '{missing}' is missing."
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            received = "" if isinstance(mistake["input"], dict | list) else f", received {mistake['input']!r}"
            yield f"{path}:{line}: field '{field or 'document'}': {message}{received}."


def _find(node: yaml.Node, location: Location) -> tuple[int, Location]:
    """The line (from 1) of the deepest part of a location that the document has, and that part.

    pydantic puts the names of a union's members into a location; they are no fields and are passed over.
    """
    line, known = node.start_mark.line + 1, []
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    node, line = value, key.start_mark.line + 1
                    known.append(part)
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            known.append(part)
    return line, tuple(known)


def _repeated(node: yaml.Node) -> Iterator[tuple[str, int]]:
    """Keys given twice in one mapping, with their lines: YAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # whatever it is, it is no field
            if key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(key.value)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)
