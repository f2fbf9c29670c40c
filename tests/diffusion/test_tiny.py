"""Fresh small models: sizes, budget, and a tokenizer that loses no letter."""

from __future__ import annotations

import json

import pytest
import torch

from visgen.diffusion import TinyConfig, build_tiny, train_tokenizer
from visgen.errors import ConfigError

CORPUS = ["segment the dog", "find all the cars and the people"] * 3


def test_the_default_size_fits_8_mebibytes_in_half_precision():
    model = build_tiny(CORPUS)
    parts = {k: sum(p.numel() for p in getattr(model, k).parameters()) for k in ("vae", "unet", "text_encoder")}
    vocabulary = 1536 - len(model.tokenizer)  # entries that a larger corpus would fill
    assert 2 * (sum(parts.values()) + 96 * vocabulary) < 8 * 2**20
    assert model.config.one_step and model.latent_channels == 4 and model.tokens == 32


def test_seeds_settle_the_weights():
    first, same, other = (build_tiny(CORPUS, seed=seed, vae_widths=(8, 8), vae_groups=4, unet_widths=(8, 8),
                                     unet_groups=4, text_width=8, text_layers=1) for seed in (0, 0, 1))  # fmt: skip
    states = [m.state_dict() for m in (first, same, other)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], states[2][k]) for k in states[0])


def test_a_corpus_settles_the_vocabulary_ties_and_all():
    corpus = [*CORPUS, "how far is everything?", "paint the dogs red and the bats blue", "kiwi lime zebra ox ax"]
    first, *others = (
        json.loads(train_tokenizer(corpus, 560, 40).backend_tokenizer.to_str())["model"] for _ in range(4)
    )
    assert all(model["vocab"] == first["vocab"] and model["merges"] == first["merges"] for model in others)
    names = sorted(first["vocab"], key=first["vocab"].get)
    assert names[:2] == ["<|startoftext|>", "<|endoftext|>"] and len(names) == 560
    assert names[2:258] == sorted(names[2:258]) and names[258:514] == [f"{letter}</w>" for letter in names[2:258]]
    assert names[514:] == ["".join(pair) for pair in first["merges"]]


@pytest.mark.parametrize("text", ["segment the dog", "the Zebra's café!", "xylophone 42", "dogs: 7"])
def test_any_text_has_tokens_and_comes_back(text):
    tokenizer = train_tokenizer(CORPUS, 600, 40)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids[1:-1]
    back = tokenizer.decode(ids, skip_special_tokens=True)
    assert back.replace(" ", "") == text.lower().replace(" ", "")


def test_known_words_are_one_token():
    tokenizer = train_tokenizer(CORPUS, 700, 40)
    assert len(tokenizer("segment the dog")["input_ids"]) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 60}, "multiple of 16"), ({"unet_widths": (30, 64)}, "multiple of unet_groups"),
     ({"text_heads": 5}, "5 heads")],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TinyConfig(**options)
    with pytest.raises(ConfigError, match="at least 514"):
        train_tokenizer(CORPUS, 100, 8)
