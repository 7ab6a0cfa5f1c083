#include <hf/sandbox/docker/log_frames.hpp>
#include <hf/sandbox/docker/tar.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace hf::detail::docker;

namespace {

// An independent reading of the fields that matter.
unsigned long field(std::string const& archive, std::size_t at, std::size_t size) {
  return std::stoul(archive.substr(at, size), nullptr, 8);
}

unsigned long checksum(std::string header) {
  header.replace(148, 8, 8, ' ');
  unsigned long sum = 0;
  for (unsigned char const c : header)
    sum += c;
  return sum;
}

}  // namespace

TEST_CASE("docker tar: directories and files with modes, sizes and checksums") {
  std::string const content = "hello" + std::string(600, 'x');
  tar_writer writer;
  writer.directory("a", 0755);
  writer.file("a/program", 0555, content);
  auto const archive = std::move(writer).finish();

  REQUIRE(archive.size() == 512 + 512 + 1024 + 1024);
  CHECK(archive.compare(0, 3, std::string("a/\0", 3)) == 0);
  CHECK(archive[156] == '5');
  CHECK(field(archive, 100, 8) == 0755);
  CHECK(field(archive, 148, 8) == checksum(archive.substr(0, 512)));
  CHECK(archive.compare(257, 8, std::string("ustar\00000", 8)) == 0);

  auto const second = archive.substr(512);
  CHECK(second.compare(0, 10, std::string("a/program\0", 10)) == 0);
  CHECK(second[156] == '0');
  CHECK(field(second, 100, 8) == 0555);
  CHECK(field(second, 124, 12) == content.size());
  CHECK(field(second, 148, 8) == checksum(second.substr(0, 512)));
  CHECK(second.compare(512, content.size(), content) == 0);
  CHECK(archive.substr(2048) == std::string(1024, '\0'));
}

TEST_CASE("docker tar: a name that does not fit is an error, not a broken archive") {
  tar_writer writer;
  CHECK_THROWS_AS(writer.file(std::string(100, 'a'), 0644, ""), hf::error);
}

TEST_CASE("docker logs: frames become text, a log without frames stays as it is") {
  std::string const framed =
      std::string("\1\0\0\0\0\0\0\3", 8) + "one" + std::string("\2\0\0\0\0\0\0\4", 8) + "two\n";
  CHECK(text_of_log_frames(framed) == "onetwo\n");
  CHECK(text_of_log_frames("plain text\n") == "plain text\n");
  CHECK(text_of_log_frames("").empty());
  // Cut in the middle of a frame, and of a frame's head.
  CHECK(text_of_log_frames(framed.substr(0, framed.size() - 2)) == "onetw");
  CHECK(text_of_log_frames(framed.substr(0, 13)) == "one");
}
