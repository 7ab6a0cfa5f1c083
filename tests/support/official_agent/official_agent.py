#!/usr/bin/env python3
"""A double of Hugging Face's public agent (sbx-server 0.7.0) in dedicated mode.

Written from the protocol alone, sharing no code with the agent of this project, so that the client
library meets the other agent's habits: no operation ids, no resuming, no HEAD, chunked request
bodies refused, oversized ones dropped without a word, an unasked 408 on idle connections.
It really runs commands, moves files and proxies. No dependency but Python 3.8.

Configuration comes from the environment as with the original (SBX_PORT, SBX_TOKEN,
SBX_IDLE_TIMEOUT, SBX_MAX_CONNECTIONS). What only tests need are flags (see --help), SBX_PORT=0 for a
free port, and SBX_SOCKET, which listens on a unix socket in place of TCP.
"""

import argparse
import errno
import json
import os
import queue
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.parse

MAX_JSON_BODY = 16 << 20
MAX_HEAD = 64 << 10
MAX_DRAIN = 1 << 20
PIPE_READ = 32 << 10
COPY = 256 << 10
REASONS = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 408: "Request Timeout",
    409: "Conflict", 411: "Length Required", 500: "Internal Server Error",
    503: "Service Unavailable",
}
TOKEN_BYTES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
STRERROR_AGAIN = "Resource temporarily unavailable (os error 11)"


def os_error(e):
    """An OSError as the original prints it."""
    return "%s (os error %d)" % (os.strerror(e.errno), e.errno) if e.errno else str(e)


def compact(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def lossy(data):
    return data.decode("utf-8", "replace")


class CloseConnection(Exception):
    """Ends the connection without (further) answer."""


class HttpError(Exception):
    def __init__(self, status, text, close=False):
        super().__init__(text)
        self.status, self.text, self.close = status, text, close


class Request:
    def __init__(self):
        self.method = self.target = self.version = ""
        self.headers = {}
        self.keep_alive = True
        self.length = 0
        self.unread = 0

    @property
    def path(self):
        return self.target.split("?", 1)[0]

    @property
    def raw_query(self):
        parts = self.target.split("?", 1)
        return parts[1] if len(parts) == 2 else None

    def query(self):
        out = {}
        for part in (self.raw_query or "").split("&"):
            name, _, value = part.partition("=")
            out[decode(name)] = decode(value)
        return out


def decode(text):
    return lossy(urllib.parse.unquote_to_bytes(text.replace("+", " ").encode("latin-1")))


def flag(text, default):
    return {"true": True, "1": True, "false": False, "0": False}.get(text, default)


def number(text):
    return int(text) if text is not None and re.fullmatch(r"[0-9]+", text) else None


class Run:
    """A started command."""

    def __init__(self, agent, body, piped):
        cmd = body.get("cmd")
        shell = body.get("shell")
        if cmd is None or not isinstance(cmd, (str, list)):
            raise HttpError(400, "missing 'cmd' (string or array of strings)")
        if isinstance(cmd, list):
            if not cmd:
                raise HttpError(400, "cmd array must not be empty")
            if not all(isinstance(item, str) for item in cmd):
                raise HttpError(400, "cmd array items must be strings")
        if shell is True and not isinstance(cmd, str):
            raise HttpError(400, "shell=true requires 'cmd' to be a string")
        if shell is False and not isinstance(cmd, list):
            raise HttpError(400, "shell=false requires 'cmd' to be an array of strings")
        argv = ["/bin/sh", "-c", cmd] if isinstance(cmd, str) else cmd
        env = dict(agent.environment)
        given = body.get("env")
        for name, value in (given if isinstance(given, dict) else {}).items():
            env[name] = value if isinstance(value, str) else ""
        cwd = body.get("cwd") if isinstance(body.get("cwd"), str) else None
        stdin = body.get("stdin") if isinstance(body.get("stdin"), str) else None
        timeout = body.get("timeout")
        self.cmd = cmd
        self.tag = body.get("tag") if isinstance(body.get("tag"), str) else None
        self.timeout = float(timeout) if isinstance(timeout, (int, float)) else None
        self.timed_out = False
        self.started = time.time()
        output = subprocess.PIPE if piped else subprocess.DEVNULL
        group = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
        try:
            self.process = subprocess.Popen(
                argv, env=env, cwd=cwd, stdout=output, stderr=output, bufsize=0,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, **group)
        except OSError as e:
            raise HttpError(400, "failed to spawn '%s': %s" % (argv[0], os_error(e)))
        except ValueError as e:
            raise HttpError(400, "failed to spawn '%s': %s" % (argv[0], e))
        self.pid = self.process.pid
        with agent.lock:
            agent.running.add(self)
        if stdin is not None:
            start_thread(self.write_input, stdin.encode("utf-8"))

    def write_input(self, data):
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.process.stdin.fileno(), view):]
        except OSError:
            pass
        try:
            self.process.stdin.close()
        except OSError:
            pass

    def kill(self):
        """Group and leader; what called setsid escapes."""
        for send in (os.killpg, os.kill):
            try:
                send(self.pid, signal.SIGKILL)
            except OSError:
                pass

    def wait(self, agent):
        try:
            self.process.wait(self.timeout)
        except subprocess.TimeoutExpired:
            self.timed_out = True
            self.kill()
            self.process.wait()
        with agent.lock:
            agent.running.discard(self)
            agent.last_activity = time.monotonic()

    @property
    def exit_code(self):
        code = self.process.returncode
        return code if code is not None and code >= 0 else None

    def exit_event(self):
        code = self.process.returncode
        return {"event": "exit", "exit_code": code if code >= 0 else None,
                "signal": -code if code < 0 else None, "timed_out": self.timed_out,
                "duration_ms": int((time.time() - self.started) * 1000)}


