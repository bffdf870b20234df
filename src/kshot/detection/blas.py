"""One BLAS thread while small matrices are worked on: more of them spin and wait for longer than they work."""

from __future__ import annotations

from contextlib import AbstractContextManager


def one_blas_thread() -> AbstractContextManager[object]:
    """Hold BLAS to one thread for the length of a `with`.

    Our matrices are a few hundred columns wide. numpy and scipy each bring an OpenBLAS with threads of its own, which
    wait for the next piece of work by spinning: on two cores a fit took four times the CPU seconds, and more time.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # 10 ms that `--help` need not pay

    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits
