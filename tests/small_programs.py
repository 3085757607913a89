"""Programs that are started several times, mostly to be killed; what they import is imported once."""

import contextlib
import json
import subprocess
import sys
import textwrap

_LOOP = """
import json, os, sys
{imports}
for line in sys.stdin:
    child = os.fork()
    if not child:
        break
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
sys.argv[1:] = json.loads(line)
print("begun", os.getpid(), flush=True)
{program}
"""


class Programs:
    """A process that forks itself at each start, after the imports and before anything else was done.

    The program finds its arguments in ``sys.argv``; what it prints can be read line by line.
    """

    def __init__(self, imports, program, stderr=None):
        code = _LOOP.format(imports=textwrap.dedent(imports), program=textwrap.dedent(program))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": stderr, "text": True}
        self._process = subprocess.Popen([sys.executable, "-c", code], **pipes)

    def start(self, *arguments):
        """Start it, and return its process number."""
        print(json.dumps([str(argument) for argument in arguments]), file=self._process.stdin, flush=True)
        begun, number = self._process.stdout.readline().split()
        assert begun == "begun"
        return int(number)

    def lines(self):
        """What it prints until it ends, line by line; the last one is the exit status, as of `subprocess`."""
        for line in self._process.stdout:
            ended, _, status = line.partition(" ")
            if ended == "ended":
                yield int(status)
                return
            yield line

    def end(self):
        """Wait for its end, and return the exit status."""
        *_, status = self.lines()
        return status


@contextlib.contextmanager
def programs(imports, program, stderr=None):
    """`Programs`, which are gone afterwards."""
    found = Programs(imports, program, stderr)
    with found._process:
        yield found
        found._process.stdin.close()