def start_thread(target, *args):
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


class Agent:
    def __init__(self, options):
        self.options = options
        self.old = options.version.startswith("0.5")
        self.protocol = {"0.5": None, "0.6": 2}.get(options.version[:3], 3)
        self.token = os.environ.pop("SBX_TOKEN", "")
        self.environment = dict(os.environ)
        self.max_connections = int(os.environ.get("SBX_MAX_CONNECTIONS", "512"))
        idle = os.environ.get("SBX_IDLE_TIMEOUT")
        self.idle_timeout = int(idle) if idle is not None else None
        self.begun = self.last_activity = time.monotonic()
        self.lock = threading.RLock()
        self.connections = 0
        self.running = set()
        self.processes = {}
        self.next_id = 0

    def serve(self):
        path = os.environ.get("SBX_SOCKET")
        if path:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            port = 0
        else:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # The original listens everywhere; a test's double has no business outside.
            listener.bind(("127.0.0.1", int(os.environ.get("SBX_PORT", "8000"))))
            port = listener.getsockname()[1]
        listener.listen(1024)
        print("sbx-server %s listening on 0.0.0.0:%d (mode: dedicated, auth: %s, "
              "landlock: UNAVAILABLE)" % (self.options.version, port,
                                          "required" if self.token else "DISABLED"),
              file=sys.stderr, flush=True)
        if self.idle_timeout is not None:
            start_thread(self.watch_idle)
        while True:
            peer, _ = listener.accept()
            with self.lock:
                full = not self.old and self.connections >= self.max_connections
                self.connections += not full
            if full:
                try:
                    peer.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                                 b"Connection: close\r\n\r\n")
                except OSError:
                    pass
                peer.close()
                continue
            start_thread(self.serve_connection, peer)

    def serve_connection(self, peer):
        try:
            Connection(self, peer).run()
        except (CloseConnection, OSError):
            pass
        finally:
            peer.close()
            with self.lock:
                self.connections -= 1

    def watch_idle(self):
        while True:
            time.sleep(self.options.tick)
            with self.lock:
                idle = time.monotonic() - self.last_activity
                if not self.running and idle > self.idle_timeout:
                    leave(self, 0)

    def active(self):
        with self.lock:
            self.last_activity = time.monotonic()

    def trace(self, request):
        if self.options.trace:
            line = compact({"method": request.method, "target": request.target,
                            "headers": request.headers}) + "\n"
            with self.lock, open(self.options.trace, "a", encoding="utf-8") as out:
                out.write(line)


def leave(agent, status):
    with agent.lock:
        for run in list(agent.running):
            run.kill()
        os._exit(status)


