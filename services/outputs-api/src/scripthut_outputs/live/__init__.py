"""Tell everybody who has a run open what changed of it: read once, said once, given to all."""

from .framing import RETRY, event
from .hub import Hub
from .noting import Noting
from .telling import Batch, Voice
from .tempo import Tempo

__all__ = ["RETRY", "Batch", "Hub", "Noting", "Tempo", "Voice", "event"]
