"""Tasks: target, head, loss, decoding and metric of each in one file, and the model that joins them."""

from .build import ModelConfig, build_model
from .classification import ClassificationTask
from .compositional import CompositionalObjective
from .depth import DepthTask
from .detection import DetectionTask
from .edges import EdgesObjective
from .generation import GanObjective
from .model import MultiTaskModel
from .multitask import MultiTaskObjective, count_classes
from .night import NightObjective
from .objective import OBJECTIVES, Objective, ParameterGroup, Phase
from .ood import OODHead, OODTask
from .protocol import FURTHER_TASK_KEYS, TASK_KEYS, TASKS, HeadSpec, Task
from .retrieval import RetrievalTask
from .scene_graph import SceneGraphTask
from .segmentation import SegmentationTask

__all__ = [
    "FURTHER_TASK_KEYS",
    "OBJECTIVES",
    "TASKS",
    "TASK_KEYS",
    "ClassificationTask",
    "CompositionalObjective",
    "DepthTask",
    "DetectionTask",
    "EdgesObjective",
    "GanObjective",
    "HeadSpec",
    "ModelConfig",
    "MultiTaskModel",
    "MultiTaskObjective",
    "NightObjective",
    "OODHead",
    "OODTask",
    "Objective",
    "ParameterGroup",
    "Phase",
    "RetrievalTask",
    "SceneGraphTask",
    "SegmentationTask",
    "Task",
    "build_model",
    "count_classes",
]
