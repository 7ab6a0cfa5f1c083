// A server in the sandbox, reached from outside through the agent: start it in the background, wait
// until it answers, send it requests, look at its output, end it.
#include <hf/sandbox.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using sandbox = hf::basic_sandbox<hf::curl_transport, hf::process_launcher>;

static int run() {
  auto sb = sandbox::create();
  if (!sb.exec(hf::shell("python3 -c 0")).ok()) {
    std::printf("Skipped: no python3 for the server\n");
    return 4;
  }
  sb.write_file("www/index.html", "hello from inside\n");

  // The system chooses the port: several of these may run on one machine.
  auto server = sb.spawn(
      hf::shell("cd www && exec python3 -u -c '"
                "import http.server as h\n"
                "s = h.ThreadingHTTPServer((\"127.0.0.1\", 0), h.SimpleHTTPRequestHandler)\n"
                "open(\"../port\", \"w\").write(str(s.server_port) + \"\\n\")\n"
                "s.serve_forever()'"));
  std::printf("started %s, pid %lld\n", server.id().c_str(), static_cast<long long>(server.pid()));

  auto const port_text =
      sb.exec(hf::shell("until grep -q . port 2>/dev/null; do sleep 0.05; done; cat port"),
              {.timeout = std::chrono::seconds(30)})
          .check()
          .out;
  auto const port = static_cast<std::uint16_t>(std::stoi(port_text));

  // Any HTTP client can do this: URL, header fields, and here a unix socket.
  hf::curl_transport http;
  hf::http::request rq;
  rq.url = sb.url_for(port, "/index.html");
  rq.fields = sb.headers();
  rq.unix_socket = sb.unix_socket();
  auto const answer = hf::http::fetch(http, rq);
  std::printf("%d: %s", answer.status, answer.body.c_str());

  server.kill();
  rq.url = sb.url_for(port);
  std::printf("after its end: %d\n", hf::http::fetch(http, rq).status);
  return answer.status == 200 ? 0 : 1;
}

int main() {
  try {
    return run();
  } catch (hf::error const& e) {
    bool const denied = e.kind() == hf::errc::isolation_unavailable;
    std::printf("%s%s\n", denied ? "Skipped: " : "", e.what());
    return denied ? 4 : 1;
  }
}
