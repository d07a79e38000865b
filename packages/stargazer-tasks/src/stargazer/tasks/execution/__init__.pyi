from ._workspace import workspace
from .archives import pack
from .capsules import Replay, replay_bundle
from .environments import AssetEnvironment, WorkflowEnvironment, named_outputs
from .events import Event, observe
from .misses import Miss, NotRemembered
from .options import Refresh, asking_why, log_to, misses_told, refreshed, refreshing
from .recomputing import execution_of
from .replaying import Replayed, replay
from .values import assets_in

__all__ = [
    "AssetEnvironment",
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
    "refreshed",
    "refreshing",
    "replay",
    "replay_bundle",
    "workspace",
]
