"""Make the folder that ships from a trained instruction model: matrices with few significant bits, in half precision.

    python tasks/instruct/release.py runs/instruct/denoiser-4/last OUT --base visgen-instruct-tiny --config F --steps N

What equals the model that training went on from stays as it is there, so that a repository keeps only the difference.
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

from visgen.diffusion import InstructDiffusion
from visgen.errors import VisgenError
from visgen.nn.round_bits import round_bits
from visgen.zoo import load_model, save_instruct


def release(run: Path, out: Path, bits: int, base: Any, part: dict[str, Any]) -> dict[str, Any]:
    """Round, save, and say what changed.

    Args:
        run: A pipeline folder that training wrote.
        out: Folder of the released model.
        bits: Significant bits of what was trained.
        base: The model that training went on from; None rounds every matrix.
        part: {"config": run file, "denoiser_steps": steps} for the list of trainings in the model's details.
    """
    model = InstructDiffusion.from_pretrained(run)
    known = {} if base is None else base.state_dict()
    state, trained, packed = {}, [], b""
    for name, value in model.state_dict().items():
        is_same = name in known and torch.equal(value, known[name])
        state[name] = value if is_same else round_bits(value, bits)
        if not is_same:
            trained.append(value.numel())
            packed += state[name].half().numpy().tobytes()
    model.load_state_dict(state)
    details = dict(model.config.details if base is None else base.config.details)
    model.config = replace(model.config, details={**details, "parts": [*details.get("parts", []), part]})
    save_instruct(model, out, dtype="float16")
    return {"tensors": len(trained), "parameters": sum(trained), "packed_bytes": len(zlib.compress(packed, 9))}


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
