# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Lazy imports: modules that another package imports at its top, and that a server needs late or never.

A replica helps only once it has started, and most of the cost of importing KServe is for work that a server
does not do: a Kubernetes client, data frames, a command line for HTTP. Each context manager here postpones
such imports of the code in its block. The installed packages stay unchanged, modules that are imported
already stay too, and after the block every import is complete again. Other threads should not import during
a block.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any


@contextmanager
def without_init(package: str) -> Iterator[None]:
    """Import submodules of a package without running the package's ``__init__``.

    The package stays in ``sys.modules``, empty except for its ``__path__``. The first use of an attribute
    after the block runs the ``__init__`` in it. The submodules stay the same objects.
    """
    if package in sys.modules or (spec := find_spec(package)) is None or spec.loader is None:
        yield
        return
    module, loader, lock = module_from_spec(spec), spec.loader, RLock()
    sys.modules[package] = module
    try:
        yield
    finally:
        # The __init__ may use a submodule's name for another object, so these names must run it as well.
        submodules = {name: value for name, value in vars(module).items() if isinstance(value, ModuleType)}
        for name in submodules:
            delattr(module, name)
        pending = [submodules]

        def run_init(name: str) -> Any:
            if not name.startswith("__"):  # the import system and debuggers look for optional names
                with lock:
                    if pending:
                        vars(module).update(pending.pop())
                        loader.exec_module(module)
                if name in vars(module):
                    return vars(module)[name]
            raise AttributeError(f"module '{package}' has no attribute '{name}'")

        vars(module)["__getattr__"] = run_init  # from PEP 562


@contextmanager
def postponed(*modules: str) -> Iterator[None]:
    """Replace modules by stand-ins, each of which imports its module when it is used after the block.

    Within the block, an attribute of a stand-in can be an annotation, or a function to call later.
    """
    stand_ins = {
        name: module_from_spec(ModuleSpec(name, None)) for name in modules if name not in sys.modules
    }
    for name, stand_in in stand_ins.items():
        vars(stand_in)["__getattr__"] = partial(_later, name)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            del sys.modules[name]
            vars(stand_in)["__getattr__"] = partial(_attribute, name)


def _attribute(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _later(module: str, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *arguments, **keywords: _attribute(module, name)(*arguments, **keywords)


@contextmanager
def hidden(*modules: str) -> Iterator[None]:
    """Make the import of optional modules fail, as if they were not installed."""
    names = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
