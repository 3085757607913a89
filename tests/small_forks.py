"""Programs that begin with what they need imported: each is forked from a process that has imported it.

What a notebook imports, PyTorch and transformers and Panel, takes longer than most of what it does then.
Started with ``-c``, ``-m`` or a path, a program finds its arguments, variables, folder and standard streams
as one that Python starts, and a small process waits for it and ends with its exit status.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile

SERVER = """
import sys
sys.path.append({!r})
from small_forks import serve
sys.path.pop()
serve()
"""


@contextlib.contextmanager
def forks(*modules):
    """What programs are started by, in place of Python's path, while this lasts; modules are imported."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = [sys.executable, "-c", SERVER.format(os.path.dirname(__file__)), path, *modules]
        with subprocess.Popen(server, stdout=subprocess.PIPE, start_new_session=True) as process:
            try:
                assert process.stdout.readline() == b"imported\n", "what is to be imported is not there"
                yield [sys.executable, "-I", "-S", __file__, path]
            finally:
                os.killpg(process.pid, 9)  # and what programs have left running


def start():
    """Of the small process: have the program of its arguments forked, and wait for its end."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(sys.argv[1])
        told = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(asked, [len(told).to_bytes(8, "big")], [0, 1, 2])
        asked.sendall(told)
        status = asked.makefile().read()
    sys.exit(int(status) if status else 1)


def serve():
    """Of the process that has imported all: fork one that waits, and from it the program."""
    path, *modules = sys.argv[1:]
    for name in modules:
        importlib.import_module(name)
    tempfile.tempdir = None  # which is another for each program
    gc.collect()
    gc.freeze()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    print("imported", flush=True)
    while True:
        asked, _ = listening.accept()
        if not os.fork():
            break
        asked.close()
        with contextlib.suppress(ChildProcessError):  # those that have ended
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    length, streams, *_ = socket.recv_fds(asked, 8, 3)
    arguments, folder, variables = json.loads(asked.makefile().read(int.from_bytes(length, "big")))
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        asked.sendall(str(status).encode())
        os._exit(0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    asked.close()
    listening.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    run(*arguments)


def run(how, *arguments):
    if how == "-c":
        code, *sys.argv[1:] = arguments
        sys.argv[0] = "-c"
        exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))
    elif how == "-m":
        sys.argv[:] = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = [how, *arguments]
        runpy.run_path(how, run_name="__main__")


if __name__ == "__main__":
    start()
