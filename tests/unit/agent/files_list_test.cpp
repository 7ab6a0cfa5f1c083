#include <hf/sandbox/files.hpp>
#include <hf/sandbox/testing/scripted_transport.hpp>

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

using hf::errc;
using hf::testing::scripted_transport;
using json = nlohmann::json;

namespace {

using files = hf::basic_files<scripted_transport>;

files files_behind(scripted_transport& through) {
  hf::endpoint to;
  to.url = "http://agent.test";
  return files(std::make_shared<hf::agent_client<scripted_transport>>(through, to));
}

/// A page that says that there are more, behind its last name.
std::string page(std::vector<std::string> const& names) {
  json entries = json::array();
  for (auto const& name : names)
    entries.push_back(
        {{"name", name}, {"path", "/" + name}, {"type", "file"}, {"size", 0}, {"mode", "0644"}});
  return json{{"entries", entries}, {"truncated", true}, {"next", names.back()}}.dump();
}

std::string number(std::size_t n) {
  auto const digits = std::to_string(n);
  return std::string(8 - digits.size(), '0') + digits;
}

hf::error failure(files& at) {
  try {
    (void)at.list("/");
  } catch (hf::error const& e) {
    return e;
  }
  FAIL("the call did not fail");
  throw;
}

}  // namespace

TEST_CASE("a listing without end is given up") {
  scripted_transport through;
  std::size_t pages = 0;
  SECTION("of many entries") {
    through.expect("GET", "/v1/files/list").any_number_of_times().reply_with([&](auto const&) {
      std::vector<std::string> names;
      for (std::size_t i = 0; i < 50'000; ++i)
        names.push_back(number(pages * 50'000 + i));
      ++pages;
      return hf::http::response{200, {}, page(names)};
    });
    auto at = files_behind(through);
    auto const e = failure(at);
    CHECK(e.kind() == errc::too_large);
    CHECK(std::string(e.what()).find("list_page") != std::string::npos);
    CHECK(pages == 21);
  }
  SECTION("of long names") {
    through.expect("GET", "/v1/files/list").any_number_of_times().reply_with([&](auto const&) {
      std::string const name = number(pages++) + std::string(25'000'000, 'x');
      return hf::http::response{200, {}, page({name})};
    });
    auto at = files_behind(through);
    CHECK(failure(at).kind() == errc::too_large);
    CHECK(pages < 50);
  }
  SECTION("that goes round in circles") {
    through.expect("GET", "/v1/files/list").any_number_of_times().reply_with([&](auto const&) {
      ++pages;
      return hf::http::response{200, {}, page({"a"})};
    });
    auto at = files_behind(through);
    CHECK(failure(at).kind() == errc::protocol_error);
    CHECK(pages == 2);
  }
}
