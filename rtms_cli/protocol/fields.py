"""The vocabulary in which messages are defined: the keys of a JSON object, and how each value is read and written.

A `Shape` is the only definition of an object. Reading, writing and what `inspect --lint` knows follow from it.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from rtms_cli.protocol.numbers import Numbered, as_int
from rtms_cli.protocol.strict_json import dumps
from rtms_cli.protocol.texts import utf8
from rtms_cli.protocol.times import milliseconds

UserId = int | str | None
"""A participant: a number, or whatever else a server used; `None` if there was none."""
LONGEST_ID = 200
"""Letters of an id."""
_LONGEST_NUMBER = 40
_MOST_ID = 10**_LONGEST_NUMBER


class Kind(Struct, frozen=True):
    """How a value is read and written."""

    read: Callable[[Any], Any]
    """Never raises; `None` if the value cannot be read."""
    write: Callable[[Any], object] | None = None
    """Turns an attribute into JSON, or into `None` to leave the key out. Without it, the attribute is written as is."""
    is_number: bool = False
    """Whether the documented value is a number, so that text in its place is only tolerated."""


def user_id(value: object) -> UserId:
    """An id: a number may come as text, but only as its own digits; any other text is an id of its own.

    So `10` and `"10"` are the same, and `"010"`, `"+10"`, `" 10"`, `"1_0"` and `"１０"` are five others. What is
    neither a number nor a text is told by its JSON, and a very long text by its beginning and its hash.
    """
    if value is None or type(value) is int:
        return value if value is None or abs(value) < _MOST_ID else user_id(f"{value:#x}")
    if isinstance(value, float) and value.is_integer():
        return user_id(int(value))
    text = value if isinstance(value, str) else dumps(value).decode()
    if text.isascii() and len(text) < _LONGEST_NUMBER and (number := as_int(text)) is not None and str(number) == text:
        return number
    if len(text) <= LONGEST_ID:
        return text
    digest = hashlib.sha256(utf8(text)).hexdigest()
    return f"{text[: LONGEST_ID - len(digest) - 1]}…{digest}"


def text_or_none(value: object) -> str | None:
    """A text, or `None` if the value is something else."""
    return value if isinstance(value, str) else None


def name_or_none(value: object) -> str | None:
    """A name, which may be a number; `None` if the value is neither."""
    return (
        str(value)
        if isinstance(value, float) or (type(value) is int and abs(value) < _MOST_ID)
        else text_or_none(value)
    )


def id_or_none(value: object) -> str | None:
    """An id that is documented as a text, and may come as a number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if type(value) is int and abs(value) < _MOST_ID else text_or_none(value)


def truth_or_none(value: object) -> bool | None:
    """A truth value, which may come as a text or as 1 or 0; `None` if it is something else."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value[:10].strip().lower())
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def number_or_text(value: object) -> int | str | None:
    """A number, also one that came as text, or else the text."""
    number = as_int(value)
    return text_or_none(value) if number is None else number


def one_of(table: type[Numbered]) -> Kind:
    """A number of a table, which may come as its name."""
    return Kind(table.find, is_number=True)


def words_or_none(value: object) -> str | None:
    """What someone said or wrote: what is not a text stays as JSON."""
    return value if isinstance(value, str) or value is None else dumps(value).decode()


AS_IS = Kind(lambda value: value)
NUMBER = Kind(as_int, is_number=True)
TIME = Kind(milliseconds, is_number=True)
"""A moment: milliseconds, or the unit that its size implies."""
NUMBER_AS_IS = Kind(lambda value: value, is_number=True)
NUMBER_OR_NAME = Kind(number_or_text, is_number=True)
TEXT = Kind(text_or_none)
ID = Kind(id_or_none)
"""An id of the stream, or of what is streamed: documented as a text."""
NAME = Kind(name_or_none)
"""What someone is called: documented as a text."""
FLAG = Kind(lambda value: value if isinstance(value, bool) else None)
WHO = Kind(user_id)
"""The participant it is about: documented as a number, but a text is as good."""


class Shape:
    """The keys of a JSON object, in the order in which they are written."""

    def __init__(
        self,
        *keys: "Key",
        rest: str = "",
        dropped: tuple[str, ...] = (),
        is_open: bool = False,
    ) -> None:
        """Define an object.

        :param rest: the attribute that holds what no other attribute does.
        :param dropped: keys that are left out of the rest.
        :param is_open: whether keys that are not defined here are as good as those that are.
        """
        self.keys = keys
        self.is_open = is_open
        self.by_name = {name: key for key in keys for name in key.names}
        self._rest = rest
        self._not_rest = {"msg_type", *dropped, *(name for key in keys if isinstance(key, Field) for name in key.names)}

    def read(self, given: Mapping[str, object]) -> dict[str, Any]:
        """The attributes that an object holds."""
        found: dict[str, object] = {}
        for key in self.keys:
            key.read(given, found)
        if self._rest:
            found[self._rest] = {
                name: value
                for name, value in given.items()
                if name not in self._not_rest or self._is_left(name, value, found)
            }
        return found

    def _is_left(self, name: str, value: object, found: Mapping[str, object]) -> bool:
        """Whether a value is in no attribute: it can't be read, or another name's was taken and says something else."""
        key = self.by_name.get(name)
        if not isinstance(key, Field) or value is None or value == "":
            return False
        read = key.kind.read(value)
        return read is None or read != found[key.name or key.key]

    def write(self, holder: object) -> dict[str, object]:
        """The object that says what the attributes of `holder` do; `None` is left out."""
        written: dict[str, object] = {}
        for key in self.keys:
            key.write(holder, written)
        if self._rest:
            written |= {name: value for name, value in getattr(holder, self._rest).items() if value is not None}
        return written

    def walk(self, given: Mapping[str, object], path: str = "") -> Iterator["Place"]:
        """Every key of an object and of the objects in it, but for what an open shape does not define."""
        missing = [key for key in self.keys if isinstance(key, Nested) and not isinstance(given.get(key.key), Mapping)]
        is_open = self.is_open or any(key.inside.is_open for key in missing)
        for name, value in given.items():
            key, outside = self.by_name.get(name), ""
            for holder in missing:
                if key is None and name in holder.inside.by_name:
                    key, outside = holder.inside.by_name[name], holder.key
            if key is not None or not is_open:
                yield Place(path + name, name, key, value, outside)
            if key is not None:
                dot = "[]." if isinstance(value, list) else "."
                for inner in value if isinstance(value, list) else (value,):
                    if isinstance(inner, Mapping):
                        yield from key.inside.walk(inner, path + name + dot)


class Key(Struct, frozen=True):
    """A key that is known. On its own it is neither read into an attribute nor written."""

    key: str
    kind: Kind = AS_IS
    name: str = ""
    """The attribute, where its name is not the key's."""
    also: tuple[str, ...] = ()
    """Other documented names. Reading takes the first name with a value that can be read."""
    odd: tuple[str, ...] = ()
    """Other names that are only tolerated."""
    inside: Shape = Shape(is_open=True)
    """What is known of the object that the value is, or of the objects in a list."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, the one that is written first."""
        return (self.key, *self.also, *self.odd)

    def read(self, given: Mapping[str, object], found: dict[str, object]) -> None:
        """Put the attributes that come from this key into `found`."""

    def write(self, holder: object, written: dict[str, object]) -> None:
        """Put into `written` what the attributes of `holder` say."""


