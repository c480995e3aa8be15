"""`clearwell demo`: the main job on real data, with a live view."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Self

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from clearwell import settings
from clearwell.cli.output import common_options, emit, plain_console, progress, table
from clearwell.demo.flights import FLIGHTS
from clearwell.demo.run import Summary, run
from clearwell.demo.stages import Snapshot


@click.command()
@click.option("--events", default=FLIGHTS, show_default=True, help="How many of the real flights to bring in.")
@common_options
def demo(events: int, as_json: bool) -> None:
    """Run real flights from a file through Kafka into Postgres, MongoDB and a model.

    Starts the embedded stack where none is running, registers a connector over a file of real flights with a few dozen
    broken events among them, lets a model learn from a subscription, proves the accounts, and rebuilds a training set
    with a backfill. What it started keeps running: look around, then `clearwell down`.
    """
    with View() as view, progress() as report:
        done = run(settings.home_folder(), events, report, view.say, view.show)
    emit(as_json, done, lambda: _render(done))
    if not done.balanced:
        raise click.exceptions.Exit(1)


class View:
    """Shows the stages on standard error: a live table on a terminal, a line every few seconds elsewhere."""

    PLAIN_EVERY = 5.0

    def __init__(self) -> None:
        self._screen = plain_console(stderr=True)
        self._live: Live | None = None
        self._looks: deque[tuple[float, dict[str, int]]] = deque(maxlen=8)
        self._said = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_live()

    def say(self, doing: str) -> None:
        """One line about the next step."""
        self._end_live()
        self._screen.print(f"• {doing}", soft_wrap=True)

    def show(self, snapshot: Snapshot) -> None:
        """The stages as they are now, with rates over the last few seconds."""
        now = time.monotonic()
        self._looks.append((now, {stage.name: stage.done for stage in snapshot.stages}))
        if self._screen.is_terminal:
            if self._live is None:
                self._live = Live(console=self._screen, auto_refresh=False)
                self._live.start()
            self._live.update(self._table(snapshot), refresh=True)
        elif now - self._said >= self.PLAIN_EVERY or snapshot.idle:
            self._said = now
            stages = ", ".join(
                f"{stage.name} {stage.done:,} ({self._rate(stage.name):,}/s)" for stage in snapshot.stages
            )
            self._screen.print(f"  {stages}, dead letters {sum(snapshot.reasons.values())}", soft_wrap=True)

    def _rate(self, name: str) -> int:
        (then, before), (now, after) = self._looks[0], self._looks[-1]
        return round((after[name] - before[name]) / (now - then)) if now > then else 0

    def _table(self, snapshot: Snapshot) -> RenderableType:
        stages: list[list[object]] = [
            [stage.name, stage.done, self._rate(stage.name), stage.lag] for stage in snapshot.stages
        ]
        reasons: list[list[object]] = [
            [count, reason] for reason, count in sorted(snapshot.reasons.items(), key=lambda pair: -pair[1])[:6]
        ]
        return Group(
            table(["stage", "events", "a second", "waiting"], stages),
            "",
            table(["dead letters", "reason (the six most frequent)"], reasons),
        )

    def _end_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._looks.clear()


def _minutes(error: float | None) -> str:
    return "it had learned all in an earlier run" if error is None else f"{error} min"


def _render(done: Summary) -> RenderableType:
    rows: list[list[object]] = [
        ["raw events in Kafka", done.raw],
        ["= clean", done.clean],
        ["+ dropped (repeats)", done.dropped],
        ["+ dead letters", done.dead],
        ["rows in Postgres", done.postgres],
        ["documents in MongoDB", done.mongo],
        ["carriers in the feature view", done.carriers],
        ["events the model followed", done.subscribed],
        ["rows in the training set", done.backfilled],
        ["model, live: mean error", _minutes(done.live_model_error)],
        ["model, from the backfill: mean error on unseen flights", _minutes(done.backfill_model_error)],
        ["seconds for the drain / for everything", f"{done.drain_seconds} / {done.seconds}"],
    ]
    verdict = (
        ("balanced", "bold green") if done.balanced else ("DO NOT ADD UP: run `clearwell balance flights`", "bold red")
    )
    return Group(
        "",
        table(["", "count"], rows),
        "",
        Text.assemble("The accounts: ", verdict),
        "",
        "Where to look next:",
        "  clearwell status                    what is running, and where its logs are",
        "  clearwell balance flights           the accounts, partition by partition, and dead letters by reason",
        "  clearwell contract show flights     fields, steps and routes; --python prints the generated pipeline",
        "  clearwell connector list            the source that was registered",
        "  clearwell subscribe --list          who reads what, and for which purpose",
        f"  {done.training_set}",
        "                                      the training set: versioned Parquet",
        "  clearwell down                      end it; --wipe deletes the data too",
    )