class Connection:
    def __init__(self, agent, peer):
        self.agent, self.peer, self.buffer = agent, peer, b""

    # Reading

    def receive(self, limit=COPY):
        data = self.peer.recv(limit)
        if not data:
            raise CloseConnection()
        return data

    def read_head(self):
        """The next head's bytes, or None when it did not come in time."""
        until = time.monotonic() + self.agent.options.head_timeout
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0 and end + 4 <= MAX_HEAD:
                head, self.buffer = self.buffer[:end], self.buffer[end + 4:]
                return head
            if len(self.buffer) >= MAX_HEAD:
                if self.agent.old:
                    raise CloseConnection()
                raise HttpError(400, "request head too large", True)
            if self.agent.old:
                self.peer.settimeout(None)
            else:
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self.peer.settimeout(left)
            try:
                self.buffer += self.receive(MAX_HEAD)
            except socket.timeout:
                return None

    def parse_head(self, data):
        request = Request()
        strict = not self.agent.old
        try:
            text = data.decode("ascii")
        except UnicodeDecodeError:
            if strict:
                raise HttpError(400, "request head is not ASCII", True)
            text = lossy(data)
        lines = text.split("\r\n")
        words = lines[0].split(" ") if strict else lines[0].split()
        if len(words) != 3 or not words[0].isalpha() or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
            raise HttpError(400, "malformed request line", True)
        request.method, request.target, request.version = words
        if strict and len(lines) - 1 > 100:
            raise HttpError(400, "too many headers", True)
        for line in lines[1:]:
            if strict and line[:1] in (" ", "\t"):
                raise HttpError(400, "folded header line", True)
            name, colon, value = line.partition(":")
            if not colon:
                if strict:
                    raise HttpError(400, "header without colon", True)
                continue
            if strict and not TOKEN_BYTES.match(name):
                raise HttpError(400, "invalid header name", True)
            name, value = name.strip().lower(), value.strip()
            if strict and request.headers.get(name, value) != value:
                raise HttpError(400, "duplicate header: " + name, True)
            request.headers[name] = value
        wish = request.headers.get("connection", "").lower()
        request.keep_alive = "close" not in wish and (
            request.version == "HTTP/1.1" or "keep-alive" in wish)
        length = request.headers.get("content-length")
        if length is not None:
            if re.fullmatch(r"[0-9]+", length):
                request.length = int(length)
            elif strict:
                raise HttpError(400, "invalid Content-Length", True)
            if strict and "transfer-encoding" in request.headers:
                raise HttpError(400, "both Content-Length and Transfer-Encoding", True)
        request.unread = request.length
        return request

    def read_body(self, request, limit=None):
        """Some bytes of the body; empty at its end."""
        if request.unread == 0:
            return b""
        want = min(request.unread, limit or COPY)
        if self.buffer:
            data, self.buffer = self.buffer[:want], self.buffer[want:]
        else:
            if not self.agent.old:
                self.peer.settimeout(60)
            data = self.receive(want)
        request.unread -= len(data)
        return data

    def read_json(self, request):
        if request.length > MAX_JSON_BODY:
            raise CloseConnection()
        parts = []
        while True:
            data = self.read_body(request)
            if not data:
                break
            parts.append(data)
        try:
            body = json.loads(b"".join(parts).decode("utf-8"))
        except ValueError as e:
            raise HttpError(400, "invalid JSON body: %s" % e)
        return body if isinstance(body, dict) else {}

    # Writing

    def send(self, data):
        if not self.agent.old:
            self.peer.settimeout(120)
        self.peer.sendall(data)

    def head(self, request, status, content_type, framing):
        keep = request is not None and request.keep_alive
        return ("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nConnection: %s\r\n%s\r\n\r\n" % (
            status, REASONS.get(status, "Unknown"), content_type,
            "keep-alive" if keep else "close", framing)).encode()

    def answer(self, request, status, value):
        body = compact(value).encode("utf-8", "replace")
        self.send(self.head(request, status, "application/json",
                            "Content-Length: %d" % len(body)) + body)

    # Serving

    def run(self):
        while True:
            request = None
            try:
                data = self.read_head()
                if data is None:
                    raise HttpError(408, STRERROR_AGAIN, True)
                request = self.parse_head(data)
                self.agent.trace(request)
                self.handle(request)
            except HttpError as e:
                if e.close:
                    request = None
                self.answer(request, e.status, {"error": e.text})
            if request is None or not request.keep_alive:
                return
            if not self.agent.old and request.unread > MAX_DRAIN:
                return
            while self.read_body(request):
                pass

    def authorised(self, request):
        token = self.agent.token
        return not token or request.headers.get("x-sandbox-token") == token

    def handle(self, request):
        agent = self.agent
        chunked = "transfer-encoding" in request.headers
        refusal = HttpError(411, "chunked request bodies not supported; send Content-Length", True)
        if chunked and agent.old:
            raise refusal
        if request.method == "GET" and request.path == "/health":
            return self.health(request)
        if not self.authorised(request):
            raise HttpError(403, "invalid or missing X-Sandbox-Token")
        agent.active()
        if chunked:
            raise refusal
        parts = request.path.strip("/").split("/")
        key = (request.method, "/".join(parts))
        routes = {
            ("POST", "v1/exec"): self.exec,
            ("POST", "v1/processes"): self.start_process,
            ("GET", "v1/processes"): self.list_processes,
            ("GET", "v1/files/read"): self.read_file,
            ("PUT", "v1/files/write"): self.write_file,
            ("GET", "v1/files/list"): self.list_files,
            ("GET", "v1/files/stat"): self.stat_file,
            ("DELETE", "v1/files/delete"): self.delete_file,
            ("POST", "v1/files/mkdir"): self.make_directory,
        }
        if key in routes:
            return routes[key](request)
        if request.method == "DELETE" and len(parts) == 3 and parts[:2] == ["v1", "processes"]:
            return self.delete_process(request, parts[2])
        if len(parts) >= 3 and parts[:2] == ["v1", "proxy"]:
            return self.proxy(request, parts)
        raise HttpError(404, "no route: %s %s" % (request.method, request.path))

    def health(self, request):
        agent = self.agent
        told = {"status": "ok"}
        if agent.protocol is not None:
            told["protocol"] = agent.protocol
        if agent.old or self.authorised(request):
            told.update(version=agent.options.version, sandboxes=0,
                        uptime_ms=int((time.monotonic() - agent.begun) * 1000))
            if not agent.old:
                told.update(mode="dedicated", auth="required" if agent.token else "disabled",
                            landlock={"abi": 0, "features": []})
        self.answer(request, 200, told)

    # Commands

    def exec(self, request):
        body = self.read_json(request)
        if body.get("background") is True:
            run, id = self.launch(body)
            told = {"pid": run.pid, "tag": run.tag}
            if not self.agent.old:
                told["id"] = id
            return self.answer(request, 200, told)
        run = Run(self.agent, body, True)
        events = queue.Queue(0 if self.agent.old else 64)
        gone = threading.Event()
        start_thread(self.follow, run, events, gone)
        try:
            self.send(self.head(request, 200, "application/x-ndjson",
                                "Transfer-Encoding: chunked\r\nX-Accel-Buffering: no"))
            self.event({"event": "start", "pid": run.pid})
            while True:
                try:
                    event = events.get(timeout=self.agent.options.ping)
                except queue.Empty:
                    event = {"event": "ping"}
                self.event(event)
                self.agent.active()
                if event["event"] == "exit":
                    break
            self.send(b"0\r\n\r\n")
        except OSError:
            # The command goes on; writing to its pipes ends it later.
            gone.set()
            raise CloseConnection()

    def event(self, value):
        line = (compact(value) + "\n").encode("utf-8", "replace")
        self.send(b"%x\r\n%s\r\n" % (len(line), line))

    def follow(self, run, events, gone):
        """Feeds a foreground run's events."""
        def put(event):
            while not gone.is_set():
                try:
                    events.put(event, timeout=0.2)
                    return True
                except queue.Full:
                    pass
            return False

        def read(pipe, name):
            with pipe:
                while True:
                    data = os.read(pipe.fileno(), PIPE_READ)
                    if not data or not put({"event": name, "data": lossy(data)}):
                        return

        readers = [start_thread(read, run.process.stdout, "stdout"),
                   start_thread(read, run.process.stderr, "stderr")]
        run.wait(self.agent)
        event = run.exit_event()
        if not self.agent.old:
            until = time.monotonic() + 2
            for reader in readers:
                reader.join(max(0, until - time.monotonic()))
        put(event)

    def launch(self, body):
        agent = self.agent
        run = Run(agent, body, False)
        with agent.lock:
            id = "p-%d" % agent.next_id
            agent.next_id += 1
            finished = [i for i, r in agent.processes.items() if r.process.returncode is not None]
            if not agent.old:
                for old in finished[:max(0, len(finished) - 256)]:
                    del agent.processes[old]
            agent.processes[id] = run
        start_thread(run.wait, agent)
        return run, id

    def start_process(self, request):
        run, id = self.launch(self.read_json(request))
        self.answer(request, 200, {"id": id, "pid": run.pid, "cmd": run.cmd, "tag": run.tag})

    def list_processes(self, request):
        with self.agent.lock:
            told = [{"id": id, "pid": run.pid, "cmd": run.cmd, "tag": run.tag,
                     "started_at_ms": int(run.started * 1000),
                     "running": run.process.returncode is None, "exit_code": run.exit_code}
                    for id, run in self.agent.processes.items()]
        self.answer(request, 200, told)

    def delete_process(self, request, id):
        agent = self.agent
        if not agent.old and not re.fullmatch(r"p-[0-9]+", id):
            raise HttpError(400, "invalid process id: " + id)
        with agent.lock:
            run = agent.processes.pop(id, None)
        killed = run is not None and run.process.returncode is None
        if killed:
            run.kill()
        self.answer(request, 200, {"id": id, "ok": True} if agent.old
                    else {"id": id, "killed": killed})

    # Files

    def file_path(self, request):
        query = request.query()
        if "path" not in query:
            raise HttpError(400, "missing 'path' query parameter")
        return os.path.abspath(query["path"]), query

    def file_error(self, verb, path, e):
        if e.errno == errno.ENOENT and not (self.agent.old and verb == "write"):
            word = "path"
            if self.agent.old:
                word = "directory" if verb == "list" else "file"
            raise HttpError(404, "no such %s: %s" % (word, path))
        raise HttpError(400, "cannot %s %s: %s" % (verb, path, os_error(e)))

    def read_file(self, request):
        path, query = self.file_path(request)
        try:
            fd = os.open(path, os.O_RDONLY | (0 if self.agent.old else os.O_NONBLOCK))
        except OSError as e:
            self.file_error("open", path, e)
        try:
            info = os.fstat(fd)
            if stat.S_ISDIR(info.st_mode):
                raise HttpError(409, "is a directory: " + path)
            if not stat.S_ISREG(info.st_mode) and not self.agent.old:
                raise HttpError(400, "not a regular file: " + path)
            offset = number(query.get("offset")) or 0
            length = max(0, info.st_size - offset)
            wanted = number(query.get("length"))
            if wanted is not None:
                length = min(length, wanted)
            self.send(self.head(request, 200, "application/octet-stream",
                                "Content-Length: %d" % length))
            while length > 0:
                data = os.pread(fd, min(length, COPY), offset)
                if not data:
                    raise CloseConnection()  # the file became shorter
                self.send(data)
                offset += len(data)
                length -= len(data)
        finally:
            os.close(fd)

    def write_file(self, request):
        path, query = self.file_path(request)
        offset = number(query.get("offset"))
        final = None if self.agent.old else number(query.get("truncate_to"))
        try:
            if flag(query.get("mkdir"), True):
                os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if offset is None else 0),
                         0o666)
        except OSError as e:
            self.file_error("write", path, e)
        try:
            if offset:
                os.lseek(fd, offset, os.SEEK_SET)
            while True:
                data = self.read_body(request)
                if not data:
                    break
                while data:
                    data = data[os.write(fd, data):]
            if final is not None:
                os.ftruncate(fd, final)
            if re.fullmatch(r"[0-7]+", query.get("mode", "")):
                os.fchmod(fd, int(query["mode"], 8) & 0o7777)
        except OSError as e:
            if isinstance(e, (socket.timeout, ConnectionError)):
                raise
            self.file_error("write", path, e)
        finally:
            os.close(fd)
        self.answer(request, 200, {"path": path, "size": request.length})

    def entry(self, path):
        info = os.lstat(path)
        kind = "dir" if stat.S_ISDIR(info.st_mode) else (
            "symlink" if stat.S_ISLNK(info.st_mode) else "file")
        shown = lossy(os.fsencode(path))
        return {"name": shown.rsplit("/", 1)[-1], "path": shown, "type": kind,
                "size": info.st_size, "mtime_ms": info.st_mtime_ns // 1000000,
                "mode": "%o" % (info.st_mode & 0o7777)}

    def list_files(self, request):
        path, query = self.file_path(request)
        try:
            names = sorted(os.listdir(os.fsencode(path)))
        except OSError as e:
            self.file_error("list", path, e)
        truncated = False
        if not self.agent.old:
            limit = number(query.get("limit"))
            limit = min(10000 if limit is None else limit, 50000)
            after = query.get("after", "").encode("utf-8")
            names = [name for name in names if name > after] if after else names
            truncated = len(names) > limit or limit == 0
            names = names[:limit]
        entries = []
        for name in names:
            try:
                entries.append(self.entry(os.path.join(path, os.fsdecode(name))))
            except OSError:
                pass
        told = {"entries": entries}
        if not self.agent.old:
            told.update(truncated=truncated,
                        next=lossy(names[-1]) if truncated and names else None)
        self.answer(request, 200, told)

    def stat_file(self, request):
        path, _ = self.file_path(request)
        try:
            told = self.entry(path)
        except OSError as e:
            self.file_error("stat", path, e)
        self.answer(request, 200, told)

    def delete_file(self, request):
        path, query = self.file_path(request)
        try:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)
            elif flag(query.get("recursive"), False):
                shutil.rmtree(path)
            else:
                os.rmdir(path)
        except OSError as e:
            self.file_error("delete", path, e)
        self.answer(request, 200, {"deleted": path})

    def make_directory(self, request):
        path, _ = self.file_path(request)
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as e:
            self.file_error("mkdir", path, e)
        self.answer(request, 200, {"created": path})

    # Proxy

    def proxy(self, request, parts):
        port = number(parts[2])
        if port is None or not 1 <= port <= 65535:
            raise HttpError(404, "proxy target must be /proxy/<port>/<path>, with port in 1-65535")
        try:
            backend = socket.create_connection(("127.0.0.1", port), 10)
        except OSError as e:
            raise HttpError(502, "cannot reach port %d in sandbox: %s" % (port, os_error(e)))
        with backend:
            target = request.path.lstrip("/").split("/", 3)
            target = "/" + (target[3] if len(target) > 3 else "")
            if request.raw_query is not None:
                target += "?" + request.raw_query
            head = "%s %s HTTP/1.1\r\n" % (request.method, target)
            dropped = {"x-sandbox-token"} if self.agent.old else {"x-sandbox-token",
                                                                  "authorization"}
            for name, value in request.headers.items():
                if name not in dropped:
                    head += "%s: %s\r\n" % (name, value)
            backend.settimeout(None)
            self.peer.settimeout(None)
            backend.sendall((head + "\r\n").encode("latin-1") + self.buffer)
            self.buffer = b""
            start_thread(self.splice, self.peer, backend)
            self.splice(backend, self.peer)
            # Wakes the other direction.
            try:
                self.peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        raise CloseConnection()

    @staticmethod
    def splice(source, to):
        try:
            while True:
                data = source.recv(COPY)
                if not data:
                    break
                to.sendall(data)
        except OSError:
            pass
        try:
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--version", default="0.7.0", help="0.5.0, 0.6.0 or 0.7.0")
    parser.add_argument("--allow-no-auth", action="store_true")
    parser.add_argument("--allow-unconfined", action="store_true")
    parser.add_argument("--head-timeout", type=float, default=10, metavar="S",
                        help="seconds for a head, and until the unasked 408 (10)")
    parser.add_argument("--ping", type=float, default=15, metavar="S",
                        help="seconds of silence before a ping (15)")
    parser.add_argument("--tick", type=float, default=5, metavar="S",
                        help="seconds between looks at the idle time (5)")
    parser.add_argument("--trace", metavar="FILE", help="append each request's head as JSON")
    options = parser.parse_args()
    if os.environ.get("SBX_HOST_MODE") == "1":
        sys.exit("this double has no host mode")
    try:
        agent = Agent(options)
        if agent.max_connections <= 0 or (agent.idle_timeout or 0) < 0:
            raise ValueError("out of range")
    except ValueError as e:
        sys.exit("invalid setting: %s" % e)
    if not agent.old and not agent.token and not options.allow_no_auth:
        sys.exit("SBX_TOKEN is required")
    signal.signal(signal.SIGTERM, lambda *_: leave(agent, 0))
    try:
        agent.serve()
    except OSError as e:
        sys.exit("cannot listen: %s" % e)


if __name__ == "__main__":
    main()
