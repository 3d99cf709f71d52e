"""Drawings to look at: overlays, heat maps, match plots, contact sheets."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from insid3.imaging.colours import MAGENTA, PALETTE, Colour

_SHEET = (24, 24, 27)
_WARM, _COLD = np.array([214, 39, 40], np.float32), np.array([31, 119, 180], np.float32)
_RELIEF = ((13, 8, 60), (84, 24, 120), (180, 40, 110), (245, 125, 50), (250, 240, 110))


def overlay(
    picture: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"] | Sequence[Bool[np.ndarray, "H W"]],
    colour: Colour | Sequence[Colour] = MAGENTA,
    opacity: float = 0.4,
    longest: int = 1600,
    boxes: Sequence[tuple[int, int, int, int]] = (),
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Draw masks over a picture: tinted, with a white-rimmed outline, the rest a little darker.

    Args:
        mask: (H, W) bool, or several.
        colour: RGB of the tint, or one for each of several masks.
        opacity: of the tint, in [0, 1].
        longest: longer side of the result in pixels at most; a larger picture is reduced.
        boxes: (x0, y0, x1, y1) in pixels of the picture, drawn as thin frames.
    """
    masks = [mask] if isinstance(mask, np.ndarray) else list(mask)
    colours: list[Any] = [colour] * len(masks) if isinstance(mask, np.ndarray) else list(colour)
    image = Image.fromarray(picture)
    scale = min(1, longest / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image if scale == 1 else image.resize(size, Image.Resampling.BILINEAR)
    insides = []
    for one in masks:
        marked = Image.fromarray(one.astype(np.uint8) * 255)
        insides.append(np.asarray(marked if scale == 1 else marked.resize(size, Image.Resampling.BILINEAR)) > 127)
    anywhere = np.any(insides, axis=0)
    result = _towards((0, 0, 0), 0.25, image)
    result.paste(image, mask=Image.fromarray(anywhere))
    for inside, tint in zip(insides, colours, strict=True):
        result.paste(_towards(tint, opacity, result), mask=Image.fromarray(inside))
    width = max(1, round(max(size) / 400))
    for grown, rims in ((2 * width, [(255, 255, 255)] * len(insides)), (width, colours)):
        for inside, rim in zip(insides, rims, strict=True):
            result.paste(tuple(rim), mask=Image.fromarray(_dilate(inside, grown) & ~anywhere))
    for x0, y0, x1, y1 in boxes:
        corners = [round(x0 * scale), round(y0 * scale), round(x1 * scale) - 1, round(y1 * scale) - 1]
        corners[2:] = max(corners[2], corners[0]), max(corners[3], corners[1])
        ImageDraw.Draw(result).rectangle(corners, outline="white", width=width)
    return np.asarray(result)


def heat(
    picture: UInt8[np.ndarray, "H W 3"], heatmap: Float[np.ndarray, "H W"], opacity: float = 0.6
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw similarity in [-1, 1] over a grey picture: blue below 0, red above."""
    grey = picture.mean(-1, keepdims=True).repeat(3, -1)
    strength = np.clip(np.abs(heatmap), 0, 1)[..., None]
    hue = np.where(heatmap[..., None] >= 0, _WARM, _COLD)
    blend = opacity * strength
    return (grey * (1 - blend) + hue * blend).round().astype(np.uint8)


def relief(
    picture: UInt8[np.ndarray, "H W 3"], heatmap: Float[np.ndarray, "H W"], opacity: float = 0.7
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw similarity over a grey picture, from its smallest value (dark blue) to its largest (yellow)."""
    low, high = float(heatmap.min()), float(heatmap.max())
    at = (heatmap - low) / max(high - low, 1e-6) * (len(_RELIEF) - 1)
    hue = np.stack([np.interp(at, range(len(_RELIEF)), channel) for channel in zip(*_RELIEF, strict=True)], -1)
    grey = picture.mean(-1, keepdims=True)
    return (grey * (1 - opacity) + hue * opacity).round().astype(np.uint8)


def matches(
    reference: UInt8[np.ndarray, "H W 3"],
    target: UInt8[np.ndarray, "H2 W2 3"],
    points: Float[np.ndarray, "p 2"],
    found: Float[np.ndarray, "p 2"],
    height: int = 640,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw reference and target side by side, `height` pixels high, and join each point to the one found.

    Args:
        points: (x, y) in pixels of the reference.
        found: (x, y) in pixels of the target.
    """
    sides = [
        Image.fromarray(p).resize((max(1, round(p.shape[1] * height / p.shape[0])), height))
        for p in (reference, target)
    ]
    gap = 12
    sheet = Image.new("RGB", (sides[0].width + gap + sides[1].width, height), _SHEET)
    sheet.paste(sides[0], (0, 0))
    sheet.paste(sides[1], (sides[0].width + gap, 0))
    draw = ImageDraw.Draw(sheet)
    left = np.asarray(points) * height / reference.shape[0]
    right = np.asarray(found) * height / target.shape[0] + [sides[0].width + gap, 0]
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        draw.line([*a, *b], fill=PALETTE[i % len(PALETTE)], width=2)
    _discs(draw, left)
    _discs(draw, right)
    return np.asarray(sheet)


def indexed(index: UInt8[np.ndarray, "H W"], colours: Sequence[Colour]) -> Image.Image:
    """Return a palette picture: 0 is nobody's and black, i + 1 belongs to the concept at i and has its colour."""
    image = Image.fromarray(index, "L")
    image.putpalette(bytes([0, 0, 0, *(value for colour in colours for value in colour)]))
    return image


def points(picture: UInt8[np.ndarray, "H W 3"], xy: Float[np.ndarray, "p 2"]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw numbered points, (x, y) in pixels, on a picture."""
    image = Image.fromarray(picture)
    _discs(ImageDraw.Draw(image), xy)
    return np.asarray(image)


def segments(
    picture: UInt8[np.ndarray, "H W 3"], labels: Int[np.ndarray, "H W"], opacity: float = 0.55
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw labels over a grey picture, each in its own colour, neighbouring numbers in distant hues."""
    golden = np.arange(int(labels.max()) + 1) * 0.61803
    hue = (golden % 1 * 255, np.full(len(golden), 170), 255 - np.arange(len(golden)) % 3 * 45)
    colours = np.asarray(Image.fromarray(np.stack(hue, -1).astype(np.uint8)[None], "HSV").convert("RGB"))[0]
    grey = picture.mean(-1, keepdims=True)
    return (grey * (1 - opacity) + colours[labels] * opacity).round().astype(np.uint8)


def borders(picture: UInt8[np.ndarray, "H W 3"], labels: Int[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw thin light lines between labels on a picture."""
    edges = np.zeros(labels.shape, bool)
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edges[1:] |= labels[1:] != labels[:-1]
    shown = picture.copy()
    shown[edges] = shown[edges] // 3 + 170
    return shown


def sheet(
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], captions: Sequence[str], columns: int = 3, side: int = 420
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw a contact sheet: each picture with its longer side at `side` pixels and its caption below."""
    margin, text, font = 16, 34, ImageFont.load_default(17)
    fitted = []
    for image in map(Image.fromarray, pictures):
        scale = side / max(image.size)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        fitted.append(image.resize(size, Image.Resampling.LANCZOS))
    rows = [fitted[i : i + columns] for i in range(0, len(fitted), columns)]
    heights = [max(image.height for image in row) for row in rows]
    page_height = sum(height + text + margin for height in heights) + margin
    page = Image.new("RGB", (columns * (side + margin) + margin, page_height), _SHEET)
    draw = ImageDraw.Draw(page)
    y, remaining = margin, iter(captions)
    for row, height in zip(rows, heights, strict=True):
        for column, image in enumerate(row):
            x = margin + column * (side + margin)
            page.paste(image, (x + (side - image.width) // 2, y + (height - image.height) // 2))
            centre = x + side / 2, y + height + text / 2
            draw.text(centre, next(remaining), fill="white", anchor="mm", font=font)
        y += height + text + margin
    return np.asarray(page)


def _discs(draw: ImageDraw.ImageDraw, xy: Iterable[Any]) -> None:
    for i, (x, y) in enumerate(xy):
        draw.ellipse([x - 11, y - 11, x + 11, y + 11], fill=PALETTE[i % len(PALETTE)], outline="white", width=2)
        draw.text((x, y), str(i + 1), fill="black", anchor="mm", font=ImageFont.load_default(13))


def _towards(colour: Colour, share: float, image: Image.Image) -> Image.Image:
    return image.point([round(value + (to - value) * share) for to in colour for value in range(256)])


def _dilate(mask: Bool[np.ndarray, "H W"], radius: int) -> Bool[np.ndarray, "H W"]:
    """Grow a mask by a diamond of `radius` pixels."""
    grown = mask.copy()
    for _ in range(radius):
        step = grown.copy()
        step[1:] |= grown[:-1]
        step[:-1] |= grown[1:]
        step[:, 1:] |= grown[:, :-1]
        step[:, :-1] |= grown[:, 1:]
        grown = step
    return grown
