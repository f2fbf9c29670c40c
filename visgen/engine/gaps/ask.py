"""Which generator can serve a gap: night, the procedural town, a GAN, or the real pictures that hold it, again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...config import PartConfig
from ...data.source import split_spec
from ...data.town.config import KINDS
from ...data.wrap import area_range, holds
from ...errors import ConfigError
from ...metrics.strata import Gap
from ...metrics.strata.detection import BOX_SIZES
from ...metrics.strata.protocol import LIGHT
from ...metrics.strata.segmentation import REGIONS
from ..parts import open_part
from .survey import Survey, SurveyedData

__all__ = ["Offers", "Request", "ask"]

FAVOUR = 20.0
"""How much oftener than usual the town draws the kinds that are asked for."""
NEAR, FAR = (2.5, 8.0), (16.0, 45.0)
"""Metres at which the town places what shall be large, and what shall be small."""
_LEAST = 5  # real pictures that must hold something before they are shown oftener
_MOST = 0.7  # share of all pictures beyond which showing them oftener is showing all
_TOWN_SEEDS = 100


@dataclass(frozen=True)
class Offers:
    """Generators at hand.

    Args:
        night: Folder or shipped name of a day-to-night generator; "" for none.
        gans: Folder of a class-conditional GAN to the classes that it draws.
        real: Whether real pictures of the training part may be shown oftener where nothing is generated.
        night_options: Further options of the wrapper "night", such as `grain`.
    """

    night: str = ""
    gans: Mapping[str, Sequence[str]] = field(default_factory=dict)
    real: bool = True
    night_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What is asked for because of some gaps of one head.

    Args:
        head: The head.
        gaps: Keys of the gaps that it serves, such as "class/dog".
        served_by: "night", "town", "gan", "real" (pictures of the training part again), "compositional" (another
            objective), or "" for nothing.
        part: Training part that serves it; None where none does.
        note: What is asked for, or why nothing is.
    """

    head: str
    gaps: tuple[str, ...]
    served_by: str
    part: PartConfig | None
    note: str


@dataclass(frozen=True)
class _Real:
    """A gap that only real pictures can serve, and what they must hold (options of `holding`)."""

    gap: Gap
    what: dict[str, Any]


def ask(survey: Survey, offers: Offers, most: int = 6) -> list[Request]:
    """Choose what to ask for: at most the `most` worst weak strata of each head, served by a generator where one can.

    Weak classes that one generator serves are asked for together.
    """
    if most < 1:
        raise ConfigError(f"most is {most}; ask for at least 1 gap of each head.")
    requests: list[Request] = []
    for one in survey.found:
        weak = one.report.weak[:most]
        real: list[_Real] = []
        requests += _light(one, [g for g in weak if g.kind == "light"], offers, real)
        requests += _classes(one, [g for g in weak if g.kind == "class"], offers, real)
        for gap in weak:
            if gap.kind == "size":
                requests += _size(one, gap, real)
            elif gap.kind == "depth":
                requests.append(_depth(one, gap))
            elif gap.kind == "predicate":
                real.append(_Real(gap, {"predicates": [gap.name]}))
            elif gap.kind == "composition":
                requests.append(_composition(one, gap))
        requests += _again(one, real, offers.real)
    return requests


def _light(one: SurveyedData, gaps: Sequence[Gap], offers: Offers, real: list[_Real]) -> list[Request]:
    found = []
    low, high = one.report.protocol["metric"].get("light", LIGHT)
    for gap in gaps:
        if gap.name == "dark" and offers.night:
            wrapper = {"name": "night", "generator": offers.night, "p": 1.0, "skip_below": float(low)}
            wrapper |= offers.night_options
            part = replace(one.train, wrap=(*one.train.wrap, wrapper))
            found.append(_request(one, [gap], "night", part, f"its training pictures by night, by {offers.night}"))
        elif gap.name == "dark" and _is_town(one):
            part = _town(one, time="night")
            found.append(_request(one, [gap], "town", part, "nights that the town renders with its own lamps"))
        else:
            ranges = {"dark": [0.0, low], "medium": [low, high], "bright": [high, 1.01]}
            real.append(_Real(gap, {"light": ranges[gap.name]}))
    return found


def _classes(one: SurveyedData, gaps: Sequence[Gap], offers: Offers, real: list[_Real]) -> list[Request]:
    left = {g.name: g for g in gaps}
    found = []
    kinds = [name for name in left if name in KINDS] if _is_town(one) else []
    if kinds:
        chosen = [left.pop(name) for name in kinds]
        part = _town(one, favour=kinds)
        found.append(
            _request(one, chosen, "town", part, f"new scenes with {FAVOUR:g} times as many {', '.join(kinds)}")
        )
    for folder, classes in offers.gans.items() if one.report.task == "classification" else ():
        drawn = [name for name in left if name in classes]
        if drawn:
            chosen = [left.pop(name) for name in drawn]
            wrapper = {"name": "gan", "gan": folder, "classes": drawn, "count": 200 * len(drawn)}
            part = replace(one.train, wrap=(*one.train.wrap, wrapper))
            found.append(_request(one, chosen, "gan", part, f"pictures of {', '.join(drawn)} by {folder}"))
    real += [_Real(gap, {"classes": [name]}) for name, gap in left.items()]
    return found


