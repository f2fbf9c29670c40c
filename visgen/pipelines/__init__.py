"""Pipelines: from any picture, folder, address or video to typed answers in one call.

The package is not called `pipeline` because a submodule of that name would hide the function `visgen.pipeline`.
"""

from .pipeline import Pipeline, pipeline

__all__ = ["Pipeline", "pipeline"]
