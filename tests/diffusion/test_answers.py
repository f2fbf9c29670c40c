"""Requests about one photograph: what is computed once, how progress counts, how panels of several passes compete."""

from __future__ import annotations

import torch
from diffusers import PNDMScheduler

from visgen.diffusion import FAST, InstructDiffusion
from visgen.diffusion.answers import answer_requests
from visgen.diffusion.codec import Letterbox, PanelGrid
from visgen.language import TaskRequest
from visgen.language.phrases import canonical

from .conftest import small_model

NAMES = tuple(f"c{k}" for k in range(20))
PHOTO = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0))


def test_progress_ends_at_its_total_with_a_scheduler_that_runs_the_denoiser_more_often():
    model, seen = small_model(), []
    model.scheduler = PNDMScheduler(prediction_type="v_prediction", skip_prk_steps=True)
    rows = [TaskRequest("detection", NAMES[:17]), TaskRequest("depth")]  # two batches
    answer_requests(model, PHOTO, rows, steps=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 10) for k in range(1, 11)]


def test_a_photograph_is_encoded_once_for_all_that_is_asked(shared_model, monkeypatch):
    encoded = []
    own = InstructDiffusion.encode_image
    monkeypatch.setattr(InstructDiffusion, "encode_image", lambda *given: encoded.append(1) or own(*given))
    found = answer_requests(shared_model, PHOTO, [TaskRequest("detection", NAMES[:17]), TaskRequest("depth")])
    assert len(encoded) == 1
    canvas = Letterbox.fit((40, 50), (32, 32)).place_image(PHOTO) * 2 - 1
    alone = shared_model.answer(canvas[None], [canonical(TaskRequest("depth"))], FAST)
    assert torch.allclose(found[1].pictures, alone, atol=1e-5)


def test_panels_of_several_passes_compete_by_brightness(shared_model):
    (answer,) = answer_requests(shared_model, PHOTO, [TaskRequest("classification", NAMES)])
    assert len(answer.parts) > 1 and answer.value.classes == NAMES
    pooled = PanelGrid().pool(list(answer.pictures), answer.parts)
    assert torch.equal(answer.value.probabilities, pooled.probabilities)
