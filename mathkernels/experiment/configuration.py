"""Trees of dataclasses from YAML files and dotted overrides; whatever does not fit is named by its key.

    @dataclass(frozen=True)
    class Train:
        epochs: int = 200
        seeds: tuple[int, ...] = (1,)

    @dataclass(frozen=True)
    class Config:
        train: Train = Train()

    config = configuration.load(Config, Path("a.yaml"), ["train.epochs=5", "train.seeds=[1, 2]"])

Fields may be int, float, bool, str, Path, Literal, X | None, tuple[X, ...], tuple[X, Y], dict[str, X] and
further dataclasses. What else values must satisfy the dataclasses check themselves, in ``__post_init__``.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mathkernels.data import ranges
from mathkernels.experiment.optional import load as library
from mathkernels.experiment.run_folder import replacing

T = TypeVar("T")

_NEEDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
}


class ConfigurationError(ValueError):
    """A configuration that cannot be read; the message names the file or option and the key."""


def load(kind: type[T], path: Path | None = None, overrides: Sequence[str] = ()) -> T:
    """Return a configuration: the defaults, over them a file, over that the overrides.

    Args:
        kind: a dataclass, whose fields may be dataclasses.
        path: a YAML file, or None for the defaults alone.
        overrides: texts such as "train.epochs=5"; the value is read as YAML.

    Raises:
        ConfigurationError: a file is missing or no YAML, a key unknown or missing, a value does not fit.
    """
    content = {} if path is None else read(path)
    source = "configuration" if path is None else str(path)
    build(kind, content, source)  # so that what is wrong in the file is not blamed on an override
    for text in overrides:
        content = override(content, text)
    return build(kind, content, source if not overrides else f"{source} with {_short(' '.join(overrides))}")


def read(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file, {} if it is empty.

    Raises:
        ConfigurationError: it is missing, no YAML, has a key twice, or holds something other than keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: it is no UTF-8, or the path holds NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"configuration: {str(path)!r} cannot be read ({reason})") from error
    content = parse(text, f"'{path}'")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"configuration: '{path}' holds {_shown(content)}, needs keys with values")
    return content


def override(content: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a copy of a configuration's content with one value replaced, such as "train.epochs=5"."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigurationError(
            f"override: got {_short(repr(text))}, needs KEY=VALUE such as train.epochs=5"
        )
    return _replaced(content, parts, parse(value, f"override {_short(repr(text))}"), text)


def quoted(text: str) -> str:
    """Return a text as YAML that is read as this text, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def _replaced(content: Mapping[str, Any], parts: Sequence[str], value: Any, text: str) -> dict[str, Any]:
    first, *rest = parts
    if not rest:
        return {**content, first: value}
    inner = content.get(first)
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigurationError(
            f"override: got {_short(repr(text))}, but {first} is {_shown(inner)} and has no keys"
        )
    return {**content, first: _replaced(inner or {}, rest, value, text)}


