"""How a user writes what is to train."""

from __future__ import annotations

import pytest

from visgen.errors import ConfigError
from visgen.experts import Selection, parse_selection


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("head", Selection("head")),
        ("router", Selection("router")),
        ("top:4", Selection("top", 4)),
        ("bottom:1", Selection("bottom", 1)),
        ("new:2", Selection("new", 2)),
        ("full", Selection("full")),
        ("lora", Selection("lora")),
        ("lora:8", Selection("lora", 8)),
        ("3", Selection("only", experts=(3,))),
        (" 3, 1,3 ", Selection("only", experts=(1, 3))),
    ],
)
def test_every_form_is_read(text: str, meant: Selection) -> None:
    assert parse_selection(text) == meant
    assert parse_selection(str(meant)) == meant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the selection of experts is empty; use one of head, router"),
        ("  ", "the selection of experts is empty"),
        ("top:0", "experts 'top:0' selects no expert at all; use top:1 or more, or head"),
        ("lora:0", "experts 'lora:0' selects a rank of 0"),
        ("top", "experts 'top' has no whole number after the colon; write top:4"),
        ("new:two", "experts 'new:two' has no whole number"),
        ("bottom:-1", "experts 'bottom:-1' has no whole number"),
        ("botom:3", "experts 'botom:3' is not known; did you mean 'bottom'?"),
        ("only:1", "experts 'only:1' is not known"),
        ("router:2", "experts 'router:2' has a number, but 'router' takes none"),
        (",", "experts ',' is not known"),
        ("1 3", "experts '1 3' is not known"),
        ("top:²", "experts 'top:²' has no whole number"),
    ],
)
def test_a_selection_that_says_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_selection(text)
    assert message in str(error.value)


def test_what_trains_routers_and_what_splits_a_bank() -> None:
    parsed = {
        text: parse_selection(text) for text in ("head", "router", "top:1", "bottom:1", "new:1", "0", "full", "lora")
    }
    assert [t for t, s in parsed.items() if not s.trains_routers] == ["head", "lora"]
    assert [t for t, s in parsed.items() if s.splits_bank] == ["top:1", "bottom:1", "0"]
