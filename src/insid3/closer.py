"""A second look at what is small: part of a target, encoded by itself (`Config.closer`)."""

from jaxtyping import Float
from torch import Tensor

from insid3.concept import Concept
from insid3.config import Config
from insid3.derived import Derived, Evidence
from insid3.encoded import encode_all
from insid3.errors import ConfigError
from insid3.images import nearest
from insid3.refinement import Closer
from insid3.stages.closer import part_to_see


def check_closer(config: Config) -> None:
    """Whether a second look, if asked for, goes with the other settings.

    Raises:
        ConfigError: no.
    """
    if config.closer and (config.rule != "field" or config.upsample != "score" or config.tile is not None):
        raise ConfigError('closer goes with rule="field" and upsample="score" (preset="plus"), without tile')


def look_closer(
    derived: Derived, found: Evidence, concept: Concept, values: Float[Tensor, "n"], config: Config
) -> Closer | None:
    """The field of the part around what the first look found; None where that is not small.

    Args:
        values: the first look's field.

    Raises:
        SizeError: not enough memory.
    """
    target, picture = found.target, found.target.whole
    grid = target.frame.blend(values[None].cpu().numpy())
    box = part_to_see(nearest(grid > config.threshold, target.frame.size))
    if box is None or picture is None:
        return None
    left, top, right, bottom = box
    alone = config.but(closer=False, refine="none")
    part = target.once(
        ("closer", box),
        lambda: encode_all(derived.encoder, [picture[top:bottom, left:right]], alone, to_segment=True)[0],
    )
    again = derived.field(derived.evidence(part, concept, alone), alone)
    return Closer(box, part.frame, again[None].cpu().numpy())
