"""What every handler is given: one struct, since Litestar starts a task for each of several dependencies."""

from collections.abc import Callable, Collection, Mapping

import msgspec

from scripthut_common.health import Health
from scripthut_outputs.access.opening import Access
from scripthut_outputs.catalog.administering import Administering
from scripthut_outputs.catalog.auditing import Audit
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.creating import Creating
from scripthut_outputs.catalog.login_codes import LoginCodes
from scripthut_outputs.catalog.opening import Opening
from scripthut_outputs.catalog.pinning import Pins
from scripthut_outputs.catalog.quotas import Holdings
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.catalog.shares import ShareLinks
from scripthut_outputs.live import Hub

from .burials import Burials
from .counting import Requests
from .inlining import MaxInline
from .noting import Noting
from .places import StreamLimits
from .previewing import Previewer
from .small import Blobs
from .standing import Bounds
from .turns import Limits


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the application is made of; handlers ask for `parts: NamedDependency[Parts]`.

    `clusters` names those of the clusters file, `budgets` how much may be asked of their schedulers in a minute;
    `bounds` say when the word of one is stale.
    `bus_fault` says why events do not arrive just now, without asking anybody; `None` when they do.
    """

    reading: Reading
    creating: Creating
    pins: Pins
    opening: Opening
    share_links: ShareLinks
    blobs: Blobs
    previewer: Previewer
    clusters: Collection[str]
    login_codes: LoginCodes
    access: Access
    audit: Audit
    noting: Noting
    administering: Administering
    collections: Collections
    holdings: Holdings
    burials: Burials
    requests: Requests
    health: Health
    max_inline: MaxInline
    bus_fault: Callable[[], str | None]
    bounds: Bounds
    hub: Hub
    archive_limits: Limits = Limits()
    stream_limits: StreamLimits = StreamLimits()
    budgets: Mapping[str, int] = {}
