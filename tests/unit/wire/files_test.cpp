#include <hf/sandbox/wire/files.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace hf;

namespace {

wire::file_entry round_trip(wire::file_entry const& entry) {
  return wire::file_entry_from_json(wire::json::parse(wire::file_entry_to_json(entry).dump()));
}

errc kind_of(std::string const& text, bool listing) {
  try {
    auto const j = wire::json::parse(text);
    if (listing)
      static_cast<void>(wire::file_listing_from_json(j));
    else
      static_cast<void>(wire::file_entry_from_json(j));
  } catch (error const& e) {
    return e.kind();
  }
  return errc{};
}

}  // namespace

TEST_CASE("a file entry has the members and types of the common protocol") {
  wire::file_entry entry;
  entry.name = "run.sh";
  entry.path = "/tmp/run.sh";
  entry.size = 12;
  entry.mtime_ms = 1234;
  entry.mode = 0755;
  CHECK(wire::file_entry_to_json(entry).dump() ==
        R"({"mode":"755","mtime_ms":1234,"name":"run.sh","path":"/tmp/run.sh","size":12,)"
        R"("type":"file"})");
  entry.mtime_ms.reset();
  entry.mode = 0;
  entry.type = wire::file_type::directory;
  auto const j = wire::file_entry_to_json(entry);
  CHECK(j.at("mtime_ms").is_null());
  CHECK(j.at("mode") == "0");
  CHECK(j.at("type") == "dir");
}

TEST_CASE("any bytes in a name come back as they were") {
  for (std::string const name : {"plain", "new\nline", "\xff\xfe", "caf\xe9", "caf\xc3\xa9", "\"\\",
                                 "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x80\xa8"}) {
    wire::file_entry entry;
    entry.name = name;
    entry.path = "/d/" + name;
    entry.type = wire::file_type::symlink;
    entry.size = 1;
    entry.mode = 07777;
    auto const back = round_trip(entry);
    CHECK(back.name == name);
    CHECK(back.path == "/d/" + name);
    CHECK(back.type == wire::file_type::symlink);
    CHECK(back.mode == 07777);
  }
  wire::file_entry odd;
  odd.name = "a\xff";
  auto const j = wire::file_entry_to_json(odd);
  CHECK(j.at("name") == "a\xef\xbf\xbd");
  CHECK(j.at("name_b64") == "Yf8=");
}

TEST_CASE("a listing tells where to go on") {
  auto const page = wire::file_listing_from_json(wire::json::parse(
      R"({"entries":[{"name":"a"}],"truncated":true,"next":"x","next_b64":"Yf8="})"));
  CHECK(page.entries.size() == 1);
  CHECK(page.truncated);
  CHECK(page.next == "a\xff");
  auto const old = wire::file_listing_from_json(wire::json::parse(R"({"entries":[]})"));
  CHECK_FALSE(old.truncated);
  CHECK_FALSE(old.next);
}

TEST_CASE("answers that are not of the protocol are refused") {
  for (auto const* entry :
       {R"([])", R"({})", R"({"name":1})", R"({"name":"a","size":-1})",
        R"({"name":"a","size":"1"})", R"({"name":"a","mode":"9"})",
        R"({"name":"a","name_b64":"?"})", R"({"name":"a","mode":"777777777777"})",
        R"({"name":"a","mtime_ms":1e300})", R"({"name":"a","mtime_ms":18446744073709551615})"})
    CHECK(kind_of(entry, false) == errc::protocol_error);
  for (auto const* listing : {R"([])", R"({})", R"({"entries":{}})", R"({"entries":[1]})"})
    CHECK(kind_of(listing, true) == errc::protocol_error);
}

TEST_CASE("a write's answer says only when it was not atomic") {
  wire::write_result result;
  result.path = "/x";
  result.size = 3;
  CHECK(wire::write_result_to_json(result).dump() == R"({"path":"/x","size":3})");
  result.atomic = false;
  auto const back =
      wire::write_result_from_json(wire::json::parse(wire::write_result_to_json(result).dump()));
  CHECK_FALSE(back.atomic);
  CHECK(back.size == 3);
  CHECK(back.path == "/x");
}
