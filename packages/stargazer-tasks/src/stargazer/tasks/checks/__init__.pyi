from .contigs import References
from .fields import Said, fields_of

__all__ = [
    "References",
    "Said",
    "fields_of",
]
