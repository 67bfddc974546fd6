"""kubectl reads: get in all its forms, watch, wait, discovery, explain."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from tests.interop.kubectl import OPENAPI_V3, WAIT_JSONPATH, Kubectl, minor
from tests.interop.samples import (
    CARRIED,
    GROUP,
    collection,
    config_map,
    endpoint_slice,
    sample,
    service,
    widget,
)
from tests.interop.target import Api, Json, Target, bare, version_of


@pytest.fixture
def get(target: Target, ns: str, kubectl_home: Path) -> Kubectl:
    """kubectl at what is tested."""
    return Kubectl(target.reads.kubeconfig, ns, kubectl_home / target.name)


@pytest_asyncio.fixture
async def filled(reads: Api, writes: Api, ns: str) -> list[Json]:
    """Two of each kind, readable."""
    made = []
    for kind in CARRIED:
        for name, tier in (("one", "web"), ("two", "db")):
            made.append(await writes.create(sample(kind, name, tier=tier), ns))
        await reads.sees(collection(kind, ns), version_of(made[-1]))
    return made


READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
HEADINGS = [
    ("services", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE"),
    ("svc", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE"),
    ("endpointslices", "NAME ADDRESSTYPE PORTS ENDPOINTS AGE"),
    ("endpointslices.discovery.k8s.io", "NAME ADDRESSTYPE PORTS ENDPOINTS AGE"),
    ("cm", "NAME DATA AGE"),
    ("widgets", "NAME SIZE"),
    ("wd", "NAME SIZE"),
]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("resource", "heading"), HEADINGS, ids=[name for name, _ in HEADINGS])
async def test_get_prints_the_columns(get: Kubectl, resource: str, heading: str) -> None:
    done = await get(f"get {resource} -l tier")
    assert done.heading == heading.split()
    assert done.names == ["one", "two"]


@pytest.mark.usefixtures("filled")
async def test_cells(get: Kubectl) -> None:
    service_row = (await get("get svc one")).rows[0]
    assert service_row[:2] + service_row[3:5] == ["one", "ClusterIP", "<none>", "80/TCP"]
    slice_row = (await get("get endpointslice one")).rows[0]
    assert slice_row[:4] == ["one", "IPv4", "8080", "10.1.2.3"]
    assert (await get("get widget one")).rows == [["one", "1"]]
    assert (await get("get configmap one")).rows[0][:2] == ["one", "1"]


@pytest.mark.usefixtures("filled")
async def test_get_wide(get: Kubectl) -> None:
    wide = await get("get svc -o wide")
    assert wide.heading[-1] == "SELECTOR"
    assert [row[-1] for row in wide.rows] == ["app=one", "app=two"]
    assert (await get("get wd -o wide")).rows == [["one", "1", "red"], ["two", "1", "red"]]


async def test_get_as_json_and_yaml(get: Kubectl, writes: Api, filled: list[Json]) -> None:
    for kind in CARRIED:
        done = await get(f"get {kind.lower()} one -o json")
        namespace = filled[0]["metadata"]["namespace"]
        truth = await writes.get(f"{collection(kind, namespace)}/one")
        assert bare(done.json) == bare(truth)
        text = (await get(f"get {kind.lower()} one -o yaml")).out
        assert bare(yaml.safe_load(text)) == bare(truth)
    listed = await get("get services,configmaps -l tier=web -o json")
    assert [(e["kind"], e["metadata"]["name"]) for e in listed.json["items"]] == [
        ("Service", "one"),
        ("ConfigMap", "one"),
    ]


@pytest.mark.usefixtures("filled")
async def test_get_by_template_and_columns(get: Kubectl) -> None:
    path = await get("get svc -o jsonpath='{.items[*].spec.ports[0].targetPort}'")
    assert path.out == "8080 8080"
    columns = await get("get wd -o custom-columns=N:.metadata.name,C:.spec.colour")
    assert columns.rows == [["one", "red"], ["two", "red"]]
    names = await get("get cm -l tier -o name --sort-by=.metadata.name")
    assert names.out.split() == ["configmap/one", "configmap/two"]


SELECTIONS = [
    ("-l tier=web", ["one"]),
    ("-l tier!=web", ["two"]),
    ("-l 'tier in (web, db)'", ["one", "two"]),
    ("-l '!tier'", []),
    ("--field-selector metadata.name=two", ["two"]),
    ("--field-selector metadata.name!=two,spec.type=ClusterIP", ["one"]),
    ("--field-selector spec.type=NodePort", []),
]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("flags", "names"), SELECTIONS)
async def test_selections(get: Kubectl, flags: str, names: list[str]) -> None:
    done = await get(f"get services {flags} -o name")
    assert done.out.split() == [f"service/{name}" for name in names]


@pytest.mark.usefixtures("filled")
async def test_all_namespaces(get: Kubectl, ns: str) -> None:
    done = await get("get services -A")
    assert done.heading[:2] == ["NAMESPACE", "NAME"]
    assert {(row[0], row[1]) for row in done.rows} >= {
        (ns, "one"),
        (ns, "two"),
        ("default", "kubernetes"),
    }


async def test_chunks(get: Kubectl, reads: Api, writes: Api, ns: str) -> None:
    for number in range(7):
        last = await writes.create(config_map(f"c{number}", mine="1"), ns)
    await reads.sees(collection("ConfigMap", ns), version_of(last))
    done = await get("get cm -l mine=1 --chunk-size=2 -v=6")
    assert done.names == [f"c{number}" for number in range(7)]
    pages = [line for line in done.err.splitlines() if "limit=2" in line]
    assert len(pages) == 4
    assert sum("continue=" in line for line in pages) == 3


async def test_errors_are_for_people(get: Kubectl) -> None:
    missing = await get.run("get service nothing")
    assert missing.code == 1
    assert missing.err == 'Error from server (NotFound): services "nothing" not found\n'
    unknown = await get.run("get gadgets")
    assert unknown.err == 'error: the server doesn\'t have a resource type "gadgets"\n'
    empty = await get("get services")
    assert empty.err.startswith("No resources found in interop-")
    bad = await get.run("get services -l 'a in'")
    assert "unable to parse requirement" in bad.err


async def test_watch(get: Kubectl, writes: Api, reads: Api, ns: str) -> None:
    first = await writes.create(service("one"), ns)
    await reads.sees(collection("Service", ns), version_of(first))
    async with get.lines("get services --watch --output-watch-events") as lines:
        assert (await lines.next()).split()[:3] == ["EVENT", "NAME", "TYPE"]
        assert (await lines.next()).split()[:3] == ["ADDED", "one", "ClusterIP"]
        await writes.create(service("two"), ns)
        assert (await lines.next()).split()[:3] == ["ADDED", "two", "ClusterIP"]
        await writes.patch("Service", ns, "two", {"spec": {"type": "NodePort"}})
        assert (await lines.next()).split()[:3] == ["MODIFIED", "two", "NodePort"]
        await writes.delete("Service", ns, "one")
        assert (await lines.next()).split()[:3] == ["DELETED", "one", "ClusterIP"]


async def test_watch_only_as_json(get: Kubectl, writes: Api, ns: str) -> None:
    form = "-o jsonpath='{.metadata.name}={.spec.size}{\"\\n\"}'"
    await writes.create(widget("a", size=1), ns)
    async with get.lines(f"get widgets --watch {form}") as lines:
        assert await lines.next() == "a=1"
        await writes.patch("Widget", ns, "a", {"spec": {"size": 2}})
        assert await lines.next() == "a=2"


async def test_wait(get: Kubectl, writes: Api, ns: str) -> None:
    """For what is so already, for what becomes so, and for what goes."""
    await writes.create(endpoint_slice("it"), ns)
    await writes.create(widget("it"), ns)
    async with get.lines("wait widget/it --for=condition=Ready") as lines:
        await writes.patch("Widget", ns, "it", READY)
        assert await lines.next() == f"widget.{GROUP}/it condition met"
    await get("wait widget/it --for=condition=Ready")
    async with get.lines("wait endpointslice/it --for=delete -v=6") as lines:
        await lines.watches()
        await writes.delete("EndpointSlice", ns, "it")
        assert await lines.next() == "endpointslice.discovery.k8s.io/it condition met"
    late = await get.run("wait widget/it --for=condition=Other --timeout=1s")
    assert late.code == 1
    assert "timed out waiting for the condition" in late.err


async def test_wait_for_a_value(get: Kubectl, writes: Api, ns: str) -> None:
    await writes.create(widget("it", colour="red"), ns)
    line = "wait widget/it --for=jsonpath='{.spec.colour}'=blue"
    if minor() < WAIT_JSONPATH:
        assert "unrecognized condition" in (await get.run(line)).err
        return
    async with get.lines(line) as lines:
        await writes.patch("Widget", ns, "it", {"spec": {"colour": "blue"}})
        assert await lines.next() == f"widget.{GROUP}/it condition met"


@pytest.mark.usefixtures("filled")
async def test_describe(get: Kubectl) -> None:
    assert "Data\n====\nkey:\n----\nvalue" in (await get("describe configmap one")).out
    assert f"{GROUP}/v1" in (await get("describe widget one")).out


async def test_api_resources_and_versions(get: Kubectl) -> None:
    resources = {row[0]: row[1:] for row in (await get("api-resources --no-headers=false")).rows}
    assert resources["services"] == ["svc", "v1", "true", "Service"]
    assert resources["endpointslices"] == ["discovery.k8s.io/v1", "true", "EndpointSlice"]
    assert resources["widgets"] == ["wd", f"{GROUP}/v1", "true", "Widget"]
    only = await get(f"api-resources --api-group={GROUP} -o name")
    assert only.out.split() == [f"widgets.{GROUP}"]
    versions = (await get("api-versions")).out.split()
    assert {"v1", "discovery.k8s.io/v1", f"{GROUP}/v1"} <= set(versions)


@pytest.mark.parametrize(("what", "kind"), [("service", "Service"), ("widget", "Widget")])
async def test_explain_names_the_kind(get: Kubectl, what: str, kind: str) -> None:
    if minor() < OPENAPI_V3:
        assert "couldn't find resource" in (await get.run(f"explain {what}")).err
        return
    out = (await get(f"explain {what}")).out
    assert f"KIND:       {kind}" in out
    assert "FIELDS:" in out


async def test_version_and_health(get: Kubectl) -> None:
    version = (await get("version -o json")).json["serverVersion"]
    assert version["gitVersion"].startswith("v1.")
    assert (await get("get --raw /readyz")).out == "ok"
    assert (await get("cluster-info")).out.count("is running at") == 1
