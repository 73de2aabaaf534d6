"""Keys: nobody can read one out of the database, and a revoked one is nobody's."""

import pytest
from sqlalchemy import select

from service.auth import keys, repository
from service.auth.callers import Caller, Scope
from service.auth.models import ApiKey
from service.db.session import Database


def made(database: Database, tenant: str = "a", scope: Scope = Scope.WRITE, name: str = "mine") -> tuple[ApiKey, str]:
    with database.transaction() as session:
        return keys.make(session, tenant=tenant, scope=scope, name=name)


def caller(database: Database, key: str) -> Caller | None:
    with database.reading() as session:
        return keys.callers(session, [keys.digest(key)]).get(keys.digest(key))


def test_a_key_says_whose_it_is_and_what_it_is_good_for(database: Database) -> None:
    row, key = made(database, scope=Scope.ADMIN)
    made(database, tenant="b")
    assert caller(database, key) == Caller(tenant="a", scope=Scope.ADMIN, key_id=row.id)
    assert caller(database, key[:-1] + ("A" if key[-1] != "A" else "B")) is None


def test_the_key_itself_is_kept_nowhere(database: Database) -> None:
    _, key = made(database)
    with database.reading() as session:
        (row,) = session.execute(select(ApiKey.__table__)).all()
    assert all(key not in str(value) and key[3:] not in str(value) for value in row)


def test_every_key_is_another_and_has_256_random_bits() -> None:
    assert keys.is_well_formed(keys.PREFIX + "A" * 43)
    assert 43 * 6 >= 256


def test_no_two_keys_are_alike(database: Database) -> None:
    made_keys = [made(database)[1] for _ in range(20)]
    assert len(set(made_keys)) == 20
    assert all(map(keys.is_well_formed, made_keys))


def test_a_revoked_key_is_nobody_s_and_stays_so(database: Database) -> None:
    row, key = made(database)
    with database.transaction() as session:
        first = keys.revoke(session, row.id).revoked_at
    assert first is not None
    assert caller(database, key) is None
    with database.transaction() as session:
        assert keys.revoke(session, row.id).revoked_at == first
    with database.reading() as session:
        assert [(listed.id, listed.revoked_at) for listed in repository.keys(session, "a")] == [(row.id, first)]


def test_a_key_that_is_not_there_cannot_be_revoked(database: Database) -> None:
    with pytest.raises(keys.BadRequest, match="there is no key 'key_1'"), database.transaction() as session:
        keys.revoke(session, "key_1")


@pytest.mark.parametrize("tenant", ["", "a/b", "-a", "a b", "a\n", "x" * 65, "caf\u00e9"])
def test_a_tenant_has_a_plain_name(database: Database, tenant: str) -> None:
    with pytest.raises(keys.BadRequest, match="tenant"):
        made(database, tenant=tenant)


@pytest.mark.parametrize("name", ["", "  ", "two\r\nlines", "x" * 201])
def test_a_key_has_a_name_of_one_line(database: Database, name: str) -> None:
    with pytest.raises(keys.BadRequest, match="name"):
        made(database, name=name)


def test_each_scope_includes_the_ones_before_it() -> None:
    assert [[a.includes(b) for b in Scope] for a in Scope] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
