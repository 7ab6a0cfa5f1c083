#include "support/in_child.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/detail/remove_tree.hpp>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

using hf::detail::remove_tree;
using hf::testing_support::in_child;
namespace fs = std::filesystem;

namespace {

/// A place that every user may write to; the name below it is to be removed.
struct place {
  place() {
    char pattern[] = "/tmp/hf-remove-XXXXXX";
    REQUIRE(::mkdtemp(pattern) != nullptr);
    REQUIRE(::chmod(pattern, 01777) == 0);
    base = pattern;
    tree = base + "/tree";
  }
  place(place const&) = delete;
  place& operator=(place const&) = delete;
  ~place() { (void)remove_tree(base); }

  std::string base;
  std::string tree;
};

void make_chain(std::string const& top, int depth, mode_t mode) {
  REQUIRE(::mkdir(top.c_str(), 0700) == 0);
  int fd = ::open(top.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < depth; ++i) {
    if (::mkdirat(fd, "d", 0700) != 0 || ::mknodat(fd, "file", S_IFREG | 0600, 0) != 0)
      throw std::runtime_error("mkdirat failed");
    int const next = ::openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ::fchmod(fd, mode);
    ::close(fd);
    fd = next;
  }
  ::close(fd);
}

}  // namespace

TEST_CASE("a tree of any depth is removed with seven descriptors, also when it cannot be read") {
  place const at;
  int const depth = hf::testing_support::scaled(20'000, 4'000);
  uid_t const user = ::geteuid() == 0 ? 61007 : 0;
  std::string const result = in_child(user, [&] {
    make_chain(at.tree, depth, 0);
    // Seven more than this process has.
    int free[7];
    for (int& fd : free)
      fd = ::dup(0);
    rlim_t const most = static_cast<rlim_t>(free[6]) + 1;
    for (int const fd : free)
      ::close(fd);
    rlimit const few{most, most};
    ::setrlimit(RLIMIT_NOFILE, &few);
    return std::string(remove_tree(at.tree) ? "gone" : "left");
  });
  CHECK(result == "gone");
  CHECK_FALSE(fs::exists(at.tree));
}

TEST_CASE("a deep tree beside many files is removed in one pass over the files") {
  place const at;
  make_chain(at.tree, 1'500, 0700);
  for (int i = 0; i < 1'500; ++i)
    std::ofstream(at.tree + "/" + std::to_string(i));
  for (int i = 0; i < 300; ++i)
    fs::create_directories(at.tree + "/wide/" + std::to_string(i) + "/a/b");
  CHECK(remove_tree(at.tree));
  CHECK_FALSE(fs::exists(at.tree));
}

TEST_CASE("names that the removal wants for its own do not stop it") {
  place const at;
  for (int i = 1; i < 20; ++i)
    if (i % 3 == 0)
      fs::create_directories(at.tree + "/.hf-sandbox-remove-" + std::to_string(i) + "/x/y");
  std::ofstream(at.tree + "/.hf-sandbox-remove-1") << "a file";
  fs::create_directories(at.tree + "/a/b/c/d");
  fs::create_directories(at.tree + "/e/f/g/h");
  CHECK(remove_tree(at.tree));
  CHECK_FALSE(fs::exists(at.tree));
}

TEST_CASE("links are removed and not followed, and the top may be none") {
  place const at;
  fs::create_directories(at.base + "/kept/inner");
  fs::create_directories(at.tree + "/a");
  fs::create_directory_symlink(at.base + "/kept", at.tree + "/a/link");
  CHECK(remove_tree(at.tree));
  fs::create_directory_symlink(at.base + "/kept", at.tree);
  CHECK_FALSE(remove_tree(at.tree));
  CHECK(fs::exists(at.base + "/kept/inner"));
  CHECK(remove_tree(at.base + "/absent"));
}

TEST_CASE("a removal ends at its deadline, and a later one completes it") {
  place const at;
  make_chain(at.tree, 500, 0700);
  CHECK_FALSE(remove_tree(at.tree, std::chrono::steady_clock::now()));
  CHECK(fs::exists(at.tree));
  CHECK(remove_tree(at.tree));
}
