from .contigs import References
from .fields import Said, fields_of
from .headers import quiet

__all__ = [
    "References",
    "Said",
    "fields_of",
    "quiet",
]
