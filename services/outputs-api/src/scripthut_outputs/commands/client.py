"""What a person or a script asks of a running service, or of a Markdown file."""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path

from scripthut_common import text
from scripthut_common.errors import Error, InvalidInput, SettingsError
from scripthut_outputs.client import cancelling, exits, opening, runs, showing, submitting, tokens, watching, where
from scripthut_outputs.client.api import Api
from scripthut_outputs.client.exits import Exit
from scripthut_outputs.client.getting import Wish, get
from scripthut_outputs.client.screen import Screen


def run(asked: argparse.Namespace) -> int:
    """Do what the command line asks; returns the exit status."""
    try:
        return _do(asked, Screen(is_json=asked.json))
    except Error as error:
        _complain(error)
        return exits.of_error(error)
    except BrokenPipeError:
        # Whoever read our output has left; what is still to be flushed has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.READER_LEFT


def _do(asked: argparse.Namespace, screen: Screen) -> Exit:
    if asked.command == "preview":
        # Nothing else needs the renderer, and it takes its time to start.
        from . import preview

        return preview.preview(screen, asked)
    found = where.find(os.environ, url=asked.url, token_file=asked.token_file, actor=asked.actor, ca_file=asked.ca_file)
    if asked.command == "open":
        return opening.open_page(found, screen, asked.run, asked.task, is_printed_only=asked.is_printed_only)
    return asyncio.run(_ask(asked, screen, found))


async def _ask(asked: argparse.Namespace, screen: Screen, found: where.Where) -> Exit:
    async with Api(found) as api:
        match asked.command:
            case "runs":
                return await runs.runs(api, screen, _wanted(asked))
            case "show" | "tokens":
                several = _show if asked.command == "show" else _tokens
                return await several(api, screen, asked)
            case "watch":
                return await watching.watch(api, screen, asked.run, watching.Pace(poll_s=asked.poll))
            case "get":
                return await get(api, screen, _wish(asked))
            case "cancel":
                return await cancelling.cancel(api, screen, asked.run, is_sure=asked.yes)
            case _:
                submission = submitting.load(asked.file, asked.idempotency_key)
                pace = watching.Pace(poll_s=asked.poll) if asked.wait else None
                return await submitting.submit(api, screen, submission, pace)


def _show(api: Api, screen: Screen, asked: argparse.Namespace) -> Coroutine[None, None, Exit]:
    if asked.log is None and asked.tail is not None:
        raise SettingsError("--tail is about a log: say which with --log")
    if asked.task is None and asked.log is not None:
        raise SettingsError("--log is about a task: name it after the run")
    if asked.task is None:
        return showing.run(api, screen, asked.run, limit=None if asked.all else asked.limit)
    if asked.log is None:
        return showing.task(api, screen, asked.run, asked.task)
    return showing.log(api, screen, asked.run, asked.task, showing.Log(name=asked.log, tail=asked.tail))


def _tokens(api: Api, screen: Screen, asked: argparse.Namespace) -> Coroutine[None, None, Exit]:
    match asked.act:
        case "list":
            return tokens.listed(api, screen, asked.owner)
        case "create":
            wanted = tokens.Wanted(label=asked.label, scopes=tuple(asked.scopes), days=asked.days)
            return tokens.create(api, screen, wanted)
        case _:
            return tokens.revoke(api, screen, asked.token_id)


def _wanted(asked: argparse.Namespace) -> runs.Wanted:
    return runs.Wanted(
        cluster=asked.cluster,
        owner=asked.owner,
        state=asked.state,
        query=asked.query,
        limit=None if asked.all else asked.limit,
    )


def _wish(asked: argparse.Namespace) -> Wish:
    return Wish(
        run_id=asked.run,
        task=asked.task,
        patterns=tuple(asked.patterns),
        to=Path(asked.to) if asked.to else None,
        is_strict=asked.strict,
    )


def _complain(error: Error) -> None:
    lines = [f"scripthut-outputs: {error}"]
    if isinstance(error, InvalidInput):
        lines += [f"  {problem.field or 'document'}: {problem.message}" for problem in error.problems]
    for line in "\n".join(lines).split("\n"):
        print(text.name(line), file=sys.stderr)
