#include "support/docker/fake_engine.hpp"

#include <hf/sandbox/launchers/docker.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using hf::testing_support::engine_fault;
using hf::testing_support::fake_engine;

static_assert(hf::transport<fake_engine>);
static_assert(hf::launcher<hf::docker_launcher, fake_engine>);

// A runtime directory of the test's own, so that what is left behind is seen.
struct runtime_directory {
  runtime_directory() {
    std::string name = (fs::temp_directory_path() / "hf-sandbox-unit-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
    if (char const* const old = std::getenv("XDG_RUNTIME_DIR"))
      before = old;
    ::setenv("XDG_RUNTIME_DIR", name.c_str(), 1);
  }
  ~runtime_directory() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
    if (before.empty())
      ::unsetenv("XDG_RUNTIME_DIR");
    else
      ::setenv("XDG_RUNTIME_DIR", before.c_str(), 1);
  }
  [[nodiscard]] std::vector<fs::path> left() const {
    std::vector<fs::path> out;
    std::error_code none;
    for (auto const& entry : fs::directory_iterator(path / "hf-sandbox-docker", none))
      out.push_back(entry.path());
    return out;
  }
  fs::path path;
  std::string before;
};

hf::docker_options settings(hf::docker_reach reach = hf::docker_reach::automatic,
                            hf::docker_injection injection = hf::docker_injection::automatic) {
  hf::docker_options options;
  options.host = "unix:///nowhere/docker.sock";
  // Any file that everybody may run does: the fake engine starts nothing.
  options.agent = "/bin/sh";
  options.reach = reach;
  options.injection = injection;
  return options;
}

hf::launch_options plain() {
  hf::launch_options o;
  o.image = "img";
  o.start_timeout = std::chrono::seconds(30);
  return o;
}

}  // namespace

TEST_CASE("docker launch: socket and bind mount are used when they work") {
  runtime_directory runtime;
  fake_engine engine;
  hf::docker_launcher launcher(settings());
  auto const machine = launcher.launch(engine, plain());
  REQUIRE(machine.endpoint);
  CHECK(machine.endpoint->unix_socket.starts_with("/proc/self/fd/"));
  CHECK(machine.endpoint->url == "http://" + machine.id.substr(0, 12) + ".localhost");
  CHECK(machine.health->version == "fake");
  CHECK(machine.phase == hf::phase::running);
  REQUIRE(engine->containers.size() == 1);
  CHECK(engine->containers.begin()->second.archive.empty());
  REQUIRE(runtime.left().size() == 1);
  CHECK((fs::status(runtime.left()[0]).permissions() & fs::perms::all) == fs::perms::owner_all);

  CHECK(launcher.inspect(engine, machine.id).endpoint->unix_socket ==
        machine.endpoint->unix_socket);
  CHECK(launcher.list(engine, {}).size() == 1);
  CHECK(launcher.list(engine, {{"a", "b"}}).empty());
  launcher.stop(engine, machine.id);
  launcher.stop(engine, machine.id);
  CHECK(engine->containers.empty());
  CHECK(runtime.left().empty());
}

TEST_CASE("docker launch: another launcher connects to a running sandbox") {
  runtime_directory runtime;
  fake_engine engine;
  hf::docker_launcher first(settings());
  auto const machine = first.launch(engine, plain());
  hf::docker_launcher second(settings());
  auto const found = second.inspect(engine, machine.id.substr(0, 12));
  CHECK(found.id == machine.id);
  REQUIRE(found.endpoint);
  CHECK(found.endpoint->headers == machine.endpoint->headers);
  second.stop(engine, found.id);
  CHECK(engine->containers.empty());
  CHECK(runtime.left().empty());
}

TEST_CASE("docker launch: an engine that sees no files gets a copy and is reached by a port") {
  runtime_directory runtime;
  fake_engine engine;
  engine->sees_no_files = true;
  hf::docker_launcher launcher(settings());
  auto const machine = launcher.launch(engine, plain());
  CHECK(machine.endpoint->url == "http://127.0.0.1:4711");
  CHECK(machine.endpoint->unix_socket.empty());
  CHECK(engine->containers.begin()->second.archive.find(".hf-sandbox/agent") != std::string::npos);
  CHECK(runtime.left().empty());
  launcher.stop(engine, machine.id);

  // What did not work is not tried again.
  auto const before = engine->requests;
  auto const again = launcher.launch(engine, plain());
  CHECK(engine->requests - before == 5);
  launcher.stop(engine, again.id);
  CHECK(engine->containers.empty());

  auto no_network = plain();
  no_network.network = false;
  try {
    static_cast<void>(launcher.launch(engine, no_network));
    FAIL("launched");
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::unsupported);
    CHECK(std::string(e.what()).starts_with("network:"));
  }
  CHECK(engine->containers.empty());
}

