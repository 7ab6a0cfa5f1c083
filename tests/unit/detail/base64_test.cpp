#include <hf/sandbox/detail/base64.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using hf::detail::base64_decode;
using hf::detail::base64_encode;

TEST_CASE("base64 gives the values of RFC 4648") {
  CHECK(base64_encode("") == "");
  CHECK(base64_encode("f") == "Zg==");
  CHECK(base64_encode("fo") == "Zm8=");
  CHECK(base64_encode("foo") == "Zm9v");
  CHECK(base64_encode("foob") == "Zm9vYg==");
  CHECK(base64_encode("fooba") == "Zm9vYmE=");
  CHECK(base64_encode("foobar") == "Zm9vYmFy");
  CHECK(base64_encode("\xfb\xff\xfe") == "+//+");
}

TEST_CASE("base64 round-trips every byte at every length") {
  std::string data;
  for (int i = 0; i < 600; ++i) {
    CHECK(base64_decode(base64_encode(data)) == data);
    data.push_back(static_cast<char>(i * 7));
  }
}

TEST_CASE("base64 refuses what is not strict") {
  for (char const* text : {"Z", "Zg", "Zg=", "Zg==\n", "Zm9v Zm9", "Zm9\n", "Zh==", "Zm9=", "====",
                           "=m9v", "Z===", "Zm=v", "Zg==Zg==", "Zm9-", "Zm9_", "Zm9\x80"}) {
    INFO(text);
    CHECK_FALSE(base64_decode(text).has_value());
  }
}

TEST_CASE("base64 leaves the output alone when it refuses") {
  std::string out = "kept";
  CHECK_FALSE(hf::detail::base64_decode_append(out, "Zm9vZm9*"));
  CHECK(out == "kept");
}
