"""Generate problems of symbolic integration with their answers, and look at them.

    python examples/generate_symbolic.py --method bwd --operators 6 --count 40000 --out data/bwd
    python examples/generate_symbolic.py --explain data/bwd/prim_bwd.train 17
    python examples/generate_symbolic.py --check data/bwd/prim_bwd.test
    python examples/generate_symbolic.py --judge "x*cos(x)" "x*sin(x) + cos(x)"
    python examples/generate_symbolic.py --textbooks --sympy 10

Problems are differentiated (bwd), integrated by sympy (fwd) or by parts (ibp); docs/symbolic.md explains the
language, the files and the judge. The same command after an interruption draws what is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from mathkernels.data import ranges
from mathkernels.data.symbolic import corpus, generate, infix, latex
from mathkernels.data.symbolic.pairs import METHODS, Pairs
from mathkernels.data.symbolic.prefix import SyntaxProblem
from mathkernels.data.symbolic.trees import PUBLISHED, Sampler
from mathkernels.experiment import command_line
from mathkernels.experiment.terminal import run_script
from mathkernels.studies.integration import textbooks
from mathkernels.studies.integration.verification import Counts, Verdict, Verifier


def arguments() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--method", choices=METHODS, help="generate")
    what.add_argument("--explain", nargs=2, metavar=("FILE", "LINE"), help="show a pair as equations")
    what.add_argument("--check", metavar="FILE", help="judge every answer of a file")
    what.add_argument("--judge", nargs=2, metavar=("PROBLEM", "ANSWER"), help="judge an answer")
    what.add_argument(
        "--textbooks", action="store_true", help="count the problems that come with the package"
    )
    parser.add_argument("--sympy", type=float, metavar="SECONDS", help="of --textbooks: let sympy solve each")
    parser.add_argument("--operators", type=int, default=15, help="of the random trees, at most (15)")
    parser.add_argument("--count", type=int, default=40_000, help="pairs that are drawn (40000)")
    parser.add_argument("--held-out", type=int, default=1_000, help="pairs of validation, and of test (1000)")
    parser.add_argument(
        "--words", type=int, default=510, help="of a problem, and of an answer, at most (510)"
    )
    parser.add_argument(
        "--simplify", type=float, default=0.0, help="share of problems that sympy simplifies (0)"
    )
    parser.add_argument("--negative", action="store_true", help="integers of either sign")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=5.0, help="seconds of the processor for a pair (5)")
    parser.add_argument("--workers", type=int, help="processes; default: one for each core")
    parser.add_argument("--out", type=Path, help="folder; default: data/symbolic-METHOD")
    return parser


def write(args: argparse.Namespace) -> None:
    sampler = Sampler(dict(PUBLISHED), negative=args.negative)
    pairs = Pairs(args.method, args.operators, args.words, sampler, args.simplify)
    request = generate.Request(pairs, args.count, args.held_out, args.seed, args.limit)
    folder = args.out or Path("data") / f"symbolic-{args.method}"

    def progress(done: int, total: int) -> None:
        print(f"\r{done:,} of {total:,}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    print(generate.generate(folder, request, args.workers, progress))
    print(f"→ {folder}")


def explain(path: str, line: str) -> None:
    if not line.isdecimal() or int(line) < 1:
        raise ValueError(f"--explain: LINE is {line!r}; needs a number from 1")
    found = corpus.read(Path(path), most=int(line))
    if len(found) < int(line):
        raise ValueError(f"--explain: LINE is {line}; '{path}' has {len(found)}")
    print(found.explained(int(line) - 1))
    print(f"LaTeX:    {latex.write(found.trees(int(line) - 1)[1])}")


def check(path: str) -> None:
    found, judge, counts = corpus.read(Path(path)), Verifier(), Counts()
    for number in range(len(found)):
        verdict = judge.check(*found.trees(number))
        counts = counts + verdict
        if verdict is not Verdict.RIGHT:
            print(f"line {number + 1} is {verdict.value}:\n{found.explained(number)}")
    print(f"{counts.right:,} right, {counts.wrong:,} wrong, {counts.undecided:,} undecided of {counts.of:,}")


def show_textbooks(seconds: float | None, workers: int | None) -> None:
    judge, total = Verifier(), Counter[str]()
    for name, book in textbooks.books().items():
        counts = Counts()
        for one in book.problems:
            counts = counts + judge.check(one.problem, one.answer)
        left = ", ".join(f"{count} {reason}" for reason, count in book.counts().items() if count)
        print(f"{name}: {len(book.problems)} problems, {counts.right} known answers right; left out: {left}")
        if seconds is not None:
            problems = [one.problem for one in book.problems]
            solved = Counter(textbooks.sympy_solves(problems, seconds, workers or os.cpu_count() or 1, judge))
            print(f"  sympy: {', '.join(f'{solved[key]} {key}' for key in textbooks.SOLVED if solved[key])}")
            total += solved
    if seconds is not None:
        print(f"sympy, {seconds:g} s each: {total[Verdict.RIGHT.value]} of {total.total()} right")


def side(name: str, text: str) -> corpus.Tree:
    try:
        return infix.read(text)
    except SyntaxProblem as error:
        raise ValueError(f"{name}: {error}\n  {text}\n  {' ' * error.place}^") from None


def work(args: argparse.Namespace) -> int:
    if args.explain:
        explain(*args.explain)
    elif args.check:
        check(args.check)
    elif args.judge:
        problem, answer = (side(n, t) for n, t in zip(("problem", "answer"), args.judge, strict=True))
        print(Verifier().check(problem, answer).value)
    elif args.textbooks:
        if args.sympy is not None:
            ranges.positive("--sympy", args.sympy, 3600)
        show_textbooks(args.sympy, args.workers)
    else:
        write(args)
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = arguments()
    args = parser.parse_args(argv)
    return command_line.finish(parser, partial(work, args), "; the same command goes on")


if __name__ == "__main__":
    sys.exit(run_script(main))
