"""Let a fresh denoiser learn a few questions of every task by heart: what it cannot repeat, no data would teach it.

    python tasks/instruct/overfit.py --out model_zoo/results

Eight town scenes, six tasks; about four minutes on one core. Prints and keeps the loss before and after, and the score
of each task beside the bound of codec and VAE and the control with the words of other questions.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from visgen.data import build_source
from visgen.engine.instruct_overfit import ask_every_task, learn_by_heart
from visgen.errors import VisgenError
from visgen.metrics import write_record
from visgen.zoo import INSTRUCT_MODEL, load_model

TOWN = "town:instruct?size=64x64&count=60&ood_share=0.5"
TARGETS = "classification,detection,segmentation,depth,scene_graph"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8, help="town scenes, each with a question of every task")
    parser.add_argument("--steps", type=int, default=200, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the record instruct_overfit.json into this folder")
    parser.add_argument("--quick", action="store_true", help="one scene and two steps, to see that it runs")
    options = parser.parse_args()
    images, steps = (1, 2) if options.quick else (options.images, options.steps)
    shipped: Any = load_model(INSTRUCT_MODEL, "cpu")
    rows = ask_every_task(shipped, build_source(TOWN, "train", tasks=TARGETS), images, options.seed)
    found = learn_by_heart(shipped, rows, steps=steps, seed=options.seed, threads=options.threads)
    print(json.dumps(found, indent=1))
    if options.out is not None:
        command = " ".join(["python", "tasks/instruct/overfit.py", *sys.argv[1:]])
        write_record(options.out / "instruct_overfit.json", command=command, config=None,
                     seeds=[options.seed], data=TOWN, split="train", metrics=found,
                     protocol={"images": images, "steps": steps, "asked": "the questions that were learnt"},
                     environment={"vae": INSTRUCT_MODEL})  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")
