"""Train an instruction model in stages: its VAE, the cached latents, its denoiser with the text encoder.

    python tasks/instruct/train.py configs/instruct/visgen_instruct_tiny.yaml --data-root DATA --stage vae
    python tasks/instruct/train.py configs/instruct/visgen_instruct_tiny.yaml --data-root DATA --stage cache
    python tasks/instruct/train.py configs/instruct/visgen_instruct_tiny.yaml --data-root DATA --stage denoiser

`--stage decoder` trains the VAE's decoder some more, beside or after the denoiser: latents and denoiser stay valid.
Every stage can be stopped and resumed (--resume); a part whose latents are cached already is not encoded again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from visgen.engine.instruct import load_instruct_run, make_cache, new_model, train_denoiser, train_vae
from visgen.errors import VisgenError

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "instruct" / "visgen_instruct_tiny.yaml"
QUICK = ("vae.train.steps=2", "denoiser.train.steps=2", "vae.batch_size=2", "denoiser.batch_size=2",
         "vae.train.progress=none", "denoiser.train.progress=none")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=CONFIG, help="a file of configs/instruct")
    parser.add_argument("--stage", choices=["vae", "cache", "denoiser", "decoder", "all"], default="all")
    parser.add_argument("--data-root", type=Path, help="folder that ${data_root} stands for in the file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="change a value of the file")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--time-limit", type=float, metavar="MIN", help="save and stop after so many minutes")
    parser.add_argument("--out", type=Path, help="folder of the run, in place of the file's")
    parser.add_argument("--quick", action="store_true", help="two steps on a few town scenes, to see that it runs")
    arguments = parser.parse_args()
    changes = [*arguments.set, *(QUICK if arguments.quick else ())]
    root = arguments.data_root or (Path("unused") if arguments.quick else None)
    run = load_instruct_run(arguments.config, changes, root)
    if arguments.quick:
        town = replace(run.parts["town"], source="town:instruct?size=64x64&count=4", vae=4)
        run = replace(run, parts={"town": town})
    if arguments.out is not None:
        run = replace(run, out=str(arguments.out))
    if arguments.stage in ("vae", "all") and run.start is None:
        print(train_vae(run, resume=arguments.resume, time_limit=arguments.time_limit))
    if arguments.stage == "decoder":
        print(train_vae(run, resume=arguments.resume, time_limit=arguments.time_limit, decoder_only=True))
    if arguments.stage in ("cache", "all"):
        print(make_cache(run, new_model(run), progress=_say))
    if arguments.stage in ("denoiser", "all"):
        print(train_denoiser(run, resume=arguments.resume, time_limit=arguments.time_limit))


def _say(part: str, done: int, total: int) -> None:
    if done % 200 == 0 or done == total:
        print(f"{part}: {done}/{total} images", flush=True)


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")
