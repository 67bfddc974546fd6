"""get and list, as on the wire: the same objects, selectors, pages, tables, versions."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.interop.samples import CARRIED, collection, config_map, sample, service, widget
from tests.interop.target import Api, Json, Target, bare, name_of, stripped, version_of

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


async def fill(reads: Api, writes: Api, path: str, ns: str, objects: list[Json]) -> list[Json]:
    """Creates them and waits until they can be read."""
    made = [await writes.create(each, ns) for each in objects]
    await reads.sees(path, max(map(version_of, made)))
    return made


@pytest.mark.parametrize("kind", CARRIED)
async def test_a_list_has_what_the_api_server_has(
    reads: Api, writes: Api, ns: str, kind: str
) -> None:
    path = collection(kind, ns)
    made = await fill(reads, writes, path, ns, [sample(kind, f"a{n}") for n in (3, 1, 2)])
    changed = {"metadata": {"labels": {"changed": "yes"}}}
    last = await writes.patch(kind, ns, "a1", changed)
    await reads.sees(path, version_of(last))
    answer = await reads.get(path)
    truth = await writes.get(path)
    assert list(map(stripped, answer["items"])) == list(map(stripped, truth["items"]))
    assert {k: answer[k] for k in ("kind", "apiVersion")} == {
        k: truth[k] for k in ("kind", "apiVersion")
    }
    assert [name_of(each) for each in answer["items"]] == ["a1", "a2", "a3"]
    assert [version_of(each) for each in answer["items"]] == [
        version_of(last),
        version_of(made[2]),
        version_of(made[0]),
    ]
    assert version_of(answer) >= version_of(last)


@pytest.mark.parametrize("kind", CARRIED)
async def test_one_object(reads: Api, writes: Api, ns: str, kind: str) -> None:
    path = collection(kind, ns)
    await fill(reads, writes, path, ns, [sample(kind, "one")])
    got, truth = await asyncio.gather(reads.get(f"{path}/one"), writes.get(f"{path}/one"))
    assert stripped(got) == stripped(truth)
    assert (got["kind"], got["apiVersion"]) == (truth["kind"], truth["apiVersion"])
    missing, same = await asyncio.gather(reads.ask(f"{path}/none"), writes.ask(f"{path}/none"))
    assert missing.status == same.status == 404
    assert missing.json == same.json
    assert missing.json["reason"] == "NotFound"


async def test_all_namespaces_at_once(reads: Api, writes: Api, target: Target, ns: str) -> None:
    await fill(reads, writes, collection("Service"), ns, [service("everywhere")])
    found = await reads.list(collection("Service"))
    truth = await writes.list(collection("Service"))
    assert list(map(stripped, found)) == list(map(stripped, truth))
    assert {each["metadata"]["namespace"] for each in found} >= {ns, "default"}


LABELS = [
    ("tier=web", {"a", "b"}),
    ("tier==web,canary", {"b"}),
    ("tier!=web", {"c", "d"}),
    ("tier in (db, cache)", {"c"}),
    ("tier notin (db),tier", {"a", "b"}),
    ("!tier", {"d"}),
    ("!canary,tier", {"a", "c"}),
    ("tier=none", set[str]()),
]


@pytest.mark.parametrize(("selector", "names"), LABELS)
async def test_label_selectors(
    reads: Api, writes: Api, ns: str, selector: str, names: set[str]
) -> None:
    path = collection("ConfigMap", ns)
    objects = [
        config_map("a", tier="web", mine="1"),
        config_map("b", tier="web", canary="yes", mine="1"),
        config_map("c", tier="db", mine="1"),
        config_map("d", mine="1"),
    ]
    await fill(reads, writes, path, ns, objects)
    found = await reads.list(path, labelSelector=f"mine=1,{selector}")
    assert {name_of(each) for each in found} == names


FIELDS = [
    ("Service", "metadata.name=a", {"a"}),
    ("Service", "metadata.name!=a", {"b", "c"}),
    ("Service", "spec.type=NodePort", {"b"}),
    ("Service", "spec.clusterIP=None", {"c"}),
    ("Service", "spec.clusterIP!=None,spec.type!=NodePort", {"a"}),
    ("Service", "metadata.namespace=elsewhere", set[str]()),
    ("Widget", "spec.colour=blue", {"b"}),
    ("Widget", "spec.colour!=blue,metadata.name!=c", {"a"}),
]


@pytest.mark.parametrize(("kind", "selector", "names"), FIELDS)
async def test_field_selectors(
    reads: Api, writes: Api, ns: str, kind: str, selector: str, names: set[str]
) -> None:
    path = collection(kind, ns)
    objects = {
        "Service": [service("a"), service("b", type_="NodePort"), service("c", headless=True)],
        "Widget": [widget("a"), widget("b", colour="blue"), widget("c", colour="green")],
    }[kind]
    await fill(reads, writes, path, ns, objects)
    found = await reads.list(path, fieldSelector=selector)
    assert {name_of(each) for each in found} == names


BAD = [
    {"labelSelector": "a in"},
    {"labelSelector": "=x"},
    {"fieldSelector": "spec.nothing=1"},
    {"fieldSelector": "metadata.name"},
    {"resourceVersion": "x"},
    {"limit": "x"},
    {"continue": "x"},
    {"resourceVersionMatch": "Exact"},
    {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
    {"resourceVersionMatch": "Nearly", "resourceVersion": "1"},
    {"sendInitialEvents": "true"},
]


@pytest.mark.parametrize("params", BAD, ids=str)
async def test_bad_questions_are_refused_alike(
    reads: Api, writes: Api, ns: str, params: dict[str, str]
) -> None:
    path = collection("Service", ns)
    got, truth = await asyncio.gather(reads.ask(path, **params), writes.ask(path, **params))
    assert got.status == truth.status
    assert got.status in (400, 422)
    assert got.json == truth.json
    assert got.json["kind"] == "Status"


async def pages(api: Api, path: str, **params: Any) -> list[Json]:
    """Lists until there is no more to continue."""
    found = [await api.get(path, **params)]
    while token := found[-1]["metadata"].get("continue"):
        found.append(await api.get(path, **{**params, "continue": token}))
    return found


async def test_pages_are_of_one_moment(reads: Api, writes: Api, ns: str) -> None:
    path = collection("ConfigMap", ns)
    made = await fill(reads, writes, path, ns, [config_map(f"p{n}", mine="1") for n in range(7)])
    first = await reads.get(path, limit=3, labelSelector="mine=1")
    assert [name_of(each) for each in first["items"]] == ["p0", "p1", "p2"]
    await writes.delete("ConfigMap", ns, "p5")
    late = await writes.create(config_map("p99", mine="1"), ns)
    await reads.sees(path, version_of(late))
    rest = await pages(
        reads, path, limit=3, labelSelector="mine=1", **{"continue": first["metadata"]["continue"]}
    )
    names = [name_of(each) for page in rest for each in page["items"]]
    assert names == ["p3", "p4", "p5", "p6"]
    assert {version_of(page) for page in rest} == {version_of(first)}
    assert version_of(first) >= version_of(made[-1])


async def test_pages_count_what_remains(reads: Api, writes: Api, ns: str) -> None:
    path = collection("Widget", ns)
    await fill(reads, writes, path, ns, [widget(f"w{n}") for n in range(5)])
    found = await pages(reads, path, limit=2)
    assert [page["metadata"].get("remainingItemCount") for page in found] == [3, 1, None]
    truth = await pages(writes, path, limit=2)
    assert [list(map(stripped, page["items"])) for page in found] == [
        list(map(stripped, page["items"])) for page in truth
    ]


async def test_a_version_not_yet_there_is_a_timeout(reads: Api, ns: str) -> None:
    path = collection("Service", ns)
    far = version_of(await reads.get(path)) + 1_000_000_000
    answer = await reads.ask(path, resourceVersion=far)
    assert answer.status == 504
    status = answer.json
    assert status["reason"] == "Timeout"
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert "Too large resource version" in status["message"]


async def test_lists_at_a_version(reads: Api, writes: Api, ns: str) -> None:
    path = collection("ConfigMap", ns)
    first = (await fill(reads, writes, path, ns, [config_map("x", mine="1")]))[-1]
    at = version_of(await reads.get(path))
    assert at >= version_of(first)
    await fill(reads, writes, path, ns, [config_map("y", mine="1")])
    mine: Json = {"labelSelector": "mine=1"}
    exact = await reads.get(path, resourceVersion=at, resourceVersionMatch="Exact", **mine)
    assert [name_of(each) for each in exact["items"]] == ["x"]
    assert version_of(exact) == at
    newer = await reads.get(path, resourceVersion=at, resourceVersionMatch="NotOlderThan", **mine)
    assert [name_of(each) for each in newer["items"]] == ["x", "y"]
    anything = await reads.get(path, resourceVersion=0, **mine)
    assert {name_of(each) for each in anything["items"]} <= {"x", "y"}


@pytest.mark.parametrize("kind", CARRIED)
async def test_tables(reads: Api, writes: Api, ns: str, kind: str) -> None:
    path = collection(kind, ns)
    await fill(reads, writes, path, ns, [sample(kind, name) for name in ("t2", "t1")])
    got = await reads.get(path, accept=TABLE)
    truth = await writes.get(path, accept=TABLE)
    assert got["kind"] == "Table"
    assert got["columnDefinitions"] == truth["columnDefinitions"]
    assert _cells(got) == _cells(truth)
    assert [row["cells"][0] for row in got["rows"]] == ["t1", "t2"]
    assert {row["object"]["kind"] for row in got["rows"]} == {"PartialObjectMetadata"}


def _cells(table: Json) -> list[list[object]]:
    """Without the age, which may turn between two requests."""
    names = [column["name"] for column in table["columnDefinitions"]]
    return [
        [cell for name, cell in zip(names, row["cells"], strict=True) if name != "Age"]
        for row in table["rows"]
    ]


async def test_metadata_only(reads: Api, writes: Api, ns: str) -> None:
    path = collection("Service", ns)
    await fill(reads, writes, path, ns, [service("meta")])
    got, truth = await asyncio.gather(*(a.get(path, accept=PARTIAL) for a in (reads, writes)))
    assert got["kind"] == truth["kind"] == "PartialObjectMetadataList"
    assert list(map(stripped, got["items"])) == list(map(stripped, truth["items"]))
    assert set(bare(got["items"][0])) == {"metadata"}


PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize("accept", [f"{PROTOBUF}, */*", f"{PROTOBUF},application/json"])
async def test_who_prefers_protobuf_takes_json(own_target: Target, accept: str) -> None:
    """What kube-proxy and the kubelet ask for. A cluster would give protobuf."""
    async with own_target.reads.open() as api:
        both = await api.ask(collection("Service"), accept=accept)
        alone = await api.ask(collection("Service"), accept=PROTOBUF)
    assert both.status == 200
    assert both.headers["Content-Type"] == "application/json"
    assert both.json["kind"] == "ServiceList"
    assert alone.status == 406
    assert alone.json["reason"] == "NotAcceptable"


async def test_large_lists_come_compressed(reads: Api, writes: Api, ns: str) -> None:
    path = collection("ConfigMap", ns)
    noise = random.Random(1)
    blob = "".join(noise.choices("abcdefgh", k=60_000))
    await fill(reads, writes, path, ns, [config_map(f"big{n}", {"blob": blob}) for n in range(4)])
    answer = await reads.ask(path)
    assert answer.headers.get("Content-Encoding") == "gzip"
    assert {name_of(each) for each in answer.json["items"]} >= {f"big{n}" for n in range(4)}
