#include <hf/sandbox/detail/crypto.hpp>

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <string>

namespace detail = hf::detail;

TEST_CASE("SHA-256 gives the published values") {
  CHECK(detail::sha256_hex("") ==
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(detail::sha256_hex("abc") ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  detail::sha256 pieces;
  pieces.update("a");
  pieces.update("");
  pieces.update("bc");
  CHECK(pieces.finish_hex() == detail::sha256_hex("abc"));
}

TEST_CASE("HMAC-SHA256 gives the values of RFC 4231") {
  CHECK(detail::hmac_sha256_hex("Jefe", "what do ya want for nothing?") ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(detail::hmac_sha256_hex(std::string(131, '\xaa'),
                                "Test Using Larger Than Block-Size Key - Hash Key First") ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("random hexadecimal ids are as long as asked for and differ") {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    auto const id = detail::random_hex(16);
    CHECK(id.size() == 32);
    CHECK(id.find_first_not_of("0123456789abcdef") == std::string::npos);
    seen.insert(id);
  }
  CHECK(seen.size() == 100);
}

TEST_CASE("the constant-time comparison compares") {
  CHECK(detail::constant_time_equal("", ""));
  CHECK(detail::constant_time_equal("abc", "abc"));
  CHECK_FALSE(detail::constant_time_equal("abc", "abd"));
  CHECK_FALSE(detail::constant_time_equal("abc", "abcd"));
}
