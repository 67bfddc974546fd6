"""The command line: what each command prints, its exit code, and that it starts quickly."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

import configs
from actors.cli import run
from actors.cli.app import app
from actors.cli.picture import show, span
from actors.cli.sites import group
from actors.status import Report, RunFile
from tests.actors import pictures
from tests.actors.sites import leave_run_file, serving
from tests.configs.files import CLOUD, POOL, write

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "configs" / "examples"


def atoll(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    command = [sys.executable, "-c", "from actors.cli import main; main()", *map(str, arguments)]
    path = {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("ATOLL")}, **path}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, cwd=cwd, env=env
    )


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """The command in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATOLL_STATE", raising=False)
    monkeypatch.delenv("ATOLL_TRACEBACK", raising=False)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


Call = Callable[..., tuple[int, str, str]]


# -- as a process


def test_a_check_is_quick_and_loads_nothing_heavy(tmp_path: Path) -> None:
    path = write(tmp_path, POOL)
    program = (
        "import sys\nfrom actors.cli import run\n"
        f"code = run(['config', 'check', {str(path)!r}])\n"
        "heavy = {'ray', 'kubernetes', 'aiohttp', 'nats', 'rich'}\n"
        "print(code, *sorted(heavy & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.splitlines() == [f"{path}: fine (pool site pool-a)", "0"]


def test_a_check_starts_in_a_fraction_of_a_second(tmp_path: Path) -> None:
    path = write(tmp_path, POOL)
    best = min(_seconds(path) for _ in range(3))
    assert best < 1.0  # 0.25 s; a heavy import would cost more than the rest


def _seconds(path: Path) -> float:
    """Of processor: what else runs on this machine does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert atoll("config", "check", path).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_errors_are_told_on_stderr_without_traceback(tmp_path: Path) -> None:
    path = write(tmp_path, CLOUD + "feeds: {resorces: []}\n", "cloud.yaml")
    result = atoll("config", "check", path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (f'{path}:8: feeds.resorces: unknown key; did you mean "resources"?\n')


def test_up_tells_a_broken_file_before_anything_starts(tmp_path: Path) -> None:
    result = atoll("up", write(tmp_path, "kind: pool\n"))
    assert result.returncode == 2
    assert "version: missing" in result.stderr
    assert not (tmp_path / "var").exists()


def test_the_installed_command_knows_its_version() -> None:
    result = atoll("--version")
    assert (result.returncode, result.stdout) == (0, "atoll 0.1.0\n")


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -c 'from actors.cli import main; main()' config schema | head -c 9"
    result = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.stderr == ""


# -- usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bogus"], "atoll: No such command 'bogus'"),
        (["up"], "atoll: Missing argument 'FILE'"),
        (["config", "check"], "atoll: Missing argument 'FILE...'"),
        (["up", "a.yaml", "--runtime", "x"], "--runtime"),
        (["up", "a.yaml", "--nod", "x"], "--nod"),
    ],
)
def test_a_wrong_command_line_is_one_line(call: Call, arguments: list[str], message: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_help_is_given_where_nothing_is_asked(call: Call) -> None:
    code, out, _ = call()
    assert (code, "status" in out) == (0, True)
    code, _, err = call("config")
    assert (code, err.startswith("Usage: ")) == (2, True)


@pytest.mark.parametrize("command", ["up", "status", "demo"])
def test_exit_codes_are_documented(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert "Exit codes: 0 " in result.output


def test_an_unexpected_error_is_one_line_or_a_traceback_on_demand(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(configs, "load", broken)
    code, _, err = call("config", "show", "x.yaml")
    assert (code, err) == (1, "atoll: RuntimeError: a bug (ATOLL_TRACEBACK=1 shows where)\n")
    monkeypatch.setenv("ATOLL_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="a bug"):
        call("config", "show", "x.yaml")


# -- config


def test_check_tells_of_every_file(call: Call, tmp_path: Path) -> None:
    good = write(tmp_path, CLOUD, "good.yaml")
    bad = write(tmp_path, CLOUD + "zzz: 1\nyyy: 1\n", "bad.yaml")
    code, out, err = call("config", "check", bad, good, tmp_path / "none.yaml")
    assert code == 2
    assert out == f"{good}: fine (cloud site cloud)\n"
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        f"{bad}:8",
        f"{bad}:9",
        str(tmp_path / "none.yaml"),
    ]


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_what_show_prints_is_the_same_site(call: Call, tmp_path: Path, name: str) -> None:
    code, out, _ = call("config", "show", EXAMPLES / name)
    assert code == 0
    assert configs.load(write(tmp_path, out)) == configs.load(EXAMPLES / name)


def test_show_hides_secrets(call: Call, tmp_path: Path) -> None:
    text = CLOUD.replace("embedded: {}", "embedded: {tokens: {s3cret: admin}}")
    _, out, _ = call("config", "show", write(tmp_path, text))
    assert "s3cret" not in out
    assert yaml.safe_load(out)["api"]["embedded"]["tokens"] == {"(hidden) 1": "admin"}


def test_the_schema_is_json(call: Call) -> None:
    code, out, _ = call("config", "schema")
    assert (code, len(json.loads(out)["oneOf"])) == (0, 2)


# -- up, demo


def test_up_runs_the_site_and_ends_with_its_code(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    def run_site(path: Path, node: str, *, runtime_name: str) -> int:
        calls.append((path, node, runtime_name))
        return 3

    monkeypatch.setattr("actors.site.run_site", run_site)
    path = write(tmp_path, POOL)
    assert call("up", path)[0] == 3
    call("up", path, "--node", "node-2")
    call("up", path, "--runtime", "local")
    assert calls == [(path, "", ""), (path, "node-2", ""), (path, "", "local")]


# -- keys


def test_keys_of_a_pool_are_made_by_up_not_by_listing(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("keys", "list", write(tmp_path, POOL))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "pool-a.node-1.pub",
        "pool-a.node-2.pub",
    ]
    assert "made by the first `atoll up`" in out
    assert not (tmp_path / "var").exists()


def test_keys_of_a_pool_are_compared_with_the_enrolled(call: Call, tmp_path: Path) -> None:
    from bus.keys import NodeKey

    keys = [
        NodeKey.load_or_create(tmp_path / "var" / "nodes" / name / "node.seed")
        for name in ("node-1", "node-2")
    ]
    (tmp_path / "enrolled").mkdir()
    (tmp_path / "enrolled" / "pool-a.node-1.pub").write_text(f"{keys[0].public}\n")
    path = write(tmp_path, POOL.replace("14222\n", "14222\n  enrolment: enrolled\n"))
    _, out, _ = call("keys", "list", path, "--json")
    rows = json.loads(out)["keys"]
    assert [row["public"] for row in rows] == [key.public for key in keys]
    assert [row["note"] for row in rows] == ["enrolled", "not enrolled"]
    assert rows[0]["file"] == "pool-a.node-1.pub"


def test_keys_a_cloud_lets_in(call: Call, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "pool-a.node-1.pub").write_text("UABC\n")
    _, out, _ = call("keys", "list", write(tmp_path, CLOUD))
    assert out.split() == ["pool-a.node-1.pub", "UABC"]


# -- status


def test_manifests_are_made_for_the_site(call: Call, tmp_path: Path) -> None:
    more = "apigate: {identities: ['system:serviceaccount:net:agent']}\n"
    file = write(tmp_path, CLOUD + more)
    code, out, _ = call("manifests", "rbac", file)
    made = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(out)}
    assert code == 0
    assert made["Role", "atoll:apigate"]["rules"][0]["resourceNames"] == ["agent"]
    assert not (tmp_path / "var").exists()  # nothing is started, nothing is made
    assert call("manifests", "other", file)[0::2] == (
        2,
        "atoll: Invalid value: no manifests 'other' of a cloud site; there are: rbac\n",
    )
    assert call("manifests", "rbac", write(tmp_path, POOL))[0] == 2


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A cloud and a pool below ./var that answer."""
    var = tmp_path / "var"
    with serving(pictures.cloud()) as cloud, serving(pictures.pool()) as pool:
        leave_run_file(var / "cloud", "cloud", health=cloud, kind="cloud")
        leave_run_file(var / "pool-a", "pool-a", health=pool, kind="pool")
        yield var


def test_status_finds_the_sites_below_var(call: Call, running: Path) -> None:
    code, out, err = call("status")
    assert (code, err) == (0, "")
    assert "cloud  cloud site, up for 2 d 1 h" in out
    assert "leader node-2, coordinator node-1" in out


def test_status_finds_the_sites_that_the_environment_names(
    call: Call, running: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert call("status")[0] == 3
    monkeypatch.setenv("ATOLL_STATE", f"{running / 'pool-a'}{os.pathsep}/nowhere")
    code, out, _ = call("status")
    assert (code, out.startswith("pool-a  pool site")) == (0, True)
    assert "cloud site" not in out


def test_status_without_any_site_says_where_it_looked(call: Call) -> None:
    code, out, err = call("status")
    assert (code, out) == (3, "")
    assert err == "no site runs: no run files in var or right below\n"


def test_status_of_a_file(call: Call, running: Path, tmp_path: Path) -> None:
    path = write(tmp_path, POOL.replace("state: var", "state: var/pool-a"))
    code, out, _ = call("status", path)
    assert (code, out.startswith("pool-a  pool site, up")) == (0, True)


def test_status_of_a_file_broken_since(call: Call, running: Path, tmp_path: Path) -> None:
    path = write(tmp_path, POOL.replace("state: var", "state: var/pool-a") + "zzz: 1\n")
    code, out, _ = call("status", path)
    assert (code, out.startswith("pool-a  pool site, up")) == (0, True)


def test_status_of_a_site_that_is_down(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("status", write(tmp_path, POOL))
    assert code == 3
    assert out == f"pool-a  DOWN\n  ! not running: no run file in {tmp_path / 'var' / 'run'}\n"


def test_status_of_a_file_that_tells_no_state(call: Call, tmp_path: Path) -> None:
    code, _, err = call("status", tmp_path / "none.yaml")
    assert (code, err) == (2, f"{tmp_path / 'none.yaml'}: there is no such file\n")
    assert call("status", write(tmp_path, "kind: pool\n"))[0] == 2


def test_status_of_one_crashed_site_beside_a_good_one(call: Call, running: Path) -> None:
    leave_run_file(running / "pool-b", "pool-b", health="http://127.0.0.1:1", kind="pool")
    code, out, _ = call("status")
    assert code == 3
    assert "pool-b  pool site, DOWN" in out
    assert "leader node-2" in out


def test_status_for_programs(call: Call, running: Path) -> None:
    code, out, _ = call("status", "--json")
    sites = {site["site"]: site for site in json.loads(out)["sites"]}
    assert (code, sites["cloud"]["up"], sites["pool-a"]["leader"]) == (0, True, "node-2")
    [process] = sites["pool-a"]["processes"]
    assert process["status"]["hosts"]["node-1"]["state"] == "running"


def test_status_for_programs_has_no_infinities(call: Call, tmp_path: Path) -> None:
    with serving('{"site": "a", "age": Infinity}') as url:
        leave_run_file(tmp_path / "var", "a", health=url)
        _, out, _ = call("status", "--json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    status = json.loads(out, parse_constant=refuse)["sites"][0]["processes"][0]["status"]
    assert status["age"] is None


def test_nodes_started_apart_are_one_site(call: Call, tmp_path: Path) -> None:
    whole = pictures.pool()
    parts = [{**whole, "hosts": {name: host}} for name, host in whole["hosts"].items()]
    with serving(parts[0]) as one, serving(parts[1]) as other:
        leave_run_file(tmp_path / "var", "pool-a.node-1", site="pool-a", health=one, kind="pool")
        leave_run_file(tmp_path / "var", "pool-a.node-2", site="pool-a", health=other, kind="pool")
        code, out, _ = call("status")
    assert code == 0
    assert out.count("pool site") == 1
    assert {"node-1", "node-2"} <= {line.split()[0] for line in out.splitlines() if line.split()}


# -- the picture


def rows(status: dict[str, Any], width: int = 120) -> dict[str, list[str]]:
    lines = [line.split() for line in printed(status, width).splitlines()]
    return {words[0]: words[1:] for words in lines if words}


def printed(status: dict[str, Any], width: int = 120) -> str:
    site, kind = str(status.get("site", "x")), str(status.get("kind", ""))
    console = Console(width=width, highlight=False, file=io.StringIO())
    show(group([Report(site, RunFile(site, kind), status)]), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_pools_picture_has_links_ages_counts_and_traffic() -> None:
    assert rows(pictures.pool())["node-2"] == [
        *("running", "up", "up", "pool", "0.4", "s", "51,000", "1.23", "MB", "30.1", "kB", "0"),
        "http://127.0.0.1:10361",
    ]
    assert rows(pictures.pool())["services_v1"] == ["1,000", "81234", "0.4", "s", "9"]


def test_a_clouds_picture_has_frames_and_bytes_sent() -> None:
    found = rows(pictures.cloud())
    assert found["endpointslices_v1_discovery_k8s_io"][-3:] == ["70,123", "5.71", "MB"]
    assert found["cloud"] == ["running", "up", "0", "http://127.0.0.1:16443"]


def test_troubles_are_told() -> None:
    text = printed(pictures.troubled_pool())
    assert "! edit not applied: /etc/atoll/pool.yaml:12: leases.rnew: unknown key; did" in text
    assert "! bus pool is down" in text
    assert "! node-3 hub is crash-looping: OSError(98, '[address] in use')" in text
    found = rows(pictures.troubled_pool())
    assert found["node-1"][:6] == ["running", "down", "up", "nobody", "93", "s"]
    assert found["node-3"][-2:] == ["9", "-"]


def test_what_hubs_do_without_a_cloud_link_is_told() -> None:
    status = pictures.pool()
    hub = status["hosts"]["node-3"]["actors"]["hub"]["status"]
    assert "waiting" not in printed(status)
    hub |= {
        "way": "borrowed",
        "lender": "node-2",
        "writes": {"objects": 2, "events": 5, "bytes": 9},
    }
    lost = {"verb": "change", "resource": "pods.v1", "name": "web-1", "why": "it is gone"}
    hub["not_replayed"] = [lost]
    text = printed(status)
    assert "! node-3 has no cloud link of its own and borrows node-2's" in text
    assert "! node-3: 1 writes made offline could not be replayed; the last, change pods.v1" in text
    found = rows(status)
    assert found["node-3"][-3:] == ["7", "0", "http://127.0.0.1:10461"]
    assert found["node-1"][-3:] == ["0", "0", "http://127.0.0.1:10261"]


@pytest.mark.parametrize("width", [80, 100, 120, 1000])
def test_no_node_is_cut_at_any_width(width: int) -> None:
    found = rows(pictures.pool(), width)
    assert found["node-2"][:4] == ["running", "up", "up", "pool"]
    assert ("http://127.0.0.1:10361" in found["node-2"]) == (width >= 120)
    assert all(len(line) <= width for line in printed(pictures.pool(), width).splitlines())


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"hosts": {}, "servers": {}, "config": {}},
        {"hosts": {"n": {}}, "kind": "pool"},
        {"hosts": None, "servers": None, "config": None, "started": "soon"},
        {"kind": "pool", "hosts": {"n": {"actors": {"hub": {"status": {"feeds": {"f": {}}}}}}}},
        {"hosts": {"n": {"actors": {"x": {"status": {"feeds": {"f": {"age": None}}}}}}}},
        {"servers": {"pool": {}}, "hosts": {"n": {"buses": {"cloud": {}, "pool": None}}}},
    ],
)
def test_what_is_missing_is_left_out(status: dict[str, Any]) -> None:
    assert "x  " in printed(status)


def test_markup_in_foreign_text_is_text() -> None:
    status = pictures.pool()
    status["config"]["error"] = "[bold]no[/nonsense]"
    assert "[bold]no[/nonsense]" in printed(status)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.42, "0.4 s"),
        (75, "75 s"),
        (200, "3 min"),
        (7500, "2 h 5 min"),
        (352800, "4 d 2 h"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
