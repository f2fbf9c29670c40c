"""`visgen export`: one head of a model as a file for other runtimes."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .evaluate import read_pairs
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["export"]

TOLERANCE = 0.02  # share by which int8 may worsen a figure, unless another is given


@user_errors
def export(
    model: Annotated[str, typer.Argument(help="Shipped name, folder or Hub id.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    task: Annotated[str | None, typer.Option("--task", help="Task, such as depth: its default head.")] = None,
    head: Annotated[str | None, typer.Option("--head", help="Head, such as segmentation.camvid.")] = None,
    format: Annotated[str, typer.Option("--format", help="onnx or torch_export.")] = "onnx",
    size: Annotated[
        str, typer.Option("--size", metavar="HxW", help="Height x width of all pictures, or dynamic.")
    ] = "dynamic",
    int8: Annotated[bool, typer.Option("--int8", help="Also write 8-bit integers, if --data shows no harm.")] = False,
    method: Annotated[str, typer.Option("--int8-method", help="static or dynamic.")] = "static",
    data: Annotated[
        str | None, typer.Option("--data", metavar="FORMAT:PATH", help="Labelled pictures that int8 is measured on.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Part of the data set.")] = "val",
    calibrate_on: Annotated[
        str | None, typer.Option("--calibrate-on", help="Part that static int8 calibrates on; --split if left out.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Measure int8 on so many pictures.")] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Share by which int8 may worsen the task's figure.")
    ] = TOLERANCE,
    seed: Annotated[int, typer.Option("--seed", help="Of the random probe pictures.")] = 0,
    picture: Annotated[
        list[Path] | None,
        typer.Option(
            "--picture", help="Compare answers with the pipeline's on this file, not the shipped photographs."
        ),
    ] = None,
    record: Annotated[Path | None, typer.Option("--record", help="Write a record of the comparison.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Write a head as a graph, with how to prepare pictures and read answers inside the file.

    The file is compared with the model on pictures that reach every expert of the task, and is written only where both
    agree. A file for any size then answers photographs, which is compared with the pipeline's answers. Scene graphs
    have no graph of one piece and are refused.
    """
    wanted = _head(task, head)
    if data is None and int8:
        raise ConfigError("--int8 needs --data: a file of 8-bit integers is kept only if the task's figure stays.")
    if data is not None and not int8:
        raise ConfigError(f"--data is '{data}' but nothing is measured without --int8; add it or leave --data out.")
    if picture and size != "dynamic":
        raise ConfigError("--picture is compared where the file is for any size; leave it out, or give --size dynamic.")
    is_default = (split, method, tolerance) == ("val", "static", TOLERANCE)
    if not int8 and (not is_default or option or calibrate_on is not None or limit is not None):
        raise ConfigError(
            "--split, --option, --calibrate-on, --limit, --tolerance and --int8-method are of --int8; add it, or leave "
            "them out."
        )
    with only_json(as_json):
        from ..data.source import is_one_file
        from ..zoo import load_heads

        other = data if calibrate_on not in (None, split) else None
        if other is not None and is_one_file(other, read_pairs(option or [], "--option")):
            raise ConfigError(f"--calibrate-on is '{calibrate_on}', but '{other}' is one file, the same for '{split}'.")

        loaded = load_heads(model, "cpu")
        from ..export import export_model

        found = export_model(loaded, wanted, out, format=format, size=_size(size), seed=seed)
        report: dict[str, Any] = {"model": model, "file": str(found.file), "bytes": found.file.stat().st_size}
        report |= {"meta": found.meta}
        if found.meta["prepare"][2].get("longer_side_at_most"):  # of one size, it sees other pictures than the pipeline
            report["answers"] = _compare(loaded, found, picture)
        if int8 and data is not None:
            from ..data import build_source
            from ..export.quantise import quantise

            options = read_pairs(option or [], "--option")
            report["int8"] = asdict(
                quantise(
                    found,
                    build_source(data, split, **options),
                    method=method,
                    tolerance=tolerance,
                    calibration_source=None if calibrate_on is None else build_source(data, calibrate_on, **options),
                    limit=limit,
                    data=f"{data} [{split}]",
                )
            )
    if record is not None:
        said = {"--size": size, "--seed": seed or None}
        said |= {f"--picture={file}": "" for file in picture or []}
        if int8:
            said |= {"--data": data, "--split": None if split == "val" else split, "--calibrate-on": calibrate_on}
            said |= {"--tolerance": None if tolerance == TOLERANCE else f"{tolerance:g}"}
            said |= {"--int8-method": None if method == "static" else method, "--limit": limit}
            said |= {f"--option={text}": "" for text in option or []}
        words = [w for k, v in said.items() if v is not None for w in ((k, str(v)) if v != "" else (k,))]
        command = shlex.join(["visgen", "export", model, "--head", found.meta["head"], "--format", format,
                              *(["--int8"] if int8 else []), *words, "--out", "DIR"])  # fmt: skip
        compared = ", ".join(file.name for file in picture or []) or "shipped photographs"
        if "answers" not in report:
            compared = "pictures that reach every expert"
        _write(record, report, command, compared, data, split, seed)
    if as_json:
        print_json(report)
    else:
        _show(report)
    say(f"wrote {found.folder}")
    if int8 and not report["int8"]["kept"]:
        r = report["int8"]
        raise ConfigError(
            f"int8 makes {r['metric']} worse by {r['drop']:.1%} ({r['float32']:.4f} to {r['int8']:.4f} on {r['data']}),"
            f" more than --tolerance {r['tolerance']:g}; the float32 file is written, the int8 file is not. Try the "
            "other --int8-method, or allow more."
        )


