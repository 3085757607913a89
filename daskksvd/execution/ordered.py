"""Calls in flight, whose values come back in the order of the tasks."""

from collections import deque


def in_order(executor, tasks, begin, ahead):
    """Yield ``(task, value)`` one after the other, while the calls of so many tasks are in flight.

    They are begun again where workers are lost.

    Parameters
    ----------
    executor : Executor
        Stays open.
    tasks : iterable
        Read no further ahead than that.
    begin : callable
        ``begin(task)`` starts the call of a task, and returns its handle.
    ahead : int
    """
    sent, handles = deque(), deque()

    def send():
        for task in list(sent)[len(handles) :]:
            handles.append(begin(task))

    def send_again():
        handles.clear()
        send()

    def first():
        value = executor.retrying(lambda: executor.gather([handles[0]])[0], send_again)
        handles.popleft()
        return sent.popleft(), value

    for task in tasks:
        sent.append(task)
        executor.retrying(send, send_again)
        if len(sent) >= ahead:
            yield first()
    while sent:
        yield first()


def in_flight(executor, each):
    """Tasks to keep in flight so that every thread has ``each`` of them ahead."""
    return each * (sum(threads for _, threads, _ in executor.memory()) or 1)
