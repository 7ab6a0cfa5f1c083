#include "conformance/transport/suite/case_limit.hpp"

#include <catch2/catch_test_macros.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

using hf::conformance::case_limit;

TEST_CASE("a conformance case that hangs aborts the program") {
  auto const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // not Catch2's report
    rlimit const no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    case_limit const limit("the case", std::chrono::milliseconds(1));
    for (;;)
      ::pause();
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
}

TEST_CASE("a conformance case that is over in time is left alone") {
  case_limit const limit("the case", std::chrono::minutes(10));
}
