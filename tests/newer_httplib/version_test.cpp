#include <hf/sandbox/transports/httplib.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string_view>

TEST_CASE("the newer cpp-httplib is used, not the installed one") {
  CHECK(std::string_view(CPPHTTPLIB_VERSION) == HF_SANDBOX_EXPECTED_HTTPLIB);
}
