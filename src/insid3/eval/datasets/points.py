"""SPair-71k: pairs of pictures with keypoints."""

from collections.abc import Iterator

from insid3.checks.parsing import Flaw, as_dict, as_numbers, as_points, as_text, parsing, read_text, shown
from insid3.errors import DataError
from insid3.eval.datasets.base import DataSet, Draw, Fold, Part
from insid3.eval.episodes import Pair, fits_disk
from insid3.eval.reader import Reader, lookup

_NAMES = ("category", "src_imname", "trg_imname")


def draw_spair(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Return the pairs in the list of test pairs, without a draw."""
    file = reader.root / "SPair-71k/Layout/large/test.txt"
    with parsing(file, "list of pairs"):
        names = read_text(file).split()
        if odd := next((name for name in names if "/" in name or not fits_disk(name, ".json")), None):
            raise Flaw(f"has the line {shown(odd)}, expected lines like 000001-2007_000001-2007_000002:cat")
    classes = sorted({name.rpartition(":")[2] for name in names})

    def draws() -> Iterator[Pair]:
        for name in names:
            where = f"SPair-71k/PairAnnotation/test/{name}.json"
            with parsing(where, "annotation"):
                annotation = as_dict(reader.annotations(where), "content")
                category, source, target = (as_text(lookup(annotation, key), key) for key in _NAMES)
                ours, theirs = (as_points(lookup(annotation, key), key) for key in ("src_kps", "trg_kps"))
                box = as_numbers(lookup(annotation, "trg_bndbox"), "trg_bndbox")
                if len(box) != 4 or len(ours) != len(theirs):
                    raise Flaw("has no box of four numbers, or not as many points in both pictures")
            if category not in classes:
                raise DataError(f"{where} shows a {shown(category)}, which {file} does not list")
            yield Pair(
                id="",
                cls=category,
                source=f"SPair-71k/JPEGImages/{category}/{source}",
                target=f"SPair-71k/JPEGImages/{category}/{target}",
                source_points=tuple((float(x), float(y)) for x, y in ours),
                target_points=tuple((float(x), float(y)) for x, y in theirs),
                threshold=float(max(box[2] - box[0], box[3] - box[1])),
            )

    return Fold({cls: cls for cls in classes}, len(names), draws())


SPAIR = DataSet(
    "spair", "SPair-71k", 1, draw_spair,
    (
        Part("SPair-71k/Layout/large/test.txt", "list of pairs", 1),
        Part("SPair-71k/PairAnnotation/test/*.json", "annotated pairs", 12234),
        Part("SPair-71k/JPEGImages/*/*.jpg", "photographs", 1800),
    ),
)  # fmt: skip
