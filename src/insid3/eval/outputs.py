"""Files of a finished evaluation: results.json, reports, pictures."""

import json
from typing import Any

from insid3.eval import report, sweep
from insid3.eval.results import results
from insid3.eval.run import Evaluation
from insid3.storage import write_text


def write_outputs(evaluation: Evaluation, limit: int | None = None) -> dict[str, dict[str, Any]]:
    """Write results and report of each predictor, and a table for several; return the results by folder.

    Raises:
        OutputError: the folder cannot be written to.
    """
    found = {}
    for name, record in evaluation.records.items():
        numbers = results(evaluation.lists, record.outcomes, record.predictor.settings, limit)
        write_text(record.folder / "results.json", json.dumps(numbers, indent=1, ensure_ascii=False))
        illustrator = report.Illustrator(record.folder, record.outcomes)
        figures = illustrator.figures(evaluation.lists, numbers, evaluation.readers)
        report.write_report(record.folder, "report", report.text_of(numbers, figures=figures))
        found[name] = numbers
    if "." not in found:
        report.write_report(evaluation.output, "sweep", sweep.text_of(found))
        text = json.dumps({name: {"miou": n["miou"], "sets": n["sets"]} for name, n in found.items()}, indent=1)
        write_text(evaluation.output / "sweep.json", text)
    return found
