from .api import Patience, PinataApi, PinataFile, Refused, Unavailable
from .remote import PinataRemote
from .send import Sent
from .transfer import account_of, pull, push

__all__ = [
    "Patience",
    "PinataApi",
    "PinataFile",
    "PinataRemote",
    "Refused",
    "Sent",
    "Unavailable",
    "account_of",
    "pull",
    "push",
]
