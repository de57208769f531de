"""FF1 by others, each at work on the same values as ours: libffx, Bouncy Castle and @noble/ciphers.

libffx runs in this process, the others in one of their own, which makes a round over the values when asked,
so that rounds of all can take turns. Each takes one value at a time, as none has a form for many, with
whatever can be kept from one value to the next: strings in, strings out. What is counted is the processor
time of the thread that does the work; a runtime's compiler and collector run beside it on other threads, and
what they take is not held against the peer.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

import ffx

HERE: Final = Path(__file__).parent
JAR: Final = Path("/usr/share/java/bcprov.jar")  # of Debian's package libbcprov-java
NOBLE: Final = HERE / "node_modules" / "@noble" / "ciphers"
TOKENS: Final = 100


class Task(NamedTuple):
    """What a peer is given; it works for `warm_up` seconds before the first round that counts."""

    key: bytes
    alphabet: str
    values: list[str]
    warm_up: float


class Work(NamedTuple):
    """A peer at work: tokens of the first hundred values, and a round over all: seconds a value."""

    version: str
    tokens: list[str]
    a_value: Callable[[], float]


class Peer(NamedTuple):
    """An implementation by others; `lacks` names the packages that it needs and that are not here.

    Attributes:
        as_it_comes: whether it is what its packages give; else it was made faster by parts of ours.
    """

    name: str
    lacks: Callable[[], list[str]]
    at_work: Callable[[Task], AbstractContextManager[Work]]
    as_it_comes: bool = True


@contextlib.contextmanager
def libffx(task: Task) -> Iterator[Work]:
    encrypt = ffx.FF1(task.key, alphabet=task.alphabet).encrypt

    def a_value() -> float:
        start = time.thread_time()
        tokens = [encrypt(value) for value in task.values]
        return (time.thread_time() - start) / len(tokens)

    yield Work(version("libffx"), [encrypt(value) for value in task.values[:TOKENS]], a_value)


def child(*command: str) -> Callable[[Task], AbstractContextManager[Work]]:
    """A program that says its version, reads a task, works until it is warm, and says the tokens.

    Then it answers every line with the nanoseconds a value of one more round, until there are no more.
    """

    @contextlib.contextmanager
    def at_work(task: Task) -> Iterator[Work]:
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8") as process:
            to, answers = process.stdin, process.stdout
            assert to is not None
            assert answers is not None

            def say(*lines: str) -> None:
                to.write("".join(f"{line}\n" for line in lines))
                to.flush()

            def answer() -> str:
                line = answers.readline()
                if not line:
                    raise SystemExit(f"a peer ended before it answered: {' '.join(command)}")
                return line.rstrip("\n")

            def a_value() -> float:
                say("again")
                return float(answer()) / 1e9

            itself = answer()
            say(task.key.hex(), task.alphabet, str(task.warm_up), str(len(task.values)), *task.values)
            tokens = [answer() for _ in task.values[:TOKENS]]
            yield Work(itself, tokens, a_value)

    return at_work


def bouncy_castle_lacks() -> list[str]:
    # Only a JDK runs a program from its source.
    jdk = [] if shutil.which("java") and shutil.which("javac") else ["default-jdk-headless"]
    return jdk + ([] if JAR.exists() else ["libbcprov-java"])


def bouncy_castle(aes: str) -> Callable[[Task], AbstractContextManager[Work]]:
    return child("java", "-XX:+UseSerialGC", "-cp", str(JAR), str(HERE / "BouncyCastle.java"), aes)


def noble_lacks() -> list[str]:
    node = [] if shutil.which("node") else ["nodejs"]
    return node + ([] if NOBLE.exists() else ["@noble/ciphers (npm ci --prefix bench/peers)"])


# Bouncy Castle's engine takes any block cipher: its own AES, which is plain Java, is what it comes with, and
# that of the JDK, which uses the processor's AES instructions, is the fastest that it can be given. This
# takes an adapter that neither of them has (in BouncyCastle.java): it is shown and not what targets mean.
PEERS: Final = (
    Peer("libffx", list, libffx),
    Peer("Bouncy Castle", bouncy_castle_lacks, bouncy_castle("own")),
    Peer("Bouncy Castle with the JDK's AES", bouncy_castle_lacks, bouncy_castle("jdk"), as_it_comes=False),
    Peer("@noble/ciphers", noble_lacks, child("node", str(HERE / "noble.mjs"))),
)


def available() -> list[Peer]:
    """The peers that can run here; prints what brings the others."""
    here = []
    for peer in PEERS:
        lacking = peer.lacks()
        if lacking:
            print(f"skipped: {peer.name}, which needs {' and '.join(lacking)}")
        else:
            here.append(peer)
    return here
