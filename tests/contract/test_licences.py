"""No dependency, direct or not, is AGPL, GPL or for non-commercial use only."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# The LGPL is not in the list: importing a library is what it allows.
FORBIDDEN = re.compile(
    r"\bA-?GPL|Affero|(?<![\w])GPL|(?<!Lesser )General Public License|Non-?Commercial|\bCC-BY-NC|\bNC\b", re.IGNORECASE
)
# Packages that visgen must never depend on, with the reason.
NEVER = {
    "ultralytics": "AGPL-3.0",
    "albumentationsx": "AGPL-3.0",
    "albumentations": "unmaintained, and calls home on import",
    "omegaconf": "pins an antlr4 runtime that other tools refuse",
    "torchtune": "discontinued",
    "mmcv": "unmaintained, needs a compiler",
    "libmr": "non-commercial licence",
}


def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def licences(distribution: metadata.Distribution) -> list[str]:
    """What a distribution says about its licence: alternatives that a user may choose from; empty when it says nothing.

    The SPDX expression comes first, then the classifiers, then the first line of the free text.
    """
    fields = distribution.metadata
    if expression := fields.get("License-Expression"):
        return re.split(r"\s+OR\s+", expression)
    classifiers = [c for c in fields.get_all("Classifier", []) if c.startswith("License ::")]
    if named := [c.split(" :: ")[-1] for c in classifiers if c.count(" :: ") >= 2]:
        return named
    text = (fields.get("License") or "").strip()
    return [text.splitlines()[0]] if text and text != "UNKNOWN" else []


def allowed(alternatives: list[str]) -> bool:
    """True when nothing is stated or at least one alternative is free of the forbidden terms."""
    return not alternatives or any(not FORBIDDEN.search(a) for a in alternatives)


def closure(requirements: list[str]) -> dict[str, metadata.Distribution]:
    """All installed distributions that the requirements lead to, with their extras, by canonical name."""
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    queue = [Requirement(r) for r in requirements]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in found[name].requires or []:
                inner = Requirement(line)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    queue.append(inner)
    return found


def test_no_dependency_has_a_forbidden_licence(root: Path) -> None:
    declared = project(root)
    extras = [line for lines in declared["optional-dependencies"].values() for line in lines]
    installed = closure(declared["dependencies"] + extras)
    assert {"torch", "numpy", "timm", "fsspec"} <= set(installed), "the scan did not reach the known dependencies"
    bad = {name: licences(d) for name, d in installed.items() if not allowed(licences(d))}
    assert not bad, f"these dependencies may not be used: {bad}"
    assert not set(NEVER) & set(installed), {n: NEVER[n] for n in set(NEVER) & set(installed)}


def test_direct_dependencies_are_installed_and_state_a_licence(root: Path) -> None:
    for line in project(root)["dependencies"]:
        requirement = Requirement(line)
        distribution = metadata.distribution(requirement.name)
        assert requirement.specifier.contains(distribution.version, prereleases=True), f"{line}: {distribution.version}"
        assert licences(distribution), f"{requirement.name} states no licence"


def test_the_project_states_its_own_licences(root: Path) -> None:
    assert project(root)["license"] == "Apache-2.0"
    assert "Apache License" in (root / "LICENSE").read_text(encoding="utf-8")[:400]
    weights = (root / "model_zoo" / "LICENSE-WEIGHTS").read_text(encoding="utf-8")
    first_screen = "\n".join((root / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    for text in (weights, first_screen):
        assert "non-commercial" in text and "research" in text
    assert "Apache-2.0" in first_screen


@pytest.mark.parametrize(
    "alternatives",
    [["AGPL-3.0-or-later"], ["GPLv3"], ["GNU General Public License v2 (GPLv2)"], ["CC-BY-NC-4.0"], ["Non-Commercial"]],
)
def test_forbidden_licences_are_recognised(alternatives: list[str]) -> None:
    assert not allowed(alternatives)


@pytest.mark.parametrize(
    "alternatives",
    [["MIT"], ["LGPL-2.1"], ["GPL-2.0", "MIT"], ["BSD-3-Clause AND MIT"], ["GNU Lesser General Public License v3"], []],
)
def test_permitted_licences_pass(alternatives: list[str]) -> None:
    assert allowed(alternatives)
