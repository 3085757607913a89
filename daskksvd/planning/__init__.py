"""What a fit will take, before it runs: seconds, memory, bytes moved, and where scaling stops."""

from .planner import plan
from .report import PassPlan, Plan

__all__ = ["PassPlan", "Plan", "plan"]
