"""Messages of a protocol as its structs allow them, and as they do not: for tests that throw both at a socket."""

from typing import Any, Union

import msgspec
from hypothesis import strategies as st

from glassbridge.wire import apps

FromStayingApp: Any = Union[tuple(kind for kind in apps.FromApp.__args__ if kind is not apps.OwnershipRelease)]  # noqa: UP007
"""What an app may say and keep its socket: the cloud closes that of an app which releases the user."""

SCALARS = st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=30)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""Anything that JSON can say."""


def messages(union: Any) -> st.SearchStrategy[Any]:
    """Objects of the given union of structs: most as the schema wants them, some with fields that are wrong, missing or
    nobody's; and now and then something that is no message."""
    kinds = [_message(kind) for kind in union.__args__]
    return st.one_of(*kinds, *kinds, JUNK)


def _message(kind: type) -> st.SearchStrategy[Any]:
    told: Any = msgspec.inspect.type_info(kind)
    required = {f.encode_name: _fitting(f.type) | JUNK for f in told.fields if f.required}
    others = {f.encode_name: _fitting(f.type) | JUNK for f in told.fields if not f.required} | {"nobody's": JUNK}
    whole = st.fixed_dictionaries({"type": st.just(told.tag), **required}, optional=others)
    return whole | st.fixed_dictionaries({"type": st.just(told.tag)}, optional=required | others)


def _fitting(told: Any) -> st.SearchStrategy[Any]:
    """What a field of this type may hold."""
    match told:
        case msgspec.inspect.UnionType(types=types):
            return st.one_of(*map(_fitting, types))
        case msgspec.inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case msgspec.inspect.EnumType(cls=kind):
            return st.sampled_from([member.value for member in kind])
        case msgspec.inspect.StrType():
            return st.text(max_size=40) | st.sampled_from(["transcription:en-US", "*", "main", "x" * 5_000])
        case msgspec.inspect.IntType():
            return st.integers(-(1 << 63), 1 << 63)
        case msgspec.inspect.FloatType():
            return st.floats()
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.ListType(item_type=item) | msgspec.inspect.VarTupleType(item_type=item):
            return st.lists(_fitting(item), max_size=4)
        case msgspec.inspect.StructType(cls=kind):
            return _message(kind)
    return JUNK
