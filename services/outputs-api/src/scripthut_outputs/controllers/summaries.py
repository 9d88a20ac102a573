"""The run's summary: what its tasks contributed, one section each, in submission order."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from scripthut_outputs.access import Action
from scripthut_outputs.catalog.views import Contribution, RunSummary
from scripthut_outputs.rendering import fill

from .answers import encoded, kept
from .inlining import Allowance
from .parts import Parts
from .routing import asks
from .shapes import SectionJson, SummaryJson
from .small import Blobs

Format = Annotated[Literal["json", "md"], QueryParameter(name="format", description="md: as the tasks wrote it")]


class Summaries(Controller):
    """What tasks said of the run."""

    path = "/runs/{run_id:str}/summary"
    tags = ("outputs",)

    @get(opt=asks(Action.READ_RUN), summary="Show the run's summary")
    async def show(
        self,
        run_id: FromPath[str],
        parts: NamedDependency[Parts],
        kind: Format = "json",
    ) -> Response[SummaryJson]:
        """Show one section for each task that contributed."""
        if kind == "md":
            found = await parts.reading.summary(run_id)
            markdown = b"".join([part async for part in _raw(found, parts.blobs)])
            plain: Response[Any] = Response(markdown, media_type="text/markdown")
            return plain

        async def make() -> SummaryJson:
            return _summary(await parts.reading.summary(run_id), Allowance(parts.max_inline))

        return await kept(parts.reading.cache, run_id, ("summary",), make)

    @get("/{task_id:str}", opt=asks(Action.READ_RUN), summary="Show one task's section of the run's summary")
    async def section(
        self, run_id: FromPath[str], task_id: FromPath[str], parts: NamedDependency[Parts]
    ) -> Response[SectionJson]:
        """Show the section that an answer was too small to hold."""
        found = await parts.reading.contribution(run_id, task_id)
        return encoded(_section(run_id, found, _filled(run_id, found)))


def _summary(found: RunSummary, allowance: Allowance) -> SummaryJson:
    run_id = found.run.run_id
    sections = []
    for contribution in found.sections:
        html = _filled(run_id, contribution)
        is_inline = html is None or allowance.takes(html)
        sections.append(_section(run_id, contribution, html, is_inline=is_inline))
    return SummaryJson(run_id=run_id, sections=tuple(sections), any_contributions=bool(sections))


def _filled(run_id: str, contribution: Contribution) -> str | None:
    html = contribution.rendered.html
    return None if html is None else fill(html, run_id=run_id, task_id=contribution.task_id)


def _section(run_id: str, contribution: Contribution, html: str | None, *, is_inline: bool = True) -> SectionJson:
    return SectionJson(
        task_id=contribution.task_id,
        task_name=contribution.task_name,
        rendered_html=html if is_inline else None,
        html_url=None if is_inline else f"/runs/{run_id}/summary/{contribution.task_id}",
    )


async def _raw(found: RunSummary, blobs: Blobs) -> AsyncIterator[bytes]:
    for contribution in found.sections:
        title = " ".join(contribution.task_name.split()) or contribution.task_id
        yield f"## {title}\n\n".encode()
        if contribution.sha256 is None:
            yield f"> left out ({contribution.rendered.reason})\n\n".encode()
        else:
            yield (await blobs.read(contribution.sha256)).rstrip() + b"\n\n"
