"""Draws docs/images/break-it.svg: `glassbridge demo --break` while a worker is killed and the cloud freezes.

`python -m tools.draw_break_it` runs the real demo, presses keys and keeps a screen each second; the SVG shows them one
after the other as they happened. It takes 30 s and what the demo needs. A demo that fails leaves the picture as it was.
"""

import asyncio
import os
import re
import sys
from io import StringIO
from pathlib import Path
from secrets import token_urlsafe
from time import monotonic

from rich.console import Console, RenderableType

from glassbridge.lab.break_demo import BreakDemo
from glassbridge.lab.demo_view import picture
from glassbridge.lab.scene import Scene
from glassbridge.lab.stack import StackConfig
from glassbridge.livekit.tokens import LiveKitKeys

TARGET = Path("docs/images/break-it.svg")
COLUMNS = 112
SCRIPT = ((1.0, "k"), (6.0, "f"), (17.0, "q"))
"""Seconds after audio flows, and the key that is pressed then."""
APART = 1.0
"""Seconds between two screens."""
FOOT = 4.0
"""Seconds for which the last screen stands."""


class Film:
    """A View that keeps what it shows, and presses the keys of SCRIPT on `keyboard` once audio flows."""

    def __init__(self, keyboard: int) -> None:
        self.screens: list[RenderableType] = []
        self._keyboard = keyboard
        self._flowing_at: float | None = None
        self._taken_at = 0.0
        self._to_press = list(SCRIPT)

    def tell(self, text: str) -> None:
        """Shown as it happens, for the person who waits."""
        print(text, file=sys.stderr)

    def show(self, scene: Scene) -> None:
        """Takes the screen, if it is time; presses what is due."""
        now = monotonic()
        if self._flowing_at is None:
            if not (scene.keys and scene.captions):
                return
            self._flowing_at = now
        if now - self._taken_at >= APART:
            self._taken_at = now
            self.screens.append(picture(scene))
        if self._to_press and now - self._flowing_at >= self._to_press[0][0]:
            os.write(self._keyboard, self._to_press.pop(0)[1].encode())


async def filmed() -> Film | None:
    """One run of the demo; None when audio did not come back. Raises UserError when the system does not start."""
    read, write = os.pipe()
    os.dup2(read, sys.stdin.fileno())
    film = Film(write)
    config = StackConfig(keys=LiveKitKeys("demo", token_urlsafe(32)), jwt_secret=token_urlsafe(32))
    verdict = await BreakDemo(config, film).run()
    print(verdict.line, file=sys.stderr)
    return film if verdict.passed else None


def drawn(screens: list[RenderableType]) -> str:
    """One SVG that shows each screen for APART seconds, then begins again; without motion, the last one alone."""
    pictures = [_svg(screen, number) for number, screen in enumerate(screens)]
    width, height = _size(pictures)
    whole = APART * (len(pictures) - 1) + FOOT
    rules, bodies = [], []
    for number, text in enumerate(pictures):
        begin, end = APART * number / whole * 100, APART * (number + 1) / whole * 100
        last = number == len(pictures) - 1
        shown = (
            f"0%,{begin:.2f}%{{visibility:hidden}}{begin + 0.01:.2f}%,{100 if last else end:.2f}%{{visibility:visible}}"
        )
        rules.append(f"@keyframes s{number}{{{shown}{'' if last else f'{end + 0.01:.2f}%,100%{{visibility:hidden}}'}}}")
        rules.append(
            f"#s{number}{{visibility:{'visible' if last else 'hidden'};animation:s{number} {whole}s infinite}}"
        )
        bodies.append(f'<g id="s{number}">{text}</g>')
    still = "@media (prefers-reduced-motion:reduce){g[id^=s]{animation:none!important}}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' aria-label="glassbridge demo --break: audio dies and comes back">'
        f"<style>{''.join(rules)}{still}</style>{''.join(bodies)}</svg>\n"
    )


def _svg(screen: RenderableType, number: int) -> str:
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(screen)
    text = console.export_svg(title="glassbridge demo --break", unique_id=f"t{number}")
    return re.sub(r"@font-face \{.*?\}", "", text, flags=re.S)  # fonts of a foreign server


def _size(pictures: list[str]) -> tuple[float, float]:
    boxes = [re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text) for text in pictures]
    sizes = [(float(box[1]), float(box[2])) for box in boxes if box]
    return max(size[0] for size in sizes), max(size[1] for size in sizes)


def main() -> int:
    """Exit status: 0 drawn, 1 not."""
    film = asyncio.run(filmed())
    if film is None:
        return 1
    TARGET.write_text(drawn(film.screens))
    print(f"{TARGET}: {len(film.screens)} screens, {TARGET.stat().st_size / 1000:.0f} KB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
