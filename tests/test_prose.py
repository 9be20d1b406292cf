# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The project's language: forms that no tracked file may hold, and the contract of docstrings.

``docs/glossary.md`` has the words and the reasons. ``python -m tests.test_prose [FOLDER ...]`` prints every
finding below the folders.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = frozenset(
    {".py", ".md", ".yaml", ".yml", ".tpl", ".txt", ".toml", ".j2", ".sh", ".lua", ".json", ".go"}
)
NAMES = frozenset({"Makefile", "Dockerfile", "run"})
GENERATED_OR_FOREIGN = re.compile(
    r"^(LICENSE|requirements/.*|tests/charts/schemas/.*|.*/tools/.*\.(mod|sum)|.*\.ipynb)$"
)
THIS_IS_ABOUT_WORDS = frozenset({"CHANGELOG.md", "docs/glossary.md", "tests/test_prose.py"})

FORBIDDEN = {
    "request": r"\bquestions?\b",
    "response, output, or a status that is returned": r"\b(?<!un)answer(s|ed|ing)?\b|\brepl(y|ies|ied)\b",
    # A study's method has Optuna's name.
    "send, request, query": r"\b(?<!study\.)ask(s|ed|ing)?\b",
    "BatchResult": r"\bsheets?\b",
    "successful responses, goodput": r"\bright (answers?|responses?)\b",
    "event-loop iteration": r"\bturns? of the (event )?loop\b|\bloop's (own )?turns?\b",
    "fast path": r"\bhot[ -]?path\b|\bHotPath\b|\bHotProtocol\b",
    "reject, error response": (
        r"\brefus(e|es|al|als|ing)\b"
        r"|(?<!connection )(?<!connections )\brefused\b(?!-stream)"
    ),
    "internal error": r"\bour[ _]fault\b|\b(fault|faults) of ours\b",
    "usually": r"\bmostly\b",
    "except": r"\bbut for\b",
    "a noun": r"\b(whoever|whatever|whosoever|nobody|somebody|anybody)\b",
    "next to, in addition to": r"\bbeside\b",
    "inconclusive": r"\bvoid\b",
    # The parameter of early stopping has Keras's name.
    "queue delay": r"\bpatient(ly)?\b|(?<![`'\".])\bpatience\b(?![`'\":=])|\bat ease\b",
    "requests, workload": r"\bdeck\b",
    "is not a": r"(?<!there )(?<!There )\b(is|are|was|were) no (?!longer\b|more\b|less\b|other\b)\w+",
    "per": (
        r"\b(requests?|responses?|calls?|rows?|connections?|replicas?|bytes|lines?|samples?|errors?) an? "
        r"(second|minute|hour|day|request|row|pod|replica|model|feature|call|connection|release|track)\b"
        r"|\b(an?|one|each) \w+ an? (request|row|feature|class|output|second|minute|track|image|use case)\b"
    ),
    "KServe SDK (custom model)": r"\bstock KServe\b",
    "a subject that can be looked up": r"(?:^|[.!] |\"\"\"|# |\| )(What|Who)\b(?!.*\?)",
}
"""By what to write in its place."""

_PATTERNS = {
    better: re.compile(pattern, re.M | (re.I if "What" not in pattern else 0))
    for better, pattern in FORBIDDEN.items()
}

OLD_NAMES = frozenset(
    {
        *("Sheet", "HotPath", "HotProtocol", "Heads", "Gathering", "Tally", "Observer", "References", "Team"),
        *("Assignment", "Question", "Answers", "Parts", "deferral", "grow_older", "trouble"),
        *("said_by", "ends_of", "answers_of", "our_fault", "sentence", "at_ease"),
    }
)
"""Identifiers that the glossary replaces."""

_OLD_NAME = re.compile(rf"\b({'|'.join(OLD_NAMES)})\b")

NO_VERBS = frozenset(
    {
        *("the", "a", "an", "what", "who", "how", "whether", "when", "where", "why", "nothing", "everything"),
        *(
            "all",
            "those",
            "that",
            "each",
            "one",
            "its",
            "so",
            "from",
            "by",
            "in",
            "on",
            "as",
            "no",
            "none",
            "if",
        ),
    }
)
"""Words that no function's docstring begins with."""


ARRAYS = re.compile(r"\b(NDArray|ndarray|Array|Floats|Counts|Outputs)\b")
"""Annotations of arrays."""

SHAPE = re.compile(r"\[[a-z_]+(, ?[a-z_0-9]+)*\]")
"""A shape in a docstring, such as ``[rows, width]``."""


