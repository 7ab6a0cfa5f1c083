#include "support/confined.hpp"

#include <catch2/catch_test_macros.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

using namespace hf::testing_support;

namespace {

/// How a child ended that does this and then leaves through `exit(7)`.
template <class Work>
int exit_code_of_child(Work work) {
  std::fflush(nullptr);
  pid_t const child = ::fork();
  if (child < 0)
    throw std::runtime_error("fork failed");
  if (child == 0) {
    work();
    std::exit(7);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child)
    throw std::runtime_error("waitpid failed");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::optional<local_sandbox> make() {
  hf::process_launcher_options options;
  options.isolation = hf::isolation::none;
  return local_sandbox::create({}, hf::process_launcher(options));
}

}  // namespace

TEST_CASE("a forked child that cannot execute its program does not end the parent's sandbox") {
  auto sb = make();
  CHECK(exit_code_of_child([] { ::execlp("/nonexistent/program", "program", nullptr); }) == 7);
  CHECK(sb->exec({"echo", "lives"}).out == "lives\n");
}

TEST_CASE("the destructors of a forked child do not end the parent's sandbox") {
  auto sb = make();
  auto other = make();
  CHECK(exit_code_of_child([&] {
          other = std::move(sb);
          other.reset();
        }) == 7);
  CHECK(sb->exec({"echo", "lives"}).out == "lives\n");
  CHECK(other->exec({"echo", "lives"}).out == "lives\n");
}

TEST_CASE("a forked child ends the sandboxes of its own at exit") {
  auto sb = make();
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  CHECK(exit_code_of_child([&] {
          static auto own = make();
          write_to_parent(ends[1], own->id());
        }) == 7);
  std::string id(24, ' ');
  REQUIRE(::read(ends[0], id.data(), id.size()) == 24);
  ::close(ends[0]);
  ::close(ends[1]);
  hf::process_launcher launcher;
  hf::curl_transport through;
  CHECK_THROWS_AS(launcher.inspect(through, id), hf::error);
  CHECK(sb->exec({"echo", "lives"}).out == "lives\n");
}