def _size(one: SurveyedData, gap: Gap, real: list[_Real]) -> list[Request]:
    if _is_town(one) and gap.name in ("small", "large"):
        distance = FAR if gap.name == "small" else NEAR
        part = _town(one, distance=list(distance))
        note = f"new scenes with things {distance[0]:g} to {distance[1]:g} m away"
        return [_request(one, [gap], "town", part, note)]
    bounds = BOX_SIZES if one.report.task == "detection" else REGIONS
    real.append(_Real(gap, {"area": list(area_range(gap.name, bounds))}))
    return []


def _depth(one: SurveyedData, gap: Gap) -> Request:
    if _is_town(one):
        words = gap.name.replace("from ", "").replace(" m", "").split(" to ")
        near, far = max(1.0, float(words[0])), min(70.0, float(words[-1]) if len(words) > 1 else 70.0)
        part = _town(one, distance=[near, far])
        return _request(one, [gap], "town", part, f"new scenes with things {near:g} to {far:g} m away")
    return _request(one, [gap], "", None, "no generator makes photographs with measured depth in a wanted range")


def _composition(one: SurveyedData, gap: Gap) -> Request:
    if _is_town(one):
        triplets = [name.split("/") for name in gap.members]
        part = _town(one, holdout_triplets=triplets, composition="heldout")
        return _request(one, [gap], "town", part, f"new scenes that stage {', '.join(gap.members[:5])}")
    note = (
        "features of changed compositions, by the objective 'compositional' in a run file of its own; no generator "
        "makes photographs of them"
    )
    return _request(one, [gap], "compositional", None, note)


def _again(one: SurveyedData, asked: Sequence[_Real], is_offered: bool) -> list[Request]:
    """The real pictures of the training part that hold what no generator makes, shown oftener, where that can help."""
    if not is_offered or not asked:
        return [_request(one, [a.gap], "", None, "no generator serves it") for a in asked]
    source = open_part(one.train, "train", one.train.source)
    counts, total, task = [0] * len(asked), len(source), one.report.task
    for i in range(total):  # one reading for all
        sample = source[i]
        counts = [n + holds(sample, task, **a.what) for n, a in zip(counts, asked, strict=True)]
    found, classes = [], []
    for each, count in zip(asked, counts, strict=True):
        told = f"no generator serves it, and {count} of {total} real training pictures hold it"
        if count < _LEAST:
            found.append(_request(one, [each.gap], "", None, f"{told}: too few to show oftener"))
        elif count > _MOST * total:
            found.append(_request(one, [each.gap], "", None, f"{told}: showing them oftener would change little"))
        elif "classes" in each.what:
            classes.append(each.gap)
        else:
            found.append(_request(one, [each.gap], "real", _holding(one, each.what), f"{told}: they are shown oftener"))
    if classes:
        names = [gap.name for gap in classes]
        note = f"no generator serves {', '.join(names)}: the real training pictures that hold them are shown oftener"
        found.append(_request(one, classes, "real", _holding(one, {"classes": names}), note))
    return found


def _holding(one: SurveyedData, what: Mapping[str, Any]) -> PartConfig:
    wrapper = {"name": "holding", "task": one.report.task, **what}
    return replace(one.train, wrap=(*one.train.wrap, wrapper))


def _request(one: SurveyedData, gaps: Sequence[Gap], served_by: str, part: PartConfig | None, note: str) -> Request:
    return Request(one.report.head, tuple(g.key for g in gaps), served_by, part, note)


def _is_town(one: SurveyedData) -> bool:
    return split_spec(one.train.source)[0] == "town"


def _town(one: SurveyedData, favour: Sequence[str] = (), **changes: Any) -> PartConfig:
    """The training part's own world with other scenes and some changes; kinds asked for are no longer left out."""
    source: Any = open_part(replace(one.train, wrap=()), "train", one.train.source)
    config = getattr(source, "source", source).config
    options = {**one.train.options, "seed": (getattr(source, "source", source).seed + 50) % _TOWN_SEEDS, **changes}
    if favour:
        options["favour"] = {**dict(config.favour), **dict.fromkeys(favour, FAVOUR)}
        if set(favour) & set(config.absent_kinds):
            options["absent_kinds"] = [k for k in config.absent_kinds if k not in favour]
    return replace(one.train, options=options, wrap=())