def tracked(*folders: str) -> list[Path]:
    """Return the tracked text files below the folders."""
    listing = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [
        ROOT / name
        for name in listing.stdout.splitlines()
        if (Path(name).suffix in SUFFIXES or Path(name).name in NAMES)
        and not GENERATED_OR_FOREIGN.match(name)
        and name not in THIS_IS_ABOUT_WORDS
        and (ROOT / name).is_file()
    ]


def forbidden_forms(text: str) -> Iterator[str]:
    """Yield each forbidden form with its line."""
    found = [
        (text.count("\n", 0, match.start()) + 1, match[0].strip(), better)
        for better, pattern in _PATTERNS.items()
        for match in pattern.finditer(text)
    ]
    yield from (
        f"{number}: '{form}': write {better}"
        for number, form, better in sorted(found, key=lambda one: one[0])
    )


def old_names(source: str) -> Iterator[str]:
    """Yield each identifier that the glossary replaces."""
    if not _OLD_NAME.search(source):  # a search in the text is much faster than the tokens
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in OLD_NAMES:
            yield f"{token.start[0]}: the name '{token.string}' is replaced in the glossary"


def docstring_faults(source: str) -> Iterator[str]:
    """Yield each breach of the contract: verb first, Args from three parameters on, Raises with If."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and re.match(
            r"(What|Who|Whether|How)\b", ast.get_docstring(node) or ""
        ):
            yield f"{node.lineno}: the docstring of {node.name} begins with no noun phrase"
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if not text:
            continue
        first = re.split(r"\W", text, maxsplit=1)[0].lower()
        if first in NO_VERBS and not _is_property(node):
            yield f"{node.lineno}: the docstring of {node.name} begins with '{first}', not with a verb"
        yield from (f"{node.lineno}: {node.name}: {fault}" for fault in _section_faults(node, text))


def _section_faults(node: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> Iterator[str]:
    parameters = [
        argument
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        if argument.arg not in ("self", "cls")
    ]
    # The docstring of a command is its help text, and each option has a help text of its own.
    is_command = re.search(r"typer\.|(Option|Argument)\b", ast.unparse(node.args))
    if len(parameters) >= 3 and not (node.name.startswith("_") or is_command or "Args:" in text):
        yield f"{len(parameters)} parameters and no 'Args:'"
    annotations = [
        *(ast.unparse(p.annotation) for p in parameters if p.annotation),
        ast.unparse(node.returns) if node.returns else "",
    ]
    if not node.name.startswith("_") and ARRAYS.search(" ".join(annotations)) and not SHAPE.search(text):
        yield "an array and no shape such as [rows, width]"
    if raises := re.search(r"^Raises:\n((?:[ ]{4}.*\n?|\n)+)", text, re.MULTILINE):
        for entry in re.findall(r"^    \S.*", raises[1], re.MULTILINE):
            if not re.match(r"    [\w.]+: If ", entry):
                yield f"'{entry.strip()}': expected 'Error: If …'"


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = {ast.unparse(decorator) for decorator in node.decorator_list}
    return bool(names & {"property", "cached_property", "functools.cached_property"}) or any(
        name.startswith("pytest.fixture") for name in names
    )


def findings(path: Path) -> list[str]:
    """Return every finding of a file, each with its place."""
    text = path.read_text(encoding="utf-8")
    found = [*forbidden_forms(text)]
    if path.suffix == ".py":
        found += old_names(text)
        if "tests" not in path.relative_to(ROOT).parts[:1]:
            found += docstring_faults(text)
    return [f"{path.relative_to(ROOT)}:{finding}" for finding in found]


@pytest.mark.parametrize("path", tracked(), ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_tracked_file_has_no_forbidden_form(path: Path) -> None:
    assert not findings(path)


def test_prose_forbidden_form_is_found_in_a_sentence() -> None:
    assert list(forbidden_forms("The hot path answers.")) == [
        "1: 'answers': write response, output, or a status that is returned",
        "1: 'hot path': write fast path",
    ]


def test_docstring_without_verb_or_args_is_found() -> None:
    source = 'def f(a, b, c):\n    """The sum.\n\n    Raises:\n        ValueError: It is none.\n    """\n'
    assert len(list(docstring_faults(source))) == 3


if __name__ == "__main__":
    lines = [line for path in tracked(*sys.argv[1:]) for line in findings(path)]
    print("\n".join(lines))
    sys.exit(1 if lines else 0)
