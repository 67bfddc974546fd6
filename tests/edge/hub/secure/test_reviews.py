"""What is remembered of the API server's word, and for how long."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from actors.kube.serve.api import RequestInfo, User
from actors.kube.status_errors import ApiError, service_unavailable
from edge.hub.secure.remembered import ReviewFile
from edge.hub.secure.reviews import Reviews, ReviewSettings, expiry_of

ROBOT = "system:serviceaccount:default:robot"
PODS = RequestInfo(
    verb="list", path="/api/v1/pods", is_resource=True, version="v1", plural="pods",
    namespace="default",
)  # fmt: skip


def a_token(**claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'ES256'})}.{part(claims)}.c2ln"


class Server:
    """An API server that knows one token and one right."""

    def __init__(self) -> None:
        self.token = a_token(exp=2000.0)
        self.is_there = True
        self.allows = True
        self.now = 1000.0
        self.asked: list[dict[str, Any]] = []
        settings = ReviewSettings(most=4)
        self.reviews = Reviews(self, lambda: self.now, lambda: self.now, settings)

    async def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, identity: str
    ) -> tuple[int, bytes]:
        if not self.is_there:
            raise service_unavailable("no link")
        review = json.loads(body)
        self.asked.append(review)
        if review["kind"] == "TokenReview":
            is_good = review["spec"]["token"] == self.token
            user = {"username": ROBOT, "groups": ["system:serviceaccounts"], "uid": "1"}
            status: dict[str, Any] = {"authenticated": is_good, "user": user if is_good else {}}
        else:
            status = {"allowed": self.allows}
        return 201, json.dumps(review | {"status": status}).encode()


async def test_a_good_token_is_asked_about_once_a_minute() -> None:
    server = Server()
    for _ in range(3):
        user = await server.reviews.user_of(server.token)
        assert user == User(ROBOT, ("system:serviceaccounts",), "1")
    assert len(server.asked) == 1
    server.now += server.reviews.settings.token_good
    await server.reviews.user_of(server.token)
    assert len(server.asked) == 2


async def test_a_bad_token_is_nobody() -> None:
    server = Server()
    assert await server.reviews.user_of(a_token(exp=2000.0, forged=True)) is None
    assert await server.reviews.user_of("nonsense") is None


async def test_an_expired_token_is_nobody_without_asking_whatever_is_remembered() -> None:
    server = Server()
    assert await server.reviews.user_of(server.token) is not None
    server.now, server.is_there = 2000.0, False
    assert await server.reviews.user_of(server.token) is None


async def test_offline_the_last_known_answer_holds_and_an_unknown_one_is_503() -> None:
    server = Server()
    user = await server.reviews.user_of(server.token)
    assert user is not None
    await server.reviews.check(user, PODS)
    server.is_there, server.now = False, 1900.0
    assert await server.reviews.user_of(server.token) == user
    await server.reviews.check(user, PODS)
    with pytest.raises(ApiError) as unknown:
        await server.reviews.user_of(a_token(exp=2000.0, other=1))
    assert unknown.value.code == 503
    with pytest.raises(ApiError) as unknown:
        await server.reviews.check(User("another"), PODS)
    assert unknown.value.code == 503


async def test_offline_a_token_without_an_end_is_not_good_for_ever() -> None:
    server = Server()
    server.token = a_token(sub=ROBOT)
    assert await server.reviews.user_of(server.token) is not None
    server.is_there, server.now = False, 1900.0
    with pytest.raises(ApiError):
        await server.reviews.user_of(server.token)


async def test_a_right_is_asked_for_with_all_that_it_depends_on() -> None:
    server = Server()
    user = User(ROBOT, ("g",), "1")
    await server.reviews.check(user, PODS)
    assert server.asked[0]["spec"]["resourceAttributes"] == {
        "verb": "list", "version": "v1", "resource": "pods", "namespace": "default",
    }  # fmt: skip
    await server.reviews.check(User(ROBOT, ("h",), "1"), PODS)
    assert len(server.asked) == 2  # in another group one may have other rights


async def test_a_no_is_said_as_the_api_server_says_it_and_soon_asked_anew() -> None:
    server = Server()
    server.allows = False
    user = User(ROBOT)
    with pytest.raises(ApiError) as refused:
        await server.reviews.check(user, PODS)
    assert (refused.value.code, refused.value.message) == (
        403,
        f'pods is forbidden: User "{ROBOT}" cannot list resource "pods" in API group ""'
        ' in the namespace "default"',
    )
    server.allows, server.now = True, 1000.0 + server.reviews.settings.right_no
    await server.reviews.check(user, PODS)


async def test_many_that_ask_the_same_at_once_are_one_question() -> None:
    server = Server()
    await asyncio.gather(*(server.reviews.user_of(server.token) for _ in range(50)))
    await asyncio.gather(*(server.reviews.check(User(ROBOT), PODS) for _ in range(50)))
    assert [asked["kind"] for asked in server.asked] == ["TokenReview", "SubjectAccessReview"]


async def test_who_tries_many_tokens_does_not_crowd_out_a_good_one() -> None:
    server = Server()
    await server.reviews.user_of(server.token)
    for number in range(20):
        await server.reviews.user_of(f"junk-{number}")
    server.is_there, server.now = False, 1900.0
    assert await server.reviews.user_of(server.token) is not None


async def test_while_nobody_answers_not_every_request_waits_for_an_answer() -> None:
    server = Server()
    await server.reviews.user_of(server.token)
    server.is_there, server.now = False, 1900.0
    for _ in range(5):
        await server.reviews.user_of(server.token)
    assert server.reviews.asked == 2
    server.is_there, server.now = True, 1900.0 + server.reviews.settings.again
    await server.reviews.user_of(server.token)
    assert server.reviews.asked == 3


async def test_answers_outlive_a_restart_and_no_token_is_written(tmp_path: Path) -> None:
    file = tmp_path / "reviews.json"
    before = Server()
    user = await before.reviews.user_of(before.token)
    assert user is not None
    await before.reviews.user_of("junk")
    await before.reviews.check(user, PODS)
    await ReviewFile(file, before.reviews, logger).save()
    assert before.token not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    after = Server()
    ReviewFile(file, after.reviews, logger).load()
    after.is_there = False
    assert await after.reviews.user_of(after.token) == user
    await after.reviews.check(user, PODS)
    with pytest.raises(ApiError):
        await after.reviews.user_of("junk")
    after.is_there, after.allows, after.now = True, False, 1010.0
    with pytest.raises(ApiError) as refused:  # the API server's word counts as soon as there is one
        await after.reviews.check(user, PODS)
    assert refused.value.code == 403


async def test_what_is_confirmed_is_not_written_again(tmp_path: Path) -> None:
    server = Server()
    file = ReviewFile(tmp_path / "reviews.json", server.reviews, logger)
    await server.reviews.user_of(server.token)
    await file.save()
    (tmp_path / "reviews.json").unlink()
    server.now += 100.0
    await server.reviews.user_of(server.token)
    await file.save()
    assert not (tmp_path / "reviews.json").exists()


@pytest.mark.parametrize("text", ["", "{", '{"tokens": [[["a"], 7]]}'])
async def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    server = Server()
    (tmp_path / "reviews.json").write_text(text)
    ReviewFile(tmp_path / "reviews.json", server.reviews, logger).load()
    assert len(server.reviews.tokens) == 0


async def test_only_so_much_is_remembered() -> None:
    server = Server()
    for number in range(20):
        await server.reviews.user_of(a_token(exp=2000.0, n=number))
        await server.reviews.check(User(f"user-{number}"), PODS)
    assert len(server.reviews._bad) == len(server.reviews.rights) == 4


@pytest.mark.parametrize("token", ["", "a.b", "a.!!.c", "a.e30.c", f"a.{'x' * 9}.c"])
def test_what_is_no_token_has_no_end(token: str) -> None:
    assert expiry_of(token) is None
