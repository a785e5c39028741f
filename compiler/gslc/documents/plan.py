"""plan.json, written and read: the one import for everyone who needs it."""

from gslc.documents.plan_json import decision_json, host_summaries, instance_json, plan_json
from gslc.documents.plan_reader import read_plan
from gslc.documents.plan_text import plan_text
from gslc.documents.plan_view import InstanceView, PlanDocument, ShardView, plan_document, sum_memory

__all__ = [
    "InstanceView",
    "PlanDocument",
    "ShardView",
    "decision_json",
    "host_summaries",
    "instance_json",
    "plan_document",
    "plan_json",
    "plan_text",
    "read_plan",
    "sum_memory",
]
