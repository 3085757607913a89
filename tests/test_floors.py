"""No floor of the house calls a higher one, as ci/docs/house.md has them."""

import ast
import re
from pathlib import Path

import daskksvd

PACKAGE = Path(daskksvd.__file__).parent
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"estimator"}
PAGE = (Path(__file__).parents[1] / "ci/docs/house.md").read_text()
FLOORS = {
    room: int(number)
    for number, rooms in re.findall(r"^ *(\d+)  (.{38})", PAGE, re.MULTILINE)
    for room in set(re.findall(r"\w+", rooms)) & ROOMS
}


def called(path):
    """Rooms that a file imports from when it runs, not only for its types."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    types = [node for node in nodes if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    for_types = {id(inner) for node in types for inner in ast.walk(node)}
    parents = path.relative_to(PACKAGE).parts[:-1]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in for_types:
            place = [*parents[: len(parents) + 1 - node.level], *(node.module or "").split(".")]
            place = [part for part in place if part]
            yield from place[:1] or [alias.name for alias in node.names]


def test_every_room_has_a_floor():
    assert FLOORS.keys() == ROOMS


def test_no_floor_calls_a_higher_one():
    higher = set()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room in FLOORS:
            higher |= {(str(path), one) for one in called(path) if FLOORS.get(one, 0) > FLOORS[room]}
    assert not higher
