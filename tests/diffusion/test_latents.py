"""Cached latents: equal to encoding anew, drawn as a pure function of the step, read back as written."""

from __future__ import annotations

import pytest
import torch

from visgen.data import build_source
from visgen.diffusion import LatentCache, LatentStream, QueryConfig, build_cache, canvas_image
from visgen.diffusion.codec import CodecSettings, codec_for
from visgen.errors import ConfigError, DataError

SETTINGS = CodecSettings(0.4, 65.0)
QUERIES = QueryConfig({"segmentation": 2.0, "depth": 1.0})


@pytest.fixture(scope="module")
def town():
    return build_source("town:room?size=32x32&count=6", tasks="segmentation,depth")


@pytest.fixture(scope="module")
def cache(shared_model, town):
    return build_cache(shared_model, "town", town, QUERIES, SETTINGS)


def phrase(request, random):
    return f"{request.task} {random.randrange(1000)}"


def test_the_cache_holds_what_the_vae_gives(cache, shared_model, town):
    assert len(cache) == len(cache.requests) == len(cache.targets) == len(cache.valid) >= 12
    row = next(k for k, request in enumerate(cache.requests) if request.task == "depth")
    sample = town[int(cache.image_of[row])]
    with torch.no_grad():
        image = shared_model.encode_image(canvas_image(sample, (32, 32))[None])[0]
        answer = codec_for(cache.requests[row], SETTINGS).encode(sample.targets["depth"], cache.requests[row], (32, 32))
        target = shared_model.encode_target(answer[None])[0]
    assert torch.allclose(cache.images[cache.image_of[row]].float(), image, atol=1e-2)
    assert torch.allclose(cache.targets[row].float(), target, atol=1e-2)
    known = codec_for(cache.requests[row], SETTINGS).valid(sample.targets["depth"], cache.requests[row], (32, 32))
    assert torch.equal(cache.valid[row], known.reshape(16, 2, 16, 2).all(dim=3).all(dim=1))


def test_saved_loaded_and_joined(cache, tmp_path):
    cache.save(tmp_path)
    again = LatentCache.load(tmp_path)
    assert again.requests == cache.requests and torch.equal(again.targets, cache.targets)
    both = LatentCache.join([cache, again])
    assert len(both) == 2 * len(cache) and both.parts == ("town",)
    assert torch.equal(both.images[both.image_of[len(cache) :]], cache.images[cache.image_of])
    (tmp_path / "questions.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        LatentCache.load(tmp_path)


def test_batches_depend_on_the_step_alone(cache):
    stream, other = (LatentStream(cache, {"town": 2.0}, 5, phrase, seed=3) for _ in range(2))
    other.batches(9)
    first, again = stream.batches(4)[0], other.batches(4)[0]
    assert first.texts == again.texts and torch.equal(first.target, again.target)
    assert stream.batches(5)[0].texts != first.texts
    stream.load_state_dict(other.state_dict())
    with pytest.raises(ConfigError, match="differ in batch_size"):
        stream.load_state_dict({**other.state_dict(), "batch_size": 7})


def test_wrong_parts_are_refused(cache):
    with pytest.raises(ConfigError, match="part 'twon' is not in the cache; did you mean 'town'"):
        LatentStream(cache, {"twon": 1.0}, 2, phrase)
    with pytest.raises(ConfigError, match="weight 0"):
        LatentStream(cache, {"town": 0.0}, 2, phrase)


def test_a_part_whose_sentences_are_all_too_long_is_refused(cache):
    with pytest.raises(ConfigError, match="part 'town' has 0 questions that the text encoder can hold; leave"):
        LatentStream(cache.select(torch.zeros(len(cache), dtype=torch.bool)), {"town": 1.0}, 2, phrase)


def test_a_source_without_answers_is_refused(shared_model, town):
    with pytest.raises(DataError, match="can answer a question"):
        build_cache(shared_model, "town", town, QueryConfig({"detection": 1.0}), SETTINGS)
