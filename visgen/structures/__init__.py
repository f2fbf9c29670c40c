"""Typed values of one image: what a task answers or is taught, with its conventions, JSON form and drawing."""

from __future__ import annotations

from .boxes import (
    Boxes,
    box_area,
    cxcywh_to_xyxy,
    denormalise,
    normalise,
    pairwise_iou,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)
from .classification import Classification, ClassLabel
from .depth import DepthMap
from .descriptor import Descriptor, PlaceLabel
from .image import load_image, picture_of
from .masks import Masks, mask_to_rle, rle_to_mask
from .ood import OODLabel, OODVerdict
from .palette import class_palette, depth_colours
from .result import Result
from .scene_graph import SceneGraph
from .segmentation import IGNORE, SemanticMap
from .value import VALUES, Value, register_value, value_from_dict

__all__ = [
    "IGNORE",
    "VALUES",
    "Boxes",
    "ClassLabel",
    "Classification",
    "DepthMap",
    "Descriptor",
    "Masks",
    "OODLabel",
    "OODVerdict",
    "PlaceLabel",
    "Result",
    "SceneGraph",
    "SemanticMap",
    "Value",
    "box_area",
    "class_palette",
    "cxcywh_to_xyxy",
    "denormalise",
    "depth_colours",
    "load_image",
    "mask_to_rle",
    "normalise",
    "pairwise_iou",
    "picture_of",
    "register_value",
    "rle_to_mask",
    "value_from_dict",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
]
