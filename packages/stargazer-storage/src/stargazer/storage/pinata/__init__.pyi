from .api import PinataApi
from .files import PinataFile
from .retrying import Patience, Refused, Unavailable
from .remote import PinataRemote
from .send import Sent
from .transfer import companion_records, account_of, pull, push

__all__ = [
    "Patience",
    "PinataApi",
    "PinataFile",
    "PinataRemote",
    "account_of",
    "Refused",
    "Sent",
    "Unavailable",
    "companion_records",
    "pull",
    "push",
]
