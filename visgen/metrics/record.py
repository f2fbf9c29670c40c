"""The JSON record behind every figure that visgen shows: what was run, on what, with which result.

Records live in `model_zoo/results/`; the README there describes the fields. Reading and writing need no torch model.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DataError, nearest

__all__ = ["SCHEMA", "gather_environment", "read_record", "summarise", "validate_record", "write_record"]

SCHEMA = 1
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "written": str,
    "command": str,
    "commit": (str, type(None)),
    "visgen": str,
    "config": (dict, str, type(None)),
    "seeds": list,
    "data": (str, dict),
    "split": str,
    "protocol": dict,
    "metrics": dict,
    "environment": dict,
}
_OPTIONAL: dict[str, type | tuple[type, ...]] = {"notes": (str, type(None))}
_SUMMARY = {"mean", "std", "n", "values"}


def summarise(values: Sequence[float]) -> dict[str, Any]:
    """Give `{"mean", "std", "n", "values"}` of one figure over seeds.

    Args:
        values: One finite number for each seed, in the order of the record's seeds.
    Returns:
        `std` is the sample standard deviation (n - 1 below the fraction); 0 for a single value.
    Raises:
        DataError: No value, or one that is not finite.
    """
    numbers = [float(v) for v in values]
    if not numbers or not all(map(math.isfinite, numbers)):
        raise DataError(f"values to summarise are {numbers}; give at least one, all finite.")
    spread = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return {"mean": statistics.fmean(numbers), "std": spread, "n": len(numbers), "values": numbers}


def write_record(
    path: str | os.PathLike[str],
    *,
    command: str | Sequence[str],
    config: Mapping[str, Any] | str | None,
    seeds: Sequence[int],
    data: str | Mapping[str, Any],
    split: str,
    protocol: Mapping[str, Any],
    metrics: Mapping[str, Any],
    environment: Mapping[str, Any] | None = None,
    notes: str | None = None,
) -> dict[str, Any]:
    """Write a record as JSON: whole or not at all (a temporary file beside it, then a rename).

    Args:
        path: The file, ending in .json; its folder is made when absent. Under another name the figures, which may
            have taken hours, are kept with .json added, and an error says so.
        command: What a reader types to get the figures again; a list of words is joined.
        config: The resolved configuration, or the name of a config file, or None for a run without one.
        seeds: Seeds of the runs behind the figures; empty when nothing was drawn at random.
        data: Data set, or several with what each was for.
        split: Which part the figures were measured on ("val").
        protocol: How they were measured (alignment, aggregation, sizes, thresholds).
        metrics: Figures by name; a value is a number, a `summarise` result with one value for each seed, text, or a
            mapping of these (one for each data set, variant or layer).
        environment: Facts beside the ones that `gather_environment` finds, such as the minutes taken.
        notes: Anything a reader must know.
    Returns:
        The record as written.
    Raises:
        DataError: A field breaks the rules above.
    """
    asked = Path(path)
    path = asked if asked.suffix == ".json" else asked.with_name(f"{asked.name}.json")
    words = command if isinstance(command, str) else " ".join(command)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": words,
        "commit": _commit(),
        "visgen": _visgen_version(),
        "config": dict(config) if isinstance(config, Mapping) else config,
        "seeds": list(seeds),
        "data": dict(data) if isinstance(data, Mapping) else data,
        "split": split,
        "protocol": dict(protocol),
        "metrics": dict(metrics),
        "environment": {**gather_environment(), **(environment or {})},
        "notes": notes,
    }
    try:
        text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the record for '{path.name}' is not plain JSON: {error}; use numbers, text, lists."
        ) from error
    validate_record(json.loads(text), path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private; a record is for everyone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if asked != path:
        raise DataError(
            f"a record was to be written to '{asked.name}'; its name must end in .json, so it is in '{path}'."
        )
    return json.loads(text)


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a record and check it.

    Raises:
        DataError: No such file, not JSON, a field that is missing, unknown or of the wrong kind, or figures whose
            summary does not follow from their values.
    """
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"record '{path}' cannot be read: {error.strerror}; check the path.") from error
    except ValueError as error:
        raise DataError(f"record '{path}' is not JSON: {error}; write records with write_record.") from error
    validate_record(record, path.name)
    return record


def validate_record(record: Any, name: str) -> None:
    """Raise DataError unless `record` keeps the schema; `name` is for the message."""
    if not isinstance(record, dict):
        raise DataError(f"record '{name}' is a {type(record).__name__}; it must be a JSON object.")
    if record.get("schema") != SCHEMA:
        raise DataError(f"record '{name}' has schema {record.get('schema')!r}; this visgen reads schema {SCHEMA}.")
    known = _REQUIRED | _OPTIONAL
    for key in record:
        if key not in known:
            raise DataError(
                f"record '{name}' has the unknown field '{key}'{nearest(key, known)} Known: {', '.join(known)}."
            )
    for key, kinds in known.items():
        if key not in record:
            if key in _REQUIRED:
                raise DataError(f"record '{name}' lacks the field '{key}'; write records with write_record.")
        elif not isinstance(record[key], kinds):
            raise DataError(
                f"record '{name}' has a {type(record[key]).__name__} as '{key}'; see model_zoo/results/README.md."
            )
    for key in ("command", "data", "split", "metrics"):
        if not record[key]:
            raise DataError(f"record '{name}' has an empty '{key}'; a figure without it cannot be checked.")
    if not all(type(seed) is int for seed in record["seeds"]):
        raise DataError(f"record '{name}' has the seeds {record['seeds']}; they must be integers.")
    _check_figures(record["metrics"], "metrics", name, len(record["seeds"]))


def _check_figures(value: Any, where: str, name: str, seeds: int) -> None:
    if isinstance(value, dict):
        if value.keys() >= _SUMMARY:
            _check_summary(value, where, name, seeds)
            return
        for key, item in value.items():
            _check_figures(item, f"{where}.{key}", name, seeds)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check_figures(item, f"{where}[{i}]", name, seeds)
    elif isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"record '{name}' has {value} as {where}; figures must be finite.")


def _check_summary(value: dict[str, Any], where: str, name: str, seeds: int) -> None:
    expected = summarise(value["values"])
    for key in ("n", "mean", "std"):
        if not math.isclose(value[key], expected[key], rel_tol=1e-6, abs_tol=1e-9):
            raise DataError(f"record '{name}' says {where}.{key} is {value[key]} but its values give {expected[key]}.")
    if seeds > 1 and value["n"] != seeds:
        raise DataError(
            f"record '{name}' has {value['n']} values as {where} but {seeds} seeds; give one for each seed."
        )


def gather_environment() -> dict[str, Any]:
    """Gather what a figure may depend on: python, torch, system, processor, threads and any accelerator."""
    import torch

    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    accelerator = getattr(torch, "accelerator", None)
    if accelerator is not None and accelerator.is_available():
        facts["accelerator"] = str(accelerator.current_accelerator())
        facts["accelerators"] = accelerator.device_count()
    return facts


def _cpu_model() -> str:
    if sys.platform == "linux":
        try:
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()


def _visgen_version() -> str:
    from .. import __version__

    return __version__


def _commit() -> str | None:
    """The commit of the checkout that holds this file, with "+" when tracked files differ; None for a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()
