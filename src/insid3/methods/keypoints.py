"""Keypoints by the same debiased features (paper, supplement)."""

import numpy as np
import torch
from jaxtyping import Float

from insid3.concept import Concept
from insid3.config import Config
from insid3.features.cache import FeatureCache
from insid3.features.encoded import Encoded
from insid3.features.patch_grid import PatchGrid
from insid3.imaging.points import points_to_grid
from insid3.results import Keypoints
from insid3.stages.match import match


def match_points(
    target: Encoded,
    concept: Concept,
    points: Float[np.ndarray, "p 2"],
    config: Config,
    cache: FeatureCache,
    *,
    debias: bool = True,
) -> Keypoints:
    """Find points of the concept's one picture in the target, which is seen whole.

    Args:
        points: (x, y) in pixels of the reference picture.
        debias: use debiased tokens (the paper's) or raw ones.
    """
    tokens, reference = target.tokens[0], concept.tokens[0].to(cache.encoder.device)
    if debias:
        tokens, reference = cache.debiased(target.tokens, config), cache.shots(concept, config).tokens[0]
    theirs = PatchGrid.from_settings(concept.image_sizes[0], config, cache.encoder.patch_size, tiled=False)
    cells = torch.from_numpy(points_to_grid(points, theirs.size, theirs.extent)).to(tokens.device)
    found, maps = match(reference[cells[:, 1] * theirs.shape[1] + cells[:, 0]], tokens, target.grid.shape)
    (height, width), (rows, columns) = target.grid.size, target.grid.extent
    return Keypoints(
        xy=(found * found.new_tensor([width / columns, height / rows])).cpu().numpy(),
        similarity=maps.amax(1).cpu().numpy() if len(points) else np.zeros(0, np.float32),
        maps=maps.unflatten(1, target.grid.shape).cpu().numpy(),
        size=target.grid.size,
        source=target.source,
    )
