"""The commands: each reads its arguments, calls what does the work, and prints."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.cli import DOWN, INVALID

app = typer.Typer(
    name="atoll",
    help="Brings a Kubernetes cluster to places with thin, costly, flaky links.",
    add_completion=False,
    rich_markup_mode=None,  # plain help: rich takes longer to load than most commands to run
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Check, show and describe site files.", no_args_is_help=True)
keys_app = typer.Typer(help="The keys by which nodes are known.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(keys_app, name="keys")


class RuntimeName(StrEnum):
    ray = "ray"
    local = "local"


SiteFileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A site file (YAML).")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")]


@app.callback(invoke_without_command=True)
def atoll(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        _out(f"atoll {version_of('atoll')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        _out(context.get_help())


@app.command()
def up(
    file: SiteFileArgument,
    node: Annotated[
        str, typer.Option(help="Only this node of the pool; else all whose host is this machine.")
    ] = "",
    runtime: Annotated[
        RuntimeName | None, typer.Option(help="Instead of the one the file names.")
    ] = None,
) -> None:
    """Run a site until Ctrl-C (once: stop in order; twice: at once).

    Exit codes: 0 stopped in order; 1 it cannot run; 2 the file is not valid; 3 it runs already.
    """
    import configs

    configs.load(file)  # a mistake is told before anything heavy is loaded
    from actors.site import run_site

    raise typer.Exit(run_site(file, node, runtime_name=runtime or ""))


@app.command()
def status(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A site file; else all sites found.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show who leads, which links are up, how old the data is.

    Without FILE: the sites below the directories in ATOLL_STATE (separated by ":"), or ./var.
    Exit codes: 0 all answer; 2 the file is not valid; 3 a site is down, or there is none.
    """
    from actors.cli import sites

    found = sites.of_file(file) if file else sites.of_places(_places())
    if as_json:
        _out(json.dumps(sites.as_json(found), indent=2))
    elif not found:
        _err(f"no site runs: no run files in {', '.join(map(str, _places()))} or right below")
    else:
        from actors.cli.picture import show

        show(found)
    raise typer.Exit(0 if found and all(site.is_up for site in found) else DOWN)


@app.command()
def manifests(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which: `rbac`.")],
    file: SiteFileArgument,
) -> None:
    """Print what a site's cluster has to be given, for `kubectl apply -f -`.

    `rbac`: the account as which a cloud site comes, its rights, and those of nodes.
    """
    import configs

    site = configs.load(file)
    from actors.site import manifests as manifests_of

    found = manifests_of(site)
    if name not in found:
        known = ", ".join(found) or "none"
        raise typer.BadParameter(f"no manifests {name!r} of a {site.kind} site; there are: {known}")
    _out(found[name].rstrip())


@app.command()
def demo(
    headless: Annotated[bool, typer.Option(help="No screen: a line for each step.")] = False,
    seconds: Annotated[float, typer.Option(help="How long the story takes.")] = 60.0,
    runtime: Annotated[RuntimeName, typer.Option(help="What runs the actors.")] = RuntimeName.ray,
    as_json: JsonOption = False,
) -> None:
    """Show all of it on this machine: a cloud, a pool of three nodes, cuts and recoveries.

    Exit codes: 0 every step passed; 1 one failed.
    """
    from actors import program
    from actors.demo.run import Demo, DemoOptions

    options = DemoOptions(seconds=seconds, runtime=str(runtime), headless=headless, as_json=as_json)
    demo = Demo(options)
    raise typer.Exit(program.run(demo.run(), demo.kill))


@config_app.command("check")
def config_check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Site files (YAML).")],
) -> None:
    """Say all that is wrong with site files: file, line, key, reason. Exit code 2 if anything."""
    import configs

    valid = True
    for file in files:
        try:
            site = configs.load(file)
            _out(f"{file}: fine ({site.kind} site {site.name})")
        except configs.ConfigError as error:
            valid = False
            _err(str(error))
    raise typer.Exit(0 if valid else INVALID)


@config_app.command("show")
def config_show(file: SiteFileArgument) -> None:
    """Show every key with the value it has, defaults and absolute paths included; no secrets."""
    import configs
    from configs.show import as_yaml, effective

    _out(as_yaml(effective(configs.load(file))).rstrip())


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of site files, for editors."""
    from configs.jsonschema import json_schema

    _out(json.dumps(json_schema(), indent=2))


@keys_app.command("list")
def keys_list(file: SiteFileArgument, as_json: JsonOption = False) -> None:
    """Show nodes' public keys: a pool's own, or those that a cloud site lets in."""
    import configs
    from actors.cli import keys

    rows = keys.of_site(configs.load(file))
    if as_json:
        _out(json.dumps({"keys": [row.as_json() for row in rows]}, indent=2))
        return
    for row in rows:
        _out(f"{row.file_name:32} {row.public or '-':56} {row.note}".rstrip())


def _places() -> list[Path]:
    named = os.environ.get("ATOLL_STATE", "")
    return [Path(place) for place in named.split(os.pathsep) if place] or [Path("var")]


def _out(text: Any) -> None:
    sys.stdout.write(f"{text}\n")


def _err(text: str) -> None:
    sys.stderr.write(f"{text}\n")