TEST_CASE("docker launch: sockets that do not connect are given up for a port") {
  runtime_directory runtime;
  fake_engine engine;
  engine->dead_sockets = true;
  hf::docker_launcher launcher(settings());
  auto const machine = launcher.launch(engine, plain());
  CHECK(machine.endpoint->url == "http://127.0.0.1:4711");
  CHECK(engine->containers.size() == 1);
  CHECK(runtime.left().empty());
  launcher.stop(engine, machine.id);
  CHECK(engine->containers.empty());
}

TEST_CASE("docker launch: what fails at any step leaves nothing behind") {
  auto const reach = GENERATE(hf::docker_reach::unix_socket, hf::docker_reach::published_port);
  auto const injection = GENERATE(hf::docker_injection::bind_mount, hf::docker_injection::archive);
  auto const fault = GENERATE(engine_fault::connect, engine_fault::request_lost,
                              engine_fault::answer_lost, engine_fault::refused);
  runtime_directory runtime;
  auto options = plain();
  options.image = "pulled";
  options.secrets = {{"PASSWORD", "hunter2"}};
  int failures = 0;
  for (int step = 0;; ++step) {
    REQUIRE(step < 50);
    fake_engine engine;
    engine->fault_at = step;
    engine->fault = fault;
    CAPTURE(step);
    hf::docker_launcher launcher(settings(reach, injection));
    bool launched = false;
    try {
      auto const machine = launcher.launch(engine, options);
      launched = true;
      bool const fired = engine->requests > step;
      launcher.stop(engine, machine.id);
      CHECK(engine->containers.empty());
      CHECK(runtime.left().empty());
      if (!fired)
        break;
    } catch (hf::error const& e) {
      REQUIRE_FALSE(launched);
      ++failures;
      CHECK(e.hop() == hf::hop::docker);
      CHECK(std::string(e.what()).find("hunter2") == std::string::npos);
    }
    CHECK(engine->containers.empty());
    CHECK(runtime.left().empty());
  }
  // At least the version, both creations, the pull and the start cannot be survived.
  CHECK(failures >= 4);
}

TEST_CASE("docker launch: a missing image is pulled with progress, or refused") {
  runtime_directory runtime;
  fake_engine engine;
  auto options = plain();
  options.image = "elsewhere";
  std::vector<std::string> lines;
  options.on_progress = [&](std::string const& line) { lines.push_back(line); };
  {
    hf::docker_launcher launcher(settings());
    launcher.stop(engine, launcher.launch(engine, options).id);
    CHECK(lines ==
          std::vector<std::string>{"pulling elsewhere", "pulling elsewhere: 50 % of 10 MB"});
  }
  options.image = "nowhere";
  try {
    static_cast<void>(hf::docker_launcher(settings()).launch(engine, options));
    FAIL("launched");
  } catch (hf::launch_error const& e) {
    CHECK(e.kind() == hf::errc::not_found);
    CHECK(e.stage() == "pull");
  }
  auto no_pull = settings();
  no_pull.pull = false;
  CHECK_THROWS_AS(hf::docker_launcher(no_pull).launch(engine, options), hf::launch_error);
  CHECK(engine->containers.empty());
  CHECK(runtime.left().empty());
}

