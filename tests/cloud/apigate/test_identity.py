"""As whom a request acts."""

from __future__ import annotations

import pytest

from actors.kube.serve.passing import check_unclaimed
from actors.kube.status_errors import ApiError
from cloud.apigate.identity import forwarded, groups_of, impersonated

COREDNS = "system:serviceaccount:kube-system:coredns"


def test_a_node_is_itself() -> None:
    assert impersonated("n1", "", ()) == (
        ("Impersonate-User", "system:node:n1"),
        ("Impersonate-Group", "system:nodes"),
        ("Impersonate-Group", "system:authenticated"),
    )


@pytest.mark.parametrize("identity", ["system:node:n2", "system:admin", "system:masters", COREDNS])
def test_who_is_not_on_the_list_is_refused(identity: str) -> None:
    with pytest.raises(ApiError) as refused:
        impersonated("n1", identity, ("system:kube-proxy",))
    assert refused.value.code == 403


def test_service_accounts_have_their_groups() -> None:
    assert ("Impersonate-User", COREDNS) in impersonated("n1", COREDNS, (COREDNS,))
    assert groups_of(COREDNS) == (
        "system:serviceaccounts",
        "system:serviceaccounts:kube-system",
        "system:authenticated",
    )


@pytest.mark.parametrize(
    "name", ["Impersonate-User", "impersonate-extra-x", "IMPERSONATE-UID", "X-Remote-User"]
)
def test_claims_of_another_identity_are_refused(name: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_unclaimed(["Accept", name])
    assert refused.value.code == 403


def test_what_is_about_one_connection_stays() -> None:
    sent = (
        ("Accept", "a"),
        ("Accept", "b"),
        ("Connection", "close, X-Own"),
        ("X-Own", "1"),
        ("TE", "trailers"),
        ("Host", "hub"),
        ("Authorization", "Bearer x"),
        ("Accept-Encoding", "gzip"),
    )
    assert forwarded(sent) == (("Accept", "a"), ("Accept", "b"), ("Accept-Encoding", "gzip"))
