#include <hf/sandbox/agent/answer_error.hpp>

#include <catch2/catch_test_macros.hpp>

using hf::detail::system_error_in;

TEST_CASE("the number of a system error is read from the end of a text") {
  CHECK(system_error_in("cannot open: Permission denied (os error 13)") == 13);
  CHECK(system_error_in("a (os error 2) b (os error 13)") == 13);
  CHECK(system_error_in("far (os error 65535)") == 65535);
}

TEST_CASE("a text that does not end in a system error's number has none") {
  for (char const* text :
       {"", ")", "failed", " (os error ", " (os error )", " (os error 13", " (os error 13) ",
        " (os error -13)", " (os error +13)", " (os error 13x)", " (os error 65536)",
        " (os error 99999999999999999999)", "(os error 13)"}) {
    INFO(text);
    CHECK(system_error_in(text) == 0);
  }
}
