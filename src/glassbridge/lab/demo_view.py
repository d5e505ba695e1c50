"""The demo on a terminal (rich, live) and elsewhere (plain lines)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from glassbridge.lab.scene import HopMeter, Scene, View

BAR_CELLS = 24
CAPTIONS = 6


class PlainView:
    """One line for each thing that happens."""

    def __init__(self) -> None:
        self._begun = monotonic()

    def tell(self, text: str) -> None:
        with suppress(BrokenPipeError):
            print(f"{monotonic() - self._begun:6.1f} s  {text}", flush=True)

    def show(self, scene: Scene) -> None:
        """Nothing: what matters was told."""


class LiveView:
    """The four parts, a meter on each hop, the captions, the last events."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def tell(self, text: str) -> None:
        """Nothing: it is shown."""

    def show(self, scene: Scene) -> None:
        self._live.update(picture(scene))


@contextmanager
def view() -> Iterator[View]:
    """The view that fits standard output."""
    console = Console()
    if not console.is_terminal:
        yield PlainView()
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield LiveView(live)


def picture(scene: Scene) -> RenderableType:
    """The whole screen."""
    parts = Table.grid(padding=(0, 2))
    for name, state in scene.parts.items():
        parts.add_row(Text(name, style="bold"), Text(state, style=_style(state)))
    meters = Table.grid(padding=(0, 2))
    for name, meter in scene.meters.items():
        passed = f"{meter.seconds:5.1f} s" if meter.seconds is not None else ""
        meters.add_row(Text(name, style="bold"), _bar(meter), Text(passed), Text(meter.note, style="dim"))
    spoken = [Text(text) for text in scene.captions[-CAPTIONS:]]
    captions = Group(*spoken, Text(scene.partial, style="dim italic"))
    events = Group(*(Text(line[:120], style="dim", no_wrap=True, overflow="ellipsis") for line in scene.happened))
    panels = [
        Panel(parts, title="parts", title_align="left"),
        Panel(meters, title=f"audio: {scene.audio or 'not yet'}", title_align="left"),
        Panel(captions, title="captions", title_align="left"),
        Panel(events, title="events", title_align="left"),
    ]
    if scene.keys:
        told = f"on the phone: {scene.told}" if scene.told else "nothing is broken"
        trouble = Group(*(Text(line[:150], no_wrap=True, overflow="ellipsis") for line in scene.trouble))
        panels.insert(2, Panel(trouble, title=told, title_align="left", border_style=_mood(scene)))
        panels.append(Panel(Text(scene.keys), title="break it", title_align="left"))
    return Group(*panels)


def _mood(scene: Scene) -> str:
    return "red" if scene.trouble and "no audio for" in scene.trouble[0] else "green"


def _bar(meter: HopMeter) -> Text:
    filled = round(meter.level * BAR_CELLS)
    return Text("█" * filled, style="green").append("░" * (BAR_CELLS - filled), style="dim")


def _style(state: str) -> str:
    if state in ("-", "starting"):
        return "dim"
    return "red" if state in ("failed", "unreachable", "closed") else "green"
