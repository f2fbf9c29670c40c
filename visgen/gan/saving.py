"""Trained GANs on disk: config.json beside the averaged generator and the discriminator, safetensors only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize

from ..errors import CheckpointError, DataError
from ..options import build_options
from .architecture import Discriminator, Generator
from .config import GanConfig, build_adversaries, build_generator
from .folder import hash_file, write_folder

__all__ = ["SavedGan", "load_gan", "save_gan"]

_FORMAT = "visgen-gan-1"


@dataclass(frozen=True)
class SavedGan:
    """A GAN as it was saved.

    Attributes:
        config: What was built.
        classes: Class names of the labels; () when it was trained without.
        generator: The averaged generator, in evaluation mode.
        sha256: Of the generator's file; names it in the provenance of every sample.
        folder: Where it lies.
        discriminator_sha256: Of the discriminator's file; "" where there is none, or an old folder does not tell.
    """

    config: GanConfig
    classes: tuple[str, ...]
    generator: Generator
    sha256: str
    folder: Path
    discriminator_sha256: str = ""

    def discriminator(self) -> Discriminator:
        """Load the discriminator that was trained against it, in evaluation mode."""
        built = build_adversaries(self.config, len(self.classes)).discriminator
        file = self.folder / "discriminator.safetensors"
        if self.discriminator_sha256 and _sha256(file) != self.discriminator_sha256:
            raise CheckpointError(f"'{file}' is not the discriminator that its config.json names; save again.")
        _fill(built, file)
        return built.eval()


def save_gan(
    folder: str | Path,
    config: GanConfig,
    classes: tuple[str, ...],
    generator: nn.Module,
    discriminator: nn.Module | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write a GAN and give the folder.

    Args:
        folder: Made when absent; files in it are replaced.
        config, classes: What was built, for which labels.
        generator: The weights to use from now on, usually the averaged ones.
        discriminator: Its opponent, where later work shall have it.
        facts: JSON-able facts about the training.
    """
    about = {"format": _FORMAT, "gan": asdict(config), "classes": list(classes), "facts": dict(facts or {})}
    networks = {"generator": generator, "discriminator": discriminator}
    parts = {name: None if network is None else network.state_dict() for name, network in networks.items()}
    return write_folder(
        folder, parts, lambda hashes: {**about, **{f"{name}_sha256": value for name, value in hashes.items()}}
    )


def load_gan(folder: str | Path) -> SavedGan:
    """Load a GAN that `save_gan` wrote, on the CPU, after checking the generator's hash.

    Raises:
        CheckpointError: Files are missing, torn or changed, or do not fit the configuration.
    """
    path = Path(folder)
    try:
        stored = json.loads((path / "config.json").read_text(encoding="utf-8"))
        sha256 = _sha256(path / "generator.safetensors")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' holds no GAN that can be read: {error}; give a folder of save_gan.") from error
    if stored.get("format") != _FORMAT or stored.get("generator_sha256") != sha256:
        raise CheckpointError(
            f"'{path}' has format {stored.get('format')!r} and a generator of sha256 {sha256[:12]}, its config says "
            f"{str(stored.get('generator_sha256'))[:12]}; the files do not belong together, save again."
        )
    config = build_options(GanConfig, stored["gan"], "gan")
    with torch.random.fork_rng(devices=[]):
        generator = build_generator(config, len(stored["classes"]))
    _fill(generator, path / "generator.safetensors")
    for module in list(generator.modules()):  # weights as plain tensors: quicker, and they can be pickled
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type, union-attr]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    opponent = str(stored.get("discriminator_sha256", ""))
    return SavedGan(config, tuple(stored["classes"]), generator.eval().requires_grad_(False), sha256, path, opponent)


def _fill(network: nn.Module, file: Path) -> None:
    try:
        network.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"'{file}' does not fit its configuration: {error}") from error


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"'{path}' does not exist; a saved GAN has config.json and generator.safetensors.")
    return hash_file(path)
