#include <hf/sandbox.hpp>

char const* headers_version();
std::error_category const* headers_category();

char const* headers_version() { return HF_SANDBOX_VERSION_STRING; }
std::error_category const* headers_category() {
  return &hf::make_error_code(hf::errc{1}).category();
}
