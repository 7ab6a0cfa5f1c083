#include <hf/sandbox/docker/bind_source.hpp>

#include <catch2/catch_test_macros.hpp>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace fs = std::filesystem;
using hf::detail::planted_link;

TEST_CASE("a bind's source: links that a container can have planted are found") {
  char pattern[] = "/tmp/hf-bind-XXXXXX";
  std::string const base = ::mkdtemp(pattern);
  fs::create_directories(base + "/real/inner");
  fs::create_symlink("real", base + "/link");
  CHECK(planted_link(base + "/real/inner").empty());
  CHECK(planted_link(base + "/none/inner").empty());
  CHECK(planted_link("/").empty());
  if (::geteuid() == 0) {
    // Root's link in a directory of root's alone.
    CHECK(planted_link(base + "/link/inner").empty());
    ::chmod(base.c_str(), 0777);
  }
  CHECK(planted_link(base + "/link") == base + "/link");
  CHECK(planted_link(base + "/link/inner") == base + "/link");
  CHECK(planted_link(base + "/real/../link/inner") == base + "/real/../link");
  fs::remove_all(base);
}