TEST_CASE("docker launch: a flavor is clipped to the CPUs that the engine has") {
  runtime_directory runtime;
  fake_engine engine;
  engine->cpus = 1;
  hf::docker_launcher launcher(settings());
  auto const machine = launcher.launch(engine, plain());
  CHECK(engine->containers.begin()->second.body.at("HostConfig").at("NanoCpus") == 1'000'000'000);
  launcher.stop(engine, machine.id);

  auto mine = settings();
  mine.cpus = 3;
  CHECK_THROWS_AS(hf::docker_launcher(mine).launch(engine, plain()), hf::launch_error);
  CHECK(engine->containers.empty());
}

TEST_CASE("docker launch: a container that ends at once is shown with its log") {
  runtime_directory runtime;
  fake_engine engine;
  engine->last_words = "agent: cannot do this\n";
  hf::docker_launcher launcher(settings());
  try {
    static_cast<void>(launcher.launch(engine, plain()));
    FAIL("launched");
  } catch (hf::launch_error const& e) {
    CHECK(e.kind() == hf::errc::launch_failed);
    CHECK(e.stage() == "ready");
    CHECK(e.log_tail() == "agent: cannot do this\n");
  }
  CHECK(engine->containers.empty());
  CHECK(runtime.left().empty());
}

TEST_CASE("docker launch: an agent for another processor is named as such") {
  runtime_directory runtime;
  fake_engine engine;
  engine->last_words = "exec /.hf-sandbox/agent: exec format error\n";
  hf::docker_launcher launcher(settings());
  try {
    static_cast<void>(launcher.launch(engine, plain()));
    FAIL("launched");
  } catch (hf::launch_error const& e) {
    CHECK(std::string(e.what()).find("another processor") != std::string::npos);
  }
  CHECK(engine->containers.empty());
}

TEST_CASE("docker launch: the engine's API version is spoken, but none newer than known") {
  runtime_directory runtime;
  fake_engine engine;
  auto const spoken = [&](char const* offered) {
    engine->api = offered;
    engine->log.clear();
    hf::docker_launcher launcher(settings());
    static_cast<void>(launcher.list(engine, {}));
    REQUIRE(engine->log.size() == 2);
    return engine->log[1].substr(0, engine->log[1].find("/containers"));
  };
  CHECK(spoken("1.30") == "GET /v1.30");
  CHECK(spoken("1.99") == "GET /v1.47");
  engine->api = "1.24";
  hf::docker_launcher launcher(settings());
  try {
    static_cast<void>(launcher.list(engine, {}));
    FAIL("listed");
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::unsupported);
  }
}

TEST_CASE("docker launch: only sandboxes are looked at and ended") {
  runtime_directory runtime;
  fake_engine engine;
  auto& database = engine->containers["database"];
  database.id = std::string(64, 'd');
  database.body = {{"Labels", fake_engine::json::object()},
                   {"Env", fake_engine::json::array()},
                   {"HostConfig", {{"Mounts", fake_engine::json::array()}}}};
  database.running = true;
  hf::docker_launcher launcher(settings());
  CHECK(launcher.list(engine, {}).empty());
  CHECK_THROWS_AS(launcher.inspect(engine, "database"), hf::error);
  CHECK_THROWS_AS(launcher.stop(engine, "database"), hf::error);
  CHECK(engine->containers.size() == 1);
  CHECK_THROWS_AS(launcher.inspect(engine, "../x"), hf::error);
  CHECK_THROWS_AS(launcher.inspect(engine, "unknown"), hf::error);
  CHECK(launcher.logs(engine, "unknown").empty());
}

TEST_CASE("docker launch: directories of containers that are gone are swept up") {
  runtime_directory runtime;
  fake_engine engine;
  hf::docker_launcher launcher(settings());
  auto const machine = launcher.launch(engine, plain());
  auto const lost = launcher.launch(engine, plain());
  // As after an idle timeout without a creator.
  for (auto it = engine->containers.begin(); it != engine->containers.end();)
    it = it->second.id == lost.id ? engine->containers.erase(it) : std::next(it);
  static_cast<void>(launcher.list(engine, {}));
  CHECK(runtime.left().size() == 2);
  for (auto const& path : runtime.left())
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::minutes(5));
  static_cast<void>(launcher.list(engine, {}));
  CHECK(runtime.left().size() == 1);
  launcher.stop(engine, machine.id);
  CHECK(runtime.left().empty());
}

TEST_CASE("docker launch: the first launch of a program sweeps as well") {
  runtime_directory runtime;
  fake_engine engine;
  static_cast<void>(hf::docker_launcher(settings()).launch(engine, plain()));
  engine->containers.clear();
  REQUIRE(runtime.left().size() == 1);
  auto const lost = runtime.left()[0];
  fs::last_write_time(lost, fs::file_time_type::clock::now() - std::chrono::minutes(5));
  hf::docker_launcher launcher(settings());
  auto const machine = launcher.launch(engine, plain());
  CHECK_FALSE(fs::exists(lost));
  CHECK(runtime.left().size() == 1);
  launcher.stop(engine, machine.id);
}

