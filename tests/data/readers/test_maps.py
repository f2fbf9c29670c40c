"""What a folder of maps lacks is named; that it reads back what was written is in tests/engine/test_maps.py."""

import json

import pytest

from visgen.data import build_source
from visgen.data.readers.maps import MAPS_FORMAT
from visgen.errors import DataError

ABOUT = {"format": MAPS_FORMAT, "cell": 4, "channels": 2, "classes": ["a"], "predicates": ["on"], "grid": [2, 2]}


@pytest.mark.parametrize(
    ("about", "rows", "message"),
    [
        ("{", "[]", "JSONDecodeError"),
        ("[]", "[]", "AttributeError"),
        (json.dumps({"format": MAPS_FORMAT}), "[]", r"KeyError\('cell'\)"),
        (json.dumps(ABOUT), "{", "JSONDecodeError"),
        (json.dumps(ABOUT), "[]", "FileNotFoundError"),
    ],
)
def test_files_that_are_torn_or_missing_are_named(tmp_path, about, rows, message):
    folder = tmp_path / "m" / "train"
    folder.mkdir(parents=True)
    (folder / "about.json").write_text(about)
    (folder / "rows.json").write_text(rows)
    with pytest.raises(DataError, match=rf"maps folder .*train cannot be read: {message}.*; write it again"):
        build_source(f"maps:{folder.parent}")
