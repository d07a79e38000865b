from ._workspace import workspace
from .archives import pack
from .cells import place_of
from .environments import AssetEnvironment, WorkflowEnvironment, named_outputs, parallel
from .flyte_mode import use_mode
from .options import (
    Event,
    Miss,
    NotRemembered,
    Refresh,
    asking_why,
    log_to,
    misses_told,
    observe,
    refreshed,
    refreshing,
    run_named,
)
from .registry import TASKS, tasks_called
from .reproduce.recompute import execution_of
from .reproduce.repeat import Again, Compared, repeat
from .reproduce.replay import Replay, Replayed, replay, replay_bundle
from .values import assets_in

__all__ = [
    "TASKS",
    "Again",
    "AssetEnvironment",
    "Compared",
    "Event",
    "Miss",
    "NotRemembered",
    "Refresh",
    "Replay",
    "Replayed",
    "WorkflowEnvironment",
    "asking_why",
    "assets_in",
    "execution_of",
    "log_to",
    "misses_told",
    "named_outputs",
    "observe",
    "pack",
    "parallel",
    "place_of",
    "refreshed",
    "refreshing",
    "repeat",
    "replay",
    "replay_bundle",
    "run_named",
    "tasks_called",
    "use_mode",
    "workspace",
]
