from .api import Patience, PinataApi, PinataFile, Refused, Unavailable
from .remote import PinataRemote, account_of, pull, push

__all__ = [
    "Patience",
    "PinataApi",
    "PinataFile",
    "PinataRemote",
    "Refused",
    "Unavailable",
    "account_of",
    "pull",
    "push",
]
