"""An upcycled network computes what its dense source computes, for every kind of plain ViT in timm."""

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from visgen.backbones.upcycle import upcycle
from visgen.backbones.vit_moe import ViTMoE
from visgen.errors import CheckpointError, ConfigError

TASKS = ("classification", "depth")
SMALL = {"img_size": 64, "embed_dim": 24, "depth": 4, "num_heads": 3, "num_classes": 5}
KINDS = {
    "class_token": {},
    "mean": {"class_token": False, "global_pool": "avg", "fc_norm": False},
    "mean_then_norm": {"class_token": False, "global_pool": "avg"},
    "layer_scale": {"init_values": 0.1},
    "no_qkv_bias": {"qkv_bias": False},
    "registers": {"reg_tokens": 3},
    "registers_without_position": {"reg_tokens": 4, "no_embed_class": True},
    "clip": {"pre_norm": True, "norm_layer": lambda d, **_: torch.nn.LayerNorm(d, eps=1e-5)},
}


def dense(seed=0, **options):
    torch.manual_seed(seed)
    vit = VisionTransformer(**{**SMALL, **options}).eval()
    for name, parameter in vit.named_parameters():  # make every part count
        if "norm" in name or parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=0.5, std=0.3)
    vit.pretrained_cfg = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
    return vit


