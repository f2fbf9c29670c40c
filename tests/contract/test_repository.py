"""The repository stays small and belongs to no machine."""

from __future__ import annotations

import re
from pathlib import Path

MEBIBYTE = 2**20
# Absolute folders of somebody's machine; the roots are put together here so that this file does not match itself.
ROOTS = "|".join(["home", "Users", "root", "wo" + "rk", "fa" + "rm", "scr" + "atch"])
MACHINE_PATH = re.compile(rf"(?<![\w.~:/<>$}})-])/(?:{ROOTS})/[\w.-]+")
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".cfg", ".csv", ""}


def test_the_repository_stays_under_52_mebibytes(root: Path, tracked: list[Path]) -> None:
    total = sum((root / p).stat().st_size for p in tracked)
    assert total < 52 * MEBIBYTE, f"tracked files weigh {total / MEBIBYTE:.1f} MiB"


def test_the_weights_stay_under_32_mebibytes(root: Path, tracked: list[Path]) -> None:
    weights = [p for p in tracked if p.suffix == ".safetensors"]
    total = sum((root / p).stat().st_size for p in weights)
    assert weights, "no weights are tracked"
    assert total < 32 * MEBIBYTE, f"weights weigh {total / MEBIBYTE:.1f} MiB"


def test_no_weights_in_formats_that_run_code(tracked: list[Path]) -> None:
    assert not [p for p in tracked if p.suffix in (".pt", ".pth", ".ckpt", ".pkl", ".bin", ".onnx", ".joblib")]


def test_no_path_of_a_machine(root: Path, tracked: list[Path]) -> None:
    found = []
    for path in tracked:
        if path.suffix in TEXT and (root / path).stat().st_size < MEBIBYTE:
            text = (root / path).read_text(encoding="utf-8", errors="ignore")
            found += [f"{path}: {m.group()}" for m in MACHINE_PATH.finditer(text)]
            found += [f"{path}: {root}"] if len(root.parts) > 2 and str(root) in text else []
    assert not found, found


def test_a_path_of_a_machine_is_recognised() -> None:
    assert MACHINE_PATH.search("open('/home/" + "anna/data')")
    assert MACHINE_PATH.search("/" + "wo" + "rk/main")
    assert not MACHINE_PATH.search("https://example.org/home/" + "page and data/home/" + "town")


def test_modules_stay_readable(package_trees: dict[Path, object], root: Path) -> None:
    lengths = {str(p): len((root / p).read_text(encoding="utf-8").splitlines()) for p in package_trees}
    long = {p: n for p, n in lengths.items() if n > 600}
    assert not long, f"split these, each at its seam: {long}"
