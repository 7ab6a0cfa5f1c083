#include "support/docker/private_engine.hpp"

#include <arpa/inet.h>
#include <catch2/catch_test_macros.hpp>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

using namespace hf::testing_support;

namespace {

// Runs a launch and returns how it failed; anything but an hf::error is the test's failure.
hf::error failure_of(hf::docker_options const& settings, std::string const& image) {
  hf::curl_transport transport;
  hf::docker_launcher launcher(settings);
  hf::launch_options o;
  o.image = image;
  try {
    auto const machine = launcher.launch(transport, o);
    launcher.stop(transport, machine.id);
  } catch (hf::error const& e) {
    return e;
  }
  FAIL("launched");
  throw 0;
}

bool says(hf::error const& e, std::string const& text) {
  INFO(e.what());
  return std::string(e.what()).find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("an engine that is absent is one sentence with the remedy") {
  auto settings = docker_settings();
  if (settings.agent.empty())
    settings.agent = "/bin/sh";
  settings.host = "unix:///nowhere/docker.sock";
  auto const e = failure_of(settings, "img");
  CHECK(e.kind() == hf::errc::connect_failed);
  CHECK(e.hop() == hf::hop::docker);
  CHECK(says(e, "unix:///nowhere/docker.sock"));
  CHECK(says(e, "DOCKER_HOST"));

  settings.host = "tcp://127.0.0.1:1";
  CHECK(failure_of(settings, "img").kind() == hf::errc::connect_failed);
}

TEST_CASE("an image that nobody has is one sentence with the remedy") {
  docker_test test;
  auto settings = docker_settings();
  // A registry that cannot be: the answer does not depend on this machine's way to the world.
  auto const pulled = failure_of(settings, "localhost:1/absent:1");
  CHECK(pulled.kind() == hf::errc::launch_failed);
  CHECK(says(pulled, "localhost:1/absent:1"));
  CHECK(says(pulled, "registry"));
  settings.pull = false;
  auto const absent = failure_of(settings, "hf-sandbox-test/absent");
  CHECK(absent.kind() == hf::errc::not_found);
  CHECK(says(absent, "docker pull hf-sandbox-test/absent"));
}

TEST_CASE("a user who may not use the engine is told what to do") {
  docker_test test;
  if (::geteuid() != 0)
    SKIP("needs root, to become a user without rights");
  auto const settings = docker_settings();
  int result[2];
  REQUIRE(::pipe(result) == 0);
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::string text = "launched";
    if (::setgid(65534) != 0 || ::setuid(65534) != 0)
      text = "cannot change the user";
    try {
      hf::curl_transport transport;
      hf::docker_launcher launcher(settings);
      static_cast<void>(launcher.list(transport, {}));
    } catch (hf::error const& e) {
      text = std::string(to_string(e.kind())) + ": " + e.what();
    }
    static_cast<void>(!::write(result[1], text.data(), text.size()));
    ::_exit(0);
  }
  ::close(result[1]);
  std::string text;
  char part[512];
  for (ssize_t n; (n = ::read(result[0], part, sizeof part)) > 0;)
    text.append(part, static_cast<std::size_t>(n));
  ::close(result[0]);
  ::waitpid(child, nullptr, 0);
  INFO(text);
  CHECK(text.starts_with("permission_denied: "));
  CHECK(text.find("group 'docker'") != std::string::npos);
}

TEST_CASE("an engine restarted in the middle gives typed errors, and nothing hangs or stays") {
  private_engine engine;
  engine.make_image("img");
  auto client =
      std::make_shared<docker_sandbox::client_type>(hf::docker_launcher(engine.settings()));
  hf::launch_options o;
  o.image = "img";
  o.network = false;
  std::vector<docker_sandbox> sandboxes;
  for (int i = 0; i < 3; ++i)
    sandboxes.push_back(docker_sandbox::create(client, o));
  std::vector<std::string> ends(sandboxes.size());
  std::vector<std::thread> threads;
  std::atomic<int> running{0};
  for (std::size_t i = 0; i < sandboxes.size(); ++i)
    threads.emplace_back([&, i] {
      hf::exec_options e;
      e.on_stdout = [&](std::string_view) { ++running; };
      e.reconnect_budget = std::chrono::seconds(10);
      try {
        auto const r = sandboxes[i].exec(
            {"/bin/busybox", "sh", "-c", "echo up; exec /bin/busybox sleep 600"}, e);
        ends[i] = "result, signal " + std::to_string(r.signal);
      } catch (hf::error const& failed) {
        ends[i] = std::string(to_string(failed.kind()));
      } catch (std::exception const& failed) {
        ends[i] = std::string("untyped: ") + failed.what();
      }
    });
  CHECK(eventually([&] { return running == 3; }));
  auto const stop_signal = SIGTERM;
  engine.stop(stop_signal);
  for (auto& thread : threads)
    thread.join();
  for (auto const& end : ends) {
    INFO(end);
    CHECK((end == "sandbox_expired" || end == "connection_lost" || end == "outcome_unknown" ||
           end.starts_with("result, signal ")));
  }
  // Without the engine: typed errors.
  try {
    static_cast<void>(docker_sandbox::create(client, o));
    FAIL("created without an engine");
  } catch (hf::error const& e) {
    INFO(e.what());
    CHECK(e.kind() == hf::errc::connect_failed);
  }
  engine.start();
  REQUIRE(eventually([&] { return engine.answers(); }));
  // The same client, the same launcher, the new engine.
  CHECK(eventually([&] { return docker_sandbox::list(client).empty(); }));
  auto again = docker_sandbox::create(client, o);
  CHECK(again.exec({"/bin/busybox", "echo", "again"}).out == "again\n");
  again.terminate();
  sandboxes.clear();
  engine_probe probe(engine.settings());
  CHECK(probe.containers("hf-sandbox=1").empty());
}

TEST_CASE("a full disk of the engine is one sentence with the remedy") {
  private_engine engine({}, std::size_t{48} << 20);
  engine.make_image("img");
  {
    std::ofstream filler(engine.data() / "filler", std::ios::binary);
    std::string const block(1 << 16, 'x');
    while (filler.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  }
  auto settings = engine.settings();
  auto const e = failure_of(settings, "img");
  INFO(e.what());
  CHECK(e.kind() == hf::errc::no_space);
  CHECK(says(e, "docker system prune"));
  std::filesystem::remove(engine.data() / "filler");
  engine_probe probe(settings);
  CHECK(probe.containers("hf-sandbox=1").empty());
}

TEST_CASE("an engine behind TLS is reached with the right certificates only") {
  char name[] = "/tmp/hf-sandbox-certs-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  std::filesystem::path const certs(name);
  auto const make = std::string(HF_SANDBOX_TEST_SOURCE_DIR) +
                    "/tests/support/docker/make_certificates " + certs.string() +
                    " >/dev/null 2>&1";
  if (std::system(make.c_str()) != 0) {
    std::filesystem::remove_all(certs);
    SKIP("the openssl command cannot make certificates here");
  }
  // A port that is free now.
  int const listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(listener);
  auto const host = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  {
    private_engine engine({"--host=" + host, "--tlsverify",
                           "--tlscacert=" + (certs / "good/ca.pem").string(),
                           "--tlscert=" + (certs / "good/server.pem").string(),
                           "--tlskey=" + (certs / "good/server-key.pem").string()});
    auto settings = engine.settings();
    settings.host = host;
    hf::curl_transport transport;

    settings.cert_path = certs / "good";
    hf::docker_launcher good(settings);
    CHECK(good.list(transport, {}).empty());

    settings.cert_path = certs / "bad";
    auto const wrong = failure_of(settings, "img");
    CHECK(wrong.kind() == hf::errc::tls_failed);
    CHECK(says(wrong, "ca.pem"));

    settings.cert_path.clear();
    auto const plain = failure_of(settings, "img");
    CHECK(plain.kind() == hf::errc::tls_failed);
    CHECK(says(plain, "DOCKER_TLS_VERIFY"));
  }
  std::filesystem::remove_all(certs);
}