def parse(text: str, where: str) -> Any:
    """Return the values of a YAML text; messages call it ``where``."""
    yaml = library("yaml")

    class Loader(yaml.SafeLoader):
        """PyYAML takes the last of equal keys silently; here they are refused."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    line = node.start_mark.line + 1
                    raise ConfigurationError(
                        f"configuration: {where} has the key {key!r} twice, below line {line}"
                    )
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f" in line {mark.line + 1}"
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise ConfigurationError(f"configuration: {where} is not valid YAML{line}: {problem}") from error
    except RecursionError as error:
        raise ConfigurationError(f"configuration: {where} is nested too deeply") from error
    except ConfigurationError:
        raise
    except ValueError as error:  # a number of thousands of digits, or a date that does not exist
        raise ConfigurationError(f"configuration: {where} holds a value that cannot be: {error}") from error


def build(kind: type[T], content: Mapping[str, Any], source: str = "configuration") -> T:
    """Return the dataclass filled with the content.

    Args:
        kind: a dataclass.
        content: by field names; a field that is a dataclass takes a mapping again. Lacking fields keep their
            defaults.
        source: what a message calls the content.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value does not fit its field.
    """
    return _build(kind, content, source, "")


def _build(kind: Any, content: Any, source: str, at: str) -> Any:
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{source}: {at}: got {_shown(content)}, needs keys with values")
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    hints = typing.get_type_hints(kind)
    prefix = f"{at}." if at else ""
    for key in content:
        if key not in fields:
            raise ConfigurationError(
                f"{source}: unknown key {prefix}{key}; {_nearest(str(key), fields, prefix)}"
            )
    for name, field in fields.items():
        default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if not default and name not in content:
            raise ConfigurationError(f"{source}: the key {prefix}{name} is missing")
    values = {name: _value(hints[name], value, source, f"{prefix}{name}") for name, value in content.items()}
    try:
        return kind(**values)
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"{source}: {prefix}{error}") from error


def _nearest(key: str, fields: Mapping[str, Any], prefix: str) -> str:
    if close := difflib.get_close_matches(key, fields, n=1, cutoff=0.5):
        return f"did you mean {prefix}{close[0]}?"
    return f"known are {', '.join(fields)}"


def _value(hint: Any, value: Any, source: str, at: str) -> Any:
    """Return a value as its field holds it, or raise for one that does not fit the type hint."""
    if dataclasses.is_dataclass(hint):
        # an empty section of a YAML file reads as null
        return _build(hint, {} if value is None else value, source, at)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        if len(kinds) == len(inner):
            return _value(kinds[0], value, source, at)
        try:
            return None if value is None else _value(kinds[0], value, source, at)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error} or null") from None
    if origin is typing.Literal:
        if value in inner and type(value) in {type(one) for one in inner}:
            return value
        raise ConfigurationError(f"{source}: {at}: got {_shown(value)}, needs one of {_listed(inner)}")
    if origin is tuple:
        return _tuple(inner, value, source, at)
    if origin is dict:
        if isinstance(value, Mapping):
            return {key: _value(inner[1], one, source, f"{at}.{key}") for key, one in value.items()}
        raise ConfigurationError(f"{source}: {at}: got {_shown(value)}, needs keys with values")
    return _plain(hint, value, source, at)


def _tuple(inner: tuple[Any, ...], value: Any, source: str, at: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError(f"{source}: {at}: got {_shown(value)}, needs a list such as [1, 2]")
    if inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(inner) != len(value):
        raise ConfigurationError(f"{source}: {at}: got {len(value)} values, needs {len(inner)}")
    pairs = enumerate(zip(inner, value, strict=True))
    return tuple(_value(kind, one, source, f"{at}[{index}]") for index, (kind, one) in pairs)


def _plain(hint: Any, value: Any, source: str, at: str) -> Any:
    if type(value) is hint:
        return value
    if hint is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:  # 10**400
            needs = f"{_NEEDS[hint]} of at most {sys.float_info.max:.2g}"
            raise ConfigurationError(f"{source}: {at}: got {_shown(value)}, needs {needs}") from None
    if hint is float and isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-7 as a text
        except ValueError:
            pass
    if hint is Path and isinstance(value, (str, Path)) and str(value).strip():
        return Path(value)
    raise ConfigurationError(f"{source}: {at}: got {_shown(value)}, needs {_NEEDS[hint]}")


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:150]}..."


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {bool: "a truth value", str: "a text", int: "a whole number", float: "a number", list: "a list"}
    what = names.get(type(value), "keys with values" if isinstance(value, Mapping) else type(value).__name__)
    return f"{ranges.shown(value)} ({what})"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)


def plain(config: Any) -> dict[str, Any]:
    """Return a configuration as values of JSON and YAML."""
    return {field.name: _plain_value(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return plain(value)
    if isinstance(value, (list, tuple)):
        return [_plain_value(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain_value(one) for key, one in value.items()}
    return str(value) if isinstance(value, Path) else value


def text(config: Any) -> str:
    """Return a configuration as YAML, every field included; ``load`` reads it back to an equal one."""
    dumped: str = library("yaml").safe_dump(plain(config), sort_keys=False, allow_unicode=True, width=100)
    return dumped


def save(config: Any, path: Path) -> None:
    """Write a configuration as YAML; the file is whole or absent."""
    with replacing(path) as temporary:
        temporary.write_text(text(config), encoding="utf-8")
