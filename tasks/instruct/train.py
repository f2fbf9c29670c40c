"""Train an instruction model in three stages: its VAE, the cached latents, its denoiser with the text encoder.

    python tasks/instruct/train.py configs/instruct/visgen_instruct_tiny.yaml --data-root DATA --stage vae
    python tasks/instruct/train.py configs/instruct/visgen_instruct_tiny.yaml --data-root DATA --stage cache
    python tasks/instruct/train.py configs/instruct/visgen_instruct_tiny.yaml --data-root DATA --stage denoiser

Every stage can be stopped and resumed (--resume); a part whose latents are cached already is not encoded again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from visgen.engine.instruct import load_instruct_run, make_cache, new_model, train_denoiser, train_vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="a file of configs/instruct")
    parser.add_argument("--stage", choices=["vae", "cache", "denoiser", "all"], default="all")
    parser.add_argument("--data-root", type=Path, help="folder that ${data_root} stands for in the file")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=value", help="change a value of the file")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--time-limit", type=float, metavar="MIN", help="save and stop after so many minutes")
    arguments = parser.parse_args()
    run = load_instruct_run(arguments.config, arguments.set, arguments.data_root)
    if arguments.stage in ("vae", "all") and run.start is None:
        print(train_vae(run, resume=arguments.resume, time_limit=arguments.time_limit))
    if arguments.stage in ("cache", "all"):
        print(make_cache(run, new_model(run), progress=_say))
    if arguments.stage in ("denoiser", "all"):
        print(train_denoiser(run, resume=arguments.resume, time_limit=arguments.time_limit))


def _say(part: str, done: int, total: int) -> None:
    if done % 200 == 0 or done == total:
        print(f"{part}: {done}/{total} images", flush=True)


if __name__ == "__main__":
    main()
