"""The examples in docstrings are true; every stage has some."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from insid3 import stages

STAGES = [each.name for each in pkgutil.walk_packages(stages.__path__, "insid3.stages.") if not each.ispkg]
OTHERS = ["backbones", "backbones.layouts", "backbones.registry"]
OTHERS += [f"imaging.{name}" for name in ("components", "depth", "points", "resizing")]


@pytest.mark.parametrize("name", [*STAGES, *(f"insid3.{name}" for name in OTHERS)])
def test_examples_are_true(name: str) -> None:
    """`doctest.testmod` would skip functions that the shape checks wrap, so each one is searched by itself."""
    module = importlib.import_module(name)
    described = [each for each in vars(module).values() if inspect.isroutine(each) or inspect.isclass(each)]
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(verbose=False)
    found = [
        example
        for each in described
        if each.__module__ == name
        for example in finder.find(each, each.__name__, module=False, globs=vars(module))
    ]
    for example in found:
        runner.run(example)
    assert any(example.examples for example in found)
    assert not runner.failures
