"""Loading: all problems at once, each with file, line, key and the nearest valid key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configs import CloudSiteFile, ConfigAbsent, ConfigError, PoolSiteFile, load, state_directory
from tests.configs.files import CLOUD, POOL, write

EXAMPLES = Path(__file__).parents[2] / "configs" / "examples"


def problems(directory: Path, text: str) -> list[str]:
    """What is wrong with `text`, without the file's directory."""
    path = write(directory, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [line.replace(f"{directory}{os.sep}", "") for line in str(caught.value).split("\n")]


def test_a_cloud_site_has_its_defaults(tmp_path: Path) -> None:
    site = load(write(tmp_path, CLOUD))
    assert isinstance(site, CloudSiteFile)
    assert site.feeds.resources == ("services", "endpointslices.discovery.k8s.io")
    assert site.bus.max_payload == 8 << 20


def test_a_pool_site_reads_units(tmp_path: Path) -> None:
    site = load(write(tmp_path, POOL + "leases: {ttl: 3s, renew: 500ms}\nhub: {window: 1MiB}\n"))
    assert isinstance(site, PoolSiteFile)
    assert (site.leases.ttl, site.leases.renew, site.hub.window) == (3.0, 0.5, 1 << 20)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_the_examples_are_valid_and_keep_state_below_var(name: str) -> None:
    site = load(EXAMPLES / name)
    assert site.state.parent == EXAMPLES.parents[1] / "var"


def test_the_examples_fit_together() -> None:
    cloud, pool = load(EXAMPLES / "cloud.yaml"), load(EXAMPLES / "pool.yaml")
    assert isinstance(cloud, CloudSiteFile)
    assert isinstance(pool, PoolSiteFile)
    assert pool.cloud.url == f"nats://{cloud.bus.listen}"
    assert pool.cloud.enrolment == cloud.enrolment


def test_all_problems_come_at_once_in_line_order(tmp_path: Path) -> None:
    text = """\
version: 1
kind: cloud
name: Cloud
state: var
enrolment: 5
bus:
  url: nats://a:1
  listen: 0.0.0.0:5
api:
feeds:
  resorces: [services]
  tick: 1
log: {level: inf, json: maybe}
"""
    assert problems(tmp_path, text) == [
        "site.yaml:3: name: must be a DNS label: lower-case letters, digits and '-', 63 at most",
        "site.yaml:5: enrolment: must be a path; not a number (5); quote it if it is meant as text",
        "site.yaml:7: bus.url: an external server contradicts bus.listen: those are for our own",
        "site.yaml:9: api: needs exactly one of api.embedded, api.kubeconfig, api.in_cluster "
        "(`embedded: {}` takes its defaults)",
        'site.yaml:11: feeds.resorces: unknown key; did you mean "resources"?',
        "site.yaml:12: feeds.tick: 1 lacks a unit: one of ms, s, m, h, d",
        "site.yaml:13: log.level: must be one of trace, debug, info, warning, error; not 'inf'; "
        'did you mean "info"?',
        "site.yaml:13: log.json: must be true or false; not text ('maybe')",
    ]


def test_a_misplaced_key_is_told_its_place(tmp_path: Path) -> None:
    assert problems(tmp_path, CLOUD + "resources: [pods]\n") == [
        'site.yaml:8: resources: unknown key; did you mean "feeds.resources"?'
    ]


def test_an_unlike_key_is_told_what_there_is(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, POOL + "leases: {zzz: 1s}\n")
    assert problem == "site.yaml:11: leases.zzz: unknown key; known here: ttl, renew"


def test_python_names_are_not_keys(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, CLOUD + "log: {json_lines: true}\n")
    assert "log.json_lines: unknown key" in problem


def test_list_items_are_numbered_and_have_their_line(tmp_path: Path) -> None:
    text = POOL + "  - {listen: 127.0.0.1:10461}\n  - {name: n, lissen: 'a:1'}\n"
    assert problems(tmp_path, text) == [
        "site.yaml:11: nodes[2].name: missing",
        'site.yaml:12: nodes[3].lissen: unknown key; did you mean "listen"?',
    ]


def test_yaml_truth_in_a_text_is_explained(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, POOL.replace("name: node-1", "name: no"))
    assert problem == (
        "site.yaml:8: nodes[0].name: must be text; not true/false (no); "
        "quote it if it is meant as text"
    )


def test_missing_keys_are_named(tmp_path: Path) -> None:
    assert problems(tmp_path, "version: 1\nkind: pool\nname: a\n") == [
        "site.yaml:1: state: missing",
        "site.yaml:1: cloud: missing",
        "site.yaml:1: nodes: missing",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "site.yaml:1: the file is empty"),
        ("# only this\n", "site.yaml:1: the file is empty"),
        ("- a\n", "site.yaml:1: must be a mapping of keys; not a list"),
        ("a: 1\n---\nb: 1\n", "site.yaml:2: holds more than one document; write one site a file"),
        ("a: b: c\n", "site.yaml:1: is not YAML: mapping values are not allowed here"),
        ("name: a\n\tb: 1\n", "site.yaml:2: is not YAML: while scanning"),
        ("a: *b\n", "site.yaml:1: is not YAML: found undefined alias 'b'"),
        ("a: \x00\n", "site.yaml:1: is not YAML: unacceptable character"),
        ("[" * 5000, "site.yaml:1: is nested too deeply"),
    ],
)
def test_what_is_no_site_file_at_all(tmp_path: Path, text: str, expected: str) -> None:
    [problem] = problems(tmp_path, text)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("kind: cloud\n", ""), 'kind: missing; a site file is "cloud" or "pool"'),
        (("kind: cloud", "kind: clod"), 'kind: must be "cloud" or "pool"; not \'clod\''),
        (("kind: cloud", "kind: [cloud]"), 'kind: must be "cloud" or "pool"; not [\'cloud\']'),
        (("version: 1\n", ""), "version: missing; this schema is `version: 1`"),
        (("version: 1", "version: 2"), "version: must be 1; not 2"),
        (("version: 1", "version: true"), "version: must be 1; not True"),
    ],
)
def test_version_and_kind_are_checked(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    [problem] = problems(tmp_path, CLOUD.replace(*change))
    assert problem.endswith(expected)


def test_duplicate_keys_are_errors_with_both_lines(tmp_path: Path) -> None:
    assert problems(tmp_path, CLOUD + "name: other\n") == [
        "site.yaml:8: name: is there twice; first on line 3"
    ]


def test_anchors_and_merges_work_and_own_keys_win(tmp_path: Path) -> None:
    text = POOL.replace("  - name: node-1", "  - &n\n    name: node-1\n    host: 10.0.0.1")
    text = text.replace("  - name: node-2", "  - <<: *n\n    name: node-2")
    site = load(write(tmp_path, text))
    assert isinstance(site, PoolSiteFile)
    assert [(node.name, node.host) for node in site.nodes] == [
        ("node-1", "10.0.0.1"),
        ("node-2", "10.0.0.1"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log: &a [*a]\n", "an anchor that holds itself"),
        ("log: &a\n  <<: *a\n", "takes a mapping"),
        ("log: {<<: 5}\n", "takes a mapping"),
        ("log: !!python/object:os.system x\n", "has a tag that site files do not know"),
        ("log: !!int x\n", "'x' does not fit its tag"),
        ("? [a]\n: 1\n", "a key must be plain text"),
    ],
)
def test_odd_yaml_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(tmp_path, CLOUD + text))