def _compare(model: Any, exported: Any, pictures: list[Path] | None) -> dict[str, Any]:
    """Answer pictures by the file and by the pipeline, both from the picture file on."""
    import torch

    from ..export import ExportedModel
    from ..export.answers import ANSWER_TOLERANCE, answer_difference
    from ..pipelines import pipeline
    from ..pipelines.run import RunOptions, limit_value
    from ..shipped import shipped_path

    files = pictures or sorted(shipped_path("data/samples").glob("*.jpg"))
    opened, name = ExportedModel(exported.file), exported.meta["head"]
    run = pipeline(name, model, device="cpu")
    options = RunOptions(torch.device("cpu"), torch.float32, "moe", model.max_side, model.min_side)
    gaps = {}
    for file in files:
        answers = [getattr(answer, exported.meta["task"]) for answer in (opened(file), run(str(file)))]
        gaps[file.name] = answer_difference(limit_value(answers[0], options), answers[1])
    worst = max(gaps.values())
    return {
        "pictures": len(gaps),
        "largest_difference": worst,
        "tolerance": ANSWER_TOLERANCE,
        "met": worst <= ANSWER_TOLERANCE,
        "of_each": gaps,
    }


ANSWERS = "the file's typed answer beside the pipeline's, both from the picture file on"


def _write(
    record: Path, report: dict[str, Any], command: str, compared: str, data: str | None, split: str, seed: int
) -> None:
    """Write what the comparisons found."""
    from ..metrics import write_record

    parity = {k: v for k, v in report["meta"]["parity"].items() if isinstance(v, (int, float))}
    metrics: dict[str, Any] = {"graph": parity, "bytes": report["bytes"]}
    metrics |= {key: report[key] for key in ("answers", "int8") if key in report}
    write_record(
        record,
        command=command,
        config=None,
        seeds=[seed],
        data=compared if data is None else f"{compared}, {data}",
        split="none" if data is None else split,
        protocol={
            "graph": report["meta"]["parity"]["measure"] + ", on pictures that reach every expert",
            **({"answers": ANSWERS} if "answers" in report else {}),
        },
        metrics=metrics,
    )


def _head(task: str | None, head: str | None) -> str:
    if (task is None) == (head is None):
        raise ConfigError("name one of --task and --head: a file holds one head.")
    return str(task or head)


def _size(text: str) -> tuple[int, int] | None:
    if text == "dynamic":
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise ConfigError(f"--size is '{text}'; write HEIGHTxWIDTH, such as 240x320, or dynamic.")
    return int(found[1]), int(found[2])


def _show(report: dict[str, Any]) -> None:
    parity = report["meta"]["parity"]
    rows = [
        ("file", report["file"]),
        ("size", f"{report['bytes'] / 2**20:.1f} MiB"),
        ("head", report["meta"]["head"]),
        ("compared on", f"{parity['pictures']} pictures that reach every expert"),
        ("largest difference", f"{parity['largest_difference']:.1e} ({parity['measure']})"),
    ]
    if parity["least_effect_of_an_expert"] is not None:
        rows.append(("least change if an expert were lost", f"{parity['least_effect_of_an_expert']:.1e}"))
    if "answers" in report:
        found = report["answers"]
        word = "met" if found["met"] else "missed"
        gap = f"{found['largest_difference']:.1e} on {found['pictures']} pictures, limit {found['tolerance']:g}: {word}"
        rows.append(("answers beside the pipeline's", gap))
    if "int8" in report:
        r = report["int8"]
        word = "kept" if r["kept"] else "refused"
        rows.append(("int8", f"{word}: {r['metric']} {r['float32']:.4f} -> {r['int8']:.4f} on {r['images']} pictures"))
        rows.append(("int8 size", f"{r['bytes_int8'] / 2**20:.1f} MiB"))
    print_table(("export", ""), rows)
