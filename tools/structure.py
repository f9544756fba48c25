"""Goal: the structure of the code, from its imports: a picture, and circles or upward imports.

Usage:
    python tools/structure.py                                 rooms, what they import, circles
    python tools/structure.py --draw docs/img/structure.png   the picture of CONTRIBUTING.md

Example output:
    cerviclip.engine            -> cerviclip.data cerviclip.features cerviclip.vlm dassl.engine ...
    no circle between rooms
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cerviclip.places import PACKAGE
from cerviclip.runs.settings.parser import Parser, add_debug_flag
from dassl.errors import UserError, cli_main

#: Packages whose inner packages are rooms of their own; every other package is one room.
WINGS = ("dassl", "cerviclip", "cerviclip.runs")
TOPS = ("dassl", "cerviclip", "trainers", "datasets", "tools", "train.py", "run_shell.py")
Graph = dict[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the project; ``trainers/coop.py`` is
    ``cerviclip.trainers.coop``."""
    found = {}
    for top in TOPS:
        place = root / top
        prefix = "cerviclip." if top in ("trainers", "datasets", "tools") else ""
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[prefix + ".".join(parts).removesuffix(".__init__")] = path
    return found


def import_graph(files: Mapping[str, Path]) -> Graph:
    """Module -> modules it imports, also within functions and under TYPE_CHECKING.

    An import of ``a.b.c`` also runs the packages ``a`` and ``a.b``; those that hold the importing
    module itself are left out, as they run before it in any case.
    """
    graph: Graph = {}
    for name, path in files.items():
        named = _imports(name, path, files) - {name}
        run = {package for module in named for package in _packages_of(module) if package in files}
        graph[name] = named | (run - {name, *_packages_of(name)})
    return graph


