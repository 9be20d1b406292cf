# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Deferral: imports that a package makes at once and that wait here until somebody needs them.

How fast a replica starts is how fast it helps, and most of what importing KServe costs is for work that a
server never does: a Kubernetes client, data frames, a command line for HTTP. Nothing installed is changed and
nothing is taken away: whatever was put off is imported in full when it is first used.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


@contextmanager
def deferring(package: str, *modules: str) -> Iterator[None]:
    """Within the block, import a package's submodules without the package's own code, and modules not at all.

    What asks for one of the modules gets a stand-in, which imports the module when an attribute is asked for
    after the block. ``sys.modules`` does not keep the stand-ins, so whoever imports such a module later gets
    the module itself. The package's own code, its ``__init__``, runs when an attribute of the package is
    asked for after the block; the submodules that the block imported stay as they are.

    What is imported already is left alone. Blocks do not nest, and other threads should not import meanwhile.

    Args:
        package: The name of a package.
        modules: Names of modules, or of packages as a whole. Within the block, names taken from them may be
            written in annotations and kept to be called, no more.
    """
    finder = _Finder(package, [name for name in modules if name not in sys.modules])
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        finder.end()


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Within the block, let importing these modules fail as if they were not installed.

    For a module that is optional to who imports it. One that is imported already is left alone.
    """
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is what stops an import
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


class _Finder(MetaPathFinder, Loader):
    """Finds the named modules before Python does, and makes what stands for them."""

    def __init__(self, package: str, modules: Sequence[str]) -> None:
        self._package = package
        self._modules = modules
        self._made: list[_Package | _StandIn] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self._modules:
            return ModuleSpec(fullname, self)
        if fullname != self._package:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None:
            return None
        shell = ModuleSpec(fullname, self, origin=spec.origin, is_package=True)
        shell.submodule_search_locations = spec.submodule_search_locations
        shell.loader_state = spec
        return shell

    def create_module(self, spec: ModuleSpec) -> "_Package | _StandIn":
        kind = _Package if spec.name == self._package else _StandIn
        self._made.append(kind(spec.name))
        return self._made[-1]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: that is what is put off."""

    def end(self) -> None:
        """From now on, what was made does what it stands for."""
        for module in self._made:
            module.end()


class _StandIn(ModuleType):
    """What importers hold in place of a module that is not imported yet."""

    def end(self) -> None:
        self.__dict__["_ended"] = True
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and "_ended" not in self.__dict__:
            raise AttributeError(name)  # the import system looks for more than there needs to be
        if "_ended" not in self.__dict__:
            return _Later(self.__name__, name)
        return getattr(import_module(self.__name__), name)


class _Later:
    """A name taken from a stand-in within the block: a word in annotations, or a function to call."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return getattr(import_module(self._module), self._name)(*arguments, **keywords)

    def __repr__(self) -> str:
        return f"{self._module}.{self._name}"


class _Package(ModuleType):
    """A package whose submodules can be imported, and whose own code has not run yet."""

    def end(self) -> None:
        # The package's own code may give other things these names: they wait for it too.
        submodules = {
            name: value
            for name, value in self.__dict__.items()
            if isinstance(value, ModuleType) and sys.modules.get(f"{self.__name__}.{name}") is value
        }
        for name in submodules:
            del self.__dict__[name]
        self.__dict__["__deferred__"] = (submodules, threading.RLock())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "__deferred__" not in self.__dict__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        submodules, lock = self.__dict__["__deferred__"]
        with lock:
            # Another thread may have come first; and the code itself may ask for what it has not made yet.
            if type(self) is _Package:
                assert self.__spec__ is not None
                spec = self.__spec__.loader_state
                self.__class__ = ModuleType  # type: ignore[assignment]  # its layout is the same
                self.__spec__ = spec
                self.__loader__ = spec.loader
                self.__dict__.update(submodules)
                spec.loader.exec_module(self)
        return getattr(self, name)
