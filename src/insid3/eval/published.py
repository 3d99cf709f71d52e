"""The paper's figures: DINOv3, R = 1024, CRF at R, seed 0, mean over all folds. The authors call +-0.3 normal."""

from collections.abc import Sequence
from dataclasses import MISSING, fields

from insid3.config import Config

# mIoU in per cent, by data set and shots.
MIOU = {
    ("lvis", 1): 41.8, ("coco", 1): 57.6, ("isic", 1): 54.4, ("lung", 1): 78.8, ("isaid", 1): 52.1, ("suim", 1): 54.9,
    ("pascal_part", 1): 50.5, ("paco_part", 1): 38.7, ("permis", 1): 67.0, ("coco", 5): 65.1, ("lvis", 5): 47.2,
}  # fmt: skip
FOLDS = {("coco", 1, fold): miou for fold, miou in enumerate((57.1, 61.2, 55.8, 56.1))}
NINE = {key: miou for key, miou in MIOU.items() if key[1] == 1}
MEAN = 55.1  # of NINE
# PCK at 0.05, 0.1, 0.15, 0.2 of ViT-B, R = 768; True: with debiased tokens.
PCK = {True: (33.7, 52.6, 62.5, 68.7), False: (30.1, 46.8, 55.6, 61.2)}


# Defaults of the settings that do not depend on the backbone: those of the published code.
_DEFAULTS = {field.name: field.default for field in fields(Config) if field.default is not MISSING}


def paper_settings(size: int) -> dict[str, object]:
    """Return the settings that the paper's segmentation results add to the defaults: the dense CRF at `size`."""
    return {"refine": "crf", "solver": "frank-wolfe", "crf_size": size}


def follows_paper(settings: dict[str, object]) -> bool:
    """Tell whether a run has the settings of `--protocol paper`, so that the paper's figures may stand beside it."""
    config = settings.get("config")
    if not isinstance(config, dict) or settings.get("score_at") != "model" or settings.get("method") != "insid3":
        return False
    if settings.get("transductive"):
        return False
    expected = {name: default for name, default in _DEFAULTS.items() if name not in ("crf_size", "max_pixels")}
    expected |= paper_settings(config["size"])
    return all(config.get(name, _DEFAULTS.get(name)) == value for name, value in expected.items())


def miou_of(dataset: str, shots: int, folds: Sequence[int], all_folds: int) -> float | None:
    """Return the paper's mIoU for these folds of a data set; None where the paper has none."""
    if len(folds) == 1 and (dataset, shots, folds[0]) in FOLDS:
        return FOLDS[dataset, shots, folds[0]]
    return MIOU.get((dataset, shots)) if sorted(folds) == [*range(all_folds)] else None
