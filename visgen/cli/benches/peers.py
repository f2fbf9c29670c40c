"""Well-known networks that do one job each, with their usual ways in and out; random weights, for timing alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HEIGHT", "PEERS", "WIDTH", "Job", "build_peer", "nearest_multiple"]

HEIGHT, WIDTH = 240, 320


@dataclass(frozen=True)
class Job:
    """One network doing one job on picture files.

    Attributes:
        run: Answers about a list of files, all in one batch.
        size: (H, W) at which the network works.
        parameters: Of the network.
    """

    run: Callable[[Sequence[Path]], Any]
    size: tuple[int, int]
    parameters: int


def nearest_multiple(side: int, patch: int) -> int:
    """The multiple of `patch` nearest to `side`, at least one patch."""
    return max(patch, round(side / patch) * patch)


def build_peer(name: str) -> Job:
    """Build one of `PEERS` from its configuration, in float32 and evaluation mode; nothing is downloaded."""
    return PEERS[name]()


def _open(paths: Sequence[Path]) -> list[Any]:
    from PIL import Image

    return [Image.open(path).convert("RGB") for path in paths]


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def _vit_tiny() -> Job:
    """timm vit_tiny_patch16 at 240x320: decode, scale, normalise; softmax and the five best classes."""
    import timm
    import torch
    from torchvision.transforms.v2 import functional as transforms

    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=(HEIGHT, WIDTH)).eval()
    config = timm.data.resolve_model_data_config(model)

    def run(paths: Sequence[Path]) -> Any:
        pictures = [transforms.to_image(p) for p in _open(paths)]
        batch = torch.stack([transforms.to_dtype(p, torch.float32, scale=True) for p in pictures])
        batch = transforms.normalize(batch, list(config["mean"]), list(config["std"]))
        with torch.no_grad():
            return model(batch).softmax(-1).topk(5)

    return Job(run, (HEIGHT, WIDTH), _count(model))


def _yolos_tiny() -> Job:
    """YOLOS-tiny (91 classes, 100 detection tokens) at 240x320, with its image processor in and out."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    config = YolosConfig(
        hidden_size=192,
        num_hidden_layers=12,
        num_attention_heads=3,
        intermediate_size=768,
        image_size=[HEIGHT, WIDTH],
        use_mid_position_embeddings=False,  # as the published tiny size
        num_labels=91,
    )
    model = YolosForObjectDetection(config).eval()
    processor = YolosImageProcessor(size={"height": HEIGHT, "width": WIDTH}, do_pad=False)

    def run(paths: Sequence[Path]) -> Any:
        pictures = _open(paths)
        inputs = processor(images=pictures, return_tensors="pt")
        with torch.no_grad():
            outputs = model(pixel_values=inputs["pixel_values"])
        sizes = [(p.height, p.width) for p in pictures]
        return processor.post_process_object_detection(outputs, threshold=0.5, target_sizes=sizes)

    return Job(run, (HEIGHT, WIDTH), _count(model))


def _segformer_b0() -> Job:
    """SegFormer-B0 (150 classes) at 240x320, with its image processor in and out."""
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    model = SegformerForSemanticSegmentation(SegformerConfig(num_labels=150)).eval()
    processor = SegformerImageProcessor(size={"height": HEIGHT, "width": WIDTH})

    def run(paths: Sequence[Path]) -> Any:
        pictures = _open(paths)
        inputs = processor(images=pictures, return_tensors="pt")
        with torch.no_grad():
            outputs = model(pixel_values=inputs["pixel_values"])
        sizes = [(p.height, p.width) for p in pictures]
        return processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)

    return Job(run, (HEIGHT, WIDTH), _count(model))


def _depth_anything_small() -> Job:
    """Depth-Anything-small at 238x322, the nearest multiples of its patch of 14, with its image processor."""
    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    patch = 14
    size = (nearest_multiple(HEIGHT, patch), nearest_multiple(WIDTH, patch))
    backbone = Dinov2Config(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=518,
        patch_size=patch,
        out_features=["stage3", "stage6", "stage9", "stage12"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=patch,
        reassemble_hidden_size=384,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
        head_hidden_size=32,
    )
    model = DepthAnythingForDepthEstimation(config).eval()
    processor = DPTImageProcessor(size={"height": size[0], "width": size[1]}, ensure_multiple_of=patch)

    def run(paths: Sequence[Path]) -> Any:
        pictures = _open(paths)
        inputs = processor(images=pictures, return_tensors="pt")
        with torch.no_grad():
            outputs = model(pixel_values=inputs["pixel_values"])
        sizes = [(p.height, p.width) for p in pictures]
        return processor.post_process_depth_estimation(outputs, target_sizes=sizes)

    return Job(run, size, _count(model))


PEERS: dict[str, Callable[[], Job]] = {
    "ViT-tiny, classification (timm)": _vit_tiny,
    "YOLOS-tiny, detection (transformers)": _yolos_tiny,
    "SegFormer-B0, segmentation (transformers)": _segformer_b0,
    "Depth-Anything-small, depth (transformers)": _depth_anything_small,
}
