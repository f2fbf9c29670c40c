"""Models as graphs for other runtimes: ONNX and torch.export, compared with the model before they are written."""

from .runtime import ExportedModel
from .write import FORMATS, Exported, export_model

__all__ = ["FORMATS", "Exported", "ExportedModel", "export_model"]
