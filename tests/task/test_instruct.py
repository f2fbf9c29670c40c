"""The objectives of the instruction model on a device that training chose."""

from __future__ import annotations

import pytest

from visgen.diffusion import TinyConfig, build_tiny
from visgen.task.instruct import DenoisingObjective


@pytest.mark.parametrize("train_text", [True, False])
def test_what_is_not_trained_follows_the_denoiser(train_text: bool) -> None:
    model = build_tiny(["a"], TinyConfig(size=32, vae_widths=(8, 8), vae_groups=4, unet_widths=(8, 8), unet_groups=4,
                                         text_width=8, text_layers=1, vocabulary=600))  # fmt: skip
    objective = DenoisingObjective(model, train_text=train_text)
    trained = {id(p) for p in objective.module.parameters()}
    objective.module.to("meta")  # as a trainer brings it to an accelerator
    objective.before_step(0)
    assert {p.device.type for p in model.parameters()} == {"meta"} and model.alphas_cumprod.device.type == "meta"
    assert len(trained) == len(list(objective.module.parameters()))
