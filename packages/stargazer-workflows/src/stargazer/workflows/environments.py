"""The Flyte environment of the workflows."""

from __future__ import annotations

import flyte
from stargazer.tasks import WorkflowEnvironment, align_env, htslib_env, index_env, report_env

__all__ = ["workflow_env"]

workflow_env = WorkflowEnvironment(
    name="stargazer",
    resources=flyte.Resources(cpu=1, memory="512Mi"),
    depends_on=[align_env, htslib_env, index_env, report_env],
)
