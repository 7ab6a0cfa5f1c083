#include HF_SANDBOX_SINGLE_HEADER

char const* second_version();
std::error_category const* second_category();

char const* second_version() { return HF_SANDBOX_VERSION_STRING; }
std::error_category const* second_category() {
  return &hf::make_error_code(hf::errc{1}).category();
}
