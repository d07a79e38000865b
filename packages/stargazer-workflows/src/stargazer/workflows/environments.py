"""What a workflow is written with: the Flyte environment of workflows, and `parallel` for calls at the same time."""

from __future__ import annotations

import flyte
from stargazer.tasks import (
    WorkflowEnvironment,
    align_env,
    gatk_env,
    htslib_env,
    index_env,
    parallel,
    report_env,
    scrna_env,
)

__all__ = ["parallel", "workflow_env"]

workflow_env = WorkflowEnvironment(
    name="stargazer",
    resources=flyte.Resources(cpu=1, memory="512Mi"),
    depends_on=[align_env, gatk_env, htslib_env, index_env, report_env, scrna_env],
)
