"""Methods on the same features, by name."""

from collections.abc import Callable

from insid3.concept import Concept
from insid3.encoded import Encoded
from insid3.pipeline import INSID3
from insid3.types import Segmentation

Method = Callable[[INSID3, Encoded, Concept], Segmentation]


def nearest(model: INSID3, target: Encoded, concept: Concept) -> Segmentation:
    """Backward matching alone: patches whose most similar reference patch lies under the mask in half of the shots."""
    found = model.evidence(target, concept)
    margin = (2 * found.votes >= found.shots).to(found.forward.dtype) - 0.5
    return model.marked(found, margin, "no patch is most similar to one under the mask")


def prototype(model: INSID3, target: Encoded, concept: Concept) -> Segmentation:
    """Thresholded similarity, without clusters: patches more similar to the concept's prototype than `threshold`."""
    found = model.evidence(target, concept)
    threshold = model.config.threshold
    return model.marked(
        found, found.forward - threshold, f"no patch is more similar than {threshold:g}", scores=found.forward
    )


METHODS: dict[str, Method] = {"insid3": INSID3.segment, "nearest": nearest, "prototype": prototype}
