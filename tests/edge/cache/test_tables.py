"""Any mixture of lists, events and ends, of components that share objects, against a model."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.feed.types import Change, Item
from edge.cache.database import connect
from edge.cache.plan import ListQuery
from edge.cache.reading import encode_query, find_view
from edge.cache.rows import ViewRow
from edge.cache.tables import Tables

QUERY = ListQuery(resource="pods.v1")
KEYS = [f"n/{number}" for number in range(5)]
WHO = ["kubelet", "kube-proxy", "coredns"]

Act = tuple[str, str, list[int]]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["list", "events", "gone", "forget"]),
        st.sampled_from(WHO),
        st.lists(st.integers(0, len(KEYS) - 1), max_size=4),
    ),
    max_size=25,
)


@dataclass
class Model:
    """The cluster goes on with each act; who lists sees it as it is, who watches what changed."""

    version: int = 1
    cluster: dict[str, Item] = field(default_factory=dict)
    views: dict[str, dict[str, int]] = field(default_factory=dict)  # key: version it was told
    copies: dict[str, Item] = field(default_factory=dict)

    def change(self, numbers: list[int], is_end: bool) -> list[Change]:
        changes = []
        for number in numbers:
            self.version += 1
            data = None if is_end else f"{number} at {self.version}".encode()
            changes.append(Change(KEYS[number], self.version, data))
            self.cluster.pop(KEYS[number], None)
            if data is not None:
                self.cluster[KEYS[number]] = Item(self.version, data)
        return changes

    def expected(self, who: str) -> dict[str, Item]:
        return {key: self.copies[key] for key in self.views[who]}

    def forget_unread(self) -> None:
        read = {key for view in self.views.values() for key in view}
        self.copies = {key: item for key, item in self.copies.items() if key in read}


def act(model: Model, tables: Tables, what: str, who: str, numbers: list[int]) -> None:
    changes = model.change(numbers, is_end=what == "gone")
    row = ViewRow(who, encode_query(QUERY), 0, model.version, 0)
    if what == "list":
        tables.replace(row, QUERY.resource, model.cluster, force=False)
        model.views[who] = {key: item.version for key, item in model.cluster.items()}
        model.copies.update(model.cluster)
    elif what == "forget":
        tables.drop_view(row.id)
        model.views.pop(who, None)
    elif (held := tables.view(row.id)) is not None:
        tables.apply(held, QUERY.resource, changes, force=False)
        for change in changes:
            model.views[who].pop(change.key, None)
            if change.data is not None:
                model.views[who][change.key] = change.version
                model.copies[change.key] = Item(change.version, change.data)
    model.forget_unread()


@settings(max_examples=60, deadline=None)
@given(ACTS)
def test_every_view_is_whole_and_every_copy_has_a_reader(acts: list[Act]) -> None:
    with TemporaryDirectory() as folder, closing(connect(Path(folder) / "db", 1 << 24)) as db:
        model, tables = Model(), Tables(db)
        db.execute("BEGIN")
        for what, who, numbers in acts:
            act(model, tables, what, who, numbers)
            for reader in WHO:
                view = find_view(tables, reader, QUERY, 0.0)
                assert (view is not None) == (reader in model.views)
                assert view is None or view.items == model.expected(reader)
            (copies,) = db.execute("SELECT count(*) FROM objects").fetchone()
            assert copies == len(model.copies)
        assert tables.damaged == 0