def _packages_of(module: str) -> list[str]:
    """``a`` and ``a.b`` of ``a.b.c``."""
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _imports(name: str, path: Path, files: Mapping[str, Path]) -> set[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            wanted |= {f"{base}.{alias.name}" for alias in node.names}
    return {found for word in wanted if (found := _module_of(word, files))}


def _module_of(word: str, files: Mapping[str, Path]) -> str:
    """The module that a dotted word lies in: itself, or what is left of its last dot."""
    return next((w for w in (word, word.rpartition(".")[0]) if w in files), "")


def room_of(module: str) -> str:
    """``cerviclip.data.roi.finder`` lies in ``cerviclip.data``."""
    parts = module.split(".")
    for wing in sorted(WINGS, key=len, reverse=True):
        inner = wing.count(".") + 2
        if module == wing or module.startswith(f"{wing}.") and len(parts) >= inner:
            return ".".join(parts[:inner])
    return parts[0]


def rooms_graph(graph: Graph) -> Graph:
    """Room -> rooms that its modules import."""
    rooms: Graph = {}
    for module, targets in graph.items():
        room = room_of(module)
        rooms.setdefault(room, set()).update(room_of(t) for t in targets)
    return {room: targets - {room} for room, targets in rooms.items()}


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan's strongly connected components, >= 2)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def heights(graph: Graph) -> dict[str, int]:
    """How many imports lie below each node at most; an import never leads to a higher node."""
    known: dict[str, int] = {}

    def height(node: str) -> int:
        if node not in known:
            known[node] = 0
            known[node] = 1 + max((height(t) for t in graph.get(node, ())), default=-1)
        return known[node]

    return {node: height(node) for node in graph}


def words_of(room: str, files: Mapping[str, Path]) -> str:
    """One line on a room: the first line of its docstring."""
    path = files.get(room)
    if path is None:
        return WORDS.get(room, "")
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return doc.splitlines()[0].replace("``", "") if doc else ""


SMALL = {
    *("dassl", "dassl._compat", "dassl._version", "dassl.errors", "cerviclip", "cerviclip.runs"),
    *("cerviclip.environment", "cerviclip.places", "cerviclip.recent", "cerviclip.class_sources"),
    *("cerviclip.git_commit", "cerviclip.locks", "cerviclip.severity", "cerviclip.shapes"),
}
ABREAST = 7  # boxes that a line of the picture holds
WORDS = {
    "cerviclip.trainers": "One method, one file; registers itself.",
    "cerviclip.datasets": "One data set, one file; registers itself.",
    "cerviclip.tools": "What a person types.",
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="structure.py", description="The structure of the code by its imports.")
    parser.add_argument("--draw", default="", metavar="FILE", help="write a picture there")
    parser.add_argument("--modules", action="store_true", help="modules instead of rooms")
    add_debug_flag(parser)
    args = parser.parse_args(argv)
    root = PACKAGE.parent
    if not (root / "trainers").is_dir():
        raise UserError(f"{root} is no checkout of the project; run this tool in one")
    files = modules(root)
    graph = import_graph(files)
    shown = graph if args.modules else rooms_graph(graph)
    for node in sorted(shown):
        print(f"{node:<36} -> {' '.join(sorted(shown[node]))}")
    found = circles(shown)
    for group in found:
        print(f"circle: {', '.join(group)}")
    if not found:
        print(f"no circle between {'modules' if args.modules else 'rooms'}")
    if args.draw:
        draw(rooms_graph(graph), files, Path(args.draw))
        print(args.draw)
    return 1 if found else 0


def draw(rooms: Graph, files: Mapping[str, Path], path: Path) -> None:
    """A picture: rooms in rows by height, an arrow for each import that no other path implies.

    Single files at a wing's top that everything may import are left out.
    """
    from matplotlib.figure import Figure

    rooms = {r: t - SMALL for r, t in rooms.items() if r not in SMALL}
    lines = _lines(rooms)
    place = {
        room: ((i + 0.5) / len(row), y) for y, row in enumerate(lines) for i, room in enumerate(row)
    }
    figure = Figure(figsize=(15, 1.15 * len(lines) + 0.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(-0.6, len(lines) - 0.4))
    axes.axis("off")
    for room, targets in rooms.items():
        for target in sorted(_direct(room, targets, rooms)):
            (x, y), (u, v) = place[room], place[target]
            axes.annotate(
                "", (u, v + 0.29), (x, y - 0.29),
                arrowprops={"arrowstyle": "-|>", "color": "#9aa5b1", "lw": 0.8},
            )  # fmt: skip
    for room, (x, y) in place.items():
        ours = not room.startswith("dassl")
        color = "#dbeafe" if ours else "#fde7cf"
        box = {"boxstyle": "round,pad=0.45", "fc": color, "ec": "#52606d", "lw": 0.8}
        axes.text(x, y, _label(room, files), ha="center", va="center", fontsize=7.5, bbox=box)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _lines(rooms: Graph) -> list[list[str]]:
    """Rooms by height, from the lowest; those of one height stand on as many lines as they need."""
    level = heights(rooms)
    rows: dict[int, list[str]] = {}
    for room in sorted(rooms, key=lambda r: (not r.startswith("dassl"), r)):
        rows.setdefault(level[room], []).append(room)
    out = []
    for _, row in sorted(rows.items()):
        parts = -(-len(row) // ABREAST)
        out += [row[k::parts] for k in range(parts)]
    return out


def _direct(room: str, targets: Iterable[str], rooms: Graph) -> set[str]:
    """The targets that no other target of the room leads to."""
    reached = set().union(*(_below(t, rooms) for t in targets), set())
    return set(targets) - reached


def _below(room: str, rooms: Graph) -> set[str]:
    found: set[str] = set()
    waiting = list(rooms.get(room, ()))
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += rooms.get(node, ())
    return found


def _label(room: str, files: Mapping[str, Path]) -> str:
    import textwrap

    return "\n".join([room, *textwrap.wrap(words_of(room, files), 34)])


if __name__ == "__main__":
    sys.exit(cli_main(main))
