# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Build container images with buildah, in a storage of its own and without an image registry.

The Dockerfile's base image cannot be pulled, so a substitute made by debootstrap is committed under its name:
Debian with Python, venv, pip and the machine's certificates. So pip inside the build trusts the same
certificates as pip on the machine. The Dockerfile itself is built unchanged. Images are exported to archive
files only.
"""

import hashlib
import shutil
import ssl
from collections.abc import Sequence
from pathlib import Path

from . import cache
from .command import Runner
from .errors import ClusterError
from .layout import Layout
from .progress import Progress

BASE_IMAGE = "docker.io/library/python:3.11-slim-bookworm"
_SUITE = "bookworm"
_INCLUDED = ("ca-certificates", "python3", "python3-pip", "python3-venv")
_KEY_LABEL = "tidegate.stand-in"


class ImageBuilder:
    """Builder of one user's images.

    Args:
        layout: The paths of storage and archives.
        runner: Runs buildah.
        progress: Reports each build.
    """

    def __init__(self, layout: Layout, runner: Runner, progress: Progress) -> None:
        self._layout = layout
        self._runner = runner
        self._progress = progress

    def build(
        self,
        dockerfile: Path,
        context: Path,
        name: str,
        *,
        target: str | None = None,
        arguments: Sequence[str] = (),
    ) -> str:
        """Build a Dockerfile's target under a name; unchanged layers come from the last build.

        Args:
            dockerfile: The file to build, unchanged.
            context: The folder that COPY reads from.
            name: The image's full name with a tag.
            target: The stage to stop at; the last one by default.
            arguments: Build arguments as KEY=VALUE.

        Returns:
            The image's id.
        """
        self.ensure_base()
        with cache.building(self._layout, self._progress), self._progress.step(f"build image {name}"):
            self._bud(dockerfile, context, name, target=target, arguments=arguments, layers=True)
            # Within the lock, because the next holder stops all programs of builds.
            return self.image_id(name)

    def build_archive(self, dockerfile: Path, context: Path, name: str, archive: Path) -> None:
        """Build an image into an archive, and remove it from the storage.

        Args:
            dockerfile: The file to build.
            context: The folder that COPY reads from.
            name: The image's full name with a tag.
            archive: The archive to write.
        """
        self._bud(dockerfile, context, name, target=None, arguments=(), layers=False)
        self.export(name, archive)
        self._buildah("rmi", name)

    def export(self, name: str, archive: Path) -> None:
        """Write an image to an OCI archive, uncompressed because the archive stays on this machine."""
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_name(f"{archive.name}.partial")
        partial.unlink(missing_ok=True)
        self._buildah("push", "--quiet", "--disable-compression", name, f"oci-archive:{partial}:{name}")
        partial.replace(archive)

    def image_id(self, name: str) -> str:
        """Return an image's id.

        Raises:
            ClusterError: If the storage has no image of this name.
        """
        try:
            return self._buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", name).strip()
        except ClusterError as error:
            reason = str(error).splitlines()[-1]
            raise ClusterError(f"No image {name} in {self._layout.storage}: {reason}") from error

    def ensure_base(self) -> None:
        """Create the base image's substitute, unless the storage has one with the same inputs."""
        certificates = _machine_certificates()
        key = base_key(certificates.read_bytes())
        with cache.building(self._layout, self._progress):
            if self._base_key() == key:
                return
            with self._progress.step(f"make a substitute for {BASE_IMAGE} (about 1 min, once)"):
                self._make_base(certificates, key)

    def _base_key(self) -> str | None:
        try:
            template = f'{{{{index .OCIv1.Config.Labels "{_KEY_LABEL}"}}}}'
            return self._buildah("inspect", "--type", "image", "--format", template, BASE_IMAGE).strip()
        except ClusterError:
            return None  # not created yet

    def _make_base(self, certificates: Path, key: str) -> None:
        root = self._layout.cache / "base.partial"
        self._runner.run(
            ["debootstrap", "--variant=minbase", f"--include={','.join(_INCLUDED)}", _SUITE, root]
        )
        finish_base(root, certificates)
        container = self._buildah("from", "scratch").strip()
        try:
            self._buildah("add", "--quiet", container, str(root), "/")
            self._buildah(
                *("config", "--cmd", "python3", "--env", "LANG=C.UTF-8", "--label", f"{_KEY_LABEL}={key}"),
                *("--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"),
                *("--env", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", container),
            )
            self._buildah("commit", "--quiet", container, BASE_IMAGE)
        finally:
            self._buildah("rm", container)
        shutil.rmtree(root)

    def _bud(
        self,
        dockerfile: Path,
        context: Path,
        name: str,
        *,
        target: str | None,
        arguments: Sequence[str],
        layers: bool,
    ) -> None:
        command = ["build", "--isolation", "chroot", "--network", "host", "--pull=never"]
        command += ["--format", "oci", "--tag", name, "--file", str(dockerfile)]
        command += ["--layers"] if layers else ["--no-cache"]
        command += ["--target", target] if target else []
        for argument in arguments:
            command += ["--build-arg", argument]
        self._buildah(*command, str(context))

    def _buildah(self, command: str, *arguments: str) -> str:
        temporary = cache.temporary(self._layout)
        environment = {"TMPDIR": str(temporary)} if temporary.is_dir() else {}
        return self._runner.run([*cache.buildah(self._layout), command, *arguments], env=environment)


def base_key(certificates: bytes) -> str:
    """Return the key of a substitute; it changes with each input of its build."""
    digest = hashlib.sha256()
    for content in (_SUITE.encode(), ",".join(_INCLUDED).encode(), certificates):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def finish_base(root: Path, certificates: Path) -> None:
    """Add to a plain Debian the parts of the official Python image that Dockerfiles use.

    `python` and `pip` are commands; pip installs into the system and trusts the machine's certificates.
    """
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    (root / "usr/local/bin/python3").symlink_to("/usr/bin/python3")
    for marker in (root / "usr/lib").glob("python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    shutil.copyfile(certificates, root / "etc/ssl/certs/ca-certificates.crt")
    (root / "etc/pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()


def _machine_certificates() -> Path:
    paths = ssl.get_default_verify_paths()  # follows SSL_CERT_FILE
    if paths.cafile is None:
        raise ClusterError("This machine's certificate bundle was not found; set SSL_CERT_FILE to it.")
    return Path(paths.cafile)
