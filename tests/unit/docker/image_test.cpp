#include <hf/sandbox/docker/image.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace hf::detail::docker;

TEST_CASE("docker image: names split into repository and tag") {
  auto const check = [](char const* text, char const* repository, char const* tag) {
    auto const name = parse_image_name(text);
    CHECK(name.repository == repository);
    CHECK(name.tag == tag);
  };
  check("python", "python", "latest");
  check("python:3.12", "python", "3.12");
  check("host:5000/python", "host:5000/python", "latest");
  check("host:5000/a/python:3", "host:5000/a/python", "3");
  check("a/b@sha256:00ff", "a/b", "sha256:00ff");
}

namespace {

std::string const log_of_a_pull =
    R"({"status":"Pulling from library/python","id":"3.12"})"
    "\r\n"
    R"({"status":"Downloading","progressDetail":{"current":1000000,"total":4000000},"id":"a"})"
    "\r\n"
    R"({"status":"Extracting","progressDetail":{"current":1,"total":4000000},"id":"a"})"
    "\r\n"
    R"({"status":"Downloading","progressDetail":{"current":3000000,"total":4000000},"id":"b"})"
    "\r\n"
    R"({"status":"Downloading","progressDetail":{"current":4000000,"total":4000000},"id":"a"})"
    "\r\n"
    R"({"status":"Status: Downloaded newer image"})";

std::vector<std::string> reports(std::size_t split) {
  std::vector<std::string> lines;
  pull_progress progress("python:3.12", [&](std::string const& line) { lines.push_back(line); });
  progress.feed(std::string_view(log_of_a_pull).substr(0, split));
  progress.feed(std::string_view(log_of_a_pull).substr(split));
  progress.finish();
  CHECK(progress.failure().empty());
  return lines;
}

}  // namespace

TEST_CASE("docker image: pull progress is the same wherever the answer is cut") {
  auto const whole = reports(log_of_a_pull.size());
  REQUIRE(whole == std::vector<std::string>{"pulling python:3.12: 25 % of 4 MB",
                                            "pulling python:3.12: 50 % of 8 MB",
                                            "pulling python:3.12: 87 % of 8 MB"});
  for (std::size_t split = 0; split < log_of_a_pull.size(); ++split)
    REQUIRE(reports(split) == whole);
}

TEST_CASE("docker image: an error in a pull's answer of status 200 is found") {
  pull_progress progress("x", {});
  progress.feed(
      "{\"status\":\"Pulling\"}\n{\"errorDetail\":{\"message\":\"boom\"},\"error\":\"boom\"}");
  CHECK(progress.failure().empty());
  progress.finish();
  CHECK(progress.failure() == "boom");
}

TEST_CASE("docker image: a failed pull says what to do") {
  auto const kind = [](std::string const& message, int status = 0) {
    return pull_error("img", message, status).kind();
  };
  CHECK(kind("pull access denied for img, repository does not exist or may require 'docker login'",
             404) == hf::errc::not_found);
  CHECK(kind("manifest for img not found: manifest unknown") == hf::errc::not_found);
  CHECK(kind("write /var/lib/docker/tmp: no space left on device") == hf::errc::no_space);
  CHECK(kind("toomanyrequests: You have reached your pull rate limit") == hf::errc::rate_limited);
  CHECK(kind("dial tcp: lookup registry-1.docker.io: no such host") == hf::errc::launch_failed);
}
