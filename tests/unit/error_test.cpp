#include <hf/sandbox/error.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using hf::errc;

TEST_CASE("a launch error has its step, the last lines, and both in its words") {
  hf::launch_error const e(errc::launch_failed, "the job ended before its agent answered", "ready",
                           "line 1\nout of memory", {.where = hf::hop::hub});
  CHECK(e.kind() == errc::launch_failed);
  CHECK(e.stage() == "ready");
  CHECK(e.details().stage == "ready");
  CHECK(e.log_tail() == "line 1\nout of memory");
  CHECK(std::string(e.what()) == "the job ended before its agent answered\nline 1\nout of memory");
  CHECK(e.hop() == hf::hop::hub);
}

TEST_CASE("a launch error without lines says its sentence only") {
  hf::launch_error const e(errc::start_timed_out, "nothing answered", "start", "");
  CHECK(std::string(e.what()) == "nothing answered");
  CHECK(e.log_tail().empty());
  CHECK(e.stage() == "start");
}

TEST_CASE("a copy of an error keeps what it says when the first is gone") {
  auto const copy = [] {
    hf::launch_error const e(errc::launch_failed, "broken", "ready", "a line");
    return e;
  }();
  hf::error const sliced = copy;
  CHECK(std::string(sliced.what()) == "broken\na line");
  CHECK(sliced.details().stage == "ready");
}

TEST_CASE("every code has its name, and its name leads back") {
  for (int value = 1; value <= static_cast<int>(errc::server_error); ++value) {
    auto const code = static_cast<errc>(value);
    auto const name = to_string(code);
    INFO("code " << value << ", name " << name);
    CHECK_FALSE(name.empty());
    CHECK(name != "internal");
    CHECK(hf::errc_from_string(name) == code);
  }
  CHECK(to_string(errc::internal) == "internal");
  CHECK(to_string(static_cast<errc>(9999)) == "internal");
  CHECK(hf::errc_from_string("no such code") == errc::internal);
  CHECK(hf::errc_from_string("") == errc::internal);
}
