"""Follow what running tasks write while somebody watches: one command per cluster and tick, from cluster to pages."""

from .loops import Followers
from .pace import Pace

__all__ = ["Followers", "Pace"]
