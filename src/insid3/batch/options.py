"""What becomes of the masks of a target, before they are written."""

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
from insid3.images import read_mask
from insid3.instances import cleaned

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Options:
    """Of a run over many targets.

    Attributes:
        overlap: whose pixels are that several concepts claim: "best", or "all" of them (`INSID3.label`).
        margin: see `INSID3.label`.
        instances: list the connected parts of every mask.
        min_area: parts of fewer pixels are dropped, or with "patch" those smaller than a patch of their picture. None:
            "patch" where a soft field decides (preset "plus") or instances are listed, else 0.
        fill_holes: holes in a mask belong to it.
        ignore: mask of what is never marked, or a folder of such masks, named as the results are.
        roi: (x0, y0, x1, y1) in pixels: only this part of a target is looked at, and nothing marked outside.
        overlays: write <stem>_overlay.jpg.
        heat: write <stem>_heat.jpg.
        scores: write <stem>_score.png or .npy.
        batch: targets that the encoder sees at once.
        together: targets help each other (`insid3.together`).
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
        """What changes the masks; `decided`, if that is not plain."""
        kept = ("overlap", "margin", "instances", "fill_holes", "together")
        roi, ignore = self.roi and list(self.roi), self.ignore and os.path.abspath(self.ignore)
        others = {"min_area": self.min_area or 0, "roi": roi, "ignore": ignore}
        return {**{name: getattr(self, name) for name in kept}, **others}

    @classmethod
    def of_settings(cls, settings: dict[str, Any]) -> "Options":
        """What `as_settings` told."""
        roi, ignore = settings["roi"], settings["ignore"]
        return cls(**{**settings, "roi": roi and tuple(roi), "ignore": ignore and Path(ignore)})

    def decided(self, rule: str) -> "Options":
        """With the `min_area` that None stands for where `rule` (`Config.rule`) decides."""
        if self.min_area is not None:
            return self
        return replace(self, min_area="patch" if rule == "field" or self.instances else 0)

    def least(self, patch: float) -> int:
        """Pixels of the smallest part that stays in a picture.

        Args:
            patch: pixels of one of its patches (`dust.patch_area`).
        """
        return int(patch) if self.min_area == "patch" else self.min_area or 0

    def window(self, size: tuple[int, int], name: str) -> tuple[slice, slice]:
        """Rows and columns of a picture of (height, width) `size` that are looked at.

        Raises:
            ImageError: none.
        """
        x0, y0, x1, y1 = self.roi or (0, 0, size[1], size[0])
        if y0 >= size[0] or x0 >= size[1]:
            raise ImageError(f"{name} is {size[1]} x {size[0]} pixels, the region {x0},{y0},{x1},{y1} lies outside")
        return slice(y0, min(y1, size[0])), slice(x0, min(x1, size[1]))

    def ignored(self, name: str, size: tuple[int, int], max_pixels: int) -> Bool[np.ndarray, "H W"] | None:
        """What is not to be marked of a target; None where nothing is.

        Raises:
            MaskError: the mask cannot be used.
        """
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
        window: tuple[slice, slice],
        ignored: Bool[np.ndarray, "H W"] | None,
        patch: float = 0.0,
        dropped: list[Dropped] | None = None,
        known: Sequence[bool] = (),
    ) -> list[Bool[np.ndarray, "H W"]]:
        """The masks of the whole picture, without what is too small or to be ignored.

        Args:
            patch: pixels of one of the picture's patches (`dust.patch_area`).
            dropped: gets what was too small in each mask.
            known: of each mask, whether somebody drew it: it keeps its small parts and its holes.
        """
        whole = [placed(mask, size, window, False) for mask in masks]
        if ignored is not None:
            whole = [mask & ~ignored for mask in whole]
        result: list[Bool[np.ndarray, "H W"]] = []
        for i, mask in enumerate(whole):
            if known and known[i]:
                mine, dust = mask, Dropped()
            else:
                mine, dust = without_dust(cleaned(mask, fill_holes=self.fill_holes), self.least(patch))
            if self.fill_holes and mine is not mask:
                if ignored is not None:
                    mine &= ~ignored
                if self.overlap == "best":  # what another concept has in a hole stays its own
                    for other in (*result, *whole[:i], *whole[i + 1 :]):
                        mine &= ~other
            result.append(mine)
            if dropped is not None:
                dropped.append(dust)
        return result


@lru_cache
def _by_result_name(folder: Path) -> dict[str, Path]:
    """Masks that are named as pictures are whose results have another name."""
    names = {file: file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.png")}
    return {safe_name(name): file for file, name in names.items() if safe_name(name) != name}


def placed(
    values: Shaped[np.ndarray, "h w"], size: tuple[int, int], window: tuple[slice, slice], outside: float
) -> Shaped[np.ndarray, "H W"]:
    """What belongs to a window of a picture, in the whole of it."""
    if values.shape == size:
        return values
    result = np.full(size, outside, values.dtype)
    result[window] = values
    return result


def indexed(masks: Sequence[Bool[np.ndarray, "H W"]]) -> UInt8[np.ndarray, "H W"]:
    """One picture of masks that do not overlap: i + 1 where the mask at i is."""
    index = np.zeros(masks[0].shape, np.uint8)
    for i, mask in enumerate(masks):
        index[mask] = i + 1
    return index


def all_gone(dust: Dropped, options: Options) -> str:
    """Why nothing is left of what was found."""
    if not dust:
        return "all that was found is another concept's, or ignored"
    least = "a patch" if options.min_area == "patch" else f"{options.min_area} pixels"
    return f"all that was found is smaller than {least} ({dust}): --min-area 0 keeps it"
