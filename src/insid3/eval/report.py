"""The report of a run: report.md, report.html, plots and pictures."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from insid3.errors import Insid3Error, MissingExtraError
from insid3.eval import published
from insid3.eval.datasets import DATASETS
from insid3.eval.episodes import Episode, EpisodeList, Pair
from insid3.eval.metrics import ALPHAS
from insid3.eval.outcome import Outcome
from insid3.eval.predict import Material
from insid3.eval.reader import Reader, Readers
from insid3.eval.used import used_settings
from insid3.imaging.colours import MAGENTA
from insid3.imaging.draw import matches, overlay, sheet
from insid3.imaging.read import read_values
from insid3.imaging.resizing import resize_nearest
from insid3.storage import write_bytes, write_picture, write_text

_TRUTH = (0, 158, 115)
_PCK = {"by image": "pck", "by image, mean of categories": "pck_mean_over_categories", "by point": "pck_by_point"}
_SHOWN = 4  # episodes on a sheet of the best or the worst
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #18181b; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .25rem .8rem; border-bottom: 1px solid #d4d4d8; }
th { border-bottom: 2px solid #71717a; text-align: left; } td + td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; } code { background: #f4f4f5; padding: 0 .3rem; } h1, h2, h3 { line-height: 1.2; }
"""


def check_installed() -> None:
    """Check, before hours of work, that the packages of the extra "evaluate" are there.

    Raises:
        MissingExtraError: a package is missing.
    """
    if not all(find_spec(package) for package in ("markdown_it", "matplotlib", "pycocotools")):
        raise MissingExtraError("evaluate", "evaluate")


def title(name: str, found: Mapping[str, Any]) -> str:
    """Return the title of a set; a user's own set keeps its name, even if that is the name of a published set."""
    return DATASETS[name].title if found["dataset"] in DATASETS else name


