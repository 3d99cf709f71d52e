"""Predictors, which are evaluated: a method on a model's features, or the masks that another program made."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from jaxtyping import Bool, Float, UInt8

import insid3
from insid3.concept import Concept
from insid3.errors import ConfigError, DataError, ImageError
from insid3.eval.companions import Companions
from insid3.eval.episodes import Episode, Pair, Recipe, View
from insid3.eval.reader import Reader
from insid3.features.encoded import Encoded
from insid3.features.patch_grid import inner_size
from insid3.imaging.masks import alpha_or_colours
from insid3.imaging.opening import MAX_PIXELS
from insid3.imaging.read import read_values
from insid3.imaging.resizing import resize_image, resize_nearest
from insid3.methods import METHODS
from insid3.model import INSID3
from insid3.transductive import Together, check_together

T = TypeVar("T")
ScoreAt = Literal["model", "original"]


class Material:
    """Pictures and masks of one episode, each read when it is first asked for."""

    def __init__(self, episode: Episode | Pair, reader: Reader) -> None:
        self.episode, self._reader = episode, reader
        self._kept: dict[Any, Any] = {}
        self.left_out: list[str] = []  #: flaws of polygons that the masks read so far were made without

    @cached_property
    def target(self) -> UInt8[np.ndarray, "H W 3"]:
        target = self.episode.target
        return self._reader.picture(target if isinstance(target, View) else View(target, ()))

    @cached_property
    def truth(self) -> Bool[np.ndarray, "H W"]:
        return self._mask(self._episode.target)

    @cached_property
    def ignore(self) -> Bool[np.ndarray, "H W"] | None:
        recipe = self._episode.ignore
        return None if recipe is None else self._mask(self._episode.target, recipe)

    @cached_property
    def references(self) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        if isinstance(self.episode, Pair):
            return [self._reader.picture(View(self.episode.source, ()))]
        return [self._reader.picture(view) for view in self.episode.references]

    @cached_property
    def reference_masks(self) -> list[Bool[np.ndarray, "_ _"]]:
        return [self._mask(view) for view in self._episode.references]

    def read_other(self, view: View) -> UInt8[np.ndarray, "H W 3"]:
        """Read a picture of another episode of the same data."""
        return self._reader.picture(view)

    def _mask(self, view: View, recipe: Recipe | None = None) -> Bool[np.ndarray, "h w"]:
        before = len(self._reader.left_out)
        mask = self._reader.mask(view, recipe)
        self.left_out += self._reader.left_out[before:]
        return mask

    @property
    def _episode(self) -> Episode:
        assert isinstance(self.episode, Episode)
        return self.episode

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """Return the value of `compute`, called once for each key; several models may share the value."""
        if key not in self._kept:
            self._kept[key] = compute()
        found: T = self._kept[key]
        return found


class Prediction(NamedTuple):
    """A mask at the size at which it is scored."""

    mask: Bool[np.ndarray, "h w"]
    score: float | None = None
    reason: str | None = None


class Predictor(Protocol):
    """A source of masks and points that is evaluated."""

    settings: dict[str, Any]  #: all settings on which the results depend

    def files(self, episode: Episode | Pair) -> list[Path]:
        """Return the files that are read besides the episode's own."""
        ...

    def segment(self, material: Material) -> Prediction:
        """Mark the concept of the references in the target."""
        ...

    def match(self, material: Material) -> Float[np.ndarray, "p 2"]:
        """Return (x, y) of the source's points in the target, in pixels."""
        ...


