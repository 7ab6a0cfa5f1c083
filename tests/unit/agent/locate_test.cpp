#include <hf/sandbox/agent/locate.hpp>

#include <catch2/catch_test_macros.hpp>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

TEST_CASE("an agent's path that is no program is refused with what is wrong with it") {
  char pattern[] = "/tmp/hf-locate-test-XXXXXX";
  REQUIRE(::mkdtemp(pattern) != nullptr);
  std::filesystem::path const folder = pattern;
  auto const file = folder / "agent";
  auto const problem = [](std::filesystem::path const& path) {
    try {
      (void)hf::locate_agent(path);
    } catch (hf::error const& e) {
      CHECK(e.kind() == hf::errc::agent_not_found);
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(problem(file).ends_with("there is no such file"));
  CHECK(problem(folder).ends_with("it is a directory; name the file in it"));
  std::ofstream(file) << "#!/bin/sh\n";
  CHECK(problem(file).ends_with("it is not executable (chmod +x)"));
  CHECK(problem(file).find(file.string()) != std::string::npos);
  REQUIRE(::chmod(file.c_str(), 0755) == 0);
  CHECK(problem(file).empty());
  auto const fifo = folder / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0755) == 0);
  CHECK(problem(fifo).ends_with("it is not a regular file"));
  std::filesystem::remove_all(folder);
}
