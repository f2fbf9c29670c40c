"""The registry of typed values: each named, each readable from its dictionary."""

from __future__ import annotations

import pytest

from visgen.errors import ConfigError, DataError, UnknownName
from visgen.structures import VALUES, ClassLabel, Value, register_value, value_from_dict


def test_every_registered_value_knows_its_name_and_keeps_the_contract() -> None:
    assert set(VALUES) >= {"boxes", "class_label", "classification", "depth_map", "masks", "semantic_map"}
    for name in VALUES:
        kind = VALUES.get(name)
        assert kind.type_name == name
        assert all(callable(getattr(kind, method)) for method in ("to_dict", "from_dict", "draw", "to"))
    assert isinstance(ClassLabel(0, ("a",)), Value)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ConfigError, match="typed value 'class_label' is already registered"):
        register_value(ClassLabel)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (3, DataError, "a typed value is read from a dictionary, not from a int"),
        ({}, DataError, "the dictionary of a typed value lacks 'type'; it holds nothing"),
        ({"type": 4}, DataError, "the 'type' of a typed value is 4; it must be one of boxes"),
        ({"type": "box"}, UnknownName, r"typed value 'box' is not registered; did you mean 'boxes'\?"),
        ({"type": "class_label", "label_id": 0, "classes": 7}, DataError, "the dictionary of 'class_label' is broken"),
        ({"type": "class_label", "label_id": "0", "classes": ["a"]}, DataError, "label of ClassLabel is a str"),
    ],
)
def test_broken_dictionaries(data: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        value_from_dict(data)
