#ifndef HF_SANDBOX_TESTS_SUPPORT_SCALE_HPP
#define HF_SANDBOX_TESTS_SUPPORT_SCALE_HPP

#include <cstdlib>
#include <string_view>

namespace hf::testing_support {

/// Whether the heavy tests run at their full size; `HF_SANDBOX_TEST_SCALE=full` asks for it.
inline bool full_scale() {
  char const* const scale = std::getenv("HF_SANDBOX_TEST_SCALE");
  return scale != nullptr && std::string_view(scale) == "full";
}

/// The size of a heavy test: `full_n` at full scale, else `gate_n`. The test prints what it used.
template <class T>
T scaled(T full_n, T gate_n) {
  return full_scale() ? full_n : gate_n;
}

}  // namespace hf::testing_support

#endif
