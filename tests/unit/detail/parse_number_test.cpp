#include <hf/sandbox/detail/parse_number.hpp>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

using hf::detail::parse_number;

TEST_CASE("parse_number reads digits and nothing else") {
  CHECK(parse_number("0") == 0u);
  CHECK(parse_number("65535") == 65535u);
  CHECK(parse_number("007") == 7u);
  for (std::string_view const text :
       {"", " ", "+1", "-1", " 1", "1 ", "1a", "a", "0x10", "1.0", "1e3", "\xd9\xa1"})
    CHECK(parse_number(text) == std::nullopt);
  CHECK(parse_number(std::string_view("1\0", 2)) == std::nullopt);
}

TEST_CASE("parse_number refuses what is larger than the largest") {
  CHECK(parse_number("18446744073709551615") == UINT64_MAX);
  CHECK(parse_number("00018446744073709551615") == UINT64_MAX);
  CHECK(parse_number("18446744073709551616") == std::nullopt);
  CHECK(parse_number("18446744073709551620") == std::nullopt);
  CHECK(parse_number("99999999999999999999") == std::nullopt);
  CHECK(parse_number("184467440737095516150") == std::nullopt);
  CHECK(parse_number("65535", 65535) == 65535u);
  CHECK(parse_number("65536", 65535) == std::nullopt);
  CHECK(parse_number("65540", 65535) == std::nullopt);
  CHECK(parse_number("655350", 65535) == std::nullopt);
  CHECK(parse_number("3", 3) == 3u);
  CHECK(parse_number("4", 3) == std::nullopt);
  CHECK(parse_number("10", 3) == std::nullopt);
  CHECK(parse_number("0", 0) == 0u);
  CHECK(parse_number("1", 0) == std::nullopt);
}

TEST_CASE("parse_number agrees with the printed number at every limit nearby") {
  for (std::uint64_t largest = 0; largest < 300; ++largest)
    for (std::uint64_t number = 0; number < 320; ++number) {
      auto const expected = number <= largest ? std::optional<std::uint64_t>(number) : std::nullopt;
      if (parse_number(std::to_string(number), largest) != expected)
        FAIL(number << " with the largest " << largest);
    }
}

TEST_CASE("parse_number reads hexadecimal digits when asked to") {
  CHECK(parse_number<16>("fF") == 255u);
  CHECK(parse_number<16>("ffffffffffffffff") == UINT64_MAX);
  CHECK(parse_number<16>("10000000000000000") == std::nullopt);
  for (std::string_view const text : {"", "g", "0x1", "-1", " f", "f "})
    CHECK(parse_number<16>(text) == std::nullopt);
}
