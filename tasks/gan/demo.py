"""What does a GAN draw? A sheet of samples, and a walk between some of them.

python tasks/gan/demo.py --gan runs/gan/last --out out/gan
python tasks/gan/demo.py --quick          # an untrained one, to see that it runs
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from torchvision.utils import make_grid

from visgen.errors import VisgenError
from visgen.gan import GanConfig, GanSource, SavedGan, load_gan, to_bytes
from visgen.task import GanObjective

ROWS, COLUMNS = 6, 12


def untrained(folder: Path) -> SavedGan:
    """A small GAN with random weights."""
    config = GanConfig(generator={"name": "dcgan", "channels": 4}, discriminator={"name": "sn_dcgan", "channels": 4})
    objective = GanObjective(config)
    return load_gan(objective.export(objective.module, folder))


def save_sheet(pixels: torch.Tensor, path: Path) -> None:
    """Write uint8 images (N, 3, H, W) as rows of COLUMNS, each at least 64 px wide."""
    grid = make_grid(pixels, COLUMNS, padding=1, pad_value=255).permute(1, 2, 0).numpy()
    scale = max(1, 64 // pixels.shape[-1])
    Image.fromarray(grid).resize((grid.shape[1] * scale, grid.shape[0] * scale), Image.Resampling.NEAREST).save(path)


@torch.no_grad()
def run(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    gan = untrained(options.out / "untrained") if options.quick else load_gan(options.gan)

    # Samples as training data would be drawn: labels go round the classes, each sample knows its generator and latent.
    source = GanSource(gan, ROWS * COLUMNS, options.seed)
    save_sheet(torch.stack([sample.pixels for sample in source]), options.out / "samples.png")

    # A walk: straight lines between latents, scaled to the length that a normal draw has.
    ends = torch.stack([source.latent(i) for i in range(ROWS + 1)])
    steps = torch.linspace(0, 1, COLUMNS)[:, None]
    z = torch.cat([torch.lerp(a[None], b[None], steps) for a, b in zip(ends, ends[1:])])
    z = z * (gan.generator.z_dim**0.5 / z.norm(dim=1, keepdim=True))
    y = torch.zeros(len(z), dtype=torch.int64) if gan.classes else None
    save_sheet(to_bytes(gan.generator(z, y)), options.out / "walk.png")
    print(f"generator {gan.sha256[:12]}, classes: {', '.join(gan.classes) or 'none'}")
    print(f"the pictures are in {options.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gan", help="folder of a trained GAN")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/gan"), help="folder for the pictures")
    parser.add_argument("--quick", action="store_true", help="an untrained GAN")
    options = parser.parse_args()
    if not options.quick and not options.gan:
        parser.error("no GAN; give --gan FOLDER, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
