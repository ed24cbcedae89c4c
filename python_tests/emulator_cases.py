"""Builds of the emulator's small kernels (csrc/tests/emulated), and defects to be planted into them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "csrc"
FOLDER = "tests/emulated"
FILES = ("warp", "block", "grid", "cluster", "matrix")
FIXED = ["-std=c++17", "-ffp-contract=off", "-DMK_EMULATOR", "-DMK_ISA=emulated"]
# Flags of the kernels and of the emulator. The thread sanitizer watches the kernels alone, which it is told
# are threads (csrc/emulator/fiber.h); without optimisation, of what that takes away nothing can be reported.
MODES = {
    "plain": (["-O0"], ["-O2"]),
    "memory": (["-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],) * 2,
    "threads": (["-O0", "-g1", "-fsanitize=thread"], ["-O2", "-DMK_THREAD_SANITIZER"]),
}
SETTINGS = {"TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=0"}


def compile_emulator(folder: Path, mode: str) -> None:
    """The emulator alone, as folder/emulator.o."""
    source = SOURCE / "emulator/emulator.cpp"
    run(["g++", *FIXED, *MODES[mode][1], f"-I{SOURCE}", "-c", source, "-o", folder / "emulator.o"])


def compile_kernels(folder: Path, mode: str, emulator: Path, file: Path) -> Path:
    """A program of one file of kernels."""
    program = folder / file.stem
    flags = [*FIXED, *MODES[mode][0], f"-I{SOURCE}"]
    run(["g++", *flags, "-x", "c++", file, "-x", "none", emulator / "emulator.o", "-o", program])
    return program


def run(command: list) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


@dataclass(frozen=True)
class Mutant:
    """One text of a file of kernels, exchanged for another.

    Attributes:
        report: what the program has to write; a pattern.
        mode: the build that finds it.
    """

    file: str
    text: str
    replacement: str
    report: str
    mode: str = "plain"


WRONG = r"wrong: element \d+ is"
RACE = "ThreadSanitizer: data race"
MUTANTS = {
    # warps
    "a missing barrier before sums are read": Mutant(
        "warp", "  __syncthreads();\n  if (thread < 32)", "  if (thread < 32)", WRONG
    ),
    "the same, by the thread sanitizer": Mutant(
        "warp", "  __syncthreads();\n  if (thread < 32)", "  if (thread < 32)", RACE, "threads"
    ),
    "a sum of a warp too many": Mutant("warp", "thread < warps ?", "thread <= warps ?", WRONG),
    "a shuffle that half of the lanes do not reach": Mutant(
        "warp",
        "if (thread < 32) {",
        "if (thread < 16) {",
        r"block \d, thread 0 waits for ever in a shuffle with mask ffffffff \(warp\.h:\d+\), lanes 0-15 of "
        r"warp 0; block \d, ended: lanes 16-31 of warp 0",
    ),
    "lanes that are one off": Mutant("warp", "if (lane >= offset)", "if (lane > offset)", WRONG),
    "a shuffle by the wrong way": Mutant("warp", "__shfl_down_sync", "__shfl_up_sync", WRONG),
    "a mask of lanes that counts the own one": Mutant("warp", "<< lane) - 1)", "<< lane << 1) - 1)", WRONG),
    "a ballot of half of the lanes": Mutant(
        "warp",
        "__ballot_sync(all_lanes,",
        "__ballot_sync(lane < 16 ? all_lanes : 0xffff0000u,",
        r"thread 0 waits for ever in a ballot with mask ffffffff \(warp\.cu:\d+\), lanes 0-15 of warp 0",
    ),
    "a missing barrier of a warp": Mutant("warp", "  __syncwarp(mask);\n", "  (void)mask;\n", WRONG),
    "a barrier of a warp with the wrong mask": Mutant(
        "warp",
        "half == 0 ? 0x0000ffffu : 0xffff0000u",
        "half == 0 ? 0x000000ffu : 0xffff0000u",
        r"waits for ever in a barrier of the warp with mask 000001ff \(warp\.cu:\d+\)",
    ),
    # blocks
    "a missing first barrier": Mutant("block", "  __syncthreads();  // all is there\n", "", WRONG),
    "a missing second barrier": Mutant("block", "  __syncthreads();  // all is read\n", "", WRONG),
    "a missing second barrier, by the thread sanitizer": Mutant(
        "block", "  __syncthreads();  // all is read\n", "", RACE, "threads"
    ),
    "a barrier that one warp does not reach": Mutant(
        "block",
        "    __syncthreads();  // all is read",
        "    if (thread < 32) __syncthreads();  // all is read",
        r"thread 0 waits for ever at barrier 0 of the block, where \d+ of 64 threads are \(block\.cu:\d+\), "
        r"lanes 0-31 of warp 0",
    ),
    "a barrier in two branches": Mutant(
        "block",
        "    __syncthreads();  // all is read",
        "    if (thread % 2)\n      __syncthreads();\n    else\n      __syncthreads();",
        r"lanes of a warp arrive at a barrier from different lines \(block\.cu:\d+\)",
    ),
    "a buffer of the wrong parity": Mutant(
        "block", "now = rows + step % 2 * size", "now = rows + (step + 1) % 2 * size", "wrong|race"
    ),
    "a single buffer": Mutant(
        "block", "next = rows + (step + 1) % 2 * size", "next = rows + step % 2 * size", WRONG
    ),
    "shared memory behind its end": Mutant(
        "block", "int* const next = rows", "int* const next = rows + 1", "heap-buffer-overflow", "memory"
    ),
    "a barrier of the wrong number": Mutant(
        "block", "empty = 3 + now;", "empty = 2 + now;", "wrong: element|waits for ever at barrier"
    ),
    "a producer that does not wait": Mutant(
        "block", "      if (round >= 2) named_barrier(empty, 64);\n", "      (void)empty;\n", WRONG
    ),
    "a consumer that arrives where it should wait": Mutant(
        "block", "      named_barrier(full, 64);\n", "      named_arrive(full, 64);\n", WRONG
    ),
    "a barrier for too few threads": Mutant(
        "block",
        "named_barrier(full, 64)",
        "named_barrier(full, 32)",
        "threads name two counts|wrong: element",
    ),
    "a barrier for a part of a warp": Mutant(
        "block",
        "named_barrier(full, 64)",
        "named_barrier(full, 48)",
        "a barrier takes whole warps of the block",
    ),
    "a sum in shared memory without a start": Mutant(
        "block", "  if (threadIdx.x == 0) count = 0;\n", "", WRONG
    ),
    "an addition that is not atomic": Mutant(
        "block", "if (odd) atomicAdd(&count, 1);", "if (odd) count += 1;", RACE, "threads"
    ),
    # grids
    "a count that is not atomic": Mutant(
        "grid", "atomicAdd(counts + in[k] % 8, 1);", "counts[in[k] % 8] += 1;", RACE, "threads"
    ),
    "a maximum that is not atomic": Mutant(
        "grid",
        "atomicMax(largest, in[k]);",
        "*largest = in[k] > *largest ? in[k] : *largest;",
        RACE,
        "threads",
    ),
    "a smallest for a largest": Mutant("grid", "atomicMax(largest", "atomicMin(largest", WRONG),
    "an exchange whatever is there": Mutant(
        "grid",
        "const int now = atomicCAS(largest, seen, bits);",
        "const int now = seen; atomicExch(largest, bits);",
        WRONG,
    ),
    "a number that is left and not taken": Mutant(
        "grid",
        "taken[blockIdx.x] = atomicExch(place,",
        "taken[blockIdx.x] = atomicAdd(place,",
        "a number was lost",
    ),
    "a missing barrier of the grid": Mutant("grid", "    grid.sync();\n", "", WRONG),
    "a missing barrier of the grid, by the thread sanitizer": Mutant(
        "grid", "    grid.sync();\n", "", RACE, "threads"
    ),
    "a barrier of the grid that a block does not reach": Mutant(
        "grid",
        "    grid.sync();\n",
        "    if (blockIdx.x != 2) grid.sync();\n",
        r"block 0, thread 0 waits for ever at the barrier of the grid, where 96 of 128 threads are",
    ),
    "a launch that is not cooperative": Mutant(
        "grid",
        "0, 0, 0, true}, order, [&] { diffuse_over_grid",
        "0, 0, 0, false}, order, [&] { diffuse_over_grid",
        "a barrier of the grid in a launch that is not cooperative",
    ),
    "a single buffer for a grid": Mutant(
        "grid",
        "now + at + 1) : 0);\n    grid.sync();",
        "now + at + 1) : 0) + 0 * next[at];\n    if (step % 2) grid.sync();",
        WRONG,
    ),
    "a counter with the wrong target": Mutant(
        "grid",
        "static_cast<unsigned>(step + 1)",
        "static_cast<unsigned>(step + 2)",
        r"block 0, thread 0 waits for ever for a flag to be 8, which is 4 \(grid\.cu:\d+\), lanes 0 of warp",
    ),
    "a counter that starts from the step before": Mutant(
        "grid", "static_cast<unsigned>(step + 1)", "static_cast<unsigned>(step)", WRONG
    ),
    "an arrival without release": Mutant(
        "grid", "release_add(counter, 1)", "atomicAdd(counter, 1)", RACE, "threads"
    ),
    "an arrival before the block is ready": Mutant(
        "grid",
        "    __syncthreads();\n    if (threadIdx.x == 0) {\n      release_add",
        "    if (threadIdx.x == 0) {\n      release_add",
        RACE,
        "threads",
    ),
    # clusters
    "a missing wait of the cluster": Mutant(
        "cluster", "    cluster_wait();\n", "", "arrives twice at the cluster's barrier without waiting"
    ),
    "a missing barrier of the cluster": Mutant(
        "cluster",
        "    cluster_arrive();\n    const int own = 3 * value;  // what needs nobody else\n"
        "    cluster_wait();\n",
        "    const int own = 3 * value;\n",
        WRONG,
    ),
    "a relaxed arrival": Mutant(
        "cluster", "    cluster_arrive();\n", "    cluster_arrive_relaxed();\n", RACE, "threads"
    ),
    "a cluster that has not begun": Mutant(
        "cluster",
        "  cluster.sync();  // all blocks have begun\n",
        "",
        "maps shared memory of a block that may not have begun",
    ),
    "a block that ends while others read": Mutant(
        "cluster",
        "  cluster.sync();  // nobody ends while others read\n",
        "",
        "maps shared memory of a block that has ended",
    ),
    "a half of the wrong parity": Mutant(
        "cluster",
        "places + round % 2 * blocks * size",
        "places + (round + 1) / 2 % 2 * blocks * size",
        "wrong|race",
        "threads",
    ),
    "a single half": Mutant("cluster", "places + round % 2 * blocks * size", "places", WRONG),
    "a block of the next cluster": Mutant(
        "cluster",
        "(cluster.block_rank() + 1) % cluster.num_blocks()",
        "cluster.block_rank() + 1",
        "the cluster has no block of this rank",
    ),
    # products of matrices
    "a step that is left out": Mutant("matrix", "k < depth; k += 16", "k + 16 < depth; k += 16", WRONG),
    "sums without a start": Mutant("matrix", "  wmma::fill_fragment(sum, 0.0f);\n", "", WRONG),
    "a factor that is transposed": Mutant(
        "matrix",
        "columns, wmma::col_major, wmma::row_major>",
        "!columns, wmma::col_major, wmma::row_major>",
        WRONG,
    ),
    "rows a wrong distance apart": Mutant(
        "matrix",
        "left, a + k, static_cast<unsigned>(depth)",
        "left, a + k, static_cast<unsigned>(depth + 8)",
        WRONG,
    ),
    "a fragment that is not aligned": Mutant(
        "matrix", "left, a + k,", "left, a + k + 1,", "not aligned to 32 bytes"
    ),
    "a product without half of the lanes": Mutant(
        "matrix",
        "    wmma::mma_sync(sum, left, right, sum);\n",
        "    if (threadIdx.x < 16) wmma::mma_sync(sum, left, right, sum);\n",
        r"thread 0 waits for ever in a product of matrices with mask ffffffff \(matrix\.cu:\d+\), lanes 0-15",
    ),
}
