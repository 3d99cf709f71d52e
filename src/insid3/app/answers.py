"""What the parts of the page ask for and get. A visitor's `Session` answers; here it is only put in order."""

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from insid3.app.archive import pack
from insid3.app.canvas import Strokes
from insid3.app.cheetahs import POLYGON, cheetah_pictures
from insid3.app.same import Same
from insid3.app.session import Session, Settings
from insid3.app.sessions import Sessions
from insid3.app.show import Shown
from insid3.batch.annotations import from_labelme
from insid3.batch.formats.base import parse_colour
from insid3.batch.worker import slugs
from insid3.errors import Insid3Error
from insid3.imaging.colours import MAGENTA, Colour
from insid3.imaging.points import parse_points
from insid3.label_map import numbered

HEX = f"#{bytes(MAGENTA).hex()}"
_log = logging.getLogger("insid3.app")


def told(answer: Callable[..., Any]) -> Callable[..., Any]:
    """What goes wrong as a message on the page; what nobody expected also in the server's log."""

    def explained(error: Exception) -> gr.Error:
        if isinstance(error, Insid3Error):
            return gr.Error(str(error), duration=12, title="That did not work", print_exception=False)
        _log.error("unexpected", exc_info=error)
        return gr.Error("something unexpected went wrong; the server's log has it", print_exception=False)

    if inspect.isgeneratorfunction(answer):

        @functools.wraps(answer)
        def each(*args: Any, **named: Any) -> Iterator[Any]:
            try:
                yield from answer(*args, **named)
            except gr.Error:
                raise
            except Exception as error:
                raise explained(error) from error

        return each

    @functools.wraps(answer)
    def once(*args: Any, **named: Any) -> Any:
        try:
            return answer(*args, **named)
        except gr.Error:
            raise
        except Exception as error:
            raise explained(error) from error

    return once


def colour_of(text: str | None) -> Colour:
    """What a colour picker says, "#e6008c" or "rgba(230, 0, 140, 1)"; magenta where it says nothing."""
    numbers = (text or "").removeprefix("rgba(").removeprefix("rgb(").rstrip(")").split(",")
    try:
        if len(numbers) >= 3:
            red, green, blue = (min(255, max(0, round(float(number)))) for number in numbers[:3])
            return red, green, blue
        return parse_colour(text or HEX)
    except ValueError:
        return MAGENTA


