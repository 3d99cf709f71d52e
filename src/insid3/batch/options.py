"""The options of a run, and what they do to the masks of a target before these are written."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from insid3.batch.dust import Dropped, without_dust
from insid3.batch.names import exists, safe_name
from insid3.errors import ConfigError, ImageError
from insid3.imaging.components import cleaned
from insid3.imaging.masks import read_mask

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Options:
    """Hold the options of a run over many targets.

    Attributes:
        overlap: owner of pixels that several concepts claim: "best", or "all" of them (`INSID3.label`).
        margin: see `INSID3.label`.
        instances: list the connected parts of every mask.
        min_area: least pixels of a part of a mask; smaller parts are dropped. "patch": as many as a patch has. None:
            "patch" if a soft field decides (preset "plus") or instances are listed, else 0.
        fill_holes: fill the holes of every mask.
        ignore: mask of pixels that are never marked, or a folder of such masks named as the results are.
        roi: (x0, y0, x1, y1) in pixels, the only part of a target that is looked at.
        overlays: write <stem>_overlay.jpg.
        heat: write <stem>_heat.jpg.
        scores: write <stem>_score.png or .npy.
        batch: number of targets that the encoder sees at once.
        together: let targets help each other (`insid3.transductive`).
    """

    overlap: str = "best"
    margin: float = 0.05
    instances: bool = False
    min_area: int | Literal["patch"] | None = None
    fill_holes: bool = False
    ignore: Path | None = None
    roi: Box | None = None
    overlays: bool = True
    heat: bool = False
    scores: Literal["png", "npy"] | None = None
    batch: int = 1
    together: bool = False

    def __post_init__(self) -> None:
        if self.overlap not in ("best", "all"):
            raise ConfigError(f"overlap must be one of best, all, got {self.overlap!r}")
        if self.scores not in (None, "png", "npy"):
            raise ConfigError(f"scores must be png or npy, got {self.scores!r}")
        if self.batch < 1 or not self.margin >= 0:
            raise ConfigError("batch must be 1 or more, margin 0 or more")
        if not (self.min_area in (None, "patch") or (type(self.min_area) is int and self.min_area >= 0)):
            raise ConfigError(f'min_area must be a whole number of 0 or more, or "patch", got {self.min_area!r}')
        if self.roi is not None and not (0 <= self.roi[0] < self.roi[2] and 0 <= self.roi[1] < self.roi[3]):
            raise ConfigError(f"a region is x0,y0,x1,y1 with x0 < x1 and y0 < y1, got {','.join(map(str, self.roi))}")
        if self.ignore is not None and not self.ignore.exists():
            raise ConfigError(f"{self.ignore}: no such mask, or folder of masks, to ignore")

    def as_settings(self) -> dict[str, Any]:
        """Return the options that change masks as JSON; `min_area` None counts as 0, see `with_min_area`."""
        kept = ("overlap", "margin", "instances", "fill_holes", "together")
        roi, ignore = self.roi and list(self.roi), self.ignore and os.path.abspath(self.ignore)
        others = {"min_area": self.min_area or 0, "roi": roi, "ignore": ignore}
        return {**{name: getattr(self, name) for name in kept}, **others}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Options":
        """Return the options that `as_settings` gave."""
        roi, ignore = settings["roi"], settings["ignore"]
        return cls(**{**settings, "roi": roi and tuple(roi), "ignore": ignore and Path(ignore)})

    def with_min_area(self, rule: str) -> "Options":
        """Replace a `min_area` of None by the default for a model whose `Config.rule` is `rule`."""
        if self.min_area is not None:
            return self
        return replace(self, min_area="patch" if rule == "field" or self.instances else 0)

    def least_area(self, patch: float) -> int:
        """Return the pixels of the smallest part that is kept, where a patch has `patch` pixels (`dust.patch_area`)."""
        return int(patch) if self.min_area == "patch" else self.min_area or 0

    def region(self, size: tuple[int, int], name: str) -> tuple[slice, slice]:
        """Return the rows and columns of `roi` in a picture of (height, width) `size`; ImageError if it has none."""
        x0, y0, x1, y1 = self.roi or (0, 0, size[1], size[0])
        if y0 >= size[0] or x0 >= size[1]:
            raise ImageError(f"{name} is {size[1]} x {size[0]} pixels, the region {x0},{y0},{x1},{y1} lies outside")
        return slice(y0, min(y1, size[0])), slice(x0, min(x1, size[1]))

    def ignored(self, name: str, size: tuple[int, int], max_pixels: int) -> Bool[np.ndarray, "H W"] | None:
        """Read the mask of the pixels to ignore in a target, if there is one; MaskError if it cannot be used."""
        file = self.ignore
        if file is not None and file.is_dir():
            own = file / f"{name}.png"
            file = own if exists(own) else _by_result_name(file).get(name, own)
        if file is None or not exists(file):
            return None
        return read_mask(file, size, "any", max_pixels, may_be_empty=True)

    def finish(
        self,
        masks: Sequence[Bool[np.ndarray, "h w"]],
        size: tuple[int, int],
        region: tuple[slice, slice],
        ignored: Bool[np.ndarray, "H W"] | None,
        patch: float = 0.0,
        dropped: list[Dropped] | None = None,
        known: Sequence[bool] = (),
    ) -> list[Bool[np.ndarray, "H W"]]:
        """Return the masks of the whole picture without ignored pixels and parts that are too small.

        Args:
            masks: the mask of each concept, of the region or of the whole picture.
            size: (height, width) of the picture.
            region: rows and columns of the region.
            ignored: pixels that are never marked.
            patch: pixels of a patch of the picture (`dust.patch_area`).
            dropped: list to which the dropped parts of each mask are added.
            known: True for each mask that was drawn, which keeps its small parts and its holes.
        """
        whole = [placed(mask, size, region, False) for mask in masks]
        if ignored is not None:
            whole = [mask & ~ignored for mask in whole]
        result: list[Bool[np.ndarray, "H W"]] = []
        for i, mask in enumerate(whole):
            if known and known[i]:
                mine, dust = mask, Dropped()
            else:
                mine, dust = without_dust(cleaned(mask, fill_holes=self.fill_holes), self.least_area(patch))
            if self.fill_holes and mine is not mask:
                if ignored is not None:
                    mine &= ~ignored
                if self.overlap == "best":  # a hole may belong to another concept
                    for other in (*result, *whole[:i], *whole[i + 1 :]):
                        mine &= ~other
            result.append(mine)
            if dropped is not None:
                dropped.append(dust)
        return result


@lru_cache
def _by_result_name(folder: Path) -> dict[str, Path]:
    """Find the masks whose names `safe_name` changes, by the changed name."""
    names = {file: file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.png")}
    return {safe_name(name): file for file, name in names.items() if safe_name(name) != name}


def placed(
    values: Shaped[np.ndarray, "h w"], size: tuple[int, int], region: tuple[slice, slice], outside: float
) -> Shaped[np.ndarray, "H W"]:
    """Return the values of a region at their place in a picture of (height, width) `size`; `outside` elsewhere."""
    if values.shape == size:
        return values
    result = np.full(size, outside, values.dtype)
    result[region] = values
    return result


def indexed(masks: Sequence[Bool[np.ndarray, "H W"]]) -> UInt8[np.ndarray, "H W"]:
    """Return one indexed picture of masks that do not overlap: i + 1 where the mask at i is True."""
    index = np.zeros(masks[0].shape, np.uint8)
    for i, mask in enumerate(masks):
        index[mask] = i + 1
    return index


def all_gone(dust: Dropped, options: Options) -> str:
    """Tell why nothing is left of a mask that was found."""
    if not dust:
        return "all that was found is another concept's, or ignored"
    least = "a patch" if options.min_area == "patch" else f"{options.min_area} pixels"
    return f"all that was found is smaller than {least} ({dust}): --min-area 0 keeps it"
