#include <hf/sandbox/agent/bootstrap.hpp>

#include <catch2/catch_test_macros.hpp>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace detail = hf::detail;

namespace {

/// Runs a command line; what it printed, and its exit code.
std::pair<std::string, int> run(std::string const& line) {
  std::string out;
  FILE* const pipe = ::popen((line + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  char bytes[4096];
  for (std::size_t got = 0; (got = std::fread(bytes, 1, sizeof bytes, pipe)) > 0;)
    out.append(bytes, got);
  int const status = ::pclose(pipe);
  return {out, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

/// A PATH with nothing but these programs.
struct tools {
  std::filesystem::path directory;
  explicit tools(std::vector<std::string> const& names) {
    char made[] = "/tmp/bootstrap-XXXXXX";
    directory = ::mkdtemp(made);
    for (auto const& name : names)
      for (char const* const from : {"/usr/bin/", "/bin/"})
        if (std::filesystem::exists(from + name) && !std::filesystem::exists(directory / name))
          std::filesystem::create_symlink(from + name, directory / name);
  }
  ~tools() { std::filesystem::remove_all(directory); }
};

std::pair<std::string, int> run_script(hf::agent_source const& source, tools const& with) {
  auto const plan = detail::make_bootstrap(source, "http://127.0.0.1:9");
  std::string line = "env -i PATH=" + with.directory.string() + " " + plan.command[0] + " -c " +
                     detail::shell_quoted(plan.command[2]);
  for (auto const& word : plan.arguments)
    line += " " + detail::shell_quoted(word);
  return run(line);
}

}  // namespace

TEST_CASE("what the image lacks is said in one line with the remedy, before anything is fetched") {
  auto const source = hf::agent_source::url("http://127.0.0.1:9/x", std::string(64, 'a'));
  struct row {
    std::vector<std::string> has;
    std::string missing;
  };
  for (auto const& [has, missing] :
       std::vector<row>{{{}, "chmod"},
                        {{"chmod"}, "neither sha256sum nor openssl"},
                        {{"chmod", "sha256sum"}, "neither wget nor curl"}}) {
    auto const [out, code] = run_script(source, tools(has));
    INFO(out);
    CHECK(code == 1);
    CHECK(out.find("hf-sandbox: the image has") == 0);
    CHECK(out.find(missing) != std::string::npos);
    CHECK(out.find('\n') == out.size() - 1);
  }
  auto const [out, code] =
      run_script(hf::agent_source::inline_("#!/bin/sh\n"), tools({"chmod", "sha256sum", "gzip"}));
  CHECK(code == 1);
  CHECK(out.find("no base64") != std::string::npos);
}

TEST_CASE("an inline agent of too many bytes is refused with its size") {
  auto const incompressible = detail::random_bytes(1 << 20);
  try {
    (void)detail::make_bootstrap(hf::agent_source::inline_(incompressible), "https://hub");
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::too_large);
  }
}

TEST_CASE("an inline agent travels in pieces that the kernel accepts") {
  auto const plan = detail::make_bootstrap(hf::agent_source::inline_(detail::random_bytes(500'000)),
                                           "https://hub");
  REQUIRE(plan.arguments.size() > 5);
  std::size_t total = 0;
  for (auto const& piece : plan.arguments) {
    CHECK(piece.size() < 128 * 1024);
    total += piece.size();
  }
  CHECK(total < 900 * 1024);
}

TEST_CASE("gzip output is read by gzip") {
  for (std::size_t const size : {0u, 1u, 2u, 3u, 300u, 70'000u, 400'000u})
    for (bool const random : {false, true}) {
      std::string data = random ? detail::random_bytes(size) : std::string();
      for (std::size_t i = data.size(); i < size; ++i)
        data += "the quick brown fox"[(i * i / 7) % 19];
      auto const path = std::filesystem::temp_directory_path() / ("gz-" + detail::random_hex(8));
      std::ofstream(path, std::ios::binary) << detail::gzip_compress(data);
      auto const [out, code] = run("gzip -dc < " + path.string());
      std::filesystem::remove(path);
      CHECK(code == 0);
      CHECK(out == data);
    }
}

TEST_CASE("an agent source that says nothing is the official agent") {
  auto const nothing = detail::make_bootstrap({}, "https://hub.example");
  auto const official = detail::make_bootstrap(hf::agent_source::official(), "https://hub.example");
  CHECK(hf::agent_source().what() == hf::agent_source::kind::automatic);
  CHECK(nothing.command == official.command);
  CHECK(nothing.arguments == official.arguments);
  CHECK(nothing.volumes.size() == official.volumes.size());
}
