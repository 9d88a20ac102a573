"""What the buttons of the pages do; each leads back to the page it stands on."""

from typing import Any

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from scripthut_outputs.access import Action
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.routing import asks

from .giving import PageRequest


@post("/runs/{run_id:str}/cancel", opt=asks(Action.CANCEL_RUN), include_in_schema=False)
async def cancel(request: PageRequest, run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Ask for the end of what is alive; the tasks say when it has come."""
    act = parts.noting.act(request.scope, "run.cancelled")
    await parts.creating.cancel(run_id, requested_by=request.user.name, act=act)
    return to(f"/ui/runs/{run_id}?asked=cancel")


@post("/runs/{run_id:str}/collect", opt=asks(Action.COLLECT_AGAIN), include_in_schema=False)
async def collect_run(request: PageRequest, run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Collect once more what is not there whole of a run."""
    await parts.creating.collect_run_again(run_id, act=parts.noting.act(request.scope, "run.collected_again"))
    return to(f"/ui/runs/{run_id}?asked=collect")


@post("/runs/{run_id:str}/tasks/{task_id:str}/collect", opt=asks(Action.COLLECT_AGAIN), include_in_schema=False)
async def collect(
    request: PageRequest, run_id: FromPath[str], task_id: FromPath[str], parts: NamedDependency[Parts]
) -> Response[str]:
    """Collect a task's outputs once more."""
    act = parts.noting.act(request.scope, "run.collected_again")
    await parts.creating.collect_again(run_id, task_id, act=act)
    return to(f"/ui/runs/{run_id}/tasks/{task_id}")


@post("/runs/{run_id:str}/pin", opt=asks(Action.PIN_RUN), include_in_schema=False)
async def pin(request: PageRequest, run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Keep a run's files whatever the retention says."""
    await parts.pins.pin(run_id, by=request.user.name, act=parts.noting.act(request.scope, "run.pinned"))
    return to(f"/ui/runs/{run_id}")


@post("/runs/{run_id:str}/unpin", opt=asks(Action.PIN_RUN), include_in_schema=False)
async def unpin(request: PageRequest, run_id: FromPath[str], parts: NamedDependency[Parts]) -> Response[str]:
    """Leave a run to the retention again."""
    await parts.pins.unpin(run_id, act=parts.noting.act(request.scope, "run.unpinned"))
    return to(f"/ui/runs/{run_id}")


def to(address: str) -> Response[Any]:
    """Lead to a page of ours."""
    return Response("", status_code=303, headers={"location": address})