TEST_CASE("docker launch: a sandbox that ended long ago and was never removed goes with a list") {
  runtime_directory runtime;
  fake_engine engine;
  hf::docker_launcher launcher(settings());
  auto const machine = launcher.launch(engine, plain());
  auto& container = engine->containers.begin()->second;
  container.running = false;
  container.ended = true;
  // Somebody may be reading its log.
  CHECK(launcher.list(engine, {}).empty());
  CHECK(engine->containers.size() == 1);
  container.created_at -= 3600;
  CHECK(launcher.list(engine, {{"another", "label"}}).empty());
  CHECK(engine->containers.empty());
  launcher.stop(engine, machine.id);
}

TEST_CASE("docker socket: a runtime directory of another user's is not used") {
  if (::geteuid() != 0)
    SKIP("needs root to give a directory away");
  runtime_directory runtime;
  CHECK(hf::detail::docker::socket_directory_base() == runtime.path / "hf-sandbox-docker");
  REQUIRE(::chown(runtime.path.c_str(), 61007, 61007) == 0);
  CHECK(hf::detail::docker::socket_directory_base() == "/tmp/hf-sandbox-docker-0");
}

TEST_CASE("docker socket: a file is put in place of what lies there, not through it") {
  using hf::detail::docker::socket_directory;
  runtime_directory runtime;
  auto directory = socket_directory::make(runtime.path / "base", "one");
  auto const inside = fs::path(directory.mount_source()) / "env";
  std::ofstream(runtime.path / "mine") << "mine";
  fs::create_symlink(runtime.path / "mine", inside);
  auto const before = ::umask(0077);
  directory.put("env", "A=B");
  ::umask(before);
  CHECK(hf::detail::read_text_file(runtime.path / "mine") == "mine");
  CHECK(hf::detail::read_text_file(inside) == "A=B");
  // Whoever the image's user is.
  CHECK((fs::status(inside).permissions() & fs::perms::others_read) != fs::perms::none);
  directory.remove();
}

TEST_CASE("docker socket: a listener that takes no connection does not block") {
  using hf::detail::docker::socket_directory;
  runtime_directory runtime;
  auto directory = socket_directory::make(runtime.path / "base", "one");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  auto const path = directory.mount_source() + "/agent.sock";
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  hf::detail::unique_fd const listener(::socket(AF_UNIX, SOCK_STREAM, 0));
  REQUIRE(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  auto const socket = directory.open_socket();
  CHECK_FALSE(hf::detail::docker::is_listening(socket));
  REQUIRE(::listen(listener.get(), 0) == 0);
  for (int i = 0; i < 4; ++i)
    CHECK(hf::detail::docker::is_listening(socket));
  directory.remove();
}

TEST_CASE("docker socket: what code inside put in the socket's place is not followed") {
  using hf::detail::docker::socket_directory;
  runtime_directory runtime;
  auto directory = socket_directory::make(runtime.path / "base", "one");
  auto const inside = fs::path(directory.mount_source()) / "agent.sock";
  CHECK_FALSE(directory.open_socket());
  fs::create_symlink("/var/run/docker.sock", inside);
  CHECK_THROWS_AS(directory.open_socket(), hf::error);
  fs::remove(inside);
  fs::create_directory(inside);
  CHECK_THROWS_AS(directory.open_socket(), hf::error);
  directory.remove();
  CHECK_FALSE(fs::exists(runtime.path / "base" / "one"));
}

TEST_CASE("docker socket: a base directory that others can write to is refused") {
  using hf::detail::docker::socket_directory;
  runtime_directory runtime;
  fs::create_directory(runtime.path / "open");
  fs::permissions(runtime.path / "open", fs::perms::all);
  CHECK_THROWS_AS(socket_directory::make(runtime.path / "open", "one"), hf::error);
  fs::create_directory_symlink("/tmp", runtime.path / "link");
  CHECK_THROWS_AS(socket_directory::make(runtime.path / "link", "one"), hf::error);
}
