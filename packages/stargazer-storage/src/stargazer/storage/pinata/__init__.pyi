from .api import Patience, PinataApi, PinataFile, Refused, Unavailable
from .sending import Sent
from .store import PinataStore
from .transfer import pinata_store, publishes, pull, push

__all__ = [
    "Patience",
    "PinataApi",
    "PinataFile",
    "PinataStore",
    "Refused",
    "Sent",
    "Unavailable",
    "pinata_store",
    "publishes",
    "pull",
    "push",
]
