"""The data engine: find where a model is weak, ask generators for that, train again, and measure what it gained."""

from .ask import Offers, Request, ask
from .close import Closed, ClosedGap, close_gaps, compare_arms
from .find import GapReport, collect_strata, find_gaps
from .mix import Settings, run_mapping, write_runs
from .survey import Survey, SurveyedData, survey

__all__ = [
    "Closed",
    "ClosedGap",
    "GapReport",
    "Offers",
    "Request",
    "Settings",
    "Survey",
    "SurveyedData",
    "ask",
    "close_gaps",
    "collect_strata",
    "compare_arms",
    "find_gaps",
    "run_mapping",
    "survey",
    "write_runs",
]
