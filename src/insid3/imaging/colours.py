"""Colours of concepts, the same wherever concepts are shown."""

Colour = tuple[int, int, int]

MAGENTA: Colour = (230, 0, 140)  #: for a single concept
# Distinct on photographs and for colour-blind eyes (after Okabe and Ito).
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
