"""What the page shows of results: pictures, captions, sentences."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image, ImageDraw

from insid3.config import Config
from insid3.explain import Inside
from insid3.imaging import draw
from insid3.imaging.colours import MAGENTA
from insid3.imaging.resizing import resize_nearest
from insid3.label_map import LabelMap
from insid3.results import Keypoints

Picture = UInt8[np.ndarray, "h w 3"]
_BARS = 24  # clusters in the chart


@dataclass(frozen=True)
class Shown:
    """What is told of a target: a picture of it, and a line.

    Attributes:
        score: of several concepts the lowest of those that were found; None where the target could not be used.
        area: marked pixels.
        reason: why nothing is marked.
        error: why the target could not be used.
    """

    name: str
    overlay: Path
    caption: str
    score: float | None = None
    area: int = 0
    reason: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, name: str, overlay: Path, found: LabelMap) -> "Shown":
        there = [(x, r) for x, r, mask in zip(found.labels, found.results, found.masks, strict=True) if mask.any()]
        if not there:
            best = max(result.score for result in found.results)
            reasons = "; ".join(dict.fromkeys(result.reason or "nothing is marked" for result in found.results))
            return cls(name, overlay, f"{name} · nothing marked", best, 0, reasons)
        one = len(found.labels) == 1
        told = ", ".join(f"{'score' if one else label.name} {result.score:.2f}" for label, result in there)
        score, area = min(result.score for _, result in there), int(np.count_nonzero(found.index))
        return cls(name, overlay, f"{name} · {told}", score, area)


def marked(preview: UInt8[np.ndarray, "h w 3"], found: LabelMap) -> UInt8[np.ndarray, "h w 3"]:
    """A target with the masks of all concepts."""
    masks = [resize_nearest(mask, preview.shape[:2]) for mask in found.masks]
    return draw.overlay(preview, masks, [label.colour for label in found.labels])


def placeholder() -> UInt8[np.ndarray, "h w 3"]:
    """In the place of a picture that cannot be read."""
    image = Image.new("RGB", (480, 320), (70, 70, 78))
    pen = ImageDraw.Draw(image)
    pen.line([190, 110, 290, 210], fill=(170, 170, 178), width=10)
    pen.line([290, 110, 190, 210], fill=(170, 170, 178), width=10)
    return np.asarray(image)


@dataclass(frozen=True, eq=False)
class Stages:
    """The stages of one segmentation.

    Attributes:
        pictures: by what they show.
        bars: the clusters' scores as an HTML chart.
        sentence: what came of it, and why.
    """

    pictures: dict[str, UInt8[np.ndarray, "h w 3"]]
    bars: str
    sentence: str

    @classmethod
    def of(cls, preview: UInt8[np.ndarray, "h w 3"], inside: Inside, config: Config) -> "Stages":
        result, size = inside.result, preview.shape[:2]

        def enlarged(grid: Shaped[np.ndarray, "h w"]) -> Shaped[np.ndarray, "H W"]:
            return resize_nearest(grid, size)

        seed = np.zeros(inside.candidates.shape, bool) if result.seed is None else result.clusters == result.seed
        pictures = {
            f"Raw similarity {_range(inside.raw)}": draw.relief(preview, enlarged(inside.raw)),
            f"Debiased {_range(result.similarity)}": draw.relief(preview, enlarged(result.similarity)),
            "Clusters": draw.segments(preview, enlarged(result.clusters)),
            "Candidates": draw.overlay(preview, enlarged(inside.candidates), (240, 228, 66)),
            "Seed cluster": draw.overlay(preview, enlarged(seed), (86, 180, 233)),
            "Mask": draw.overlay(preview, resize_nearest(result.mask, size), MAGENTA),
        }
        return cls(pictures, _bars(inside, config.threshold), _sentence(inside, config))


@dataclass(frozen=True, eq=False)
class Matched:
    """Points of one picture in another, by raw and by debiased features.

    Attributes:
        reference: with the points.
        maps: raw, then debiased: the target with the similarity to one point, and where all are found.
    """

    raw: Keypoints
    debiased: Keypoints
    reference: UInt8[np.ndarray, "h w 3"]
    maps: tuple[UInt8[np.ndarray, "_ _ 3"], UInt8[np.ndarray, "_ _ 3"]]

    @classmethod
    def of(
        cls,
        reference: UInt8[np.ndarray, "h w 3"],
        size: tuple[int, int],
        points: Float[np.ndarray, "p 2"],
        target: UInt8[np.ndarray, "h2 w2 3"],
        target_size: tuple[int, int],
        raw: Keypoints,
        debiased: Keypoints,
        shown: int,
    ) -> "Matched":
        first, second = (_map(target, target_size, found, shown) for found in (raw, debiased))
        known = draw.points(reference, points * (reference.shape[1] / size[1]))
        return cls(raw, debiased, known, (first, second))

    def table(self) -> str:
        """Where the points are, in pixels of the target, as an HTML table."""
        names = ("point", "debiased x, y", "similarity", "raw x, y", "similarity")
        head, rows = "".join(f"<th>{name}</th>" for name in names), []
        for i in range(len(self.debiased)):
            cells = [f"{i + 1}"]
            for found in (self.debiased, self.raw):
                cells += [f"{found.xy[i][0]:.1f}, {found.xy[i][1]:.1f}", f"{found.similarity[i]:.2f}"]
            rows.append("".join(f"<td>{cell}</td>" for cell in cells))
        if not rows:
            return ""
        caption = "<caption>Where they are, in pixels of the target</caption>"
        return f'<table class="places">{caption}{"".join(f"<tr>{row}</tr>" for row in (head, *rows))}</table>'


def _map(
    target: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], found: Keypoints, shown: int
) -> UInt8[np.ndarray, "h w 3"]:
    if len(found):
        target = draw.relief(target, resize_nearest(found.maps[shown], target.shape[:2]))
    return draw.points(target, found.xy * (target.shape[1] / size[1]))


def _range(similarity: Float[np.ndarray, "h w"]) -> str:
    return f"{similarity.min():.2f}…{similarity.max():.2f}"


def _sentence(inside: Inside, config: Config) -> str:
    result, patches = inside.result, inside.candidates.size
    if not len(inside.scores):
        return f"The mask is empty: {result.reason}. Stage 2 found no candidate among {patches} patches."
    told = (
        f"{int(result.clusters.max()) + 1} clusters at tau {config.tau:g}. "
        f"{int(inside.candidates.sum())} of {patches} patches are candidates. "
        f"{int(inside.kept.sum())} clusters score above {config.threshold:g}. Score of the mask: {result.score:.2f}."
    )
    return told if result.mask.any() else f"The mask is empty: {result.reason}. {told}"


def _bars(inside: Inside, threshold: float) -> str:
    """Width is score; a line marks the threshold."""
    if not len(inside.scores):
        return "<p>No candidates, so no cluster has a score.</p>"
    scores = np.where(np.isfinite(inside.scores), inside.scores, np.sign(inside.scores))
    order = np.argsort(-scores, kind="stable")[:_BARS]
    rows = []
    for cluster in order:
        name = f"cluster {cluster}" + (", the seed" if cluster == inside.result.seed else "")
        state = "kept" if inside.kept[cluster] else "left out"
        width = float(np.clip(scores[cluster], 0, 1)) * 100
        rows.append(
            f'<div class="bar {state.replace(" ", "-")}"><span class="name">{escape(name)}</span>'
            f'<span class="track"><span class="fill" style="width:{width:.1f}%"></span></span>'
            f'<span class="value">{scores[cluster]:.2f} {state}</span></div>'
        )
    more = len(scores) - len(order)
    rest = f"<p>{more} more clusters score lower.</p>" if more > 0 else ""
    at = float(np.clip(threshold, 0, 1)) * 100
    return f'<div class="bars" style="--at:{at:.1f}%">{"".join(rows)}{rest}</div>'
