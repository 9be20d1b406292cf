# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import contextlib
from itertools import pairwise
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from tidegate.errors import ConfigurationError, FieldError
from tidegate.settings import Document, load_yaml, parse_value


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Constant(Closed):
    kind: Literal["constant"]
    rate: Annotated[float, Field(gt=0)]


class Ramp(Closed):
    kind: Literal["ramp"]
    to: float


class Plan(Closed):
    name: str
    steps: list[Annotated[Constant | Ramp, Field(discriminator="kind")]] = []
    limits: dict[str, float] = {}


def load(tmp_path, text):
    (tmp_path / "plan.yaml").write_text(text, encoding="utf-8")
    return load_yaml(tmp_path / "plan.yaml", Plan)


def test_load_yaml_of_a_valid_file_returns_the_model(tmp_path):
    plan = load(tmp_path, "name: x\nsteps:\n- kind: ramp\n  to: 3\n")
    assert plan == Plan(name="x", steps=[Ramp(kind="ramp", to=3.0)])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nam: x\n", r"plan\.yaml:1: unknown field 'nam'"),
        ("limits: {}\n", r"plan\.yaml:1: the field 'name' is missing"),
        (
            "name: x\nsteps:\n- kind: constant\n  rate: -1\n",
            r"plan\.yaml:4: field 'steps\.0\.rate': .*received -1",
        ),
        ("name: x\nsteps:\n- kind: ramp\n", r"plan\.yaml:3: the field 'steps\.0\.to' is missing"),
        ("name: x\nsteps:\n- kind: other\n", r"plan\.yaml:3: field 'steps\.0"),
        ("name: x\nlimits:\n  a: fast\n", r"plan\.yaml:3: field 'limits\.a': .*received 'fast'"),
        ("name: x\nname: y\n", r"plan\.yaml:2: the field 'name' is given twice"),
        ("name: x\nlimits:\n  a: 1\n  a: 2\n", r"plan\.yaml:4: the field 'a' is given twice"),
        ("name: [x\n", r"plan\.yaml:2: cannot be read as YAML"),
        ("- name\n", r"plan\.yaml:1: expected a mapping of fields, received a list"),
        ("", r"plan\.yaml:1: expected a mapping of fields, received nothing"),
        ("name: !!python/object:os.system x\n", r"plan\.yaml:1: cannot be read as YAML"),
        ("name: x\nseed: !!timestamp 2020-13-45\n", r"plan\.yaml:2: .*'2020-13-45' is not a valid timestamp"),
        ("name: !!int abc\n", r"plan\.yaml:1: .*'abc' is not a valid int"),
        ("name: !!bool maybe\n", r"plan\.yaml:1: .*'maybe' is not a valid bool"),
        ("name: !!timestamp soon\n", r"plan\.yaml:1: .*'soon' is not a valid timestamp"),
        ("name: &a [*a]\n", r"plan\.yaml:1: .*the alias \*a is not supported"),
        ("name: &a x\nlimits: {b: *a}\n", r"plan\.yaml:2: .*the alias \*a is not supported"),
        (f"name: x\nsteps: {'[' * 3000}", r"plan\.yaml:2: .*nested deeper than 64 levels"),
        (f"name: x\nsteps: {'{a: ' * 3000}", r"plan\.yaml:2: .*nested deeper than 64 levels"),
        ("? [a]\n: x\n", r"plan\.yaml:1: .*unhashable key"),
        ("name: \x01\n", r"plan\.yaml cannot be read as YAML: unacceptable character"),
    ],
)
def test_load_yaml_error_has_line_and_field(tmp_path, text, problem):
    with pytest.raises(ConfigurationError, match=problem):
        load(tmp_path, text)


def test_load_yaml_rejects_aliases_before_they_expand(tmp_path):
    lines = [f"{name}: &{name} [{', '.join([f'*{of}'] * 9)}]" for of, name in pairwise("abcdefghij")]
    with pytest.raises(ConfigurationError, match=r"plan\.yaml:2: .*the alias \*a is not supported"):
        load(tmp_path, "\n".join(["a: &a [x, x, x]", *lines]))


@given(st.text() | st.text("ab:-&*!?[]{}'\"|>%@#,. \n\t0123456789"))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_load_yaml_of_any_text_raises_or_returns_the_model(tmp_path, text):
    with contextlib.suppress(ConfigurationError):
        assert isinstance(load(tmp_path, text), Plan)


def test_load_yaml_reports_every_error(tmp_path):
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, "nam: x\nlimits:\n  a: fast\n")
    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == ["1", "3", "1"]


def test_wrong_items_are_not_reported_as_too_few(tmp_path):
    class Series(Closed):
        steps: Annotated[tuple[Constant, ...], Field(min_length=1)]

    path = tmp_path / "series.yaml"
    path.write_text("steps:\n- {kind: constant, rate: 0}\n")
    with pytest.raises(ConfigurationError, match=r"\A[^\n]*series\.yaml:2: field 'steps\.0\.rate'[^\n]*\Z"):
        load_yaml(path, Series)
    path.write_text("steps: []\n")
    with pytest.raises(ConfigurationError, match="at least 1 item"):
        load_yaml(path, Series)


def test_load_yaml_of_a_missing_file_names_it(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml does not exist"):
        load_yaml(tmp_path / "nowhere.yaml", Plan)


def test_locate_field_errors_adds_file_and_line(tmp_path):
    (tmp_path / "plan.yaml").write_text("name: x\nlimits:\n  a: 1\n")
    document = Document.read(tmp_path / "plan.yaml")
    with pytest.raises(ConfigurationError) as raised, document.locate_field_errors():
        raise FieldError(("limits", "a"), "expected at least 2, received 1")
    assert str(raised.value).endswith("plan.yaml:3: field 'limits.a': expected at least 2, received 1.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("+7", 7),
        ("0", 0),
        ("0x1F", 31),
        ("-.inf", -float("inf")),
        ("0100", "0100"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e", "1e"),
        ("2021-03-01", "2021-03-01"),
        ("'1e-3'", "1e-3"),
        ("true", True),
        ("null", None),
    ],
)
def test_read_numbers_are_those_of_yaml_1_2(tmp_path, text, expected):
    (tmp_path / "plan.yaml").write_text(f"value: {text}\n")
    for value in (Document.read(tmp_path / "plan.yaml").values["value"], parse_value(text)):
        assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize("text", ["{metric: f1", "*name", "!!python/name:os.system x", "\x00"])
def test_parse_value_that_is_not_yaml_is_one_sentence(text):
    with pytest.raises(ConfigurationError, match="cannot be read as YAML: ") as raised:
        parse_value(text)
    assert len(str(raised.value).splitlines()) == 1
