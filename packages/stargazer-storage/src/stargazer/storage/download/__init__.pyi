from .fetch import fetch_file, fetch_object
from .sources import Gateway, LocalFile, Mirror, Source, source_of

__all__ = ["Gateway", "LocalFile", "Mirror", "Source", "fetch_file", "fetch_object", "source_of"]
