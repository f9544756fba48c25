"""The files that a sweep leaves beside its runs: summary.csv, summary.json, results.md, figures,
and pooled.json where there are folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cerviclip.counted import counted
from cerviclip.locks import claimed
from cerviclip.runs.report.costs import search_markdown
from cerviclip.runs.report.formats import summary, to_csv, to_json, to_markdown
from cerviclip.runs.report.groups import METRICS, Group, in_tables
from cerviclip.runs.report.pooled import POOLED, Entry, pooled_tables
from cerviclip.runs.report.tables import build_tables, says_something
from cerviclip.runs.results_json import read_results
from cerviclip.runs.settings.plan import Plan
from cerviclip.runs.sweep.about import about_lines

MOST_WARNINGS = 10  # that are listed


def read_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """results.json of each folder that has one, with the folder's path under ``folder``."""
    found = [(folder, read_results(folder)) for folder in folders]
    return [results | {"folder": str(folder)} for folder, results in found if results is not None]


def read_fitting_results(index: Sequence[tuple[Path, str]]) -> tuple[list[dict[str, Any]], int]:
    """results.json of those folders whose run is of the configuration it must have.

    Args:
        index: folders, each with the wanted configuration's hash; a run need not be there.

    Returns:
        The results as of `read_runs`, and how many folders hold a run of other settings.
    """
    wanted = {str(folder): config_hash for folder, config_hash in index}
    there = read_runs([folder for folder, _ in index])
    fitting = [run for run in there if run["config_hash"] == wanted[run["folder"]]]
    return fitting, len(there) - len(fitting)


def write_summary(
    plan: Plan,
    runs: Sequence[Mapping[str, Any]],
    groups: Sequence[Group],
    pooled: Sequence[Entry] = (),
) -> list[Path]:
    """Write the sweep's files where they are not yet as they should be; returns all of them."""
    with claimed(plan.output_root / "tables", wait=True):  # sweeps that end at the same time
        return _write_claimed(plan, runs, groups, pooled)


def _write_claimed(
    plan: Plan,
    runs: Sequence[Mapping[str, Any]],
    groups: Sequence[Group],
    pooled: Sequence[Entry],
) -> list[Path]:
    root = plan.output_root
    texts = {
        root / "results.md": results_markdown(plan, runs, groups, pooled),
        root / "summary.csv": to_csv(groups),
        root / "summary.json": to_json(summary(groups, runs)),
    }
    if pooled:
        texts[root / POOLED] = to_json({"schema_version": 1, "pooled": list(pooled)})
    else:
        _remove(root / POOLED)  # of another sweep into this folder
    stale = [path for path, text in texts.items() if not _holds(path, text)]
    # Figures first: whoever is killed in between finds the texts stale again, and draws anew.
    figures = _figures(root, groups, bool(stale))
    if stale:
        from dassl.utils.files import atomic_write, remove_temporaries  # brings torch

        remove_temporaries(root)
        for path in stale:
            with atomic_write(path) as handle:
                handle.write(texts[path])
    return [*texts, *figures]


def replaced_note(plan: Plan) -> str:
    """What to say where the tables in the sweep's folder are of another sweep; "" otherwise."""
    path, title = plan.output_root / "results.md", _title(plan)
    registered = _title(plan, as_registered=True)
    if not path.is_file():
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        earlier = file.readline().removeprefix("#").strip()
    if earlier in (title, registered):
        return ""
    return (
        f"note: the tables in {plan.output_root} were of '{earlier}' and are of '{title}' now; its "
        f"runs stay, and cerviclip tables {plan.output_root} shows all. A sweep keeps its tables "
        "in a folder of its own (--output-dir)"
    )


