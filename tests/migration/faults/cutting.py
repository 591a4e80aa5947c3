"""Cut the power after every write of an upgrade, in every way a disk may forget, look at what is left, and upgrade again."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.migration.faults import recording
from tests.migration.faults.content import Ends, HalfState, State, assert_upgraded, digest, file_digest, state_of
from tests.migration.faults.disk import Disk, Loss, Operation
from tests.migration.faults.starts import DATABASE, Start
from tests.migration.faults.upgrading import Upgrader, run_program


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An upgrade as its disk saw it. `files` are those from before."""

    files: Mapping[str, bytes]
    operations: tuple[Operation, ...]
    ends: Ends


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a cut after so many operations may leave; `is_final` says that the upgrade had said it was done."""

    cut: int
    loss: Loss
    files: Mapping[str, bytes]
    is_final: bool

    def write(self, directory: Path) -> Path:
        shutil.rmtree(directory, ignore_errors=True)
        for name, content in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        directory.mkdir(exist_ok=True)
        return directory / DATABASE


@dataclass(kw_only=True)
class Cuts:
    """What became of the images of one upgrade."""

    operations: int
    images: int = 0
    final: int = 0
    converged: int = 0
    states: Counter[State] = field(default_factory=Counter)


def record(start: Start, upgrader: Upgrader, directory: Path) -> Recorded:
    """Run the upgrade once, under observation."""
    path = start.make(directory / "recorded", upgrader)
    files = files_of(path.parent)
    before, file = digest(path), file_digest(path)
    log = directory / "calls"
    done = run_program(path, "upgrade", start.target, through=recording.command(log))
    assert done.status == 0, done.output
    operations = recording.operations(log, path.parent, files)
    log.unlink()
    disk = Disk(files)
    for operation in operations:
        disk.apply(operation)
    assert disk.image(Loss.NOTHING, Random(0)) == files_of(path.parent), "the recording is not what happened"
    return Recorded(files=files, operations=tuple(operations), ends=Ends(before=before, file=file, after=digest(path)))


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def images(recorded: Recorded, random: Random, *, rounds: int = 2) -> Iterator[Image]:
    """Every different image, cut by cut; chance gets so many rounds at each cut, and more after the last."""
    disk, seen = Disk(recorded.files), set[tuple[bool, str]]()
    for cut in range(len(recorded.operations) + 1):
        if cut:
            disk.apply(recorded.operations[cut - 1])
        is_final = cut == len(recorded.operations)
        for loss in Loss:
            for _ in range(rounds * (8 if is_final else 1) if loss in (Loss.SOME, Loss.TORN) else 1):
                files = disk.image(loss, random)
                key = is_final, _digest(files)
                if key not in seen:
                    seen.add(key)
                    yield Image(cut=cut, loss=loss, files=files, is_final=is_final)


def some_images(recorded: Recorded, random: Random, count: int) -> Iterator[Image]:
    """So many images at cuts by chance, in order, and after the last operation one for each kind of loss."""
    last = len(recorded.operations)
    cuts = sorted(random.choices(range(last), k=count))
    chosen = [(cut, random.choice(list(Loss))) for cut in cuts] + [(last, loss) for loss in Loss]
    disk, applied = Disk(recorded.files), 0
    for cut, loss in chosen:
        for operation in recorded.operations[applied:cut]:
            disk.apply(operation)
        applied = cut
        yield Image(cut=cut, loss=loss, files=disk.image(loss, random), is_final=cut == last)


def _digest(files: Mapping[str, bytes]) -> str:
    found = hashlib.sha256()
    for name in sorted(files):
        found.update(f"{name}\0{len(files[name])}\0".encode())
        found.update(files[name])
    return found.hexdigest()


def examine(
    chosen: Iterable[Image],
    recorded: Recorded,
    start: Start,
    upgrader: Upgrader,
    directory: Path,
    *,
    converge_every: int | None = 1,
) -> Cuts:
    """Raises HalfState for an image that recovers to neither end, or, after the last operation, not to the upgraded one."""
    cuts = Cuts(operations=len(recorded.operations))
    for number, image in enumerate(chosen):
        where = f"{start}, cut after operation {image.cut} of {len(recorded.operations)}, {image.loss.value}"
        try:
            state = state_of(image.write(directory / "looked at"), recorded.ends)
        except HalfState as error:
            raise HalfState(f"{where}: {error}") from error
        if image.is_final and state is not State.AFTER:
            raise HalfState(f"{where}: the upgrade had ended with 0 and was reverted")
        cuts.images += 1
        cuts.final += image.is_final
        cuts.states[state] += 1
        if converge_every and number % converge_every == 0:
            path = image.write(directory / "left")
            done = upgrader.run(path, "upgrade", start.target)
            assert done.status == 0, f"{where}\n{done.output}"
            assert_upgraded(path, recorded.ends, where)
            cuts.converged += 1
    return cuts