class Answers:
    """For one page, which all visitors share."""

    def __init__(self, sessions: "Sessions[Session]", same: Same) -> None:
        self.sessions, self.same = sessions, same
        self.cheetahs, self.strokes = cheetah_pictures(), Strokes()

    def on_leaving(self, request: gr.Request) -> None:
        """Nothing is kept of those who close the page."""
        self.sessions.forget(request.session_hash)

    # The example

    def _of(self, request: gr.Request) -> Session:
        return self.sessions.of(request.session_hash)

    @told
    def on_cheetahs(self, tau: float, request: gr.Request) -> Sequence[Any]:
        session, (first, *others) = self._of(request), self.cheetahs
        opened = session.open(first)
        session.take_mask_of(from_labelme(POLYGON, picture=first)[1])
        session.choose(others)
        files = [str(target.path) for target in session.targets]  # gradio shows no file from elsewhere
        *views, said = self._views(session, MAGENTA, tau)
        return *views, f"{said} {len(files)} pictures to mark.", str(opened.path), files, "cheetah"

    @told
    def on_reference(self, file: str, name: str, colour: str, tau: float, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        session.open(Path(file))
        return self._views(session, colour_of(colour), tau)

    @told
    def on_no_reference(self, request: gr.Request) -> Sequence[Any]:
        self._of(request).example = None
        return None, None, None, "", ""

    def _views(self, session: Session, colour: Colour, tau: float) -> Sequence[Any]:
        assert session.example is not None
        canvas = {"background": session.example.preview, "layers": [], "composite": None}
        example, regions, status = self._marks(session, colour, tau)
        return canvas, regions, example, "", status

    def _marks(self, session: Session, colour: Colour, tau: float) -> Sequence[Any]:
        """The example, its regions, and a sentence."""
        example = session.example
        if example is None:
            return None, None, ""
        share = 0.0 if example.mask is None else float(example.mask.mean())
        said = f"{share:.1%} of the reference is marked." if share else "Nothing is marked in the reference yet."
        return session.example_shown(colour), session.example_shown(colour, tau), said

    @told
    def on_paint(
        self, canvas: dict[str, Any] | None, name: str, colour: str, tau: float, request: gr.Request
    ) -> Sequence[Any]:
        session = self._of(request)
        layers = self.strokes.take(canvas, session.folder)
        before = session.example
        if before is not None:
            session.paint(layers)
        for layer in layers:
            layer.unlink(missing_ok=True)
        if session.example is before:  # a canvas that only opens must not overtake a click on a region
            return gr.skip(), gr.skip(), gr.skip()
        return self._marks(session, colour_of(colour), tau)

    @told
    def on_mask(self, file: str, name: str, colour: str, tau: float, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        session.take_mask(Path(file))
        return self._marks(session, colour_of(colour), tau)

    @told
    def on_click(
        self, event: gr.SelectData, picks: str, name: str, colour: str, tau: float, adds: str, request: gr.Request
    ) -> Sequence[Any]:
        session = self._of(request)
        x, y = session.place(event.index)
        picks = f"{picks} {'+' if adds == 'adds' else '-'}{x:g},{y:g}".strip()
        session.pick(picks, tau)
        return picks, *self._marks(session, colour_of(colour), tau)

    @told
    def on_picks(self, picks: str, name: str, colour: str, tau: float, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        if session.example is not None and picks.strip():
            session.pick(picks, tau)
        return self._marks(session, colour_of(colour), tau)

    @told
    def on_name(self, name: str, colour: str, request: gr.Request) -> str:
        return f"#{bytes(self._of(request).colour_for(name, colour_of(colour))).hex()}"

    @told
    def on_colour(self, colour: str, tau: float, request: gr.Request) -> Sequence[Any]:
        return self._marks(self._of(request), colour_of(colour), tau)[:2]

    @told
    def on_clear_picks(self, picks: str, name: str, colour: str, tau: float, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        if session.example is not None and picks.strip():
            session.pick("", tau)
        return "", *self._marks(session, colour_of(colour), tau)

    @told
    def on_keep(self, name: str, colour: str, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        session.keep(name, colour_of(colour))
        kept = ", ".join(f"{concept.name} ({concept.shots})" for concept in session.concepts.values())
        return None, None, None, "", f"Kept: {kept}. Choose another reference, or mark the targets.", None

    # Results

    @told
    def on_targets(self, files: list[str] | None, folder: bool, request: gr.Request) -> str:
        session = self._of(request)
        left_out = session.choose([Path(file) for file in files or []], folder)
        return left_out or f"{len(session.targets)} pictures to mark."

    @told
    def on_run(self, name: str, colour: str, request: gr.Request, *settings: Any) -> Iterator[Sequence[Any]]:
        yield from self._marking(self._of(request), name, colour, settings)

    @told
    def on_settings(self, name: str, colour: str, request: gr.Request, *settings: Any) -> Iterator[Sequence[Any]]:
        session = self._of(request)
        if session.marked:
            yield from self._marking(session, name, colour, settings, pause=1)
        else:
            yield gr.skip(), gr.skip()

    def _marking(
        self, session: Session, name: str, colour: str, settings: Sequence[Any], pause: float = 0
    ) -> Iterator[Sequence[Any]]:
        """What is done, every `pause` seconds: what is done sooner appears at once."""
        done, told_at, total = list[Shown](), time.monotonic(), len(session.targets)
        for shown in session.mark(Settings(*settings), name, colour_of(colour)):
            done.append(shown)
            if len(done) == total or time.monotonic() - told_at >= pause:
                told_at = time.monotonic()
                yield _cells(done), _progress(done, total)

    @told
    def on_cancel(self, request: gr.Request) -> str:
        self._of(request).stop()
        return "Cancelled. What is done stays; **Mark them** begins again."

    @told
    def on_marked(self, name: str, colour: str, request: gr.Request, *settings: Any) -> Sequence[str]:
        return self._equivalent(self._of(request), name, colour_of(colour), Settings(*settings))

    def _equivalent(self, session: Session, name: str, colour: Colour, settings: Settings) -> Sequence[str]:
        try:
            files = slugs(numbered(session.all_concepts(name, colour)))
        except Insid3Error:
            return "", ""
        return self.same.command(files, settings), self.same.python(files, settings)

    @told
    def on_look(self, name: str, colour: str, request: gr.Request, *settings: Any) -> Sequence[Any]:
        session = self._of(request)
        session.looking = True
        targets = [target.name for target in session.targets]
        concepts = [concept.name for concept in session.all_concepts(name, colour_of(colour))]
        return _choice(targets), _choice(concepts)

    @told
    def on_look_away(self, request: gr.Request) -> None:
        self._of(request).looking = False

    @told
    def on_inside(
        self, target: str | None, concept: str | None, name: str, colour: str, request: gr.Request, *settings: Any
    ) -> Sequence[Any]:
        session = self._of(request)
        if not session.looking or not target:
            return gr.skip(), gr.skip(), gr.skip()
        stages = session.stages(target, concept, Settings(*settings), name, colour_of(colour))
        pictures = [(picture, caption) for caption, picture in stages.pictures.items()]
        return stages.sentence, pictures, stages.bars

    @told
    def on_pack(
        self, formats: list[str], name: str, colour: str, request: gr.Request, *settings: Any
    ) -> Iterator[Sequence[Any]]:
        session, chosen, rgb = self._of(request), Settings(*settings), colour_of(colour)
        yield gr.DownloadButton(visible=False), "Packing …"
        text = "Made by INSID3. The same without the page:\n\n" + "\n\n".join(
            self._equivalent(session, name, rgb, chosen)
        )
        archive, notes = pack(session, chosen, name, rgb, formats, text)
        label = f"Download {archive.name} ({archive.stat().st_size / 2**20:.1f} MB)"
        said = " ".join(["Packed.", *(f"{note}." for note in notes)])
        yield gr.DownloadButton(label=label, value=str(archive), visible=True), said

    # Points

    @told
    def on_match_tab(self, left: str | None, right: str | None, request: gr.Request) -> Sequence[Any]:
        names = self._of(request).names()
        return _choice(names, left), _choice(names, right, second=True)

    @told
    def on_more(self, files: list[str] | None, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        session.more = (*session.more, *(session.files.own(Path(file)) for file in files or []))
        names = session.names()
        added: list[str | None] = [*(Path(file).name for file in files or [])] or [None]
        return _choice(names, added[0]), _choice(names, added[-1])

    @told
    def on_point(self, event: gr.SelectData, left: str | None, points: str, request: gr.Request) -> str:
        x, y = self._of(request).place(event.index, left)
        return f"{points} {x:g},{y:g}".strip()

    @told
    def on_new_points(
        self, left: str | None, right: str | None, points: str, point: str | None, request: gr.Request
    ) -> Sequence[Any]:
        return self._matched(self._of(request), left, right, points, None)

    @told
    def on_match(
        self, left: str | None, right: str | None, points: str, point: str | None, request: gr.Request
    ) -> Sequence[Any]:
        return self._matched(self._of(request), left, right, points, point)

    def _matched(
        self, session: Session, left: str | None, right: str | None, points: str, point: str | None
    ) -> Sequence[Any]:
        if not left or not right:
            return None, None, None, "", _choice([])
        known = parse_points(points) if points.strip() else []
        numbers = [str(i + 1) for i in range(len(known))]
        shown = point if point in numbers else str(len(known))
        found = session.match(left, right, known, int(shown or 1) - 1)
        return found.reference, *found.maps, found.table(), _choice(numbers, shown)

    # Concepts

    @told
    def cards(self, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        return session.cards(), _choice([*session.concepts])

    @told
    def on_load(self, file: str, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        session.load(Path(file))
        return session.cards(), _choice([*session.concepts]), None

    @told
    def on_drop(self, name: str | None, request: gr.Request) -> Sequence[Any]:
        session = self._of(request)
        if name:
            session.drop(name)
        return session.cards(), _choice([*session.concepts])

    @told
    def on_save(self, name: str, colour: str, request: gr.Request) -> Any:
        files = self._of(request).save(name, colour_of(colour))
        return gr.File(value=[str(file) for file in files], visible=True)


def _choice(names: Sequence[str], value: str | None = None, *, second: bool = False) -> Any:
    """A dropdown of names, its value kept where it is still one of them."""
    first = names[min(len(names) - 1, int(second))] if names else None
    return gr.Dropdown(choices=list(names), value=value if value in names else first)


def _cells(done: Sequence[Shown]) -> list[tuple[str, str]]:
    return [(str(shown.overlay), shown.caption) for shown in done]


def _progress(done: Sequence[Shown], total: int) -> str:
    failed = [shown for shown in done if shown.error]
    empty = [shown for shown in done if shown.reason]
    lines = [f"**{len(done)} of {total}** pictures looked at."]
    lines += [f"- {shown.error}" for shown in failed[:5]]
    lines += [f"- {shown.name}: empty, {shown.reason}" for shown in empty[:5]]
    if (more := max(0, len(failed) - 5) + max(0, len(empty) - 5)) > 0:
        lines.append(f"- and {more} more")
    return "\n".join([lines[0], "", *lines[1:]])
