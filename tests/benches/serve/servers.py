"""Servers of one model on this machine, and requests to them."""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

HOST = "127.0.0.1"


def free_port():
    with socket.socket() as found:
        found.bind((HOST, 0))
        return found.getsockname()[1]


class Server:
    """A server as a process of its own, ready to be asked; a context that ends it."""

    def __init__(self, name, command, port):
        self.name, self.port = name, port
        self.errors = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(command, stdout=self.errors, stderr=self.errors)
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                if self.get("/v1/models")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        self.errors.seek(0)
        self.process.kill()
        sys.exit(f"{name} does not serve:\n{self.errors.read()[-3000:]}")

    @classmethod
    def evo(cls, binary, model):
        port = free_port()
        return cls("evo", [binary, "serve", model, "--port", str(port), "--jobs", "2"], port)

    @classmethod
    def llama(cls, model):
        """llama-cpp-python's server, on as many threads."""
        port = free_port()
        options = ["--model", model, "--host", HOST, "--port", str(port), "--n_ctx", "2048"]
        options += ["--n_threads", "2", "--n_threads_batch", "2"]
        return cls("llama-cpp-python", [sys.executable, "-m", "llama_cpp.server", *options], port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def get(self, path):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def resident(self):
        """Bytes that the process has in memory."""
        with open(f"/proc/{self.process.pid}/statm") as sizes:
            return int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def files(self):
        """Files and sockets that it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Client:
    """One connection, kept from request to request."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection(HOST, server.port, timeout=600)

    def complete(self, prompt, max_tokens):
        """The greedy answer and its tokens."""
        body = {"model": "default", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
        self.connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        read = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {read[:300]!r}")
        told = json.loads(read)
        return told["choices"][0]["text"], told["usage"]["completion_tokens"]
