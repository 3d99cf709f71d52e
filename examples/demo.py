"""`make demo`: one example, a cheetah, and what is marked in it and in four pictures that the program has never seen.

The pictures come out of the installed gradio wheel; the example's mask is a polygon of ours (labelme).
"""

from pathlib import Path

from PIL import Image

from insid3 import INSID3
from insid3.app.cheetahs import POLYGON, cheetah_pictures
from insid3.batch.annotations import from_labelme
from insid3.batch.writers import write_mask, write_overlay
from insid3.imaging.colours import MAGENTA
from insid3.imaging.draw import overlay, sheet
from insid3.imaging.read import read_image

OUT = Path(__file__).parents[1] / "demo"


def main() -> None:
    targets = cheetah_pictures()
    _, mask = from_labelme(POLYGON, picture=targets[0])

    model = INSID3.from_pretrained()
    cheetah = model.concept(targets[0], mask, name="cheetah")

    cells = [overlay(read_image(targets[0]), mask, colour=(0, 158, 115))]
    captions = ["the example (mask drawn by hand)"]
    for path in targets:
        found = model.segment(path, cheetah)
        picture = read_image(path)
        write_mask(OUT / f"{path.stem}.png", found.mask)
        write_overlay(OUT / f"{path.stem}_overlay.jpg", picture, [found.mask], [MAGENTA])
        cells.append(overlay(picture, found.mask))
        captions.append(f"{path.name}   {'a reference: as drawn' if found.is_known else f'score {found.score:.2f}'}")
        print(f"{path.name:14} score {found.score:.2f}   {found.reason or f'{found.mask.mean():.0%} of the picture'}")
    Image.fromarray(sheet(cells, captions)).save(OUT / "sheet.png")

    cells, captions = [], []
    for path, (top, bottom, left, right) in ((targets[2], (0, 787, 0, 762)), (targets[1], (100, 250, 60, 400))):
        picture = read_image(path)
        for refine in ("none", "guided", "crf"):
            edged = INSID3(model.encoder, model.config.but(refine=refine)).segment(path, cheetah)
            cells.append(overlay(picture, edged.mask)[top:bottom, left:right])
            captions.append(f"refine={refine}")
    Image.fromarray(sheet(cells, captions)).save(OUT / "edges.png")
    print(f"masks, overlays, sheet.png and edges.png are in {OUT}")


if __name__ == "__main__":
    main()
