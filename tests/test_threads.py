"""Tasks on threads: calls that need others' results, and what becomes of their errors."""

import threading

import numpy as np
import pytest
import threadpoolctl

import daskksvd
from daskksvd.coding import code_rows
from daskksvd.execution import Blueprint, ThreadExecutor, given
from daskksvd.machine.blas import single_threaded_blas


@pytest.fixture
def executor():
    made = ThreadExecutor(2)
    yield made
    made.close()


def test_calls_of_calls(executor):
    leaves = [executor.submit(pow, 2, power) for power in range(20)]
    sums = [executor.submit(sum, leaves[start : start + 5]) for start in range(0, 20, 5)]
    assert executor.gather([executor.submit(sum, sums), *leaves[:3]]) == [2**20 - 1, 1, 2, 4]


def test_a_single_job_runs_where_it_is_asked_for_and_ends_like_several(executor):
    def tasks(jobs):
        return lambda: ((job, [executor.submit(int, 5)]) for job in jobs)

    def chunk(job, inputs, shared):
        return {"sum": job + sum(inputs) + shared, "threads": {threading.current_thread().name}}

    def combine(parts):
        threads = set.union(*[part["threads"] for part in parts])
        return {"sum": sum(part["sum"] for part in parts), "threads": threads, "combined": True}

    one, two = (executor.reduce(Blueprint(chunk, combine), tasks(jobs), given(10)) for jobs in ([1], [1, 2]))
    here = threading.current_thread().name
    assert one == {"sum": 16, "threads": {here}, "combined": True}
    assert two["sum"] == 33 and two["combined"] and here not in two["threads"]


def test_no_thread_waits_for_an_argument(executor):
    """With both threads in a leaf, a third task still runs before their sum can."""
    gate, entered, order = threading.Event(), threading.Semaphore(0), []

    def leaf(number):
        entered.release()
        assert gate.wait(60)
        return number

    def later():
        order.append("later")

    first = executor.submit(leaf, 1)
    total = executor.submit(lambda parts: order.append("total") or sum(parts), [first])
    entered.acquire(timeout=60)
    executor.gather([executor.submit(later)])  # one thread is in the leaf; the other must not be in the sum
    gate.set()
    assert executor.gather([total]) == [1] and order == ["later", "total"]


def test_what_is_added_up_goes_before_the_next_task():
    executor, order = ThreadExecutor(1), []
    gate = threading.Event()

    def leaf(name):
        assert gate.wait(60)
        order.append(name)
        return name

    pair = [executor.submit(leaf, name) for name in "ab"]
    joined = executor.submit(lambda names: order.append("".join(names)), pair)
    more = executor.submit(leaf, "c")
    gate.set()
    executor.gather([joined, more])
    assert order == ["a", "b", "ab", "c"]
    executor.close()


def test_errors_come_up(executor):
    gate = threading.Event()

    def broken():
        assert gate.wait(60)
        raise ArithmeticError("of a leaf")

    total = executor.submit(sum, [executor.submit(sum, [executor.submit(broken)])])
    gate.set()
    with pytest.raises(ArithmeticError, match="of a leaf"):
        executor.gather([total])
    assert executor.gather([executor.submit(abs, -1)]) == [1]  # threads live on


def test_cancelled_calls_are_not_made(executor):
    gate, made = threading.Event(), []
    blocked = [executor.submit(gate.wait, 60) for _ in range(2)]
    queued = [executor.submit(made.append, number) for number in range(3)]
    total = executor.submit(lambda parts: made.append("total"), queued)
    executor.cancel()
    gate.set()
    executor.gather(blocked)
    with pytest.raises(BaseException):  # noqa: B017  # CancelledError is no Exception
        executor.gather([total])
    assert made == []


def blas_threads():
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_while_any_task_runs_and_all_again_after():
    """Although another thread leaves last than came first, whose settings threadpoolctl ignores."""
    second_is_in, first_is_out = threading.Event(), threading.Event()
    seen = []

    def first():
        with single_threaded_blas():
            seen.append(blas_threads())
            second_is_in.wait(60)
        first_is_out.set()

    def second():
        with single_threaded_blas():
            second_is_in.set()
            first_is_out.wait(60)
            seen.append(blas_threads())

    before = blas_threads()
    for _ in range(3):
        second_is_in.clear(), first_is_out.clear()
        threads = [threading.Thread(target=task) for task in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen.pop() == seen.pop() == {1}
        assert blas_threads() == before


def test_lazy_codes_are_made_by_one_blas_thread(monkeypatch):
    """Some of OpenBLAS's kernels round differently with more; written codes are those of jobs."""
    seen = []

    def watched(*arguments):
        seen.append(blas_threads())
        return code_rows(*arguments)

    samples = np.random.default_rng(0).standard_normal((90, 8)).astype("f4")
    result = daskksvd.fit(samples, n_components=12, n_nonzero_coefs=2, max_passes=1)
    monkeypatch.setattr("daskksvd.coding.coder.code_rows", watched)
    result.encode(samples).compute(scheduler="threads")
    assert seen and all(threads == {1} for threads in seen)
