"""SPair-71k: keypoints."""

from collections.abc import Iterator

from insid3.errors import DataError
from insid3.eval.datasets.base import DataSet, Draw, Fold, Part, entry
from insid3.eval.episodes import Pair
from insid3.eval.reader import Reader


def draw_spair(reader: Reader, fold: int, shots: int, draw: Draw) -> Fold:
    """Nothing is drawn: the lines of the list of test pairs."""
    file = reader.root / "SPair-71k/Layout/large/test.txt"
    try:
        names = file.read_text("utf-8").split()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from error
    classes = sorted({name.rpartition(":")[2] for name in names})

    def draws() -> Iterator[Pair]:
        for name in names:
            where = f"SPair-71k/PairAnnotation/test/{name}.json"
            keys = ("category", "src_imname", "trg_imname", "src_kps", "trg_kps", "trg_bndbox")
            annotation = reader.annotations(where)
            category, source, target, ours, theirs, box = (entry(annotation, key, file=where) for key in keys)
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