def _remove(path: Path) -> None:
    if path.exists():  # asked first: a read-only file system refuses to remove what is not there
        path.unlink()


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def results_markdown(
    plan: Plan,
    runs: Sequence[Mapping[str, Any]],
    groups: Sequence[Group],
    pooled: Sequence[Entry] = (),
) -> str:
    """All metrics of the sweep as pipe tables, and what failed."""
    backbones = ", ".join(dict.fromkeys(g.backbone for g in groups))
    title, number = _title(plan), _number_of_runs(plan, len(runs))
    lines = [f"# {title}", "", f"{number}; backbones: {backbones or 'none'}.", ""]
    if about := about_lines(groups):
        lines += [*about, ""]
    for metric in METRICS:
        tables = [*build_tables(groups, metric), *pooled_tables(pooled, metric)]
        lines += [to_markdown(table) for table in tables if says_something(table)]
    lines += filter(None, [search_markdown(groups, plan.searched)])
    if warned := warnings_of(runs):
        lines += ["## Warnings on the data", "", *warned, ""]
    failed = [run for run in runs if run["status"] != "done"]
    if failed:
        lines += ["## Failed runs", ""]
        lines += [_failed_line(run, plan.output_root) for run in failed] + [""]
    return "\n".join(lines)


def _title(plan: Plan, as_registered: bool = False) -> str:
    """The sweep's name; where flags ask for other runs than its yaml's, what they ask for."""
    if not plan.goes_beyond:
        return f"Sweep {plan.name}"
    trainers = list(dict.fromkeys(run.trainer for run in plan.runs))
    names = ", ".join(trainers) if len(trainers) < 6 else f"{len(trainers)} trainers"
    datasets = [run.dataset if as_registered else run.shown_dataset for run in plan.runs]
    return f"{names} on {', '.join(dict.fromkeys(datasets))}"


def _number_of_runs(plan: Plan, there: int) -> str:
    """How many runs the tables are of, and of how many: those that were asked for. Where flags have
    chosen a part of the sweep, it says so: nothing is missing then."""
    chosen, whole = len(plan.runs), len(plan.runs) + len(plan.unchosen)
    if plan.goes_beyond:  # the yaml's other runs are not what was asked for
        chosen = whole = max(chosen, there)
    if there == whole:
        return counted(whole, "run")
    told = f"{there} of {counted(whole, 'run')}"
    if chosen == whole:
        return told
    by = plan.chosen_by or "flags"
    if there == chosen:
        return f"{told}, the part that was chosen ({by})"
    if there > chosen:
        return f"{told}: {chosen} that were chosen ({by}) and {there - chosen} made before"
    return f"{told}, where {chosen} were chosen ({by})"


def warnings_of(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What runs were warned of in their data, most frequent first: the numbers rest on it."""
    found = Counter(text for run in runs for text in dict.fromkeys(run.get("warnings") or ()))
    lines = [
        f"- {text} ({counted(count, 'run')})" for text, count in found.most_common(MOST_WARNINGS)
    ]
    more = len(found) - len(lines)
    return [*lines, f"- and {more} more in results.json of the runs"] if more else lines


def _failed_line(run: Mapping[str, Any], root: Path) -> str:
    """A failed run, why, and where its job's log is, if it was made in one."""
    line = f"- {Path(run['folder']).relative_to(root)}: {run['error']}"
    log = run["runtime"].get("job", {}).get("log")
    return f"{line} (log of its job: {log})" if log else line


def _figures(root: Path, groups: Sequence[Group], changed: bool) -> list[Path]:
    """Curves of accuracy against shots, per dataset; drawn again when the numbers changed."""
    from cerviclip.runs.settings.folders import safe_part

    paths = []
    for own in in_tables(groups):
        apart = "_transductive" * own[0].transductive
        path = root / f"curves_{safe_part(own[0].dataset)}{apart}.png"
        if changed or not path.is_file():
            from cerviclip.runs.report.curves import shots_figure
            from dassl.utils.files import atomic_write

            with atomic_write(path, "wb") as handle:
                shots_figure(own, "accuracy").savefig(handle, format="png")
        paths.append(path)
    return paths
