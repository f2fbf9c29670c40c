import pytest

from visgen.data import Concat, Mapped, Source, Subset, build_source
from visgen.data.source import split_spec
from visgen.errors import ConfigError, DataError, UnknownName


def test_wrappers_are_sources_and_keep_labels_as_the_same_objects(numbers):
    source = numbers(6)
    item = source[3]
    doubled = Mapped(source, lambda s: s.replace(image=s.pixels * 2))
    assert isinstance(doubled, Source) and isinstance(Concat([source]), Source)
    assert int(doubled[3].pixels[0, 0, 0]) == 6
    kept = Mapped(source, lambda s: item.replace(image=s.pixels))
    assert kept[0].targets["classification"] is item.targets["classification"]


def test_subset_gives_the_chosen_in_their_order(numbers):
    subset = Subset(numbers(6), [5, 0, 0])
    assert [s.meta["id"] for s in subset] == [5, 0, 0] and len(subset) == 3 and subset.name == "numbers"
    with pytest.raises(DataError, match=r"index 6 .*'numbers' of 6; use 0\.\.5"):
        Subset(numbers(6), [6])


def test_concat_counts_through_and_refuses_other_heads(numbers):
    both = Concat([numbers(2), numbers(3)])
    assert [s.meta["id"] for s in both] == [0, 1, 0, 1, 2] and len(both) == 5
    with pytest.raises(IndexError, match="index 5"):
        both[5]
    with pytest.raises(DataError, match=r"classification\.other.*differ in heads"):
        Concat([numbers(2), numbers(3, "other")])
    with pytest.raises(DataError, match="0 sources"):
        Concat([])


def test_specs_are_read_strictly(monkeypatch):
    monkeypatch.setenv("SETS", "/sets")
    assert split_spec("coco:$SETS/mini") == ("coco", "/sets/mini")
    with pytest.raises(ConfigError, match="'mini' has no format"):
        split_spec("mini")
    with pytest.raises(UnknownName, match="'imagefoldr' is not known; did you mean 'imagefolder'"):
        build_source("imagefoldr:x")
    with pytest.raises(ConfigError, match=r"\$NO_SUCH_VARIABLE_HERE/x.*not set"):
        build_source("coco:$NO_SUCH_VARIABLE_HERE/x")


def test_an_unknown_option_is_named(tmp_path):
    with pytest.raises(ConfigError, match="has no option 'colour'.*Options: classes, name"):
        build_source(f"imagefolder:{tmp_path}", colour=3)
