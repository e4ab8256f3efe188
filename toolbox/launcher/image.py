"""Which image the task runs: tagged by content, so that what was tested and what runs can be told apart."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolbox.aws import Aws, AwsDenied, AwsRefused
from toolbox.errors import LaunchError

# What the Dockerfile copies. The lab never enters the image.
_FILES: Final = ("Dockerfile", "entrypoint.sh")
_DIRECTORIES: Final = ("toolbox", "locks")
_LEFT_OUT: Final = ("toolbox/lab/",)
_TAG_LENGTH: Final = 16
_DEFAULT_REPOSITORY: Final = "tracker-toolbox"
_NO_SUCH: Final = ("RepositoryNotFoundException", "ImageNotFoundException")


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The image to run, and what a person should know about the choice (None when it is the one of this checkout)."""

    reference: str
    note: str | None = None


def repository_root() -> Path:
    """The directory that holds `Dockerfile`, `scripts/` and `toolbox/`."""
    return Path(__file__).resolve().parents[2]


def content_tag(root: Path) -> str:
    """The tag of the image that this checkout builds: 16 hex digits of a hash over names, modes and contents."""
    digest = hashlib.sha256()
    for path in sorted(_sources(root), key=lambda path: path.relative_to(root).as_posix()):
        content = path.read_bytes()
        executable = "x" if path.stat().st_mode & 0o100 else "-"
        digest.update(f"{path.relative_to(root).as_posix()}\0{executable}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:_TAG_LENGTH]


async def choose(aws: Aws, account: str, repository: str | None, tag: str) -> ImageChoice:
    """The image tagged `tag`, else the newest that was published; raises LaunchError when there is none.

    `repository` is a name in the account's own registry, or a whole address, which is taken as it is when it is not
    one of ECR.
    """
    address = repository or _DEFAULT_REPOSITORY
    if "/" not in address or "." not in address.partition("/")[0]:
        address = f"{account}.dkr.ecr.{aws.region}.amazonaws.com/{address}"
    registry, _, name = address.partition("/")
    if ".dkr.ecr." not in registry:
        return ImageChoice(f"{address}:{tag}", "whether the image exists is not checked: its registry is not ECR")
    where = {"registryId": registry.partition(".")[0], "repositoryName": name}
    try:
        if await _exists(aws, where, tag):
            return ImageChoice(f"{address}:{tag}")
        newest = await _newest(aws, where)
    except AwsDenied as error:
        return ImageChoice(f"{address}:{tag}", f"whether the image exists is unknown: {error.action} is missing")
    if newest is None:
        raise LaunchError(
            f"There is no image in {address}.",
            cause="image-missing",
            next_step=f"Build it from this checkout's Dockerfile and push it as {address}:{tag}.",
        )
    return ImageChoice(
        f"{address}:{newest}", f"the newest published image ({newest}) differs from this checkout ({tag})"
    )


async def _exists(aws: Aws, where: Mapping[str, str], tag: str) -> bool:
    try:
        answer = await aws.call("ecr", "describe_images", **where, imageIds=[{"imageTag": tag}])
    except AwsRefused as error:
        if error.code in _NO_SUCH:
            return False
        raise
    return bool(answer["imageDetails"])


async def _newest(aws: Aws, where: Mapping[str, str]) -> str | None:
    try:
        found = await aws.listed("ecr", "describe_images", "imageDetails", **where, filter={"tagStatus": "TAGGED"})
    except AwsRefused as error:
        if error.code in _NO_SUCH:
            return None
        raise
    images = [image for image in found if image.get("imageTags")]
    if not images:
        return None
    tags: Sequence[str] = max(images, key=lambda image: image["imagePushedAt"])["imageTags"]
    return min(tags, key=lambda tag: (tag == "latest", tag))


def _sources(root: Path) -> Iterator[Path]:
    for name in _FILES:
        if (root / name).is_file():
            yield root / name
    for directory in _DIRECTORIES:
        for path in (root / directory).rglob("*"):
            name = path.relative_to(root).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and not name.startswith(_LEFT_OUT):
                yield path
