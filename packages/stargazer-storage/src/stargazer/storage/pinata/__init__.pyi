from .api import PinataApi
from .files import PinataFile
from .remote import PinataRemote
from .retrying import Patience, Refused, Unavailable
from .send import Sent
from .transfer import account_of, companion_records, pull, push

__all__ = [
    "Patience",
    "PinataApi",
    "PinataFile",
    "PinataRemote",
    "Refused",
    "Sent",
    "Unavailable",
    "account_of",
    "companion_records",
    "pull",
    "push",
]
