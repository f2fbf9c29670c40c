"""Make the folder that ships from a trained instruction model: matrices with few significant bits, in half precision.

    python tasks/instruct/release.py runs/instruct/denoiser-4/last OUT --base visgen-instruct-tiny --config F --steps N

What equals the model that training went on from stays as it is there, so that a repository keeps only the difference;
low-rank updates, which a run with `updates` leaves, stay beside the weights and are added when the model is loaded.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from visgen.diffusion import InstructDiffusion
from visgen.engine.instruct import UPDATES_FILE
from visgen.errors import ConfigError, VisgenError
from visgen.nn.round_bits import round_bits
from visgen.zoo import load_model, save_instruct


def release(run: Path, out: Path, bits: int, base: Any, part: dict[str, Any]) -> dict[str, Any]:
    """Round, save, and say what changed.

    Args:
        run: A pipeline folder that training wrote.
        out: Folder of the released model.
        bits: Significant bits of what was trained.
        base: The model that training went on from; None, for a run without updates, rounds every matrix.
        part: {"config": run file, "denoiser_steps": steps} for the list of trainings in the model's details.
    """
    model = InstructDiffusion.from_pretrained(run)
    known = {} if base is None else base.state_dict()
    is_update = (run / UPDATES_FILE).is_file()
    if is_update and base is None:
        raise ConfigError(f"the weights in '{run}' hold its updates already; name the model that they are of (--base).")
    given = load_file(run / UPDATES_FILE) if is_update else model.state_dict()
    found = {name: value for name, value in given.items() if name not in known or not torch.equal(value, known[name])}
    found = {name: _rounded(value, bits, is_update) for name, value in found.items()}
    updates = {name: value for name, value in found.items() if name.endswith((".up", ".down"))}
    model.load_state_dict({**model.state_dict(), **known, **{k: v for k, v in found.items() if k not in updates}})
    details = dict(model.config.details if base is None else base.config.details)
    model.config = replace(model.config, details={**details, "parts": [*details.get("parts", []), part]})
    save_instruct(model, out, dtype="float16", updates=updates)
    packed = b"".join(value.half().numpy().tobytes() for value in found.values())
    trained = sum(value.numel() for value in found.values())
    return {"tensors": len(found), "parameters": trained, "packed_bytes": len(zlib.compress(packed, 9))}


def _rounded(value: Tensor, bits: int, vectors: bool) -> Tensor:
    """Round matrices; vectors, which are stored in single precision, to half of it where updates are to be small."""
    return round_bits(value, bits) if value.ndim > 1 or not vectors else value.half().float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="pipeline folder that training wrote")
    parser.add_argument("out", type=Path, help="folder of the released model")
    parser.add_argument("--base", help="shipped name or folder of the model that training went on from")
    parser.add_argument("--bits", type=int, default=7, help="significant bits of the trained matrices")
    parser.add_argument("--config", required=True, help="run file of the training")
    parser.add_argument("--steps", type=int, required=True, help="its steps")
    options = parser.parse_args()
    part = {"config": options.config, "denoiser_steps": options.steps}
    try:
        base = None if options.base is None else load_model(options.base, "cpu")
        print(json.dumps(release(options.run, options.out, options.bits, base, part)))
    except VisgenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
