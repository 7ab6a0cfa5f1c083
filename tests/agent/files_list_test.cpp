#include "support/agent_process.hpp"
#include "support/file_helpers.hpp"
#include "support/scale.hpp"

#include <hf/sandbox/detail/base64.hpp>

#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>
#include <string>

using namespace hf::testing_support;
namespace fs = std::filesystem;

namespace {

std::string list_target(std::string const& path, std::string const& more = "") {
  return "/v1/files/list?path=" + percent(path) + more;
}

std::vector<std::string> names_of(nlohmann::json const& listing) {
  std::vector<std::string> names;
  for (auto const& entry : listing.at("entries"))
    names.push_back(entry.at("name"));
  return names;
}

/// Highest resident memory of the agent so far, in KiB.
long peak_memory(pid_t pid) {
  std::istringstream status(slurp("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0)
      return std::stol(line.substr(6));
  return -1;
}

}  // namespace

TEST_CASE("a listing has every kind of entry, sorted by the bytes of the names", "[files]") {
  agent_process agent;
  auto const d = agent.directory() + "/d";
  fs::create_directories(d + "/sub");
  spill(d + "/b", "four");
  spill(d + "/a b", "");
  spill(d + "/.hidden", "");
  spill(d + "/B", "");
  spill(d + "/\xc3\xa9", "");
  fs::create_symlink("nowhere", d + "/link");
  REQUIRE(::mkfifo((d + "/fifo").c_str(), 0600) == 0);
  REQUIRE(::chmod((d + "/b").c_str(), 0751) == 0);

  auto const answer = agent.request("GET", list_target(d));
  CHECK(answer.status == 200);
  CHECK(answer.header("content-type") == "application/json");
  auto const listing = answer.json();
  CHECK(names_of(listing) ==
        std::vector<std::string>{".hidden", "B", "a b", "b", "fifo", "link", "sub", "\xc3\xa9"});
  CHECK(listing.at("truncated") == false);
  CHECK(listing.at("next").is_null());
  auto const& b = listing.at("entries").at(3);
  struct stat st {};
  REQUIRE(::lstat((d + "/b").c_str(), &st) == 0);
  CHECK(b == nlohmann::json{{"name", "b"},
                            {"path", d + "/b"},
                            {"type", "file"},
                            {"size", 4},
                            {"mode", "751"},
                            {"mtime_ms", st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000}});
  CHECK(listing.at("entries").at(4).at("type") == "file");
  CHECK(listing.at("entries").at(5).at("type") == "symlink");
  CHECK(listing.at("entries").at(6).at("type") == "dir");
  CHECK(agent.request("GET", "/v1/files/stat?path=" + percent(d + "/b")).json() == b);
  CHECK(agent.request("GET", "/v1/files/stat?path=" + percent(d + "/link")).json() ==
        listing.at("entries").at(5));
}

TEST_CASE("pages of a listing follow each other without a gap", "[files]") {
  agent_process agent;
  auto const d = agent.directory() + "/d";
  fs::create_directory(d);
  std::vector<std::string> all;
  for (int i = 0; i < 25; ++i) {
    all.push_back("n" + std::to_string(100 + i));
    spill(d + "/" + all.back(), "");
  }
  std::vector<std::string> seen;
  std::string more = "&limit=10";
  for (int page = 0; page < 5; ++page) {
    auto const listing = agent.request("GET", list_target(d, more)).json();
    for (auto const& name : names_of(listing))
      seen.push_back(name);
    if (!listing.at("truncated").get<bool>())
      break;
    CHECK(listing.at("next") == seen.back());
    more = "&limit=10&after=" + seen.back();
  }
  CHECK(seen == all);
  auto const none = agent.request("GET", list_target(d, "&limit=0")).json();
  CHECK(none.at("entries").empty());
  CHECK(none.at("truncated") == true);
  CHECK(none.at("next").is_null());
  fs::create_directory(d + "-empty");
  CHECK(agent.request("GET", list_target(d + "-empty", "&limit=0")).body ==
        R"({"entries":[],"next":null,"truncated":false})");
  CHECK(agent.request("GET", list_target(d, "&limit=0&after=z")).json().at("truncated") == false);
  auto const exact = agent.request("GET", list_target(d, "&limit=25")).json();
  CHECK(exact.at("truncated") == false);
  CHECK(agent.request("GET", list_target(d, "&limit=60000")).json().at("entries").size() == 25);
  CHECK(agent.request("GET", list_target(d, "&limit=-1")).status == 400);
  CHECK(agent.request("GET", list_target(d, "&limit=ten")).status == 400);
}

TEST_CASE("names that are not UTF-8 survive the round trip", "[files]") {
  agent_process agent;
  auto const d = agent.directory() + "/d";
  fs::create_directory(d);
  std::vector<std::string> const odd{"line\nbreak", "latin\xe9", "\xff\xfe",
                                     "per%cent",    "a+b c",     "\xe2\x80\xa8sep"};
  for (auto const& name : odd) {
    auto const written = agent.request("PUT", "/v1/files/write?path=" + percent(d + "/" + name),
                                       "content of " + name);
    REQUIRE(written.status == 200);
    CHECK(slurp(d + "/" + name) == "content of " + name);
  }
  auto const exact = [](nlohmann::json const& j, std::string const& key) {
    if (!j.contains(key + "_b64"))
      return j.at(key).get<std::string>();
    return hf::detail::base64_decode(j.at(key + "_b64").get<std::string>()).value();
  };
  std::vector<std::string> seen;
  std::string after;
  for (int i = 0; i < 10; ++i) {
    auto const page =
        agent.request("GET", list_target(d, "&limit=1&after=" + percent(after))).json();
    for (auto const& entry : page.at("entries")) {
      auto const name = exact(entry, "name");
      seen.push_back(name);
      CHECK(exact(entry, "path") == d + "/" + name);
      CHECK(agent.request("GET", "/v1/files/read?path=" + percent(d + "/" + name)).body ==
            "content of " + name);
    }
    if (!page.at("truncated").get<bool>())
      break;
    after = exact(page, "next");
  }
  auto sorted = odd;
  std::sort(sorted.begin(), sorted.end());
  CHECK(seen == sorted);
  auto const missing = agent.request("GET", "/v1/files/stat?path=" + percent(d + "/\xff"));
  CHECK(missing.status == 404);
  CHECK(missing.json().at("error") == "no such path: " + d + "/\xef\xbf\xbd");
}

TEST_CASE("a huge directory is listed in memory that its size does not change", "[files]") {
  agent_process agent;
  auto const count = scaled(300'000, 40'000);
  auto const limit = count / 20;
  WARN("entries: " << count << ", a page: " << limit);
  auto const d = agent.directory() + "/d";
  fs::create_directory(d);
  int const fd = ::open(d.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < count; ++i)
    REQUIRE(::mknodat(fd, ("entry-with-a-rather-long-name-" + std::to_string(1000000 + i)).c_str(),
                      S_IFREG | 0600, 0) == 0);
  ::close(fd);
  auto const page = [&](std::string const& after) {
    return agent
        .request("GET", list_target(d, "&limit=" + std::to_string(limit) + "&after=" + after))
        .json();
  };
  auto const first = page("");
  [[maybe_unused]] auto const peak = peak_memory(agent.pid());
  std::size_t seen = first.at("entries").size();
  auto listing = first;
  while (listing.at("truncated").get<bool>()) {
    listing = page(listing.at("next"));
    seen += listing.at("entries").size();
  }
  CHECK(seen == static_cast<std::size_t>(count));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // those keep what is freed
  CHECK(peak_memory(agent.pid()) < peak + 4096);
#endif
}

TEST_CASE("what cannot be listed says why", "[files]") {
  agent_process agent;
  spill(agent.directory() + "/file", "");
  auto const file = agent.request("GET", list_target(agent.directory() + "/file"));
  CHECK(file.status == 400);
  CHECK(file.json().at("code") == "not_directory");
  CHECK(file.json().at("error") ==
        "cannot list " + agent.directory() + "/file: Not a directory (os error 20)");
  CHECK(agent.request("GET", list_target(agent.directory() + "/none")).status == 404);
  CHECK(agent.request("GET", "/v1/files/list").status == 400);
  CHECK(agent.request("GET", list_target("/")).status == 200);
  auto const root = agent.request("GET", "/v1/files/stat?path=/").json();
  CHECK(root.at("type") == "dir");
  CHECK(root.at("path") == "/");
  CHECK(root.at("name") == "");
}
