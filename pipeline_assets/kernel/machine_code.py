"""Machine code that numba has made of `byte_scan`, kept in a file, and loaded by llvmlite alone.

What belongs here: making, keeping and calling it. What does not: what it does (`byte_scan`), and whether it
is used (`accelerator`). This module can be imported only where numba is installed.

numba keeps what it compiles, too, but to import it and to load that takes half a second; llvmlite, which
comes with it, takes a tenth of that. What is kept holds for one state of the source, one version of numba and
one kind of processor: its name says which.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import llvmlite.binding as llvm

from pipeline_assets.kernel.mapped_pages import let_go_of

if TYPE_CHECKING:
    import numpy.typing as npt

# Code is kept for what is compiled, and how.
_SOURCES: Final = tuple(
    Path(__file__).with_name(name) for name in ("byte_scan.py", "scan_layout.py", "machine_code.py")
)
_NAMES: Final = ("scan",)
# What is kept begins with the digest of the rest: code that has suffered would end the process.
_DIGEST_BYTES: Final = 32
# What a process that compiles does: what it has made goes to whoever has started it.
_COMPILING: Final = (
    "import sys; from pipeline_assets.kernel.machine_code import made; sys.stdout.buffer.write(made())"
)
# Of what is not in the code itself, processes have these without numba.
_KNOWN: Final = ("llvm.", "memcpy", "memmove", "memset")


@dataclass(frozen=True)
class MachineCode:
    """The function of `byte_scan.ENTRIES`, to be called with addresses and numbers; it gives a number."""

    scan: Any
    # It is gone with this.
    engine: Any


def address(array: npt.NDArray[Any]) -> int:
    """Where an array's memory begins; it must live until the call is over."""
    return int(array.ctypes.data)


def is_kept() -> bool:
    """Whether it need not be compiled."""
    return _kept() is not None


@functools.cache
def loaded() -> MachineCode:
    """The code, compiled and kept if it was not before."""
    data = _kept()
    if data is None:
        data = _compiled()
        _keep(data)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    (scan,) = (_called(engine.get_function_address(name)) for name in _NAMES)
    # To start the compiler alone touches 40 MB of its library, and nothing is compiled any more.
    let_go_of("libllvmlite")
    return MachineCode(scan, engine)


def _called(at: int) -> Any:
    """A function as numba compiles it: results go where the first argument says, exceptions to the second."""
    function = ctypes.CFUNCTYPE(ctypes.c_int32)(at)

    def call(*arguments: int) -> int:
        result, error = ctypes.c_int64(), ctypes.c_void_p()
        given = (ctypes.c_int64(argument) for argument in arguments)
        if function(ctypes.byref(result), ctypes.byref(error), *given):
            raise RuntimeError("compiled code has failed")
        return result.value

    return call


def _machine() -> Any:
    """A new one, for an engine takes it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(), opt=3, codemodel="jitdefault", jit=True
    )


def _features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


def _compiled() -> bytes:
    """What a process of its own has `made`: to compile leaves 100 MB behind, as long as this one works.

    Raises `RuntimeError` with the last line of what that said, should it fail.
    """
    if not sys.executable:  # Python is part of another program
        return made()
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # Without the folder it is started in, where anything may lie.
    command = [sys.executable, "-P", "-c", _COMPILING]
    done = subprocess.run(command, check=False, capture_output=True, env=found)  # noqa: S603
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RuntimeError(said[-1] if said else f"the compiler has ended with {done.returncode}")
    return done.stdout


def made() -> bytes:
    """An object file with the entries under their own names, and nothing that needs Python or numba."""
    from pipeline_assets.kernel import byte_scan

    code = llvm.parse_assembly("")
    for name in _NAMES:
        entry = byte_scan.ENTRIES[name]
        more = llvm.parse_assembly(entry.inspect_llvm())
        # What stands around it would print errors, of which there are none, with numba's help.
        inner = more.get_function(entry.native_name.removeprefix("cfunc."))
        for function in more.functions:
            if function.is_declaration:
                continue
            function.linkage = "internal"
            # What waits in vectors would be put away for each call: a line takes a twelfth longer.
            if function.name != inner.name:
                function.add_function_attribute("alwaysinline")
        inner.name, inner.linkage = name, "external"
        code.link_in(more)
    machine = _machine()
    # Once more, now that nobody else can call anything: what only counts references to arrays goes.
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(code, builder)
    missing = [
        function.name
        for function in code.functions
        if function.is_declaration and not function.name.startswith(_KNOWN)
    ]
    if missing:
        raise RuntimeError(f"compiled code asks for {', '.join(missing)}")
    return bytes(machine.emit_object(code))


def _kept() -> bytes | None:
    for path in _paths():
        try:
            kept = path.read_bytes()
        except OSError:
            continue
        digest, data = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
        if hashlib.sha256(data).digest() == digest:
            return data
    return None


def _keep(data: bytes) -> None:
    """Keep it in the first place where that is possible; it is used all the same where none is."""
    for path in _paths():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as aside:
                aside.write(hashlib.sha256(data).digest() + data)
            # Whoever installs is often not who runs.
            Path(aside.name).chmod(0o644)
            Path(aside.name).replace(path)
        except OSError:
            continue
        return


@functools.cache
def _paths() -> tuple[Path, ...]:
    """Where it may be kept, in the order in which that is tried."""
    of = (version("numba"), llvm.get_host_cpu_name(), _features(), sys.platform)
    digest = hashlib.sha256("\0".join(of).encode())
    for source in _SOURCES:
        digest.update(source.read_bytes())
    name = f"byte_scan.{digest.hexdigest()[:32]}.o"
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    beside = Path(__file__).parent / "__pycache__"
    return tuple(Path(folder) / name for folder in ([wanted] if wanted else [beside, Path(cache, "numba")]))
