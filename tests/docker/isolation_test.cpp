#include "support/docker/engine.hpp"

#include <catch2/catch_test_macros.hpp>

#include <sstream>
#include <chrono>
#include <thread>
#include <string>

using namespace hf::testing_support;

namespace {

std::string status_line(std::string const& status, std::string const& name) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + ":"))
      return line.substr(line.find_first_not_of(" \t", name.size() + 1));
  return {};
}

}  // namespace

TEST_CASE("inside there are no capabilities and privileges beyond what the agent needs") {
  docker_test test;
  auto sb = test.create();
  auto const status = sb.exec({"/bin/busybox", "cat", "/proc/self/status"}).out;
  // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7.
  auto const allowed = std::uint64_t{0xeb};
  for (char const* const set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    INFO(set);
    auto const text = status_line(status, set);
    REQUIRE_FALSE(text.empty());
    CHECK((std::stoull(text, nullptr, 16) & ~allowed) == 0);
  }
  CHECK(status_line(status, "NoNewPrivs") == "1");
  CHECK(status_line(status, "Seccomp") == "2");
}

TEST_CASE("inside there is no engine socket and no file of the host") {
  docker_test test;
  auto sb = test.create();
  CHECK_FALSE(sb.files().exists("/var/run/docker.sock"));
  CHECK_FALSE(sb.files().exists("/run/docker.sock"));
  // Everything mounted from the host: the agent, its socket, and the three files that the engine
  // makes for each container.
  std::istringstream mounts(sb.exec({"/bin/busybox", "cat", "/proc/self/mountinfo"}).out);
  std::size_t from_host = 0;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, target;
    fields >> id >> parent >> device >> root >> target;
    if (line.find(" - ext4 ") == std::string::npos && line.find(" - xfs ") == std::string::npos &&
        line.find(" - btrfs ") == std::string::npos &&
        target.find("/.hf-sandbox") == std::string::npos)
      continue;
    INFO(line);
    CHECK((target == "/.hf-sandbox/agent" || target == "/.hf-sandbox/run" ||
           target == "/etc/resolv.conf" || target == "/etc/hostname" || target == "/etc/hosts"));
    ++from_host;
  }
  CHECK(from_host >= 2);
  // The agent cannot be changed from inside.
  auto const r = sb.exec({"/bin/busybox", "sh", "-c", "echo x >> /.hf-sandbox/agent"});
  CHECK(r.exit_code != 0);
  // Nor can the file be read by which the token came.
  CHECK(sb.exec({"/bin/busybox", "sh", "-c",
                 "/bin/busybox tr '\\0' '\\n' < /proc/1/environ | /bin/busybox grep -c " +
                     std::string(sb.headers().get("X-Sandbox-Token"))})
            .out == "0\n");
}

TEST_CASE("without a network there is none") {
  docker_test test;
  auto options = test.options();
  options.network = false;
  auto sb = test.create(options);
  auto const devices = sb.exec({"/bin/busybox", "ls", "/sys/class/net"}).out;
  CHECK(devices == "lo\n");
}

TEST_CASE("memory and processes end where the limits are") {
  auto settings = docker_settings();
  settings.memory = std::uint64_t{48} << 20;
  settings.pids_limit = 40;
  docker_test test(settings);
  auto sb = test.create();

  // The shell keeps what it reads in one variable.
  auto const greedy =
      sb.exec({"/bin/busybox", "sh", "-c",
               "x=$(/bin/busybox yes | /bin/busybox head -c 200000000); echo survived"});
  CHECK(greedy.out.find("survived") == std::string::npos);
  CHECK_FALSE(greedy.ok());
  // The agent survives its greedy command.
  CHECK(sb.exec({"/bin/busybox", "echo", "here"}).out == "here\n");

  auto const many = sb.exec(
      {"/bin/busybox", "sh", "-c",
       "n=0; while [ $n -lt 100 ]; do /bin/busybox sleep 5 & n=$((n+1)); done; echo survived"});
  CHECK(many.out.find("survived") == std::string::npos);
  CHECK(many.err.find("fork") != std::string::npos);
  // While the container is full, that is said; afterwards it works again.
  std::string here;
  auto const until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (here.empty() && std::chrono::steady_clock::now() < until) {
    try {
      here = sb.exec({"/bin/busybox", "echo", "here"}).out;
    } catch (hf::error const& e) {
      REQUIRE(e.kind() == hf::errc::resource_exhausted);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  CHECK(here == "here\n");
}

TEST_CASE("a host directory is there only when it is mounted, read-only unless asked") {
  docker_test test;
  char name[] = "/tmp/hf-sandbox-volume-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  std::filesystem::path const host(name);
  std::ofstream(host / "data") << "from the host";
  auto options = test.options();
  options.volumes = {
      {.type = "bind", .source = host.string(), .mount_path = "/in"},
      {.type = "bind", .source = host.string(), .mount_path = "/out", .read_only = false}};
  {
    auto sb = test.create(options);
    CHECK(sb.read_file("/in/data") == "from the host");
    CHECK_FALSE(sb.exec({"/bin/busybox", "touch", "/in/new"}).ok());
    CHECK(sb.exec({"/bin/busybox", "touch", "/out/new"}).ok());
    CHECK(std::filesystem::exists(host / "new"));
  }
  std::filesystem::remove_all(host);
}
