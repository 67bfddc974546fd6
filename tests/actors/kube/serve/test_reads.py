"""get and list over HTTP."""

from __future__ import annotations

import asyncio
import gzip

import yaml

from actors.kube.watchcache import CacheSettings
from tests.actors.kube.serve.serving import CONFIGMAPS_URL, Api, serving
from tests.actors.until import until

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


async def test_get(api: Api) -> None:
    api.configmaps.put("a", data={"k": "v"})
    answer = await api.get(f"{CONFIGMAPS_URL}/a")
    entry = api.configmaps.cache.get("default/a")
    assert entry is not None
    assert answer.body == entry.raw
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-cache, private"


async def test_get_what_is_not_there(api: Api) -> None:
    answer = await api.get(f"{CONFIGMAPS_URL}/a")
    assert answer.status == 404
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "a" not found',
        "reason": "NotFound",
        "details": {"name": "a", "kind": "configmaps"},
        "code": 404,
    }


async def test_not_found_in_a_group(api: Api) -> None:
    answer = await api.get("/apis/coordination.k8s.io/v1/namespaces/x/leases/n?timeout=10s")
    assert answer.json["message"] == 'leases.coordination.k8s.io "n" not found'
    assert answer.json["details"] == {"name": "n", "group": "coordination.k8s.io", "kind": "leases"}


async def test_list_is_sorted_with_the_list_version(api: Api) -> None:
    for namespace, name in (("b", "x"), ("a", "y"), ("a", "x")):
        api.configmaps.put(name, namespace)
    api.configmaps.cache.advance(77)
    answer = await api.get("/api/v1/configmaps")
    listed = answer.json
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert listed["metadata"] == {"resourceVersion": "77"}
    found = [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in listed["items"]]
    assert found == [("a", "x"), ("a", "y"), ("b", "x")]


async def test_empty_list(api: Api) -> None:
    assert (await api.get(CONFIGMAPS_URL)).json["items"] == []


async def test_list_of_a_namespace_and_selectors(api: Api) -> None:
    api.configmaps.put("a", labels={"app": "web"})
    api.configmaps.put("b", labels={"app": "db"})
    api.configmaps.put("c", "other", labels={"app": "web"})
    assert (await api.get(f"{CONFIGMAPS_URL}?labelSelector=app%3Dweb")).names() == ["a"]
    assert (await api.get("/api/v1/configmaps?labelSelector=app+in+(web)")).names() == ["a", "c"]
    assert (await api.get(f"{CONFIGMAPS_URL}?fieldSelector=metadata.name%3Db")).names() == ["b"]


async def test_selector_errors_are_400(api: Api) -> None:
    answer = await api.get(f"{CONFIGMAPS_URL}?labelSelector=a+b")
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    answer = await api.get(f"{CONFIGMAPS_URL}?fieldSelector=spec.x%3Db")
    assert answer.status == 400
    assert "is not a known field selector" in answer.json["message"]


# -- pages ----------------------------------------------------------------------------------------


async def pages(api: Api, path: str, limit: int) -> list[list[str]]:
    found: list[list[str]] = []
    token = ""
    while True:
        answer = await api.get(f"{path}?limit={limit}&continue={token}")
        assert answer.status == 200, answer.text
        found.append(answer.names())
        token = answer.json["metadata"].get("continue", "")
        if not token:
            return found
        # Every page is of one state, whatever happens between them.
        api.configmaps.delete(found[0][0])
        api.configmaps.put("zz-new")


async def test_pages_of_one_consistent_state(api: Api) -> None:
    for index in range(5):
        api.configmaps.put(f"n{index}")
    assert await pages(api, CONFIGMAPS_URL, 2) == [["n0", "n1"], ["n2", "n3"], ["n4"]]


async def test_pages_over_all_namespaces(api: Api) -> None:
    for index in range(4):
        api.configmaps.put("x", f"ns{index}")
    assert await pages(api, "/api/v1/configmaps", 2) == [["x", "x"], ["x", "x"]]


