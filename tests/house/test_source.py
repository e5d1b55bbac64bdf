"""Rules of the code that neither the linter nor the type checker knows, each with what it prevents."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from tests.house.source import ROOT, called, dotted, files, modules, where

# Four hundred is the aim; here is where a file must be split before anything else is added to it.
MOST_LINES = 520
MOST_STATEMENTS = 30

UNSAFE = {"eval", "exec", "os.system", "os.popen", "yaml.load", "marshal.loads", "subprocess.getoutput"}
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill"}
ENDINGS = {"commit", "rollback", "begin", "close", "change"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_an_error_that_is_made_is_raised():
    """An error that is made and dropped lets the request go on: a check that passes everybody."""
    errors = set(_errors())

    dropped = [
        where(path, node)
        for path, tree in modules("src")
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and called(node.value) in errors
    ]

    assert not dropped, "made, and not raised"


def test_who_is_given_a_transaction_does_not_end_it():
    """Half of a turn would be kept when what follows it fails."""
    ended = [
        where(path, call)
        for path, tree in modules("src")
        for function in ast.walk(tree)
        if isinstance(function, Function)
        for given in _transactions(function)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and called(call) in ENDINGS and _owner(call) == given
    ]

    assert not ended, "ends a transaction that its caller opened"


def test_nothing_runs_what_it_was_given():
    """Bytes of a client or of a database are never code: no pickle, no eval, no shell."""
    unsafe = [
        where(path, node)
        for path, tree in modules("src")
        for node in ast.walk(tree)
        if (isinstance(node, ast.Call) and (dotted(node.func) in UNSAFE or _in_a_shell(node)))
        or (isinstance(node, ast.Import | ast.ImportFrom) and UNSAFE_MODULES & set(_imported(node)))
    ]

    assert not unsafe, "runs code that it is given"


def test_no_file_is_a_room_too_large_to_know():
    """A file past the budget holds two nouns: split it by noun, not by length."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files()
        if path.suffix == ".py" and (lines := len(path.read_text().splitlines())) > MOST_LINES
    }

    assert not long, f"more than {MOST_LINES} lines"


def test_no_function_is_too_long_to_hold_in_mind():
    """Declarations inside a function count with it, which the linter's own count leaves out."""
    long = {
        f"{where(path, node)} {node.name}": count
        for path, tree in modules("src")
        for node in ast.walk(tree)
        if isinstance(node, Function) and (count := _statements(node)) > MOST_STATEMENTS
    }

    assert not long, f"more than {MOST_STATEMENTS} statements"


def test_what_is_caught_broadly_is_raised_again_or_says_why_not():
    """An error that is swallowed is a fault that nobody will find."""
    swallowed = [
        where(path, handler.body[0])
        for path, tree in modules("src")
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or dotted(handler.type) in {"Exception", "BaseException"})
        and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
        and "#" not in "".join(path.read_text().splitlines()[handler.lineno - 2 : handler.body[0].lineno])
    ]

    assert not swallowed, "catches everything, raises nothing, and does not say why"


def _errors() -> Iterator[str]:
    """Name every class of error: Python's, and the ones that derive from one, wherever they stand."""
    known = {
        name for name, it in vars(builtins).items() if isinstance(it, type) and issubclass(it, BaseException)
    }
    classes = [
        node for _, tree in modules("src") for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    grown = True
    while grown:
        more = {
            node.name for node in classes if {dotted(base).rpartition(".")[2] for base in node.bases} & known
        }
        grown = not more <= known
        known |= more
    yield from known


def _transactions(function: Function) -> Iterator[str]:
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        note = argument.annotation
        if argument.arg == "tx" or (note is not None and dotted(note) == "Tx"):
            yield argument.arg


def _owner(call: ast.Call) -> str:
    return dotted(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def _in_a_shell(call: ast.Call) -> bool:
    return dotted(call.func) == "asyncio.create_subprocess_shell" or any(
        word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
        for word in call.keywords
    )


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        yield (node.module or "").partition(".")[0]
    else:
        yield from (name.name.partition(".")[0] for name in node.names)


def _statements(function: Function) -> int:
    inside = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
    return inside - (ast.get_docstring(function) is not None)
