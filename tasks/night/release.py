"""Make the file that ships from a trained generator: kernels with seven significant bits, and its entry for the index.

python tasks/night/release.py runs/night-tiny/last OUT --highlight 0.75 --record model_zoo/results/night_validity.json
Copy OUT/visgen-night-tiny.* to model_zoo/weights and the entry that it prints into model_zoo/index.json.
"""

from __future__ import annotations

import argparse
import json
import lzma
from pathlib import Path

from visgen.errors import VisgenError
from visgen.gan.night import NIGHT_MODEL, load_night, save_night
from visgen.metrics import read_record


def release(
    generator: Path, out: Path, bits: int, gamma: float, highlight: float, record: Path | None
) -> dict[str, object]:
    """Write weights and configuration; give the index entry and how far the file packs."""
    night = load_night(generator)
    described = json.loads((generator / "config.json").read_text(encoding="utf-8"))["model"]
    facts = {**described["facts"], "significant_bits": bits}
    save_night(out, night.translator, described["translator"], night.resolution, facts, bits, gamma, highlight)
    weights = (out / "generator.safetensors").rename(out / f"{NIGHT_MODEL}.safetensors")
    config = (out / "config.json").rename(out / f"{NIGHT_MODEL}.json")
    metrics: dict[str, object] = {}
    if record is not None:
        found = read_record(record)["metrics"]
        metrics = {f"edges, {name}": {"F": v["generator"]["F"]} for name, v in found["edges"].items()}
        metrics["called night"] = {name: found["realism"][name]["translated"] for name in ("val", "camvid")}
        if "consistency" in found:
            metrics["consistency"] = {"ratio": found["consistency"]["ratio"]}
    entry = {
        "file": f"weights/{weights.name}",
        "sha256": json.loads(config.read_text(encoding="utf-8"))["sha256"],
        "bytes": weights.stat().st_size,
        "config": f"weights/{config.name}",
        "tasks": ["night"],
        "metrics": metrics,
        "card": f"cards/{NIGHT_MODEL}.md",
    }
    return {"entry": {NIGHT_MODEL: entry}, "packs to": len(lzma.compress(weights.read_bytes()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bits", type=int, default=7)
    parser.add_argument("--gamma", type=float, default=1.0, help="exposure: above 1 for darker nights")
    parser.add_argument(
        "--highlight", type=float, default=1.0, help="days are dimmed to this first: see NightGenerator"
    )
    parser.add_argument("--record", type=Path, help="of validity.py, for the figures of the entry")
    options = parser.parse_args()
    try:
        exposure = (options.gamma, options.highlight)
        made = release(options.generator, options.out, options.bits, *exposure, options.record)
        print(json.dumps(made, indent=1))
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