def test_exploding_anchors_are_refused_quickly(tmp_path: Path) -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12)]
    text = "\n".join([CLOUD + "l0: &l0 [x]", *levels])
    assert any("more than 100,000 values" in problem for problem in problems(tmp_path, text))


def test_blank_sections_take_their_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, CLOUD + "bus:\nlog:\n")) == load(write(tmp_path, CLOUD, "b.yaml"))


def test_paths_start_at_the_files_directory_not_behind_its_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path / "real", CLOUD)
    link = tmp_path / "link.yaml"
    link.symlink_to("real/site.yaml")
    site = load(link)
    assert isinstance(site, CloudSiteFile)
    assert (site.state, site.enrolment) == (tmp_path / "var", tmp_path / "keys")


def test_home_and_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    text = CLOUD.replace("state: var", "state: /var/lib/atoll").replace("keys", "~/keys")
    site = load(write(tmp_path, text))
    assert isinstance(site, CloudSiteFile)
    assert (site.state, site.enrolment) == (Path("/var/lib/atoll"), Path("/home/someone/keys"))


def test_absent_is_not_invalid(tmp_path: Path) -> None:
    with pytest.raises(ConfigAbsent, match="there is no such file"):
        load(tmp_path / "none.yaml")


def test_what_cannot_be_read_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a regular file") as caught:
        load(tmp_path)
    assert not isinstance(caught.value, ConfigAbsent)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "latin.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load(tmp_path / "big.yaml")


@pytest.mark.parametrize(
    "text", [CLOUD, CLOUD + "bus: [\n", CLOUD + "zzz: 1\n", 'state: "var" # here\n\t']
)
def test_the_state_directory_is_found_even_in_a_broken_file(tmp_path: Path, text: str) -> None:
    assert state_directory(write(tmp_path, text)) == tmp_path / "var"


@pytest.mark.parametrize("depth", [200, 300, 350, 400, 450])
def test_deep_nesting_is_refused_wherever_it_shows(tmp_path: Path, depth: int) -> None:
    text = CLOUD + f"deep: {'[' * depth}{']' * depth}\n"
    assert any("deep" in problem for problem in problems(tmp_path, text))


def test_no_state_directory_without_the_key(tmp_path: Path) -> None:
    assert state_directory(write(tmp_path, "a: [\n")) is None
    assert state_directory(tmp_path / "none.yaml") is None
