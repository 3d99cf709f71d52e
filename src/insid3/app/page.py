"""The page: what is where, and which question goes to which answer. It computes nothing."""

from pathlib import Path
from typing import Any, get_args

import gradio as gr

from insid3.app.answers import HEX, Answers
from insid3.app.archive import available_formats
from insid3.app.canvas import make_canvas
from insid3.config import Refine

# gradio drops a click on a picture whose successor is still loading: it is held until that is there.
HEAD = """<script>
document.addEventListener("click", event => {
  const picture = event.target;
  if (picture.tagName !== "IMG" || picture.complete) return;
  event.stopPropagation();
  picture.addEventListener("load", () => picture.dispatchEvent(new MouseEvent("click", event)), {once: true});
}, true);
</script>"""
CSS = """
.gradio-container {width: 100%; max-width: 1500px !important; margin: auto;}
.note {opacity: .75; font-size: .9em;}
.status {min-height: 1.6em;}
.bars {position: relative; display: grid; gap: 4px; font-size: .85em;}
.bar {display: grid; grid-template-columns: 9em 1fr 7em; gap: 8px; align-items: center;}
.bar .track {position: relative; height: 14px; background: var(--background-fill-secondary); border-radius: 3px;}
.bar .track::after {content: ""; position: absolute; left: var(--at); top: -2px; bottom: -2px; border-left: 2px solid;}
.bar .fill {display: block; height: 100%; background: #8a8a94; border-radius: 3px;}
.bar.kept .fill {background: #e6008c;}
.bar .value {white-space: nowrap;}
.places {width: 100%; border: 0 !important; font-size: .9em; font-variant-numeric: tabular-nums;}
.places caption {text-align: left; opacity: .75;}
.places :is(tr, th, td) {text-align: left; padding: 3px 8px 3px 0; border-width: 0 0 1px !important;}
.gallery .grid-container {grid-template-rows: none !important;
  grid-template-columns: repeat(auto-fill, minmax(min(200px, 45%), 1fr)) !important;}
.gallery .caption-label {white-space: normal !important; max-width: 100% !important;}
footer .divider {display: none !important;}
@media (max-width: 600px) {
  .gradio-container > .main {padding: 12px 8px !important;}
  .bar {grid-template-columns: 6.5em 1fr 6em; gap: 4px;}
}
"""
_quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_model: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
_latest: dict[str, Any] = {**_model, "trigger_mode": "always_last"}  # else what is asked meanwhile is dropped