class Field(Key, frozen=True):
    """A key with an attribute."""

    empty: Callable[[], object] | None = None
    """Makes the attribute where no value can be read; `None` if that is `None`."""

    def read(self, given: Mapping[str, object], found: dict[str, object]) -> None:
        """See `Key.read`."""
        value = None
        for name in self.names:
            if (value := self.kind.read(given.get(name))) is not None:
                break
        found[self.name or self.key] = self.empty() if value is None and self.empty else value

    def write(self, holder: object, written: dict[str, object]) -> None:
        """See `Key.write`."""
        value = getattr(holder, self.name or self.key)
        if value is not None and self.kind.write is not None:
            value = self.kind.write(value)
        if value is not None:
            written[self.key] = value


class Words(Field, frozen=True):
    """A text that stands under one of several names: an empty one gives way to one that says something."""

    kind: Kind = Kind(words_or_none)

    def read(self, given: Mapping[str, object], found: dict[str, object]) -> None:
        """See `Key.read`."""
        values = [value for name in self.names if (value := self.kind.read(given.get(name))) is not None]
        found[self.name or self.key] = next(filter(None, values), values[0] if values else None)


class Constant(Key, frozen=True):
    """A key that is always written with the same value, and not read."""

    value: object = None

    def write(self, holder: object, written: dict[str, object]) -> None:
        """See `Key.write`."""
        written[self.key] = self.value


class Texts(Key, frozen=True):
    """Several keys whose texts one attribute holds, as a dictionary; `also` lists them."""

    def read(self, given: Mapping[str, object], found: dict[str, object]) -> None:
        """See `Key.read`."""
        values = {name: self.kind.read(given.get(name)) for name in self.names}
        found[self.name] = {name: value for name, value in values.items() if value is not None}

    def write(self, holder: object, written: dict[str, object]) -> None:
        """See `Key.write`."""
        written |= getattr(holder, self.name)


class Nested(Key, frozen=True):
    """An object whose keys have attributes of their own. What is missing in it may stand beside this key."""

    required: bool = True
    """Whether it is written when there is nothing in it."""

    def read(self, given: Mapping[str, object], found: dict[str, object]) -> None:
        """See `Key.read`."""
        found |= self.inside.read(self.gathered(given))

    def gathered(self, given: Mapping[str, object]) -> Mapping[str, object]:
        """The object, with what of it stands beside it."""
        inner = given.get(self.key)
        if not isinstance(inner, Mapping):
            return given
        beside = (self.inside.by_name.keys() & given.keys()) - inner.keys() - {self.key}
        return {**inner, **{name: given[name] for name in beside}} if beside else inner

    def write(self, holder: object, written: dict[str, object]) -> None:
        """See `Key.write`."""
        inner = self.inside.write(holder)
        if inner or self.required:
            written[self.key] = inner


USER_ID = Field("user_id", WHO)
USER = (USER_ID, Field("user_name", NAME))
PERSON = (Key("user_id", WHO), Key("user_name", NAME))
"""The same two in an object whose keys have no attributes."""
WORDS = Words("data", name="text", also=("text",), odd=("content", "message"))
"""What someone said or wrote, wherever it stands."""


class Place(Struct, frozen=True):
    """A key as it stands in a message."""

    path: str
    """From the top: `media_params.audio.codec`, `events[].subscribe`."""
    name: str
    key: Key | None
    """Its definition, if it has one."""
    value: object
    outside: str
    """The object that it belongs in and that is missing, if so."""
