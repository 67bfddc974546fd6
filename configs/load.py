"""From a file to a site: strict, and every problem at once with its line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from configs import rules
from configs.errors import ConfigError, Problem
from configs.messages import explain
from configs.schema import AnySiteFile, CloudSiteFile, PoolSiteFile, SiteFile
from configs.source import Location, Source, dotted, read
from configs.units import DIRECTORY, FROM_FILE

KINDS: Mapping[str, type[CloudSiteFile] | type[PoolSiteFile]] = {
    "cloud": CloudSiteFile,
    "pool": PoolSiteFile,
}


def load(path: Path | str) -> AnySiteFile:
    """The site that a file describes, relative paths resolved against the file's own directory.

    Raises ConfigAbsent if there is no such file, ConfigError with all problems if it is not valid.
    """
    source = read(Path(path))
    if source.data is None:
        raise ConfigError(source.problems)
    return _validate(source)


def state_directory(path: Path | str) -> Path | None:
    """The state directory a file names, even if the file is broken: `atoll status` must find the
    site that keeps running on its last good config."""
    directory = _directory(Path(path))
    try:
        data = read(Path(path)).data
        state = data.get("state") if data else _guess_state(Path(path))
    except ConfigError:
        return None
    if not isinstance(state, str):
        return None
    return Path(os.path.normpath(directory / Path(state).expanduser()))


def _guess_state(path: Path) -> str | None:
    text = path.read_text(encoding="utf-8", errors="replace")
    match = re.search(r"^state:[ \t]+['\"]?([^'\"#\n]+)", text, re.MULTILINE)
    return match.group(1).strip() if match else None


def _directory(path: Path) -> Path:
    # Not resolve(): behind a ConfigMap's symlinks the real directory changes with every edit.
    return Path(os.path.abspath(path)).parent


def _validate(source: Source) -> AnySiteFile:
    problems = [*source.problems, *_version_problems(source)]
    model = KINDS.get(kind) if isinstance(kind := source.data.get("kind"), str) else None
    if model is None:
        raise ConfigError([*problems, _kind_problem(source)])
    site: AnySiteFile | None = None
    try:
        site = model.model_validate(
            source.data, by_alias=True, by_name=False, context=_context(source)
        )
        sections: Mapping[str, Any] = {name: getattr(site, name) for name in model.model_fields}
    except ValidationError as error:
        problems += _problems_of(source, model, error)
        sections = _valid_sections(source, model, error)
    problems += [_problem(source, where, why) for where, why in rules.findings(sections)]
    if problems or site is None:
        raise ConfigError(problems)
    return site


def _context(source: Source) -> dict[str, Any]:
    return {FROM_FILE: True, DIRECTORY: _directory(source.path)}


def _version_problems(source: Source) -> Iterator[Problem]:
    if "version" not in source.data:
        yield _problem(source, ("version",), "missing; this schema is `version: 1`")
    elif source.data["version"] is True:  # equal to 1 in Python
        yield _problem(source, ("version",), "must be 1; not True")


def _kind_problem(source: Source) -> Problem:
    if "kind" not in source.data:
        return _problem(source, ("kind",), 'missing; a site file is "cloud" or "pool"')
    kind = source.data["kind"]
    return _problem(source, ("kind",), f'must be "cloud" or "pool"; not {kind!r}')


def _problems_of(
    source: Source, model: type[SiteFile], error: ValidationError
) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_context=True):
        yield _problem(source, detail["loc"], explain(source, model, detail))


def _valid_sections(
    source: Source, model: type[SiteFile], error: ValidationError
) -> Mapping[str, Any]:
    """Top-level values that are valid apart from unknown keys, for the rules to look at."""
    details = error.errors(include_url=False)
    unknown = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    bad = {detail["loc"][0] for detail in details if detail["loc"] not in unknown}
    data = source.data
    for location in unknown:
        data = _without(data, location)
    sections: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name in bad:
            continue
        if name in data:
            adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
            sections[name] = adapter.validate_python(data[name], context=_context(source))
        else:
            sections[name] = field.get_default(call_default_factory=True)
    return sections


def _without(data: Any, location: Location) -> Any:
    first, *rest = location
    copy: Any = list(data) if isinstance(data, list) else dict(data)
    if rest:
        copy[first] = _without(copy[first], tuple(rest))
    else:
        del copy[first]
    return copy


def _problem(source: Source, location: Location, reason: str) -> Problem:
    return Problem(source.path, source.line_of(location), dotted(location), reason)
