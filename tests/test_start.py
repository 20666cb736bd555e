"""What a start does beside its main way: kernels compiled ahead, a tokenizer made aside, C types parsed quickly."""

import threading

import pytest

import shaderlm
from byte_sources import wait
from gpu import Device
from shaderlm.core import Core
from shaderlm.errors import KernelError, TokenizerError
from shaderlm.host import Aside, KernelSource, at_once
from shaderlm.hosts.native.c_types import parse_quickly
from shaderlm.hosts.native.compiling import Ahead
from shaderlm.hosts.native.thread import beside
from shaderlm.planner.compose import compose
from shaderlm.stages import Stages
from tiny_model import TINY

KERNEL = KernelSource("k", "code", ())
OTHER = KernelSource("other", "code of another", ())


# Kernels


def test_a_job_that_was_begun_is_waited_for_and_done_once() -> None:
    done: list[str] = []
    finish = threading.Event()

    def job() -> str:
        finish.wait()
        done.append(threading.current_thread().name)
        return "pipeline"

    ahead = Ahead[str]()
    ahead.begin([(KERNEL, job)])
    ahead.begin([(KERNEL, job)])
    finish.set()
    assert ahead.take(KERNEL, job) == "pipeline"
    ahead.close()
    assert len(done) == 1


def test_what_has_not_begun_is_done_by_who_asks_and_dropped_at_the_end() -> None:
    ahead = Ahead[str]()
    assert ahead.take(KERNEL, lambda: threading.current_thread().name) == threading.current_thread().name
    hold, dropped = threading.Event(), []
    jobs = [(KernelSource(str(i), "", ()), hold.wait) for i in range(8)]  # more than there are threads
    ahead_of_all = Ahead[object]()
    ahead_of_all.begin([*jobs, (OTHER, lambda: dropped.append(1))])
    threading.Timer(0.05, hold.set).start()
    ahead_of_all.close()
    assert not dropped


def test_an_error_of_a_job_ahead_is_raised_to_who_asks() -> None:
    def job() -> str:
        raise KernelError("no such thing")

    ahead = Ahead[str]()
    ahead.begin([(KERNEL, job)])
    with pytest.raises(KernelError, match="no such thing"):
        ahead.take(KERNEL, lambda: job())


def test_an_expected_kernel_that_does_not_compile_is_told_when_it_is_asked_for(gpu: Device) -> None:
    good = compose("attention_combine.wgsl", parameters={"HEAD_DIM": 48}).source
    bad = KernelSource("broken", "fn main() { nonsense; }", good.bindings)
    gpu.gpu.expect_pipelines([bad, good])
    assert len(wait(gpu.gpu.create_pipelines([good]))) == 1
    with pytest.raises(KernelError, match="to compile kernel broken"):
        wait(gpu.gpu.create_pipelines([bad]))


def test_the_kernels_of_answers_are_expected_before_weights_are_read(tiny: shaderlm.Model) -> None:
    async def lacking(core: Core) -> set[KernelSource]:
        engine = core.engine
        plans = [await engine.plan("prefill", engine.deployment.choice.prefill_rows), await engine.decode_plan(1)]
        needed = {dispatch.kernel.source for plan in plans for dispatch in plan.plan.dispatches}
        return needed - set(engine.model.kernels(engine.deployment))

    assert tiny.run_on_engine(lacking) == set()


# Aside


@pytest.mark.parametrize("aside", [beside, at_once])
def test_what_is_made_aside_comes_when_it_is_asked_for(aside: Aside) -> None:
    assert aside(lambda: 7).result() == 7


def test_an_error_aside_is_raised_where_the_result_is_asked_for() -> None:
    def fail() -> int:
        raise TokenizerError("no tokens")

    made = beside(fail)
    with pytest.raises(TokenizerError, match="no tokens"):
        made.result()


def test_the_stages_of_a_start_are_noted_in_order() -> None:
    with shaderlm.load(TINY, context=64) as model:

        async def read(core: Core) -> Stages:
            return core.stages

        stages = model.run_on_engine(read)
    assert {"file", "adapter", "device", "header", "tokenizer", "plans", "weights"} <= set(stages.seconds())
    ends = {stage.name: stage.end for stage in stages}
    begins = {stage.name: stage.begin for stage in stages}
    assert begins["weights"] >= ends["plans"] >= ends["header"] >= ends["device"]
    assert begins["tokenizer"] >= ends["header"]


# C types


def test_c_types_parsed_quickly_are_those_of_the_whole_header() -> None:
    from wgpu.backends.wgpu_native import ffi

    parse_quickly()
    assert "_parse" in vars(ffi._parser)
    for name in ("WGPUBuffer", "WGPULimits *", "WGPUCommandBuffer[3]", "uint64_t", "struct WGPUChainedStruct *"):
        assert ffi._parser.parse_type(name) == plainly(ffi._parser, name)


def plainly(parser: object, name: str) -> object:
    """The type by cffi's own way, which stands behind ours."""
    ours = vars(parser).pop("_parse")
    try:
        return parser.parse_type(name)  # type: ignore[attr-defined]
    finally:
        vars(parser)["_parse"] = ours
