#include HF_SANDBOX_SINGLE_HEADER

// After the single header the headers add nothing.
#include <hf/sandbox.hpp>

char const* second_version();
std::error_category const* second_category();
char const* headers_version();
std::error_category const* headers_category();

int main() {
  auto const* const category = &hf::make_error_code(hf::errc{1}).category();
  bool const one_library = category == second_category() && category == headers_category() &&
                           std::string_view(HF_SANDBOX_VERSION_STRING) == second_version() &&
                           std::string_view(HF_SANDBOX_VERSION_STRING) == headers_version();
  return one_library ? 0 : 1;
}
