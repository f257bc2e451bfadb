"""The Runtime on CPython: ONNX Runtime on CPU or CUDA.

The one module of the package that needs NumPy, because ONNX Runtime's Python interface takes and gives its arrays.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import onnxruntime

from autogaze_web.errors import ModelError
from autogaze_web.model_folder import Model
from autogaze_web.runtime import DEFAULT_LIMITS, TYPECODES, HostTensor, Limits, Loop, Tensor, step_by_step

Result = TypeVar("Result")

PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),  # TF32's 10-bit products would change ids and 8-bit resizes
}


# The one thread that makes and runs sessions. Masked keys get probabilities of 1e-39, and arithmetic on such denormals is ten times
# slower. ONNX Runtime can take them for zeros, but it does so by a mode of the processor that it sets for its own threads and, once in
# the life of a process, for the thread that makes the first session. That thread is this one: nobody else's arithmetic changes.
WORKER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="onnxruntime")


def on_worker(work: Callable[..., Result], *arguments: Any) -> Result:
    """The result of work, done on the thread of the sessions."""
    return WORKER.submit(work, *arguments).result()


def session_options(threads: int = 0) -> Any:
    """Options that all sessions of a process share; sessions must be made on_worker."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Waiting threads spin for a moment only: not at all costs a wake-up an operator, and for long doubles the time when anything else
    # wants a core.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "200")
    return options


class NativeRuntime:
    """Sessions are made when a graph is first run; all bind the same weights."""

    def __init__(self, model: Model, device: str = "cpu", threads: int = 0) -> None:
        """device: "cpu" or "cuda"; threads: of the CPU, 0 for one a core."""
        if device not in PROVIDERS:
            raise ModelError(f"There is no device {device!r}; choose one of {', '.join(PROVIDERS)}.")
        self.device, self.provider, self.provider_options = device, *PROVIDERS[device]
        if self.provider not in onnxruntime.get_available_providers():
            raise ModelError(
                f"This onnxruntime has no {self.provider}; it has {', '.join(onnxruntime.get_available_providers())}. "
                "For CUDA install onnxruntime-gpu in place of onnxruntime."
            )
        self.model, self.threads = model, threads
        checkpoint = model.checkpoint
        self.weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.frombuffer(checkpoint.weights(name), dtype=np.float32).reshape(info.shape))
            for name, info in checkpoint.tensors.items()
        }
        self.sessions: dict[str, Any] = {}

    @property
    def backend(self) -> str:
        return f"onnxruntime {onnxruntime.__version__} {self.device}"

    @property
    def limits(self) -> Limits:
        return DEFAULT_LIMITS

    def session(self, graph: str) -> Any:
        """The session of a graph."""
        if graph not in self.sessions:
            self.sessions[graph] = on_worker(self._open_session, graph)
            if self.sessions[graph].get_providers()[0] != self.provider:  # ONNX Runtime falls back to the CPU without a word
                raise ModelError(f"ONNX Runtime could not start {self.provider} on this machine; check its CUDA and cuDNN libraries.")
        return self.sessions[graph]

    def _open_session(self, graph: str) -> Any:
        options = session_options(self.threads)
        names = list(self.model.manifest.graphs[graph].weights)
        options.add_external_initializers(names, [self.weights[name] for name in names])
        return onnxruntime.InferenceSession(self.model.graphs[graph], options, providers=[(self.provider, self.provider_options)])

    def upload(self, tensor: HostTensor) -> Tensor:
        values = np.frombuffer(tensor.data, dtype=tensor.dtype).reshape(tensor.shape)
        return self.adopt(values)

    def adopt(self, values: np.ndarray[Any, Any]) -> Tensor:
        """A tensor of a NumPy array, such as a decoded frame."""
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(values), self.device)  # type: ignore[no-any-return]

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        return self.adopt(np.zeros(shape, dtype=dtype))

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.run_now(graph, feeds)

    def run_now(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As run; native runs are not asynchronous."""
        entry, session = self.model.manifest.graphs[graph], self.session(graph)
        binding = session.io_binding()
        for name in entry.inputs:
            binding.bind_ortvalue_input(name, feeds[name])
        shared = {f"next.{name}": feeds[name] for name in entry.in_place}
        for name in entry.outputs:
            if name in shared:
                binding.bind_ortvalue_output(name, shared[name])
            else:
                binding.bind_output(name, self.device)
        on_worker(session.run_with_iobinding, binding)
        # An output in place is the tensor that was fed: the handle that owns the buffer, which the binding's own handle would not.
        return {name: shared.get(name, value) for name, value in zip(entry.outputs, binding.get_outputs(), strict=True)}

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        return await step_by_step(self, first, then, feeds, state, collect, flag, limit)

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        read = []
        for tensor in tensors:
            values = self.numpy(tensor)
            data = array(TYPECODES[str(values.dtype)])
            data.frombytes(values.tobytes())
            read.append(HostTensor(data, str(values.dtype), values.shape))
        return read

    def numpy(self, tensor: Tensor) -> np.ndarray[Any, Any]:
        """A tensor's values, such as a painted panel."""
        return tensor.numpy()  # type: ignore[attr-defined,no-any-return]

    def release(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to do: a tensor's memory goes with its last reference."""
