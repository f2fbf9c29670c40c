"""What does the data engine do to a training set? Pictures of every part, and how often each class is shown.

python tasks/gaps/sheet.py gaps.yaml --out runs/gaps-sheet
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from visgen.config import PartConfig, load_run
from visgen.data import Source
from visgen.engine.evaluate import evenly_spaced
from visgen.engine.parts import open_part
from visgen.errors import VisgenError
from visgen.nn.luma import mean_luma
from visgen.structures.canvas import FAINT, INK, PAPER, TRACK, font_of, stack
from visgen.structures.palette import OKABE_ITO

DARK = 0.4  # mean luma below which a picture is counted as dark
TEXT, TILE = 14, (96, 72)


def held(sample: Any) -> set[str]:
    """Names of the classes of a sample, and "dark"."""
    found = {"dark pictures"} if float(mean_luma(sample.image)) < DARK else set()
    for target in sample.targets.values():
        if hasattr(target, "ids"):
            found |= {target.classes[k] for k in target.ids.unique().tolist() if k != 255}
        elif hasattr(target, "names"):
            found |= {name for name in target.names if isinstance(name, str)}
        elif hasattr(target, "label"):
            found.add(target.name)
    return found


def shares(source: Source, counted: int) -> dict[str, float]:
    """Share of a part's pictures that hold each class."""
    chosen = evenly_spaced(len(source), counted)
    rows = [held(source[i]) for i in chosen]
    return {name: sum(name in row for row in rows) / len(rows) for name in set().union(*rows)}


def strip(name: str, part: PartConfig, source: Source, share: float, pictures: int) -> Image.Image:
    """Some pictures of a part under its name and its share of the steps."""
    width, height = TILE
    row = Image.new("RGB", (pictures * (width + 4) + 4, height + 3 * TEXT), PAPER)
    pen = ImageDraw.Draw(row)
    pen.text((4, TEXT), f"{name}: {100 * share:.0f} % of the steps", INK, font_of(TEXT), anchor="lm")
    for k, i in enumerate(evenly_spaced(len(source), pictures)):
        pixels = (source[i].image * 255).round().byte().permute(1, 2, 0).numpy()
        tile = Image.fromarray(np.ascontiguousarray(pixels)).resize(TILE, Image.Resampling.BICUBIC)
        row.paste(tile, (4 + k * (width + 4), 2 * TEXT))
    return row


def bars(before: dict[str, float], after: dict[str, float], width: int, most: int = 12) -> Image.Image:
    """Share of the pictures that hold a class without and with what was asked for, the largest changes first."""
    names = sorted(after, key=lambda n: -abs(after[n] - before.get(n, 0.0)))[:most]
    line, left = 2 * TEXT, 110
    sheet = Image.new("RGB", (width, line * (len(names) + 2)), PAPER)
    pen = ImageDraw.Draw(sheet)
    title = "pictures of a training step that hold it: without (grey) and with what was asked for (blue)"
    pen.text((4, TEXT), title, FAINT, font_of(TEXT), anchor="lm")
    for row, name in enumerate(names, start=1):
        top = row * line + 4
        pen.text((4, top + TEXT // 2 + 2), name, INK, font_of(TEXT), anchor="lm")
        for offset, value, colour in ((0, before.get(name, 0.0), FAINT), (10, after[name], OKABE_ITO[6])):
            pen.rectangle((left, top + offset, width - 60, top + offset + 8), fill=TRACK)
            end = left + round(value * (width - 60 - left))
            if end > left:
                pen.rectangle((left, top + offset, end, top + offset + 8), fill=colour)
        note = f"{100 * after[name]:.0f} %"
        pen.text((width - 8, top + TEXT // 2 + 2), note, INK, font_of(TEXT), anchor="rm")
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="run file that visgen data gaps wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--counted", type=int, default=150, help="pictures of each part that are counted")
    parser.add_argument("--quick", action="store_true", help="two parts of the procedural world, few pictures")
    options = parser.parse_args()
    try:
        if options.quick:
            usual = PartConfig(source="town:street?size=48x64&count=6&tasks=segmentation", weight=0.6)
            nights = PartConfig(source="town:street?size=48x64&count=6&tasks=segmentation&time=night", weight=0.4)
            parts, options.pictures, options.counted = {"base": usual, "asked-town-light-dark": nights}, 3, 6
        else:
            parts = load_run(options.run).data.train
        sources = {name: open_part(part, "train", name) for name, part in parts.items()}
        counted = {name: shares(source, options.counted) for name, source in sources.items()}
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")
    total = sum(part.weight for part in parts.values())
    base = sum(part.weight for name, part in parts.items() if not name.startswith("asked-"))
    names = set().union(*counted.values())
    after = {n: sum(parts[p].weight * counted[p].get(n, 0.0) for p in parts) / total for n in names}
    kept = [p for p in parts if not p.startswith("asked-")]
    before = {n: sum(parts[p].weight * counted[p].get(n, 0.0) for p in kept) / base for n in names}
    rows = [strip(n, parts[n], sources[n], parts[n].weight / total, options.pictures) for n in parts]
    options.out.mkdir(parents=True, exist_ok=True)
    stack([*rows, bars(before, after, rows[0].width)]).quantize(128).save(options.out / "sheet.png", optimize=True)
    print(json.dumps({"without": before, "with": after}, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
