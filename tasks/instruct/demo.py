"""Ask in English and look at the answer: the instruction model on any pictures.

    python tasks/instruct/demo.py data/samples/*.jpg --do "segment the road" --do "how far is everything?" --out demo

writes the typed answers (Result.save) into a folder for each instruction, such as demo/1-segment-the-road, and one
contact sheet of all pictures and instructions.
`--path both` asks the mixture of experts too and prints how far the two agree.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import visgen
from visgen.data import build_source
from visgen.diffusion import Sampling, build_tiny
from visgen.diffusion.contact import contact_sheet
from visgen.diffusion.reading import read_for
from visgen.errors import VisgenError
from visgen.language.phrases import canonical

ROOT = Path(__file__).resolve().parents[2]
ASKED = ("segment the road", "segment the car", "find the person", "how far is everything", "is there a car")
TOWN = ("segment the wall", "find the chair", "paint the table red and the person blue", "is anything unusual")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", help="pictures; the samples of the checkout when left out")
    parser.add_argument("--do", action="append", metavar="TEXT", help="an instruction; may repeat")
    parser.add_argument("--town", type=int, default=0, metavar="N", help="also N scenes of the procedural town")
    parser.add_argument("--model", default="visgen-instruct-tiny", help="shipped name or folder")
    parser.add_argument("--path", choices=["diffusion", "both"], default="diffusion")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps; 1 draws without noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for answers and the contact sheet")
    parser.add_argument("--quick", action="store_true", help="random weights and one scene, to see that it runs")
    arguments = parser.parse_args()
    asked = arguments.do or [*ASKED, *(TOWN if arguments.town or arguments.quick else ())]
    model = quick_model(asked) if arguments.quick else visgen.load_model(arguments.model, "cpu")
    files = [] if arguments.quick else arguments.pictures or sorted(map(str, (ROOT / "data" / "samples").glob("*.jpg")))
    pipe = visgen.pipeline(path=arguments.path, **{"instruct" if arguments.path == "both" else "model": model})
    for file in files:
        for number, text in enumerate(asked, 1):
            result = pipe(file, text, seed=arguments.seed, steps=arguments.steps, progress=arguments.steps > 1)
            words = re.findall(r"\w+", text.lower())
            result.save(arguments.out / "-".join([str(number), *words])[:60])
            agreed = (result.request or {}).get("agreement")
            print(json.dumps({"picture": Path(file).name, "asked": text, "path": result.path, "agreement": agreed}))
    photographs = [visgen.load_image(file) for file in files]
    scenes = build_source("town:instruct?size=128x128", "val", count=max(1, arguments.town))
    photographs += [scenes[k].image for k in range(arguments.town or int(arguments.quick))]
    texts = [canonical(request) for text in asked for request in read_for(model, text)]
    sheet = contact_sheet(model, photographs, texts, sampling=Sampling(arguments.steps), seed=arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.out / "contact.png")
    print(f"wrote {arguments.out / 'contact.png'}")


def quick_model(asked: list[str]) -> object:
    """Fresh weights, which draw nonsense of the right shape."""
    return build_tiny(asked, size=64, vae_widths=(8, 8, 8), vae_groups=4, unet_widths=(8, 8), unet_groups=4,
                      text_width=8, text_layers=1, tokens=64, vocabulary=600).eval()  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")
