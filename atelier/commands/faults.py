"""Errors of commands, each as one line and an exit code."""

import errno
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclopts import CycloptsError, UnusedCliTokensError

from atelier.outcomes import outcome_of
from interfaces.errors import AtelierError, one_line

_RESUMABLE = ("run", "train", "generate")


def exit_code_of(work: Callable[[], object], arguments: Sequence[str]) -> int:
    """Do the work; a person's error is one line and no traceback.

    0: all is well; 1: it failed; 2: the command line is wrong; 3: done, but for files that could
    not be used; 130: stopped by the person.
    """
    if fault := _empty(arguments):
        return _fail(fault, code=2)
    try:
        code = work()
    except UnusedCliTokensError as error:
        words = " ".join(error.unused_tokens or ())
        return _fail(f"{words}: a value goes with a flag, as in --data FOLDER; see --help", code=2)
    except CycloptsError as error:
        return _fail(str(error).strip().replace("\n", " "), code=2)
    except AtelierError as error:
        return _fail(str(error), outcome_of(error).exit_code)
    except BrokenPipeError:
        # Whoever read the list has seen enough; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, sqlite3.OperationalError) as error:
        return _fail(_in_words(error))
    except KeyboardInterrupt:
        can_resume = arguments[:1] and arguments[0] in _RESUMABLE
        hint = f"; `{arguments[0]} --resume` goes on" if can_resume else ""
        print(f"stopped; nothing that was finished is lost{hint}", file=sys.stderr)
        return 130
    else:
        return code if isinstance(code, int) else 0
    return 0


def _empty(arguments: Sequence[str]) -> str:
    """Complaint about an empty value; '' where none is empty.

    An empty path would mean the folder one happens to be in.
    """
    if "" in arguments:
        before = " ".join(arguments[: arguments.index("")][-1:])
        return f"{before}: an empty value follows; is a variable of the shell empty?".lstrip(": ")
    if os.environ.get("ATELIER_WORKSPACE") == "":
        return "environment variable ATELIER_WORKSPACE: is empty; name a folder, or unset it"
    return ""


def _fail(line: str, code: int = 1) -> int:
    print(f"error: {one_line(line)}", file=sys.stderr)
    return code


def _nameless(error: OSError | sqlite3.OperationalError) -> str:
    """Subject, in words, of an error that names no file."""
    try:
        Path.cwd()
    except OSError:
        return "the current folder, which was removed"
    is_printing = isinstance(error, OSError)  # what writes files names them
    return "the workspace, or where the output goes" if is_printing else "the workspace"


def _in_words(error: OSError | sqlite3.OperationalError) -> str:
    where = getattr(error, "filename", None) or _nameless(error)
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "disk is full" in str(error):
        return f"{where}: the disk is full; free some space, or choose another --workspace"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or "readonly" in str(error):
        return f"{where}: no permission; change it, or choose another --workspace"
    if number in (errno.ENOTDIR, errno.EEXIST):
        return f"{where}: a file is where a folder is needed; name another --workspace or --output"
    if number == errno.EISDIR:
        return f"{where}: a folder is where a file is needed; name another"
    return f"{where}: {getattr(error, 'strerror', None) or error}"