class ModelPredictor:
    """A method of `insid3.methods.METHODS` on a model's features.

    Args:
        score_at: "model": masks stay at the size of the model's square, where the published evaluation scores them;
            "original": masks are resized to the target's size.
        companions: helper targets of each episode; None for the published setting, which has none.

    Raises:
        ConfigError: the method is unknown, `tile` is set and masks are scored at the model's square, or `companions`
            is given with `tile` or with another method than "insid3".
    """

    def __init__(
        self,
        model: INSID3,
        method: str = "insid3",
        score_at: ScoreAt = "model",
        companions: Companions | None = None,
    ) -> None:
        if method not in METHODS:
            raise ConfigError(f"unknown method {method!r}: use {', '.join(METHODS)}")
        if model.config.tile is not None and score_at == "model":
            raise ConfigError("tiles have no one square to score masks at: use --score-at original with --tile")
        if companions is not None:
            check_together(model.config)
            if method != "insid3":
                raise ConfigError(f"method {method} marks each target alone: leave it out, or --transductive")
        self.model, self.method, self.score_at, self.companions = model, method, score_at, companions
        encoder = model.encoder
        self.settings = {
            "insid3": insid3.__version__,
            "method": method,
            "score_at": score_at,
            "transductive": companions is not None,
            "backbone": encoder.name,
            "weights_hash": encoder.weights_hash,
            "engine": getattr(encoder, "engine", ""),
            "dtype": str(getattr(encoder, "dtype", "")).removeprefix("torch."),
            "config": model.config.as_dict(),
            "match_config": model.match_config.as_dict(),
        }

    def files(self, episode: Episode | Pair) -> list[Path]:
        return self.companions.files(episode) if self.companions else []

    def segment(self, material: Material) -> Prediction:
        target = self._target(material)
        pairs = zip(material.references, material.reference_masks, strict=True)
        shots = [(picture, mask) for picture, mask in pairs if mask.any()]
        if not shots:  # a part may lie outside the box of its object
            return Prediction(np.zeros(target.grid.size, bool), 0.0, "the reference's mask is empty")
        config = self.model.config

        def made() -> Concept:
            return self.model.concept([picture for picture, _ in shots], [mask for _, mask in shots], label="any")

        concept = material.once(("concept", config.size, config.fit), made)
        if self.companions:
            together = Together.from_pool(self.model, [concept], self._pool(material, self.companions))
            (concept,) = together.concepts_for(self.model, target)
        found = METHODS[self.method](target, concept, self.model.config, self.model.cache)
        return Prediction(found.mask, found.score, found.reason)

    def match(self, material: Material) -> Float[np.ndarray, "p 2"]:
        assert isinstance(material.episode, Pair)
        concept = self.model.concept(material.references)
        size = material.references[0].shape[1::-1]
        points = np.clip(material.episode.source_points, 0, size)  # some are labelled outside their picture
        return self.model.match(material.target, concept, points).xy

    def _target(self, material: Material) -> Encoded:
        """Encode the target; models that differ only in later stages share the tokens and clusters."""
        config = self.model.config
        picture = material.target
        if self.score_at == "model":
            side = inner_size(picture.shape[:2], config)
            picture = material.once(("picture", side), lambda: resize_image(material.target, side))
        key = ("target", config.size, config.fit, config.tile, config.overlap)
        return material.once(key, lambda: self.model.encode(picture)).showing(picture, config)

    def _pool(self, material: Material, companions: Companions) -> Iterator[tuple[View, Encoded]]:
        """Encode the helper targets that can be read; the others fail in their own episodes."""
        for view in companions.list_helpers(material.episode):
            try:
                picture = material.read_other(view)
            except (ImageError, DataError):
                continue
            if self.score_at == "model":
                picture = resize_image(picture, inner_size(picture.shape[:2], self.model.config))
            yield view, self.model.encode(picture)


class FolderPredictor:
    """Masks that another program made of the same episodes, one file <id>.png for each; values above 0 are marked.

    Args:
        score_at: "model": masks are scored at their own size; "original": masks are resized to the target's size.

    Raises:
        DataError: `folder` is not a folder.
    """

    def __init__(self, folder: Path, score_at: ScoreAt = "model", max_pixels: int = MAX_PIXELS) -> None:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder: --predictions wants one with a mask ID.png for each episode")
        self.folder, self.score_at, self.max_pixels = folder.resolve(), score_at, max_pixels
        self.settings = {"insid3": insid3.__version__, "predictions": str(self.folder), "score_at": score_at}

    def files(self, episode: Episode | Pair) -> list[Path]:
        return [self.folder / f"{episode.id}.png"]

    def segment(self, material: Material) -> Prediction:
        values = read_values(self.files(material.episode)[0], self.max_pixels)
        values = alpha_or_colours(values)
        mask = np.any(values > 0, axis=-1) if values.ndim == 3 else values > 0
        return Prediction(mask if self.score_at == "model" else resize_nearest(mask, material.truth.shape))

    def match(self, material: Material) -> Float[np.ndarray, "p 2"]:
        raise DataError(f"--predictions holds masks, {material.episode.id} asks for points: leave out spair")
