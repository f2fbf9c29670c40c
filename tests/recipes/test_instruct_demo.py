"""Answers to several instructions about a picture are all kept."""

from __future__ import annotations

import sys
from pathlib import Path

PHOTO = Path(__file__).resolve().parents[2] / "data" / "samples" / "airplane.jpg"


def test_each_instruction_keeps_its_answers(load_recipe, tmp_path, monkeypatch) -> None:
    recipe, asked = load_recipe("instruct/demo"), ["segment the road", "how far is everything?"]
    monkeypatch.setattr(recipe.visgen, "load_model", lambda *_: recipe.quick_model(asked))
    words = [word for text in asked for word in ("--do", text)]
    monkeypatch.setattr(sys, "argv", ["demo.py", str(PHOTO), *words, "--out", str(tmp_path)])
    recipe.main()
    found = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.png")}
    assert {"1-segment-the-road/airplane-segmentation.png", "2-how-far-is-everything/airplane-depth.png"} <= found