class Page:
    """One page for all visitors; what belongs to one of them is in their `Session`."""

    def __init__(self, answers: Answers, note: str, folder: Path | None) -> None:
        """
        Args:
            note: which backbone runs.
            folder: of the server, whose pictures may be targets.
        """
        self.answers, self.note, self.folder = answers, note, folder
        self.config = answers.same.config

    def build(self, idle: int) -> gr.Blocks:
        """The components and who listens to whom.

        Args:
            idle: seconds after which gradio deletes files; sessions have their own.
        """
        with gr.Blocks(title="INSID3", analytics_enabled=False, delete_cache=(max(1, idle // 6), idle)) as blocks:
            gr.Markdown(
                "# INSID3: paint one example, get the others\n"
                "Choose a picture, mark one thing in it, drop other pictures, press **Mark them**. No training. "
                "New here? **Load the cheetahs** and press **Mark them**."
            )
            gr.Markdown(self.note, elem_classes="note")
            with gr.Tabs():
                with gr.Tab("Segment", id="segment") as self.segment_tab, gr.Row():
                    with gr.Column(scale=5, min_width=300):
                        self._example_part()
                        self._targets_part()
                    with gr.Column(scale=7, min_width=300):
                        self._results_part()
                with gr.Tab("Match points", id="match") as self.match_tab:
                    self._match_part()
                with gr.Tab("Concepts", id="concepts") as self.concepts_tab:
                    self._concepts_part()
            self._wire_example()
            self._wire_results()
            self._wire_match()
            self._wire_concepts()
            blocks.unload(self.answers.on_leaving)
        return blocks

    # What is where

    def _example_part(self) -> None:
        gr.Markdown("### 1 · One example")
        self.load_cheetahs = gr.Button("Load the cheetahs")
        self.reference = gr.File(label="Reference picture", file_types=["image"], height=130)
        with gr.Tabs():
            with gr.Tab("Paint"):
                self.canvas = make_canvas(self.answers.strokes, HEX, height=420)
            with gr.Tab("Click regions") as self.regions_tab:
                self.regions = _picture("Click the regions that belong to the concept", elem_id="regions")
                self.click_adds = gr.Radio(["adds", "takes away"], value="adds", label="A click")
                self.fineness = gr.Slider(
                    0.3, 0.95, self.config.tau, step=0.05, label="Fineness of the regions (tau of the reference)"
                )
                self.picks = gr.Textbox(
                    label="Points, +x,y to add and -x,y to take away", placeholder="+417,180 -300,220", submit_btn="Use"
                )
                self.clear_picks = gr.Button("Clear the points", size="sm")
            with gr.Tab("Mask file"):
                self.mask = gr.File(label="Mask picture, as large as the reference", file_types=["image"], height=130)
        self.example = _picture("The example as it is used", height=220)
        with gr.Row():
            self.name = gr.Textbox("concept", label="Name of the concept", scale=1, min_width=120)
            self.colour = gr.ColorPicker(HEX, label="Colour", scale=1, min_width=270)  # else its dialog is cut
        self.keep = gr.Button("Keep this example and begin another", size="sm")

    def _targets_part(self) -> None:
        gr.Markdown("### 2 · Pictures to mark")
        self.targets = gr.File(label="Targets", file_count="multiple", file_types=["image"], height=180)
        self.whole_folder = gr.Checkbox(label=f"All pictures in {self.folder}", visible=self.folder is not None)

    def _settings_part(self) -> None:
        ranks = min(4 * max(self.config.rank, 16), 512)
        wide: dict[str, Any] = {"min_width": 200}
        score, tau = self.config.min_score, self.config.tau
        with gr.Group(), gr.Row():
            self.settings: list[Any] = [
                gr.Slider(0, 1, self.config.threshold, step=0.01, label="Threshold", info="lower marks more", **wide),
                gr.Slider(0.3, 0.95, tau, step=0.01, label="Tau", info="higher makes finer clusters", **wide),
                gr.Slider(0, ranks, self.config.rank, step=1, label="Debiasing rank", info="0 keeps positions", **wide),
                gr.Slider(0, 1, score, step=0.005, label="Least score", info="masks below become empty", **wide),
                gr.Radio([*get_args(Refine)], value=self.config.refine, label="Refine edges", info="slower", **wide),
            ]

    def _results_part(self) -> None:
        gr.Markdown("### 3 · Masks")
        with gr.Row():
            self.run = gr.Button("Mark them", variant="primary", scale=3, min_width=150, elem_id="run")
            self.cancel = gr.Button("Cancel", scale=1, min_width=80, elem_id="cancel")
        self.status = gr.Markdown("", elem_classes="status", elem_id="status")
        self._settings_part()
        with gr.Tabs():
            with gr.Tab("Results") as self.results_tab:
                self.gallery = gr.Gallery(
                    value=[(str(path), path.name) for path in self.answers.cheetahs],
                    label="Pictures",
                    height=520,
                    object_fit="contain",
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id="results",
                    elem_classes="gallery",
                )
                self.formats = gr.CheckboxGroup(
                    available_formats(), value=["png", "coco"], label="Formats of the download"
                )
                with gr.Row():
                    self.pack = gr.Button("Pack the download")
                    self.download = gr.DownloadButton("Download", visible=False, elem_id="download")
            with gr.Tab("Look inside") as self.inside_tab:
                with gr.Row():
                    self.inside_target = gr.Dropdown(label="Target", choices=[], min_width=140)
                    self.inside_concept = gr.Dropdown(label="Concept", choices=[], min_width=140)
                self.sentence = gr.Markdown("Mark some targets first.")
                self.stages = gr.Gallery(
                    label="Stages",
                    elem_classes="gallery",
                    height="auto",
                    object_fit="contain",
                    interactive=False,
                    buttons=["fullscreen"],
                )
                gr.Markdown("**Scores of the clusters**; the line is the threshold")
                self.bars = gr.HTML()
            with gr.Tab("In code"):
                gr.Markdown("Does the same elsewhere. The `.insid3` files are in the download and under *Concepts*.")
                code: dict[str, Any] = {"interactive": False, "wrap_lines": True, "lines": 1}
                self.command = gr.Code(label="Command line", language="shell", **code)
                self.python = gr.Code(label="Python", language="python", **code)

    def _match_part(self) -> None:
        gr.Markdown("Click points in the reference; see where they are in the target, and what resembles them.")
        with gr.Row():
            self.left = gr.Dropdown(label="Reference", choices=[], min_width=140)
            self.right = gr.Dropdown(label="Target", choices=[], min_width=140)
            self.more = gr.File(label="More pictures", file_count="multiple", file_types=["image"], height=140)
        with gr.Row():
            self.points = gr.Textbox(
                label="Points in the reference, x,y in pixels", placeholder="417,180", submit_btn="Find", scale=3
            )
            self.point = gr.Dropdown(label="Similarity map of point", choices=[], min_width=120)
            self.clear_points = gr.Button("Clear the points", min_width=120)
        with gr.Row():
            self.left_view = _picture("Reference: click here", min_width=280, elem_id="left")
            self.raw_view = _picture("Target, raw features", min_width=280, elem_id="raw")
            self.debiased_view = _picture("Target, debiased features", min_width=280, elem_id="debiased")
        self.places = gr.HTML()

    def _concepts_part(self) -> None:
        gr.Markdown(
            "Concepts that are kept, with their examples. A saved one (`.insid3`) works in `insid3 segment --concept`."
        )
        self.cards = gr.Gallery(
            label="Kept examples",
            elem_classes="gallery",
            height=280,
            object_fit="contain",
            interactive=False,
            buttons=[],
        )
        with gr.Row():
            self.drop_name = gr.Dropdown(label="Concept", choices=[], min_width=140)
            self.drop = gr.Button("Forget it", min_width=120)
        with gr.Row():
            self.load = gr.File(label="Load a concept (.insid3)", file_types=[".insid3"], height=120)
            with gr.Column():
                self.save = gr.Button("Save all concepts, the one being marked too")
                self.saved = gr.File(label="Saved concepts", file_count="multiple", interactive=False, visible=False)

    # Who listens to whom

    def _wire_example(self) -> None:
        naming = [self.name, self.colour]
        views = [self.canvas, self.regions, self.example, self.picks, self.status]
        self.load_cheetahs.click(
            self.answers.on_cheetahs, [self.fineness], [*views, self.reference, self.targets, self.name], **_quiet
        )
        self.reference.upload(self.answers.on_reference, [self.reference, *naming, self.fineness], views, **_quiet)
        self.reference.clear(self.answers.on_no_reference, None, views, **_quiet)
        marked = [self.example, self.regions, self.status]
        painted = [self.canvas, *naming, self.fineness]
        self.canvas.input(self.answers.on_paint, painted, marked, preprocess=False, **_quiet)  # see `Strokes`
        self.mask.upload(self.answers.on_mask, [self.mask, *naming, self.fineness], marked, **_quiet)
        picking = [self.picks, *naming, self.fineness]
        self.regions.select(
            self.answers.on_click, [*picking, self.click_adds], [self.picks, *marked], trigger_mode="multiple", **_quiet
        )
        self.picks.submit(self.answers.on_picks, picking, marked, **_quiet)
        self.fineness.change(self.answers.on_picks, picking, marked, trigger_mode="always_last", **_quiet)
        self.name.change(self.answers.on_name, naming, self.colour, trigger_mode="always_last", **_quiet)
        self.colour.change(
            self.answers.on_colour, [self.colour, self.fineness], marked[:2], trigger_mode="always_last", **_quiet
        )
        self.clear_picks.click(self.answers.on_clear_picks, picking, [self.picks, *marked], **_quiet)
        kept = self.keep.click(self.answers.on_keep, naming, [*views, self.reference], **_quiet)
        kept.then(self.answers.cards, None, [self.cards, self.drop_name], **_quiet)

    def _wire_results(self) -> None:
        asked = [self.name, self.colour, *self.settings]
        shown = [self.gallery, self.status]
        choosing = {"inputs": [self.targets, self.whole_folder], "outputs": [self.status], **_quiet}
        for event in (self.targets.upload, self.targets.clear, self.targets.delete, self.whole_folder.input):
            event(self.answers.on_targets, **choosing)
        running = self.run.click(self.answers.on_run, asked, shown, **_model)
        after = running.then(self.answers.on_marked, asked, [self.command, self.python], **_quiet)
        looks = [self.sentence, self.stages, self.bars]
        seen = [self.inside_target, self.inside_concept, *asked]
        after.then(self.answers.on_inside, seen, looks, **_latest)
        stopped: list[Any] = [running]
        for control in (*self.settings, self.colour):
            again = control.change(self.answers.on_settings, asked, shown, **_latest)
            stopped.append(again)
            again.then(self.answers.on_marked, asked, [self.command, self.python], **_quiet).then(
                self.answers.on_inside, seen, looks, **_latest
            )
        self.cancel.click(self.answers.on_cancel, None, self.status, cancels=stopped, **_quiet)
        self.inside_tab.select(self.answers.on_look, asked, [self.inside_target, self.inside_concept], **_quiet).then(
            self.answers.on_inside, seen, looks, **_latest
        )
        self.results_tab.select(self.answers.on_look_away, None, None, **_quiet)
        for choice in (self.inside_target, self.inside_concept):
            choice.input(self.answers.on_inside, seen, looks, **_latest)
        self.pack.click(self.answers.on_pack, [self.formats, *asked], [self.download, self.status], **_model)

    def _wire_match(self) -> None:
        pair = [self.left, self.right]
        views = [self.left_view, self.raw_view, self.debiased_view, self.places, self.point]
        asked = [*pair, self.points, self.point]
        self.match_tab.select(self.answers.on_match_tab, pair, pair, **_quiet).then(
            self.answers.on_match, asked, views, **_latest
        )
        self.more.upload(self.answers.on_more, [self.more], pair, **_quiet).then(
            self.answers.on_match, asked, views, **_latest
        )
        self.left_view.select(self.answers.on_point, [self.left, self.points], self.points, **_latest).then(
            self.answers.on_new_points, asked, views, **_latest
        )
        self.points.submit(self.answers.on_new_points, asked, views, **_latest)
        for choice in (*pair, self.point):
            choice.input(self.answers.on_match, asked, views, **_latest)
        self.clear_points.click(lambda: "", None, self.points, **_quiet).then(
            self.answers.on_match, asked, views, **_latest
        )

    def _wire_concepts(self) -> None:
        kept = [self.cards, self.drop_name]
        self.concepts_tab.select(self.answers.cards, None, kept, **_quiet)
        self.load.upload(self.answers.on_load, [self.load], [*kept, self.load], **_quiet)
        self.drop.click(self.answers.on_drop, [self.drop_name], kept, **_quiet)
        self.save.click(self.answers.on_save, [self.name, self.colour], [self.saved], **_quiet)


def _picture(label: str, **named: Any) -> gr.Image:
    """A picture to look at, or to click."""
    return gr.Image(label=label, alt_text=label, interactive=False, format="jpeg", buttons=["fullscreen"], **named)
