"""The typed face: every public name says what it takes and gives, and the stubs name what is there."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest
from public import members

import daskksvd
from daskksvd.coding import SparsityTarget
from daskksvd.rows import Transform

PACKAGE = Path(daskksvd.__file__).parent
STUBS = sorted(PACKAGE.rglob("__init__.pyi"))
ROOMS = (
    "", "captions", "datasets", "embedding", "evaluation", "joint", "naming", "planning", "tracking", "view",
    "view.plots",
)  # fmt: skip


def room(name):
    return importlib.import_module(f"daskksvd.{name}".rstrip("."))


def functions():
    """Public functions by name, and the methods of public classes."""
    values = {
        f"{name}.{public}": getattr(room(name), public) for name in ROOMS for public in room(name).__all__
    }
    values |= {"coding.SparsityTarget": SparsityTarget, "rows.Transform": Transform}
    for name, value in values.items():
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            for key, member in members(value).items():
                # as properties, class methods and what scikit-learn makes available under a condition hold it
                for inner in ("__func__", "fget", "fn", "func"):
                    member = getattr(member, inner, None) or member
                if inspect.isfunction(member) and (key == "__init__" or not key.startswith("_")):
                    yield f"{name}.{key}", member


FUNCTIONS = dict(functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_have_types(name):
    signature = inspect.signature(FUNCTIONS[name])
    given = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    missing = [one.name for one in given if one.annotation is one.empty]
    assert not missing
    assert signature.return_annotation is not signature.empty


def test_all_kinds_of_public_names_are_found():
    methods = {".KSVD.partial_fit", ".Result.mean", ".Embeddings.array", ".SparseCoder.of_atoms"}
    others = {".fit", "view.View.names", "view.plots.pareto", "planning.Plan.passes", "rows.Transform.apply"}
    assert methods | others <= FUNCTIONS.keys()


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: stub.parent.name)
def test_stubs_name_what_is_there(stub):
    module = importlib.import_module(".".join(stub.parent.relative_to(PACKAGE.parent).parts))
    tree = ast.parse(stub.read_text())
    imported = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            for alias in node.names:
                assert alias.asname == alias.name  # else type checkers take it for private
                imported[alias.name] = source
    (listed,) = (ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    assert sorted(imported) == sorted(listed) == sorted(module.__all__)
    for name, source in imported.items():
        value = getattr(module, name)
        if source == ".":
            assert inspect.ismodule(value)
        else:
            assert value is getattr(importlib.import_module(source, module.__name__), name)


def test_every_lazy_package_has_a_stub():
    lazy = {path.parent for path in PACKAGE.rglob("__init__.py") if "attach_stub" in path.read_text()}
    assert lazy == {stub.parent for stub in STUBS}
