"""A GAN with labels is measured on pictures without any too."""

from __future__ import annotations

import json
import sys

from torch.nn.functional import avg_pool2d

from visgen.gan import GanConfig
from visgen.task import GanObjective


def test_a_conditional_gan_is_measured_on_pictures_without_classes(load_recipe, tmp_path, monkeypatch, capsys) -> None:
    recipe, small = load_recipe("gan/eval"), {"channels": 4}
    config = GanConfig({"name": "dcgan", **small}, {"name": "sn_dcgan", **small}, condition={"name": "projection"})
    objective = GanObjective(config, ("a", "b"))
    objective.export(objective.module, tmp_path)
    see = recipe.FeatureNetwork("grid", lambda x: avg_pool2d(x, 32).flatten(1), "none", 32)
    monkeypatch.setattr(recipe, "eyes", lambda _: see)
    words = ["--data", "town:street?count=20&size=64x64&tasks=segmentation", "--split", "train", "--weights", "none"]
    monkeypatch.setattr(sys, "argv", ["eval.py", "--gan", str(tmp_path), *words])
    recipe.main()
    assert "FD-grid" in json.loads(capsys.readouterr().out)["metrics"]
