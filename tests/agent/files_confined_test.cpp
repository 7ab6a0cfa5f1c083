#include "files/entry.hpp"
#include "files/list.hpp"
#include "files/pending_write.hpp"
#include "files/read.hpp"
#include "files/remove.hpp"
#include "files/resolve.hpp"
#include "http/exchange.hpp"
#include "support/file_helpers.hpp"

#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

using namespace hf::agent;
using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

/// A home beside a file that must stay out of reach.
struct confined_home {
  confined_home() {
    char pattern[] = "/tmp/hf-confined-XXXXXX";
    base = ::mkdtemp(pattern);
    fs::create_directories(base + "/home");
    fs::create_directories(base + "/outside");
    spill(base + "/outside/secret", "secret");
    root.home_path = base + "/home";
    root.home = unique_fd(::open(root.home_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    root.file_mode = 0600;
    root.directory_mode = 0700;
    if (::geteuid() == 0)
      root.owner = file_root::ids{20'001, 20'001};
  }
  ~confined_home() { fs::remove_all(base); }

  void write(std::string const& path, std::string const& content,
             std::optional<std::uint64_t> offset = {}) {
    write_request request;
    request.path = path;
    request.offset = offset;
    pending_write pending(root, request);
    pending.append(content);
    pending.finish(content.size());
  }
  std::string read(std::string const& path) {
    return read_piece(open_for_reading(root, path), 0, 1000);
  }

  std::string base;
  file_root root;
};

template <class Call>
int status_of(Call&& call) {
  try {
    call();
  } catch (http_error const& e) {
    return e.status;
  }
  return 200;
}

mode_t mode_of(std::string const& path) {
  struct stat st {};
  REQUIRE(::lstat(path.c_str(), &st) == 0);
  if (::geteuid() == 0)
    CHECK(st.st_uid == 20'001);
  return st.st_mode & 07777;
}

}  // namespace

TEST_CASE("every path of a confined root lies below its home", "[files]") {
  confined_home box;
  for (auto const* path : {"/a/x", "a/x", "../a/x", "/../../a/./x", "a/b/../x", "//a//x"}) {
    INFO(path);
    fs::remove_all(box.base + "/home/a");
    box.write(path, "content");
    CHECK(slurp(box.base + "/home/a/x") == "content");
    CHECK(box.read(path) == "content");
    CHECK(stat_file(box.root, path).path == box.base + "/home/a/x");
  }
  CHECK(stat_file(box.root, "/").type == hf::wire::file_type::directory);
  CHECK(status_of([&] { box.read("../outside/secret"); }) == 404);
  CHECK(status_of([&] { remove_file(box.root, "..", true); }) == 400);
  CHECK(status_of([&] { remove_file(box.root, "/", true); }) == 400);
  CHECK(fs::exists(box.base + "/home"));
}

TEST_CASE("what is created in a confined root belongs to its owner only", "[files]") {
  confined_home box;
  ::umask(0);
  box.write("new/deep/file", "x");
  box.write("ranged", "x", 0);
  ensure_directory(box.root, "made/too");
  ::umask(022);
  CHECK(mode_of(box.base + "/home/new") == 0700);
  CHECK(mode_of(box.base + "/home/new/deep") == 0700);
  CHECK(mode_of(box.base + "/home/new/deep/file") == 0600);
  CHECK(mode_of(box.base + "/home/ranged") == 0600);
  CHECK(mode_of(box.base + "/home/made/too") == 0700);
  box.write("new/deep/file", "again");
  CHECK(mode_of(box.base + "/home/new/deep/file") == 0600);
}

TEST_CASE("no call follows a symbolic link out of a confined root, nor within it", "[files]") {
  confined_home box;
  auto const home = box.base + "/home";
  fs::create_symlink(box.base + "/outside", home + "/dir");
  fs::create_symlink(box.base + "/outside/secret", home + "/file");
  fs::create_symlink(box.base + "/outside/made", home + "/dangling");
  fs::create_directory(home + "/inner");
  fs::create_symlink("inner", home + "/inside");

  CHECK(status_of([&] { box.read("dir/secret"); }) == 400);
  CHECK(status_of([&] { box.read("file"); }) == 400);
  for (std::optional<std::uint64_t> offset : {std::optional<std::uint64_t>(), {0}}) {
    CHECK(status_of([&] { box.write("dir/secret", "x", offset); }) == 400);
    CHECK(status_of([&] { box.write("file", "x", offset); }) == 400);
    CHECK(status_of([&] { box.write("dangling", "x", offset); }) == 400);
    CHECK(status_of([&] { box.write("inside/x", "x", offset); }) == 400);
  }
  CHECK(status_of([&] { directory_page(box.root, "dir", 10, ""); }) == 400);
  CHECK(status_of([&] { directory_page(box.root, "inside", 10, ""); }) == 400);
  CHECK(status_of([&] { stat_file(box.root, "dir/secret"); }) == 400);
  CHECK(stat_file(box.root, "dir").type == hf::wire::file_type::symlink);
  CHECK(status_of([&] { ensure_directory(box.root, "dir/made"); }) == 400);
  CHECK(status_of([&] { ensure_directory(box.root, "dir"); }) == 400);
  CHECK(status_of([&] { remove_file(box.root, "dir/secret", true); }) == 400);
  CHECK(status_of([&] { remove_file(box.root, "dir", true); }) == 200);
  CHECK(names_in(box.base + "/outside") == std::vector<std::string>{"secret"});
  CHECK(slurp(box.base + "/outside/secret") == "secret");
}

TEST_CASE("a pending write that is given up leaves nothing", "[files]") {
  confined_home box;
  box.write("file", "old");
  {
    write_request request;
    request.path = "file";
    pending_write pending(box.root, request);
    pending.append("half");
  }
  CHECK(slurp(box.base + "/home/file") == "old");
  CHECK(names_in(box.base + "/home") == std::vector<std::string>{"file"});
}
