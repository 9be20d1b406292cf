# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Crafted bundles and stores: files that were altered, links, paths, another model, and compiled models."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import onnx

from tests.attacks.attack import Attack, Targets, start, write
from tests.support.trained_bundles import altered
from tidegate.bundle import MANIFEST, ONNX, SKOPS, verify
from tidegate.digest import canonical_json
from tidegate.store import Store, fetch
from tidegate_serving.config import EngineChoice

Change = Callable[[Path], object]


def _altered(change: Change) -> Attack:
    """Return the attack on the files of a bundle whose digest the deployment names."""

    def attack(targets: Targets, folder: Path) -> None:
        path = Path(shutil.copytree(targets.fallback.path, folder / "bundle"))
        change(path)
        start(path, targets.fallback.digest)

    return attack


def _described(change: Callable[[dict[str, Any]], object]) -> Attack:
    """Return the attack on a manifest, in a directory without an expected digest."""

    def attack(targets: Targets, folder: Path) -> None:
        path = Path(shutil.copytree(targets.fallback.path, folder / "bundle"))
        manifest = json.loads((path / MANIFEST).read_bytes())
        change(manifest)
        write(path / MANIFEST, canonical_json(manifest))
        start(path)

    return attack


def _named(name: str) -> Attack:
    """Return the attack with a file name that leaves the bundle or hides in it."""
    return _described(lambda manifest: manifest["files"].update({name: manifest["files"][SKOPS]}))


def _compiled(change: Callable[[onnx.ModelProto], object]) -> Attack:
    """Return the attack with an altered compiled model, sealed again so that its digest is valid."""

    def attack(targets: Targets, folder: Path) -> None:
        model = onnx.load_from_string(targets.compiled.read(ONNX))
        change(model)
        content = model.SerializeToString()
        bundle = altered(targets.compiled, folder / "bundle", lambda path: write(path / ONNX, content))
        start(bundle.path, bundle.digest, EngineChoice.ONNX)

    return attack


def _flip(path: Path) -> None:
    content = bytearray((path / SKOPS).read_bytes())
    content[len(content) // 2] ^= 1
    write(path / SKOPS, bytes(content))


def _link(path: Path) -> None:
    outside = path.parent / "outside"
    shutil.move(path / SKOPS, outside)
    (path / SKOPS).symlink_to(outside)


def _linked_folder(path: Path) -> None:
    shutil.move(path / "plots", path.parent / "plots")
    (path / "plots").symlink_to(path.parent / "plots")


def _pipe(path: Path) -> None:
    (path / SKOPS).unlink()
    os.mkfifo(path / SKOPS)


def _after_the_check(targets: Targets, folder: Path) -> None:
    """Alter the archive between the verification of all files and the read of this one."""
    path = Path(shutil.copytree(targets.fallback.path, folder / "bundle"))
    bundle = verify(path, targets.fallback.digest)
    _flip(path)
    bundle.read(SKOPS)


def _between_pull_and_load(targets: Targets, folder: Path) -> None:
    reference = Store(str(folder / "store")).push(targets.fallback)
    pulled = fetch(str(reference), folder / "cache")
    _flip(pulled.path)
    start(pulled.path, reference.digest)


def _in_the_store(targets: Targets, folder: Path) -> None:
    reference = Store(str(folder / "store")).push(targets.fallback)
    _flip(folder / "store" / reference.name / reference.digest)
    fetch(str(reference), folder / "cache")


def _of_another_model(targets: Targets, folder: Path) -> None:
    """Point a model's channel to a bundle of another model, which is copied under the name."""
    store, names = folder / "store", (targets.fallback.manifest.name, targets.compiled.manifest.name)
    for bundle in (targets.fallback, targets.compiled):
        Store(str(store)).push(bundle)
    digest = targets.compiled.digest
    shutil.copytree(store / names[1] / digest, store / names[0] / digest)
    fetch(str(Store(str(store)).move_channel(names[0], "stable", digest)), folder / "cache")


def _older_than_deployed(targets: Targets, folder: Path) -> None:
    """Point a channel back to an older bundle, where the deployment names the newer digest."""
    store = Store(str(folder / "store"))
    newer, older = targets.fallback, targets.pickled
    for bundle in (older, newer, older):
        store.push(bundle)
        channel = store.move_channel(bundle.manifest.name, "stable", bundle.digest)
    start(fetch(str(channel), folder / "cache").path, newer.digest)


def _pickle_of_no_digest(targets: Targets, folder: Path) -> None:
    start(targets.pickled.path, targets.pickled.digest)


def _external(location: str) -> Callable[[onnx.ModelProto], None]:
    """Return the change that reads a tensor from a file."""

    def change(model: onnx.ModelProto) -> None:
        tensor = onnx.TensorProto(name="outside", data_type=onnx.TensorProto.FLOAT, dims=[4])
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        model.graph.initializer.append(tensor)
        _returned(model, onnx.helper.make_node("Identity", ["outside"], ["bomb"]))

    return change


def _in_the_working_directory(targets: Targets, folder: Path) -> None:
    write(folder / "secret", bytes(16))
    with chdir(folder):
        _compiled(_external("secret"))(targets, folder)


def _huge(model: onnx.ModelProto) -> None:
    """Compute a tensor of four petabytes, from a shape of 16 bytes."""
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [1 << 25, 1 << 25])
    model.graph.initializer.append(shape)
    _returned(model, onnx.helper.make_node("ConstantOfShape", ["shape"], ["bomb"]))


