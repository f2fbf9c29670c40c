"""The optional compiled kernel of the experts: built on request, found at first use, never required.

`build_kernel` (the command `visgen kernels build`) compiles `kernels/experts.cpp` for this machine's processor into a
cache folder; the name holds a hash of the source, of torch's version and of the processor, so a stale one is never
loaded. Nothing is built or loaded at import, and nothing is ever built unasked.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from ..errors import MissingDependency

__all__ = [
    "CACHE_ENVIRONMENT",
    "build_kernel",
    "compiled_expert_mlp",
    "compiled_grouped_linear",
    "find_compiler",
    "kernel_library",
    "kernel_path",
    "kernel_refuses",
]

CACHE_ENVIRONMENT = "VISGEN_CACHE"
SOURCE = Path(__file__).parent / "kernels" / "experts.cpp"
# Without OpenMP, torch's parallel loops in a header run on one thread; Apple's compiler has none.
PARALLEL = ("-fopenmp",) if sys.platform == "linux" else ()
FLAGS = (*PARALLEL, "-O3", "-march=native", "-std=c++20", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
_log = logging.getLogger(__name__)


def kernel_path() -> Path:
    """Where the kernel of this machine, torch and source is or would be: below VISGEN_CACHE or the user's cache."""
    base = os.environ.get(CACHE_ENVIRONMENT)
    if not base:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        base = os.path.join(home, "visgen")
    return Path(base) / "kernels" / f"experts-{_key()}.so"


@functools.cache
def _key() -> str:
    facts = [SOURCE.read_text(encoding="utf-8"), torch.__version__, platform.machine(), _processor(), *FLAGS]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _processor() -> str:
    """What the processor can do, as Linux lists it; -march=native compiles for exactly this."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1] for line in lines if line.startswith(("flags", "Features"))), "")


def find_compiler() -> str | None:
    """The C++ compiler: that of the environment variable CXX, else the first of c++, g++ and clang++."""
    if named := os.environ.get("CXX"):
        return shutil.which(named)
    return next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)


def build_kernel(force: bool = False) -> Path:
    """Compile the kernel for this machine, unless it is there already, and give its path; takes half a minute.

    Raises:
        MissingDependency: No compiler, one that fails (its first messages follow), or a system other than Linux and
            macOS. visgen works without: the experts then run on the backend "loop".
    """
    path = kernel_path()
    if path.is_file() and not force:
        return path
    compiler = find_compiler()
    if compiler is None or sys.platform not in ("linux", "darwin"):
        raise MissingDependency(
            f"no C++ compiler was found on this {platform.system()} machine; install g++ or clang++ (Linux, macOS) or "
            "set CXX to the name of one program. visgen works without the compiled kernel, only slower."
        )
    root = Path(torch.__file__).parent
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    os.close(handle)
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    libraries = [f"-L{root / 'lib'}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{root / 'lib'}"]
    words = [compiler, *FLAGS, abi, f"-I{root / 'include'}", str(SOURCE), "-o", temporary, *libraries]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=600)
        if done.returncode:
            first = "\n".join([line for line in done.stderr.splitlines() if "error" in line][:3]) or done.stderr[-300:]
            raise MissingDependency(
                f"{compiler} could not compile the experts' kernel:\n{first}\nvisgen works without it, only slower; "
                "another compiler can be named with CXX."
            )
        os.chmod(temporary, 0o700)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    kernel_library.cache_clear()
    return path


@functools.cache
def kernel_library() -> ctypes.CDLL | None:
    """The kernel, loaded once; None when it is not built or does not load, which is logged once."""
    path = kernel_path()
    if not path.is_file():
        _log.info("no compiled kernel for the experts at %s; `visgen kernels build` makes one", path)
        return None
    if hasattr(os, "getuid") and path.stat().st_uid not in (os.getuid(), 0):
        _log.warning("the compiled kernel %s belongs to another user and is not loaded", path)
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        advice = "build it again: visgen kernels build --force"
        _log.warning("the compiled kernel %s does not load (%s); %s", path, error, advice)
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.visgen_kernel_types.restype = ctypes.c_int
    library.visgen_grouped_linear.argtypes = [ctypes.c_int, *[pointer] * 5, *[number] * 3]
    library.visgen_expert_mlp.argtypes = [ctypes.c_int, *[pointer] * 12, *[number] * 5]
    library.visgen_grouped_linear.restype = library.visgen_expert_mlp.restype = None
    return library


def kernel_refuses(dtype: torch.dtype, weights: tuple[Tensor, ...]) -> str:
    """Why the kernel cannot compute this, or "" when it can; "it is not built" among the reasons."""
    if dtype not in (torch.float32, torch.bfloat16):
        return f"the tensors are {str(dtype).removeprefix('torch.')} and it computes float32 and bfloat16"
    if any(w.dtype != dtype for w in weights):
        return "rows and weights have different dtypes"
    odd = [n for w in weights for n in w.shape[1:] if n % 4]
    if odd:
        return f"a width is {odd[0]} and it needs multiples of 4"
    library = kernel_library()
    if library is None:
        return "it is not built (visgen kernels build)"
    if dtype == torch.bfloat16 and (not library.visgen_kernel_types() & 2 or _has_matrix_unit()):
        return "this processor has no bfloat16 products, or a matrix unit that only torch uses"
    return ""


@functools.cache
def _has_matrix_unit() -> bool:
    """True on processors with AMX, where torch's own bfloat16 product is faster than any vector code."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported()) if supported else False


def _pointers(*tensors: Tensor | None) -> list[int | None]:
    return [None if t is None else t.data_ptr() for t in tensors]


def compiled_grouped_linear(x: Tensor, w: Tensor, counts: Tensor, bias: Tensor | None) -> Tensor:
    """`visgen::grouped_linear` by the kernel; arguments are contiguous and of one dtype that it does not refuse."""
    library = kernel_library()
    assert library is not None
    y = x.new_empty(x.shape[0], w.shape[1])
    bias = None if bias is None else bias.to(x.dtype).contiguous()
    half, (experts, outputs, inputs) = int(x.dtype == torch.bfloat16), w.shape
    library.visgen_grouped_linear(half, *_pointers(x, w, bias, counts.contiguous(), y), experts, inputs, outputs)
    return y


def compiled_expert_mlp(
    x: Tensor,
    weights: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    tokens: Tensor,
    inverse: Tensor,
    counts: Tensor,
    inner: Tensor,
) -> Tensor:
    """`visgen::expert_mlp` by the kernel; fills `inner` (S k, h) with pre-activations unless it has no rows."""
    library = kernel_library()
    assert library is not None
    y, out = x.new_empty(len(tokens), x.shape[1]), x.new_empty(x.shape)
    given = [x, weights, w1, b1.to(x.dtype).contiguous(), w2, b2.to(x.dtype).contiguous(), tokens, inverse, counts]
    keep = inner if len(inner) else None
    half, (experts, hidden, width) = int(x.dtype == torch.bfloat16), w1.shape
    sizes = (x.shape[0], weights.shape[1], experts, width, hidden)
    library.visgen_expert_mlp(half, *_pointers(*given, keep, y, out), *sizes)
    return out
