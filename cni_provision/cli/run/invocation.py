"""One invocation: open a view, run the command's work, turn whatever it raises into events, end with the sum."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TextIO

from cni_provision import __version__
from cni_provision.cli.exit_codes import of_error
from cni_provision.cli.options import Output
from cni_provision.cli.run import failure
from cni_provision.cli.view.paint import Paint, wants_color
from cni_provision.cli.view.paper import LiveLine, Paper
from cni_provision.events import Event, Summary, Version

Emit = Callable[[Event], None]
Work = Callable[[Emit], Summary]


def run(command: str, output: Output, work: Work) -> int:
    """Do `work` before a view of the user's choice; returns the exit code."""
    began = time.monotonic()
    with view(output) as emit:
        emit(Version(__version__, command))
        try:
            summary = work(emit)
        except (Exception, KeyboardInterrupt) as error:
            summary = failed(error, emit, output)
        emit(replace(summary, seconds=round(time.monotonic() - began, 3)))
    return summary.exit_code


def failed(error: BaseException, emit: Emit, output: Output) -> Summary:
    """Tell about an error that ended the work."""
    for event in failure.events(error):
        emit(event)
    if output.debug:
        traceback.print_exception(error)
    return Summary(exit_code=of_error(error), nodes=0)


def stray(error: BaseException, *, debug: bool) -> None:
    """Tell about an error that no command was there to tell about."""
    output = Output(debug=debug)
    with view(output) as emit:
        failed(error, emit, output)


@contextmanager
def view(output: Output) -> Iterator[Emit]:
    """The view that the options ask for; raises `OSError` at the end if stdout could not take it all."""
    out, err = (paper(output, stream) for stream in (sys.stdout, sys.stderr))
    with drawing(output, out, err) as emit:
        yield emit
    if out.failure:
        raise out.failure


@contextmanager
def drawing(output: Output, out: Paper, err: Paper) -> Iterator[Emit]:
    """What draws the events; the terminal is left clean whatever happens."""
    if output.json:
        from cni_provision.cli.view.ndjson import Ndjson

        yield Ndjson(out).emit
        return
    from cni_provision.cli.view.human import Human

    human = Human(out, err, output.verbosity, LiveLine(err) if is_terminal(err) else None, debug=output.debug)
    try:
        yield human.emit
    finally:
        human.close()


def paper(output: Output, stream: TextIO) -> Paper:
    """A standard stream with its colours."""
    return Paper(stream, Paint(wants_color(output.color, os.environ, terminal=stream.isatty())))


def is_terminal(paper: Paper) -> bool:
    return paper.stream.isatty() and os.environ.get("TERM") != "dumb"
