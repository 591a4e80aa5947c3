"""What leaves `bacnet/`, how long modules are, and what becomes of exceptions."""

import ast
import inspect
import tomllib
import typing
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

import bms_iot.bacnet
from bms_iot.bacnet import BacnetNetwork, Counters, counters, identifiers
from bms_iot.bacnet.network import holders
from bms_iot.domain.readings import ReadingError
from tests.integration.bacnet_responder import Objects, Responder, analog
from tests.integration.ill_manners import network
from tests.odd_values import OPTIONALS, PRESENT_VALUES

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "bms_iot"
MAX_LINES = 400

PUBLIC = frozenset({"counters", "edge", "identifiers", "network.holders", "values.names", "values.text"})
"""The modules of `bacnet/` that others may import: their functions give texts and the domain's values."""

THEIR_OWN = (BacnetNetwork, Counters)


def test_the_contract_protects_every_module_but_the_public_ones() -> None:
    with (ROOT / "pyproject.toml").open("rb") as opened:
        contracts = tomllib.load(opened)["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each["type"] == "protected"]
    assert contract["protected_modules"] == ["bms_iot.bacnet.**"]
    assert {each.partition("bms_iot.bacnet.")[2] for each in contract["ignore_imports"]} == PUBLIC


def wire_types(hint: object, seen: set[object]) -> Iterator[type]:
    """The classes of `bacnet/` that a type is made of, members of dataclasses and named tuples included."""
    if isinstance(hint, list):  # the parameters of a Callable
        for each in hint:
            yield from wire_types(each, seen)
        return
    if hint in seen:
        return
    seen.add(hint)
    for argument in get_args(hint):
        yield from wire_types(argument, seen)
    origin = get_origin(hint)
    if origin is not None and not isinstance(hint, UnionType):
        hint = origin
    if not isinstance(hint, type):
        return
    if hint.__module__.startswith("bms_iot.bacnet") and not issubclass(hint, THEIR_OWN):
        yield hint
    if hint.__module__.startswith("bms_iot."):
        for member in get_type_hints(hint).values():
            yield from wire_types(member, seen)


def signatures(owner: type | ModuleType) -> Iterator[tuple[str, dict[str, Any]]]:
    """The public functions, methods and properties of a class or module with their types."""
    for name, member in vars(owner).items():
        if name.startswith("_") and name != "__init__":
            continue
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and (isinstance(owner, type) or function.__module__ == owner.__name__):
            yield f"{owner.__name__}.{name}", get_type_hints(function, vars(inspect.getmodule(function)))


@pytest.mark.parametrize("owner", [BacnetNetwork, Counters, counters, holders, identifiers])
def test_the_types_of_the_public_edge_are_not_those_of_the_wire(owner: type | ModuleType) -> None:
    leaving = {
        name: [each.__qualname__ for hint in hints.values() for each in wire_types(hint, set())]
        for name, hints in signatures(owner)
    }
    assert {name: found for name, found in leaving.items() if found} == {}


def test_the_package_offers_its_edge_and_nothing_else() -> None:
    assert set(bms_iot.bacnet.__all__) == {"BacnetNetwork", "Counters"}
    public = typing.cast(dict[str, object], vars(bms_iot.bacnet))
    classes = {name for name, member in public.items() if inspect.isclass(member)}
    assert classes == {"BacnetNetwork", "Counters"}


PLAIN = (type(None), bool, int, float, str, datetime)


def strangers(value: object) -> Iterator[type]:
    """The types in what the edge returned that are neither plain nor the domain's; a subclass of a plain type is a stranger."""
    if type(value) in PLAIN:
        return
    if type(value) in (list, tuple, dict):
        members = value.items() if isinstance(value, dict) else value
        for member in members:  # type: ignore[attr-defined]
            yield from strangers(member)
    elif type(value).__module__.startswith("bms_iot.domain"):
        for name in getattr(value, "__dataclass_fields__", getattr(value, "_fields", ())):
            yield from strangers(getattr(value, name))
    else:
        yield type(value)


async def test_what_the_edge_returns_is_made_of_plain_values_whatever_a_device_sends() -> None:
    objects: Objects = {(2, n): {**analog(1.5), 85: case.octets} for n, case in enumerate(PRESENT_VALUES, start=1)}
    objects |= {(case.type.number, 1000 + n): {**analog(1.5), case.number: case.octets} for n, case in enumerate(OPTIONALS)}
    async with Responder(objects) as device, network() as ours:
        points = device.points()
        returned = [
            list(await ours.read_points(device.device, points)),
            list(await ours.read_points(device.device, points, optional=True)),
            await ours.read_object_list(device.device),
            await ours.describe_objects(device.device, [point.object for point in points]),
            await ours.who_is(address=device.device.address, wait_seconds=0.2),
        ]
    assert {each.__qualname__ for each in strangers(returned)} == set()
    assert {type(reading.error) for reading in returned[0]} <= {ReadingError, type(None)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("room", sorted(path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"))
def test_no_module_is_longer_than_four_hundred_lines(room: str) -> None:
    lengths = {
        str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (SOURCE / room).rglob("*.py")
        if "versions" not in path.parts  # revisions are frozen
    }
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def catches_everything(handler: ast.ExceptHandler) -> bool:
    caught = [] if handler.type is None else [node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)]
    return handler.type is None or bool({"Exception", "BaseException"} & set(caught))


def says_so(handler: ast.ExceptHandler) -> bool:
    """Whether a handler raises, or hands the exception on: its name is used, or it is logged with its traceback."""
    for node in ast.walk(ast.Module(body=handler.body, type_ignores=[])):
        if isinstance(node, ast.Raise) or (handler.name is not None and isinstance(node, ast.Name) and node.id == handler.name):
            return True
        if isinstance(node, ast.Attribute) and node.attr == "exception":
            return True
    return False


def test_nothing_swallows_every_exception() -> None:
    swallowing = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler) and catches_everything(node) and not says_so(node):
                swallowing.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "suppress":
                names = {each.id for each in node.args if isinstance(each, ast.Name)}
                if names & {"Exception", "BaseException"}:
                    swallowing.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert swallowing == []


def test_bacnet_catches_no_exception_it_does_not_name() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in (SOURCE / "bacnet").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and catches_everything(node)
        and not any(isinstance(each, ast.Raise) and each.exc is None for each in node.body)
    ]
    assert found == []
