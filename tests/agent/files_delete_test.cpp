#include "support/agent_process.hpp"
#include "support/file_helpers.hpp"
#include "support/scale.hpp"

#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

std::string delete_target(std::string const& path, std::string const& more = "") {
  return "/v1/files/delete?path=" + percent(path) + more;
}

std::string mkdir_target(std::string const& path, std::string const& more = "") {
  return "/v1/files/mkdir?path=" + percent(path) + more;
}

}  // namespace

TEST_CASE("files, links and empty directories are deleted", "[files]") {
  agent_process agent;
  auto const d = agent.directory() + "/d";
  fs::create_directory(d);
  spill(d + "/file", "");
  spill(d + "/kept", "content");
  fs::create_symlink("kept", d + "/link");
  auto const file = agent.request("DELETE", delete_target(d + "/file"));
  CHECK(file.status == 200);
  CHECK(file.json() == nlohmann::json{{"deleted", d + "/file"}});
  CHECK(agent.request("DELETE", delete_target(d + "/link")).status == 200);
  CHECK(names_in(d) == std::vector<std::string>{"kept"});
  auto const full = agent.request("DELETE", delete_target(d));
  CHECK(full.status == 400);
  CHECK(full.json().at("code") == "not_empty");
  CHECK(full.json().at("error") == "cannot delete " + d + ": Directory not empty (os error 39)");
  fs::remove(d + "/kept");
  CHECK(agent.request("DELETE", delete_target(d)).status == 200);
  auto const gone = agent.request("DELETE", delete_target(d));
  CHECK(gone.status == 404);
  CHECK(gone.json().at("error") == "no such path: " + d);
  CHECK(agent.request("DELETE", delete_target("/")).status == 400);
  CHECK(agent.request("DELETE", delete_target(agent.directory() + "/.", "&recursive=1")).status ==
        400);
  CHECK(agent.request("DELETE", delete_target(d, "&recursive=perhaps")).status == 400);
}

TEST_CASE("a recursive delete takes a whole tree and follows no link", "[files]") {
  agent_process agent;
  auto const d = agent.directory() + "/d";
  auto const outside = agent.directory() + "/outside";
  fs::create_directories(outside + "/deep");
  spill(outside + "/deep/kept", "content");
  fs::create_directories(d + "/a/b/c");
  fs::create_symlink(outside, d + "/a/b/link");
  fs::create_symlink(outside + "/deep/kept", d + "/a/file-link");
  REQUIRE(::mkfifo((d + "/a/fifo").c_str(), 0600) == 0);
  for (int i = 0; i < 3000; ++i)
    spill(d + "/a/b/c/" + std::to_string(i), "x");
  CHECK(agent.request("DELETE", delete_target(d, "&recursive=1")).status == 200);
  CHECK_FALSE(fs::exists(d));
  CHECK(slurp(outside + "/deep/kept") == "content");
  fs::create_symlink(outside, d);
  CHECK(agent.request("DELETE", delete_target(d, "&recursive=true")).status == 200);
  CHECK(slurp(outside + "/deep/kept") == "content");
}

TEST_CASE("a tree deeper than any path or descriptor limit is deleted", "[files]") {
  agent_process agent;
  auto const depth = scaled(20'000, 3'000);
  WARN("levels: " << depth);
  auto const d = agent.directory() + "/d";
  REQUIRE(::mkdir(d.c_str(), 0755) == 0);
  int fd = ::open(d.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < depth; ++i) {
    REQUIRE(::mkdirat(fd, "sub", 0755) == 0);
    REQUIRE(::mknodat(fd, "file", S_IFREG | 0600, 0) == 0);
    int const next = ::openat(fd, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(next >= 0);
    ::close(fd);
    fd = next;
  }
  ::close(fd);
  CHECK(agent.request("DELETE", delete_target(d, "&recursive=1")).status == 200);
  CHECK_FALSE(fs::exists(d));
}

TEST_CASE("a recursive delete takes directories that their owner has closed", "[files]") {
  if (::geteuid() == 0)
    SKIP("root is not kept out by modes; the client's suite has a user of its own");
  agent_process agent;
  auto const d = agent.directory() + "/d";
  fs::create_directories(d + "/closed/inner");
  fs::create_directories(d + "/read-only");
  std::ofstream(d + "/read-only/file") << "x";
  ::chmod((d + "/closed").c_str(), 0);
  ::chmod((d + "/read-only").c_str(), 0500);
  CHECK(agent.request("DELETE", delete_target(d, "&recursive=1")).status == 200);
  CHECK_FALSE(fs::exists(d));
}

TEST_CASE("a directory exchanged for a link during a recursive delete leads nowhere", "[files]") {
  agent_process agent;
  auto const d = agent.directory() + "/d";
  auto const outside = agent.directory() + "/outside";
  fs::create_directory(outside);
  for (int i = 0; i < 50; ++i)
    spill(outside + "/" + std::to_string(i), "kept");
  auto const rounds = scaled(200, 30);
  WARN("rounds: " << rounds);
  std::atomic<bool> stop{false};
  std::thread attacker([&] {
    auto const real = d + "/victim";
    auto const link = agent.directory() + "/link";
    std::error_code ignored;
    while (!stop) {
      fs::create_symlink(outside, link, ignored);
      // The two change places in one step.
      ::renameat2(AT_FDCWD, real.c_str(), AT_FDCWD, link.c_str(), 1u << 1);
    }
  });
  for (int round = 0; round < rounds; ++round) {
    std::error_code ignored;
    fs::create_directories(d + "/victim/sub", ignored);
    for (int i = 0; i < 20; ++i)
      spill(d + "/victim/sub/" + std::to_string(i), "x");
    static_cast<void>(agent.request("DELETE", delete_target(d, "&recursive=1")));
  }
  stop = true;
  attacker.join();
  std::size_t kept = 0;
  for (int i = 0; i < 50; ++i)
    kept += slurp(outside + "/" + std::to_string(i)) == "kept";
  CHECK(kept == 50);
}

TEST_CASE("mkdir makes a directory with its parents and accepts one that is there", "[files]") {
  agent_process agent;
  auto const d = agent.directory() + "/x/y/z";
  auto const made = agent.request("POST", mkdir_target(d));
  CHECK(made.status == 200);
  CHECK(made.json() == nlohmann::json{{"created", d}});
  CHECK(fs::is_directory(d));
  CHECK(agent.request("POST", mkdir_target(d + "/")).status == 200);
  CHECK(agent.request("POST", mkdir_target("/")).status == 200);
  spill(d + "/file", "");
  auto const file = agent.request("POST", mkdir_target(d + "/file"));
  CHECK(file.status == 400);
  CHECK(file.json().at("error") == "cannot mkdir " + d + "/file: File exists (os error 17)");
  CHECK(agent.request("POST", mkdir_target(d + "/file/sub")).json().at("code") == "not_directory");
  fs::create_directory_symlink(d, agent.directory() + "/link");
  CHECK(agent.request("POST", mkdir_target(agent.directory() + "/link/inner")).status == 200);
  CHECK(fs::is_directory(d + "/inner"));
}
