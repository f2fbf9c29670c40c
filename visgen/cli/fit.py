"""`visgen fit`: fit a head that is not trained, such as OOD detection, to the images that a model was trained on."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .evaluate import counter, read_pairs
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

if TYPE_CHECKING:
    from ..data import Source

__all__ = ["fit"]

QUANTILES = 101  # of the validation scores, so that a verdict can name a percentile; 404 bytes


@user_errors
def fit(
    model: Annotated[str, typer.Argument(help="Shipped name, folder or Hub id.")],
    data: Annotated[
        str, typer.Option("--data", metavar="FORMAT:PATH", help="The images that the head below was trained on.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to save the model to.")],
    head: Annotated[str, typer.Option("--head", help="Head to fit; added when the model has none.")] = "ood",
    on: Annotated[str | None, typer.Option("--on", help="Head that it stands on, such as classification.pets.")] = None,
    split: Annotated[str, typer.Option("--split", help="Part that statistics are taken from.")] = "train",
    val_split: Annotated[str, typer.Option("--val-split", help="Part that the threshold is set on.")] = "val",
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader.")
    ] = None,
    score: Annotated[str | None, typer.Option("--score", help="Score; by default the best for the head below.")] = None,
    score_option: Annotated[
        list[str] | None, typer.Option("--score-option", metavar="KEY=VALUE", help="Option of the score.")
    ] = None,
    keep: Annotated[
        float | None, typer.Option("--keep", help="Share of validation images that the threshold keeps; 0.95.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Use so many images of each part.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures of one size at a time.")] = 8,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", help="float32, float16 or bfloat16 for the saved weights.")
    ] = "float32",
    as_json: Annotated[bool, JSON_OPTION] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No counter on standard error.")] = False,
) -> None:
    """Fit or refit a head that is not trained, and save the model with it.

    Statistics come from one part of the data and the threshold from another. What is not given stays as it is in the
    model, or takes its default in a new head. calibration.png beside the weights shows where the threshold lies.
    """
    with only_json(as_json):
        from dataclasses import replace

        from ..data import build_source
        from ..engine import fit_head, with_head
        from ..ood import default_score
        from ..structures.calibration_drawing import draw_calibration
        from ..task import TASKS, HeadSpec
        from ..zoo import load_heads, save_pretrained

        if split == val_split:
            raise ConfigError(f"--split and --val-split are both '{split}'; set the threshold on images held out.")
        loaded = load_heads(model, device)
        name = loaded.default_heads.get(head, head)
        spec = loaded.specs.get(name) or HeadSpec(TASKS.get(name.partition(".")[0]).key)
        if TASKS.get(spec.task).is_trained:
            raise ConfigError(f"--head is '{head}', which is trained, not fitted; use visgen train for it.")
        changed: dict[str, Any] = {"score": score, "keep": keep}
        if "quantiles" not in spec.options:
            changed["quantiles"] = QUANTILES
        if score is not None or score_option:  # options of one score mean nothing to another
            changed["score_options"] = read_pairs(score_option or [], "--score-option")
        options = read_pairs(option or [], "--option")
        train = build_source(data, split, **options)
        if name not in loaded.specs and score is None and on in loaded.specs:
            below = loaded.specs[on].task
            default, its_options = default_score(below, _count_labelled(train, below, limit))
            changed["score"], changed["score_options"] = default, changed.get("score_options") or its_options
        given = {key: value for key, value in changed.items() if value is not None}
        spec = replace(spec, options={**spec.options, **given}, on=on or spec.on)
        loaded = with_head(loaded, name, spec)
        report = fit_head(
            loaded,
            name,
            train,
            build_source(data, val_split, **options),
            batch_size=batch_size,
            limit=limit,
            device=device,
            progress=None if quiet or not sys.stderr.isatty() else counter(),
        ).to_dict()
        folder = save_pretrained(loaded, out, dtype=dtype)
        module = loaded.head(name)
        if getattr(module, "quantiles", None) is not None:
            drawn = draw_calibration(module.quantiles, float(module.threshold), score_name=module.score_name)  # type: ignore[arg-type]
            drawn.save(folder / "calibration.png")
        report = {"model": model, "data": data, **report, "out": str(folder)}
    if as_json:
        print_json(report)
        return
    print_table(("fitted", ""), [(key, _shown(value)) for key, value in report.items()])
    say(f"wrote {folder}")


def _count_labelled(source: Source, task: str, limit: int | None, most: int = 2000) -> int:
    """How many of the images to be used show a class of a task, as far as `most`: no score is fitted to the others."""
    from ..engine.evaluate import evenly_spaced, read_samples
    from ..task.ood import main_label

    targets = (s.targets.get(task) for s in read_samples(source, evenly_spaced(len(source), limit), None, 0, None))
    return sum(1 for _ in islice((t for t in targets if t is not None and main_label(t) is not None), most))


def _shown(value: Any) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in value.items()) if isinstance(value, dict) else str(value)