async def test_a_page_says_what_remains(api: Api) -> None:
    for index in range(5):
        api.configmaps.put(f"n{index}", labels={"app": "web"})
    first = (await api.get(f"{CONFIGMAPS_URL}?limit=2")).json["metadata"]
    assert first["remainingItemCount"] == 3
    selected = await api.get(f"{CONFIGMAPS_URL}?limit=2&labelSelector=app")
    assert "remainingItemCount" not in selected.json["metadata"]
    assert selected.json["metadata"]["continue"]


async def test_limit_is_ignored_for_version_0_as_upstream(api: Api) -> None:
    for index in range(5):
        api.configmaps.put(f"n{index}")
    answer = await api.get(f"{CONFIGMAPS_URL}?limit=2&resourceVersion=0")
    assert len(answer.names()) == 5


async def test_expired_token_offers_an_inconsistent_rest() -> None:
    async with serving(limits=CacheSettings(window_events=4)) as api:
        for index in range(5):
            api.configmaps.put(f"n{index}")
        token = (await api.get(f"{CONFIGMAPS_URL}?limit=2")).json["metadata"]["continue"]
        for _ in range(9):
            api.configmaps.put("n4")
        answer = await api.get(f"{CONFIGMAPS_URL}?limit=2&continue={token}")
        assert (answer.status, answer.json["reason"]) == (410, "Expired")
        offered = answer.json["metadata"]["continue"]
        rest = await api.get(f"{CONFIGMAPS_URL}?limit=2&continue={offered}")
        assert rest.names() == ["n2", "n3"]


async def test_token_errors(api: Api) -> None:
    answer = await api.get(f"{CONFIGMAPS_URL}?continue=nonsense")
    assert answer.status == 400
    assert "continue key is not valid" in answer.json["message"]


# -- versions -------------------------------------------------------------------------------------


async def test_waits_for_a_version_that_comes(api: Api) -> None:
    asking = asyncio.create_task(api.get(f"{CONFIGMAPS_URL}?resourceVersion=11"))
    await until(lambda: api.configmaps.cache.is_awaited, "the request waits")
    api.configmaps.put("a")
    assert (await asking).names() == ["a"]


async def test_a_version_that_does_not_come_is_504() -> None:
    async with serving(wait_version=0.05) as api:
        answer = await api.get(f"{CONFIGMAPS_URL}?resourceVersion=1000")
        assert answer.status == 504
        assert answer.headers["Retry-After"] == "1"
        status = answer.json
        assert status["reason"] == "Timeout"
        assert status["message"] == "Timeout: Too large resource version: 1000, current: 10"
        assert status["details"]["retryAfterSeconds"] == 1
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        assert status["details"]["causes"] == [cause]
        assert (await api.get(f"{CONFIGMAPS_URL}/a?resourceVersion=1000")).status == 504


async def test_exact_version(api: Api) -> None:
    version = api.configmaps.put("a")
    api.configmaps.put("b")
    exact = f"{CONFIGMAPS_URL}?resourceVersion={version}&resourceVersionMatch=Exact"
    answer = await api.get(exact)
    assert answer.names() == ["a"]
    assert answer.json["metadata"]["resourceVersion"] == str(version)
    not_older = f"{CONFIGMAPS_URL}?resourceVersion={version}&resourceVersionMatch=NotOlderThan"
    assert (await api.get(not_older)).names() == ["a", "b"]
    gone = await api.get(f"{CONFIGMAPS_URL}?resourceVersion=3&resourceVersionMatch=Exact")
    assert (gone.status, gone.json["reason"]) == (410, "Expired")


# -- representations ------------------------------------------------------------------------------


async def test_table(api: Api) -> None:
    api.configmaps.put("a", data={"x": "1", "y": "2"})
    table = (await api.get(CONFIGMAPS_URL, Accept=TABLE)).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    (row,) = table["rows"]
    assert row["cells"][:2] == ["a", 2]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert row["object"]["metadata"]["name"] == "a"


async def test_table_of_one_and_include_object(api: Api) -> None:
    api.configmaps.put("a", data={"x": "1"})
    table = (await api.get(f"{CONFIGMAPS_URL}/a?includeObject=Object", Accept=TABLE)).json
    assert table["rows"][0]["object"]["data"] == {"x": "1"}
    table = (await api.get(f"{CONFIGMAPS_URL}/a?includeObject=None", Accept=TABLE)).json
    assert "object" not in table["rows"][0]