def text_of(results: Mapping[str, Any], *, figures: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """Return the report of a run in Markdown.

    Args:
        figures: files of plots and pictures, relative to the report, by set and heading.
    """
    settings, beside = results["settings"], published.follows_paper(results["settings"])
    masks = {name: found for name, found in results["sets"].items() if "miou" in found}
    points = {name: found for name, found in results["sets"].items() if "pck" in found}
    lines = ["# insid3 evaluate", "", *_facts(results), ""]
    if masks:
        lines += _mask_table(masks, results["miou"], beside)
    if points:
        lines += _point_table(points, settings, beside)
    lines += _notes(results, masks, beside)
    for name, files in (figures or {}).items():
        lines += [f"## {title(name, results['sets'][name])}", ""]
        lines += [f"### {kind}\n\n![{kind}]({file})\n" for kind, file in files.items()]
    return "\n".join(lines) + "\n"


def html_of(markdown: str) -> str:
    """Return the HTML page of a report in Markdown."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    head = (
        f'<meta charset="utf-8"><title>{escape(markdown.splitlines()[0].lstrip("# "))}</title><style>{_STYLE}</style>'
    )
    return f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>\n"


def write_report(folder: Path, name: str, markdown: str) -> None:
    """Write `name`.md and `name`.html."""
    write_text(folder / f"{name}.md", markdown)
    write_text(folder / f"{name}.html", html_of(markdown))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown, with all columns but the first aligned to the right."""
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    cells = ["| " + " | ".join(" ".join(cell.split()).replace("|", "&#124;") for cell in row) + " |" for row in rows]
    return [*cells, ""]


def _facts(results: Mapping[str, Any]) -> list[str]:
    settings, machine = results["settings"], results["machine"]
    if "predictions" in settings:
        what = f"- masks of another program: `{settings['predictions']}`"
    else:
        points = [("pck" in found) for found in results["sets"].values()]
        parts = [("points: " if True in points and False in points else "", True)] * (True in points)
        parts = [("", False)] * (False in points) + parts
        lines = [
            head + ", ".join(f"{name} {value}" for name, value in used_settings(settings, points=of_points).items())
            for head, of_points in parts
        ]
        what = (
            f"- method `{settings['method']}`, backbone `{settings['backbone']}` (weights {settings['weights_hash']}), "
            f"engine {settings['engine']}, {settings['dtype']}" + "".join(f"\n- {line}" for line in lines)
        )
        if settings.get("transductive"):
            what += "\n- **transductive**: the targets of a class help each other; not the published setting"
    place = (
        "at the size of the model's square, as published" if settings["score_at"] == "model" else "at the targets' size"
    )
    limit = f" (the first {results['limit']} of each list)" if results["limit"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version)
    return [
        what,
        f"- scored {place}",
        f"- {results['episodes']} episodes{limit}, seed {results['seed']}, hash `{results['episodes_hash']}`",
        f"- {results['seconds']:.0f} s of work on {machine['processor']}; {versions}",
    ]


def _mask_table(masks: Mapping[str, Any], mean: float | None, beside: bool) -> list[str]:
    paper = ["paper", "difference"] * beside
    rows = []
    for name, found in masks.items():
        rows.append([f"**{title(name, found)}**", *_mask_cells(found, _figure(found, *found["folds"]), beside)])
        if len(found["folds"]) > 1:
            for fold, numbers in found["folds"].items():
                rows.append([f"fold {fold}", *_mask_cells(numbers, _figure(found, fold), beside)])
    if len(masks) > 1 and mean is not None:
        figures = {(found["dataset"], found["shots"]): _figure(found, *found["folds"]) for found in masks.values()}
        whole = figures == published.NINE
        extra = _beside(mean, published.MEAN if whole else None) if beside else []
        rows.append(["**mean of sets**", "", f"**{mean:.1f}**", "", *extra, "", ""])
    return table(["set", "episodes", "mIoU", "95 % interval", *paper, "FB-IoU", "boundary IoU"], rows)


def _figure(found: Mapping[str, Any], *folds: str) -> float | None:
    """Return the paper's figure for these folds of a set."""
    dataset = DATASETS.get(found["dataset"])
    if dataset is None:
        return None
    return published.miou_of(dataset.name, found["shots"], [*map(int, folds)], dataset.folds)


def _mask_cells(found: Mapping[str, Any], figure: float | None, beside: bool) -> list[str]:
    low_high = found["interval"]
    if found["miou"] is None:
        return [str(found["episodes"]), "", "", *[""] * (2 * beside), "", ""]
    return [
        str(found["episodes"]),
        f"{found['miou']:.1f}",
        f"{low_high[0]:.1f} to {low_high[1]:.1f}" if low_high else "",
        *(_beside(found["miou"], figure) if beside else []),
        f"{found['fb_iou']:.1f}",
        f"{found['boundary_iou']:.1f}",
    ]


def _beside(value: float, figure: float | None) -> list[str]:
    return ["", ""] if figure is None else [f"{figure:.1f}", f"{value - figure:+.1f}"]


def _point_table(points: Mapping[str, Any], settings: Mapping[str, Any], beside: bool) -> list[str]:
    rows = []
    for name, found in points.items():
        if found["pck"] is None:
            continue
        for kind, key in _PCK.items():
            rows.append(
                [f"{title(name, found)}, {kind}", str(found["episodes"]), *(f"{v:.1f}" for v in found[key].values())]
            )
        if beside and found["dataset"] == "spair":
            figures = published.PCK[settings["match_config"]["rank"] > 0]
            rows.append(["paper (ViT-B, 768 px)", "", *(f"{figure:.1f}" for figure in figures)])
    return table(["points", "pairs", *(f"PCK@{alpha:.2f}" for alpha in ALPHAS)], rows)


def _notes(results: Mapping[str, Any], masks: Mapping[str, Any], beside: bool) -> list[str]:
    lines = []
    if beside:
        lines += [
            "The paper's figures: DINOv3-L, 1024 px, CRF at that size, all episodes, seed 0; its authors call ±0.3 "
            "between machines normal."
        ]
        if results["seed"] or any(found["episodes"] < found["length"] for found in results["sets"].values()):
            lines += ["These are not all, or not the paper's, episodes: the figures can hardly be compared."]
    missing = {
        title(name, found): (
            found["miou_seen"],
            sum(not c["episodes"] for f in found["folds"].values() for c in f["classes"].values()),
        )
        for name, found in masks.items()
        if found["miou"] is not None
    }
    unseen = [f"{name}: {count}, without them {value:.1f}" for name, (value, count) in missing.items() if count]
    if unseen:
        lines += [f"Classes without an episode count as 0, as published ({'; '.join(unseen)})."]
    for name, found in results["sets"].items():
        heading = title(name, found)
        lines += [f"{heading}: {note}." for note in found.get("notes", [])]
        lines += [f"{heading}: class {cls} is left out, it {why}." for cls, why in found.get("left_out", {}).items()]
        lines += [f"{heading}: {_ignored(found['ignored'])}."] if found.get("ignored") else []
        if polygons := found.get("polygons_left_out"):
            lines += [f"{heading}: {polygons} polygons of fewer than three points were left out of masks."]
    if results["errors"]:
        lines += [f"**{results['errors']} episodes failed** and are in no number: see `error` in results.jsonl."]
    return [line for each in lines for line in (each, "")]


def _ignored(found: Mapping[str, Any]) -> str:
    value = f" (value {', '.join(map(str, found['values']))})" if found["values"] else ""
    return (
        f"{found['pixels']:,} pixels{value} of {found['episodes']} of {found['of_episodes']} targets were ignored, "
        f"{found['per_cent']:.2g} % of these targets: they count neither for nor against"
    )


@dataclass(frozen=True)
class Illustrator:
    """Write the plots and pictures of a run into the run's folder."""

    folder: Path
    outcomes: Mapping[str, Outcome]

    def figures(
        self, lists: Sequence[EpisodeList], results: Mapping[str, Any], readers: Readers
    ) -> dict[str, dict[str, str]]:
        """Draw classes, best and worst episodes; return the files, relative to the folder, by set and heading."""
        files: dict[str, dict[str, str]] = {}
        for name, found in results["sets"].items():
            files[name] = self._classes(name, found)
            episodes = [
                (episode, each.classes[episode.cls], readers(each.root))  # folds may name a class differently
                for each in lists
                if each.set == name
                for episode in each.episodes
            ]
            files[name] |= self._extremes(name, episodes)
        return files

    def _classes(self, name: str, found: Mapping[str, Any]) -> dict[str, str]:
        from matplotlib.figure import Figure

        if "categories" in found:
            bars = [(category, each["pck"]["0.1"]) for category, each in found["categories"].items()]
        else:
            folds = found.get("folds", {}).values()
            bars = [(c["name"], c["iou"]) for fold in folds for c in fold["classes"].values() if c["episodes"]]
        if len(bars) < 2:
            return {}
        bars.sort(key=lambda bar: bar[1])
        names, values = zip(*bars, strict=True)
        named = len(bars) <= 60
        figure = Figure(figsize=(8, 0.6 + 0.2 * len(bars)) if named else (8, 3), layout="constrained")
        axes = figure.subplots()
        label = "PCK@0.10" if "categories" in found else "IoU"
        if named:
            axes.barh(range(len(bars)), values, color="#e6008c")
            axes.set_yticks(range(len(bars)), names, parse_math=False)  # "$" in a name is no formula
            axes.set_xlabel(f"{label}, per cent")
            axes.set_xlim(0, 100)
            axes.margins(y=0.01)
        else:
            axes.plot(values, color="#e6008c")
            axes.set_xlabel("classes, from worst to best")
            axes.set_ylabel(f"{label}, per cent")
            axes.set_ylim(0, 100)
        axes.spines[["top", "right"]].set_visible(False)
        file = f"pictures/{_file_name(name)}_classes.svg"
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
        write_bytes(self.folder / file, drawn.getbuffer())
        return {"Classes": file}

    def _extremes(self, name: str, episodes: Sequence[tuple[Episode | Pair, str, Reader]]) -> dict[str, str]:
        scored = [
            (float(outcome.iou), episode, cls, reader)
            for episode, cls, reader in episodes
            if (outcome := self.outcomes.get(episode.id)) is not None and outcome.iou is not None
        ]
        scored.sort(key=lambda each: (each[0], each[1].id))
        worst, best = min(_SHOWN, len(scored) // 2), min(_SHOWN, -(-len(scored) // 2))  # no episode is on both sheets
        files = {}
        for kind, chosen in (("worst", scored[:worst]), ("best", scored[::-1][:best])):
            rows = [row for value, episode, cls, reader in chosen if (row := self._row(episode, cls, reader, value))]
            if rows:
                pictures, captions = zip(*(each for row in rows for each in row), strict=True)
                page = Image.fromarray(sheet(pictures, captions, columns=len(rows[0]), side=900 // len(rows[0])))
                file = f"pictures/{_file_name(name)}_{kind}.jpg"
                write_picture(self.folder / file, page, quality=85)
                files[f"{kind.capitalize()} episodes"] = file
        return files

    def _row(
        self, episode: Episode | Pair, cls: str, reader: Reader, value: float
    ) -> list[tuple[UInt8[np.ndarray, "_ _ 3"], str]]:
        """Return the pictures and captions of an episode; none if a file cannot be read any more."""
        material = Material(episode, reader)
        try:
            if isinstance(episode, Pair):
                ends = [episode.target_points, self.outcomes[episode.id].found or ()]
                shown = [
                    matches(
                        material.references[0],
                        material.target,
                        np.array(episode.source_points, float),
                        np.array(end, float),
                    )
                    for end in ends
                ]
                captions = [f"{episode.id}, {cls}", f"{value:.0f} % within 0.10"]
            else:
                mask = read_values(self.folder / "masks" / f"{episode.id}.png") > 0
                shown = [
                    overlay(material.references[0], material.reference_masks[0], _TRUTH),
                    overlay(material.target, material.truth, _TRUTH),
                    overlay(material.target, resize_nearest(mask, material.truth.shape), MAGENTA),
                ]
                captions = [f"reference: {cls}", episode.id, f"found, IoU {value:.1f}"]
        except Insid3Error:
            return []
        return list(zip(shown, captions, strict=True))


def _file_name(name: str) -> str:
    plain = re.sub(r"[^\w.-]", "_", name).encode()[:100].decode(errors="ignore")
    return plain if plain == name else f"{plain}_{sha256(name.encode()).hexdigest()[:6]}"
