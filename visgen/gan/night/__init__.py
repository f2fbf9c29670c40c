"""Day pictures as night pictures whose labels still hold, and the edges that must stay for it."""

from .edges import EdgeTeacher, SobelEdge, canny, log_luminance
from .hed import HEDNet

__all__ = ["EdgeTeacher", "HEDNet", "SobelEdge", "canny", "log_luminance"]