async def test_table_of_a_custom_resource(api: Api) -> None:
    api.sources["widgets"].put("w", spec={"color": "red"})
    url = "/apis/example.com/v1/namespaces/default/widgets"
    table = (await api.get(url, Accept=TABLE)).json
    assert table["rows"][0]["cells"][:2] == ["w", "red"]


async def test_partial_metadata(api: Api) -> None:
    api.configmaps.put("a", data={"x": "1"})
    listed = (await api.get(CONFIGMAPS_URL, Accept=PARTIAL_LIST)).json
    assert listed["kind"] == "PartialObjectMetadataList"
    assert listed["apiVersion"] == "meta.k8s.io/v1"
    (item,) = listed["items"]
    assert item["kind"] == "PartialObjectMetadata"
    assert "data" not in item
    one = (await api.get(f"{CONFIGMAPS_URL}/a", Accept=PARTIAL)).json
    assert one["metadata"]["name"] == "a"


async def test_yaml(api: Api) -> None:
    empty = await api.get(CONFIGMAPS_URL, Accept="application/yaml")
    assert yaml.safe_load(empty.text)["items"] == []
    api.configmaps.put("a", data={"x": "1"})
    api.configmaps.put("b")
    one = await api.get(f"{CONFIGMAPS_URL}/a", Accept="application/yaml")
    assert one.headers["Content-Type"] == "application/yaml"
    assert yaml.safe_load(one.text)["data"] == {"x": "1"}
    listed = yaml.safe_load((await api.get(CONFIGMAPS_URL, Accept="application/yaml")).text)
    assert [i["metadata"]["name"] for i in listed["items"]] == ["a", "b"]


async def test_protobuf_only_is_406(api: Api) -> None:
    answer = await api.get(CONFIGMAPS_URL, Accept="application/vnd.kubernetes.protobuf")
    assert (answer.status, answer.json["reason"]) == (406, "NotAcceptable")


async def test_pretty(api: Api) -> None:
    api.configmaps.put("a")
    assert b"\n  " in (await api.get(f"{CONFIGMAPS_URL}/a?pretty=true")).body
    assert b"\n" not in (await api.get(f"{CONFIGMAPS_URL}/a", User_Agent="Go")).body
    assert b"\n  " in (await api.get(f"{CONFIGMAPS_URL}/a", User_Agent="curl/8")).body
    assert b"\n  " in (await api.get(CONFIGMAPS_URL, User_Agent="curl/8")).body
    assert b"\n" not in (await api.get(f"{CONFIGMAPS_URL}?pretty=0", User_Agent="curl/8")).body


async def test_large_lists_are_compressed_where_accepted(api: Api) -> None:
    for index in range(40):
        api.configmaps.put(f"n{index:02}", data={"k": "v" * 10_000})
    plain = await api.get(CONFIGMAPS_URL)
    assert "Content-Encoding" not in plain.headers
    assert int(plain.headers["Content-Length"]) == len(plain.body)
    packed = await api.get(CONFIGMAPS_URL, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(plain.names()) == 40
    small = await api.get(f"{CONFIGMAPS_URL}/n00", Accept_Encoding="gzip")
    assert "Content-Encoding" not in small.headers


async def test_objects_of_any_size(api: Api) -> None:
    """OpenYurt cut responses at 32 KB (#1066)."""
    api.configmaps.put("big", data={"k": "v" * 1_500_000})
    assert len((await api.get(f"{CONFIGMAPS_URL}/big")).json["data"]["k"]) == 1_500_000
    assert len((await api.get(CONFIGMAPS_URL)).json["items"][0]["data"]["k"]) == 1_500_000


async def test_head(api: Api) -> None:
    api.configmaps.put("a", data={"k": "v" * 200_000})
    for path in (f"{CONFIGMAPS_URL}/a", CONFIGMAPS_URL):
        answer = await api.get(path, "HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 200_000
    assert (await api.get(f"{CONFIGMAPS_URL}/x", "HEAD")).status == 404


async def test_status_reads_as_the_object(api: Api) -> None:
    api.sources["nodes"].put("n", status={"phase": "x"})
    assert (await api.get("/api/v1/nodes/n/status")).json["status"] == {"phase": "x"}
    assert (await api.get(f"{CONFIGMAPS_URL}/a/status")).status == 404
