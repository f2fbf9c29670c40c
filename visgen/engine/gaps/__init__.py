"""The data engine: find where a model is weak, ask generators for that, train again, and measure what it gained."""

from .find import GapReport, collect_strata, find_gaps
from .survey import Survey, SurveyedData, survey

__all__ = ["GapReport", "Survey", "SurveyedData", "collect_strata", "find_gaps", "survey"]