def _unknown_code(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="attacker", version=1)
    _returned(model, onnx.helper.make_node("RunCommand", [], ["bomb"], domain="attacker"))


def _returned(model: onnx.ModelProto, node: onnx.NodeProto) -> None:
    model.graph.node.append(node)
    model.graph.output.append(onnx.helper.make_tensor_value_info("bomb", onnx.TensorProto.FLOAT, None))


def _claimed_equal(targets: Targets, folder: Path) -> None:
    """Claim in the parity report that a compiled model is equal, and compute the opposite."""
    model = onnx.load_from_string(targets.compiled.read(ONNX))
    for tensor in model.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            attribute.floats[:] = [-value for value in attribute.floats]
    bundle = altered(
        targets.compiled, folder / "bundle", lambda path: write(path / ONNX, model.SerializeToString())
    )
    start(bundle.path, bundle.digest)


def _oversized_manifest(path: Path) -> None:
    write(path / MANIFEST, (path / MANIFEST).read_bytes() + b" " * (1 << 21))


ATTACKS: Mapping[str, Attack] = {
    "file: altered": _altered(_flip),
    "file: missing": _altered(lambda path: (path / "parity.json").unlink()),
    "file: unlisted code": _altered(lambda path: write(path / "sitecustomize.py", b"raise SystemExit")),
    "file: unlisted policy": _altered(
        lambda path: write(path / "policy.yaml", b"trusted_types: [os.system]")
    ),
    "file: link in place of a file": _altered(_link),
    "file: link in place of a folder": _altered(_linked_folder),
    "file: pipe in place of a file": _altered(_pipe),
    "file: altered between pull and load": _between_pull_and_load,
    "file: altered between verification and read": _after_the_check,
    "file: altered in the store": _in_the_store,
    "manifest: altered": _altered(lambda path: write(path / MANIFEST, b"{}")),
    "manifest: larger than a manifest": _altered(_oversized_manifest),
    "manifest: policy inside the artifact": _described(
        lambda manifest: manifest.update(trusted_types=["os.system"])
    ),
    "manifest: unknown format": _described(lambda manifest: manifest.update(format_version=2)),
    **{
        f"path: {name}": _named(name)
        for name in ("../escape", "/etc/passwd", "a/../../b", "x\\y", ".hidden", "a/b/c", "manifest.json")
    },
    "pickle: of a digest that is not allowed": _pickle_of_no_digest,
    "channel: bundle of another model": _of_another_model,
    "channel: older bundle than deployed": _older_than_deployed,
    "compiled: reads a file outside of the bundle": _compiled(_external("../../etc/passwd")),
    "compiled: reads a file of the working directory": _in_the_working_directory,
    "compiled: allocates petabytes": _compiled(_huge),
    "compiled: unknown operator": _compiled(_unknown_code),
    "compiled: claimed equal": _claimed_equal,
}
