#include <hf/sandbox/http/headers.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using hf::http::headers;

TEST_CASE("a field is found by its name in any case, the first of several") {
  headers fields{{"Content-Type", "a"}, {"X-One", "1"}, {"x-one", "2"}};
  auto const* const found = fields.find("X-ONE");
  REQUIRE(found != nullptr);
  CHECK(*found == "1");
  CHECK(fields.get("content-type") == "a");
  CHECK(fields.contains("CONTENT-TYPE"));
}

TEST_CASE("a field without a value is found, one that is absent is not") {
  headers fields{{"Empty", ""}};
  REQUIRE(fields.find("empty") != nullptr);
  CHECK(fields.find("empty")->empty());
  CHECK(fields.contains("empty"));
  CHECK(fields.find("Empt") == nullptr);
  CHECK(fields.find("") == nullptr);
  CHECK(fields.get("absent").empty());
  CHECK_FALSE(fields.contains("absent"));
}

TEST_CASE("setting a field replaces all of that name and leaves the others") {
  headers fields;
  fields.add("A", "1");
  fields.add("B", "2");
  fields.add("a", "3");
  fields.set("a", "4");
  std::string all;
  for (auto const& field : fields)
    all += field.name + "=" + field.value + ";";
  CHECK(all == "B=2;a=4;");
  fields.erase("A");
  CHECK_FALSE(fields.contains("a"));
  CHECK(fields.get("b") == "2");
}
