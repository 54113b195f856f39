"""Every way a start can end: one class, one code, and its parts."""

from __future__ import annotations

import pytest

from entrypoint import errors
from entrypoint.cli import main
from entrypoint.errors import EntrypointError, ExecError, SettingsError, Terminated


def subclasses(of: type[EntrypointError]) -> list[type[EntrypointError]]:
    return [found for each in of.__subclasses__() for found in [each, *subclasses(each)]]


ALL = subclasses(EntrypointError)

CLASSES = [each for each in ALL if each.__module__ == errors.__name__]
"""Modules that others have loaded may have kinds of these of their own."""


def test_all_are_found() -> None:
    """Every exception of the module is one of them, their root, or Terminated."""
    defined = [value for value in vars(errors).values() if isinstance(value, type)]
    assert set(defined) == {*CLASSES, EntrypointError, Terminated}
    assert [each for each in ALL if each not in CLASSES and "exit_code" in vars(each)] == []


def test_codes_are_distinct() -> None:
    """No two classes end with the same code, and none with success or a crash."""
    codes = {cls.__name__: cls.exit_code for cls in CLASSES if cls is not ExecError}
    assert len(set(codes.values())) == len(codes)
    assert not {0, main.BUG, 126, 127} & set(codes.values())
    assert all(0 < code < 126 for code in codes.values())


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls not in (ExecError, SettingsError)])
def test_error_carries_its_parts(cls: type[EntrypointError]) -> None:
    """Message, remedy and fields are kept apart, and the text is the message."""
    error = cls("it broke", remedy="Mend it.", attempt=3)
    assert (str(error), error.message, error.remedy) == ("it broke", "it broke", "Mend it.")
    assert error.fields == {"attempt": 3}
    assert (error.step, error.elapsed_s) == ("entrypoint", None)


def test_settings_error_with_one_problem() -> None:
    """One problem is the message itself."""
    error = SettingsError(["A is wrong"], remedy="Correct A.")
    assert (str(error), error.problems, error.fields) == ("A is wrong", ["A is wrong"], {})


def test_settings_error_with_many_problems() -> None:
    """Several are counted in the message and listed in a field."""
    error = SettingsError(["A is wrong", "B is missing"], remedy="Correct them.", file="x")
    assert str(error) == "2 settings are missing or wrong"
    assert error.fields == {"problems": ["A is wrong", "B is missing"], "file": "x"}


def test_exec_error_has_its_own_code() -> None:
    """126 or 127, as whoever raises it says."""
    codes = [ExecError("x", code=code, remedy="y").exit_code for code in (126, 127)]
    assert codes == [126, 127]


def test_terminated() -> None:
    """128+n, and no Exception, so that no retry loop swallows it."""
    assert [Terminated(signum).exit_code for signum in (1, 2, 3, 15)] == [129, 130, 131, 143]
    assert not issubclass(Terminated, Exception)
