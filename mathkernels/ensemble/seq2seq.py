"""Train character sequence-to-sequence models, E seeds at once, an epoch per call (docs/seq2seq.md)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mathkernels import _C, backends
from mathkernels.data import ranges
from mathkernels.ensemble import seq2seq_tensors as tensors
from mathkernels.ensemble.checks import flag, require
from mathkernels.ensemble.powers import powers
from mathkernels.ensemble.run import CALL_SECONDS, deferred_interrupt

DTYPES = (torch.float32, torch.float64)
BETA1, BETA2 = 0.9, 0.999
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.99
MOST_TOKENS = 127  # a token id is an int8
LONGEST, MOST_UNITS, MOST_THREADS = 10**6, 16_384, 4096
MOST_UPDATES = 2**53  # whole numbers of float64, from which Adam's steps are computed
INTEGER = "{name}: got {given}, needs an integer, {right}"


def _bounds(values: Tensor) -> tuple[int, int]:
    array = values.numpy()
    return int(array.min()), int(array.max())


def _count(what: str, given: Any, high: int, unit: str = "") -> int:
    right = f"at most {high}{f' {unit}' if unit else ''}"
    number = ranges.whole(what, given, 1, ranges.LAST_SEED, INTEGER)
    require(number <= high, what, number, right)
    return number


def _positive(what: str, given: Any) -> float:
    right = f"a positive number, from {ranges.SMALLEST:g} to {ranges.LARGEST:g}"
    return ranges.real(what, given, ranges.SMALLEST, ranges.LARGEST, right)


def _not_negative(what: str, tensor: Tensor) -> None:
    """NaN may stand: models that have diverged have a state, too."""
    low = tensor[tensor < 0]
    require(low.numel() == 0, what, low[:1].tolist(), "numbers from 0")


class Seq2SeqEnsemble:
    """E models that read ``steps_in`` tokens and write ``steps_out``, trained together in compiled calls.

    Token ids (N,Tin) -> bidirectional LSTM of ``hidden`` units -> last states (N,2H) -> batch norm -> the
    same at each of Tout steps -> bidirectional LSTM (N,Tout,2H) -> batch norm -> linear (N,Tout,A) ->
    softmax. The loss is the cross-entropy, averaged over samples and steps; Adam is Keras', whose eps
    stands outside the bias correction. A model's numbers depend on its seed and data only, not on the
    others or on ``threads``.
    All tensors are on the CPU; there is no GPU kernel.

    Args:
        alphabet: A, how many tokens there are, 1 to 127.
        steps_in, steps_out: Tin and Tout, lengths of inputs and targets, up to 65,536.
        hidden: H, units of each LSTM in each direction, up to 4,096.
        seeds: one model for each, from 0 to 2**63 - 1; a seed draws the first values as Keras does.
        batch_norm: whether the two batch norms (momentum 0.99, eps 0.001) are there.
        learning_rate, eps: of Adam; ``learning_rate`` may be set between epochs.
        parameters: first values in place of drawn ones, as :meth:`parameters` returns them.
        dtype: torch.float32 or torch.float64.
        threads: how many to use; None is ``torch.get_num_threads()`` at each call.

    Raises:
        ValueError, TypeError: an argument has no meaning; the message names it and says what would be right.
    """

    def __init__(
        self,
        alphabet: int,
        steps_in: int,
        steps_out: int,
        hidden: int,
        seeds: Sequence[int],
        batch_norm: bool = True,
        learning_rate: float = 0.01,
        eps: float = 1e-7,
        parameters: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
        threads: int | None = None,
    ) -> None:
        steps_in, steps_out = (
            _count(what, given, LONGEST) for what, given in (("steps_in", steps_in), ("steps_out", steps_out))
        )
        hidden = _count("hidden", hidden, MOST_UNITS)
        alphabet = _count("alphabet", alphabet, MOST_TOKENS, "tokens")
        batch_norm = bool(batch_norm) if isinstance(batch_norm, np.bool_) else batch_norm
        flag("batch_norm", batch_norm)
        fits = isinstance(dtype, torch.dtype) and dtype in DTYPES
        require(fits, "dtype", dtype, "torch.float32 or torch.float64")
        if threads is not None:
            threads = _count("threads", threads, MOST_THREADS)
        if isinstance(seeds, np.ndarray) and seeds.ndim == 1:
            seeds = seeds.tolist()
        listed = isinstance(seeds, Sequence) and not isinstance(seeds, (str, bytes))
        require(listed and len(seeds) > 0, "seeds", seeds, "at least one integer, in a list")
        seeds = [
            ranges.whole(f"seeds[{i}]", seed, 0, ranges.LAST_SEED, INTEGER) for i, seed in enumerate(seeds)
        ]
        self.alphabet, self.steps_in, self.steps_out, self.hidden = alphabet, steps_in, steps_out, hidden
        self.seeds, self.batch_norm, self.dtype = tuple(seeds), batch_norm, dtype
        self.eps = _positive("eps", eps)
        self.threads, self.updates = threads, 0
        self.learning_rate = learning_rate
        self._shapes = tensors.shapes(alphabet, hidden, batch_norm)
        self._running_shapes = tensors.running_shapes(hidden, batch_norm)
        offsets = _C.seq2seq_offsets(self._program(1, 1))
        # numpy moves the numbers: torch's indexing waits for threads that a forked process does not have
        places = tensors.places(offsets, alphabet, hidden, batch_norm)
        self._places = {name: place.numpy() for name, place in places.items()}
        models = len(self.seeds)
        self._parameter, self._first, self._second = (
            torch.zeros(models, offsets["count"], dtype=dtype) for _ in range(3)
        )
        self._running = torch.zeros(models, 2, 2, offsets["feature_row"], dtype=dtype)
        self._memory = torch.empty(0, dtype=torch.uint8)
        self._window = 20  # minibatches in a compiled call
        if parameters is None:
            drawn = [tensors.first_values(alphabet, hidden, batch_norm, seed) for seed in self.seeds]
            parameters = {name: torch.stack([values[name] for values in drawn]) for name in drawn[0]}
        self._set_parameters(parameters, "parameters")

    @property
    def models(self) -> int:
        """E, how many models are trained."""
        return len(self.seeds)

    @property
    def learning_rate(self) -> float:
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = _positive("learning_rate", value)

    def train_epoch(self, inputs: Tensor, targets: Tensor, order: Tensor, batch: int) -> Tensor:
        """Take one pass over the samples in the given order, one update for each minibatch.

        Args:
            inputs: int8 (N,Tin), token ids from 0 to A - 1; -1 stands for a row of zeros.
            targets: int8 (N,Tout), token ids from 0 to A - 1.
            order: int64 (E,M), which samples each model takes, minibatch by minibatch.
            batch: samples in a minibatch; the last one may be smaller.

        Returns:
            float64 (E,): the training loss, averaged over the epoch's samples.

        Raises:
            ValueError, TypeError: an argument has the wrong type, shape or range.
            KeyboardInterrupt: after Ctrl-C, between two minibatches; the updates made so far stand.
        """
        inputs, targets = self._inputs(inputs), self._targets(targets, len(inputs))
        order = self._order(order, len(inputs))
        samples = order.shape[1]
        batch = min(_count("batch", batch, ranges.MOST), samples)  # memory is of a whole minibatch
        loss = torch.zeros(self.models, dtype=torch.float64)
        program = self._program(batch, samples)
        program.inputs, program.targets, program.order = (t.data_ptr() for t in (inputs, targets, order))
        program.loss = loss.data_ptr()
        with deferred_interrupt() as interrupted:
            for first, last in self._windows(-(-samples // batch)):
                step = self._step_sizes(last - first)
                program.first, program.last, program.step = first, last, step.data_ptr()
                threads = self._threads()
                memory = self._working_memory(_C.seq2seq_train_bytes(program, threads))
                _C.seq2seq_train(program, threads, memory)
                self.updates += last - first
                if interrupted.is_set():
                    raise KeyboardInterrupt
        backends.record("seq2seq.train_epoch")
        return loss / samples

    def predict(self, inputs: Tensor) -> Tensor:
        """Return the likeliest token ids, int8 (E,N,Tout), for inputs int8 (N,Tin), by running statistics."""
        inputs = self._inputs(inputs)
        predicted = torch.empty(self.models, len(inputs), self.steps_out, dtype=torch.int8)
        program = self._program(1, len(inputs))
        program.predicted = predicted.data_ptr()
        self._evaluate(program, inputs)
        backends.record("seq2seq.predict")
        return predicted

    def evaluate(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the fractions of right characters and of right sequences, float64 (E,) each."""
        inputs, targets = self._inputs(inputs), self._targets(targets, len(inputs))
        samples = len(inputs)
        require(samples > 0, "inputs", tuple(inputs.shape), "at least one sample")
        blocks = -(-samples // _C.seq2seq_block)
        score = torch.zeros(self.models, blocks, 3, dtype=torch.float64)
        program = self._program(1, samples)
        program.targets, program.score = targets.data_ptr(), score.data_ptr()
        self._evaluate(program, inputs)
        backends.record("seq2seq.evaluate")
        loss, characters, sequences = score.sum(1).unbind(1)
        return loss / samples, characters / (samples * self.steps_out), sequences / samples

    def parameters(self) -> dict[str, Tensor]:
        """Return copies of all parameters and running statistics, (E,...) each, under torch's names.

        The tensors of one model load into the torch module that :mod:`mathkernels.ensemble.seq2seq_tensors`
        describes, the zero ``bias_hh_l0`` included.
        """
        found = self._named(self._parameter) | self._running_statistics()
        for name in [name for name in found if ".bias_ih_l0" in name]:
            found[name.replace("bias_ih", "bias_hh")] = torch.zeros_like(found[name])
        return found

    def state(self) -> dict[str, Tensor]:
        """Return copies of everything that :meth:`load_state` needs to go on as if nothing had happened."""
        found = self._named(self._parameter) | self._running_statistics()
        for moment, values in (("first_moment", self._first), ("second_moment", self._second)):
            found |= {f"{moment}.{name}": tensor for name, tensor in self._named(values).items()}
        found["updates"] = torch.tensor([self.updates])
        return found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state` returned, of models of the same sizes.

        Raises:
            ValueError, TypeError: a tensor is missing, unknown, or has another shape or dtype.
        """
        require(isinstance(state, Mapping), "state", type(state).__name__, "a dict of tensors by name")
        for name in state:
            require(isinstance(name, str), "state: a name", name, "a text")
        parts: dict[str, dict[str, Tensor]] = {"": {}, "first_moment.": {}, "second_moment.": {}}
        for name, tensor in state.items():
            prefix = next((p for p in parts if p and name.startswith(p)), "")
            parts[prefix][name.removeprefix(prefix)] = tensor
        updates = parts[""].pop("updates", None)
        steps = -1
        if isinstance(updates, Tensor) and updates.dtype == torch.int64 and updates.device.type == "cpu":
            steps = int(updates) if updates.shape == (1,) else -1
        right = f"int64 (1,), not negative and below {MOST_UPDATES:,}"
        require(0 <= steps < MOST_UPDATES, "state['updates']", updates, right)
        for prefix, needed in (
            ("", self._shapes | self._running_shapes),
            ("first_moment.", self._shapes),
            ("second_moment.", self._shapes),
        ):
            self._check_tensors(parts[prefix], needed, f"state, {prefix or 'parameters'}", self.dtype)
        for name, tensor in parts["second_moment."].items():
            _not_negative(f"state['second_moment.{name}']", tensor)
        self._set_parameters(parts[""], "state")
        for values, prefix in ((self._first, "first_moment."), (self._second, "second_moment.")):
            for name, place in self._places.items():
                values.numpy()[:, place] = parts[prefix][name].detach().numpy()
        self.updates = steps

    # -- what a compiled call is given

    def _program(self, batch: int, samples: int) -> Any:
        program = _C.Seq2SeqProgram()
        program.dtype, program.models = DTYPES.index(self.dtype), len(self.seeds)
        program.alphabet, program.hidden = self.alphabet, self.hidden
        program.steps_in, program.steps_out = self.steps_in, self.steps_out
        program.batch_norm, program.batch, program.samples = int(self.batch_norm), batch, samples
        program.decay1, program.decay2, program.eps = 1 - BETA1, 1 - BETA2, self.eps
        program.norm_eps, program.norm_decay = NORM_EPS, 1 - NORM_MOMENTUM
        if hasattr(self, "_running"):
            program.parameter, program.running = self._parameter.data_ptr(), self._running.data_ptr()
            program.first_moment, program.second_moment = self._first.data_ptr(), self._second.data_ptr()
        return program

    def _evaluate(self, program: Any, inputs: Tensor) -> None:
        if len(inputs) == 0:
            return
        program.inputs = inputs.data_ptr()
        threads = self._threads()
        _C.seq2seq_evaluate(
            program, threads, self._working_memory(_C.seq2seq_evaluate_bytes(program, threads))
        )

    def _threads(self) -> int:
        return self.threads or torch.get_num_threads()

    def _working_memory(self, needed: int) -> int:
        if self._memory.numel() < needed:
            self._memory = torch.empty(needed, dtype=torch.uint8)
        return self._memory.data_ptr()

    def _windows(self, minibatches: int) -> Iterator[tuple[int, int]]:
        """Cut an epoch into calls of about a quarter of a second; where the cuts fall changes no bit."""
        first = 0
        while first < minibatches:
            last = min(first + self._window, minibatches)
            started = time.perf_counter()
            yield first, last
            seconds = max(time.perf_counter() - started, 1e-6)
            self._window = max(1, int((last - first) * min(CALL_SECONDS / seconds, 8.0)))
            first = last

    def _step_sizes(self, steps: int) -> Tensor:
        """Adam's step of the next updates: lr sqrt(1 - b2^t) / (1 - b1^t), t from 1."""
        t = np.arange(self.updates + 1, self.updates + steps + 1)
        sizes = self.learning_rate * np.sqrt(1 - powers(BETA2, t)) / (1 - powers(BETA1, t))
        return torch.from_numpy(sizes).to(self.dtype)

    # -- tensors by name

    def _named(self, values: Tensor) -> dict[str, Tensor]:
        return {name: torch.from_numpy(values.numpy()[:, place]) for name, place in self._places.items()}

    def _running_statistics(self) -> dict[str, Tensor]:
        return {name: self._running_place(name).clone() for name in self._running_shapes}

    def _running_place(self, name: str) -> Tensor:
        norm, part = name.split(".")
        index = tensors.NORMS.index(norm), tensors.RUNNING.index(part)
        return self._running[:, index[0], index[1], : 2 * self.hidden]

    def _set_parameters(self, given: Mapping[str, Tensor], what: str) -> None:
        require(isinstance(given, Mapping), what, given, "a dict of tensors by name")
        given = dict(given)
        second_biases = {name: given.pop(name) for name in list(given) if ".bias_hh_l0" in name}
        self._check_tensors(given, self._shapes | self._running_shapes, what, None)
        biases = {name: shape for name, shape in self._shapes.items() if ".bias_ih_l0" in name}
        if second_biases:
            needed = {name.replace("bias_ih", "bias_hh"): shape for name, shape in biases.items()}
            self._check_tensors(second_biases, needed, what, None)
        for name, value in (*given.items(), *second_biases.items()):
            lost = torch.isfinite(value) & ~torch.isfinite(value.to(self.dtype))
            require(not lost.any(), f"{what}[{name!r}]", value[lost][:1].tolist(), f"numbers of {self.dtype}")
        for name, place in self._places.items():
            value = given[name]
            if second_biases and name in biases:
                value = value + second_biases[name.replace("bias_ih", "bias_hh")]
            self._parameter.numpy()[:, place] = value.detach().to(self.dtype).numpy()
        for name in self._running_shapes:
            self._running_place(name).copy_(given[name].detach())

    def _check_tensors(
        self,
        given: Mapping[str, Tensor],
        needed: Mapping[str, tuple[int, ...]],
        what: str,
        dtype: torch.dtype | None,
    ) -> None:
        missing, unknown = sorted(set(needed) - set(given)), sorted(set(given) - set(needed))
        require(not missing, f"{what}: missing tensors", missing, f"all of {sorted(needed)}")
        require(not unknown, f"{what}: unknown tensors", unknown, f"only {sorted(needed)}")
        for name, shape in needed.items():
            tensor, right = given[name], (self.models, *shape)
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{what}[{name!r}]: got {type(tensor).__name__}, needs a tensor {right}")
            require(tuple(tensor.shape) == right, f"{what}[{name!r}]: shape", tuple(tensor.shape), str(right))
            placed = tensor.device.type == "cpu" and tensor.layout == torch.strided
            place = f"{tensor.layout} on {tensor.device}"
            require(placed, f"{what}[{name!r}]", place, "a dense tensor on the CPU")
            kind = tensor.dtype == dtype if dtype else tensor.is_floating_point()
            require(kind, f"{what}[{name!r}]: dtype", tensor.dtype, str(dtype or "a floating-point dtype"))
            if name.endswith("running_var"):
                _not_negative(f"{what}[{name!r}]", tensor)

    # -- data

    def _inputs(self, inputs: Tensor) -> Tensor:
        return self._token_ids(inputs, "inputs", self.steps_in, -1)

    def _targets(self, targets: Tensor, samples: int) -> Tensor:
        targets = self._token_ids(targets, "targets", self.steps_out, 0)
        require(
            len(targets) == samples, "targets", tuple(targets.shape), f"one row for each of {samples} inputs"
        )
        return targets

    def _token_ids(self, given: Tensor, what: str, steps: int, lowest: int) -> Tensor:
        if not isinstance(given, Tensor):
            raise TypeError(f"{what}: got {type(given).__name__}, needs an int8 tensor (N,{steps})")
        fits = given.dtype == torch.int8 and given.dim() == 2 and given.shape[1] == steps
        right = f"an int8 tensor (N,{steps}) on the CPU"
        require(fits and given.device.type == "cpu", what, f"{given.dtype} {tuple(given.shape)}", right)
        if given.numel():
            low, high = _bounds(given)
            right = f"token ids from {lowest} to {self.alphabet - 1}"
            require(low >= lowest and high < self.alphabet, what, low if low < lowest else high, right)
        return given.contiguous()

    def _order(self, order: Tensor, samples: int) -> Tensor:
        if not isinstance(order, Tensor):
            raise TypeError(f"order: got {type(order).__name__}, needs an int64 tensor (E,M)")
        fits = order.dtype == torch.int64 and order.dim() == 2 and order.shape[0] == self.models
        right = f"an int64 tensor ({self.models},M) on the CPU with M of at least 1"
        fits = fits and order.shape[1] > 0 and order.device.type == "cpu"
        require(fits, "order", f"{order.dtype} {tuple(order.shape)}", right)
        low, high = _bounds(order)
        right = f"rows from 0 to {samples - 1}"
        require(low >= 0 and high < samples, "order", low if low < 0 else high, right)
        return order.contiguous()
