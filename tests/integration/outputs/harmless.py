"""Look whether content took anything over: what a page said, asked of others, and what became of its elements."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from tests.testbed.browser import Visit

# A picture that a document names and its task never wrote.
_MISSING = "the server responded with a status of 404"
# Chromium's own viewer of PDFs, a part of the browser.
_VIEWER = "chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/"
# All that authors wrote lies below `main`. Our own frames are sandboxed, our own forms lead to our own paths.
_TAKEN = r"""() => {
    const all = (selector) => [...Document.prototype.querySelectorAll.call(document, selector)];
    const found = [], [main] = all('main'), { origin } = location;
    const foreign = 'script, object, embed, applet, base, meta, link, style, frame, frameset, portal, template';
    const leads = /^(xlink:)?(href|src|action|formaction|data|poster|background|srcset|cite|ping)$/i;
    const mayLead = (value) => ['http:', 'https:', 'mailto:'].includes(new URL(value, location).protocol);
    // Pictures of a notebook's outputs are made by us, in full, on the page of a notebook alone.
    const isMade = (element, value) => element.matches('.notebook img.cell-picture')
        && location.pathname.endsWith('.ipynb') && /^data:image\/(png|jpeg);base64,[A-Za-z0-9+/]*=*$/.test(value);
    // What a PDF does is bounded by the policy of the answer in its frame; browsers show none in a sandboxed element.
    const mayFrame = (element) => element.hasAttribute('sandbox')
        || (element.matches('iframe.pdf') && /\.pdf$/.test(location.pathname) && /\.pdf\?framed=1$/.test(element.src));
    const say = (what, element) => found.push(`${what}: ${(element?.outerHTML ?? '').slice(0, 200)}`);
    if (all('h1').length !== 1) say(`${all('h1').length} first headings`);
    if (all('main').length !== 1) say(`${all('main').length} mains`);
    if (all('#main')[0] !== main || all('#main').length > 1) say('another main', all('#main')[1]);
    for (const name of ['querySelector', 'getElementById', 'createElement'])
        if (typeof document[name] !== 'function') say(`document.${name} is clobbered`);
    if (!(document.body instanceof HTMLBodyElement)) say('document.body is clobbered');
    if (!(document.forms instanceof HTMLCollection)) say('document.forms is clobbered');
    if (document.baseURI !== location.href) say(`links start at ${document.baseURI}`);
    const ids = all('[id]').map((element) => element.id);
    for (const id of new Set(ids.filter((id, place) => ids.indexOf(id) !== place))) say(`id ${id} is used twice`);
    for (const element of all('main, main *')) {
        if (element.matches(foreign)) say('foreign element', element);
        if (element.matches(':is(foreignObject, image, use, animate, set)')) say('foreign drawing', element);
        if (element.matches('iframe') && !(mayFrame(element) && element.src.startsWith(origin))) say('frame', element);
        if (element.matches('form') && new URL(element.action, location).origin !== origin) say('form', element);
        for (const { name, value } of element.attributes) {
            if (/^on/i.test(name) || name === 'style' || name === 'srcdoc') say(`attribute ${name}`, element);
            if (leads.test(name) && !mayLead(value) && !isMade(element, value)) say(`scheme in ${name}`, element);
        }
    }
    return found;
}"""


class Elsewhere:
    """Another origin, on which we listen.

    Attributes:
        address: of it.
        heard: how often somebody said something; a browser may connect for a request that it then refuses to send.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.heard = 0


@asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """Listen where hostile content tries to send something."""
    found: Elsewhere | None = None

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1) and found is not None:
            found.heard += 1
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    found = Elsewhere(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        yield found


async def harm_of_page(visit: Visit, address: str, other: Elsewhere, *, waits_s: float = 20.0) -> list[str]:
    """Tell everything that is not as a page of ours must be; an empty list is what is hoped for.

    Args:
        visit: has the page open.
        address: ours.
        other: an origin that is not.
        waits_s: so long a control of ours may need until it can be used.
    """
    tried = [f"tried {url}" for url in visit.refused]
    complaints = [line for line in visit.console if line.startswith(("error", "warning")) and _MISSING not in line]
    return [
        *harm(visit, address, other),
        *tried,
        *complaints,
        *await visit.page.evaluate(_TAKEN),
        *await _stuck(visit.page, waits_s),
    ]


def harm(visit: Visit, address: str, other: Elsewhere) -> list[str]:
    """Tell what content did that neither a page nor a file by itself may do."""
    ours = (f"{address}/", "data:", "about:")
    asked = [
        f"asked {url}" for url in visit.requests if not url.startswith((*ours, _VIEWER)) and url not in visit.refused
    ]
    said = [f"dialog {text}" for text in visit.dialogs]
    return [*said, *asked, *(f"error {text}" for text in visit.errors), *([f"{other.address} was heard"] * other.heard)]


async def _stuck(page: Page, waits_s: float) -> list[str]:
    """Tell which of our own controls cannot be used: covered, gone, or leading elsewhere."""
    found = []
    controls = {
        "sign out": page.get_by_role("banner").get_by_role("button", name="Sign out"),
        "home": page.get_by_role("banner").get_by_role("link", name="ScriptHut"),
    }
    for name, control in controls.items():
        try:
            await control.click(trial=True, timeout=waits_s * 1000)
        except PlaywrightError as error:
            found.append(f"{name} cannot be used: {str(error)[:200]}")
    return found
