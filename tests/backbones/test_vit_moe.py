"""The mixture-of-experts transformer: contract of a backbone, tasks, prefix, twin, sizes and cost."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from visgen.backbones import BACKBONES
from visgen.backbones.describe import active_parameters, count_flops, describe
from visgen.backbones.vit_moe import ViTMoE, _block
from visgen.backbones.vit_moe_config import ViTMoEConfig
from visgen.errors import ConfigError, DataError, UnknownName
from visgen.nn.moe import MoEMlp
from visgen.nn.moe_attention import MoEAttention

TASKS = ("classification", "segmentation", "depth")
SMALL = {
    "tasks": TASKS,
    "width": 24,
    "depth": 5,
    "heads": 3,
    "num_experts": 6,
    "top_k": 2,
    "attention_experts": 5,
    "prefix_depth": 1,
}
STEM = {"name": "mobilenetv2_035"}
VARIANTS = {
    "patch": {},
    "stem": {"stem": STEM},
    "stem_with_context": {"stem": {**STEM, "fold_norm": False}, "stem_token": True, "position": "sincos"},
    "stem_maps": {"stem": STEM, "stem_maps": True},
    "all_mlp": {"layout": "all_mlp", "position": "learned", "class_token": True, "token": "class", "layer_scale": 0.1},
    "odd_mlp": {"layout": "odd_mlp", "position": "none", "registers": 2, "token": "mean_norm", "task_embedding": False},
    "dense": {"layout": "dense", "pre_norm": True},
    "two_layer_router": {"router_hidden": 6, "noise": "learned"},
    "reference_gates": {"gate_norm": "none", "noise": "fixed", "drop_path": 0.2, "qkv_bias": False},
}


def build(seed=0, **changes):
    torch.manual_seed(seed)
    return ViTMoE(ViTMoEConfig(**{**SMALL, **changes}))


def images(*size, seed=0):
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


def assert_same(a, b, **tolerance):
    for stride in (4, 8, 16, 32):
        torch.testing.assert_close(a.pyramid[stride], b.pyramid[stride], **tolerance)
    torch.testing.assert_close(a.token, b.token, **tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(32, 32), (50, 101), (96, 64)])
def test_maps_and_token_have_the_promised_shapes(variant, size):
    model = build(**VARIANTS[variant]).eval()
    found = model(images(2, 3, *size), "depth")
    for stride in (4, 8, 16, 32):
        expected = (2, model.channels[stride], math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert tuple(found.pyramid[stride].shape) == expected
    assert found.token.shape == (2, model.token_dim)
    assert len(found.extras["routing"]) == len(model.routed_layers)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_all_of_the_used_task_and_none_of_the_others(variant):
    model = build(**VARIANTS[variant]).train()
    found = model(images(4, 3, 96, 96), "segmentation")
    (sum(m.square().sum() for m in found.pyramid.values()) + found.token.square().sum()).backward()
    for name, parameter in model.named_parameters():
        others = any(f".tasks.{t}." in name or name == f"task_embedding.{t}" for t in TASKS if t != "segmentation")
        assert (parameter.grad is None) == others, name
        if not others:
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_saves_and_loads(variant, tmp_path):
    model, other = build(**VARIANTS[variant]).eval(), build(seed=1, **VARIANTS[variant]).eval()
    # the stem keeps its kernels channels-last, which safetensors does not store
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "model.safetensors")
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    x = images(1, 3, 64, 48)
    a, b = model(x, "depth"), other(x, "depth")
    assert torch.equal(a.token, b.token) and all(torch.equal(a.pyramid[s], b.pyramid[s]) for s in a.pyramid)


@pytest.mark.parametrize("variant", VARIANTS)
def test_batch_of_two_equals_two_of_one_and_mixed_tasks_equal_each(variant):
    model = build(**VARIANTS[variant]).eval()
    x = images(3, 3, 64, 80)
    together = model(x, "depth")
    mixed = model(x, torch.tensor([2, 0, 2]))
    for i, task in enumerate(("depth", "classification", "depth")):
        alone = model(x[i : i + 1], task)
        assert_same(_row(mixed, i), alone, rtol=1e-3, atol=1e-4)
        if task == "depth":
            assert_same(_row(together, i), alone, rtol=1e-3, atol=1e-4)


def _row(features, i):
    from visgen.backbones.protocol import Features

    return Features({s: m[i : i + 1] for s, m in features.pyramid.items()}, features.token[i : i + 1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_prefix_then_suffix_is_forward_and_leaves_the_prefix_alone(variant):
    model = build(**VARIANTS[variant]).eval()
    x = images(2, 3, 64, 64)
    state = model.prefix(x)
    before = state.tokens.clone()
    for task in TASKS:
        found = model.suffix(state, task)
        expected = model(x, task)
        assert torch.equal(found.token, expected.token) and torch.equal(found.pyramid[16], expected.pyramid[16])
    assert torch.equal(state.tokens, before)


@pytest.mark.parametrize("variant", VARIANTS)
def test_several_tasks_in_one_pass_get_what_each_gets_alone(variant):
    model = build(**VARIANTS[variant]).eval()
    state = model.prefix(images(2, 3, 64, 96))
    before = state.tokens.clone()
    with torch.no_grad():
        together = model.suffixes(state, TASKS)
        alone = {task: model.suffix(state, task) for task in TASKS}
    assert list(together) == list(TASKS)
    for task in TASKS:
        assert_same(together[task], alone[task], rtol=1e-4, atol=1e-5)
    assert torch.equal(state.tokens, before)
    with pytest.raises(UnknownName, match="sorting"):
        model.suffixes(state, ["depth", "sorting"])


def test_stem_maps_are_the_last_channels_of_the_coarse_levels():
    model, plain = build(stem=STEM, stem_maps=True).eval(), build(stem=STEM).eval()
    plain.load_state_dict(model.state_dict())
    x = images(2, 3, 50, 101)  # padded to 64 x 128: the stem's maps are cut like the tokens
    found, without = model(x, "depth"), plain(x, "depth")
    stem = model.stem(torch.nn.functional.pad(x, (0, 27, 0, 14), mode="replicate"))
    for stride in (16, 32):
        rows, columns = math.ceil(50 / stride), math.ceil(101 / stride)
        own = stem[stride].shape[1]
        assert model.channels[stride] == SMALL["width"] + own
        last = stem[stride][..., :rows, :columns]
        torch.testing.assert_close(found.pyramid[stride][:, -own:], last, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.pyramid[stride][:, :-own], without.pyramid[stride])
    for stride in (4, 8):
        torch.testing.assert_close(found.pyramid[stride], without.pyramid[stride])
    torch.testing.assert_close(found.token, without.token)


@pytest.mark.parametrize("batch", [1, 2])
def test_maps_are_the_tokens_row_by_row_with_channels_last(batch):
    """A batch of one must have the strides that torch knows as channels last, or its convolutions go the slow way."""
    model = build(stem=STEM, stem_maps=True).eval()
    with torch.no_grad():
        state = model.prefix(images(batch, 3, 96, 64))
        x, _ = model._through_experts(state.tokens, "depth", False, None)
        found = model.suffix(state, "depth").pyramid
    tokens = model.norm(x).transpose(1, 2).reshape(batch, 24, 6, 4)
    assert torch.equal(found[16][:, :24], tokens)
    assert torch.equal(found[32][:, :24], torch.nn.functional.max_pool2d(tokens, 2))
    for level in (found[16], found[32]):
        assert level.stride() == torch.empty(level.shape, memory_format=torch.channels_last).stride()


def test_tasks_differ_through_their_routers_alone():
    model = build(task_embedding=False).eval()
    x = images(1, 3, 64, 64)
    assert not torch.allclose(model(x, "depth").token, model(x, "segmentation").token)
    with torch.no_grad():
        for layer in model.routed_layers:
            routers = model.get_submodule(layer.name).router.tasks
            routers["depth"].weight.copy_(routers["segmentation"].weight)
    assert torch.equal(model(x, "depth").token, model(x, "segmentation").token)


def test_forward_changes_neither_images_nor_the_module():
    model = build().train()
    x = images(1, 3, 64, 64)
    kept, state = x.clone(), {k: v.clone() for k, v in model.state_dict().items()}
    first = model(x, "depth")
    second = model(x, "depth")
    assert torch.equal(x, kept) and torch.equal(first.token, second.token)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_padding_makes_no_tokens():
    """Cells beyond the picture are cut before the blocks: 16 px more of the same edge change nothing but their own."""
    model = build(stem=STEM).eval()
    state = model.prefix(images(1, 3, 80, 48))
    assert state.grid == (5, 3) and state.tokens.shape == (1, 15, 24)
    found = model(images(1, 3, 80, 48), "depth", collect=True)
    assert all(layer["rows"].tolist() == [15.0] for layer in found.extras["routing"])


def test_same_picture_padded_by_hand_gives_the_same_features():
    model = build().eval()
    x = images(1, 3, 60, 64)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 4), mode="replicate")
    a, b = model(x, "depth"), model(padded, "depth")
    assert torch.equal(a.token, b.token)
    assert all(torch.equal(a.pyramid[s], b.pyramid[s][..., : math.ceil(60 / s), :]) for s in a.pyramid)


def test_routing_statistics_are_recorded_with_gradients_or_on_demand():
    model = build().eval()
    x = images(2, 3, 64, 64)
    with torch.no_grad():
        assert model(x, "depth").extras["routing"] == []
        found = model(x, torch.tensor([2, 0]), collect=True).extras["routing"]
    assert found[0]["experts"].shape == (2, 16, 3) and found[1]["experts"].shape == (2, 16, 2)
    assert found[0]["image_task"].tolist() == [2, 0] and found[0]["task"].tolist() == [0, 2]
    assert found[0]["probabilities"].shape == (2, 5) and found[0]["rows"].tolist() == [16.0, 16.0]
    trained = model(x, "depth").extras["routing"]
    assert trained[0]["probabilities"].requires_grad and "experts" not in trained[0]


def test_noise_comes_from_the_generator():
    model = build(noise="fixed", noise_std=1.0).train()
    x = images(1, 3, 64, 64)
    runs = [model(x, "depth", generator=torch.Generator().manual_seed(s)).token for s in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_layouts_route_the_announced_parts():
    def kinds(**changes):
        found = []
        for block in build(**changes).blocks:
            attention, mlp = isinstance(block.attn, MoEAttention), isinstance(block.mlp, MoEMlp)
            found.append("A" if attention and not mlp else "M" if mlp and not attention else "-")
        return "".join(found)

    assert kinds(layout="twice") == "-AMAM"
    assert kinds(layout="all_mlp") == "-MMMM"
    assert kinds(layout="odd_mlp") == "--M-M"
    assert kinds(layout="dense") == "-----"
    assert [layer.name for layer in build().routed_layers] == [
        "blocks.1.attn",
        "blocks.2.mlp",
        "blocks.3.attn",
        "blocks.4.mlp",
    ]


@pytest.mark.parametrize("layout", ["twice", "all_mlp", "odd_mlp"])
@pytest.mark.parametrize("changes", [{}, {"router_hidden": 48}, {"noise": "learned"}, {"prefix_depth": 3}])
def test_dense_twin_has_the_active_parameters_and_flops(layout, changes):
    config = ViTMoEConfig.named("tiny", TASKS, layout=layout, **changes)
    model, twin = ViTMoE(config), ViTMoE(config.dense_twin())
    active = active_parameters(model, "depth")
    assert not twin.routed_layers
    assert active_parameters(twin, "depth") == pytest.approx(active, rel=0.01)
    assert sum(p.numel() for p in model.parameters()) > 1.3 * active


def test_flops_equal_a_hand_count():
    model = build()
    tokens, width, k, heads, dim, hidden = 4 * 6, 24, 2, 3, 8, 48
    dense_mlp = tokens * 2 * width * 96
    dense_attention = tokens * 4 * width * width + 2 * tokens * tokens * width
    moe_mlp = tokens * (6 * width + k * 2 * width * hidden)
    moe_attention = tokens * (5 * width + heads * 2 * width * dim + width * 2 * dim) + 2 * heads * tokens**2 * dim
    patches = tokens * width * 3 * 256
    position = tokens * width * 9
    pyramid = tokens * width * 12 * 4 + 4 * tokens * 12 * 6 * 4
    expected = (
        dense_mlp + dense_attention + 2 * (moe_attention + dense_mlp) + 2 * (dense_attention + moe_mlp)
        + patches + position + pyramid
    )  # fmt: skip
    assert sum(count_flops(model, (64, 96), "depth").values()) == expected
    found = describe(model, (64, 96))
    assert found["flops"] == dict.fromkeys(TASKS, expected)
    assert found["parameters"] == sum(p.numel() for p in model.parameters())


def test_active_parameters_by_hand():
    model = build(layout="odd_mlp", prefix_depth=3, depth=5)
    inactive = 2 * 4 * (2 * 24 * 48 + 48 + 24) // 2  # one routed MLP: 4 of its 6 experts
    others = 2 * (6 * 24 + 24)  # two other tasks: router and embedding
    assert active_parameters(model, "depth") == sum(p.numel() for p in model.parameters()) - inactive - others


@pytest.mark.parametrize(("size", "tasks", "millions"), [("tiny", 1, 11.74), ("base", 13, 202.0)])
def test_named_sizes_have_the_parameters_of_a_recount(size, tasks, millions):
    """Parameters of all blocks; base with the 13 tasks of Taskonomy was recounted at 202.0 M."""
    config = ViTMoEConfig.named(size, tuple(f"task{i}" for i in range(tasks)))
    width, dim, heads = config.width, config.attention_dim, config.heads
    attention = width * 3 * heads * dim + 3 * heads * dim + heads * dim * width + width
    moe_attention = config.attention_experts * (2 * width * dim + tasks * width) + 2 * dim * (width + 1)
    mlp = 8 * width * width + 5 * width
    moe_mlp = config.num_experts * (2 * width * width + 2 * width + tasks * width)
    expected = 6 * (attention + moe_mlp + moe_attention + mlp + 8 * width)
    assert expected / 1e6 == pytest.approx(millions, abs=0.05)
    with torch.device("meta"):
        blocks = [_block(config, i, 0.0) for i in range(config.depth)]
    assert sum(p.numel() for block in blocks for p in block.parameters()) == expected


def test_registry_builds_by_size_and_by_fields():
    model = BACKBONES.build("vit_moe", size="tiny", tasks=["depth"], depth=2, stem=STEM)
    assert model.config.width == 192 and model.tasks == ("depth",) and model.token_dim == 192
    assert model.eval()(images(1, 3, 64, 64)).token.shape == (1, 192)  # one task needs no name
    with pytest.raises(ConfigError, match="backbone vit_moe has no option 'dept'; did you mean 'depth'"):
        BACKBONES.build("vit_moe", tasks=["depth"], dept=2)
    with pytest.raises(ConfigError, match="stem of vit_moe has no option 'nam'; did you mean 'name'"):
        BACKBONES.build("vit_moe", tasks=["depth"], stem={"nam": "x"})
    with pytest.raises(UnknownName, match="ViTMoE size 'smal' is unknown; did you mean 'small'"):
        BACKBONES.build("vit_moe", size="smal", tasks=["depth"])
    with pytest.raises(ConfigError, match=r"options \['depth'\] were given beside a config"):
        ViTMoE(ViTMoEConfig(**SMALL), depth=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, "name at least one task"),
        ({"layout": "twise"}, "layout 'twise' is unknown; did you mean 'twice'"),
        ({"prefix_depth": 9}, "prefix_depth is 9 but depth is 5; use 0..5"),
        ({"width": 0}, "width is 0; use 1 or more"),
        ({"heads": 0}, "heads is 0; use 1 or more"),
        ({"mlp_ratio": -1}, "mlp_ratio is -1"),
        ({"drop_path": 2}, r"drop_path 2.*a share in \[0, 1\)"),
        ({"width": 25}, "width 25 is not a multiple of heads 3; set head_dim"),
        ({"token": "class"}, "token is 'class' but class_token is false"),
        ({"stem_token": True}, "stem_token is true but there is no stem"),
        ({"attention_experts": 2}, "k is 3 but this layer has 2 experts"),
        ({"top_k": 1}, "gate_norm is 'topk' with k = 1"),
    ],
)
def test_config_refuses(changes, message):
    with pytest.raises(ConfigError, match=message):
        ViTMoEConfig(**{**SMALL, **changes})


def test_forward_refuses():
    model = build()
    with pytest.raises(ConfigError, match="task is missing and this model routes 3 tasks"):
        model(images(1, 3, 64, 64))
    with pytest.raises(UnknownName, match="task 'dept' is not routed by this model; did you mean 'depth'"):
        model(images(1, 3, 64, 64), "dept")
    with pytest.raises(DataError, match="31 x 64 px"):
        model(images(1, 3, 31, 64), "depth")


def test_weight_decay_leaves_out_vectors_of_experts():
    names = build(class_token=True, position="learned").no_weight_decay()
    assert {"extra_tokens", "position.table", "blocks.2.mlp.b1", "task_embedding.depth"} <= names
    assert "blocks.2.mlp.w1" not in names and "blocks.1.attn.q" not in names


def test_trains_under_bfloat16_autocast():
    model = build().train()
    with torch.autocast("cpu", torch.bfloat16):
        found = model(images(2, 3, 64, 64), "depth")
    found.token.float().square().sum().backward()
    router = model.blocks[2].mlp.router.tasks["depth"].weight
    assert router.grad.dtype == torch.float32 and torch.isfinite(router.grad).all()
