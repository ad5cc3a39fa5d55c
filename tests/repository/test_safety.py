"""What a run may not do: execute what it reads, talk to the network, leave half a result where it cannot write."""

import os
import pickle
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import random_nets, random_options, run

from main import infer
from main.utils.files import sha256
from main.utils.weights import save_weights, write_config


class Malice:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def malice(tmp_path):
    """A pickle that makes a folder where it is executed, and that folder."""
    folder = tmp_path / "executed"
    pickle.loads(pickle.dumps(Malice(folder)))
    assert folder.exists()  # it does what is feared
    folder.rmdir()
    return Malice(folder), folder


def test_weights_are_never_executed(malice, tmp_path, walks, capsys):
    save_weights(tmp_path / "weights", random_nets(), config := {"features": "default", "nets": random_options()})
    file = tmp_path / "weights" / "alpha.safetensors"
    for write in (lambda: torch.save(malice[0], file), lambda: file.write_bytes(pickle.dumps(malice[0]))):
        write()
        hashes = {name: sha256(tmp_path / "weights" / f"{name}.safetensors") for name in random_options()}
        write_config(tmp_path / "weights", config | {"sha256": hashes})  # the forger knows the checksum
        assert run(walks, tmp_path / "out", tmp_path / "weights") == 2
        assert "do not fit" in capsys.readouterr().err and not malice[1].exists()


def test_nothing_is_asked_of_the_network(tmp_path, walks, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a run asked the network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(AssertionError, match="asked the network"):
        socket.create_connection(("localhost", 9))
    assert infer.main([str(walks), "--out", str(tmp_path / "out"), "--weights", "fast", "--csv"]) == 0


def test_a_full_disk_gives_one_sentence(tmp_path, walks, weights):
    command = [sys.executable, infer.__file__, walks, "--out", tmp_path / "out", "--weights", weights]

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=little_room, check=False)
    assert done.returncode == 2 and "cannot be written" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write, as Linux has")
def test_a_read_only_folder_gives_one_sentence(walks, weights, capsys):
    assert run(walks, Path("/proc/self/out"), weights) == 2
    printed = capsys.readouterr().err
    assert "cannot be written" in printed and len(printed.strip().splitlines()) == 1