@torch.no_grad()
def reference(vit, images):
    """Map and vector of the dense network."""
    mean, std = (torch.tensor(vit.pretrained_cfg[k]).view(3, 1, 1) for k in ("mean", "std"))
    x = vit.forward_features((images - mean) / std)
    patches = x[:, vit.num_prefix_tokens :]
    if isinstance(vit.norm, torch.nn.Identity):
        patches = vit.fc_norm(patches)
    side = images.shape[-2] // 16
    image = patches.transpose(1, 2).reshape(len(x), -1, side, images.shape[-1] // 16)
    return image, vit.forward_head(x, pre_logits=True)


def assert_equal(model, vit, images, tolerance=1e-4):
    expected_map, expected_token = reference(vit, images)
    with torch.no_grad():
        for task in model.tasks:
            found = model.eval()(images, task)
            torch.testing.assert_close(found.pyramid[16], expected_map, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(found.token, expected_token, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", ["copy", "slice"])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_dense_network(kind, mode):
    vit = dense(**KINDS[kind])
    assert_equal(upcycle(vit, TASKS, 8, 4, mode, layout="all_mlp"), vit, torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize(
    ("experts", "k", "mode", "gate_norm"),
    [
        (4, 4, "slice", "topk"),
        (4, 1, "copy", "none"),
        (6, 2, "copy", "none"),
        (6, 2, "slice", "none"),
        (1, 1, "copy", "topk"),
    ],
)
def test_other_banks_and_gates(experts, k, mode, gate_norm):
    vit = dense()
    model = upcycle(vit, TASKS, experts, k, mode, gate_norm=gate_norm)
    assert_equal(model, vit, torch.rand(2, 3, 64, 64), 1e-4 if gate_norm == "topk" else 5e-3)


@pytest.mark.parametrize("options", [{}, {"class_token": False, "global_pool": "avg"}])
def test_vit_tiny_of_timm(options):
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, **options).eval()
    model = upcycle(vit, ("classification",), 8, 2, prefix_depth=2)
    assert model.config.mean == tuple(vit.pretrained_cfg["mean"])
    assert [layer.name for layer in model.routed_layers] == [f"blocks.{i}.mlp" for i in (3, 5, 7, 9, 11)]
    assert_equal(model, vit, torch.rand(1, 3, 224, 224))


def test_positions_follow_the_image_as_in_timm():
    vit = dense(dynamic_img_size=True)
    assert_equal(upcycle(vit, ("depth",), 4, 2), vit, torch.rand(1, 3, 96, 128), 2e-4)


def test_from_a_state_dict():
    vit = dense(class_token=False, global_pool="avg", fc_norm=False)
    model = upcycle(vit.state_dict(), TASKS, 4, 2, heads=3, **vit.pretrained_cfg)
    assert_equal(model, vit, torch.rand(1, 3, 64, 64))


def test_a_prefix_of_all_blocks_is_the_vit_itself():
    vit = dense()
    model = upcycle(vit, TASKS, 4, 2, prefix_depth=4)
    assert not model.routed_layers
    assert_equal(model, vit, torch.rand(1, 3, 64, 64))


def test_slices_cost_what_the_dense_mlp_costs_and_experts_differ_in_training():
    vit = dense()
    model = upcycle(vit, TASKS, 8, 4, "slice").train()
    layer = model.blocks[1].mlp
    assert layer.w1.shape == (8, 24, 24) and torch.equal(layer.w1[1], layer.w1[5])
    model(torch.rand(2, 3, 64, 64), "depth").token.square().sum().backward()
    assert not torch.equal(layer.w1.grad[1], layer.w1.grad[5])
    assert layer.router.tasks["depth"].weight.grad.abs().sum() > 0


def test_config_rebuilds_the_network():
    model = upcycle(dense(init_values=0.1, reg_tokens=2), TASKS, 8, 4, "slice", prefix_depth=1)
    again = ViTMoE(model.config)
    again.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(model.eval()(images, "depth").token, again.eval()(images, "depth").token)


def test_routers_are_drawn_from_the_generator():
    vit = dense()
    a, b, c = (upcycle(vit, TASKS, 4, 2, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    weights = [m.blocks[1].mlp.router.tasks["depth"].weight for m in (a, b, c)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_refusals():
    vit = dense()
    with pytest.raises(ConfigError, match="mode 'slices' is unknown; did you mean 'slice'"):
        upcycle(vit, TASKS, mode="slices")
    with pytest.raises(ConfigError, match="layout is 'twice': only MLPs can be upcycled"):
        upcycle(vit, TASKS, layout="twice")
    with pytest.raises(ConfigError, match="heads is missing"):
        upcycle(vit.state_dict(), TASKS)
    with pytest.raises(ConfigError, match="num_experts is 6 and the dense MLP has 96 hidden units"):
        upcycle(vit, TASKS, 6, 4, "slice")
    with pytest.raises(ConfigError, match="pos_embed has 12 rows, which is no square grid"):
        upcycle(
            {**dense(class_token=False, global_pool="avg").state_dict(), "pos_embed": torch.zeros(1, 12, 24)},
            TASKS,
            heads=3,
        )
    with pytest.raises(ConfigError, match="the patch size is 8 but visgen maps have stride 16"):
        upcycle(dense(patch_size=8), TASKS, 4, 2)
    with pytest.raises(CheckpointError, match=r"parts without a place \['blocks.0.attn.k_norm"):
        upcycle(dense(qk_norm=True), TASKS, 4, 2)
    with pytest.raises(CheckpointError, match="the MLP uses GELU"):
        upcycle(dense(act_layer=lambda: torch.nn.GELU(approximate="tanh")), TASKS)
    with pytest.raises(CheckpointError, match=r"the state lacks \['norm.weight'\]"):
        upcycle(dense(final_norm=False), TASKS)
    for options in ({"global_pool": "avgmax"}, {"fc_norm": True}, {"global_pool": "avg", "pool_include_prefix": True}):
        with pytest.raises(CheckpointError, match="as no ViTMoE does"):
            upcycle(dense(**options), TASKS)
    with pytest.raises(CheckpointError, match="the network is a Linear"):
        upcycle(torch.nn.Linear(2, 2), TASKS)
    with pytest.raises(CheckpointError, match="the state lacks"):
        upcycle({"weight": torch.zeros(1)}, TASKS, heads=3)


def test_resampled_patches_give_a_network_of_stride_16():
    model = upcycle(dense(patch_size=8), TASKS, 4, 2, resample_patch=True)
    assert model(torch.rand(1, 3, 64, 96), "depth").pyramid[16].shape == (1, 24, 4, 6)
