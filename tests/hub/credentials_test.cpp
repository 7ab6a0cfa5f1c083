#include "support/fake_hub/setup.hpp"

#include <hf/sandbox/hub/credentials.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace hub = hf::hub;
using hf::testing_support::made_environment;

namespace {

struct token_file {
  std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("hf-token-" + std::to_string(std::rand()));
  explicit token_file(std::string const& path, std::string const& text) {
    std::filesystem::create_directories((directory / path).parent_path());
    std::ofstream(directory / path) << text;
  }
  ~token_file() { std::filesystem::remove_all(directory); }
  [[nodiscard]] std::string operator/(std::string const& path) const {
    return (directory / path).string();
  }
};

}  // namespace

TEST_CASE("the explicit token wins over all other sources") {
  auto const env = made_environment({{"HF_TOKEN", "hf_env"}});
  CHECK(hub::find_token(" hf_explicit\n", env) == "hf_explicit");
  CHECK(hub::find_token("  ", env) == "hf_env");
}

TEST_CASE("HF_TOKEN comes before HUGGING_FACE_HUB_TOKEN, and that before the file") {
  token_file const file("token", "hf_file\r\n");
  std::map<std::string, std::string> all{
      {"HF_TOKEN", "hf_a"}, {"HUGGING_FACE_HUB_TOKEN", "hf_b"}, {"HF_TOKEN_PATH", file / "token"}};
  CHECK(hub::find_token("", made_environment(all)) == "hf_a");
  all["HF_TOKEN"] = " \n";
  CHECK(hub::find_token("", made_environment(all)) == "hf_b");
  all.erase("HUGGING_FACE_HUB_TOKEN");
  CHECK(hub::find_token("", made_environment(all)) == "hf_file");
}

TEST_CASE("the token file is found below HF_HOME, XDG_CACHE_HOME and HOME, in this order") {
  token_file const file("x/token", "hf_1");
  CHECK(hub::token_path(made_environment({{"HF_HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}})) ==
        "/h/token");
  CHECK(hub::token_path(made_environment({{"XDG_CACHE_HOME", "/x"}, {"HOME", "/u"}})) ==
        "/x/huggingface/token");
  CHECK(hub::token_path(made_environment({{"HOME", "/u"}})) == "/u/.cache/huggingface/token");
  CHECK(hub::find_token("", made_environment({{"HF_HOME", file / "x"}})) == "hf_1");
}

TEST_CASE("a directory in place of the token file counts as no token") {
  token_file const file("x/token", "hf_1");
  CHECK(hub::find_token("", made_environment({{"HF_TOKEN_PATH", file / "x"}})) == std::nullopt);
}

TEST_CASE("paths expand the home directory and variables") {
  auto const env = made_environment({{"HOME", "/u"}, {"A", "/a"}, {"B_2", "b"}});
  CHECK(hub::expand_path(env, "~/t") == "/u/t");
  CHECK(hub::expand_path(env, "$A/$B_2/t") == "/a/b/t");
  CHECK(hub::expand_path(env, "${A}x${B_2}") == "/axb");
  CHECK(hub::expand_path(env, "/x/~/$NONE/${A") == "/x/~/$NONE/${A");
}

TEST_CASE("HF_HUB_DISABLE_IMPLICIT_TOKEN leaves only the explicit token") {
  for (char const* const yes : {"1", "on", "Yes", "TRUE"}) {
    auto const env =
        made_environment({{"HF_TOKEN", "hf_a"}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", yes}});
    CHECK_FALSE(hub::find_token("", env));
    CHECK(hub::find_token("hf_x", env) == "hf_x");
  }
  CHECK(hub::find_token("", made_environment({{"HF_TOKEN", "hf_a"},
                                              {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "0"}})) == "hf_a");
}

TEST_CASE("a missing token says how to log in") {
  try {
    (void)hub::require_token("", made_environment({{"HOME", "/nonexistent"}}));
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::unauthenticated);
    CHECK(std::string(e.what()).find("hf auth login") != std::string::npos);
    CHECK(std::string(e.what()).find("HF_TOKEN") != std::string::npos);
  }
}

TEST_CASE("a missing explicit token says what was forbidden and what it stands for") {
  try {
    (void)hub::require_token(
        "", made_environment({{"HF_TOKEN", "hf_a"}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"}}));
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::unauthenticated);
    for (char const* const part :
         {"HF_HUB_DISABLE_IMPLICIT_TOKEN", " HF_TOKEN ", "hf auth login", "`token`"})
      CHECK(std::string(e.what()).find(part) != std::string::npos);
    CHECK(std::string(e.what()).find("hf_a") == std::string::npos);
  }
}

TEST_CASE("a token that would break a header is refused without being shown") {
  try {
    (void)hub::find_token("hf_secret\r\nX-Evil: 1", made_environment({}));
    FAIL("no error");
  } catch (hf::error const& e) {
    CHECK(e.kind() == hf::errc::unauthenticated);
    CHECK(std::string(e.what()).find("hf_secret") == std::string::npos);
  }
}

TEST_CASE("the endpoint has no trailing slash") {
  CHECK(hub::endpoint_url("", made_environment({})) == "https://huggingface.co");
  CHECK(hub::endpoint_url("", made_environment({{"HF_ENDPOINT", "https://h/"}})) == "https://h");
  CHECK(hub::endpoint_url("https://e//", made_environment({{"HF_ENDPOINT", "https://h"}})) ==
        "https://e");
}

TEST_CASE("the user agent names the origin when asked to") {
  CHECK(hub::user_agent(made_environment({})).find("hf-sandbox-cpp/") == 0);
  CHECK(hub::user_agent(made_environment({{"HF_HUB_USER_AGENT_ORIGIN", "my\r\ntool"}}))
            .find("; origin/mytool") != std::string::npos);
}

TEST_CASE("no environment given is the one of this process, read at every look-up") {
  char const* const name = "HF_SANDBOX_TEST_LOOK_UP";
  ::unsetenv(name);
  CHECK(hub::look_up({}, name) == std::nullopt);
  CHECK(hub::value_of({}, name).empty());
  ::setenv(name, "", 1);
  CHECK(hub::look_up({}, name) == "");
  ::setenv(name, "here", 1);
  CHECK(hub::look_up({}, name) == "here");
  CHECK(hub::value_of({}, name) == "here");
  CHECK(hub::look_up(made_environment({}), name) == std::nullopt);
  ::unsetenv(name);
}
